"""How fast copies went last, by the evidence: named, or never."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from requorum.run import measured


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


@pytest.mark.parametrize(
    ("kind", "action", "ways"),
    [
        ("copy", "copy this machine:/b/x.snap to etcd-1:/v/s.db, etcd-2:/v/s.db, etcd-3:/v/s.db", 3),
        ("copy", "copy etcd-1:/v/salvage.snap to etcd-1:/v/s.db, etcd-2:/v/s.db", 2),
        ("copy", "copy etcd-1:/v/salvage.snap to etcd-1:/v/s.db", 0),
        ("fetch", "fetch infra-1:/v/s.db to this machine:/b/x.part", 1),
        ("copy", "", 1),
    ],
)
def test_what_goes_to_three_hosts_is_three_times_as_much_on_the_line(kind: str, action: str, ways: int) -> None:
    record = {"kind": kind, "action": action, "why": "w", "bytes": 10_000_000, "seconds": 1.0}
    assert measured.ways(record) == ways
    found = measured.rate([record], "e")
    assert (found and found.bytes_per_second) == (ways * 10_000_000.0 or None)


def test_the_slowest_line_has_a_rate_that_can_be_divided_by() -> None:
    found = measured.rate([{**COPY, "bytes": 1_000_000, "seconds": 9e7}], "e")
    assert found and found.bytes_per_second > 0


# -- a recovery, record by record --------------------------------------------------------------------------------

STAGES = "runbook/test_step_{}.py::TestStep{}::test_{}"
EARLY, PROMPT, LATE = (
    STAGES.format("2_generate", "2Generate", "then_it_boots"),
    STAGES.format("3_distribute", "3Distribute", "given_you_confirm_what_was_proven"),
    STAGES.format("4_restore", "4Restore", "when_it_starts"),
)
SUMMARY = {"outcome": "recovered", "snapshot": {"bytes": 100_000_000}, "recovery_seconds": {"total": 1060.0}}


def at(second: float) -> str:
    return f"2026-11-27T00:{int(second) // 60:02}:{second % 60:06.3f}Z"


def command(end: float, seconds: float, deadline: int = 7200) -> dict[str, object]:
    argv = f"sudo -n timeout -k 5 {deadline} etcdutl snapshot restore"
    return {"time": at(end), "kind": "command", "argv": argv, "seconds": seconds}


def recovery() -> list[dict[str, object]]:
    """40 s before the prompt: 10 on the line, 5 of restores beside each other; 1,000 s of thinking; 20 s after it."""
    copy = "copy this machine:/b/x.snap to etcd-1:/s, etcd-2:/s"
    return [
        {"time": at(1), "kind": "stage", "stage": EARLY},
        {"time": at(12), "kind": "copy", "action": copy, "why": "up", "bytes": 100_000_000, "seconds": 10.0},
        command(16, 3.0),
        command(17, 4.0),
        command(18, 3.0),
        command(30, 9.0, deadline=60),
        {"time": at(40), "kind": "stage ended", "stage": EARLY, "seconds": 39.0},
        {"time": at(40), "kind": "stage", "stage": PROMPT},
        {"time": at(1040), "kind": "stage ended", "stage": PROMPT, "seconds": 1000.0},
        {"time": at(1040), "kind": "stage", "stage": LATE},
        command(1050, 2.0),
        {"time": at(1060), "kind": "stage ended", "stage": LATE, "seconds": 20.0},
    ]


def test_a_recovery_is_taken_apart_by_what_grows_with_the_data() -> None:
    found = measured.past(SUMMARY, recovery(), "e")
    assert found is not None and found.rate == measured.Rate(20_000_000.0, "up", "e")
    assert (found.bytes, found.before, found.after) == (
        100_000_000,
        measured.Part(fixed=25.0, local=5.0, carried=10.0),
        measured.Part(fixed=18.0, local=2.0, carried=0.0),
    )


def test_what_was_carried_on_or_never_asked_tells_nothing_of_a_whole_one() -> None:
    carried_on = {"time": at(0), "kind": "note", "text": "carrying on run x of ops, which got to: open"}
    assert measured.past(SUMMARY, [carried_on, *recovery()], "e") is None
    assert measured.past(SUMMARY, [r for r in recovery() if r.get("stage") != PROMPT], "e") is None
    assert measured.past({**SUMMARY, "snapshot": None}, recovery(), "e") is None


@pytest.mark.parametrize("odd", ["39 s", [], -1, 1e400])
def test_a_record_whose_seconds_are_none_ends_no_recovery(odd: object) -> None:
    """Evidence is a file of this machine, and an estimate is no reason to stop at 3 a.m."""
    records = [{**record, "seconds": odd} if "seconds" in record else record for record in recovery()]
    assert measured.past(SUMMARY, records, "e") == measured.Past(
        100_000_000, measured.Part(1060.0, 0.0, 0.0), measured.Part(0.0, 0.0, 0.0), None, "e"
    )
    assert measured.past({**SUMMARY, "snapshot": {"bytes": 1e400}}, records, "e") is None


def test_the_newest_recovery_and_the_newest_proof_count_however_many_runs_tell_of_neither(tmp_path: Path) -> None:
    own = ran(tmp_path, "9", {**COPY, "seconds": 1.0})
    for name, seconds in (("1", 9.0), ("2", 2.0)):
        proof = {"recovery": {"restore_seconds": seconds, "boot_seconds": 1.0}, "snapshot": {"bytes": 10}}
        (ran(tmp_path, name, COPY) / "proof.json").write_text(json.dumps(proof))
    (ran(tmp_path, "3", *recovery()) / "summary.json").write_text(json.dumps(SUMMARY))
    (ran(tmp_path, "4", *recovery()) / "summary.json").write_text(json.dumps({**SUMMARY, "outcome": "stopped"}))
    (ran(tmp_path, "5") / "summary.json").write_text("[")
    (tmp_path / "5" / "proof.json").write_text('{"recovery": {"restore_seconds": null}}')
    found = measured.known(tmp_path, own)
    assert found.past and found.past.evidence == str(tmp_path / "3")
    assert found.booted == measured.Booted(10, 3.0, str(tmp_path / "2"))
    assert found.rate and found.rate.evidence == str(own), "this run's own line is the line of now"
    assert measured.known(tmp_path / "nowhere", own / "nowhere") == measured.Measured()
