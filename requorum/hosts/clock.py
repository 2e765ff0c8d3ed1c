"""How far the hosts' clocks are apart, told without trusting any of them, this machine's neither.

A host's reading was taken some time between question and answer, so a difference is an interval, and only what no
slow answer can explain counts as one.
"""

from __future__ import annotations

import re
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass

from requorum.command import Result, look
from requorum.hosts.question import Question


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


def ask_clock(host: str, began: float | None = None) -> Question[Reading | str]:
    """For a question that is asked at once; `began` is when, by this machine's clock. What `date` says where that is no
    time. `Result.seconds` is how long the answer took: the journal's disk comes after it."""
    began = time.time() if began is None else began

    question = look(host, "date", "+%s.%N", why="the host's clock", root=False)
    return Question(question, lambda result: read(result.stdout, result, began))


def read(text: str, result: Result, began: float) -> Reading | str:
    """Of what `date` printed, as a part of a result of which nothing else takes time."""
    if not re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,9})?\n?", text):
        return f"date says: {result.words}"
    return Reading(float(text) - (began + result.seconds), float(text) - began)


def behind(readings: Mapping[str, Reading], of: str, limit: float) -> dict[str, float]:
    """Hosts whose clock is surely more than `limit` seconds behind that of one, and by how much at least."""
    first = readings[of]
    late = {host: first.low - reading.high for host, reading in readings.items()}
    return {host: round(by, 1) for host, by in late.items() if by > limit}


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
