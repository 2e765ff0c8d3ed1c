"""Which backups may go, and on which nights none does. Pure functions; `vault` removes the files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from statistics import median

from requorum.snapshots.manifest import Manifest

SLACK = timedelta(hours=1)  # by which a clock may be set back without being odd
PAUSE = timedelta(days=3)  # between two backups; more than that, and than thrice the usual, is a long pause
LONGEST = timedelta(days=1)  # that one backup takes
AGREE = 3  # nights in a row, before anything is removed after an odd one
MOST = 3  # removed a night: the one that was added, and two more


@dataclass(frozen=True)
class Backup:
    """One file under a final name. `good`: it was verified and is whole; only such ones are worth keeping or count,
    unless they are of another history.
    `note`: its manifest, None where that cannot be read."""

    name: str
    taken: datetime
    good: bool
    note: Manifest | None = None

    @property
    def another(self) -> bool:
        return bool(self.note and self.note.another)

    @property
    def order(self) -> tuple[int, datetime, str]:
        """As they were made: by their number, whatever a clock said; those from before numbers by their time."""
        return (self.note.number if self.note else 0, self.taken, self.name)


@dataclass(frozen=True)
class Rotation:
    """Names to remove, the first made first; `paused`: why none is tonight, else empty."""

    removed: tuple[str, ...]
    paused: str = ""


def rotation(backups: Iterable[Backup], now: datetime, count: int, days: int) -> Rotation:
    """Good backups beyond the `count` last made go, however old they are, and none of those `count`, however old.

    A bad one goes when it is older than `days` and a good one was made after it: it is evidence of a disk that fails,
    and it never pushes a good one out. Never more than `MOST`, and none while the last `AGREE` nights do not agree.
    """
    made = sorted(backups, key=lambda backup: backup.order)
    good = [backup for backup in made if backup.good and not backup.another]
    if not good:
        return Rotation(())
    paused = _odd_lately([backup for backup in made if backup.good or backup.note], now)
    if paused:
        return Rotation((), paused)
    limit = now - timedelta(days=days)
    bad = [b for b in made if b not in good and b.taken < limit and b.order < good[-1].order]
    gone = [*good[:-count], *bad]
    return Rotation(tuple(backup.name for backup in sorted(gone, key=lambda backup: backup.order)[:MOST]))


def _odd_lately(nights: Sequence[Backup], now: datetime) -> str:
    """Why the last nights do not agree; empty where they do."""
    tonight = nights[-1]
    if tonight.another:
        return f"{tonight.name} is of another history than the backups before it"
    if abs(now - tonight.taken) > LONGEST:
        return f"it is {_day(now)} now, and {tonight.name} was taken {_day(tonight.taken)}: a clock jumped"
    for end in range(len(nights), max(len(nights) - AGREE + 1, 1), -1):
        why = _odd(nights[: end - 1], nights[end - 1])
        if why:
            return f"{nights[end - 1].name} {why}"
    return ""


def _odd(before: Sequence[Backup], night: Backup) -> str:
    """What is odd of a night after those before it; empty where nothing is."""
    last = before[-1]
    gap = night.taken - last.taken
    gaps = [abs(b.taken - a.taken).total_seconds() for a, b in pairwise(before)]
    usual = timedelta(seconds=median(gaps or [0]))
    if gap < -SLACK:
        return f"was taken before {last.name}, which was made earlier: a clock jumped"
    if gap > max(PAUSE, 3 * usual):
        return f"was taken {gap.days} days after {last.name}: a long pause, or a clock that jumped"
    if night.note is None:
        return ""
    notes = [backup.note for backup in before if backup.note]
    fewest = min((note.keys for note in notes[-AGREE:]), default=0)  # compaction alone makes single nights differ
    if 2 * night.note.keys < fewest:
        return f"has {night.note.keys:,} keys, and those before it {fewest:,} or more"
    same = next((note for note in reversed(notes) if note.lineage.agrees(night.note.lineage)), None)
    if same and _own(night.note) < _own(same):
        return f"is at revision {_own(night.note):,}, and the same cluster was at {_own(same):,} before"
    return ""


def _own(note: Manifest) -> int:
    """The revision without what our own runs added to it."""
    return note.revision - note.bumps


def _day(time: datetime) -> str:
    return time.date().isoformat()
