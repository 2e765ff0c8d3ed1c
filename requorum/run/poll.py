"""The one poll loop of the runbook: ask again until it holds or the deadline has passed."""

from __future__ import annotations

import time
from collections.abc import Callable

INTERVAL = 0.1  # seconds between two looks; one look over multiplexed ssh costs about a third of it


def until_holds(
    look: Callable[[], str | None], within: float, clock: Callable[[], float] = time.monotonic
) -> str | None:
    """`look` gives None when it holds, else what was found. Returns the last finding, None on success.

    `within` in seconds; 0 looks once. At least one look is made after the deadline, so that a slow look is not
    taken for a failure.
    """
    deadline = clock() + within
    while True:
        last = clock() >= deadline
        found = look()
        if found is None or last:
            return found
        time.sleep(min(INTERVAL, max(deadline - clock(), 0)))
