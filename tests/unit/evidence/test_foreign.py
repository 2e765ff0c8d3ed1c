"""A journal by another's hand, with seals that fit: it is judged and drawn, or said not to be a run's; no traceback."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from requorum.evidence import audit, report
from requorum.evidence.audit import State

STAGE = "runbook/test_step_0_snapshot.py::TestStep0Snapshot::test_given_quorum_is_lost"
RECORDS: list[dict[str, Any]] = [
    {"kind": "stage", "stage": STAGE, "doc": "x"},
    {"kind": "command", "host": "etcd-1", "argv": "true", "why": "w", "changes": False, "exit_code": 0, "seconds": 0.1},
    {"kind": "copy", "action": "copy etcd-1:/a to etcd-2:/b", "why": "w", "seconds": 1.0},
    {"kind": "assertion", "host": "etcd-1", "expected": "e", "holds": True, "found": "f"},
    {"kind": "stage ended", "stage": STAGE, "outcome": "passed", "seconds": 1.0, "acting": 0.5},
    {"kind": "end", "outcome": "stopped", "files": {"summary.json": "x"}},
]
DEEP = "[" * 30_000 + "]" * 30_000
ODD = ("Infinity", "NaN", "-1", '"x"', "[]", "{}", "null", "1e999", "9" * 5000, DEEP, '"\\ud800"', "[1]", '{"a": []}')


def sealed(texts: list[str]) -> bytes:
    """A chain of records whose insides are these texts of JSON."""
    head, whole = "0" * 64, b""
    for text in texts:
        line = f'{{"time": "2026-01-01T00:00:00+00:00", "previous": "{head}", {text}'.encode()
        line += b', "seal": "' + hashlib.sha256(line).hexdigest().encode() + b'"}\n'
        head, whole = hashlib.sha256(line).hexdigest(), whole + line
    return whole


def with_one(number: int, key: str, odd: str) -> bytes:
    rows = [json.dumps({**record, key: "@"} if n == number else record) for n, record in enumerate(RECORDS)]
    return sealed([row[1:-1].replace('"@"', odd) for row in rows])


def test_it_is_as_a_run_writes_it() -> None:
    assert audit.verdict(sealed([json.dumps(record)[1:-1] for record in RECORDS])).state is State.WHOLE


@pytest.mark.parametrize("number", range(len(RECORDS)), ids=[record["kind"] for record in RECORDS])
def test_a_record_with_any_value_in_any_place_is_judged(number: int) -> None:
    for key in RECORDS[number]:
        for odd in ODD:
            data = with_one(number, key, odd)
            own = audit.verdict(data, {"summary.json": b"x"})
            assert audit.against(data, own, {"etcd-1": []}).state in State
            assert len(audit.records(data)) >= len(RECORDS) - 1
            audit.end_of(data)


@pytest.mark.parametrize("number", [1, 2, 4])
@pytest.mark.parametrize("odd", ODD, ids=range(len(ODD)))
def test_its_page_is_drawn_whatever_took_how_long(tmp_path: Path, number: int, odd: str) -> None:
    (tmp_path / "journal.jsonl").write_bytes(with_one(number, "seconds", odd))
    assert "etcd-1" in report.write(tmp_path).read_text()


@pytest.mark.parametrize("rest", [b', "a": ' + b"9" * 5000, b', "a": ' + b"[" * 50_000, b"}" + b"9" * 5000])
def test_a_last_line_that_no_run_began_is_none_that_was_cut_off(rest: bytes) -> None:
    data = sealed(['"kind": "stage"']) + b'{"time": "x"' + rest
    assert audit.verdict(data).state is State.ALTERED


def test_a_summary_that_no_run_wrote_is_said(tmp_path: Path) -> None:
    (tmp_path / "journal.jsonl").write_bytes(sealed([json.dumps(record)[1:-1] for record in RECORDS]))
    (tmp_path / "summary.json").write_text('{"outcome": 5, "members": 7, "steps": {}}')
    with pytest.raises(SystemExit, match="is not what a run writes; the journal is whole: 6 records"):
        report.main([str(tmp_path)])
