"""A member's configuration, its health, and the commands that stop, restore and start it, by version."""

from __future__ import annotations

import ipaddress
import posixpath
import re
import shlex
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from requorum import yaml_text
from requorum.command import Command, Result, act, act_long, look
from requorum.deadlines import LONG, RESTORE, wait
from requorum.hosts import kept
from requorum.hosts.certificates import Certificate
from requorum.hosts.kept import File
from requorum.hosts.question import NAME, NOT_THERE, PATH, Question, checked, in_time, is_foreseen, plain
from requorum.hosts.systemd import ExecStart, Unit, filled, flags
from requorum.refusal import Refusal

T = TypeVar("T")


class EtcdError(Refusal):
    """etcd's files or answers are not what they must be."""


# -- what is installed -------------------------------------------------------------------------------------------


URL = re.compile(r"(https?|‹[a-z-]+›)://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9][A-Za-z0-9.-]{0,252})(:[0-9]{1,5})?")


class Address(NamedTuple):
    """Where a URL leads. `host` is an IP address or a name, without brackets, `port` None where none is written."""

    scheme: str
    host: str
    port: int | None

    @property
    def url(self) -> str:
        """With a port that is written."""
        return f"{self.scheme}://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


def address(url: str) -> Address:
    """https://[fd00::1]:2379 → (https, fd00::1, 2379); empty for what is not scheme, host and port alone."""
    found, nowhere = URL.fullmatch(url), Address("", "", None)
    if not found:
        return nowhere
    scheme, host, port = found[1], found[2].strip("[]"), int(found[3][1:]) if found[3] else None
    try:
        ipaddress.ip_address(host if found[2][0] == "[" else "::1")
    except ValueError:
        return nowhere
    return nowhere if port is not None and not 0 < port < 1 << 16 else Address(scheme, host, port)


def is_url(text: str) -> bool:
    """Whether it is a member's: it goes into configurations, command lines and a hosts file."""
    scheme = address(text).scheme
    return bool(scheme) and ("‹" not in scheme or is_foreseen(scheme))


@dataclass(frozen=True)
class MemberConfig:
    """What the runbook needs of a member's `config.yaml`. URLs as written, timeouts in seconds."""

    name: str
    token: str
    data_dir: str
    peer_url: str
    client_urls: tuple[str, ...]
    initial_cluster: str
    metrics_url: str | None
    client_cert: str | None
    client_key: str | None
    demands_client_cert: bool
    election_seconds: float
    certificates: tuple[Certificate, ...] = ()
    wal_dir: str = ""  # "" where the log is in the data directory
    settings: tuple[tuple[str, str], ...] = ()  # every name with a plain value, as it is written

    @property
    def keys(self) -> tuple[str, ...]:
        """Private keys that the member must be able to read."""
        return tuple(dict.fromkeys(certificate.key for certificate in self.certificates))

    @property
    def peers(self) -> tuple[tuple[str, str], ...]:
        """(name, peer URL) of each member in `initial_cluster`."""
        pairs = (part.partition("=") for part in self.initial_cluster.split(","))
        return tuple((name, url) for name, _, url in pairs)

    @property
    def health_url(self) -> str:
        """Where `/health` and `/metrics` answer without login: the metrics listener, else a client URL."""
        return self.metrics_url or self.client_urls[0]


class UnusableError(EtcdError):
    """The configuration of a member, with a word that must not become a name, a path or an address."""


MOST_BYTES = 1 << 16  # of a `config.yaml`
MOST_ELECTION_SECONDS = 50  # etcd takes no more


RELATIVE = "is relative, and only the working directory of its unit says to what"
_TABS = re.compile(r"(?m)(?:(?<=:)[ \t]+|[ \t]+$|[ \t]+(?=#))")  # between words, not before the first one


def parse_config(text: str, where: str) -> MemberConfig:
    """Reads a `config.yaml`. Raises `EtcdError` naming `where` if it is not one of a cluster member, `UnusableError` if
    it is, and a word of it is not what it must be. The token alone may be any: it is only compared, shown and quoted.
    """
    if len(text) > MOST_BYTES:
        raise EtcdError(where, f"is no etcd configuration: it has more than {MOST_BYTES:,} characters", "restore it")
    try:
        data = yaml_text.load(_TABS.sub(lambda found: found[0].replace("\t", " "), text))  # which etcd's reader takes
    except yaml_text.YAMLError as error:
        raise EtcdError(where, f"is not YAML: {' '.join(plain(str(error)).split())}", "restore it") from None
    if not isinstance(data, dict):
        raise EtcdError(where, "holds no etcd configuration", "restore it")
    return _usable(where, data, ("name", "data-dir", "initial-cluster-token", "initial-cluster"))


