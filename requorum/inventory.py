"""Who the hosts are: the inventory file, read, checked and frozen.

Nothing here looks at a host. Every error names the file, the field, the value and the remedy, and is raised
before any connection is made. `inventory/example.yaml` explains every field; `fleet` turns hosts into connections.
"""

from __future__ import annotations

import difflib
import hashlib
import ipaddress
import os
import posixpath
import re
import shlex
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from string import Formatter
from typing import Annotated, Literal

from pydantic import (
    BeforeValidator,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from requorum import yaml_text
from requorum.refusal import Refusal
from requorum.transport import NAME as NAME
from requorum.transport import Host, Model, Name, Transport

_PATH = re.compile(r"(/[A-Za-z0-9._@+-]+)+")
# Directories that belong to the machine: a run that owned one would move aside what others keep there.
_SHARED = {
    "": "bin boot dev etc home lib lib32 lib64 media mnt opt proc root run sbin srv sys tmp usr var",
    "/etc": "cron.d default init.d monit monit.d pam.d pki profile.d security ssh ssl sudoers.d sysconfig systemd",
    "/usr": "bin etc include lib lib32 lib64 libexec local sbin share src",
    "/usr/local": "bin etc lib libexec sbin share",
    "/var": "backups cache lib local lock log mail opt run spool tmp",
    **dict.fromkeys(("/etc/systemd", "/lib/systemd", "/usr/lib/systemd"), "system user"),
    **dict.fromkeys(("/lib", "/usr/lib"), "systemd"),
}
_SYSTEM = {"/"} | {f"{parent}/{name}" for parent, names in _SHARED.items() for name in names.split()}
_NOTHING_BELOW = ("/boot/", "/dev/", "/proc/", "/sys/", "/var/lib/requorum/")
# Which placeholders each of the vendor's lines may use, and which it cannot do without.
PLACEHOLDERS = {
    "etcdctl": ((), ("admin_user",)),
    "etcdctl_as": (("client",), ("admin_user",)),
    "monit_down": ((), ("admin_user",)),
    "monit_up": ((), ("admin_user",)),
    "monit_status": ((), ("admin_user",)),
    "generate": (("cluster_id",), ("ips", "ips_comma", "admin_user")),
    "unpack_server": (("archive", "number"), ("admin_user",)),
    "unpack_client": (("archive",), ("admin_user",)),
}


class InventoryError(Refusal):
    """The inventory cannot be used. Raised before any host is touched (exit code 4)."""


def _absolute(value: object) -> str:
    """The path in one spelling, so that equal places are equal texts."""
    if not isinstance(value, str):
        raise ValueError(f"must be a path, not {value!r}")
    if not value.startswith("/") or ".." in value.split("/"):
        raise ValueError("must be an absolute path without '..'")
    path = posixpath.normpath("/" + value.lstrip("/"))
    if path != "/" and not _PATH.fullmatch(path):
        raise ValueError("must be a path of letters, digits and . _ - + @")
    return path


def _processes(value: object) -> object:
    if not isinstance(value, list | tuple) or not all(isinstance(name, str) and name for name in value):
        raise ValueError(f"must be a list of process names as monit spells them, not {value!r}")
    return value


def _settings(value: object) -> object:
    if not isinstance(value, list | tuple) or not all(isinstance(word, str) for word in value):
        raise ValueError(f"must be a list of etcd's settings, each NAME or NAME=VALUE, not {value!r}")
    for word in value:
        name, equals, said = word.partition("=")
        if not re.fullmatch(r"[a-z][a-z0-9-]{0,99}", name) or (equals and not SETTING.fullmatch(said)):
            raise ValueError(f"{word!r} is no setting of etcd, as NAME or NAME=VALUE")
        if NEVER_KEPT.fullmatch(name):
            raise ValueError(f"{name} makes a member what it is, and comes from the generator alone")
    return value


def is_of_the_system(path: str) -> bool:
    """Whether a directory, as `_absolute` spells it, is shared with everything else on the machine."""
    return path in _SYSTEM or f"{path}/".startswith(_NOTHING_BELOW)


def _directory(value: object) -> str:
    path = _absolute(value)
    if is_of_the_system(path):
        raise ValueError("is a directory of the system, shared with others: name one of etcd's own")
    return path


def _file(*endings: str) -> Callable[[object], str]:
    def checked(value: object) -> str:
        path = _absolute(value)
        if not path.endswith(endings) or path.startswith(_NOTHING_BELOW):
            raise ValueError(f"must be a file of etcd's own that ends in {' or '.join(endings)}")
        return path

    return checked


def _archive_of_a_token(value: object) -> object:
    if not isinstance(value, str):
        return _archive(value)
    _check_template("client_archive", value, (), ("cluster_id",))
    return _archive(value.replace("{cluster_id}", _TOKEN)).replace(_TOKEN, "{cluster_id}")


_TOKEN = "any-token"
_archive = _file(".tgz", ".tar.gz", ".tar")

# The value of a setting of etcd: it goes into a line of YAML.
SETTING = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/+-]{0,199}|-[0-9]{1,19}")
# What makes a member the one that it is comes from the generator alone, and what could lose data from nobody.
NEVER_KEPT = re.compile(
    r"name|data-dir|wal-dir|discovery.*|initial-.*|listen-.*|advertise-.*|force-new-cluster|unsafe-.*|.*-security|"
    r".*-(file|url|urls|token)"
)

