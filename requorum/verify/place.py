"""On which machine a backup is booted, and why not on another."""

from __future__ import annotations

import re
from dataclasses import dataclass

from requorum.cluster import etcd
from requorum.cluster.etcd import Tools
from requorum.cluster.sandbox import WAL_BYTES
from requorum.command import Result, look
from requorum.hosts import system
from requorum.hosts.fleet import Machine
from requorum.hosts.question import Question
from requorum.inventory import Inventory
from requorum.refusal import Refusal
from requorum.run import facts
from requorum.run.marker import BASE
from requorum.run.run import Run
from requorum.snapshots.unpacked import SPARE_BYTES
from requorum.verify import live, program
from requorum.verify.live import Live

NEEDED = ("openssl", "setpriv", "curl", "etcd", "etcdctl")
SPARE_MEMORY = 256 * 1024 * 1024  # for etcd itself, beside its data


@dataclass(frozen=True)
class Scratch:
    """Where a backup is restored: in memory alone, or on a disk. `why`: in a sentence."""

    in_memory: bool
    why: str


def chosen(inventory: Inventory) -> str:
    """The machine that is named, else where the passwords lie already."""
    return inventory.verify.host or inventory.deephaven.configuration_server


def _tools(machine: Machine, inventory: Inventory) -> Tools | str:
    """What restores and boots there; else what root lacks."""
    host, become = machine.name, inventory.transport.as_root
    if refused := machine.ask(system.ask_root(host, become)):
        return refused
    path = machine.ask(system.ask_root_path(host, become))
    if missing := machine.ask(system.ask_missing(host, NEEDED, path)):
        return f"root finds no {', '.join(missing)} there"
    if machine.ask(system.ask_uid(host, inventory.etcd.user)) is None:
        return f"there is no account {inventory.etcd.user}"
    try:
        return machine.ask(etcd.ask_tools(host, path))
    except Refusal as refusal:
        return refusal.what


def tools(run: Run, host: str) -> Tools:
    """Of the machine that boots it. Raises `Refusal` that names the machines that could, where this one cannot."""
    inventory = run.inventory
    found = run.fleet.each((host,), lambda machine: _tools(machine, inventory))[host]
    if isinstance(found, Tools):
        return found
    if isinstance(found, Exception):
        raise found
    others = run.fleet.each([h for h in inventory.hosts if h != host], lambda machine: _tools(machine, inventory))
    able = [other for other, told in others.items() if isinstance(told, Tools)]
    member = " (a member: only where it does not lead)"
    named = [f"{other}{member * live.is_a_members(inventory, other)}" for other in able]
    could = f"verify.host in the inventory could name {', '.join(named)}; or " if able else ""
    raise Refusal(
        host, f"cannot boot a backup: {found}", f"{could}install etcd and its tools there, and the account that runs it"
    )


def may_boot(run: Run, host: str, found: Live | str) -> None:
    """A member's machine only where that does no harm. Raises `Refusal`."""
    if refused := live.refuse_member(run.inventory, host, found):
        raise Refusal(
            host,
            f"a backup is not booted there: {refused}",
            "name another machine with etcd and its tools as verify.host in the inventory, or mend that first",
        )


def ask_room(host: str) -> Question[system.Free | str]:
    return system.ask_free(host, *system.with_parents(BASE))


def installed(run: Run, host: str) -> None:
    """The program that root runs, there and where the passwords are."""
    hosts = dict.fromkeys((host, *program.hosts(run.inventory)))
    found = run.ask({each: program.ask_installed(each, run.inventory) for each in hosts})
    run.settle("root keeps the proof's own program there", {**found}, program.REMEDY)


def ask_memory(host: str) -> Question[int | None]:
    """Bytes that new processes may take without anybody's loss; None where it does not tell."""
    command = look(host, "cat", "/proc/meminfo", why="free memory", root=False)

    def read(answer: Result) -> int | None:
        found = re.search(r"^MemAvailable: +([0-9]{1,15}) kB$", answer.stdout, re.MULTILINE)
        return 1024 * int(found[1]) if found else None

    return Question(command, read)


def bytes_needed(snapshot: int) -> int:
    """The snapshot, and one restored member."""
    return 2 * snapshot + WAL_BYTES


def scratch(run: Run, host: str, size: int) -> Scratch:
    """In memory where that fits in half of what is free, else on a disk that may take it."""
    free, needed = run.ask({host: ask_memory(host)})[host], bytes_needed(size) + SPARE_MEMORY
    if free is not None and needed <= free // 2:
        return Scratch(True, f"in memory alone: {needed:,} of {free:,} free bytes")
    there_is_room(run, host, size)
    told = (
        "its free memory is not told" if free is None else f"{needed:,} bytes are more than half of the {free:,} free"
    )
    return Scratch(False, f"on a disk, below {BASE}: {told}")


def there_is_room(run: Run, host: str, size: int) -> None:
    """On a disk that no live log waits for, unless the inventory says that it may."""
    found = run.ask({host: ask_room(host)})[host]
    needed = bytes_needed(size) + SPARE_BYTES
    if isinstance(found, str):
        wrong: str | None = found
    else:
        wrong = None if found.size >= needed else f"{found.size:,} of {needed:,} bytes"
    run.settle(f"has room for the proof below {BASE}", {host: wrong}, "make room there, then run again")
    assert not isinstance(found, str)
    if not live.is_a_members(run.inventory, host) or run.inventory.verify.disk == "shared":
        return
    config = facts.old_configs(run, [host])[host]
    logs = config.wal_dir or config.data_dir if config else run.inventory.etcd.data_root
    at = run.ask({host: system.ask_free(host, *system.with_parents(logs))})[host]
    both = None if isinstance(at, str) or at.system != found.system else f"both on {found.system}"
    run.settle(
        f"{BASE} lies on another file system than etcd's own log ({logs})",
        {host: at if isinstance(at, str) else both},
        "a restore's flushes could stall the member: mount a disk at that place, name another machine as verify.host, "
        "or say verify.disk: shared in the inventory",
    )
