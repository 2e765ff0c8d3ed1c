"""A member's configuration, its health, and the commands that stop, restore and start it, by version."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from requorum import yaml_text
from requorum.command import HUGE, LONG, Command, Result, act, act_long, look, stop_all
from requorum.hosts.certificates import Certificate
from requorum.hosts.systemd import Unit
from requorum.refusal import Refusal


class EtcdError(Refusal):
    """etcd's files or answers are not what they must be."""


# -- what is installed -------------------------------------------------------------------------------------------


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

    @property
    def keys(self) -> tuple[str, ...]:
        """Private keys that the member must be able to read."""
        return tuple(dict.fromkeys(certificate.key for certificate in self.certificates))

    @property
    def health_url(self) -> str:
        """Where `/health` and `/metrics` answer without login: the metrics listener, else a client URL."""
        return self.metrics_url or self.client_urls[0]


def parse_config(text: str, where: str) -> MemberConfig:
    """Reads a `config.yaml`. Raises `EtcdError` naming `where` if it is not one of a cluster member."""
    try:
        data = yaml_text.load(text)
    except yaml_text.YAMLError as error:
        raise EtcdError(where, f"is not YAML: {' '.join(str(error).split())}", "restore it") from None
    if not isinstance(data, dict):
        raise EtcdError(where, "holds no etcd configuration", "restore it")
    wanted = ("name", "data-dir", "initial-cluster-token", "initial-cluster")
    missing = [key for key in wanted if not data.get(key)]
    if missing:
        raise EtcdError(where, f"lacks {', '.join(missing)}", "restore it")
    try:
        return _member_config(data)
    except (AttributeError, TypeError, ValueError) as error:
        raise EtcdError(where, f"has a value that etcd would not take: {error}", "restore it") from None


def _member_config(data: dict[str, Any]) -> MemberConfig:
    transport = data.get("client-transport-security") or {}
    metrics = _urls(data.get("listen-metrics-urls"))
    clients = _urls(data.get("advertise-client-urls")) or ("http://127.0.0.1:2379",)
    return MemberConfig(
        name=str(data["name"]),
        token=str(data["initial-cluster-token"]),
        data_dir=str(data["data-dir"]).rstrip("/"),
        peer_url=(_urls(data.get("initial-advertise-peer-urls")) or ("",))[0],
        client_urls=clients,
        initial_cluster=str(data["initial-cluster"]),
        metrics_url=metrics[0] if metrics else None,
        client_cert=transport.get("cert-file"),
        client_key=transport.get("key-file"),
        demands_client_cert=bool(transport.get("client-cert-auth") or transport.get("trusted-ca-file")),
        election_seconds=float(data.get("election-timeout") or 1000) / 1000,
        certificates=_certificates(data),
        wal_dir=str(data.get("wal-dir") or ""),
    )


NOT_THERE = ("No such file or directory", "Not a directory")


def read_config(answer: Result, where: str) -> MemberConfig | str | None:
    """The configuration in the answer to `cat`; None where there is no such file, else why it cannot be read."""
    if answer.code != 0:
        return None if answer.words.endswith(NOT_THERE) else f"{where} cannot be read: {answer.words}"
    try:
        return parse_config(answer.stdout, where)
    except EtcdError as error:
        return f"{error.where} {error.what}"


def _certificates(data: dict[str, object]) -> tuple[Certificate, ...]:
    """Peer and client certificates. Where clients present none, servers are signed by the peers' CA."""
    sections = [data.get(f"{kind}-transport-security") for kind in ("peer", "client")]
    found = [section for section in sections if isinstance(section, dict)]
    ca = next((str(s["trusted-ca-file"]) for s in found if s.get("trusted-ca-file")), "")
    return tuple(
        Certificate(str(s["cert-file"]), str(s["key-file"]), str(s.get("trusted-ca-file") or ca))
        for s in found
        if s.get("cert-file") and s.get("key-file")
    )


def _urls(value: object) -> tuple[str, ...]:
    return tuple(part.strip() for part in str(value).split(",") if part.strip()) if value else ()


@dataclass(frozen=True)
class Tools:
    """The binaries that restore on a host. `bumps`: has --bump-revision and --mark-compacted."""

    version: str
    restorer: str
    bumps: bool


