"""The drill restores real backups into the lab, and says what it cannot prove."""

from __future__ import annotations

from pathlib import Path

import pytest

from compose import lab, state
from tests.lab import procedures
from tests.lab.rehearsal import Rehearsal
from tests.lab.test_sources import back_up, into


def test_a_backup_whose_passwords_are_known_is_proven_whole_and_the_lab_stays(
    rehearsal: Rehearsal, tmp_path: Path
) -> None:
    directory = tmp_path / "nightly"
    newest = back_up(rehearsal, directory)
    (directory / "zz-cut-off.snap").write_bytes(newest.read_bytes()[:-1000])
    run = procedures.run(rehearsal.scratch, "drill", f"--hosts={rehearsal.inventory(into(directory))}")
    assert run.code == 0, run.output
    assert run.summary["outcome"] == "drilled"
    assert run.summary["snapshot"]["sha256"] in newest.with_name(f"{newest.name}.json").read_text()
    assert run.summary["unproven"] == ["that production's Deephaven works on it"]
    assert "skipped: " in run.output
    assert "100 keys under /main/config/props" in run.output
    assert state.STATE_FILE.exists()
    rehearsal.assert_data_is_back()  # the lab's own client logs in with the old passwords and finds every key


@pytest.mark.matrix  # a lab of its own takes as long as two recoveries
def test_a_backup_whose_passwords_nobody_knows_is_restored_in_a_lab_of_its_own_which_is_taken_down(
    rehearsal: Rehearsal, tmp_path: Path
) -> None:
    backup = back_up(rehearsal, tmp_path / "nightly")
    lab.down()
    run = procedures.run(rehearsal.scratch, "drill", f"--snapshot={backup}")
    assert run.code == 0, run.output
    assert run.summary["outcome"] == "drilled"
    assert run.summary["cluster"] == "lab"
    assert "on all members" in run.output
    unproven = " ".join(run.summary["unproven"])
    assert "their passwords are not known here" in unproven
    assert "hashkv" not in unproven
    assert "Not proven: " in run.output
    assert not state.STATE_FILE.exists(), "a lab that the drill made is taken down"


def test_a_drill_never_takes_its_own_snapshot_down_with_the_lab(rehearsal: Rehearsal, tmp_path: Path) -> None:
    own = state.BACKUPS / "drilled.snap"
    lab.down()
    own.parent.mkdir(parents=True, exist_ok=True)
    own.write_bytes(rehearsal.snapshot.read_bytes())
    run = procedures.run(rehearsal.scratch, "drill", f"--snapshot={own}")
    assert run.code == 1
    assert "removed with the lab" in run.output
    assert own.exists()
    assert not state.STATE_FILE.exists()
    own.unlink()


def test_a_bad_backup_is_refused_before_a_lab_is_made(rehearsal: Rehearsal, tmp_path: Path) -> None:
    bad = tmp_path / "bad.snap"
    data = bytearray(rehearsal.snapshot.read_bytes())
    data[len(data) // 3] ^= 1
    bad.write_bytes(data)
    run = procedures.run(rehearsal.scratch, "drill", f"--snapshot={bad}")
    assert run.code == 1
    assert "does not match the SHA-256 at its end" in run.output
    assert "Traceback" not in run.output
    nothing = procedures.run(rehearsal.scratch, "drill")
    assert nothing.code == 4
    assert "--snapshot=FILE" in nothing.output
    rehearsal.spoilt = False
