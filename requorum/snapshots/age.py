"""How old a backup is: too old to be restored unasked, or of a time that has not come. Pure functions."""

from __future__ import annotations

from datetime import datetime

from requorum.inventory import Inventory
from requorum.snapshots.ranking import Candidate


def too_old(inventory: Inventory, chosen: Candidate | None, at: datetime) -> str | None:
    """Whether a backup that was chosen by itself was older than `snapshot.max_age_hours` at that moment, in words."""
    if chosen is None or chosen.kind != "file" or chosen.named:
        return None
    hours, most = (at - datetime.fromisoformat(chosen.taken)).total_seconds() / 3600, inventory.snapshot.max_age_hours
    if hours <= most:
        return None
    return f"the newest backup is {hours:.1f} h old, more than snapshot.max_age_hours {most:g}"


def of_the_future(chosen: Candidate, at: datetime) -> str | None:
    """Whether nobody can tell how old a backup is, in words: by its own time it is made after that moment."""
    ahead = (datetime.fromisoformat(chosen.taken) - at).total_seconds() / 3600 if chosen.kind == "file" else 0
    return f"{chosen.path} says that it was taken {ahead:.1f} h from now: a clock is wrong" if ahead > 1 else None
