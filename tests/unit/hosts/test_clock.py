"""Clocks: what no slow answer can explain is a difference, whatever this machine's own clock says."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from requorum.command import Result
from requorum.hosts import clock
from requorum.hosts.clock import Reading


def read(said: str, seconds: float = 0.1, began: float = 999.5) -> Reading | str:
    question = clock.ask_clock("h", began)
    return question.understand([Result(question.commands[0], 0, said, "", seconds)])


def test_a_reading_is_an_interval_as_wide_as_the_answer_took() -> None:
    assert read("1000.0", seconds=0.5) == Reading(0.0, 0.5)


@pytest.mark.parametrize("said", ["", "command not found", "12:00", "nan", "inf", "1e999", "1_0", "١"])
def test_no_time_is_no_reading(said: str) -> None:
    """NaN above all: it would be within every limit."""
    assert read(said) == f"date says: {said or '(it printed nothing)'}"


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=2000) | st.from_regex(r"[0-9.e+-]{1,40}"))
def test_whatever_a_host_says_is_a_finite_reading_or_its_words(said: str) -> None:
    found = read(said)
    assert isinstance(found, str) or math.isfinite(found.low + found.high)


@pytest.mark.parametrize(
    ("offsets", "found"),
    [
        ({"a": 0, "b": 0.3, "c": 0.9}, {}),
        ({"a": 0, "b": 0, "c": 90}, {"c": 90}),
        ({"a": 0, "b": 0, "c": -7}, {"c": -7}),
        ({"a": 3600, "b": 3600, "c": 3600}, {}),  # it is this machine's clock that is off
        ({"a": 0}, {}),
        ({}, {}),
    ],
)
def test_the_host_that_differs_from_the_others_is_named(offsets: dict[str, float], found: dict[str, float]) -> None:
    readings = {host: Reading(offset - 0.05, offset + 0.05) for host, offset in offsets.items()}
    assert clock.differences(readings, limit=1) == pytest.approx(found)


def test_a_slow_answer_alone_is_no_difference() -> None:
    readings = {"a": Reading(0, 0.1), "b": Reading(0, 0.1), "c": Reading(-0.5, 30)}
    assert clock.differences(readings, limit=1) == {}


def test_only_hosts_that_are_surely_behind_one_are_named() -> None:
    readings = {
        "a": Reading(100.0, 101.0),
        "b": Reading(99.0, 99.5),
        "c": Reading(0.0, 90.0),
        "d": Reading(200.0, 201.0),
    }
    assert clock.behind(readings, "a", 5) == {"c": 10.0}
    assert clock.behind(readings, "d", 50) == {"a": 99.0, "b": 100.5, "c": 110.0}
    assert clock.behind(readings, "c", 5) == {}
