"""What the stages of one diagnosis share."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from requorum.clock import Reading
from requorum.sheet import Sheet


@dataclass
class Diagnosis:
    """Who is silent and why, everybody else's clock; the sheet, once everything was looked at."""

    silent: dict[str, str] = field(default_factory=dict)
    clocks: dict[str, Reading] = field(default_factory=dict)
    sheet: Sheet | None = None


@pytest.fixture(scope="session")
def diagnosis() -> Diagnosis:
    return Diagnosis()
