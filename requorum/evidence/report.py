"""Evidence as a page: `report.html`, one file that needs nothing else, from `summary.json` and `journal.jsonl`.

`html` is a pure function of both; either may be missing or torn, since a page is wanted most after a run that ended
badly. `write` puts it beside them; `python -m requorum.report DIRECTORY` does so for a run that was killed. The looks
are in `report.html.j2`, the records' order in `outline`, the drawing's geometry in `timeline`, whether the file is what
was written in `audit`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, cast

import jinja2

from requorum.evidence import audit, timeline
from requorum.evidence.outline import Record, Step, copies_of, stage_name, step_name, steps_of
from requorum.evidence.redaction import redacted, shown
from requorum.evidence.timeline import Stretch, clock, instant, lasted

# What an outcome is called, how it is coloured, and what it means in a sentence.
OUTCOMES = {
    "recovered": ("Recovered", "good", "The cluster was rebuilt, and every proof holds."),
    "stopped": ("Stopped", "bad", "Something did not hold, and the runbook stopped there."),
    "refused": ("Refused", "warn", "The runbook refused before anything of the cluster was changed."),
    "interrupted": ("Interrupted", "warn", "The run was interrupted. The same command carries it on."),
    "checked": ("Checked", "good", "Everything that can be asserted without a change was asserted."),
    "planned": ("Planned", "good", "Nothing was changed. What would be done is in plan.txt, beside this page."),
    "rolled-back": ("Rolled back", "good", "The state before the run was put back, and proven."),
    "closed": ("Closed", "good", "The cluster that people finished was proven healthy, and its run is over."),
    "backed-up": ("Backed up", "good", "A snapshot was saved, and proven whole."),
    "verified": ("Verified", "good", "The newest backup was booted with production's own passwords."),
    "not-proven": ("Not proven", "bad", "Nobody may rely on the newest backup until this is mended."),
    "skipped": ("Skipped", "warn", "Something else was under way, so nothing was proven this time."),
    "drilled": ("Drilled", "good", "A backup was restored in the lab, and proven."),
    "diagnosed": ("Diagnosed", "good", "What was found is below."),
}
CUT_OFF = ("Cut off", "warn", "The journal has no end: the run was killed, or it goes on. The same command carries on.")


# -- the page ----------------------------------------------------------------------------------------------------


def html(summary: Mapping[str, Any] | None, records: Sequence[Record], checked: str = "") -> str:
    """The page. `summary` None: the run never got to write it. `checked` is what `audit` says of the journal.

    Everything is redacted once more on its way in, and escaped on its way out.
    """
    content = cast("dict[str, Any]", redacted(dict(summary or {})))
    entries = cast("list[Record]", redacted([dict(record) for record in records]))
    run = next((record for record in entries if record.get("kind") == "run"), {})
    end = next((record for record in entries if record.get("kind") == "end"), {})
    outcome = content.get("outcome") or end.get("outcome")
    title, tone, meaning = OUTCOMES.get(str(outcome), (str(outcome), "warn", "")) if outcome else CUT_OFF
    findings: list[Record] = content.get("findings") or []
    failing = sum(finding.get("verdict") == "fails" for finding in findings)
    if failing:
        tone, meaning = "bad", f"{meaning} {failing} of {len(findings)} findings do not hold."
    steps = steps_of(entries)
    times = [time for record in entries if (time := instant(record.get("time")))]
    length = (max(times) - min(times)).total_seconds() if times else 0.0
    failed = [(step, stage) for step in steps for stage in step.stages if stage.outcome == "failed"]
    open_ = [(step, stage) for step in steps for stage in step.stages if stage.outcome is None]
    template = _environment().get_template("report.html.j2")
    return template.render(
        outcome=title,
        tone=tone,
        meaning=meaning,
        summary=content,
        run=run,
        steps=steps,
        cluster=content.get("cluster") or run.get("cluster") or "unknown",
        recovery=content.get("recovery_seconds") or {"total": length, "action_seconds": None, "proof_seconds": None},
        stopped=next(iter(failed or open_), None) if outcome not in ("recovered", "checked") else None,
        stopped_at=_where(content.get("stopped_at") or end.get("stopped_at")),
        before=_unstaged(entries),
        **_counts(steps, entries),
        sources=_sources(content, entries),
        findings=[(host, list(rows)) for host, rows in groupby(findings, key=lambda row: str(row.get("host")))],
        checked_only=outcome == "checked",
        proof=_proof(entries),
        members=_members(content),
        retire=_retire(content, run),
        accepted=content.get("accepted") or [],
        approved=content.get("approved"),
        drawing=_drawing(entries, steps, length),
        longest=max((step.seconds for step in steps), default=0) or 1,
        checked=checked,
        count=len(entries),
        started=content.get("started") or run.get("time"),
        finished=content.get("finished") or end.get("time"),
    )


def _counts(steps: Sequence[Step], entries: Sequence[Record]) -> dict[str, Any]:
    """What was done and proven, in numbers."""
    commands = [record for step in steps for record in step.commands]
    proofs = [record for record in entries if record.get("kind") == "assertion"]
    return {
        "commands": commands,
        "ran": sum(step.ran for step in steps),
        "changed": sum(bool(record.get("changes")) for record in commands),
        "copies": copies_of(sum(record["kind"] == "copy" for record in commands)),
        "broke": sum("said" in record for record in commands),
        "proofs": len(proofs),
        "held": sum(bool(record.get("holds")) for record in proofs),
        "hosts": sorted({host for record in commands for host in record["hosts"]}),
    }


def _where(nodeid: object) -> str:
    if not nodeid:
        return ""
    step, word, text = stage_name(str(nodeid))
    return " — ".join(part for part in (step_name(step)[0] or step_name(step)[1], f"{word} {text}") if part)


def _unstaged(entries: Sequence[Record]) -> list[str]:
    """Notes from before the first stage."""
    first = next((number for number, record in enumerate(entries) if record.get("kind") == "stage"), len(entries))
    return [str(record.get("text")) for record in entries[:first] if record.get("kind") == "note"]


def _members(content: Mapping[str, Any]) -> list[Record]:
    return sorted(content.get("members") or [], key=lambda member: str(member.get("name")))


def _sources(content: Mapping[str, Any], entries: Sequence[Record]) -> list[Record]:
    """Every source of data with its verdict, as it was last known."""
    told = [record.get("sources") for record in entries if record.get("kind") == "sources"]
    found: list[Record] = content.get("sources") or (told[-1] if told else None) or []
    return found


def _proof(entries: Sequence[Record]) -> Record | None:
    """What a boot of the newest backup proved; None where none was tried."""
    told = [record.get("proof") for record in entries if record.get("kind") == "proof"]
    return told[-1] if told and isinstance(told[-1], dict) else None


def _retire(content: Mapping[str, Any], run: Mapping[str, Any]) -> dict[str, list[Record]]:
    """By machine that is gone: the commands that take it out of service."""
    planned: list[Record] = list(run.get("retire") or [])
    hosts = dict.fromkeys([*(content.get("gone") or []), *(str(item.get("host")) for item in planned)])
    return {host: [item for item in planned if item.get("host") == host] for host in hosts}


def _drawing(entries: list[Record], steps: list[Step], length: float) -> timeline.Drawing:
    kinds = {"When": "act"}
    stages = [
        Stretch(
            s.start,
            s.end,
            "",
            f"{s.word} {s.text}: {s.seconds:.2f} s",
            "fail" if s.outcome == "failed" else kinds.get(s.word, "look"),
        )
        for step in steps
        for s in step.stages
    ]
    bands = [
        Stretch(step.stages[0].start, step.stages[-1].end, step.short or step.title[:12], step.name) for step in steps
    ]
    return timeline.draw(entries, bands, stages, length)


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:,.0f} TB"


def _seconds(value: float | None) -> str:
    if value is None:
        return "—"
    return f"{value:.1f} s" if value < 60 else clock(value)


def _moment(text: object) -> str:
    time = instant(text)
    return time.strftime("%Y-%m-%d %H:%M:%S UTC") if time else "—"


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        finalize=lambda value: type(value)(shown(value)) if isinstance(value, str) else value,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(size=_size, seconds=_seconds, moment=_moment, lasted=lasted, number=lambda n: f"{n:,}")
    return environment


# -- the file ----------------------------------------------------------------------------------------------------


def write(directory: Path) -> Path:
    """Writes `report.html` in one step from what lies in `directory`. Raises `OSError` without a journal there."""
    data = (directory / "journal.jsonl").read_bytes()
    try:
        summary = json.loads((directory / "summary.json").read_bytes())
    except (OSError, ValueError, RecursionError):
        summary = None
    summary = summary if isinstance(summary, dict) else None
    records, checked = audit.records(data), str(audit.verdict(data))
    if records and "files" in records[-1]:  # the page is written before that record, and again as it was then
        data = data[: data.rstrip(b"\n").rfind(b"\n") + 1]
        records = records[:-1]
    if summary is not None and audit.verdict(data).state is audit.State.INCOMPLETE:
        checked = f"whole so far: {len(records)} records. The closing one has the SHA-256 of this page"
    path = directory / "report.html"
    part = path.with_suffix(".part")
    part.touch(mode=0o600)
    page = html(summary, records, checked)
    part.write_text(page, encoding="utf-8", errors="replace")
    part.replace(path)
    return path


def attempt(directory: Path) -> Path | None:
    """`write` at the end of a run, whose outcome a page must never change: what fails here is said and passed over."""
    try:
        return write(directory)
    except Exception as error:  # whatever it is, the recovery stands
        print(shown(f"report.html was not written: {error}"), file=sys.stderr)
        return None


def main(arguments: Sequence[str]) -> int:
    """`python -m requorum.report DIRECTORY`: 0, or 1 and why on standard error."""
    if len(arguments) != 1:
        sys.exit("usage: python -m requorum.report DIRECTORY, where a journal.jsonl lies")
    try:
        print(write(Path(arguments[0])))
    except OSError as error:
        sys.exit(f"{arguments[0]}: {error.strerror}; name the directory where a journal.jsonl lies")
    except (TypeError, ValueError, ArithmeticError, LookupError, AttributeError, RecursionError, jinja2.TemplateError):
        told = audit.verdict((Path(arguments[0]) / "journal.jsonl").read_bytes())
        sys.exit(shown(f"{arguments[0]}: what lies there is not what a run writes; the journal is {told}"))
    return 0
