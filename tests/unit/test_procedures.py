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
        (["runbook/troubleshoot/permissions"], "runbook/troubleshoot/permissions"),
        (["runbook/troubleshoot/sudoers/test_sudoers.py"], "runbook/troubleshoot/sudoers"),
        (["tests"], None),
        ([], None),
        (["runbook-of-others"], None),
    ],
)
def test_the_procedure_is_what_the_arguments_name(arguments: list[str], directory: str | None) -> None:
    found = stages.named(arguments, ROOT, ROOT)
    assert (found.directory if found else None) == directory


@pytest.mark.parametrize(
    "path",
    ["runbook/backup", "runbook/backup/test_backup.py", "runbook/drill", "runbook/troubleshoot/sudoers",
     "runbook/troubleshoot/permissions/test_permissions.py"],
)  # fmt: skip
def test_a_procedure_that_is_not_named_is_not_collected(path: str) -> None:
    assert stages.is_unnamed(ROOT / path, ["runbook"], ROOT, ROOT)
    assert stages.is_unnamed(ROOT / path, ["."], ROOT, ROOT)
    assert not stages.is_unnamed(ROOT / path, [path], ROOT, ROOT)


def test_the_steps_are_collected_always() -> None:
    assert not stages.is_unnamed(ROOT / "runbook/test_step_1_stop.py", ["runbook"], ROOT, ROOT)


def test_a_neighbour_that_is_named_names_nobody_else() -> None:
    assert stages.is_unnamed(ROOT / "runbook/troubleshoot/sudoers", ["runbook/troubleshoot/permissions"], ROOT, ROOT)
    assert not stages.is_unnamed(ROOT / "runbook/troubleshoot", ["runbook/troubleshoot/permissions"], ROOT, ROOT)


def test_a_directory_of_several_procedures_names_none() -> None:
    several = stages.undecided(["runbook/troubleshoot"], ROOT, ROOT)
    assert "runbook/troubleshoot/sudoers" in several and "runbook/backup" not in several
    for named in ("runbook", "runbook/troubleshoot/sudoers", "runbook/backup", "tests", "."):
        assert stages.undecided([named], ROOT, ROOT) == []


def test_what_changes_the_cluster_asks_for_its_name() -> None:
    changing = {
        "runbook",
        *(f"runbook/troubleshoot/{name}" for name in ("debug_logging", "run_directly", "permissions")),
    }
    assert changing <= {p.directory for p in stages.PROCEDURES if p.confirms}
    quiet = {"runbook/backup", "runbook/drill", "runbook/troubleshoot/sudoers"}
    assert not quiet & {p.directory for p in stages.PROCEDURES if p.confirms}


def test_every_procedure_has_stages() -> None:
    assert all(stages.expected(ROOT / p.directory, ROOT) for p in stages.PROCEDURES)
