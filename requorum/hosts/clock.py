"""How far the hosts' clocks are apart, told without trusting any of them, this machine's neither.

A host's reading was taken some time between question and answer, so a difference is an interval, and only what no
slow answer can explain counts as one. Pure functions over the answers; `Result.seconds` is how long an answer took.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass

from requorum.command import Command, Result, look


@dataclass(frozen=True)
class Reading:
    """A host's clock less this machine's: at least `low`, at most `high` seconds."""

    low: float
    high: float

    @property
    def middle(self) -> float:
        return (self.low + self.high) / 2

    @property
    def margin(self) -> float:
        """Half of the way there and back."""
        return (self.high - self.low) / 2


def ask(host: str) -> Command:
    return look(host, "date", "+%s.%N", why="the host's clock", root=False)


def parse(result: Result, answered: float | None = None) -> Reading | None:
    """The reading in an answer to `ask` that came at `answered` (this machine's clock; default now).

    None where no number came.
    """
    try:
        said = float(result.stdout)
    except ValueError:
        return None
    answered = time.time() if answered is None else answered
    return Reading(said - answered, said - (answered - result.seconds))


def differences(readings: Mapping[str, Reading], limit: float) -> dict[str, float]:
    """Hosts whose clock is surely more than `limit` seconds off the middle one of all, and by about how much."""
    if len(readings) < 2:
        return {}
    middle = statistics.median_low(sorted(reading.middle for reading in readings.values()))
    reference = next(reading for reading in readings.values() if reading.middle == middle)
    return {
        host: round(reading.middle - middle, 1)
        for host, reading in readings.items()
        if max(reading.low - reference.high, reference.low - reading.high) > limit
    }
