"""Which backups may go: by count and by age, and never the last good one. A pure function over what is there."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True)
class Backup:
    """One file under a final name. `good`: it was verified and is whole; only such ones are worth keeping or count."""

    name: str
    taken: datetime
    good: bool


def expired(backups: Iterable[Backup], now: datetime, count: int, days: int) -> tuple[str, ...]:
    """Names to remove: good ones beyond the `count` newest or older than `days`, except the newest good one.

    A backup goes when either limit is passed. A bad one goes only when it is older than `days` and a newer good one
    exists: it is evidence of a disk that fails, and it never pushes a good one out. Order: oldest first.
    """
    ordered = sorted(backups, key=lambda backup: (backup.taken, backup.name), reverse=True)
    good = [backup for backup in ordered if backup.good]
    if not good:
        return ()
    limit = now - timedelta(days=days)
    kept = {backup.name for backup in good[:count] if backup.taken >= limit} | {good[0].name}
    gone = [b for b in good if b.name not in kept]
    gone += [b for b in ordered if not b.good and b.taken < limit and b.taken < good[0].taken]
    return tuple(backup.name for backup in sorted(gone, key=lambda backup: (backup.taken, backup.name)))
