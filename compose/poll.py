"""The lab's one poll loop. Nothing in `compose/` sleeps anywhere else.

Standard library only: `compose/engine.py` uses it before any dependency is installed.
"""

import time
from collections.abc import Callable
from typing import TypeVar

from compose.errors import LabError

T = TypeVar("T")


def until(
    probe: Callable[[], T | None],
    *,
    seconds: float,
    what: str,
    every: float = 0.1,
    why_not: Callable[[], str] | None = None,
    error: type[LabError] = LabError,
) -> T:
    """Call `probe` until it returns something true and return that.

    `probe` says "not yet" by returning None or False; an exception ends the wait at once. After
    `seconds` `error` is raised with `what` (the awaited condition, as "etcd-1 answers on ssh")
    and what `why_not` finds.
    """
    deadline = time.monotonic() + seconds
    while True:
        found = probe()
        if found:
            return found
        if time.monotonic() >= deadline:
            found_instead = f": {why_not()}" if why_not else ""
            raise error(f"waited {seconds:g} s in vain until {what}{found_instead}")
        time.sleep(every)