Directory = Annotated[str, BeforeValidator(_directory)]
Archive = Annotated[str, BeforeValidator(_archive)]
ArchiveOfAToken = Annotated[str, BeforeValidator(_archive_of_a_token)]
Configuration = Annotated[str, BeforeValidator(_file(".yaml", ".yml", ".json"))]


class Member(Model):
    """One etcd member. `ip` is the address that the cluster uses, not the one the operator reaches."""

    name: Name
    host: str
    ip: str

    @field_validator("ip")
    @classmethod
    def _is_an_address(cls, value: str) -> str:
        try:
            address = ipaddress.ip_address(value)
        except ValueError:
            raise ValueError("must be an IP address, for example 10.0.0.11") from None
        if "%" in value or address.is_unspecified or address.is_multicast:
            raise ValueError("must be the address of one machine, without a zone")
        return str(address)


class VendorCommands(Model):
    """The vendor's own commands, one line each. Split as a shell would, then placeholders are filled in,
    so that a placeholder is always exactly one argument."""

    etcdctl: str = "/usr/illumon/latest/bin/etcdctl.sh"
    etcdctl_as: str = "env DH_ETCD_DIR={client} /usr/illumon/latest/bin/etcdctl.sh"
    monit_down: str = "/usr/illumon/latest/bin/dh_monit down --block"
    monit_up: str = "/usr/illumon/latest/bin/dh_monit up --block"
    monit_status: str = "/usr/illumon/latest/bin/dh_monit summary"
    generate: str = "/usr/illumon/latest/bin/config_generator.sh --cluster-id {cluster_id} --ips {ips}"
    unpack_server: str = "/usr/illumon/latest/bin/unpack_etcd_server.sh {archive} {number}"
    unpack_client: str = "/usr/illumon/latest/bin/unpack_etcd_client.sh {archive}"

    @model_validator(mode="after")
    def _lines_can_run(self) -> VendorCommands:
        for field, line in self:
            needed, optional = PLACEHOLDERS[field]
            _check_template(field, line, needed, (*needed, *optional))
            try:
                words = shlex.split(line)
            except ValueError as error:
                raise ValueError(f"{field} is no command line: {error}") from None
            if not words:
                raise ValueError(f"{field} is empty")
        if not {"ips", "ips_comma"} & _placeholders(self.generate):
            raise ValueError("generate lacks the placeholder {ips} or {ips_comma}")
        return self


