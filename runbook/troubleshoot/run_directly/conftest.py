"""What the stages of one direct run hand on."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from requorum.cluster.quorum import MemberFacts
from requorum.command import Result


@dataclass
class DirectRun:
    """`sheet` and `invocation`: how the member stood before; `result`: what systemd said of the run."""

    sheet: MemberFacts | None = None
    invocation: str = ""
    result: Result | None = None

    @property
    def before(self) -> MemberFacts:
        assert self.sheet is not None
        return self.sheet

    @property
    def was_running(self) -> bool:
        return self.before.unit is not None and self.before.unit.running

    @property
    def ended(self) -> Result:
        assert self.result is not None
        return self.result


@pytest.fixture(scope="session")
def direct_run() -> DirectRun:
    return DirectRun()