def _usable(where: str, data: dict[str, Any], wanted: Iterable[str]) -> MemberConfig:
    missing = [key for key in wanted if not data.get(key)]
    if missing:
        raise EtcdError(where, f"lacks {', '.join(missing)}", "restore it")
    try:
        return _member_config(where, data)
    except Refusal as refusal:
        raise UnusableError(
            where, refusal.what, "look at it, and restore it from a backup of that very machine"
        ) from None
    except (AttributeError, TypeError, ValueError, OverflowError) as error:
        raise UnusableError(where, f"has a value that etcd would not take: {plain(str(error))}", "restore it") from None


_NOTHING = re.compile(r"/(?:\.?/)+")  # in a path: etcd and the kernel pass over it


def _member_config(where: str, data: dict[str, Any]) -> MemberConfig:
    def path(name: str, section: Mapping[str, object] = data) -> str:
        value = str(section.get(name) or "")
        if name in ("data-dir", "wal-dir") and value[:1] not in ("", "/") and not is_foreseen(value):
            raise EtcdError(where, f"its {name} {value[:200]!r} {RELATIVE}", "write the whole path")
        return checked(where, name, _NOTHING.sub("/", f"{value}/").rstrip("/") or value, PATH) if value else ""

    def url(name: str, text: str) -> str:
        if not is_url(text):
            raise ValueError(f"{name} {text[:200]!r}")
        return text

    def urls(name: str) -> tuple[str, ...]:
        parts = str(data.get(name) or "").split(",")
        return tuple(url(name, part.strip()) for part in parts if part.strip())

    sections = {kind: data.get(f"{kind}-transport-security") or {} for kind in ("peer", "client")}
    named = {kind: tuple(path(f"{part}-file", s) for part in _FILES) for kind, s in sections.items()}
    client, metrics = sections["client"], urls("listen-metrics-urls")
    election = float(data.get("election-timeout") or 1000) / 1000
    if not 0 < election <= MOST_ELECTION_SECONDS:
        raise ValueError(f"election-timeout {election} s")
    members = str(data["initial-cluster"])
    for one in members.split(",") if not is_foreseen(members) else ():
        name, _, at = one.partition("=")
        url("initial-cluster", at)
        checked(where, "name in initial-cluster", name, NAME)
    data_dir = path("data-dir")
    if data_dir == "/":
        raise ValueError("data-dir /")
    return MemberConfig(
        name=checked(where, "name", str(data["name"]), NAME),
        token=str(data["initial-cluster-token"]),
        data_dir=data_dir,
        peer_url=(urls("initial-advertise-peer-urls") or ("",))[0],
        client_urls=urls("advertise-client-urls") or ("http://127.0.0.1:2379",),
        initial_cluster=members,
        metrics_url=metrics[0] if metrics else None,
        client_cert=named["client"][0] or None,
        client_key=named["client"][1] or None,
        demands_client_cert=bool(client.get("client-cert-auth") or client.get("trusted-ca-file")),
        election_seconds=election,
        certificates=_certificates(named.values()),
        wal_dir=path("wal-dir"),
        settings=_scalars(data),
    )


_FILES = ("cert", "key", "trusted-ca")


def _scalars(data: Mapping[str, object]) -> tuple[tuple[str, str], ...]:
    """Of a configuration: every name with a plain value, as YAML spells it."""
    plain = {name: value for name, value in data.items() if isinstance(value, str | int | float)}
    return tuple(
        (str(name), str(value).lower() if isinstance(value, bool) else str(value)) for name, value in plain.items()
    )