def _check_line(field: str, line: str | None, needed: tuple[str, ...], known: tuple[str, ...]) -> None:
    """Raises ValueError for a line that could never run."""
    if line is None:
        return
    _check_template(field, line, needed, known)
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise ValueError(f"{field} is no command line: {error}") from None
    if not words:
        raise ValueError(f"{field} is empty; leave it out")


def _placeholders(template: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(template) if name is not None}


def _check_template(field: str, template: str, needed: tuple[str, ...], known: tuple[str, ...]) -> None:
    """Raises ValueError for a template that could never be filled in."""
    try:
        found = _placeholders(template)
    except ValueError as error:
        raise ValueError(f"{field}: {error}; a brace that is meant is written twice") from None
    for name in sorted(found - set(known)):
        raise ValueError(f"{field} has the unknown placeholder {{{name}}}; known: {', '.join(sorted(known))}")
    for name in needed:
        if name not in found:
            raise ValueError(f"{field} lacks the placeholder {{{name}}}")


class Deephaven(Model):
    configuration_server: str
    hosts: tuple[str, ...] = Field(min_length=1)
    admin_user: Name = "irisadmin"
    accounts: tuple[Name, ...] = ("dbquery", "dbmerge")  # beside it: whose processes are Deephaven's too
    client_config: Directory = "/etc/sysconfig/deephaven/etcd/client"
    server_archive: Archive = "/etc/sysconfig/deephaven/etcd/dh_etcd_config.tgz"
    client_archive: ArchiveOfAToken = "/tmp/{cluster_id}/dh_query.tgz"
    commands: VendorCommands = VendorCommands()


class Etcd(Model):
    unit: str = Field(default="dh-etcd.service", pattern=r"^[A-Za-z0-9][A-Za-z0-9@._-]*\.service$")
    config: Configuration = "/etc/etcd/dh/latest/config.yaml"
    data_root: Directory = "/var/lib/etcd/dh"
    user: Name = "etcd"
    client_port: int = Field(default=2379, ge=1, le=65535)
    peer_port: int = Field(default=2380, ge=1, le=65535)
    revision_bump: int = Field(default=1_000_000_000, ge=0, lt=2**62)
    keep_settings: Annotated[tuple[str, ...], BeforeValidator(_settings)] = ()

    @model_validator(mode="after")
    def _can_be(self) -> Etcd:
        if self.client_port == self.peer_port:
            raise ValueError(f"client_port and peer_port are both {self.client_port}; etcd listens on two ports")
        return self


class Keep(Model):
    """Which good backups stay is the union of all of these. `count` is the older word for `last`, and has its default
    only where none of the others is said; `days` is for bad ones."""

    count: int = Field(default=14, ge=1)
    days: int = Field(default=30, ge=1)
    last: int = Field(default=0, ge=0)
    daily: int = Field(default=0, ge=0)
    weekly: int = Field(default=0, ge=0)
    monthly: int = Field(default=0, ge=0)

    @property
    def most_recent(self) -> int:
        """How many of those that were made last stay."""
        said = "count" in self.model_fields_set or not any((self.last, self.daily, self.weekly, self.monthly))
        return max(self.last, self.count if said else 0)


class Snapshot(Model):
    file: str | None = None
    directory: str | None = None
    max_age_hours: float = Field(default=26, gt=0)
    keep: Keep = Keep()
    encrypt: str | None = None
    decrypt: str | None = None

    @model_validator(mode="after")
    def _lines_can_run(self) -> Snapshot:
        for field in ("encrypt", "decrypt"):
            _check_line(field, getattr(self, field), (), ())
        return self


class Offsite(Model):
    """Lines that are run on this machine, split as a shell would, without one. `put` sends the file {file} away under
    {name}; `get` writes it to {file}, or to its standard output; `list` gives one name a line."""

    put: str | None = None
    get: str | None = None
    list: str | None = None

    @model_validator(mode="after")
    def _lines_can_run(self) -> Offsite:
        _check_line("put", self.put, ("file", "name"), ("file", "name"))
        _check_line("get", self.get, ("name",), ("file", "name"))
        _check_line("list", self.list, (), ())
        said = [field for field in ("put", "get", "list") if getattr(self, field)]
        if said and ("get" not in said or len(said) == 1):
            raise ValueError(f"has {said[0]} alone: with put belongs get, which reads back, and with get list or put")
        return self


