"""The run's mark: what a host may say about an unfinished run, and which run is carried on."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from requorum.command import Result
from requorum.evidence.journal import Journal
from requorum.hosts.fleet import Fleet
from requorum.inventory import Inventory
from requorum.refusal import Refusal
from requorum.run import held, history, marker
from requorum.run.history import Birth, Told
from requorum.run.marker import Marker, MarkerError, Outlived, Phase, Undone
from requorum.run.run import Run
from requorum.run.terms import Options
from tests.unit import build

NOTHING = Told(None, frozenset(), frozenset(), ())
OTHER = "20260202t000000z-012345"


def written(mark: Marker) -> str:
    (content,) = build.stdins([marker.write("etcd-1", "lab", mark)])
    return content.decode()


@pytest.mark.parametrize("phase", Phase)
def test_what_was_written_is_read_back(phase: Phase) -> None:
    mark = build.mark(phase, snapshot="ab", origin="handover", taken="2026-01-01T00:00:00Z")
    assert marker.read_mark("etcd-1", written(mark)) == mark


@pytest.mark.parametrize("text", ["", "\n"])
def test_no_mark_is_no_run(text: str) -> None:
    assert marker.read_mark("etcd-1", text) is None


@pytest.mark.parametrize(
    "text", ["{", "[]", '"x"', "{}", '{"phase": "LATER"}', '{"run": "x", "phase": "OPEN"}', '{"phase": "OPEN", "x": 1}']
)
def test_a_mark_that_cannot_be_read_is_a_question_for_people(text: str) -> None:
    mark = marker.read_mark("etcd-2", text)
    assert isinstance(mark, MarkerError) and mark.where == "etcd-2" and "cannot be read" in mark.what
    with pytest.raises(MarkerError, match=r"etcd-2: the mark of a run .* cannot be read"):
        history.marks({"etcd-1": NOTHING, "etcd-2": replace(NOTHING, mark=mark)})


@pytest.mark.parametrize(
    ("code", "stderr", "said"),
    [
        (0, "", "is empty"),
        (1, "cat: /x/run.json: Input/output error\n", "cannot be read: cat: /x/run.json: Input/output error"),
        (1, "cat: /x/run.json: No such file or directory\n", None),
        (1, "", "cannot be read: (it printed nothing)"),
        (1, "odd\ncat: /x/run.json: No such file or directory\n", "cannot be read"),
    ],
    ids=["empty", "disk error", "not there", "no word", "more than that"],
)
def test_a_mark_that_is_there_and_says_nothing_is_not_taken_for_none(code: int, stderr: str, said: str | None) -> None:
    question = history.ask_runs("etcd-2", "lab")
    first, *others = question.commands
    mark = question.understand([Result(first, code, "", stderr, 0.0), *(build.answered(c, "") for c in others)]).mark
    assert (isinstance(mark, MarkerError) and said in mark.what) if said else mark is None


@pytest.mark.parametrize("code", [124, 137, 126, 127])
@pytest.mark.parametrize("which", [0, 1], ids=["mark", "others"])
@pytest.mark.parametrize("stderr", ["", "cat: /x/run.json: No such file or directory\n"])
def test_a_host_that_is_not_asked_in_time_is_never_taken_for_one_without_runs(
    code: int, which: int, stderr: str
) -> None:
    """Else other hosts' good marks are foreign, and passwords are backed up anew."""
    question = history.ask_runs("etcd-2", "lab")
    gone = "cat: /x/run.json: No such file or directory\n"
    answers = [Result(command, 1, "", gone, 0.0) for command in question.commands]
    assert question.understand(answers).mark is None
    answers[which] = replace(answers[which], code=code, stderr=stderr)
    if which == 0 and code in (126, 127):
        assert isinstance(question.understand(answers).mark, MarkerError)
        return
    with pytest.raises(Refusal, match="etcd-2: could not be asked"):
        question.understand(answers)


GOOD = asdict(build.mark(Phase.STOPPING)) | {"phase": "STOPPING", "undone": "NO"}


@pytest.mark.parametrize(
    ("field", "word"),
    [
        ("run", "20260101t000000z-abc/../../etc"),  # H2: it steered `install -d`, `rm -rf`, `dd` and `mv` as root
        ("run", "20260101t000000z-abcdef/x"),
        ("run", "20260231t000000z-abcdef"),
        ("run", ".."),
        ("run", ["20260101t000000z-abcdef"]),
        ("token", "../x"),
        ("token", "a b"),
        ("token", 7),
        ("snapshot", "/etc/shadow"),
        ("origin", "x\x1b[2J"),
        ("members", "etcd-1=etcd-1/10.0.0.11\nx"),
        ("by", 7),
    ],
)
def test_a_mark_with_a_word_that_leads_elsewhere_is_not_understood(field: str, word: object) -> None:
    assert isinstance(marker.read_mark("etcd-2", json.dumps(GOOD)), Marker)
    mark = marker.read_mark("etcd-2", json.dumps({**GOOD, field: word}))
    assert isinstance(mark, MarkerError)
    assert "\x1b" not in str(mark) and "etcd-2" in str(mark)


