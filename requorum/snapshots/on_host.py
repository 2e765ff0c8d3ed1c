"""A snapshot on a host: the one way to save it, and the one way to tell what it is."""

from __future__ import annotations

from dataclasses import dataclass, replace

from requorum.cluster import deephaven
from requorum.cluster.etcd import EtcdError
from requorum.cluster.etcdctl import parse_snapshot_status
from requorum.cluster.lineage import Lineage
from requorum.command import SUM, Command, Result, act_long, look
from requorum.deadlines import HUGE, LONG, wait
from requorum.hosts.question import Question
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


@dataclass(frozen=True)
class Unread:
    """Why a file cannot be restored. `hindered`: that is the host's doing, and says nothing of the data."""

    why: str
    hindered: bool = False


def etcdctl(terms: Terms) -> tuple[str, ...]:
    """The vendor's, on the configuration server: no etcdctl needs to be in the PATH there."""
    said = terms.inventory.deephaven
    return deephaven.vendor(said.commands.etcdctl, admin_user=said.admin_user)


def reader(terms: Terms) -> tuple[str, ...]:
    """The same as root, who may read every file and needs no login for that."""
    words = etcdctl(terms)
    return words[words.index(deephaven.executable(terms.inventory.deephaven.commands.etcdctl)) :]


# The vendor's etcdctl may run as an account that may not enter a directory of root's. It writes into one of its own,
# which is shown to it alone at a place that everybody may enter.
_SAVE_AS = """
at=$0.saving
install -d -m 700 -o "$1" "$at" && shift &&
unshare -m sh -c 'mount --bind "$0" /mnt && exec "$@" /mnt/saved' "$at" "$@" &&
mv -fT "$at/saved" "$0" && rmdir "$at"
"""


def save(terms: Terms, endpoint: str, path: str, patience: int = 10, accept: tuple[int, ...] | None = None) -> Command:
    """`snapshot save` from one member to the configuration server; `patience` in seconds is for the login."""
    words = (*etcdctl(terms), f"--endpoints={endpoint}", wait(patience, "--dial-timeout={}s"), "snapshot", "save")
    said = terms.inventory.deephaven
    account = deephaven.account(said.commands.etcdctl, said.admin_user)
    return act_long(
        terms.configuration_server,
        *((*words, path) if account is None else ("sh", "-c", _SAVE_AS, path, account, *words)),
        why=f"save a snapshot from {endpoint}",
        deadline=HUGE,
        accept=accept,
        makes=(path,),
    )


def ask_source(
    origin: Origin, host: str, path: str, named: str = "", vendor: tuple[str, ...] = ()
) -> Question[Source | Unread]:
    """What etcd reads in it, its SHA-256 and size, and that the hash at its end is that of all before it; a database
    from a disk carries none. `named`: where it will lie; `vendor` as `ask_status` has it."""
    name = path.rsplit("/", 1)[-1]
    ends = (
        f'tail -c {TRAILER} "$0" | od -An -v -tx1 | tr -d " \\n"; echo; head -c -{TRAILER} "$0" | '
        "if openssl dgst -sha256 </dev/null >/dev/null 2>&1; then openssl dgst -sha256 -r; else sha256sum; fi"
    )
    status = ask_status(host, path, vendor)

    def read(digest: Result, size: Result, reading: Result, ends: Result) -> Source | Unread:
        found = status.understand([reading])
        if isinstance(found, Unread):
            return Unread(f"cannot be read: {found.why}", found.hindered)
        carried, computed = ends.stdout.splitlines()
        if origin.kind != ON_DISK and carried != computed.split(" ")[0]:
            return Unread("does not match the SHA-256 at its end")
        sha256, place = digest.stdout.split(" ")[0], named or path
        kind, taken, whose, bumps = origin.kind, origin.taken, origin.lineage, origin.bumps
        revision, entries = found
        source = Source(kind, host, place, sha256, int(size.stdout), taken, revision, None, whose, bumps)
        return replace(source, entries=entries)

    return Question(
        (
            look(host, "sh", "-c", SUM, path, why=f"SHA-256 of {name}", accept=(0,), deadline=HUGE),
            look(host, "stat", "-c", "%s", path, why="its size", accept=(0,)),
            *status.commands,
            look(host, "sh", "-c", ends, path, why="the hash that it carries", accept=(0,), deadline=HUGE),
        ),
        read,
    )


def ask_status(host: str, path: str, vendor: tuple[str, ...] = ()) -> Question[tuple[int, int] | Unread]:
    """Revision and number of entries, and whether the pages hang together: by etcdutl where the host has it (3.6 leaves
    that to it alone), else by etcdctl. `vendor`: the etcdctl to use where there is none in the PATH."""
    script, words = '$(command -v etcdutl || command -v etcdctl) snapshot status -w json "$0"', ["env", "ETCDCTL_API=3"]
    deadline = HUGE
    if vendor:
        script, words = 'command -v etcdutl >/dev/null && set -- etcdutl; exec "$@" snapshot status -w json "$0"', []
        deadline = LONG
    why = f"revision and pages of {path.rsplit('/', 1)[-1]}"
    return Question(look(host, *words, "sh", "-c", script, path, *vendor, why=why, deadline=deadline), _read_status)


def _read_status(answer: Result) -> tuple[int, int] | Unread:
    if answer.code != 0:
        return Unread(answer.words, answer.hindered)
    try:
        return parse_snapshot_status(answer.stdout)
    except EtcdError as error:
        return Unread(error.what)