class Backup(Model):
    """`also`: paths of the configuration server that are archived with each backup, encrypted."""

    also: tuple[Annotated[str, BeforeValidator(_absolute)], ...] = ()

    @field_validator("also")
    @classmethod
    def _are_some(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if "/" in value or any(f"{path}/".startswith(_NOTHING_BELOW[1:4]) for path in value):
            raise ValueError("must be files and directories of this site, not / nor what is below /dev, /proc or /sys")
        return value


class Verify(Model):
    """Where and how gently a backup is booted. `host`: default the configuration server; a member only when it is named
    here. `disk`: "shared" allows one that also holds a live log. `rate`: MB a second of the upload."""

    host: str | None = None
    disk: Literal["own", "shared"] = "own"
    rate: int = Field(default=50, ge=2, le=100_000)


class Range(Model):
    min: int = Field(default=0, ge=0)
    max: int | None = Field(default=None, ge=0)

    @model_validator(mode="after")
    def _holds_something(self) -> Range:
        if self.max is not None and self.max < self.min:
            raise ValueError(f"max {self.max} is below min {self.min}")
        return self


class Expect(Model):
    min_keys: int = Field(default=1, ge=0)
    prefixes: dict[str, Range] = Field(default_factory=dict)
    off: Annotated[tuple[str, ...], BeforeValidator(_processes)] = ()


class Limits(Model):
    concurrency: int = Field(default=32, ge=1, le=1024)
    health_seconds: float = Field(default=60, gt=0)
    clock_offset_seconds: float = Field(default=1, gt=0)
    free_disk_ratio: float = Field(default=3, ge=1)  # of earlier versions; it does nothing any more


class Notify(Model):
    """`contact`: whom to call, in words; the last line of a run that ended says it."""

    contact: str | None = Field(default=None, max_length=200)

    @field_validator("contact")
    @classmethod
    def _is_a_line(cls, value: str | None) -> str | None:
        if value is not None and not value.isprintable():
            raise ValueError("must be one line of printable text")
        return value


class Evidence(Model):
    """`sign`: a key of the operator's, on this machine; `allowed_signers`: ssh-keygen's list of who may sign."""

    sign: str | None = Field(default=None, min_length=1)
    allowed_signers: str | None = Field(default=None, min_length=1)


class Hooks(Model):
    """Lines that are run on this machine when a run has ended, split as a shell would, without one. `seconds`: how long
    each may take."""

    on_success: str | None = None
    on_failure: str | None = None
    seconds: float = Field(default=60, gt=0, le=3600)

    @field_validator("on_success", "on_failure")
    @classmethod
    def _can_run(cls, value: str | None) -> str | None:
        try:
            if value is not None and not shlex.split(value):
                raise ValueError("is empty; leave it out")
        except ValueError as error:
            raise ValueError(f"is no command line: {error}") from None
        return value


class Inventory(Model):
    """The whole file. `members` are in server-number order; `old_members` default to them."""

    cluster: Name
    transport: Transport = Transport()
    hosts: dict[Name, Host] = Field(min_length=1)
    members: tuple[Member, ...] = Field(min_length=1)
    old_members: tuple[Member, ...] = ()
    deephaven: Deephaven
    etcd: Etcd = Etcd()
    snapshot: Snapshot = Snapshot()
    offsite: Offsite = Offsite()
    backup: Backup = Backup()
    verify: Verify = Verify()
    expect: Expect = Expect()
    limits: Limits = Limits()
    notify: Notify = Notify()
    evidence: Evidence = Evidence()
    hooks: Hooks = Hooks()
    metrics: str | None = Field(default=None, min_length=1)

    @field_validator("metrics")
    @classmethod
    def _is_a_textfile(cls, value: str | None) -> str | None:
        if value is not None and not value.endswith(".prom"):
            raise ValueError("must be a file that ends in .prom: node_exporter reads no other")
        return value

    @field_validator("hosts", mode="before")
    @classmethod
    def _bare_hosts(cls, value: object) -> object:
        """`etcd-1:` with nothing behind it means a host that is reached by its name."""
        if isinstance(value, dict):
            return {name: {} if host is None else host for name, host in value.items()}
        return value

    @model_validator(mode="after")
    def _hangs_together(self) -> Inventory:
        if not self.old_members:
            object.__setattr__(self, "old_members", self.members)
        if len(self.members) % 2 == 0:
            raise ValueError(
                f"members: {len(self.members)} members; an even number tolerates no more losses "
                "than one fewer, list 1, 3 or 5"
            )
        for field in ("members", "old_members"):
            self._check_members(field, getattr(self, field))
        _no_twice("hosts.address", (host.address or name for name, host in self.hosts.items()), "address")
        known = set(self.hosts)
        for field, names in (
            ("deephaven.hosts", self.deephaven.hosts),
            ("deephaven.configuration_server", (self.deephaven.configuration_server,)),
        ):
            _no_twice(field, names, "host")
            for name in names:
                if name not in known:
                    raise ValueError(f"{field}: {name} is not among hosts; add it there")
        if self.backup.also and not self.snapshot.encrypt:
            raise ValueError(
                "backup.also: is kept nowhere in clear, so it needs snapshot.encrypt; set that, or leave it"
            )
        if any(line for _, line in self.offsite) and not self.snapshot.directory:
            raise ValueError("snapshot.directory: is not set, and what offsite brings goes there; name one")
        if self.verify.host is not None and self.verify.host not in known:
            raise ValueError(f"verify.host: {self.verify.host} is not among hosts; add it there")
        client, data = self.deephaven.client_config, self.etcd.data_root
        if f"{client}/".startswith(f"{data}/") or f"{data}/".startswith(f"{client}/"):
            raise ValueError(f"deephaven.client_config {client} and etcd.data_root {data}: one lies in the other")
        if self.deephaven.configuration_server not in self.deephaven.hosts:
            raise ValueError(
                f"deephaven.hosts: lacks the configuration server {self.deephaven.configuration_server}; add it"
            )
        return self

    def _check_members(self, field: str, members: tuple[Member, ...]) -> None:
        _no_twice(field, (member.name for member in members), "name")
        _no_twice(field, (member.ip for member in members), "address")
        _no_twice(field, (member.host for member in members), "host")
        for number, member in enumerate(members, start=1):
            if member.host not in self.hosts:
                raise ValueError(f"{field}: host {member.host} is not among hosts; add it there")
            tail = re.search(r"-(\d+)$", member.name)
            if field == "members" and tail and int(tail.group(1)) != number:
                raise ValueError(
                    f"members: {member.name} stands at place {number}, so the vendor's tools would "
                    f"give it server number {number}; list members in server-number order, each once"
                )

    def number(self, member: Member) -> int:
        """The vendor's 1-indexed server number."""
        return self.members.index(member) + 1

    def address(self, host: str) -> str:
        return self.hosts[host].address or host


def _no_twice(field: str, values: Iterable[str], kind: str) -> None:
    for value, times in Counter(values).items():
        if times > 1:
            raise ValueError(f"{field}: the {kind} {value} stands there {times} times; keep one")


def _near(name: str, root: Path) -> str:
    """Which inventories there are, the likeliest first."""
    there = sorted(path.stem for path in (root / "inventory").glob("*.yaml") if path.stem != "example")
    like = difflib.get_close_matches(name, there)
    return f"; there are: {', '.join(dict.fromkeys([*like, *there]))}" if there else ""


def find(name: str, root: Path) -> Path:
    """The file that `--hosts=NAME` means: a path, or a file's name in `inventory/` under `root`."""
    candidates = [Path(name), root / "inventory" / f"{name}.yaml", root / "inventory" / name]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise InventoryError(
        f"--hosts={name}",
        f"no such inventory: neither a file of that path nor {candidates[1].relative_to(root)}",
        f"make one: python -m requorum inventory new (docs/inventory.md), or correct the name{_near(name, root)}",
    )


def sha256(path: Path) -> str:
    """Of the file that was read a moment ago."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def load(path: Path) -> Inventory:
    """Reads and checks an inventory. Raises `InventoryError` that names file, field, value and remedy."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InventoryError(
            str(path), f"cannot be read as text: {error}", "check the path, its mode and its encoding"
        ) from None
    try:
        data = yaml_text.load(text, unique=True)
    except yaml_text.YAMLError as error:
        raise InventoryError(str(path), f"is not valid YAML: {_one_line(error)}", "correct that line") from None
    if not isinstance(data, dict):
        raise InventoryError(
            str(path),
            "is empty" if data is None else f"holds a {type(data).__name__}, not named fields",
            "start from inventory/example.yaml",
        )
    try:
        inventory = Inventory.model_validate(data)
    except ValidationError as error:
        raise InventoryError(str(path), *_first(error, text)) from None
    if inventory.transport.backend == "local" and len(inventory.hosts) > 1:
        what = f"transport.backend local is this machine alone (found {len(inventory.hosts)} hosts)"
        raise InventoryError(str(path), what, "reach them by ssh, or list one host")
    return _relative_to(inventory, path.resolve().parent)


