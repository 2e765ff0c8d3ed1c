"""Taking the lock, holding on to it and letting it go: what `lock` plans is carried out here."""

from __future__ import annotations

import getpass
import os
import secrets
import socket
from pathlib import Path

from requorum.command import stop_all
from requorum.evidence.journal import now
from requorum.refusal import Refusal
from requorum.run import lock
from requorum.run.lock import Holder
from requorum.run.run import Run

_ENDED = "the holder's process has ended"
PLANNED = "‹holder›"  # in a plan, where a run has its holder's words


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


def take(run: Run, ends: bool = True) -> None:
    """Takes the lock, from this operator's own dead run too; then, unless told not to, ends what such a run may have
    left running: on all hosts, so they must answer.

    Held already it stays held, so that a procedure may have the runbook's own steps in it. A plan only shows it.
    Raises `LockError` that names whoever holds it.
    """
    if run.lock is not None or run.shown:
        run.note("locked by this run already")
        return
    host, name = lock.place(run.terms), run.inventory.cluster
    left = [stop_all(h, "end what a run that was cut off left running") for h in run.terms.everyone if ends]
    if not run.acts:
        run.shown = True
        taking = lock.take(host, name, PLANNED)
        found = lock.parse(host, name, run.ask([lock.ask(host, name)])[0].stdout)
        if found is not None and lock.is_gone(found, myself(), born):
            taking += [lock.drop(host, name, found.words(), _ENDED), *taking]
        run.do([*taking, *left])
        return
    run.lock = mine = myself()  # before it is tried: if the answer is lost, the end of the run still lets it go
    found = _try(run, host, mine)
    if found is not None and found != mine and lock.is_gone(found, mine, born):
        run.note(f"the lock of {found} is taken over: that process has ended")
        run.do([lock.drop(host, name, found.words(), _ENDED)])
        found = _try(run, host, mine)
    if found != mine:
        run.lock = None
        raise lock.held(host, name, found, lock.clearing(run.inventory, host))
    run.do(left)


def _try(run: Run, host: str, mine: Holder) -> Holder | None:
    name = run.inventory.cluster
    return lock.parse(host, name, run.do(lock.take(host, name, mine.words()))[-1].stdout)


def release(run: Run) -> None:
    """At the end of a run, however it ended, so it never raises. Where it fails, the operator's next run takes over."""
    host, name, why = lock.place(run.terms), run.inventory.cluster, "let the lock go"
    if run.shown:
        run.do([lock.drop(host, name, PLANNED, why)], bookkeeping=True)
    if run.lock is None:
        return
    try:
        run.fleet.run([lock.drop(host, name, run.lock.words(), why)])
        run.lock = None
    except Refusal as refusal:
        run.journal.record("note", text=f"the lock could not be let go: {refusal}")
        read, clear = lock.reading(run.inventory, host), lock.clearing(run.inventory, host)
        run.last_words.append(
            f"The lock may stay on {host}: your next run from this machine takes it over. Anybody else reads whose it "
            f"is: {read} and only if it is this run's (process {os.getpid()}) clears it: {clear}"
        )
