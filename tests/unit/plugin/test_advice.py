"""The four lines at the end of a failed run: what to do next follows from how far the run had got."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from requorum import procedures
from requorum.hosts.fleet import FleetError, Unreachable
from requorum.plugin import advice
from requorum.plugin.advice import Said, Way
from requorum.recovery.undo import retry, rollback
from requorum.refusal import Disproved, Refusal
from requorum.run.lock import LockError
from requorum.run.marker import Phase

ROOT = Path(__file__).parents[3]
SAID = Said("pytest", "runbook", "prod", ("--rebuild", "--gone=etcd-2"))
SILENT = Unreachable("etcd-2", "did not answer: no route to host", "check the network")
WRONG = Disproved("hashkv is equal on all members", {"etcd-3": "hash 1", "etcd-2": "hash 2"}, "compare them")
BROKEN = FleetError("etcd-1", "restore the snapshot: exit code 1", "mend that on the host, then run again")
LOCKED = LockError("infra-1", "prod is locked by ann", "wait")
DATA, OTHER = "test_then_all_members_hold_the_same_data", "test_when_both_archives_are_copied"
LEADER, QUORUM = "test_then_every_member_sees_a_leader", "test_given_quorum_is_lost"


@pytest.mark.parametrize(
    ("phase", "stage", "error", "first"),
    [
        (Phase.OPEN, OTHER, BROKEN, Way.AGAIN),
        (Phase.OPEN, QUORUM, BROKEN, Way.DIAGNOSE),
        (Phase.OPEN, OTHER, LOCKED, Way.AGAIN),
        (Phase.STOPPING, OTHER, BROKEN, Way.AGAIN),
        (Phase.STOPPING, OTHER, WRONG, Way.AGAIN),
        (Phase.STARTED, DATA, WRONG, Way.RETRY),
        (Phase.STARTED, DATA, BROKEN, Way.AGAIN),
        (Phase.STARTED, LEADER, WRONG, Way.DIAGNOSE),
        (Phase.STARTED, OTHER, WRONG, Way.AGAIN),
        (Phase.POWERING_ON, OTHER, WRONG, Way.DIAGNOSE),
        (Phase.POWERING_ON, DATA, WRONG, Way.DIAGNOSE),
        (Phase.DONE, OTHER, WRONG, Way.DIAGNOSE),
    ],
)
def test_what_comes_next(phase: Phase, stage: str, error: Refusal, first: Way) -> None:
    assert advice.ways(stage, error, phase)[0] is first


@pytest.mark.parametrize("phase", Phase)
def test_after_a_silent_host_or_an_interruption_the_same_command_carries_on(phase: Phase) -> None:
    for stage in (OTHER, DATA, LEADER, QUORUM):
        assert advice.ways(stage, SILENT, phase)[0] is Way.AGAIN
        assert advice.ways(stage, None, phase) == (Way.AGAIN,)


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize(
    "error", [SILENT, WRONG, BROKEN, LOCKED, ValueError("x"), None], ids=lambda e: type(e).__name__
)
@pytest.mark.parametrize("stage", [OTHER, DATA, LEADER, QUORUM])
def test_nobody_is_sent_back_over_the_point_of_no_return(phase: Phase, error: BaseException | None, stage: str) -> None:
    found = advice.ways(stage, error, phase)
    assert found
    if phase >= Phase.POWERING_ON:
        assert not {Way.ROLLBACK, Way.RETRY} & set(found)
    if phase < Phase.STARTED:
        assert Way.RETRY not in found, "nothing was started that could be restored anew"
    if phase is Phase.OPEN:
        assert Way.ROLLBACK not in found, "nothing was changed that could be put back"


def test_another_procedure_is_run_again() -> None:
    assert advice.ways("test_when_a_snapshot_is_saved", WRONG, Phase.OPEN, "runbook/backup") == (Way.AGAIN,)


def test_the_four_lines() -> None:
    stage = f"runbook/test_step_5_power_on.py::TestStep5PowerOn::{DATA}"
    assert advice.lines(stage, WRONG, Phase.STARTED, SAID) == [
        "What:      Step 5, “Then all members hold the same data” failed, expected: hashkv is equal on all members",
        "Where:     etcd-2, etcd-3",
        "Probably:  members were not restored from one and the same snapshot",
        (
            "Next:      compare them, then: pytest runbook/retry --hosts=prod"
            " · or, to go back: pytest runbook/rollback --hosts=prod"
        ),
    ]


def test_where_nothing_is_left_to_do_the_same_command_is_not_named_again() -> None:
    stage = "runbook/rollback/test_rollback.py::TestRollback::test_given_a_run_may_be_rolled_back"
    for refusal in (rollback.no_run("prod"), retry.refusal(None, None, "prod")):
        last = advice.lines(stage, refusal, Phase.OPEN, replace(SAID, directory="runbook/rollback"))[-1]
        assert last.startswith("Next:      ") and last.endswith(": pytest runbook --hosts=prod")


def test_the_same_command_has_the_same_options_again() -> None:
    stage = f"runbook/test_step_3_distribute.py::TestStep3Distribute::{OTHER}"
    last = advice.lines(stage, BROKEN, Phase.STOPPING, SAID)[-1]
    assert last.startswith(
        "Next:      mend that on the host, then: pytest runbook --hosts=prod --rebuild --gone=etcd-2 · or, to go back: "
    )


def test_what_many_hosts_say_is_said_once() -> None:
    stage = "runbook/test_step_0_snapshot.py::TestStep0Snapshot::test_given_every_host_answers"
    silent = Unreachable("etcd-1, etcd-2", "etcd-1: did not answer; etcd-2: did not answer", "check the network")
    what, where, *_ = advice.lines(stage, silent, Phase.OPEN, SAID)
    assert what.endswith("failed: etcd-1: did not answer, and 1 more")
    assert where == "Where:     etcd-1, etcd-2"


def test_an_interrupted_run_says_so() -> None:
    stage = f"runbook/test_step_3_distribute.py::TestStep3Distribute::{OTHER}"
    assert advice.lines(stage, None, Phase.STOPPING, SAID) == [
        "What:      Step 3, “When both archives are copied” was interrupted",
        "Where:     this machine",
        "Probably:  Ctrl-C, or a signal to this process",
        "Next:      pytest runbook --hosts=prod --rebuild --gone=etcd-2",
    ]


@pytest.mark.parametrize("error", [SILENT, WRONG, BROKEN, LOCKED, ValueError("a\nb"), AssertionError(), None])
@pytest.mark.parametrize("phase", Phase)
def test_it_is_always_four_lines(error: BaseException | None, phase: Phase) -> None:
    found = advice.lines("runbook/backup/test_backup.py::TestBackup::test_when_it_is_fetched", error, phase, SAID)
    assert [line.split(":")[0] for line in found] == ["What", "Where", "Probably", "Next"]
    assert not [line for line in found if "\n" in line]


def test_every_stage_that_is_spoken_of_exists() -> None:
    names = {node.rsplit("::", 1)[-1] for node in procedures.expected(ROOT / "runbook", ROOT)}
    assert advice.DATA | advice.RIDDLES | set(advice.CAUSES) <= names


def test_a_command_to_paste_is_how_pytest_was_called() -> None:
    assert advice.program(".venv/bin/pytest", "/opt/p/bin/python") == ".venv/bin/pytest"
    assert advice.program("/my place/pytest", "/opt/p/bin/python") == "'/my place/pytest'"
    assert advice.program("/x/pytest/__main__.py", "/opt/p/bin/python") == "/opt/p/bin/python -m pytest"
    assert advice.words([("--rebuild", True), ("--gone", None), ("--snapshot", "a b"), ("--concurrency", 4)]) == (
        "--rebuild",
        "--snapshot=a b",
        "--concurrency=4",
    )
    assert Said("pytest", "runbook", "prod", ("--snapshot=a b",)).line(Way.AGAIN).endswith("'--snapshot=a b'")