def test_who_began_a_run_is_shown_without_what_a_terminal_would_act_on() -> None:
    mark = marker.read_mark("etcd-2", json.dumps({**GOOD, "by": "eve\x1b[2J@desk\n"}))
    assert isinstance(mark, Marker) and mark.by == "eve?[2J@desk?"


@given(st.text(max_size=2000) | st.dictionaries(st.sampled_from([*GOOD, "x"]), st.none() | st.text()).map(json.dumps))
def test_whatever_a_host_says_of_runs_is_a_value_or_a_refusal_that_names_it(text: str) -> None:
    with build.refused_by("etcd-2"):
        build.understood(history.ask_births("etcd-2", "lab"), text)
        mark = build.understood(history.ask_runs("etcd-2", "lab"), text).mark
        assert not isinstance(mark, MarkerError) or mark.where == "etcd-2"


OLD, NEW = build.RUN, OTHER


def carried_on(*marks: Marker | None) -> Marker | None:
    return marker.to_carry_on({f"etcd-{number}": mark for number, mark in enumerate(marks, start=1)})


class TestTheRunToCarryOn:
    def test_without_any_mark_there_is_none(self) -> None:
        assert carried_on(None, None) is None

    def test_finished_runs_are_history(self) -> None:
        assert carried_on(build.mark(Phase.DONE), build.mark(Phase.DONE, NEW)) is None

    def test_one_that_only_diagnosed_is_left_behind(self) -> None:
        assert carried_on(build.mark(Phase.OPEN), None) is None

    @pytest.mark.parametrize("phase", [Phase.STOPPING, Phase.STARTED, Phase.POWERING_ON])
    def test_one_that_changed_anything_is_carried_on(self, phase: Phase) -> None:
        assert carried_on(None, build.mark(Phase.OPEN), build.mark(phase)) == build.mark(phase)

    def test_it_is_carried_on_from_the_furthest_phase_that_any_host_knows(self) -> None:
        phases = (Phase.OPEN, Phase.POWERING_ON, Phase.STARTED, Phase.STOPPING)
        assert carried_on(*map(build.mark, phases)) == build.mark(Phase.POWERING_ON)

    def test_the_start_of_the_new_etcd_lies_between_stopping_and_power(self) -> None:
        assert list(Phase) == sorted(Phase)
        assert [phase.name for phase in Phase] == ["OPEN", "STOPPING", "STARTED", "POWERING_ON", "DONE"]

    @pytest.mark.parametrize("left", [Phase.STOPPING, Phase.STARTED, Phase.POWERING_ON])
    def test_a_run_that_any_host_knows_to_be_finished_is_over(self, left: Phase) -> None:
        assert carried_on(build.mark(left), build.mark(Phase.DONE), None) is None

    @pytest.mark.parametrize("left", [Phase.STOPPING, Phase.STARTED, Phase.POWERING_ON])
    def test_whatever_is_older_than_a_finished_run_is_stale(self, left: Phase) -> None:
        assert carried_on(build.mark(left, OLD), build.mark(Phase.DONE, NEW)) is None

    @pytest.mark.parametrize("phase", [Phase.STOPPING, Phase.STARTED, Phase.POWERING_ON])
    def test_a_run_begun_after_a_finished_one_is_carried_on(self, phase: Phase) -> None:
        assert carried_on(build.mark(Phase.DONE, OLD), build.mark(phase, NEW)) == build.mark(phase, NEW)

    def test_a_stale_mark_does_not_make_two_runs_of_one(self) -> None:
        middle = "20260115t000000z-777777"
        stale, done = build.mark(Phase.POWERING_ON, OLD), build.mark(Phase.DONE, middle)
        assert carried_on(stale, done, build.mark(Phase.STARTED, NEW)) == build.mark(Phase.STARTED, NEW)

    def test_what_an_earlier_diagnosis_left_is_no_second_run(self) -> None:
        assert carried_on(build.mark(Phase.OPEN, NEW), build.mark(Phase.STOPPING)) == build.mark(Phase.STOPPING)

    def test_two_unfinished_runs_are_named_with_their_operators(self) -> None:
        with pytest.raises(MarkerError) as error:
            carried_on(build.mark(Phase.STARTED), build.mark(Phase.STOPPING, NEW, by="eve@elsewhere"))
        assert f"etcd-1: run {OLD} by ops@desk; etcd-2: run {NEW} by eve@elsewhere" in str(error.value)

    def test_a_run_that_only_diagnosed_is_not_named_among_them(self) -> None:
        third = "20260303t000000z-999999"
        with pytest.raises(MarkerError) as error:
            carried_on(build.mark(Phase.STARTED), build.mark(Phase.STOPPING, NEW), build.mark(Phase.OPEN, third))
        assert third not in str(error.value)

    @given(st.lists(st.builds(build.mark, st.sampled_from(Phase), st.sampled_from([OLD, NEW])), max_size=5))
    def test_the_order_of_hosts_does_not_matter(self, marks: list[Marker]) -> None:
        def outcome(found: list[Marker]) -> Marker | str | None:
            try:
                return carried_on(*found)
            except MarkerError:
                return "several"

        assert outcome(marks) == outcome(marks[::-1])


