"""How to go on after a run that did not end well: it follows from how far the run had got."""

from __future__ import annotations

from pathlib import Path

import pytest

from requorum import procedures
from requorum.hosts.fleet import FleetError, Unreachable
from requorum.plugin.ending import ways
from requorum.plugin.ending.ways import Said, Way
from requorum.refusal import Disproved, Refusal
from requorum.run.lock import LockError
from requorum.run.marker import Phase

ROOT = Path(__file__).parents[4]
SAID = Said(".venv/bin/pytest", "runbook", "prod", ("--rebuild", "--gone=etcd-2"), "/opt/requorum")
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
    assert ways.ways(stage, error, phase)[0] is first


def test_what_the_same_data_anew_cannot_mend_is_not_restored_anew() -> None:
    full = Disproved("all members are healthy", {"infra-1": "alarm: NOSPACE"}, "raise the quota")
    full.anew = False
    for stage in (OTHER, DATA):
        assert ways.ways(stage, full, Phase.STARTED) == (Way.ROLLBACK,)


@pytest.mark.parametrize("phase", Phase)
def test_after_a_silent_host_or_an_interruption_the_same_command_carries_on(phase: Phase) -> None:
    for stage in (OTHER, DATA, LEADER, QUORUM):
        assert ways.ways(stage, SILENT, phase)[0] is Way.AGAIN
        assert ways.ways(stage, None, phase) == (Way.AGAIN,)


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize(
    "error", [SILENT, WRONG, BROKEN, LOCKED, ValueError("x"), None], ids=lambda e: type(e).__name__
)
@pytest.mark.parametrize("stage", [OTHER, DATA, LEADER, QUORUM])
def test_nobody_is_sent_back_over_the_point_of_no_return(phase: Phase, error: BaseException | None, stage: str) -> None:
    found = ways.ways(stage, error, phase)
    assert found
    if phase >= Phase.POWERING_ON:
        assert not {Way.ROLLBACK, Way.RETRY} & set(found)
    if phase < Phase.STARTED:
        assert Way.RETRY not in found, "nothing was started that could be restored anew"
    if phase is Phase.OPEN:
        assert Way.ROLLBACK not in found, "nothing was changed that could be put back"


def test_another_procedure_is_run_again() -> None:
    assert ways.ways("test_when_a_snapshot_is_saved", WRONG, Phase.OPEN, "runbook/backup") == (Way.AGAIN,)


def test_every_stage_that_is_spoken_of_exists() -> None:
    names = {node.rsplit("::", 1)[-1] for node in procedures.expected(ROOT / "runbook", ROOT)}
    assert names >= ways.DATA | ways.RIDDLES


def test_a_command_to_paste_is_how_pytest_was_called() -> None:
    assert ways.program(".venv/bin/pytest", "/opt/p/bin/python") == ".venv/bin/pytest"
    assert ways.program("/my place/pytest", "/opt/p/bin/python") == "'/my place/pytest'"
    assert ways.program("/opt/r/.venv/bin/pytest", "", "/opt/r") == ".venv/bin/pytest"
    assert ways.program("/x/pytest/__main__.py", "/opt/p/bin/python") == "/opt/p/bin/python -m pytest"
    assert ways.words([("--rebuild", True), ("--gone", None), ("--snapshot", "a b"), ("--concurrency", 4)]) == (
        "--rebuild",
        "--snapshot=a b",
        "--concurrency=4",
    )


def test_the_same_command_has_the_same_options_again_from_where_it_was_given() -> None:
    again = "cd /opt/requorum && .venv/bin/pytest runbook --hosts=prod --rebuild --gone=etcd-2"
    assert SAID.line(Way.AGAIN) == again
    assert SAID.line("runbook") == again
    spaced = Said("pytest", "runbook", "prod", ("--snapshot=a b",), "/my place")
    assert spaced.line(Way.AGAIN) == "cd '/my place' && pytest runbook --hosts=prod '--snapshot=a b'"


def test_another_procedure_keeps_the_machines_that_are_gone_and_no_option_that_it_does_not_take() -> None:
    back = "cd /opt/requorum && .venv/bin/pytest runbook/rollback --hosts=prod --gone=etcd-2"
    assert SAID.line(Way.ROLLBACK) == back
    assert SAID.line(Way.AGAIN, "--accept=backup", "--gone=etcd-3").endswith(
        "--rebuild --accept=backup --gone=etcd-3"
    ), "an option that is given anew takes the old one's place"


def test_from_another_place_the_runbook_is_named_by_its_whole_path() -> None:
    elsewhere = Said("main/.venv/bin/pytest", "runbook", "prod", (), "/srv", "/srv/my main")
    assert elsewhere.line(Way.AGAIN) == "cd /srv && main/.venv/bin/pytest '/srv/my main/runbook' --hosts=prod"
    back = "cd /srv && main/.venv/bin/pytest '/srv/my main/runbook/rollback' --hosts=prod"
    assert elsewhere.line(Way.ROLLBACK) == back


def test_whose_run_is_followed_is_said_again_to_whatever_takes_it() -> None:
    said = Said("pytest", "runbook", "prod", ("--accept=backup,mark:r1,mark:r2",), "/opt/requorum")
    assert said.line(Way.AGAIN).endswith("runbook --hosts=prod --accept=backup,mark:r1,mark:r2")
    for way in (Way.ROLLBACK, Way.RETRY, "runbook/close"):
        assert said.line(way).endswith(" --hosts=prod --accept=mark:r1,mark:r2")
    assert said.line(Way.DIAGNOSE).endswith("runbook/troubleshoot/diagnose --hosts=prod")
    assert said.line(Way.ROLLBACK, "--accept=mark:r3").endswith(" --hosts=prod --accept=mark:r3")
