"""Builders that the unit tests share: an inventory as a dictionary, terms of a run, fact sheets, a small snapshot.

Everything has a default that is true of a healthy small cluster, so that a test names only what it is about.
"""

from __future__ import annotations

import copy
import hashlib
import shlex
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from requorum.cluster.etcd import MemberConfig, Tools
from requorum.command import Action, Command, Result
from requorum.hosts import kept
from requorum.hosts.question import Question
from requorum.hosts.systemd import Unit
from requorum.inventory import Inventory
from requorum.refusal import Refusal
from requorum.run import history, marker
from requorum.run.history import Told
from requorum.run.marker import Marker, Phase
from requorum.run.terms import Terms

RUN = "20260101t000000z-abcdef"
TOKEN = f"lab-{RUN}"
PLACE = f"/var/lib/requorum/lab/{RUN}"
UNIT = "dh-etcd.service"
CLIENT = "/etc/sysconfig/deephaven/etcd/client"
ARCHIVE = "/etc/sysconfig/deephaven/etcd/dh_etcd_config.tgz"
BIN = "/usr/illumon/latest/bin"
SHORT = "sudo -n timeout -k 5 60"
LONG = "sudo -n timeout -k 5 900"
HUGE = "sudo -n timeout -k 5 7200"
SCOPE = "systemd-run --quiet --scope --collect --slice=requorum.slice --property=TimeoutStopSec=5"

# What a host may say to a terminal: clear and rename it, go back over what stands there, turn the text around.
OBEYED = "\x1b[2J\x1b]0;x\x07 no\ryes\b\b\b \x9b6n \u202eon\u2066 \u200b\x00\x85\u2028"

STOPPED = Unit("loaded", "inactive", "dead", "enabled", f"/usr/lib/systemd/system/{UNIT}")
RUNNING = Unit("loaded", "active", "running", "enabled", f"/usr/lib/systemd/system/{UNIT}")
ABSENT = Unit("not-found", "inactive", "dead", "", "")
BUMPING = Tools("3.5.16", "/usr/bin/etcdutl", bumps=True)
OLDER = Tools("3.4.23", "/usr/bin/etcdctl", bumps=False)

SECOND_DIALECT = {
    "etcdctl": "/opt/vendor2/bin/dhctl --as root kv",
    "etcdctl_as": "/opt/vendor2/bin/dhctl --dir {client} kv",
    "monit_down": "/opt/vendor2/bin/monitctl --user {admin_user} halt",
    "monit_up": "/opt/vendor2/bin/monitctl --user {admin_user} go",
    "monit_status": "/opt/vendor2/bin/monitctl list",
    "generate": "/opt/vendor2/bin/make_etcd_config {ips_comma} --name={cluster_id}",
    "unpack_server": "/opt/vendor2/bin/install_server --number={number} -f {archive}",
    "unpack_client": "/opt/vendor2/bin/install_client -f {archive}",
}


def member(number: int, host: str | None = None, ip: str | None = None) -> dict[str, str]:
    return {
        "name": f"etcd-{number}",
        "host": host or f"etcd-{number}",
        "ip": ip or f"10.0.0.{10 + number}",
    }


def document(**fields: Any) -> dict[str, Any]:
    """An inventory as YAML would give it: three members, a configuration server and a query host."""
    names = ("etcd-1", "etcd-2", "etcd-3", "infra-1", "query-1")
    plain: dict[str, Any] = {
        "cluster": "lab",
        "hosts": {name: {"address": f"{name}.invalid"} for name in names},
        "members": [member(1), member(2), member(3)],
        "deephaven": {"configuration_server": "infra-1", "hosts": ["infra-1", "query-1"]},
    }
    return copy.deepcopy({**plain, **fields})


def inventory(commands: dict[str, str] | None = None, **fields: Any) -> Inventory:
    data = document(**fields)
    data["deephaven"]["commands"] = commands or {}
    return Inventory.model_validate(data)