def ask_tools(host: str) -> list[Command]:
    """Version, where the tools are, and what `restore` can do; capabilities are asked, not guessed from versions."""
    return [
        look(host, "etcd", "--version", why="version of etcd", root=False),
        look(host, "sh", "-c", "command -v etcdutl || command -v etcdctl", why="tool that restores", root=False),
        look(
            host,
            "sh",
            "-c",
            "ETCDCTL_API=3 $(command -v etcdutl || command -v etcdctl) snapshot restore --help",
            why="what the tool can do",
            root=False,
        ),
    ]


def parse_version(text: str) -> str | None:
    """`etcd --version`; None where it is not etcd that answered."""
    found = re.search(r"etcd Version: (\S+)", text)
    return found.group(1) if found else None


def parse_tools(host: str, version: str, where: str, usage: str) -> Tools:
    found = parse_version(version)
    if found is None:
        raise EtcdError(host, "has no etcd in its PATH", "install the etcd that the other members run")
    if not where.strip():
        raise EtcdError(host, "has neither etcdutl nor etcdctl in its PATH", "install etcd's client tools")
    return Tools(found, where.strip().splitlines()[0], "--bump-revision" in usage)


# -- health without login ----------------------------------------------------------------------------------------


def ask_leader(host: str, config: MemberConfig) -> Command:
    """`/metrics` of the member, asked on its own host: answers without login and without consensus."""
    return ask_page(host, config, "metrics", why="whether the member has a leader")


def ask_page(host: str, config: MemberConfig, page: str, why: str = "what the member says of itself") -> Command:
    """`/metrics` or `/health`, asked on the member's own host."""
    cert = (
        ("--cert", config.client_cert, "--key", config.client_key)
        if config.demands_client_cert and config.client_cert and config.client_key
        else ()
    )
    return look(host, "curl", "-sSk", "--max-time", "3", *cert, f"{config.health_url}/{page}", why=why)


def parse_leader(metrics: str) -> bool | None:
    """Whether the member sees a leader; None where it did not answer."""
    found = re.search(r"^etcd_server_has_leader (\d)", metrics, re.M)
    return None if found is None else found.group(1) == "1"


def ask_authentication(host: str, config: MemberConfig) -> Command:
    """A read without login and without consensus, through the JSON gateway on the member's own host."""
    return look(
        host,
        "curl",
        "-sSk",
        "--max-time",
        "3",
        "-d",
        '{"key":"AA==","serializable":true}',
        f"{config.client_urls[0]}/v3/kv/range",
        why="whether reading needs a login",
        root=False,
    )


def demands_login(answer: str) -> bool:
    """etcd's word to a read without a user where authentication is on."""
    return "user name is empty" in answer


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
    final name. Flags come from the member's own `config.yaml`. `note` is (path, text): which snapshot it was.
    `skip_hash`: it is a database from a disk, which carries none.
    """
    part = f"{config.data_dir}.restoring"
    flags: tuple[str, ...] = (f"--bump-revision={bump}", "--mark-compacted") if tools.bumps and bump else ()
    flags += ("--skip-hash-check",) if skip_hash else ()
    return [
        stop_all(host, "end what an interrupted restore left running"),
        act_long(host, "rm", "-rf", part, why="clear what an interrupted restore left unfinished"),
        act_long(
            host,
            "env",
            "ETCDCTL_API=3",
            tools.restorer,
            "snapshot",
            "restore",
            snapshot,
            f"--name={config.name}",
            f"--initial-cluster={config.initial_cluster}",
            f"--initial-cluster-token={config.token}",
            f"--initial-advertise-peer-urls={config.peer_url}",
            f"--data-dir={part}",
            *flags,
            why="restore the snapshot" + (", whose hash is not checked" if skip_hash else ""),
            deadline=HUGE,
        ),
        act(host, "chown", "-R", f"{owner}:{owner}", part, why=f"{owner} owns its data"),
        act(host, "chmod", "700", part, why="and nobody else reads it"),
        Command(
            host,
            ("dd", f"of={note[0]}", "conv=fsync", "status=none"),
            "note which snapshot was restored",
            stdin=f"{note[1]}\n".encode(),
        ),
        act(host, "mv", "-T", part, config.data_dir, why="the restored data gets its name"),
    ]


def start(host: str, unit: str) -> list[Command]:
    """Starts without waiting: a Type=notify unit is ready only when its peers are up too."""
    return [
        act(host, "systemctl", "enable", "--now", "--no-block", unit, why=f"start {unit}, now and with the machine")
    ]


# -- what a running cluster says (asked through the vendor's etcdctl) --------------------------------------------
