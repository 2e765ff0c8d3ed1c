"""One operator at a time: who holds the cluster's lock, how it is taken, and when it may be taken over. Pure.

The lock is a symbolic link on one host whose target is the holder's words as JSON: made in one step together with its
content, so that nobody ever sees half of it, and read with one command. It guards against two people; that what a
killed run did is carried on is `marker`'s part. `run` carries this out.
"""

from __future__ import annotations

import getpass
import json
import os
import secrets
import shlex
import socket
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from requorum.command import Command, act, look
from requorum.deadlines import SHORT, wait
from requorum.evidence.journal import now
from requorum.hosts.question import NAME, Question, complete, plain
from requorum.inventory import Inventory
from requorum.refusal import Refusal, remedy
from requorum.run import marker
from requorum.run.terms import Terms


class LockError(Refusal):
    """Somebody else holds the lock, or it cannot be told who."""


@dataclass(frozen=True)
class Holder:
    """One process of the runbook. `machine`, `boot` and `born` identify it beyond its number: the machine with its
    process table, that machine's boot, and when the process began; "" where the machine cannot say. `key` is a name
    never used before: with it a run knows its own lock again, when the answer to its taking was lost."""

    user: str
    host: str
    pid: int
    since: str
    machine: str = ""
    boot: str = ""
    born: str = ""
    key: str = ""

    def words(self) -> str:
        return json.dumps(asdict(self), ensure_ascii=True)

    def __str__(self) -> str:
        return plain(f"{self.user} on {self.host} (process {self.pid}), since {self.since}")


def place(terms: Terms) -> str:
    """The host that keeps the lock: the configuration server, or the first new member where that is gone."""
    hosts = (terms.configuration_server, *terms.member_hosts)
    return next(host for host in hosts if host not in terms.gone)


def path(cluster: str) -> str:
    return f"{marker.directory(cluster)}/lock"


def take(host: str, cluster: str, words: str) -> list[Command]:
    """Tries to take the lock with the holder's words; the last command's answer says who holds it now."""
    return [
        act(host, "install", "-d", "-m", "700", marker.BASE, marker.directory(cluster), why="a place for the lock"),
        act(host, "ln", "-sT", words, path(cluster), why="lock the cluster for this run", accept=(0, 1)),
        *ask_holder(host, cluster).commands,
    ]


def ask_holder(host: str, cluster: str) -> Question[Holder | None]:
    """None where there is no lock. Raises `LockError` for one that cannot be read, `Refusal` where nobody looked."""
    command = look(host, "readlink", path(cluster), why="who holds the lock")
    return Question(command, lambda answer: _read_holder(host, cluster, complete(answer).stdout))


# One after the other on that host, so that nobody removes a lock that was taken anew in between.
_DROP = 'if [ "$(readlink "$1")" = "$2" ]; then rm -f "$1"; fi'


def drop(host: str, cluster: str, words: str, why: str) -> Command:
    """Removes the lock if it still has these words of its holder, and no other."""
    locked = ("flock", "--timeout", wait(20), marker.directory(cluster))
    return act(host, *locked, "sh", "-c", _DROP, "sh", path(cluster), words, why=why)


def _read_holder(host: str, cluster: str, text: str) -> Holder | None:
    if not text.strip():
        return None
    try:
        holder = Holder(**json.loads(text))
        if any(not isinstance(word, int if name == "pid" else str) for name, word in asdict(holder).items()):
            raise TypeError
        return holder
    except (ValueError, TypeError, RecursionError):
        what = f"the lock at {path(cluster)} cannot be read"
        raise LockError(
            host,
            what,
            remedy(
                f"find out who is at work on this cluster before anybody touches {path(cluster)} on {host}",
                ("ls", "-ld", path(cluster)),
            ),
        ) from None


def is_gone(holder: Holder, mine: Holder, born: Callable[[int], str | None]) -> bool:
    """Whether it is certain that the holder has ended: the same user's, on this very machine, and no such process any
    more. `born`: when a process of this machine began, None where there is none. Anything unknown is not gone."""
    if not mine.machine or not mine.boot or not holder.born:
        return False
    if (holder.user, holder.host, holder.machine) != (mine.user, mine.host, mine.machine):
        return False
    return holder.boot != mine.boot or born(holder.pid) != holder.born


def held(host: str, cluster: str, holder: Holder | None, read: str, clear: str) -> LockError:
    """The refusal: who, where, since when; how to see whether that still runs, and only then how to clear it."""
    if holder is None:
        return LockError(
            host, f"the lock at {path(cluster)} could not be made", "look at that directory, then run again"
        )
    there = holder.host if NAME.fullmatch(holder.host) else "that machine"
    return LockError(
        host,
        f"{cluster} is locked by {holder}",
        f"let that run finish. Whether it still runs, its user sees on {there} (not on {host}) with "
        f"ps -p {holder.pid}; whose the lock is now: {read}; only if you know that it has ended, "
        f"clear its lock: {clear}",
    )


def clearing(inventory: Inventory, host: str) -> str:
    """The line that removes the lock by hand, to be pasted on the operator's machine."""
    return by_hand(inventory, host, "rm", "-f", path(inventory.cluster))


def reading(inventory: Inventory, host: str) -> str:
    """The line that shows by hand who holds the lock."""
    return by_hand(inventory, host, "readlink", path(inventory.cluster))


def by_hand(inventory: Inventory, host: str, *argv: str) -> str:
    """A command on a host as root, to be pasted on the operator's machine."""
    transport, address = inventory.transport, inventory.address(host)
    line = (*transport.as_root, "timeout", "-k", "5", str(SHORT), *argv)  # as sudo allows it
    if transport.backend == "ssh":
        config = ("-F", transport.ssh_config) if transport.ssh_config else ()
        user = ("-l", transport.user) if transport.user else ()
        return shlex.join(("ssh", *config, *user, address, *line))
    if transport.backend == "local":
        return shlex.join(line)
    return shlex.join((transport.backend, "exec", address, *line[len(transport.as_root) :]))


def lost(host: str, found: Holder | None) -> LockError:
    """The lock was cleared by hand while this run was at work, and perhaps somebody else took it."""
    who = f"is held by {found} now" if found else "was cleared"
    return LockError(
        host, f"this run's lock {who}", "find out who works on this cluster; when nobody else does, run again"
    )


def myself() -> Holder:
    """This process."""
    return Holder(
        user=getpass.getuser(),
        host=socket.gethostname(),
        pid=os.getpid(),
        since=now(),
        machine=_machine(),
        boot=_read("/proc/sys/kernel/random/boot_id"),
        born=born(os.getpid()) or "",
        key=secrets.token_hex(8),
    )


def _machine() -> str:
    """This machine and the process table that process numbers are of: a container has its own. "" where unknown."""
    identity = _read("/etc/machine-id") or _read("/var/lib/dbus/machine-id")
    try:
        table = os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""
    return f"{identity} {table}" if identity else ""


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii").strip()
    except OSError:
        return ""


def born(pid: int) -> str | None:
    """When a process began, in the kernel's ticks after boot; None where there is none, or only its exit code."""
    state, *rest = _read(f"/proc/{pid}/stat").rpartition(")")[2].split() or [""]
    return None if state in ("", "Z", "X") else rest[18]
