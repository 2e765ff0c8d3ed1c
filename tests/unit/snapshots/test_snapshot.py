"""A snapshot is whole or refused: every way a file can be wrong, and which file is chosen."""

from __future__ import annotations

import hashlib
import os
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from requorum.hosts import packed
from requorum.hosts.packed import BLOCK
from requorum.snapshots import snapshot
from requorum.snapshots.snapshot import SnapshotError, Source
from tests.unit import build

WHOLE = build.database() + hashlib.sha256(build.database()).digest()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("snapshots")


def refusal(path: Path) -> str:
    with pytest.raises(SnapshotError) as error:
        snapshot.verify(path)
    message = str(error.value)
    assert message.startswith(f"{path}: ") and message.endswith("→ use another snapshot: --snapshot=FILE")
    return message


class TestAWholeSnapshot:
    def test_it_is_described_by_its_own_sum_size_and_time(self, tmp_path: Path) -> None:
        path = build.snapshot(tmp_path)
        os.utime(path, (1767225600, 1767225600))
        assert snapshot.verify(path) == Source(
            "file", None, str(path), hashlib.sha256(WHOLE).hexdigest(), len(WHOLE), "2026-01-01T00:00:00Z"
        )

    def test_any_number_of_blocks_will_do(self, tmp_path: Path) -> None:
        body = build.database(BLOCK // 512)  # the trailer begins exactly where a block ends
        assert snapshot.verify(build.snapshot(tmp_path, body=body)).bytes == BLOCK + 32

    def test_a_trailer_that_two_blocks_share_is_put_together(self, tmp_path: Path) -> None:
        body = build.database(BLOCK // 512)[:-16]
        path = tmp_path / "x"
        path.write_bytes(body + hashlib.sha256(body).digest())
        _, database, trailer, _ = snapshot._sums(path, packed.blocks(path, ""), None)
        assert database == trailer

    def test_however_large_it_is_read_in_blocks(self, tmp_path: Path) -> None:
        path = tmp_path / "large.snap"
        size = 64 << 20
        with path.open("wb") as file:
            file.write(build.database(1))
            file.truncate(size)
        whole = hashlib.sha256()
        with path.open("rb") as file:
            while block := file.read(BLOCK):
                whole.update(block)
        with path.open("ab") as file:
            file.write(whole.digest())
        tracemalloc.start()
        try:
            snapshot.verify(path)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 8 * BLOCK


class TestADamagedSnapshot:
    @given(st.integers(0, len(WHOLE) - 1), st.integers(1, 255))
    def test_one_changed_byte_anywhere_is_seen(self, place: Path, at: int, by: int) -> None:
        damaged = bytearray(WHOLE)
        damaged[at] ^= by
        path = place / "flipped.snap"
        path.write_bytes(damaged)
        refusal(path)

    @given(st.integers(0, len(WHOLE) - 1))
    def test_a_truncation_at_any_length_is_seen(self, place: Path, length: int) -> None:
        path = place / "short.snap"
        path.write_bytes(WHOLE[:length])
        refusal(path)

    @given(st.binary(min_size=1, max_size=1100))
    def test_something_appended_is_seen(self, place: Path, tail: bytes) -> None:
        path = place / "long.snap"
        path.write_bytes(WHOLE + tail)
        refusal(path)

    def test_a_whole_number_of_blocks_cut_off_is_seen(self, tmp_path: Path) -> None:
        path = tmp_path / "short.snap"
        path.write_bytes(WHOLE[:-512])
        assert "does not match the SHA-256 at its end" in refusal(path)

    def test_an_empty_file_is_called_empty(self, tmp_path: Path) -> None:
        path = tmp_path / "x"
        path.touch()
        assert "is empty" in refusal(path)

    def test_a_database_copied_from_a_disk_is_recognised(self, tmp_path: Path) -> None:
        path = tmp_path / "db"
        path.write_bytes(build.database())
        assert "without its hash" in refusal(path)

    def test_another_kind_of_file_of_the_right_size_and_sum_is_refused(self, tmp_path: Path) -> None:
        path = build.snapshot(tmp_path, body=bytes(4096))
        assert "is not an etcd database" in refusal(path)

    def test_a_sum_without_a_database_is_refused(self, tmp_path: Path) -> None:
        assert "is not an etcd database" in refusal(build.snapshot(tmp_path, body=b""))


class TestWhatIsNoFile:
    def test_a_missing_file(self, tmp_path: Path) -> None:
        assert "cannot be read: No such file" in refusal(tmp_path / "none.snap")

    def test_a_directory(self, tmp_path: Path) -> None:
        assert "is not a regular file" in refusal(tmp_path)

    def test_a_pipe_that_would_hang_the_run(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe.snap")
        assert "is not a regular file" in refusal(tmp_path / "pipe.snap")

    def test_a_symbolic_link_even_to_a_whole_snapshot(self, tmp_path: Path) -> None:
        (tmp_path / "latest.snap").symlink_to(build.snapshot(tmp_path))
        assert "is a symbolic link to" in refusal(tmp_path / "latest.snap")
