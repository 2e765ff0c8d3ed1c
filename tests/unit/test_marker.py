"""The run's mark: what a host may say about an unfinished run, and which run is carried on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from requorum import marker
from requorum.marker import Marker, MarkerError, Phase
from tests.unit import build

OTHER = "20260202t000000z-012345"


def written(mark: Marker) -> str:
    (content,) = build.stdins(marker.write("etcd-1", "lab", mark))
    return content.decode()


@pytest.mark.parametrize("phase", Phase)
def test_what_was_written_is_read_back(phase: Phase) -> None:
    mark = build.mark(phase, snapshot="ab", origin="handover", taken="2026-01-01T00:00:00Z")
    assert marker.parse("etcd-1", written(mark)) == mark


@pytest.mark.parametrize("text", ["", "\n"])
def test_no_mark_is_no_run(text: str) -> None:
    assert marker.parse("etcd-1", text) is None


@pytest.mark.parametrize(
    "text", ["{", "[]", '"x"', "{}", '{"phase": "LATER"}', '{"run": "x", "phase": "OPEN"}', '{"phase": "OPEN", "x": 1}']
)
def test_a_mark_that_cannot_be_read_is_a_question_for_people(text: str) -> None:
    with pytest.raises(MarkerError, match=r"etcd-2: the mark of a run .* cannot be read"):
        marker.parse("etcd-2", text)


class TestTheUnfinishedRun:
    def test_without_any_mark_there_is_none(self) -> None:
        assert marker.unfinished({"etcd-1": None, "etcd-2": None}) is None

    def test_finished_runs_are_history(self) -> None:
        marks: dict[str, Marker | None] = {"etcd-1": build.mark(Phase.DONE), "etcd-2": build.mark(Phase.DONE, OTHER)}
        assert marker.unfinished(marks) is None

    def test_it_is_carried_on_from_the_furthest_phase_that_any_host_knows(self) -> None:
        marks: dict[str, Marker | None] = {
            "a": build.mark(Phase.OPEN),
            "b": build.mark(Phase.POWERING_ON),
            "c": build.mark(Phase.STOPPING),
        }
        assert marker.unfinished(marks) == marks["b"]

    def test_a_host_that_was_not_marked_yet_does_not_hide_it(self) -> None:
        assert marker.unfinished({"etcd-1": None, "etcd-2": build.mark()}) == build.mark()

    def test_an_older_finished_run_on_a_spare_does_not_disturb(self) -> None:
        marks: dict[str, Marker | None] = {"etcd-1": build.mark(), "etcd-4": build.mark(Phase.DONE, OTHER)}
        assert marker.unfinished(marks) == build.mark()

    def test_a_run_cut_while_it_was_closed_is_still_to_be_carried_on(self) -> None:
        marks: dict[str, Marker | None] = {"etcd-1": build.mark(Phase.DONE), "etcd-2": build.mark(Phase.POWERING_ON)}
        found = marker.unfinished(marks)
        assert found is not None
        assert found.run == build.RUN

    def test_two_unfinished_runs_are_named_with_their_operators(self) -> None:
        marks: dict[str, Marker | None] = {"etcd-1": build.mark(), "etcd-2": build.mark(run=OTHER, by="eve@elsewhere")}
        with pytest.raises(MarkerError) as error:
            marker.unfinished(marks)
        assert f"etcd-1: run {build.RUN} by ops@desk; etcd-2: run {OTHER} by eve@elsewhere" in str(error.value)


def test_a_run_that_only_diagnosed_is_left_behind_for_a_new_one() -> None:
    assert marker.to_carry_on({"etcd-1": build.mark(Phase.OPEN), "etcd-2": None}) is None


def test_a_run_that_began_to_stop_things_is_carried_on() -> None:
    stopping = build.mark(Phase.STOPPING)
    assert marker.to_carry_on({"etcd-1": build.mark(Phase.OPEN), "etcd-2": stopping}) == stopping


def test_what_an_earlier_diagnosis_left_is_no_second_run() -> None:
    left, stopping = replace(build.mark(Phase.OPEN), run=OTHER), build.mark(Phase.STOPPING)
    assert marker.to_carry_on({"etcd-1": left, "etcd-2": stopping}) == stopping