def _one_line(error: yaml_text.YAMLError) -> str:
    return re.sub(r"\s+", " ", str(error)).strip()


def _first(error: ValidationError, text: str) -> tuple[str, str]:
    """What is wrong and on which line, and the remedy. All findings are named, since each costs the operator a
    rerun."""
    lines = []
    for item in error.errors():
        field = ".".join(str(part) for part in item["loc"]) or "inventory"
        message = item["msg"].removeprefix("Value error, ")
        value = item.get("input")
        shown = f" (found {value!r})" if isinstance(value, str | int | float | bool) else ""
        if item["type"] == "extra_forbidden":
            message, shown = "is not a known field", ""
        elif item["type"] == "missing":
            message, shown = "is missing", ""
        said = message if not item["loc"] else f"{field} {message}{shown}"
        lines.append(f"line {yaml_text.line_of(text, item['loc'] or _place(message))}: {said}")
    return "; ".join(lines), "correct it; inventory/example.yaml explains every field"


def _place(message: str) -> tuple[str, ...]:
    """Where what is wrong with the whole stands, by its own words: `deephaven.hosts: …`; a place in a list by name."""
    found = re.match(r"[a-z_]+(?:\.[a-z_]+)*(?=[: ])", message)
    return tuple(found[0].split(".")) if found else ()


