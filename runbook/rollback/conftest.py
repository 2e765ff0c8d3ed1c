"""What the stages of one rollback share: the run that is undone, and what every host was before it."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from requorum.before import Record


@dataclass
class Past:
    """host → its record; empty where the run changed nothing yet."""

    records: dict[str, Record] = field(default_factory=dict)


@pytest.fixture(scope="session")
def past() -> Past:
    return Past()
