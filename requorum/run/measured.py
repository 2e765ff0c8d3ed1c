"""What earlier runs measured, by their evidence on this machine: how fast the line was, how long recoveries took."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from requorum import procedures
from requorum.deadlines import HUGE
from requorum.evidence.timeline import instant, lasted

LEAST = 1_000_000  # bytes: fewer tell of the way there and back
MOST_RUNS = 200  # that are looked at, the newest first
_DEADLINE = re.compile(r"\btimeout -k 5 (\d{1,9}) ")

Record = Mapping[str, Any]
Span = tuple[float, float]


@dataclass(frozen=True)
class Rate:
    """Bytes a second of all that went in and out together, by what was copied, and in which run's evidence that is."""

    bytes_per_second: float
    what: str
    evidence: str


@dataclass(frozen=True)
class Part:
    """Seconds of a part of a recovery: while all the data was `carried`, while hosts were at all of it, all else."""

    fixed: float
    local: float
    carried: float


@dataclass(frozen=True)
class Past:
    """A recovery that came to its end, before the commit prompt and after it; `bytes` of what it restored."""

    bytes: int
    before: Part
    after: Part
    rate: Rate | None
    evidence: str


@dataclass(frozen=True)
class Booted:
    """What a nightly proof measured: `seconds` of one restore and boot of so many `bytes`."""

    bytes: int
    seconds: float
    evidence: str


@dataclass(frozen=True)
class Measured:
    """The newest of each; None where there is none."""

    rate: Rate | None = None
    past: Past | None = None
    booted: Booted | None = None


def known(place: Path, own: Path) -> Measured:
    """`place`: the directory of a cluster's evidence; `own`: this run's, whose rate counts before all others'."""
    runs, past, booted = _runs(place, own), None, None
    for run in runs:
        past = past or _past(run)
        booted = booted or _booted(run)
    return Measured(_rate_of(own) or last_rate(place, own), past, booted)


def last_rate(place: Path, without: Path) -> Rate | None:
    """`place`: the directory of a cluster's evidence; `without`: this run's own. None: never measured."""
    return next((rate for run in _runs(place, without) if (rate := _rate_of(run))), None)


def ways(record: Record) -> int:
    """How often what was copied went over the line: in from a host, and out to each other one."""
    source, _, targets = str(record.get("action", "")).removeprefix("copy ").partition(" to ")
    host = source.partition(":")[0]
    out = [target for target in targets.split(", ") if target.partition(":")[0] != host]
    copied = record.get("kind") == "copy" and bool(targets)
    return len(out) + (host != "this machine" and bool(out)) if copied else 1


def _runs(place: Path, without: Path) -> list[Path]:
    try:
        there = [path for path in place.iterdir() if not path.is_symlink() and (path / "journal.jsonl").is_file()]
    except OSError:
        return []
    return sorted((path for path in there if path != without), reverse=True)[:MOST_RUNS]


def _rate_of(run: Path) -> Rate | None:
    return rate(_records(run / "journal.jsonl", ("copy", "fetch")), str(run))


def rate(records: Iterable[Record], evidence: str) -> Rate | None:
    """Of the last copy that tells one."""
    found = None
    for record in records:
        size, seconds = record.get("bytes"), lasted(record.get("seconds"))
        if not isinstance(size, int) or record.get("held_to"):
            continue
        times = ways(record)
        if size >= LEAST and seconds > 0 and times:
            found = Rate(max(round(times * size / seconds, 1), 0.1), str(record.get("why")), evidence)
    return found


def _records(journal: Path, kinds: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Of these kinds; a line that is none is passed over, as where a run was cut off."""
    marks = [f'"kind": "{kind}"'.encode() for kind in kinds]
    try:
        with journal.open("rb") as lines:
            for line in lines:
                if not any(mark in line for mark in marks):
                    continue
                try:
                    record = json.loads(line)
                except ValueError:
                    continue
                if isinstance(record, dict) and record.get("kind") in kinds:
                    yield record
    except OSError:
        return


def _json(path: Path) -> dict[str, Any]:
    try:
        told = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}


def _past(run: Path) -> Past | None:
    summary = _json(run / "summary.json")
    if summary.get("outcome") != "recovered":
        return None
    kinds = ("command", "copy", "fetch", "stage", "stage ended", "note")
    return past(summary, list(_records(run / "journal.jsonl", kinds)), str(run))


def past(summary: Record, records: Sequence[Record], evidence: str) -> Past | None:
    """None for what was carried on, since only its end is in there, and for what tells not enough."""
    try:
        size, total = int(summary["snapshot"]["bytes"]), float(summary["recovery_seconds"]["total"])
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    stages = [record for record in records if record["kind"] == "stage"]
    prompt = next((record for record in stages if procedures.commits(str(record.get("stage")))), None)
    moved = any(str(record.get("text")).startswith("carrying on run ") for record in records)
    if size <= 0 or prompt is None or moved or (asked := instant(prompt.get("time"))) is None:
        return None
    ended = [record for record in records if record["kind"] == "stage ended"]
    seconds = {str(record.get("stage")): lasted(record.get("seconds")) for record in ended}
    order = [str(record.get("stage")) for record in stages]
    after = order[order.index(str(prompt["stage"])) + 1 :]
    late = sum(seconds.get(name, 0) for name in after)
    early = total - late - seconds.get(str(prompt["stage"]), 0)  # nobody's thinking at the prompt counts
    halves = [[r for r in records if (at := instant(r.get("time"))) and (at > asked) == is_late] for is_late in (0, 1)]
    return Past(size, _part(early, halves[0]), _part(late, halves[1]), rate(records, evidence), evidence)


def _part(seconds: float, records: Sequence[Record]) -> Part:
    carried = _covered(_spans(records, ("copy", "fetch")))
    both = _covered(_spans(records, ("copy", "fetch", "command")))
    return Part(max(seconds - both, 0.0), both - carried, carried)


def _spans(records: Sequence[Record], kinds: Sequence[str]) -> list[Span]:
    """When what reads or writes all of the data was under way."""
    found = []
    for record in records:
        at, seconds = instant(record.get("time")), lasted(record.get("seconds"))
        if record["kind"] not in kinds or at is None:
            continue
        deadline = _DEADLINE.search(str(record.get("argv", "")))
        if record["kind"] != "command" or (deadline and int(deadline[1]) >= HUGE):
            found.append((at.timestamp() - seconds, at.timestamp()))
    return sorted(found)


def _covered(spans: Sequence[Span]) -> float:
    """Seconds in which any of them was."""
    total, end = 0.0, float("-inf")
    for start, stop in spans:
        total += max(stop - max(start, end), 0.0)
        end = max(end, stop)
    return total


def _booted(run: Path) -> Booted | None:
    proof = _json(run / "proof.json")
    try:
        seconds = float(proof["recovery"]["restore_seconds"]) + float(proof["recovery"]["boot_seconds"])
        size = int(proof["snapshot"]["bytes"])
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    return Booted(size, seconds, str(run)) if size > 0 else None
