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
from requorum.run import bulk, marker
from requorum.run.bulk import Rooms
from requorum.run.terms import Terms
from requorum.snapshots import survivors
from requorum.snapshots.unpacked import SPARE_BYTES

NO_RATIO = (
    "limits.free_disk_ratio in the inventory does nothing any more: room is asked for by bytes (docs/night.md#room)"
)
SNAPSHOT, RESTORED = "the snapshot", "the restored data"


@dataclass(frozen=True)
class Turn:
    """`uses`: place → bytes. `spares`: beside it some stays free for whoever else writes there."""

    what: str
    uses: Mapping[str, int]
    spares: bool = True


def turns(
    terms: Terms, host: str, size: int, copies: Mapping[str, int], gathers: str, lies: Collection[str] = ()
) -> list[Turn]:
    """What `host` must still put down in turn where `size` bytes are restored. `copies`: host → bytes of each old
    member's data that is salvaged; `gathers`: where they are brought together; `lies`: which of `SNAPSHOT` and
    `RESTORED` this run has put down there already."""
    base, scratch = marker.BASE, bulk.beside(terms)
    found = []
    if host in copies:
        sizes, together = list(copies.values()), host == gathers
        here = survivors.bytes_gathered(sizes, len(terms.old_members)) if together else copies[host]
        uses = {scratch: here, base: max(sizes) if together else 0}
        # A survivor's own copy is made where it just fits, and left out where it does not: `copied`.
        found.append(Turn("copies of what disks hold", uses, spares=together))
    if host in terms.member_hosts:
        tried = before_the_commit(terms, size, host == terms.member_hosts[0], RESTORED not in lies).uses
        both = {base: 0 if SNAPSHOT in lies else size, **tried}
        found.append(Turn("the snapshot, its trial and the restored data", both))
    return found


def before_the_commit(terms: Terms, size: int, tries: bool, restores: bool = True) -> Turn:
    """What the end of Step 2 puts down on a host beside the snapshot: the trial's member on one, its own data on each
    that can; where Step 4 restores, it is the same data."""
    uses = {bulk.beside(terms): trial.bytes_needed(size) if tries else 0}
    uses[terms.inventory.etcd.data_root] = size + WAL_BYTES if restores else 0
    return Turn("the trial and the restored data", uses)


def margin(size: int) -> int:
    """What stays free of a file system besides what a run puts down: whoever else writes there goes on."""
    return SPARE_BYTES + size // 10 if size else 0


def needed(found: list[Turn], mounts: Mapping[str, str], spares: bool = True) -> dict[str, tuple[int, str]]:
    """Mount point → the most bytes that any turn takes there, with a margin where it `spares`, and which turn that is.
    `mounts`: place → mount point."""
    most: dict[str, tuple[int, str]] = {}
    for turn in found:
        for mount in {mounts[place] for place in turn.uses}:
            size = sum(size for place, size in turn.uses.items() if mounts[place] == mount)
            size += margin(size) if spares and turn.spares else 0
            most[mount] = max(most.get(mount, (0, "")), (size, turn.what))
    return most


def mounts(free: Mapping[str, Free]) -> dict[str, str]:
    """Place → where its file system is mounted, by one name where that is mounted at several places."""
    names: dict[str, str] = {}
    return {place: names.setdefault(one.system, one.mount) for place, one in free.items()}


def lacking(found: list[Turn], free: Mapping[str, Free], spares: bool = True) -> str | None:
    """Which file systems have too little; None where none has. `free`: place → the room at it."""
    at = mounts(free)
    most, sizes = needed(found, at, spares), {at[place]: one.size for place, one in free.items()}
    wrong = [
        f"{sizes[mount]:,} bytes free in {mount}, {size:,} needed: {what}"
        for mount, (size, what) in most.items()
        if sizes[mount] < size
    ]
    return "; ".join(wrong) or None


def copied(copies: Mapping[str, int], members: int, rooms: Mapping[str, Rooms]) -> dict[str, int]:
    """Of these copies those that will be made: without a host that has no room for its own, as long as a majority of
    the old members is left, since the salvage leaves it out then and goes on."""
    free = _for_copies(rooms)
    roomy = {host: size for host, size in copies.items() if free.get(host, size) >= size}
    return roomy if 2 * len(roomy) > members else dict(copies)


def gathering(copies: Mapping[str, int], members: int, rooms: Mapping[str, Rooms]) -> str:
    """Where the copies would be brought together: the first with room for it, else the one with the most."""
    free, sizes = _for_copies(rooms), list(copies.values())
    apart = {host for host, one in rooms.items() if one.apart}
    roomy = (h for h in copies if free.get(h, 0) >= survivors.bytes_needed(sizes, members, h in apart))
    return next(roomy, max(copies, key=lambda host: free.get(host, 0), default=""))


def _for_copies(rooms: Mapping[str, Rooms]) -> dict[str, int]:
    return {host: one.scratch.size for host, one in rooms.items() if isinstance(one.scratch, Free)}


def places(terms: Terms, host: str, rooms: Rooms) -> dict[str, Free | str]:
    """Where the snapshot is staged, where copies are put, and where a new member's data will lie."""
    found = {marker.BASE: rooms.base, bulk.beside(terms): rooms.scratch}
    return {terms.inventory.etcd.data_root: rooms.data, **found} if host in terms.member_hosts else found
