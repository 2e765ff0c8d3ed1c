"""How long anything may take: a floor and the bytes at a floor rate, stretched at one door by --timeout-scale.

The door is `fleet`, which runs `stretched` commands alone, and `Run.prove` and `Run.wait` for what is polled.
"""

from __future__ import annotations

import math

# The rungs that deadlines stand on, in seconds: spelled into the command line, a sudoers rule can name them literally.
SHORT = 60
LONG = 900  # the vendor's tools, a unit that stops
HUGE = 7200  # whatever reads or writes the whole database
RESTORE = HUGE  # one restore, in Step 4 and on trial

LINE_RATE = 1_250_000  # bytes a second: a thin line, 10 Mbit/s
DISK_RATE = 10_000_000  # bytes a second: a slow disk that others use too
STALLED = 30  # seconds without a byte: a copy that stands still is late, whatever its deadline
_FORESEEN = 1 << 62  # a number so high is a plan's placeholder: nobody knows it yet


def by_bytes(size: int, floor: float = SHORT / 2, rate: int = DISK_RATE) -> int:
    """Seconds that so many bytes may take, in whole minutes: a plan, which knows less, tells the same of small data."""
    return 60 * math.ceil((floor + (0 if size >= _FORESEEN else size) / rate) / 60)


def rung(seconds: float, least: int = SHORT) -> int:
    """The first rung that is not shorter; beyond the last, so many times it."""
    for step in (SHORT, LONG, HUGE):
        if step >= max(seconds, least):
            return step
    return HUGE * math.ceil(seconds / HUGE)


def stretched(seconds: int, scale: float) -> int:
    return math.ceil(seconds * scale)


class Wait(str):
    """A word of argv with a limit in seconds in it, for what waits on the host: it is stretched as deadlines are."""

    __slots__ = ("form", "seconds")
    seconds: int
    form: str

    def stretched(self, scale: float) -> Wait:
        return wait(stretched(self.seconds, scale), self.form)


def wait(seconds: int, form: str = "{}") -> Wait:
    """`form` has the seconds in place of `{}`."""
    word = Wait(form.format(seconds))
    word.seconds, word.form = seconds, form
    return word
