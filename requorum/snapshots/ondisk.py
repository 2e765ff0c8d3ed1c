"""The last resort: a member's own database, restored without the hash that a snapshot carries.

Nothing tells whether such a file is whole, and what was only in the write-ahead log is not in it. So it is taken only
where the operator names the member (--skip-hash=HOST) and salvage failed, and `ranking` lets it give way to a whole
snapshot that holds as much. A copy is used, the original is only read. Pure functions only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from requorum.command import Command, act, act_long
from requorum.deadlines import HUGE
from requorum.hosts.question import Question
from requorum.run.marker import ON_DISK
from requorum.run.terms import Terms
from requorum.snapshots import disks, on_host, ranking
from requorum.snapshots.disks import Disk
from requorum.snapshots.family import Family
from requorum.snapshots.on_host import Origin, Unread
from requorum.snapshots.ranking import BY_YOU, Candidate
from requorum.snapshots.snapshot import Source
from requorum.snapshots.survivors import Salvaged


def wanted(found: Sequence[Disk], family: Family, host: str | None, salvaged: Salvaged | None) -> Disk | None:
    """The disk whose database is taken; None where nobody asked for it, all disks are salvaged, or all was decided."""
    failed = salvaged is not None and (salvaged.source is None or bool(salvaged.could_not))
    return disks.last_resort(found, family, host) if host and failed else None


def kept(terms: Terms) -> str:
    """Where the copy lies, on the member's host."""
    return terms.place("on-disk.snap")


def copy(terms: Terms, disk: Disk) -> list[Command]:
    part = f"{kept(terms)}.part"
    return [
        act_long(
            disk.host,
            "install",
            "-m",
            "600",
            disk.database,
            part,
            why="copy the database, never the original",
            deadline=HUGE,
        ),
        act(disk.host, "mv", "-fT", part, kept(terms), why="the copy is whole"),
    ]


def ask_copy(terms: Terms, disk: Disk, bumps: int) -> Question[Source | Unread]:
    return on_host.ask_source(Origin(ON_DISK, disk.lineage, bumps, disk.taken), disk.host, kept(terms))


def candidate(disk: Disk, found: Source | Unread) -> Candidate:
    """`found`: the copy."""
    if isinstance(found, Source):
        return replace(ranking.of(found, BY_YOU), path=disk.database)
    return Candidate(ON_DISK, disk.host, disk.database, disk.taken, disk.bytes, lineage=disk.lineage, problem=found.why)
