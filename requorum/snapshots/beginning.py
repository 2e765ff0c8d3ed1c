"""At which revision the cluster of a run began, and how far it is proven that nobody but the run itself wrote."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace

from pydantic import TypeAdapter

from requorum.command import Command, Result, act, look
from requorum.hosts import kept
from requorum.hosts.kept import File
from requorum.hosts.question import Question, complete
from requorum.run.history import Birth
from requorum.run.marker import Marker, Phase
from requorum.run.terms import Terms


@dataclass(frozen=True)
class Proven:
    """What Step 5 proved before Deephaven was turned on: the restored data of this `snapshot` had the trial's `hash` at
    `revision`, when everything up to `compacted` was compacted. Up to `reached` only the run itself wrote, and there
    were `unleased` keys without a lease."""

    snapshot: str
    revision: int
    hash: int
    compacted: int
    reached: int
    unleased: int


@dataclass(frozen=True)
class Beginning:
    """`revision`: of the restored data, bumped. `proven`: None where Step 5 did not get so far. `bumped`: by the run,
    so that its own database ends at `revision` at least; else one whose last entries are compacted ends before it."""

    revision: int
    proven: Proven | None = None
    bumped: bool = False

    @property
    def own(self) -> int:
        """The highest revision that is known to be nobody else's."""
        return max(self.revision, self.proven.reached) if self.proven else self.revision

    def restored_by_others(self, revision: int) -> str | None:
        """Why data at `revision` is not this run's, which is bumped before it gets its place; None where it may be."""
        if revision >= self.revision:
            return None
        return f"at revision {revision:,}, and the run's own data begins at {self.revision:,}: others restored it"


def of(terms: Terms, birth: Birth) -> Terms:
    """The terms of the run that made this cluster."""
    return replace(terms, mark=Marker(birth.run, birth.token, birth.phase, "", birth.sha256))


_PROVEN = TypeAdapter(Proven)


def probed(terms: Terms) -> bytes:
    """What the keys begin with that the run itself writes and removes again."""
    return f"/requorum/{terms.mark.run}/".encode()


def path(terms: Terms) -> str:
    return terms.place("proven.json")


def note(terms: Terms, found: Proven | None) -> Command:
    """Beside the trial's note. `found`: None in a plan, where nobody knows it yet."""
    content = json.dumps(asdict(found)) if found else ""
    return kept.write(terms.configuration_server, File(path(terms), f"{content}\n"), "note what was proven")


def forget(terms: Terms, there: bool) -> list[Command]:
    """Before the data that it is about is started anew."""
    why = "it is about data that was set aside"
    return [act(terms.configuration_server, "rm", "-f", path(terms), why=why)] if there else []


def ask(terms: Terms) -> Question[Beginning | None]:
    """Of the run with this mark, from its own notes; None where neither is there, or they are of other data. What was
    proven counts only once the new etcd may have been started: before that it is about data of an earlier try."""
    server = terms.configuration_server
    tried = look(server, "cat", terms.place("trial.json"), why="at which revision the new cluster began")
    proven = look(server, "cat", path(terms), why="what was proven of the new cluster")

    def read(trial: Result, noted: Result) -> Beginning | None:
        found = _read(complete(noted).stdout, terms.mark.snapshot) if terms.mark.phase >= Phase.STARTED else None
        revision = _revision(complete(trial).stdout, terms.mark.snapshot) or (found.revision if found else None)
        return (
            None if revision is None else Beginning(revision, found, 0 < terms.inventory.etcd.revision_bump < revision)
        )

    return Question((tried, proven), read)


def _read(text: str, snapshot: str) -> Proven | None:
    try:
        found = _PROVEN.validate_json(text, strict=True)
    except ValueError:
        return None
    return found if found.snapshot == snapshot else None


def _revision(text: str, snapshot: str) -> int | None:
    """The trial's, whatever else it noted."""
    try:
        trial = json.loads(text)
        revision, of = trial["revision"], trial["snapshot"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return revision if type(revision) is int and revision > 0 and of == snapshot else None