def told(unit: str, found: ExecStart, files: Mapping[str, str]) -> MemberConfig | str | None:
    """The configuration that a unit gives etcd by flags and environment, flags before `ETCD_…`, where there is no
    configuration file, beside which etcd ignores both. Where they do not say all of it, why; None where they say
    nothing of where data is. `files`: what the environment's files say."""
    words, values = filled(found, files)
    said: dict[str, Any] = {n[5:].lower().replace("_", "-"): v for n, v in values.items() if n[:5] == "ETCD_" and v}
    said |= flags(words)
    if words[0].rpartition("/")[2] != "etcd" or "config-file" in said:
        return None
    urls = {"peer": "initial-advertise-peer-urls", "client": "advertise-client-urls"}
    wanted = ["name", "data-dir", "initial-cluster-token", "initial-cluster", *urls.values()]
    for kind, prefix in (("peer", "peer-"), ("client", "")):
        tls = {f"{part}-file": said.get(f"{prefix}{part}-file", "") for part in _FILES}
        asked = said.get(f"{prefix}client-cert-auth", "false").lower() not in ("false", "f", "0")
        said[f"{kind}-transport-security"] = {**tls, "client-cert-auth": asked}
        if "https:" in said.get(urls[kind], ""):
            wanted += [f"{prefix}cert-file", f"{prefix}key-file"]
    named = "data-dir" in said or "wal-dir" in said
    if found.directory[:1] in ("", "/", "-") and said.get("name"):
        start = found.directory.lstrip("-") or "/"
        said["data-dir"] = posixpath.join(start, said.get("data-dir") or f"{said['name']}.etcd")
        said |= {"wal-dir": posixpath.join(start, said["wal-dir"])} if said.get("wal-dir") else {}
    try:
        return _usable("what it says by flags and environment", said, wanted)
    except EtcdError as error:
        return f"{unit} starts etcd without a configuration file, and {error.where} {error.what}" if named else None


def _certificates(named: Iterable[tuple[str, ...]]) -> tuple[Certificate, ...]:
    """Peer and client certificates. Where clients present none, servers are signed by the peers' CA."""
    ca = next((own for _, _, own in named if own), "")
    return tuple(Certificate(cert, key, own or ca) for cert, key, own in named if cert and key)


def is_not_there(answer: Result) -> bool:
    """Whether a file is proven not to be there: that is all that was said, and nothing kept it from being said."""
    said = answer.stderr.strip().splitlines()
    return answer.code != 0 and not answer.hindered and len(said) == 1 and said[0].rstrip().endswith(NOT_THERE)


def ask_config(host: str, path: str) -> Question[MemberConfig | EtcdError | None]:
    """The installed configuration; None where there is none. One that cannot be read or used is why, since a broken
    machine must not stop what does not need it: `facts.configs` raises it, `facts.old_configs` takes it for none."""
    return Question(look(host, "cat", path, why=f"read {path}"), lambda answer: _read_config(answer, f"{host}:{path}"))


def _read_config(answer: Result, where: str) -> MemberConfig | EtcdError | None:
    if answer.code != 0:
        if is_not_there(answer):
            return None
        return EtcdError(where, f"cannot be read: {answer.words}", "look at that host's disk, and restore the file")
    try:
        return parse_config(answer.stdout, where)
    except EtcdError as error:
        return error


@dataclass(frozen=True)
class Tools:
    """The binaries that restore on a host. `bumps`: has --bump-revision and --mark-compacted."""

    version: str
    restorer: str
    bumps: bool


def ask_tools(host: str, path: str = "") -> Question[Tools]:
    """Version, where root finds the tools, and what `restore` can do: asked, not guessed from versions.
    Its first command alone is `etcd --version`. Refuses a host that lacks one of them. `path`: root's; "": the login's.
    """
    here = f"PATH={shlex.quote(path)}; " if path else ""
    where = f"{here}command -v etcdutl || command -v etcdctl"
    usage = f"{here}ETCDCTL_API=3 $(command -v etcdutl || command -v etcdctl) snapshot restore --help"
    return Question(
        (
            look(host, "etcd", "--version", why="version of etcd", root=False),
            look(host, "sh", "-c", where, why="tool that restores", root=False),
            look(host, "sh", "-c", usage, why="options of that tool", root=False),
        ),
        lambda version, found, options: _read_tools(path, version, found, options),
    )


def parse_version(text: str) -> str | None:
    """`etcd --version`; None where it is not etcd that answered."""
    found = re.search(r"etcd Version: ([A-Za-z0-9.+~-]{1,64})(?!\S)", text)
    return found.group(1) if found else None


