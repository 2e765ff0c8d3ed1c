"""How long it will take, by what was measured; and unknown where nothing was."""

from __future__ import annotations

import pytest

from requorum.run import estimate
from requorum.run.estimate import BESIDE, Estimate
from requorum.run.measured import Booted, Measured, Part, Past, Rate

MB = 1_000_000
LINE = Rate(50.0 * MB, "the snapshot", "evidence/prod/2026-11-20T020000Z")
PAST = Past(100 * MB, Part(25.0, 5.0, 10.0), Part(18.0, 2.0, 0.0), LINE, "evidence/prod/2026-11-27T031500Z")


def test_the_same_again_takes_as_long() -> None:
    found = estimate.whole(100 * MB, 3, Measured(LINE, PAST))
    assert (found.seconds, found.carrying, found.by) == (60.0, 10.0, PAST.evidence)
    assert found.told == "about 60 s, by the recovery of 2026-11-27T031500Z"


@pytest.mark.parametrize(
    ("size", "line", "seconds"),
    [
        (1000 * MB, 50.0, 43.0 + 70.0 + 100.0),  # the fixed part does not grow
        (10 * MB, 50.0, 43.0 + 0.7 + 1.0),
        (100 * MB, 5.0, 43.0 + 7.0 + 100.0),  # by a line of a tenth
        (100 * MB, None, 60.0),
    ],
)
def test_what_grows_with_the_data_and_the_line_does(size: int, line: float | None, seconds: float) -> None:
    found = estimate.whole(size, 3, Measured(Rate(line * MB, "w", "e") if line else None, PAST))
    assert found.seconds == pytest.approx(seconds)


def test_from_the_prompt_on_only_the_rest_counts() -> None:
    found = estimate.rest(200 * MB, 40.0, Measured(LINE, PAST))
    assert found.seconds == 22.0
    assert found.told == "about 22 s more, by the recovery of 2026-11-27T031500Z; 40 s so far"


@pytest.mark.parametrize(
    ("seen", "told"),
    [
        (Measured(), "unknown: nothing of it was measured from this machine yet"),
        (
            Measured(LINE, None, Booted(50 * MB, 4.0, "e")),
            "unknown: no recovery was finished from this machine; at least 14 s: copying 6 s, restore and boot 8 s",
        ),
        (Measured(None, None, Booted(50 * MB, 4.0, "e")), "unknown: no recovery was finished from this machine; "),
        (Measured(LINE), "unknown: no recovery was finished from this machine; at least 6 s: copying 6 s"),
    ],
)
def test_what_never_was_measured_is_unknown_and_what_was_is_said(seen: Measured, told: str) -> None:
    found = estimate.whole(100 * MB, 3, seen)
    assert found.seconds is None and found.told.startswith(told)
    assert estimate.rest(100 * MB, 9.0, seen).told == "unknown: no recovery was finished from this machine; 9 s so far"


def test_of_data_that_nobody_knows_nothing_is_known() -> None:
    assert estimate.whole(0, 3, Measured(LINE, PAST)).told == "unknown: nobody knows yet how much is to be restored"
    assert estimate.rest(0, 9.0, Measured(LINE, PAST)).seconds is None


@pytest.mark.parametrize("past", [PAST, None])
def test_a_line_that_takes_more_than_five_minutes_is_not_the_one_to_run_it_over(past: Past | None) -> None:
    thin = Rate(MB, "w", "e")
    slow, fast = (estimate.whole(size * MB, 3, Measured(thin, past)) for size in (120, 50))
    assert BESIDE in slow.told and BESIDE not in estimate.whole(99 * MB, 3, Measured(LINE, past)).told
    assert slow.carrying and slow.carrying > estimate.LONG
    assert fast.carrying and (BESIDE in fast.told) == (fast.carrying > estimate.LONG)


def test_estimate_and_reality_are_compared_where_there_are_both() -> None:
    told = estimate.compared(Estimate(60.0, None, ""), 50.0)
    assert told == "Estimated: 60 s, 1.2 times what it took."
    assert estimate.compared(Estimate(None, None, "unknown"), 50.0) == estimate.compared(None, 50.0) == ""
