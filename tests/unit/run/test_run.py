"""The one poll loop, under a clock that only moves when it sleeps."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from requorum.run.run import INTERVAL, until_holds


class Clock:
    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("requorum.run.run.time.sleep", clock.sleep)
    return clock


def answers(*found: str | None) -> Callable[[], str | None]:
    """Gives these one after another, then the last of them for ever."""
    queue = list(found)
    return lambda: queue.pop(0) if len(queue) > 1 else queue[0]


def test_what_holds_at_once_costs_no_sleep(clock: Clock) -> None:
    assert until_holds(answers(None), 60, clock) is None
    assert clock.slept == []


def test_it_asks_again_until_it_holds(clock: Clock) -> None:
    assert until_holds(answers("no", "not yet", None), 60, clock) is None
    assert clock.slept == [INTERVAL, INTERVAL]


def test_after_the_deadline_the_last_finding_is_given(clock: Clock) -> None:
    assert until_holds(answers("first", "last"), 1, clock) == "last"
    assert clock.now == pytest.approx(101)


def test_a_deadline_of_nothing_looks_once(clock: Clock) -> None:
    assert until_holds(answers("no", None), 0, clock) == "no"


def test_a_look_slower_than_the_deadline_is_followed_by_one_more(clock: Clock) -> None:
    found = answers("still starting", None)

    def slow() -> str | None:
        clock.now += 10
        return found()

    assert until_holds(slow, 5, clock) is None


def test_it_never_sleeps_past_the_deadline(clock: Clock) -> None:
    until_holds(answers("no"), 0.3, clock)
    assert sum(clock.slept) == pytest.approx(0.3)


def test_the_longer_it_takes_the_longer_is_a_pause_and_never_more_than_an_eighth(clock: Clock) -> None:
    """Looks take a processor from what is waited for."""
    began = clock.now
    assert until_holds(answers("no"), 60, clock) == "no"
    assert clock.now == pytest.approx(began + 60) and len(clock.slept) < 50
    passed = 0.0
    for pause in clock.slept:
        assert pause <= max(INTERVAL, passed / 8) + 1e-6
        passed += pause