def _read_tools(path: str, version: Result, where: Result, usage: Result) -> Tools:
    host, found, lines = version.command.host, parse_version(version.stdout), where.stdout.strip().splitlines()
    if mute := next((answer for answer in (version, where, usage) if answer.hindered and answer.code != 127), None):
        raise EtcdError(host, f"cannot be asked for the {mute.command.why}: {mute.words}", "look at it, then run again")
    if found is None:
        raise EtcdError(host, "has no etcd in its PATH", "install the etcd that the other members run")
    if not lines and path:
        what = f"has neither etcdutl nor etcdctl where root looks for them: sudo's secure_path is {path}"
        raise EtcdError(host, what, "install etcd's client tools, or add their directory to secure_path in sudoers")
    if not lines:
        raise EtcdError(host, "has neither etcdutl nor etcdctl in its PATH", "install etcd's client tools")
    return Tools(found, checked(host, "tool", lines[0], PATH), "--bump-revision" in usage.stdout + usage.stderr)


def ask_size(host: str, config: MemberConfig) -> Question[int | None]:
    """Bytes of the member's database; None where there is none."""
    command = look(host, "stat", "-c", "%s", f"{config.data_dir}/member/snap/db", why="size of the database")
    return Question(command, lambda answer: None if in_time(answer).code else int(answer.stdout))


# -- health without login ----------------------------------------------------------------------------------------


NO_PROXY = ("--noproxy", "*")  # whatever environment or .curlrc says; behind the URL, where sudo's lines end in `*`


def ask_leader(host: str, config: MemberConfig) -> Question[bool | None]:
    """Whether the member sees a leader; None where it does not answer. Without login and without consensus."""
    return ask_page(host, config, "metrics", sees_leader, why="whether the member has a leader")


@dataclass(frozen=True)
class Metrics:
    """None where the member does not say."""

    has_leader: bool | None = None
    revision: int | None = None


def ask_metrics(host: str, config: MemberConfig) -> Question[Metrics]:
    return ask_page(host, config, "metrics", _read_metrics, why="whether the member has a leader")


def _read_metrics(page: str) -> Metrics:
    """The revision is a floating number of Prometheus, whole up to 2^53; from 3.4 on, etcd gives it."""
    found = re.search(r"^etcd_debugging_mvcc_current_revision (\d{1,20}(?:\.\d{1,20})?(?:e\+\d\d)?)$", page, re.M)
    revision = int(float(found[1])) if found else None
    return Metrics(sees_leader(page), revision if revision is not None and revision < 1 << 63 else None)


def ask_page(
    host: str, config: MemberConfig, page: str, read: Callable[[str], T], why: str = "what the member says of itself"
) -> Question[T]:
    """`/metrics` or `/health`, asked on the member's own host: what `read` makes of it, of "" where there is none."""
    cert = (
        ("--cert", config.client_cert, "--key", config.client_key)
        if config.demands_client_cert and config.client_cert and config.client_key
        else ()
    )
    argv = ("curl", "-sSk", "--max-time", wait(3), *cert, f"{config.health_url}/{page}", *NO_PROXY)
    return Question(look(host, *argv, why=why), lambda answer: read(answer.stdout if answer.code == 0 else ""))


def sees_leader(metrics: str) -> bool | None:
    found = re.search(r"^etcd_server_has_leader (\d)", metrics, re.M)
    return None if found is None else found.group(1) == "1"


def ask_authentication(host: str, config: MemberConfig) -> Question[bool | None]:
    """Whether reading needs a login: a read without one and without consensus, through the JSON gateway; None where it
    was not answered, as where a client certificate is demanded."""
    argv = ("curl", "-sSk", "--max-time", wait(3), "-d", '{"key":"AA==","serializable":true}')
    url = f"{config.client_urls[0]}/v3/kv/range"

    def read(answer: Result) -> bool | None:
        if "user name is empty" in answer.stdout:  # etcd's word where authentication is on
            return True
        return False if '"header":' in answer.stdout else None

    return Question(look(host, *argv, url, *NO_PROXY, why="whether reading needs a login", root=False), read)


# -- stopping and setting aside ----------------------------------------------------------------------------------


LIBS = ("/usr/lib", "/lib")  # one and the same directory where /usr is merged


def unit_files(unit: str, found: Unit) -> tuple[str, ...]:
    """Where the unit may lie: in /etc (itself, a link or a mask), where systemd found it, and behind a mask."""
    places = (f"/etc/systemd/system/{unit}", found.fragment, *(f"{lib}/systemd/system/{unit}" for lib in LIBS))
    return tuple(dict.fromkeys(place for place in places if place and place != "/dev/null"))


