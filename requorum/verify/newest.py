"""Which backup is proven: the newest of the running cluster's lineage, good or not, and the newest that is good."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from requorum.cluster.lineage import Lineage
from requorum.inventory import Inventory
from requorum.refusal import Refusal
from requorum.snapshots import directory, files, manifest, offsite, ranking
from requorum.snapshots.family import Family
from requorum.snapshots.manifest import ManifestError
from requorum.snapshots.offsite import OffsiteError, Store
from requorum.snapshots.ranking import Candidate
from requorum.snapshots.snapshot import SnapshotError
from requorum.verify.live import Live


@dataclass(frozen=True)
class Newest:
    """`row`: the newest, with its `problem` where it is bad; `good`: the newest that is good, itself where it is; None
    where none is."""

    row: Candidate
    good: Candidate | None


def rows(inventory: Inventory) -> list[Candidate]:
    """Every backup of the inventory's directory with a manifest, none looked at; one whose manifest cannot be read is
    bad. Files without one are others'."""
    found = []
    for path in directory.contents(Path(inventory.snapshot.directory or "")).backups:
        try:
            row = files.as_noted(path) if manifest.of_file(path) else None
        except ManifestError as error:
            row = Candidate("file", None, str(path), directory.modified(path), problem=f"its manifest {error.what}")
        found += [row] if row else []
    return found


def newest_first(found: Sequence[Candidate], live: Lineage | None) -> list[Candidate]:
    """The backups of the running cluster, or where nobody tells which that is of the last one's: by their number, those
    of another history left out. One without a readable manifest has its place by its time."""
    noted = sorted((row for row in found if row.note), key=_order, reverse=True)
    line = live or (noted[0].lineage if noted else None)
    ours = [row for row in noted if line and row.lineage and row.lineage.agrees(line)]
    own = [row for row in ours if ranking.another_history(row, ours) is None]
    torn = [row for row in found if row.note is None and (not own or row.taken > own[0].taken)]
    return [*sorted(torn, key=lambda row: row.taken, reverse=True), *own]


def _order(row: Candidate) -> tuple[int, str]:
    return (row.note.number if row.note else 0, row.taken)


def off_site(store: Store, room: Path) -> Newest:
    """The newest that lies off-site, brought into `room` encrypted as it is, and looked into. Raises `OffsiteError`."""
    there = store.listed()
    if not there.names:
        what = f"holds no backup of {store.inventory.cluster} with a manifest ({there.others + there.odd} other names)"
        raise OffsiteError("offsite.list", what, "make one: pytest runbook/backup --hosts=NAME sends it there")
    name = offsite.in_order(there.names, datetime.now(UTC))[0][0]
    note = store.note(name, room)
    row = looked_into(store.inventory, _noted(store.snapshot(name, note, room)))
    return Newest(row, row if row.source else None)


def named(inventory: Inventory, path: Path) -> Newest:
    """One that the operator names. Raises `SnapshotError` where it is bad, or nothing says what it must be."""
    row = files.as_noted(path)
    if row is None:
        what = "has no manifest that can be read, so there is nothing to prove it against"
        raise SnapshotError(str(path), what, "name a backup of runbook/backup, or drill it: pytest runbook/drill")
    row = looked_into(inventory, row)
    if row.source is None:
        raise SnapshotError(
            row.path, row.problem or "cannot be used", "name another one: python -m requorum backups list --hosts=NAME"
        )
    return Newest(row, row)


def _noted(path: Path) -> Candidate:
    row = files.as_noted(path)
    assert row
    return row


def choose(inventory: Inventory, live: Lineage | None, look: Callable[[Candidate], Candidate] | None = None) -> Newest:
    """Looks into the newest, and where that is bad into the next, until one is good. Raises `SnapshotError` where the
    cluster has no backup at all."""
    look = look or (lambda row: looked_into(inventory, row))
    found = rows(inventory)
    ours = newest_first(found, live)
    if not ours:
        others = f"; those that are there are of another cluster: {found[0].path}, …" if found else ""
        raise SnapshotError(
            inventory.snapshot.directory or "snapshot.directory",
            f"holds no backup of the running cluster{f' ({live})' if live else ''}{others}",
            "make one: pytest runbook/backup --hosts=NAME",
        )
    judged = _until_good(ours, look)
    first = next(judged)
    return Newest(first, first if first.source else next((row for row in judged if row.source), None))


def _until_good(ours: Sequence[Candidate], look: Callable[[Candidate], Candidate]) -> Iterator[Candidate]:
    for row in ours:
        yield row if row.problem else look(row)


def looked_into(inventory: Inventory, row: Candidate) -> Candidate:
    """Whole by its SHA-256, readable, and as its manifest says; else with why not."""
    path = Path(row.path)
    rooms = (Path(inventory.snapshot.directory or path.parent), path.parent)
    return files.of_file(path, Family(), "", rooms, inventory.snapshot.decrypt)


def hours(taken: str, now: datetime) -> float:
    return round((now - datetime.fromisoformat(taken)).total_seconds() / 3600, 2)


def refusal(newest: Newest, live: Live | str, now: datetime) -> Refusal | None:
    """Why the newest proves nothing: it is bad. Names the newest that is good, and what would be lost with it."""
    row, good = newest.row, newest.good
    if row.source is not None:
        return None
    what = f"the newest backup is not good: {row.problem}"
    if good is None:
        return Refusal(row.path, f"{what}; no other is good either", "make one now: pytest runbook/backup --hosts=NAME")
    lost = f"all that was written since {good.taken}"
    if isinstance(live, Live) and good.revision is not None and good.lineage and good.lineage.agrees(live.lineage):
        lost = f"{max(live.revision - good.revision, 0):,} revisions"
    return Refusal(
        row.path,
        f"{what}; the newest good one is {good.path}, {hours(good.taken, now):.1f} h old: with it {lost} would be lost",
        "make another one now: pytest runbook/backup --hosts=NAME; and look at the disk that holds these",
    )


def refusal_off_site(newest: Newest, live: Live | str, now: datetime) -> Refusal | None:
    """The same of the newest that lies off-site: it, or the key to it, is no good."""
    row = newest.row
    if row.source is not None:
        return None
    lost = f"all that was written since {row.taken}, and all before it"
    if isinstance(live, Live) and row.lineage and row.lineage.agrees(live.lineage):
        lost = f"all {live.revision:,} revisions"
    return Refusal(
        Path(row.path).name,
        f"the newest backup off-site, {hours(row.taken, now):.1f} h old, cannot be read back: {row.problem}; were this "
        f"machine lost with its backups, {lost} would be lost",
        "see that snapshot.decrypt works as this account with the key that belongs to snapshot.encrypt; then "
        "pytest runbook/verify --hosts=NAME --offsite",
    )
