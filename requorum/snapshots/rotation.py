"""Which backups may go, and on which nights none does. Pure functions; `vault` removes the files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from statistics import median

from requorum.snapshots.manifest import Manifest

SLACK = timedelta(hours=1)  # by which a clock may be set back without being odd
PAUSE = timedelta(days=3)  # between two backups; more than that, and than thrice the usual, is a long pause
LONGEST = timedelta(days=1)  # that one backup takes
AGREE = 3  # nights in a row, before anything is removed after an odd one
MOST = 3  # removed a night: the one that was added, and two more
LEAST = 3  # good ones that stay whatever the inventory says, and as many of those that were proven


@dataclass(frozen=True)
class Backup:
    """One file under a final name. `good`: it was verified and is whole; only such ones are worth keeping or count,
    unless they are of another history.
    `note`: its manifest, None where that cannot be read. `proven`: it was booted, and every proof held; `pinned`: it
    stays whatever else is so."""

    name: str
    taken: datetime
    good: bool
    note: Manifest | None = None
    proven: bool = False
    pinned: bool = False

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


@dataclass(frozen=True)
class Periods:
    """Of each of so many days, weeks and months that have a backup, the last that was made stays; in UTC."""

    daily: int = 0
    weekly: int = 0
    monthly: int = 0


NO_PERIODS = Periods()


def kept(backups: Iterable[Backup], count: int, periods: Periods = NO_PERIODS) -> dict[str, str]:
    """Which good backups stay, name → why: the union of all that says so."""
    made = sorted((b for b in backups if b.good and not b.another), key=lambda backup: backup.order, reverse=True)
    why = {b.name: f"one of the last {max(count, LEAST)}" for b in made[: max(count, LEAST)]}
    proven = [backup for backup in made if backup.proven][:LEAST]
    why = {b.name: f"one of the last {LEAST} that were proven" for b in proven} | why
    spans = (
        (periods.daily, "day", lambda at: at.date().isoformat()),
        (periods.weekly, "week", lambda at: "{}-W{:02}".format(*at.isocalendar())),
        (periods.monthly, "month", lambda at: f"{at:%Y-%m}"),
    )
    for most, word, key in spans:
        last: dict[str, Backup] = {}
        for backup in made:
            last.setdefault(key(backup.taken.astimezone(UTC)), backup)
        why = {backup.name: f"the last of {word} {at}" for at, backup in list(last.items())[:most]} | why
    return {b.name: "pinned" for b in made if b.pinned} | why


def rotation(
    backups: Iterable[Backup], now: datetime, count: int, days: int, periods: Periods = NO_PERIODS
) -> Rotation:
    """Good backups that nothing of `kept` keeps go, however old or new they are.

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
    bad = [b for b in made if b not in good and b.taken < limit and b.order < good[-1].order and not b.pinned]
    stays = kept(good, count, periods)
    gone = [*(backup for backup in good if backup.name not in stays), *bad]
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
    word, counts = _counted([*notes[-AGREE:], night.note])
    *others, own = counts
    fewest = min(others, default=0)  # compaction alone makes single nights differ
    if 2 * own < fewest:
        return f"has {own:,} {word}, and those before it {fewest:,} or more"
    same = next((note for note in reversed(notes) if note.lineage.agrees(night.note.lineage)), None)
    if same and _own(night.note) < _own(same):
        return f"is at revision {_own(night.note):,}, and the same cluster was at {_own(same):,} before"
    return ""


def _counted(notes: Sequence[Manifest]) -> tuple[str, list[int]]:
    """What can be compared of all of them: keys, or where one did not count those, entries."""
    keys = [note.keys for note in notes if note.keys is not None]
    return ("keys", keys) if len(keys) == len(notes) else ("entries", [note.entries for note in notes])


def _own(note: Manifest) -> int:
    """The revision without what our own runs added to it."""
    return note.revision - note.bumps


def _day(time: datetime) -> str:
    return time.date().isoformat()
