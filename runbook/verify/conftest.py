"""What the stages of one proof share, and that it leaves nothing behind however it ends."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from requorum.run.run import Run
from requorum.verify import night as nights
from requorum.verify.night import Night


@pytest.fixture(scope="session")
def night(_run: Run) -> Iterator[Night]:
    """The locked backup directory, and what tonight's stages have established."""
    with nights.opened(_run) as night:
        yield night
