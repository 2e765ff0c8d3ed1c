"""`--plan` as an operator runs it, and the comparison of a plan with what a run then did by its own journal."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.lab import procedures
from tests.lab.rehearsal import Rehearsal, Run
from tests.matching import differences, matches


@dataclass(frozen=True)
class Plan:
    """`rows` as `commands` in plan.json, `text` as in plan.txt."""

    run: Run
    rows: list[dict[str, Any]]
    text: str


def made(rehearsal: Rehearsal, inventory: Path, *arguments: str, of: str = "") -> Plan:
    """A plan, with no word of confirmation and nobody at a terminal. `of`: a procedure; the recovery itself if ""."""
    process, evidence = procedures.start(rehearsal.scratch, of, f"--hosts={inventory}", "--plan", *arguments)
    run = procedures.finish(process, evidence)
    assert run.code == 0, run.output
    assert run.summary["outcome"] == "planned"
    (place,) = (evidence / "lab").glob("2*")
    return Plan(run, json.loads((place / "plan.json").read_text())["commands"], (place / "plan.txt").read_text())


def assert_it_was_run(plan: Plan, evidence: Path) -> None:
    """What the newest run in `evidence` changed is what was planned, command by command on every host, in each of its
    lanes; copies too."""
    journal = max(evidence.glob("2*/journal.jsonl"), key=lambda path: path.stat().st_mtime)
    records = [json.loads(line) for line in journal.read_text().splitlines()]
    planned: dict[str, list[str]] = {}
    ran: dict[str, list[str]] = {}
    for row in plan.rows:
        if (row["changes"] or " logger -t " in row["line"]) and not _is_streamed(row):
            planned.setdefault(_place(row), []).append(row["line"])
    for record in records:
        if record["kind"] == "command" and (record["changes"] or " logger -t " in record["argv"]):
            ran.setdefault(_place(record), []).append(record["argv"])
    bound: dict[str, str] = {}
    found = differences(planned, ran, bound)
    assert not found, "\n".join(found)
    assert all(planned.values()) and len(planned) >= 5

    copies = [row["copy"] for n, row in enumerate(plan.rows) if row["copy"] and row["copy"] != plan.rows[n - 1]["copy"]]
    done = [record["action"] for record in records if record["kind"] == "copy"]
    assert len(copies) == len(done), (copies, done)
    wrong = [(copy, action) for copy, action in zip(copies, done, strict=True) if not matches(copy, action, bound)]
    assert not wrong, wrong


def _place(command: dict[str, Any]) -> str:
    return " ".join(filter(None, (command["host"], command.get("lane"))))


def _is_streamed(row: dict[str, Any]) -> bool:
    """The end of a stream: the journal has it in the record of the copy, not as a command."""
    return bool(row["copy"]) and " dd of=" in row["line"].replace("'of=", "of=")
