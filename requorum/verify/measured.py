"""How fast copies went last: from the evidence of earlier runs on this machine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

LEAST = 1_000_000  # bytes: fewer tell of the way there and back
MOST_RUNS = 200  # that are looked at, the newest first


@dataclass(frozen=True)
class Rate:
    """Bytes a second, by what was copied, and in which run's evidence that stands."""

    bytes_per_second: float
    what: str
    evidence: str


def last_rate(place: Path, without: Path) -> Rate | None:
    """`place`: the directory of a cluster's evidence; `without`: this run's own. None: never measured."""
    runs = sorted((path for path in _directories(place) if path != without), reverse=True)
    return next((rate for run in runs[:MOST_RUNS] if (rate := _of(run))), None)


def _directories(place: Path) -> list[Path]:
    try:
        return [path for path in place.iterdir() if not path.is_symlink() and (path / "journal.jsonl").is_file()]
    except OSError:
        return []


def _of(run: Path) -> Rate | None:
    found = None
    for record in _records(run / "journal.jsonl"):
        size, seconds = record.get("bytes"), record.get("seconds")
        if not isinstance(size, int) or not isinstance(seconds, int | float) or record.get("held_to"):
            continue
        if size >= LEAST and seconds > 0:
            found = Rate(round(size / seconds, 1), str(record.get("why")), str(run))
    return found


def _records(journal: Path) -> Iterator[dict[str, object]]:
    """Of copies; a line that is none is passed over, as where a run was cut off."""
    try:
        with journal.open("rb") as lines:
            for line in lines:
                if b'"kind": "copy"' not in line and b'"kind": "fetch"' not in line:
                    continue
                try:
                    record = json.loads(line)
                except ValueError:
                    continue
                if isinstance(record, dict) and record.get("kind") in ("copy", "fetch"):
                    yield record
    except OSError:
        return
