"""How fast copies went last, by the evidence: named, or never."""

from __future__ import annotations

import json
from pathlib import Path

from requorum.verify import measured


def ran(place: Path, name: str, *records: dict[str, object]) -> Path:
    (place / name).mkdir()
    (place / name / "journal.jsonl").write_text(
        "".join(f"{json.dumps(record)}\n" for record in records) + '{"kind": "co'
    )
    return place / name


COPY = {"kind": "copy", "why": "the snapshot to every member", "bytes": 50_000_000, "seconds": 2.0}


def test_the_newest_runs_last_copy_counts_and_says_whose_it_is(tmp_path: Path) -> None:
    ran(tmp_path, "2026-11-01", {**COPY, "bytes": 10_000_000})
    second = ran(tmp_path, "2026-11-02", {**COPY, "seconds": 9.0}, COPY, {"kind": "note"})
    (tmp_path / "latest").symlink_to(ran(tmp_path, "2026-11-03", {**COPY, "seconds": 1.0}))
    found = measured.last_rate(tmp_path, tmp_path / "2026-11-03")
    assert found == measured.Rate(25_000_000.0, "the snapshot to every member", str(second))


def test_what_was_held_back_or_small_or_this_runs_own_measures_nothing(tmp_path: Path) -> None:
    ran(tmp_path, "1", {**COPY, "held_to": 50_000_000}, {**COPY, "bytes": 999_999}, {**COPY, "seconds": 0})
    own = ran(tmp_path, "2", COPY)
    assert measured.last_rate(tmp_path, own) is None
    assert measured.last_rate(tmp_path / "nowhere", own) is None