def replaced(**fields: Any) -> Inventory:
    """Member 3's machine is destroyed, and the spare `etcd-4` takes its number."""
    hosts: dict[str, dict[str, str]] = {
        name: {} for name in ("etcd-1", "etcd-2", "etcd-3", "etcd-4", "infra-1", "query-1")
    }
    members = [member(1), member(2), member(3, "etcd-4", "10.0.0.14")]
    old = [member(1), member(2), member(3)]
    return inventory(hosts=hosts, members=members, old_members=old, **fields)


def mark(phase: Phase = Phase.OPEN, run: str = RUN, by: str = "ops@desk", **fields: Any) -> Marker:
    return Marker(run=run, token=f"lab-{run}", phase=phase, by=by, **fields)


def terms(phase: Phase = Phase.OPEN, gone: tuple[str, ...] = (), of: Inventory | None = None) -> Terms:
    return Terms(of or inventory(), mark(phase), gone)


def config(number: int = 1, token: str = "old", **fields: Any) -> MemberConfig:
    values: dict[str, Any] = {
        "name": f"etcd-{number}",
        "token": token,
        "data_dir": f"/var/lib/etcd/dh/{token}",
        "peer_url": f"https://10.0.0.{10 + number}:2380",
        "client_urls": (f"https://10.0.0.{10 + number}:2379",),
        "initial_cluster": ",".join(f"etcd-{n}=https://10.0.0.{10 + n}:2380" for n in (1, 2, 3)),
        "metrics_url": None,
        "client_cert": None,
        "client_key": None,
        "demands_client_cert": False,
        "election_seconds": 1.0,
    }
    return MemberConfig(**{**values, **fields})


def lines(plan: Sequence[Action]) -> list[str]:
    """A plan as the operator reads it, `host: exact shell line`, without sudo where the command has none."""
    return [f"{action.host}: {action.line()}" if isinstance(action, Command) else action.shown() for action in plan]


def written(path: str, *places: str) -> str:
    """How a small file of ours is written, as the operator reads it."""
    text = (kept.PLACED if places else kept.PLAIN).one
    return f"sudo -n timeout -k 5 60 {shlex.join(('sh', '-c', text, path, *places))}"


def stdins(plan: Sequence[Action]) -> list[bytes]:
    return [action.stdin for action in plan if isinstance(action, Command) and action.stdin is not None]


def database(pages: int = 8) -> bytes:
    """The smallest thing that looks like bbolt: 512-byte blocks with its magic at byte 16."""
    body = bytearray(bytes(range(256)) * 2 * pages)
    body[16:20] = bytes.fromhex("edda0ced")
    return bytes(body)


def snapshot(directory: Path, name: str = "etcd.snap", body: bytes | None = None) -> Path:
    """A whole snapshot: database and its SHA-256."""
    data = database() if body is None else body
    path = directory / name
    path.write_bytes(data + hashlib.sha256(data).digest())
    return path


def answered(question: Command, text: str) -> Result:
    return Result(question, 0, text, "", 0.0)


@contextmanager
def refused_by(*hosts: str) -> Iterator[None]:
    """What is not understood may end in a `Refusal` that names one of `hosts`, and in nothing else."""
    try:
        yield
    except Refusal as refusal:
        if refusal.where not in hosts:
            raise


T = TypeVar("T")


def understood(question: Question[T], *texts: str, code: int = 0, stderr: str = "") -> T:
    """What a question makes of an answer; with fewer texts than commands the first is said to all."""
    said = texts if len(texts) == len(question.commands) else texts[:1] * len(question.commands)
    return question.understand(
        [Result(c, code, text, stderr, 0.0) for c, text in zip(question.commands, said, strict=True)]
    )


def runs(host: str, mark: str = "", names: Iterable[str] = (), births: str = "") -> Told:
    """What a host says of runs. `names`: paths below the cluster's directory."""
    kept = "".join(f"{marker.directory('lab', name)}\n" for name in names)
    return understood(history.ask_runs(host, "lab"), mark, f"{kept}=\n{births}")


def df(command: Command, row: str, head: str = "Filesystem Size Used Available Use% On") -> str:
    """What df says where all that it is asked for lies on one file system."""
    return f"{head}\n" + f"{row}\n" * sum(word.startswith("/") for word in command.argv)
