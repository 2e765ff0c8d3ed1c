"""A procedure below `runbook/` is collected only when it is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from requorum import stages

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("arguments", "directory"),
    [
        (["runbook"], "runbook"),
        (["runbook/test_step_1_stop.py::TestStep1Stop"], "runbook"),
        (["runbook/backup"], "runbook/backup"),
        (["runbook/drill/test_drill.py"], "runbook/drill"),
        (["runbook/troubleshoot/diagnose"], "runbook/troubleshoot/diagnose"),
        (["tests"], None),
        ([], None),
        (["runbook-of-others"], None),
    ],
)
def test_the_procedure_is_what_the_arguments_name(arguments: list[str], directory: str | None) -> None:
    found = stages.named(arguments, ROOT, ROOT)
    assert (found.directory if found else None) == directory


def test_a_directory_of_several_procedures_is_undecided_and_they_are_named() -> None:
    several = stages.undecided(["runbook/troubleshoot"], ROOT, ROOT)
    assert {"runbook/troubleshoot/collect_logs", "runbook/troubleshoot/diagnose"} <= set(several)
    for one in ("runbook", "runbook/backup", "runbook/troubleshoot/diagnose", "tests"):
        assert stages.undecided([one], ROOT, ROOT) == []


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
    assert stages.is_unnamed(ROOT / path, ["runbook/troubleshoot/diagnose"], ROOT, ROOT) is not collected


@pytest.mark.parametrize(
    "path",
    [
        "runbook/backup",
        "runbook/backup/test_backup.py",
        "runbook/drill",
        "runbook/troubleshoot/diagnose",
    ],
)
def test_a_procedure_that_is_not_named_is_not_collected(path: str) -> None:
    assert stages.is_unnamed(ROOT / path, ["runbook"], ROOT, ROOT)
    assert stages.is_unnamed(ROOT / path, ["."], ROOT, ROOT)
    assert not stages.is_unnamed(ROOT / path, [path], ROOT, ROOT)


def test_the_steps_are_collected_always() -> None:
    assert not stages.is_unnamed(ROOT / "runbook/test_step_1_stop.py", ["runbook"], ROOT, ROOT)


def test_only_the_recovery_asks_for_the_clusters_name() -> None:
    assert [p.directory for p in stages.PROCEDURES if p.confirms] == ["runbook"]
