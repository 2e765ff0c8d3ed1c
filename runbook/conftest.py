"""What the steps of one recovery share; a retry and a drill go through them too."""

from __future__ import annotations

import pytest

from requorum.cluster import Run
from requorum.progress import Progress


@pytest.fixture(scope="session")
def progress(_run: Run) -> Progress:
    return Progress.begin(_run)
