"""What the stages of one diagnosis share."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from requorum.diagnosis.causes import Cause
from requorum.diagnosis.sheet import Sheet
from requorum.hosts.clock import Reading
from requorum.run.run import Run, Section


@dataclass
class Diagnosis:
    """Who is silent and why, everybody else's clock; the sheet, once everything was looked at; what is wrong, the
    likeliest first."""

    silent: dict[str, str] = field(default_factory=dict)
    clocks: dict[str, Reading] = field(default_factory=dict)
    sheet: Sheet | None = None
    causes: list[Cause] = field(default_factory=list)

    def fields(self) -> dict[str, object]:
        """Of `summary.json`."""
        return {"causes": [cause.row() for cause in self.causes]}


@pytest.fixture(scope="session")
def diagnosis(_run: Run) -> Diagnosis:
    diagnosis = Diagnosis()
    _run.hand_in(Section(diagnosis.fields))
    return diagnosis
