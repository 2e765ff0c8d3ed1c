"""One lab for the whole session; it fails, never skips, where the lab cannot start."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from compose import lab
from compose.errors import LabError
from tests.lab import troubles
from tests.lab.rehearsal import Own, Rehearsal


@pytest.fixture(scope="session")
def _lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rehearsal]:
    rehearsal = Rehearsal(tmp_path_factory.mktemp("lab"))
    yield rehearsal
    lab.down()
    unlisted = troubles.unlisted_in_sudoers(rehearsal)
    assert not unlisted, "requorum/troubleshoot/sudoers.txt lacks what the runbook ran as root:\n" + "\n".join(unlisted)


@pytest.fixture
def rehearsal(_lab: Rehearsal) -> Rehearsal:
    """A healthy, loaded, backed-up cluster."""
    try:
        _lab.prepare()
    except LabError as error:
        pytest.fail(f"the lab does not start: {error}", pytrace=False)
    return _lab


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Own]:
    """Makes a healthy, loaded, backed-up cluster of the shape that is asked for."""

    def make(**shape: Any) -> Rehearsal:
        other = Rehearsal(tmp_path, **{"spares": 0, **shape})
        other.prepare()
        return other

    lab.down()
    try:
        yield make
    finally:
        lab.down()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/lab/" in item.nodeid:
            item.add_marker(pytest.mark.lab)
