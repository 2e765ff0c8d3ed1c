"""The order of all sources, in one table, each with its verdict. A pure function over what `sources` has found.

The order: what the operator names is used as named; salvage before backups, unless it ends before one; only the lost
cluster's family competes; its own data before that of the cluster it was once restored from, since Deephaven went on
writing after that; then the highest revision, our own bumps subtracted. A database without its hash competes only when
the operator says so, and gives way to salvage and to a whole snapshot that holds as much. What cannot be restored is
listed with why.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from requorum.cluster.lineage import Lineage
from requorum.run.marker import ON_DISK, SALVAGE
from requorum.snapshots.family import Family
from requorum.snapshots.manifest import Manifest
from requorum.snapshots.snapshot import Source

BY_YOU = "by you"  # with --snapshot or --salvage
IN_INVENTORY = "in the inventory"  # snapshot.file: before other backups, not before salvage
NAME_SALVAGE = "--salvage="
DIRECTORY = "directory"  # kind of a row that only says why a directory gives no backup
LAST_RESORT = "no hash tells whether it is whole; the last resort, where salvage fails: --skip-hash="
COLUMNS = ("source", "host", "lineage", "taken", "revision", "keys", "size", "hash", "verdict")


@dataclass(frozen=True)
class Candidate:
    """Something that could be restored. `source` None: it cannot, `problem` says why. `named`: `BY_YOU`,
    `IN_INVENTORY`, or "" where it was found.

    `host` None: on the operator's machine. `bytes`, `revision`, `keys` None: not known. `hash` says whether the SHA-256
    that the snapshot carries was found right: "none" where a file carries none. `note`: a backup's manifest.
    """

    kind: str
    host: str | None
    path: str
    taken: str
    bytes: int | None = None
    revision: int | None = None
    keys: int | None = None
    lineage: Lineage | None = None
    bumps: int = 0
    hash: Literal["good", "bad", "none"] = "none"
    problem: str | None = None
    named: str = ""
    source: Source | None = None
    verdict: str = ""
    note: Manifest | None = None

    @property
    def own_revision(self) -> int:
        """The revision without what our runs added to it."""
        return (self.revision or 0) - self.bumps

    def row(self) -> dict[str, object]:
        """For `summary.json` and the table; columns as in `COLUMNS`."""
        return {
            "source": f"{self.kind} {self.path.rsplit('/', 1)[-1]}",
            "host": self.host or "this machine",
            "lineage": str(self.lineage) if self.lineage else "unknown",
            "taken": self.taken,
            "revision": self.revision,
            "keys": self.keys,
            "size": self.bytes,
            "hash": self.hash,
            "verdict": self.verdict,
        }


def of(source: Source, named: str = "") -> Candidate:
    """A candidate that is whole, as far as can be told."""
    return Candidate(
        source.kind,
        source.host,
        source.path,
        source.taken,
        source.bytes,
        source.revision,
        source.keys,
        source.lineage,
        source.bumps,
        "none" if source.kind == ON_DISK else "good",
        None,
        named,
        source,
    )


def newest(rows: Iterable[Candidate], lineage: Lineage) -> Candidate | None:
    """The newest backup of a cluster, whole or not: of its lineage and of the history that is its own, the one at the
    highest revision of its own."""
    ours = [row for row in rows if row.kind == "file" and row.lineage and row.lineage.agrees(lineage)]
    own = (row for row in ours if another_history(row, ours) is None)
    return max(own, key=lambda row: (row.own_revision, row.taken), default=None)


def another_history(candidate: Candidate, candidates: Iterable[Candidate]) -> str | None:
    """Why a backup is of another history than its cluster's own; None where it is of that one."""
    note, lineage = candidate.note, candidate.lineage
    if note is None or lineage is None:
        return None
    if note.another:
        return "its data began anew after the backups before it: used only when named"
    later = (
        other.note.history > note.history
        for other in candidates
        if other.note and not other.note.another and other.lineage and other.lineage.agrees(lineage)
    )
    return "its history was given up for another one by --accept=history: used only when named" if any(later) else None


def rank(candidates: Sequence[Candidate], family: Family) -> tuple[Candidate | None, tuple[Candidate, ...]]:
    """The one to restore (None where there is none), and all of them with their verdicts, best first."""
    competing = [c for c in candidates if _why_not(c, candidates, family) is None]
    chosen = max(competing, key=lambda c: _worth(c, family), default=None)
    judged = [replace(c, verdict=_verdict(c, chosen, candidates, family)) for c in candidates]
    order = sorted(
        range(len(candidates)),
        key=lambda n: (candidates[n] is not chosen, candidates[n] not in competing, _negated(candidates[n], family)),
    )
    rows = tuple(judged[n] for n in order)
    return (rows[0] if chosen is not None else None), rows


