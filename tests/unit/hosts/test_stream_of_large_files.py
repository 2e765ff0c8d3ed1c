"""A snapshot of 1 GiB goes through the controller block by block: it is neither held in memory nor stored again."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from requorum.snapshots.snapshot import BOLT_MAGIC, TRAILER
from tests.unit import controller
from tests.unit.controller import GIB, MEMORY_MIB

FAN_OUT = """
from requorum.hosts.stream import fan_out
source, kind, target = sys.argv[1:]
sinks = {"one": ("sh", "-c", 'sha256sum >"$0"', target), "another": ("sh", "-c", "cat >/dev/null")}
answer = fan_out(Path(source) if kind == "file" else ("cat", source), sinks, timeout=300)
"""
VERIFY = """
from requorum.snapshots.snapshot import verify
answer = verify(Path(sys.argv[1])).sha256
"""


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """1 GiB that is a whole snapshot, nearly all of it a hole on the disk; its SHA-256."""
    path = tmp_path_factory.mktemp("large") / "large.snap"
    block, database = bytes(1 << 20), hashlib.sha256()
    first = bytes(16) + BOLT_MAGIC + bytes(len(block) - 20)
    for number in range(GIB // len(block)):
        database.update(block if number else first)
    with path.open("wb") as file:
        file.write(first)
        file.seek(GIB)
        file.write(database.digest())
    whole = database.copy()
    whole.update(database.digest())
    assert path.stat().st_size == GIB + TRAILER
    return path, whole.hexdigest()


@pytest.mark.parametrize("kind", ["file", "command"])
def test_a_gigabyte_is_streamed_to_many_within_the_memory_and_without_being_stored(
    snapshot: tuple[Path, str], tmp_path: Path, kind: str
) -> None:
    path, sha256 = snapshot
    arrived = tmp_path / "arrived"
    answer, peak = controller.run(FAN_OUT, str(path), kind, str(arrived))
    assert isinstance(answer, list) and answer[:2] == [sha256, GIB + TRAILER]
    assert arrived.read_text().split()[0] == sha256
    assert peak < MEMORY_MIB


def test_a_gigabyte_is_verified_within_the_memory_and_without_being_stored(snapshot: tuple[Path, str]) -> None:
    path, sha256 = snapshot
    answer, peak = controller.run(VERIFY, str(path))
    assert answer == sha256
    assert peak < MEMORY_MIB


def test_a_controller_that_stores_or_holds_it_would_be_noticed(snapshot: tuple[Path, str], tmp_path: Path) -> None:
    """The measure itself: it fails where the promise is broken."""
    path, _ = snapshot
    with pytest.raises(AssertionError, match="File too large"):
        controller.run("import shutil\nshutil.copyfile(sys.argv[1], sys.argv[2])", str(path), str(tmp_path / "stored"))
    _, peak = controller.run("answer = len(Path(sys.argv[1]).open('rb').read(1 << 28))", str(path))
    assert peak > MEMORY_MIB
