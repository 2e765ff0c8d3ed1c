"""Every source of data in one table, and which of them is restored. A pure function over what `catalogue` has found.

The order, from DESIGN.md's "Sources": what the operator names is used as named; salvage before backups; only the lost
cluster's family competes; its own data before that of the cluster it was once restored from, since Deephaven went on
writing after that; then the highest revision, our own bumps subtracted. What cannot be restored is listed with why.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from requorum.lineage import Family, Lineage
from requorum.snapshot import Source

LAST_RESORTS = ("on-disk",)
COLUMNS = ("source", "host", "lineage", "taken", "revision", "keys", "size", "hash", "verdict")


@dataclass(frozen=True)
class Candidate:
    """Something that could be restored. `source` None: it cannot, `problem` says why. `named`: by the operator.

    `host` None: on the operator's machine. `bytes`, `revision`, `keys` None: not known. `hash` says whether the SHA-256
    that the snapshot carries was found right: "none" where a file carries none.
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
    named: bool = False
    source: Source | None = None
    verdict: str = ""

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


def of(source: Source, named: bool = False) -> Candidate:
    """A candidate that is whole."""
    return Candidate(
        source.kind, source.host, source.path, source.taken, source.bytes, source.revision, source.keys,
        source.lineage, source.bumps, "good", None, named, source,
    )  # fmt: skip


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
    if candidate.named:
        return None
    if any(other.named for other in candidates):
        return "another one was named"
    if candidate.kind in LAST_RESORTS:
        return "last resort: used only when you say so"
    return _foreign(candidate, candidates, family)


def _foreign(candidate: Candidate, candidates: Sequence[Candidate], family: Family) -> str | None:
    lineage = candidate.lineage
    if lineage is None or lineage == Lineage():
        return "of unknown lineage: used only when named"
    if family.is_unborn(lineage):
        return "data of an earlier run that failed: used only when named"
    if family.line:
        return None if family.generation(lineage) is not None else "of another cluster: used only when named"
    others = [c.lineage for c in candidates if c.source and c.kind not in LAST_RESORTS and c.lineage]
    if all(lineage.agrees(other) for other in others if not family.is_unborn(other)):
        return None  # no host tells what was lost, and there is only one lineage it can be
    return "no host tells which cluster was lost, and there are several here: used only when named"


def _worth(candidate: Candidate, family: Family) -> tuple[bool, bool, int, int, str]:
    """Sorts competitors; the highest is restored."""
    generation = family.generation(candidate.lineage) if candidate.lineage else None
    return (
        candidate.named,
        candidate.kind == "salvage",
        -(generation or 0),
        candidate.own_revision,
        candidate.taken,
    )


def _negated(candidate: Candidate, family: Family) -> tuple[bool, bool, int, int]:
    named, salvage, generation, revision, _ = _worth(candidate, family)
    return (not named, not salvage, -generation, -revision)


def _verdict(candidate: Candidate, chosen: Candidate | None, candidates: Sequence[Candidate], family: Family) -> str:
    if candidate is chosen:
        return "chosen: named by you" if candidate.named else "chosen"
    why = _why_not(candidate, candidates, family)
    if why is not None or chosen is None:
        return why or ""
    if chosen.named:
        return "another one was named"
    if chosen.kind == "salvage" and candidate.kind != "salvage":
        return "salvage has all of it and may have more"
    ours, theirs = _worth(candidate, family), _worth(chosen, family)
    if ours[2] < theirs[2]:
        return "older: the lost cluster was restored from such data once, and went on"
    if ours[3] < theirs[3]:
        return f"older: {chosen.own_revision - candidate.own_revision:,} revisions behind"
    return "holds the same"