def _why_not(candidate: Candidate, candidates: Sequence[Candidate], family: Family) -> str | None:
    """Why this one cannot be chosen; None where it competes."""
    if candidate.problem or candidate.source is None:
        return candidate.problem or "cannot be restored"
    if candidate.kind == ON_DISK and not candidate.named:
        return f"{LAST_RESORT}{candidate.host}"
    if _named(candidate):
        return None
    if any(map(_named, candidates)):
        return "another one was named"
    if candidate.named == IN_INVENTORY:
        return None
    if candidate.kind not in (SALVAGE, ON_DISK) and any(other.named == IN_INVENTORY for other in candidates):
        return "another one was named"
    aside = another_history(candidate, candidates)
    return _foreign(candidate, candidates, family) or aside or _behind(candidate, candidates, family)


def _named(candidate: Candidate) -> bool:
    """Whether the operator wants this one and no other; --skip-hash only lets one compete."""
    return candidate.named == BY_YOU and candidate.kind != ON_DISK


def stranger(lineage: Lineage | None, family: Family) -> str:
    """Why data of this lineage does not compete by itself, whatever else there is."""
    if lineage is None or lineage == Lineage():
        return "of a cluster that nobody knows"
    if family.is_unborn(lineage):
        return "data of an earlier run that failed"
    if not family.line:
        return "no host tells which cluster was lost"
    return "of another cluster" if family.generation(lineage) is None else "the lost cluster was restored from it once"


def _foreign(candidate: Candidate, candidates: Sequence[Candidate], family: Family) -> str | None:
    lineage = candidate.lineage
    known = lineage is not None and lineage != Lineage() and not family.is_unborn(lineage)
    if lineage is None or not known or (family.line and family.generation(lineage) is None):
        return f"{stranger(lineage, family)}: used only when named"
    if family.line:
        return None
    others = [c.lineage for c in candidates if c.source and c.kind != ON_DISK and c.lineage]
    if all(lineage.agrees(other) for other in others if not family.is_unborn(other)):
        return None  # no host tells what was lost, and there is only one lineage it can be
    return f"{stranger(lineage, family)}, and there are several here: used only when named"


def _behind(candidate: Candidate, candidates: Sequence[Candidate], family: Family) -> str | None:
    """Whether a salvage ends before a whole snapshot of the same cluster, or before a database that you named.

    It misses what was committed by then, as where only a member survives that had been away for long."""
    if candidate.kind != SALVAGE or candidate.lineage is None:
        return None
    generation = family.generation(candidate.lineage)
    for other in sorted(candidates, key=lambda c: -c.own_revision):
        same = other.lineage is not None and family.generation(other.lineage) == generation
        ahead = other.own_revision > candidate.own_revision
        whole = other.kind not in (SALVAGE, ON_DISK) or bool(other.kind == ON_DISK and other.named)
        if other.source and whole and not other.problem and same and ahead and not another_history(other, candidates):
            return (
                f"the survivors' data ends at revision {candidate.revision or 0:,}, before the {other.kind} "
                f"at {other.revision or 0:,}"
            )
    return None


def _worth(candidate: Candidate, family: Family) -> tuple[bool, bool, int, int, bool, str, str]:
    """Sorts competitors; the highest is restored."""
    generation = family.generation(candidate.lineage) if candidate.lineage else None
    return (
        _named(candidate),
        candidate.kind == SALVAGE,
        -(generation or 0),
        candidate.own_revision,
        candidate.kind != ON_DISK,
        candidate.taken,
        candidate.kind,  # so that the order in which sources were found never decides
    )


def _negated(candidate: Candidate, family: Family) -> tuple[bool, bool, int, int]:
    named, salvage, generation, revision, *_ = _worth(candidate, family)
    return (not named, not salvage, -generation, -revision)


def _verdict(candidate: Candidate, chosen: Candidate | None, candidates: Sequence[Candidate], family: Family) -> str:
    if candidate is chosen:
        return f"chosen: named {candidate.named}" if candidate.named else "chosen"
    why = _why_not(candidate, candidates, family)
    if why is not None or chosen is None:
        return why or ""
    if _named(chosen):
        return "another one was named"
    if chosen.kind == SALVAGE and candidate.kind != SALVAGE:
        return "salvage has all of it and may have more"
    ours, theirs = _worth(candidate, family), _worth(chosen, family)
    if ours[2] < theirs[2]:
        return "older: the lost cluster was restored from such data once, and went on"
    if ours[3] < theirs[3]:
        return f"older: {chosen.own_revision - candidate.own_revision:,} revisions behind"
    return "holds the same" + (", without a hash" if candidate.kind == ON_DISK else "")
