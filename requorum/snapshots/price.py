"""What a choice of a stop costs, in revisions and hours, as far as anybody can tell. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from requorum.snapshots import ranking
from requorum.snapshots.ranking import Candidate
from requorum.snapshots.survivors import Salvaged

LOG = "what was only in its log, 1 to 78 acknowledged writes in 13 of 13 trials"
FORCED = "what it had not heard to be committed, 1 to 5 acknowledged writes in 4 of 13 trials"


def furthest(salvaged: Salvaged, rows: Sequence[Candidate] = ()) -> tuple[int, str] | None:
    """The highest revision, our bumps subtracted, that anything of the lost cluster shows, and what shows it; None
    where nothing does. Disks may hold more in their logs."""
    shown = [(revision - salvaged.bumps, f"the database of {host}") for host, revision in salvaged.databases]
    if salvaged.source and salvaged.source.revision is not None:
        shown.append((salvaged.source.revision - salvaged.bumps, "what was salvaged"))
    newest = ranking.newest(rows, salvaged.lineage) if salvaged.lineage else None
    if newest and newest.revision is not None:
        shown.append((newest.own_revision, f"the backup of {newest.taken}"))
    return max(shown, default=None)


def of_snapshot(row: Candidate, salvaged: Salvaged, rows: Sequence[Candidate], at: datetime | None) -> str:
    """Of restoring a snapshot in place of what disks hold. `at`: when the run began."""
    ours = row.lineage is not None and salvaged.lineage is not None and row.lineage.agrees(salvaged.lineage)
    comparable = ours or salvaged.lineage is None  # then `furthest` knows of nothing
    behind = revisions(row.own_revision if comparable and row.revision is not None else None, salvaged, rows)
    return _price(behind, _hours(row.taken, at))


def of_database(host: str, salvaged: Salvaged, rows: Sequence[Candidate], more: str) -> str:
    """Of taking one member's own data alone; `more` is lost besides."""
    own = dict(salvaged.databases).get(host)
    return _price(more, revisions(None if own is None else own - salvaged.bumps, salvaged, rows))


def of_disks(given_up: Sequence[str], kept: Sequence[str], salvaged: Salvaged) -> str:
    """Of going on with the data of some members and without that of others: both are hosts."""
    shown = dict(salvaged.databases)
    there = [shown[host] for host in kept if host in shown]
    unread = [host for host in given_up if host not in shown]
    if unread or not there:
        return _price(f"nobody can tell how many revisions only {', '.join(unread or given_up)} may hold")
    lost = max(shown[host] for host in given_up) - max(there)
    return _price(_at_least(lost, f"the database of {max(given_up, key=lambda host: shown[host])}"))


def revisions(own: int | None, salvaged: Salvaged, rows: Sequence[Candidate]) -> str:
    most = furthest(salvaged, rows)
    if own is None or most is None:
        return "nobody can tell how many revisions"
    return _at_least(most[0] - own, most[1])


def _at_least(lost: int, shown_by: str) -> str:
    if lost <= 0:
        return "nothing that any database or backup shows"
    return f"at least {lost:,} revision{'s' * (lost > 1)}, as {shown_by} shows"


def _hours(taken: str, at: datetime | None) -> str:
    try:
        then = datetime.fromisoformat(taken)
    except ValueError:
        return ""
    if at is None or then.tzinfo is None or at.astimezone(UTC) <= then:
        return ""
    minutes = (at - then).total_seconds() / 60
    span = f"{minutes / 60:,.1f} h" if minutes >= 60 else f"{max(round(minutes), 1)} min"
    return f"all writes of the {span} before this run"


def _price(*parts: str) -> str:
    """In brackets, without a `;`, at which a remedy is taken apart."""
    return f"(price: {', and '.join(filter(None, parts))})"
