"""What is verified on this machine goes to members only when it is what is restored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from requorum.command import Copy
from requorum.recovery.progress import Progress
from requorum.recovery.proofs import machines
from requorum.run.dryrun import Planning
from requorum.snapshots import choice, salvage
from requorum.snapshots.survivors import Salvaged
from runbook.test_step_0_snapshot import TestStep0Snapshot as Step0
from runbook.test_step_1_stop import TestStep1Stop as Step1
from tests.unit.run.test_dryrun import Hosts
from tests.unit.snapshots.test_sources import Wiped, at, from_files

COPIED, READ = "the_snapshot_is_copied_to_every_new_member", "etcd_can_read_every_copy"
CHOSEN, THERE = "the_best_data_is_chosen_and_copied", "the_best_data_is_on_every_new_member"


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Marks and room are not what this is about; etcd reads revision 7 with 5 keys."""
    monkeypatch.setattr(Progress, "advance", lambda *_, **__: None)
    monkeypatch.setattr(machines, "there_is_room", lambda *_: None)
    monkeypatch.setattr(machines, "every_copy_is_readable", lambda *_: 7)


def copies(run: Planning) -> list[str]:
    """Where the stage's copies go."""
    return [host for a in run.stages[-1].actions if isinstance(a, Copy) for host, _ in a.targets]


def step_0(run: Planning, progress: Progress) -> list[str]:
    """Its copies; then etcd reads them, where there are any."""
    run.begin(f"runbook/test_step_0_snapshot.py::TestStep0Snapshot::test_when_{COPIED}")
    Step0().test_when_the_snapshot_is_copied_to_every_new_member(run, progress)
    found = copies(run)
    run.begin(f"runbook/test_step_0_snapshot.py::TestStep0Snapshot::test_then_{READ}")
    Step0().test_then_etcd_can_read_every_copy(run, progress)
    return found


def step_1(run: Planning, progress: Progress) -> list[str]:
    run.begin(f"runbook/test_step_1_stop.py::TestStep1Stop::test_when_{CHOSEN}")
    Step1().test_when_the_best_data_is_chosen_and_copied(run, progress)
    found = copies(run)
    run.begin(f"runbook/test_step_1_stop.py::TestStep1Stop::test_then_{THERE}")
    Step1().test_then_the_best_data_is_on_every_new_member(run, progress)
    return found


ALL = ["etcd-1", "etcd-2", "etcd-3"]


def test_where_a_disk_may_be_salvaged_nothing_is_copied_before_the_choice(tmp_path: Path) -> None:
    run, progress, path = at(tmp_path, 1, Hosts())
    from_files(run, progress)
    assert step_0(run, progress) == []
    assert any(note.startswith("nothing to copy yet") for note in run.notes)
    assert not progress.sources.brought

    progress.sources.salvaged = Salvaged(None)  # as if nothing had been there after all
    assert step_1(run, progress) == ALL
    source = progress.sources.chosen
    assert (source.path, source.revision) == (str(path), 7)


def test_where_no_disk_can_it_is_copied_in_step_0_and_not_again(tmp_path: Path) -> None:
    run, progress, path = at(tmp_path, 1, Wiped())
    from_files(run, progress)
    assert step_0(run, progress) == ALL
    assert progress.sources.chosen.revision == 7
    progress.sources.salvaged = Salvaged(None)
    assert step_1(run, progress) == [] and not progress.sources.copied
    assert progress.sources.chosen.path == str(path)


@pytest.mark.parametrize(
    ("options", "named", "waits"),
    [({}, False, True), ({"salvage": "old"}, False, True), ({"skip_hash": "etcd-1"}, False, True), ({}, True, False)],
)
def test_what_the_operator_named_is_restored_whatever_the_disks_hold(
    tmp_path: Path, options: dict[str, Any], named: bool, waits: bool
) -> None:
    run, progress, _ = at(tmp_path, 1, Hosts(), named=named, **options)
    from_files(run, progress)
    assert salvage.may_replace(run, progress.sources, progress.verdict) == waits
    assert step_0(run, progress) == ([] if waits else ALL)


def test_the_last_resort_may_follow_where_no_disk_is_whole(tmp_path: Path) -> None:
    run, progress, _ = at(tmp_path, 1, Wiped())
    assert not salvage.may_replace(run, progress.sources, progress.verdict)
    (tmp_path / "other").mkdir()
    run, progress, _ = at(tmp_path / "other", 1, Wiped(), skip_hash="etcd-1")
    assert salvage.may_replace(run, progress.sources, progress.verdict)


def test_what_a_run_that_is_carried_on_restores_is_brought_to_whoever_lacks_it(tmp_path: Path) -> None:
    run, progress, _ = at(tmp_path, 1, Hosts())
    from_files(run, progress)
    progress.verdict = None  # its configuration is installed: the data was chosen
    assert not salvage.may_replace(run, progress.sources, progress.verdict)
    assert choice.is_handover(run, progress.verdict) is False
    assert step_0(run, progress) == ALL
