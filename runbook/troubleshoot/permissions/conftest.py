"""What the stages of one repair hand on."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest


@dataclass
class Repair:
    """Hosts whose files were given back, and where the service was started."""

    mended: set[str] = field(default_factory=set)
    started: list[str] = field(default_factory=list)


@pytest.fixture(scope="session")
def repair() -> Repair:
    return Repair()