class TestAMachineThatComesBack:
    """With the mark of an earlier run, after a later one has overwritten the marks of all others."""

    BEGUN = (Phase.STOPPING, Phase.STARTED, Phase.POWERING_ON)

    def carried_on(self, outlived: Outlived, *marks: Marker) -> Marker | None:
        found = {"etcd-1": build.mark(Phase.OPEN, NEW), "etcd-2": None}
        return marker.to_carry_on({**found, **{f"query-{n}": m for n, m in enumerate(marks)}}, outlived=outlived)

    @pytest.mark.parametrize("left", BEGUN)
    def test_a_finished_run_is_not_revived(self, left: Phase) -> None:
        assert self.carried_on(Outlived({OLD: Phase.DONE}), build.mark(left)) is None

    @pytest.mark.parametrize("left", [*BEGUN, Phase.DONE])
    @pytest.mark.parametrize("undone", Undone)
    def test_one_that_was_rolled_back_is_not_either(self, left: Phase, undone: Undone) -> None:
        outlived = Outlived({OLD: Phase.DONE}, {"etcd-1": frozenset(), "etcd-2": frozenset({OLD})})
        assert self.carried_on(outlived, build.mark(left, undone=undone)) is None

    @pytest.mark.parametrize("left", BEGUN)
    def test_nor_one_that_is_older_than_these(self, left: Phase) -> None:
        middle = "20260115t000000z-777777"
        assert self.carried_on(Outlived({middle: Phase.DONE}), build.mark(left)) is None
        assert self.carried_on(Outlived({}, {"etcd-1": frozenset({middle})}), build.mark(left)) is None

    def test_one_that_had_turned_deephaven_on_is_known_to_have(self) -> None:
        outlived = Outlived({OLD: Phase.POWERING_ON})
        assert self.carried_on(outlived, build.mark(Phase.STOPPING)) == build.mark(Phase.POWERING_ON)
        assert marker.to_roll_back({"query-1": build.mark(Phase.STOPPING)}, outlived) == build.mark(Phase.POWERING_ON)

    @pytest.mark.parametrize("left", BEGUN)
    def test_one_that_nobody_knows_to_be_over_is_carried_on(self, left: Phase) -> None:
        older = "20251231t000000z-777777"
        assert self.carried_on(Outlived({older: Phase.DONE}), build.mark(left)) == build.mark(left)

    def test_a_rollback_that_is_not_finished_stays_so_whatever_the_run_got_to(self) -> None:
        with pytest.raises(MarkerError, match="is being rolled back"):
            self.carried_on(Outlived({OLD: Phase.DONE}), build.mark(Phase.DONE, undone=Undone.BEGUN))

    def test_whoever_is_at_work_is_not_stopped_by_it(self) -> None:
        mine, stale = build.mark(run=NEW), build.mark(Phase.STARTED)
        marker.refuse_others({"etcd-1": mine, "query-1": stale}, mine, outlived=Outlived({OLD: Phase.DONE}))

    def test_what_is_told_is_the_configuration_servers_and_a_retry_may_take_back_what_is_not_final(
        self,
    ) -> None:
        births = [
            Birth(f"lab-{run}", run, phase, "ab", None, 0)
            for run, phase in ((OLD, Phase.POWERING_ON), (OLD, Phase.DONE), (OTHER, Phase.STARTED))
        ]
        lines = [json.dumps({**asdict(birth), "phase": birth.phase.name}) for birth in births]
        kept = [f"{OLD}/rolled-back", f"{NEW}/client.before"]
        told = {
            "etcd-1": build.runs("etcd-1", births=f"{lines[1]}\n{lines[2]}\n"),
            "etcd-2": build.runs("etcd-2", names=kept, births=f"{lines[0]}\n"),
        }
        assert told["etcd-2"].kept == {NEW}
        found = held.outlived(told, "etcd-1")
        assert found == Outlived({OLD: Phase.DONE}, {"etcd-1": frozenset(), "etcd-2": frozenset()})
        assert held.outlived(told, "etcd-2") == Outlived(
            {OLD: Phase.POWERING_ON}, {"etcd-1": frozenset(), "etcd-2": frozenset({OLD})}
        )


