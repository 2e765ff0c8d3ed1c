"""A journal's records in the steps and stages they belong to: the story that `report` tells. Pure.

Forgiving: fields may be missing, and the journal may end anywhere, since it is read after runs that were killed.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from requorum.evidence import timeline
from requorum.evidence.timeline import instant, lasted

Record = dict[str, Any]
_PREFIX = re.compile(r"(?:(?:[\w./@=:+-]+ )+?)?timeout -k 5 \d+ ")


@dataclass(frozen=True)
class Proof:
    """One claim with what was found, on all hosts for which both are the same."""

    expected: str
    found: str
    holds: bool
    hosts: tuple[str, ...]


@dataclass
class Stage:
    """One Given, When or Then. `outcome` is None when the journal ends within it; times in seconds after the start."""

    word: str
    text: str
    start: float
    end: float
    outcome: str | None = None
    seconds: float = 0.0
    acting: float = 0.0
    why: str = ""
    notes: list[str] = field(default_factory=list)
    proofs: list[Proof] = field(default_factory=list)
    commands: list[Record] = field(default_factory=list)
    planned: list[Record] = field(default_factory=list)

    @property
    def did(self) -> str:
        return did(self.commands)

    @property
    def unknown(self) -> list[Record]:
        """What was planned and has no record of having run; only of interest where the stage did not pass."""
        if self.outcome == "passed":
            return []
        ran = Counter(str(record["line"]) for record in self.commands)
        left = []
        for action in self.planned:
            if ran[str(action.get("action"))] > 0:
                ran[str(action.get("action"))] -= 1
            else:
                left.append(action)
        return left


@dataclass
class Step:
    short: str
    title: str
    stages: list[Stage] = field(default_factory=list)

    @property
    def name(self) -> str:
        return f"{self.short} · {self.title}" if self.short and self.title else self.short or self.title

    @property
    def seconds(self) -> float:
        return sum(stage.seconds for stage in self.stages)

    @property
    def acting(self) -> float:
        return sum(stage.acting for stage in self.stages)

    @property
    def commands(self) -> list[Record]:
        return [record for stage in self.stages for record in stage.commands]

    @property
    def did(self) -> str:
        return did(self.commands)

    @property
    def ran(self) -> int:
        """How many commands, copies not counted: as in `summary.json`."""
        return sum(record["kind"] == "command" for record in self.commands)

    @property
    def proofs(self) -> int:
        return sum(len(proof.hosts) for stage in self.stages for proof in stage.proofs)

    @property
    def outcome(self) -> str:
        outcomes = [stage.outcome for stage in self.stages]
        return "failed" if "failed" in outcomes else "cut off" if None in outcomes else "passed"


def did(records: Sequence[Record]) -> str:
    """`99 commands, 1 copy`."""
    commands = sum(record["kind"] == "command" for record in records)
    copies = len(records) - commands
    words = [f"{commands} command{'' if commands == 1 else 's'}"] if commands or not copies else []
    return ", ".join([*words, *([copies_of(copies)] if copies else [])])


def copies_of(count: int) -> str:
    return f"{count} cop{'y' if count == 1 else 'ies'}"


# -- from records to steps ---------------------------------------------------------------------------------------


def steps_of(records: Sequence[Record]) -> list[Step]:
    """Every record in the step and stage it belongs to; what comes before the first stage belongs to none."""
    start = next((time for record in records if (time := instant(record.get("time")))), None)
    steps: list[Step] = []
    names: list[str] = []
    stage: Stage | None = None
    for record in records:
        time = instant(record.get("time"))
        moment = (time - start).total_seconds() if time and start else 0.0
        kind = record.get("kind")
        if kind == "stage":
            name, word, text = stage_name(str(record.get("stage", "")))
            if not names or names[-1] != name:
                names.append(name)
                steps.append(Step(*step_name(name)))
            stage = Stage(word, text, moment, moment)
            steps[-1].stages.append(stage)
        elif stage is not None:
            _put(stage, record, moment)
    for step in steps:
        for each in step.stages:
            each.seconds = each.seconds or round(each.end - each.start, 3)
    return steps


def _put(stage: Stage, record: Record, moment: float) -> None:
    kind = record.get("kind")
    if kind in ("command", "copy"):
        line = str(record.get("argv" if kind == "command" else "action", ""))
        prefix = _PREFIX.match(line)
        parts = {"line": line, "prefix": prefix[0] if prefix else "", "rest": line[prefix.end() :] if prefix else line}
        stage.commands.append({**record, **parts, "at": moment, "hosts": timeline.hosts_of(record)})
    elif kind == "assertion":
        _prove(stage, record)
    elif kind == "planned":
        stage.planned += [action for action in record.get("actions", [record]) if isinstance(action, dict)]
    elif kind == "note":
        stage.notes.append(str(record.get("text", "")))
    elif kind == "stage ended":
        stage.outcome = str(record.get("outcome"))
        stage.seconds = lasted(record.get("seconds"))
        stage.acting = lasted(record.get("acting", stage.seconds if stage.word == "When" else 0.0))
        stage.why = str(record.get("why") or "")
    if kind != "end":
        stage.end = max(stage.end, moment)


def _prove(stage: Stage, record: Record) -> None:
    proof = Proof(
        str(record.get("expected", "")),
        str(record.get("found", "")),
        bool(record.get("holds")),
        (str(record.get("host", "")),),
    )
    for number, other in enumerate(stage.proofs):
        if (other.expected, other.found, other.holds) == (proof.expected, proof.found, proof.holds):
            stage.proofs[number] = Proof(proof.expected, proof.found, proof.holds, (*other.hosts, *proof.hosts))
            return
    stage.proofs.append(proof)


def stage_name(nodeid: str) -> tuple[str, str, str]:
    """`m.py::TestStep1Stop::test_given_quorum_is_lost` → ("TestStep1Stop", "Given", "quorum is lost").

    Of a stage that is there for many cases the case says more: `…::test_then_it_holds[clock on etcd-1]`.
    """
    _, _, rest = nodeid.partition("::")
    step, _, stage = rest.rpartition("::")
    stage, _, case = stage.partition("[")
    word, _, text = stage.removeprefix("test_").partition("_")
    return step or nodeid, word.capitalize(), case.rstrip("]") or text.replace("_", " ")


def step_name(name: str) -> tuple[str, str]:
    """`TestStep5PowerOn` → ("Step 5", "Power on"); `TestRollback` → ("", "Rollback")."""
    found = re.fullmatch(r"Test(?:(Step)(\d+))?(.*)", name)
    if found is None:
        return "", name
    title = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", found[3]).capitalize()
    return (f"Step {found[2]}" if found[1] else ""), title
