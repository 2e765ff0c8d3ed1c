"""What the stages of one backup share, and that it leaves nothing behind however it ends."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from requorum.run.run import Run, Section
from requorum.snapshots.backup import Tonight, sweep
from requorum.snapshots.vault import Vault


@pytest.fixture(scope="session")
def tonight(_run: Run) -> Iterator[Tonight]:
    """The locked backup directory, and what tonight's stages have established."""
    vault = Vault(_run.inventory)
    with vault.locked():
        tonight = Tonight(vault)
        _run.hand_in(Section(tonight.fields))
        try:
            yield tonight
        finally:
            sweep(_run, tonight)
