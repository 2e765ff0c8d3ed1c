"""What the stages of one collection share, and that no half of it stays."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from requorum.command import Collected
from requorum.hosts.clock import Reading
from requorum.run.run import Run


@dataclass
class Collection:
    """`place` is where files lie until they are packed. `failed`: host → why it could not be asked (to the end)."""

    place: Path
    failed: dict[str, str] = field(default_factory=dict)
    clocks: dict[str, Reading] = field(default_factory=dict)
    files: list[Collected] = field(default_factory=list)


@pytest.fixture(scope="session")
def collection(_run: Run) -> Iterator[Collection]:
    found = Collection(_run.journal.directory / "logs.part")
    try:
        yield found
    finally:
        shutil.rmtree(found.place, ignore_errors=True)
