"""A procedure below `runbook/` is collected only when it is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from requorum import procedures

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("arguments", "directory"),
    [
        (["runbook"], "runbook"),
        (["runbook/test_step_1_stop.py::TestStep1Stop"], "runbook"),
        (["runbook/backup"], "runbook/backup"),
        (["runbook/rollback"], "runbook/rollback"),
        (["runbook/retry"], "runbook/retry"),
        (["runbook/close"], "runbook/close"),
        (["runbook/drill/test_drill.py"], "runbook/drill"),
        (["runbook/troubleshoot/diagnose"], "runbook/troubleshoot/diagnose"),
        (["runbook/troubleshoot/permissions"], "runbook/troubleshoot/permissions"),
        (["runbook/troubleshoot/sudoers/test_sudoers.py"], "runbook/troubleshoot/sudoers"),
        (["tests"], None),
        ([], None),
        (["runbook-of-others"], None),
    ],
)
def test_the_procedure_is_what_the_arguments_name(arguments: list[str], directory: str | None) -> None:
    found = procedures.named(arguments, ROOT, ROOT)
    assert (found.directory if found else None) == directory


def test_a_directory_of_several_procedures_is_undecided_and_they_are_named() -> None:
    several = procedures.undecided(["runbook/troubleshoot"], ROOT, ROOT)
    assert {"runbook/troubleshoot/collect_logs", "runbook/troubleshoot/diagnose"} <= set(several)
    for one in ("runbook", "runbook/backup", "runbook/troubleshoot/diagnose", "tests"):
        assert procedures.undecided([one], ROOT, ROOT) == []


@pytest.mark.parametrize(
    ("path", "collected"),
    [
        ("runbook/troubleshoot", True),
        ("runbook/troubleshoot/diagnose", True),
        ("runbook/troubleshoot/diagnose/test_diagnose.py", True),
        ("runbook/troubleshoot/collect_logs", False),
        ("runbook/backup", False),
        ("runbook/test_step_0_snapshot.py", True),
    ],
)
def test_of_nested_procedures_only_the_named_one_is_collected(path: str, collected: bool) -> None:
    assert procedures.is_unnamed(ROOT / path, ["runbook/troubleshoot/diagnose"], ROOT, ROOT) is not collected


@pytest.mark.parametrize(
    "path",
    [
        "runbook/backup",
        "runbook/backup/test_backup.py",
        "runbook/drill",
        "runbook/troubleshoot/diagnose",
        "runbook/troubleshoot/permissions/test_permissions.py",
    ],
)
def test_a_procedure_that_is_not_named_is_not_collected(path: str) -> None:
    assert procedures.is_unnamed(ROOT / path, ["runbook"], ROOT, ROOT)
    assert procedures.is_unnamed(ROOT / path, ["."], ROOT, ROOT)
    assert not procedures.is_unnamed(ROOT / path, [path], ROOT, ROOT)


def test_the_steps_are_collected_always() -> None:
    assert not procedures.is_unnamed(ROOT / "runbook/test_step_1_stop.py", ["runbook"], ROOT, ROOT)


def test_whatever_changes_the_cluster_asks_for_its_name() -> None:
    troubleshooting = {f"runbook/troubleshoot/{name}" for name in ("debug_logging", "run_directly", "permissions")}
    changing = {"runbook", "runbook/rollback", "runbook/retry", "runbook/close", *troubleshooting}
    assert {p.directory for p in procedures.PROCEDURES if p.confirms} == changing


def test_a_neighbour_that_is_named_names_nobody_else() -> None:
    assert procedures.is_unnamed(
        ROOT / "runbook/troubleshoot/sudoers", ["runbook/troubleshoot/permissions"], ROOT, ROOT
    )
    assert not procedures.is_unnamed(ROOT / "runbook/troubleshoot", ["runbook/troubleshoot/permissions"], ROOT, ROOT)


def test_every_procedure_has_stages() -> None:
    assert all(procedures.expected(ROOT / p.directory, ROOT) for p in procedures.PROCEDURES)


ORDERS = {
    "runbook/rollback": """
        given_what_was_before_is_recorded  when_deephaven_is_turned_off  when_the_new_cluster_is_saved
        when_the_new_etcd_is_stopped  when_what_the_run_brought_is_set_aside  then_nothing_of_it_is_left_in_place
        when_what_was_there_before_is_put_back  then_every_host_is_as_before  when_etcd_is_started_where_it_ran
        when_deephaven_is_turned_on_where_it_was_on  when_the_run_is_closed
    """,
    "runbook/retry": """
        when_the_new_etcd_is_stopped  then_no_etcd_runs  when_the_data_is_set_aside_on_every_member
        then_no_member_holds_data_of_the_run  when_the_mark_is_set_back  when_the_snapshot_is_restored_on_every_member
        when_all_members_are_started
    """,
}


@pytest.mark.parametrize("procedure", ORDERS)
def test_all_is_taken_away_everywhere_before_anything_comes_back(procedure: str) -> None:
    """Each stage works on all hosts, so the order of stages is the order between hosts."""
    names = [node.split("::test_")[-1] for node in procedures.expected(ROOT / procedure, ROOT)]
    order = ORDERS[procedure].split()
    assert [name for name in names if name in order] == order


def test_a_retry_runs_the_runbooks_very_own_stages_after_its_own() -> None:
    steps = [node.split("::", 1)[1] for node in procedures.expected(ROOT / "runbook", ROOT)]
    retry = [node.split("::", 1)[1] for node in procedures.expected(ROOT / "runbook/retry", ROOT)]
    assert retry[-len(steps) :] == steps
    assert retry[-len(steps) - 1] == "TestRetry::test_when_the_mark_is_set_back"
