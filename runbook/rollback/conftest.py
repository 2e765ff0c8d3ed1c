"""What the stages of one rollback share: the run that is undone, and what every host was before it."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from requorum.before import Record


@dataclass
class Past:
    """`hosts` are rolled back: all, or those that were gone while the others were. `records`: host → its record; empty
    where the run changed nothing yet."""

    hosts: tuple[str, ...] = ()
    records: dict[str, Record] = field(default_factory=dict)


@pytest.fixture(scope="session")
def past() -> Past:
    return Past()