def schema() -> dict[str, object]:
    """JSON Schema of the file: what an editor needs to complete and to mark it. What fields mean to each other is
    `load`'s alone."""
    made = Inventory.model_json_schema()
    hosts = made["properties"]["hosts"]
    hosts["additionalProperties"] = {"anyOf": [hosts["additionalProperties"], {"type": "null"}]}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **made}


def _relative_to(inventory: Inventory, base: Path) -> Inventory:
    """Paths on the operator's machine are relative to the inventory file, and `~` is the operator's home."""

    def resolved(value: str | None) -> str | None:
        return None if value is None else os.path.normpath(base / Path(value).expanduser())

    snapshot = inventory.snapshot.model_copy(
        update={
            "file": resolved(inventory.snapshot.file),
            "directory": resolved(inventory.snapshot.directory),
        }
    )
    transport = inventory.transport.model_copy(update={"ssh_config": resolved(inventory.transport.ssh_config)})
    of = inventory.evidence
    evidence = of.model_copy(update={"sign": resolved(of.sign), "allowed_signers": resolved(of.allowed_signers)})
    changed = {
        "snapshot": snapshot,
        "transport": transport,
        "evidence": evidence,
        "metrics": resolved(inventory.metrics),
    }
    return inventory.model_copy(update=changed)
