"""What the steps of one recovery share; a retry and a drill go through them too."""

from __future__ import annotations

import pytest

from requorum.recovery.progress import Progress
from requorum.run.run import Run


@pytest.fixture(scope="session")
def progress(_run: Run) -> Progress:
    return Progress.begin(_run)
