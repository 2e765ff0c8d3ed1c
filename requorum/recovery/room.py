"""What a run needs of each file system: one figure, asked before anything is off. Pure.

A run takes its room in turns: copies of what disks hold, then the trial beside the restored data. A turn is cleared
before the next begins, so a file system must have room for the largest of them, all of a turn's places that lie on it
together.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from requorum.cluster.sandbox import WAL_BYTES
from requorum.hosts.system import Free
from requorum.recovery import trial
from requorum.run import marker
from requorum.run.terms import Terms
from requorum.snapshots import survivors

SNAPSHOT, RESTORED = "the snapshot", "the restored data"


@dataclass(frozen=True)
class Turn:
    """`uses`: place → bytes."""

    what: str
    uses: Mapping[str, int]


def turns(
    terms: Terms, host: str, size: int, copies: Mapping[str, int], gathers: str, lies: Collection[str] = ()
) -> list[Turn]:
    """What `host` must still put down in turn where `size` bytes are restored. `copies`: host → bytes of each old
    member's data that is salvaged; `gathers`: where they are brought together; `lies`: which of `SNAPSHOT` and
    `RESTORED` this run has put down there already."""
    base, data = marker.BASE, terms.inventory.etcd.data_root
    found = []
    if host in copies:
        here = survivors.bytes_needed(list(copies.values()), len(terms.old_members)) if host == gathers else 0
        found.append(Turn("copies of what disks hold", {base: max(here, copies[host])}))
    if host in terms.member_hosts:
        tried = before_the_commit(terms, size, host == terms.member_hosts[0], RESTORED not in lies).uses
        there = size + WAL_BYTES - tried[data]
        least = max(int(size * terms.inventory.limits.free_disk_ratio) + WAL_BYTES - there, 0)
        both = {base: (0 if SNAPSHOT in lies else size) + tried[base], data: tried[data]}
        found += [
            Turn("the snapshot, its trial and the restored data", both),
            Turn("limits.free_disk_ratio, for data that grows", {data: least}),
        ]
    return found


def before_the_commit(terms: Terms, size: int, tries: bool, restores: bool = True) -> Turn:
    """What the end of Step 2 puts down on a host beside the snapshot: the trial's member on one, its own data on each
    that can; where Step 4 restores, it is the same data."""
    uses = {marker.BASE: trial.bytes_needed(size) if tries else 0}
    uses[terms.inventory.etcd.data_root] = size + WAL_BYTES if restores else 0
    return Turn("the trial and the restored data", uses)


def needed(found: list[Turn], mounts: Mapping[str, str]) -> dict[str, tuple[int, str]]:
    """Mount point → the most bytes that any turn takes there, and which turn that is. `mounts`: place → mount point."""
    most: dict[str, tuple[int, str]] = {}
    for turn in found:
        for mount in {mounts[place] for place in turn.uses}:
            size = sum(size for place, size in turn.uses.items() if mounts[place] == mount)
            most[mount] = max(most.get(mount, (0, "")), (size, turn.what))
    return most


def lacking(found: list[Turn], free: Mapping[str, Free]) -> str | None:
    """Which file systems have too little; None where none has. `free`: place → the room at it."""
    most = needed(found, {place: one.mount for place, one in free.items()})
    sizes = {one.mount: one.size for one in free.values()}
    wrong = [
        f"{sizes[mount]:,} bytes free in {mount}, {size:,} needed: {what}"
        for mount, (size, what) in most.items()
        if sizes[mount] < size
    ]
    return "; ".join(wrong) or None


def copied(copies: Mapping[str, int], members: int, free: Mapping[str, int]) -> dict[str, int]:
    """Of these copies those that will be made: without a host that has no room for its own, as long as a majority of
    the old members is left, since the salvage leaves it out then and goes on."""
    roomy = {host: size for host, size in copies.items() if free.get(host, size) >= size}
    return roomy if 2 * len(roomy) > members else dict(copies)


def gathering(copies: Mapping[str, int], members: int, free: Mapping[str, int]) -> str:
    """Where the copies would be brought together: the first with room for it, else the one with the most."""
    sizes = survivors.bytes_needed(list(copies.values()), members) if copies else 0
    roomy = [host for host in copies if free.get(host, 0) >= sizes]
    return next(iter(roomy), max(copies, key=lambda host: free.get(host, 0), default=""))


def places(terms: Terms, host: str) -> tuple[str, ...]:
    """Where the snapshot is staged and copies are made, and where a new member's data will lie."""
    return (terms.inventory.etcd.data_root, marker.BASE) if host in terms.member_hosts else (marker.BASE,)
