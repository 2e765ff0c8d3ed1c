"""What pytest collects must be exactly a procedure's stages, in their order."""

from __future__ import annotations

from pathlib import Path

import pytest

from requorum import procedures

ROOT = Path(__file__).parents[2]
WHOLE = procedures.expected(ROOT / "runbook", ROOT)


def test_the_runbook_begins_with_a_question_and_ends_with_closing_the_run() -> None:
    assert WHOLE[0].endswith("::test_given_every_host_answers")
    assert WHOLE[-1].endswith("::test_when_the_run_is_closed")


def test_every_step_of_the_guide_has_a_module() -> None:
    assert len(dict.fromkeys(node.split("::")[0] for node in WHOLE)) == 6


def test_the_whole_runbook_in_order_is_accepted() -> None:
    assert procedures.difference(WHOLE, ROOT) is None


@pytest.mark.parametrize(
    ("collected", "says"),
    [
        ([], "nothing was collected"),
        (WHOLE[:-1], f"{len(WHOLE) - 1} stages instead of {len(WHOLE)}"),
        (WHOLE[1:], "stage 1 is"),
        (WHOLE[:3] + WHOLE[4:], "stage 4 is"),
        ([WHOLE[1], WHOLE[0], *WHOLE[2:]], "stage 1 is"),
        ([WHOLE[0], *WHOLE], "stage 2 is"),
        ([*WHOLE, WHOLE[-1]], f"{len(WHOLE) + 1} stages instead of"),
        (["tests/unit/test_procedures_stages.py::test_x", *WHOLE], "stage 1 is test_x"),
    ],
    ids=["nothing", "without the last", "without the first", "one left out", "swapped", "twice", "one more", "ours"],
)
def test_anything_else_is_named(collected: list[str], says: str) -> None:
    assert says in (procedures.difference(collected, ROOT) or "")


def test_modules_are_read_by_name_in_whatever_order_a_disk_lists_them(tmp_path: Path) -> None:
    for letter in "hbgadfce":
        (tmp_path / f"test_{letter}.py").write_text("class TestX:\n    def test_x(self): ...\n")
    assert [node[5] for node in procedures.expected(tmp_path, tmp_path)] == list("abcdefgh")


def test_a_class_of_stages_that_is_imported_from_the_runbook_runs_as_the_modules_own(tmp_path: Path) -> None:
    (tmp_path / "runbook").mkdir()
    (tmp_path / "runbook/one.py").write_text(
        "class TestA:\n    def test_a(self): ...\nclass TestB:\n    def test_b(self): ...\n"
    )
    (tmp_path / "test_x.py").write_text(
        "from runbook.one import TestB\nfrom runbook.one import TestA as A\nfrom elsewhere import TestC\n"
    )
    assert procedures.expected(tmp_path, tmp_path) == ["test_x.py::TestB::test_b"]


def test_stages_are_read_as_written_not_sorted(tmp_path: Path) -> None:
    (tmp_path / "test_b.py").write_text("class TestB:\n    def test_z(self): ...\n    def test_a(self): ...\n")
    (tmp_path / "test_a.py").write_text("class Helper:\n    def test_no(self): ...\ndef test_no(): ...\n")
    assert procedures.expected(tmp_path, tmp_path) == ["test_b.py::TestB::test_z", "test_b.py::TestB::test_a"]


def test_a_stage_that_takes_a_case_is_there_once_for_each(tmp_path: Path) -> None:
    text = "class TestA:\n    def test_x(self): ...\n    def test_y(self, case): ...\n"
    (tmp_path / "test_a.py").write_text(text)
    found = procedures.expected(tmp_path, tmp_path, ("clock on a", "clock on b"))
    assert [node.split("::")[-1] for node in found] == ["test_x", "test_y[clock on a]", "test_y[clock on b]"]
