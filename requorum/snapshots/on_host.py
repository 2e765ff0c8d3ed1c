"""A snapshot that a run has made on a host: what is asked of it, and how the answers become a `Source`.

For what was salvaged, and for a database that is the last resort. Pure functions only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from requorum.cluster import deephaven
from requorum.cluster.etcdctl import parse_snapshot_status
from requorum.cluster.lineage import Lineage
from requorum.command import HUGE, LONG, Command, Result, act_long, look
from requorum.run.marker import ON_DISK
from requorum.run.terms import Terms
from requorum.snapshots.snapshot import TRAILER, Source


@dataclass(frozen=True)
class Origin:
    """Whose data it is: `kind`, `lineage` and `bumps` as in `Source`, `taken` in RFC 3339."""

    kind: str
    lineage: Lineage | None
    bumps: int
    taken: str


def ask(host: str, path: str) -> list[Command]:
    """SHA-256, size, what etcd reads in it, and the hash at its end with that of all before it."""
    name = path.rsplit("/", 1)[-1]
    ends = f'tail -c {TRAILER} "$0" | od -An -v -tx1 | tr -d " \\n"; echo; head -c -{TRAILER} "$0" | sha256sum'
    return [
        look(host, "sha256sum", path, why=f"SHA-256 of {name}", accept=(0,), deadline=HUGE),
        look(host, "stat", "-c", "%s", path, why="its size", accept=(0,)),
        ask_status(host, path),
        look(host, "sh", "-c", ends, path, why="the hash that it carries", accept=(0,), deadline=HUGE),
    ]


def ask_status(host: str, path: str) -> Command:
    tool = '$(command -v etcdutl || command -v etcdctl) snapshot status -w json "$0"'
    return Command(
        host,
        ("env", "ETCDCTL_API=3", "sh", "-c", tool, path),
        f"revision and pages of {path.rsplit('/', 1)[-1]}",
        changes=False,
        deadline=LONG,
        accept=None,
    )


def parse(origin: Origin, host: str, path: str, answers: Sequence[Result]) -> Source | str:
    """The source, or why it cannot be restored. A database from a disk carries no hash."""
    digest, size, status, ends = answers
    if status.code != 0:
        return f"cannot be read: {status.words}"
    carried, found = ends.stdout.splitlines()
    if origin.kind != ON_DISK and carried != found.split(" ")[0]:
        return "does not match the SHA-256 at its end"
    revision, keys = parse_snapshot_status(status.stdout)
    sha256 = digest.stdout.split(" ")[0]
    return Source(
        origin.kind, host, path, sha256, int(size.stdout), origin.taken, revision, keys, origin.lineage, origin.bumps
    )


def save(terms: Terms, endpoint: str, name: str, patience: int) -> Command:
    """`snapshot save` from one member, by the vendor's etcdctl; `patience` in seconds is for the login."""
    return act_long(
        terms.configuration_server,
        *deephaven.etcdctl(terms.inventory, why="").argv,
        f"--endpoints={endpoint}",
        f"--dial-timeout={patience}s",
        "snapshot",
        "save",
        terms.place(name),
        why=f"save a snapshot from {endpoint}",
        deadline=HUGE,
        accept=None,
    )
