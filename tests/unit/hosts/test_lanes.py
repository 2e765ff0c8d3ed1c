"""Trips to one host at the same time: all answers in their order, and the first that fails fails all."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace

import pytest

from requorum.command import Command, look
from requorum.hosts import lanes
from requorum.hosts.lanes import LANES, at_once, side_by_side


def commands(count: int) -> list[Command]:
    return [look("h", "true", str(number), why="") for number in range(count)]


def test_all_are_answered_in_their_order_whoever_answers_first() -> None:
    """Each lane waits until all others are there: nobody waits for nobody."""
    for count in (2, LANES, LANES + 3, 5 * LANES):
        together = threading.Barrier(min(count, LANES), timeout=10)

        def look(asked: Sequence[Command], together: threading.Barrier = together) -> list[str]:
            together.wait()
            return [command.argv[1] for command in asked]

        assert at_once(look, commands(count)) == [str(number) for number in range(count)]


def test_one_question_or_none_needs_no_lane() -> None:
    here = threading.current_thread()
    told = [at_once(lambda asked: [threading.current_thread() for _ in asked], commands(n)) for n in (0, 1)]
    assert told == [[], [here]]


def test_what_one_lane_raises_is_raised_once_all_have_ended() -> None:
    ended: list[str] = []

    def look(asked: Sequence[Command]) -> list[str]:
        if asked[0].argv[1] == "1":
            raise RuntimeError("silent")
        ended.append(asked[0].argv[1])
        return ["" for _ in asked]

    with pytest.raises(RuntimeError, match="silent"):
        at_once(look, commands(3 * LANES))
    assert len(ended) == lanes.LANES - 1


def acts(*lanes: str) -> list[Command]:
    return [replace(command, lane=lane) for command, lane in zip(commands(len(lanes)), lanes, strict=True)]


def test_lanes_go_at_the_same_time_and_each_in_its_order() -> None:
    together = threading.Barrier(3, timeout=10)

    def run(lane: Sequence[Command]) -> list[str]:
        together.wait()
        return [command.argv[1] for command in lane]

    assert side_by_side(run, acts("", "a", "", "b", "a")) == ["0", "2", "1", "4", "3"]


def test_one_lane_is_no_lane_of_its_own() -> None:
    here = threading.current_thread()
    assert side_by_side(lambda lane: [threading.current_thread() for _ in lane], acts("a", "a")) == [here, here]


def test_what_one_lane_raises_stops_no_other() -> None:
    ended: list[str] = []

    def run(lane: Sequence[Command]) -> list[str]:
        if lane[0].lane == "a":
            raise RuntimeError("silent")
        ended.append(lane[0].lane)
        return [""]

    with pytest.raises(RuntimeError, match="silent"):
        side_by_side(run, acts("a", "b", "c"))
    assert sorted(ended) == ["b", "c"]
