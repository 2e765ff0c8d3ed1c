"""Whether data began anew: disks lost, and the old configuration made an empty cluster of the same token and IDs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from requorum.cluster.lineage import Lineage
from requorum.snapshots import ranking
from requorum.snapshots.manifest import Manifest
from requorum.snapshots.ranking import Candidate


@dataclass(frozen=True)
class Anew:
    """Data at this revision, and the `backup` of its lineage that it does not reach. `marked`: the last backup, where
    that is marked as another history already: then the revision may have grown past `backup` since."""

    revision: int
    backup: Candidate
    marked: Candidate | None = None

    def __str__(self) -> str:
        if self.marked and self.revision >= (self.backup.revision or 0):
            return (
                f"is at revision {self.revision:,}, and had begun anew before that: the last backup {self.marked.path} "
                f"is marked as another history than {self.backup.path}"
            )
        return (
            f"is at revision {self.revision:,}, and by its manifest the backup {self.backup.path}, taken "
            f"{self.backup.taken}, was at {self.backup.revision or 0:,} under the same IDs: the data began anew"
        )


def began_anew(revision: int, lineage: Lineage, rows: Iterable[Candidate]) -> Anew | None:
    """What shows that data of this lineage at `revision` is another history than its backups'; None where it is theirs.

    Both revisions have the same bumps of ours, those of the lineage, so that they stand for what is without them.
    """
    ours = [row for row in rows if row.note and row.lineage and row.lineage.agrees(lineage)]
    if not ours:
        return None
    newest, marked = ranking.newest(ours, lineage), last_is_another(ours, lineage)
    if marked or (newest and revision < (newest.revision or 0)):
        return Anew(revision, newest or ours[0], marked)
    return None


def last_is_another(rows: Iterable[Candidate], lineage: Lineage) -> Candidate | None:
    """The last backup that was made of a cluster, where it is marked as another history."""
    ours = [row for row in rows if row.note and row.lineage and row.lineage.agrees(lineage)]
    last = max(ours, key=lambda row: (row.note.number if row.note else 0, row.taken), default=None)
    return last if last and last.note and last.note.another else None


def placed(note: Manifest, rows: Sequence[Candidate], accepted: bool) -> tuple[Manifest, Anew | None]:
    """The manifest with the history that its backup belongs to: marked as another one until the operator's word makes
    that the cluster's own. `rows`: the backups before it."""
    found = began_anew(note.revision, note.lineage, rows)
    ours = [row.note for row in rows if row.note and row.note.lineage.agrees(note.lineage)]
    history = max((before.history for before in ours), default=0)
    if found and accepted:
        return replace(note, history=history + 1), found
    return replace(note, history=history, another=found is not None), found
