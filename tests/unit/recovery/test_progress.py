"""What the steps have established: its part of the summary, and what a mark says of the data that a run restores."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from requorum.cluster.etcdctl import Status
from requorum.cluster.lineage import Lineage
from requorum.cluster.quorum import Kind, Verdict
from requorum.evidence.journal import Journal
from requorum.hosts.fleet import Fleet
from requorum.recovery.progress import Progress
from requorum.refusal import Refusal
from requorum.run.dryrun import Planning
from requorum.run.estimate import Estimate
from requorum.run.history import Birth
from requorum.run.marker import Phase
from requorum.run.run import Run, Section
from requorum.run.terms import Options
from requorum.snapshots.family import Family
from requorum.snapshots.snapshot import Source
from tests.unit import build
from tests.unit.run.test_dryrun import Hosts, planning

SOURCE = Source("file", None, "/backups/x.snap", "ab" * 32, 10_633_248, "2026-01-01T02:00:00Z", 230)
FIELDS = [
    *("schema", "version", "cluster", "run", "outcome", "stopped_at", "started", "finished", "recovery_seconds"),
    *(
        "snapshot",
        "sources",
        "unproven",
        "data_loss",
        "members",
        "estimate",
        "gone",
        "accepted",
        "approved",
        "findings",
        "causes",
    ),
    *("state", "steps"),
]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(build.inventory(), Options(), Journal(tmp_path / "evidence"), cast("Fleet", None))


def status(number: int) -> Status:
    return Status(f"https://10.0.0.1{number}:2379", 1, number, 1, 230, "3.5.16", ())


def test_a_run_that_ended_before_anything_was_known_has_every_field_of_the_summary(run: Run) -> None:
    before = run.summary("refused", None, "")
    Progress.begin(run)
    after = run.summary("refused", None, "")
    assert list(before) == list(after) == FIELDS
    unknown = {"certain": None, "possible": None, "why": "no snapshot was chosen"}
    assert before["data_loss"] == after["data_loss"] == unknown
    assert before["snapshot"] is after["snapshot"] is None


def test_what_was_established_stands_in_the_fields_own_places(run: Run) -> None:
    progress = Progress.begin(run)
    progress.sources.source, progress.keys = SOURCE, 7
    progress.status = [status(3), status(9), status(1)]
    progress.hashes = {status(1).endpoint: (229, 42)}
    found = run.summary("recovered", None, "")
    assert list(found) == FIELDS
    assert cast("dict[str, object]", found["snapshot"])["keys"] == 7
    members = cast("list[dict[str, object]]", found["members"])
    assert [(m["name"], m["revision"], m["hash"]) for m in members] == [
        ("etcd-1", 229, 42),
        ("etcd-3", 230, None),
        (None, 230, None),
    ]


def test_what_was_estimated_is_held_against_what_it_took(run: Run) -> None:
    progress = Progress.begin(run)
    assert (run.summary("recovered", None, "")["estimate"], progress.closing(run)) == (None, [])
    progress.sources.source = SOURCE
    told = progress.foresee(run).told
    assert told == "unknown: nothing of it was measured from this machine yet"
    assert run.summary("recovered", None, "")["estimate"] == {"seconds": None, "told": told, "by": None}
    progress.estimate = Estimate(60.0, 10.0, "about 60 s", "evidence/lab/2026")
    run.started -= 50
    run.terms = replace(run.terms, mark=replace(run.mark, phase=Phase.STARTED))
    assert progress.closing(run) == [], "it did not come to its end"
    run.terms = replace(run.terms, mark=replace(run.mark, phase=Phase.DONE))
    assert progress.closing(run) == ["Estimated: 60 s, 1.2 times what it took."]


def test_of_a_run_that_is_carried_on_no_whole_is_estimated(run: Run) -> None:
    progress = Progress.begin(run)
    run.carrying_on = True
    assert progress.foresee(run).told.endswith("; some of it is done already")
    assert progress.estimate is None


def test_a_section_may_name_no_field_that_the_summary_has_not(run: Run) -> None:
    run.hand_in(Section(lambda: {"surprise": 1}))
    with pytest.raises(AssertionError, match="surprise"):
        run.summary("recovered", None, "")


def test_without_a_source_the_runbook_is_to_be_run_from_its_start() -> None:
    with pytest.raises(Refusal, match="no snapshot was chosen"):
        assert Progress().sources.chosen


class TestTheMark:
    """What is written on every host when the run gets further."""

    @pytest.fixture
    def run(self, tmp_path: Path) -> Planning:
        run = planning(tmp_path, Hosts())
        run.begin("m.py::TestX::test_when_something_is_done")
        return run

    def test_chosen_data_is_in_the_mark_and_is_what_the_new_cluster_comes_from(self, run: Planning) -> None:
        progress = Progress.begin(run)
        progress.tools = {"etcd-1": build.BUMPING}
        lost = Lineage("old", 1)
        progress.sources.family = Family((lost,))
        progress.advance(run, Phase.STOPPING, SOURCE)
        assert (run.mark.phase, run.mark.snapshot, run.mark.origin) == (Phase.STOPPING, SOURCE.sha256, "file")
        bump = run.inventory.etcd.revision_bump
        assert progress.sources.birth == Birth(run.mark.token, run.mark.run, Phase.STOPPING, SOURCE.sha256, lost, bump)

    def test_where_a_member_cannot_bump_nothing_is_bumped(self, run: Planning) -> None:
        progress = Progress(tools={"etcd-1": build.BUMPING, "etcd-2": build.OLDER})
        progress.advance(run, source=SOURCE)
        assert progress.sources.birth is not None and progress.sources.birth.bumps == 0

    def test_the_phase_never_goes_back_and_the_birth_goes_with_it(self, run: Planning) -> None:
        progress = Progress()
        progress.advance(run, Phase.STARTED, SOURCE)
        progress.advance(run, Phase.STOPPING)
        assert run.mark.phase is Phase.STARTED
        assert progress.sources.birth is not None and progress.sources.birth.phase is Phase.STARTED
        with pytest.raises(AssertionError, match="earlier phase"):
            run.advance(replace(run.mark, phase=Phase.STOPPING))

    @pytest.mark.parametrize("rebuild", [False, True])
    def test_a_plan_supposes_that_quorum_is_lost_unless_a_rebuild_was_asked_for(
        self, tmp_path: Path, rebuild: bool
    ) -> None:
        run = planning(tmp_path / "other", Hosts(), rebuild=rebuild)
        progress = Progress.begin(run)
        progress.verdict = Verdict(Kind.INTACT, ())
        run.suppose()
        assert progress.verdict.kind is (Kind.INTACT if rebuild else Kind.LOST)