def stop_and_set_aside(host: str, unit: str, found: Unit, files: tuple[str, ...], aside: str) -> list[Command]:
    """Stops the unit and moves its `files` into `aside`, with a note of what it was. Nothing is deleted.

    Nothing to do gives an empty list, so that a second run passes over it.
    """
    stop = Command(host, ("systemctl", "stop", unit), f"stop {unit}", deadline=LONG)  # a large database takes its time
    plan = [stop] if found.running else []
    reload = act(host, "systemctl", "daemon-reload", why="systemd forgets the old unit")
    if not files:
        return [*plan, *([] if found.load == "not-found" else [reload])]
    note = f"{found.load} {found.active} {found.enabled} {found.fragment}\n"
    disable = act(host, "systemctl", "disable", "--no-reload", unit, why=f"{unit} must not start by itself")
    moves = [
        act(
            host,
            "mv",
            "--backup=numbered",
            "-T",
            path,
            f"{aside}/{path.strip('/').replace('/', '_')}",
            why=f"set {path} aside",
        )
        for path in files
    ]
    plan = [
        act(host, "mkdir", "-p", aside, why="where old things are kept"),
        Command(
            host,
            ("dd", f"of={aside}/{unit}.was", "conv=excl", "status=none"),
            f"note what {unit} was, once",
            stdin=note.encode(),
            accept=(0, 1),
        ),
        *plan,
    ]
    if found.load == "masked" and len(moves) > 1:  # a masked unit cannot be disabled before its mask is away
        plan += [moves.pop(0), reload, disable]
    elif found.enabled == "enabled":
        plan.append(disable)
    plan += [*moves, reload]
    if found.active == "failed":
        plan.append(act(host, "systemctl", "reset-failed", unit, why="and its failure", accept=(0, 1, 5)))
    return plan


# -- restoring ---------------------------------------------------------------------------------------------------


def bump_words(tools: Tools, bump: int) -> tuple[str, ...]:
    """What raises the restored revision, and marks all before it compacted, where the tool can."""
    return (f"--bump-revision={bump}", "--mark-compacted") if tools.bumps and bump else ()


def restore_words(tools: Tools, config: MemberConfig, bump: int, skip_hash: bool = False) -> tuple[str, ...]:
    """All that tells one restore of a snapshot from another but the place: whose data it becomes, and how."""
    return (
        f"--name={config.name}",
        f"--initial-cluster={config.initial_cluster}",
        f"--initial-cluster-token={config.token}",
        f"--initial-advertise-peer-urls={config.peer_url}",
        *bump_words(tools, bump),
        *(("--skip-hash-check",) if skip_hash else ()),
    )


def restore_into(
    host: str, tools: Tools, config: MemberConfig, place: str, snapshot: str, bump: int, skip_hash: bool = False
) -> Command:
    """Restores `snapshot` as the member's data, by flags from its own `config.yaml`, into a directory that is not there
    yet. `skip_hash`: it is a database from a disk, which carries none."""
    words = ("env", "ETCDCTL_API=3", tools.restorer, "snapshot", "restore", snapshot, f"--data-dir={place}")
    why = "restore the snapshot" + (", whose hash is not checked" if skip_hash else "")
    return act_long(host, *words, *restore_words(tools, config, bump, skip_hash), why=why, deadline=RESTORE)


def half(config: MemberConfig) -> str:
    """Where a member's data lies until it is whole."""
    return f"{config.data_dir}.restoring"


def restore(
    host: str,
    tools: Tools,
    config: MemberConfig,
    snapshot: str,
    owner: str,
    bump: int,
    note: tuple[str, str],
    skip_hash: bool = False,
) -> list[Command]:
    """Restores `snapshot` into the member's data directory, which exists only once it is whole.

    The work is done beside it and moved into place, so that an interruption leaves no half directory under the
    final name. `note` is (path, text): which snapshot it was. `skip_hash` as `restore_into` has it.
    """
    part = half(config)
    return [
        restore_into(host, tools, config, part, snapshot, bump, skip_hash),
        act(host, "chown", "-R", f"{owner}:{owner}", part, why=f"{owner} owns its data"),
        act(host, "chmod", "700", part, why="and nobody else reads it"),
        kept.write(host, File(note[0], f"{note[1]}\n"), "note which snapshot was restored"),
        act(host, "mv", "-T", part, config.data_dir, why="the restored data gets its name"),
    ]


def start(host: str, unit: str) -> list[Command]:
    """Starts without waiting: a Type=notify unit is ready only when its peers are up too."""
    return [
        act(host, "systemctl", "enable", "--now", "--no-block", unit, why=f"start {unit}, now and with the machine")
    ]
