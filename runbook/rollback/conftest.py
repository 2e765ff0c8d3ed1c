"""What the stages of one rollback share: the run that is undone, and what every host was before it."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from requorum.recovery.undo.baseline import Record
from requorum.run.run import Run, Section
from requorum.snapshots.loss import Loss


@dataclass
class Past:
    """`hosts` are rolled back: all, or those that were gone while the others were. `records`: host → its record; empty
    where the run changed nothing yet. `beyond`: as `Wrote` has it. `loss`: what going back loses, None until that is
    known."""

    hosts: tuple[str, ...] = ()
    records: dict[str, Record] = field(default_factory=dict)
    beyond: int | None = None
    loss: Loss | None = None

    def fields(self) -> dict[str, object]:
        """Of `summary.json`."""
        return {"data_loss": self.loss.fields()} if self.loss else {}


@pytest.fixture(scope="session")
def past(_run: Run) -> Past:
    past = Past()
    _run.hand_in(Section(past.fields))
    return past