class TestRefusingOthers:
    MINE = build.mark(run=NEW)

    def refuse(self, *marks: Marker | None) -> None:
        marker.refuse_others({f"etcd-{n}": mark for n, mark in enumerate(marks, start=1)}, self.MINE)

    @pytest.mark.parametrize("phase", Phase)
    def test_ones_own_run_is_no_other(self, phase: Phase) -> None:
        self.refuse(replace(self.MINE, phase=phase), self.MINE)

    @pytest.mark.parametrize("left", [None, build.mark(Phase.OPEN), build.mark(Phase.DONE)])
    def test_what_changes_nothing_any_more_is_no_hindrance(self, left: Marker | None) -> None:
        self.refuse(left, self.MINE)

    @pytest.mark.parametrize("phase", [Phase.STOPPING, Phase.STARTED, Phase.POWERING_ON])
    @pytest.mark.parametrize("run", [OLD, "20260303t000000z-999999"])
    def test_whoever_began_in_the_meantime_goes_first(self, run: str, phase: Phase) -> None:
        with pytest.raises(MarkerError, match=rf"run {run} of eve@elsewhere has begun in the meantime"):
            self.refuse(self.MINE, build.mark(phase, run, by="eve@elsewhere"))


class TestOldMembersThatWereForgotten:
    """After a move `old_members` is history; a later run that believed it would look for data on the wrong machines."""

    def judge(self, mark: Marker | None, wanted: str = "new") -> None:
        marker.refuse_forgotten_old_members({"etcd-1": None, "etcd-2": mark}, wanted)

    @pytest.mark.parametrize("phase", [Phase.POWERING_ON, Phase.DONE])
    def test_a_cluster_that_was_built_already_is_not_looked_for_on_the_old_machines(self, phase: Phase) -> None:
        with pytest.raises(MarkerError, match="remove old_members"):
            self.judge(replace(build.mark(phase), members="new"))

    @pytest.mark.parametrize(
        "mark",
        [
            None,
            replace(build.mark(Phase.STARTED), members="new"),
            replace(build.mark(Phase.DONE), members="others"),
            replace(build.mark(Phase.DONE), members="new", undone=Undone.ROLLED_BACK),
        ],
    )
    def test_nothing_else_is_in_the_way(self, mark: Marker | None) -> None:
        self.judge(mark)


class TestAnotherInventory:
    def run(self, of: Inventory) -> Run:
        run = Run(of, Options(operator="ops@desk"), cast(Journal, None), cast(Fleet, None))
        run.note = lambda text: None  # type: ignore[method-assign]
        return run

    def test_the_mark_of_a_new_run_names_the_cluster_that_it_builds(self) -> None:
        run = self.run(build.replaced())
        assert run.mark.members == "etcd-1=etcd-1/10.0.0.11 etcd-2=etcd-2/10.0.0.12 etcd-3=etcd-4/10.0.0.14"

    def test_it_survives_being_written_and_read(self) -> None:
        mark = self.run(build.inventory()).mark
        assert marker.read_mark("etcd-1", written(mark)) == mark

    def test_the_same_inventory_carries_on(self) -> None:
        began = replace(self.run(build.inventory()).mark, phase=Phase.STARTED)
        run = self.run(build.inventory())
        run.carry_on(began)
        assert run.carrying_on
        assert run.mark == began

    @pytest.mark.parametrize("was", [build.replaced(), None], ids=["another member", "a mark that names none"])
    def test_another_one_does_not(self, was: Inventory | None) -> None:
        began = self.run(was).mark if was else build.mark(Phase.STOPPING)
        run = self.run(build.inventory())
        with pytest.raises(MarkerError, match=rf"run {began.run} of ops@desk is unfinished, and it builds"):
            run.carry_on(began)
        assert not run.carrying_on
        assert run.mark != began
