"""A compressed snapshot is looked into without a plain copy that anybody could find, or that could fill the disk."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
import tracemalloc
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from requorum.hosts.packed import GZ
from requorum.snapshots import bolt, snapshot, unpacked
from requorum.snapshots.snapshot import SnapshotError
from tests.unit import build
from tests.unit.hosts.test_packed import KINDS, cut, flip, pack, trail
from tests.unit.snapshots.test_bolt import database


def compressed(place: Path, kind: str = GZ, name: str = "backup") -> tuple[Path, Path]:
    """A whole snapshot elsewhere, and compressed in `place`."""
    (place / "plain").mkdir()
    (place / "backups").mkdir()
    plain = build.snapshot(place / "plain", "plain.snap", database([1, 42]))
    return plain, pack(place / "backups" / name, plain.read_bytes(), kind)


def refusal(path: Path, *rooms: Path) -> str:
    with pytest.raises(SnapshotError) as error:
        unpacked.look(path, rooms)
    return error.value.what


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_described_as_its_plain_snapshot_is(tmp_path: Path, kind: str) -> None:
    plain, path = compressed(tmp_path, kind)
    source, contents = unpacked.look(path)
    told = snapshot.verify(plain)
    assert (source.sha256, source.bytes, source.path) == (told.sha256, told.bytes, str(path))
    assert (source.packed, told.packed) == (kind, "")
    assert contents == bolt.read(plain)
    assert snapshot.verify(path) == source, "and proven again without any room"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("spoil", [cut, flip, trail])
def test_a_bad_one_is_refused(tmp_path: Path, kind: str, spoil: Any) -> None:
    _, path = compressed(tmp_path, kind)
    spoil(path)
    assert "cannot be unpacked" in refusal(path) or "SHA-256" in refusal(path)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_within_is_proven_like_a_plain_one(tmp_path: Path, kind: str) -> None:
    body = database([1, 2])
    assert "cut off or altered" in refusal(pack(tmp_path / "a", body + bytes(31), kind))
    assert "without its hash" in refusal(pack(tmp_path / "b", body, kind))
    assert "does not match the SHA-256" in refusal(pack(tmp_path / "c", body + bytes(32), kind))
    assert "is not an etcd database" in refusal(pack(tmp_path / "d", bytes(1 << 22), kind))
    assert "has 0 bytes" in refusal(pack(tmp_path / "e", b"", kind))


@pytest.mark.parametrize("how", [None, KeyboardInterrupt])
def test_while_it_is_looked_into_its_plain_bytes_have_no_name_and_belong_to_its_reader_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: type[BaseException] | None
) -> None:
    _, path = compressed(tmp_path)
    seen = []

    def contents(file: Any, path: Path) -> None:
        status = os.fstat(file.fileno())
        seen.append((stat.S_IMODE(status.st_mode), status.st_nlink, os.listdir(path.parent)))
        if how:
            raise how

    monkeypatch.setattr(bolt, "contents", contents)
    if how:
        with pytest.raises(how):
            unpacked.look(path)
    else:
        unpacked.look(path)
    assert seen == [(0o600, 0, [path.name])]
    assert os.listdir(path.parent) == [path.name]


def test_it_never_fills_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, path = compressed(tmp_path)
    full = SimpleNamespace(f_bavail=unpacked.SPARE_BYTES // 512, f_frsize=512)
    monkeypatch.setattr(os, "fstatvfs", lambda descriptor: full)
    assert "there is no room for it" in refusal(path)


def test_the_first_room_that_takes_it_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, path = compressed(tmp_path)
    asked, really = [], tempfile.TemporaryFile

    def made(**how: Any) -> Any:
        asked.append(how["dir"])
        return really(**how)

    monkeypatch.setattr(tempfile, "TemporaryFile", made)
    assert unpacked.look(path, (tmp_path / "unmounted", tmp_path))[0].packed == GZ
    unpacked.look(path)
    assert asked == [tmp_path / "unmounted", tmp_path, path.parent], "and never elsewhere"
    what = refusal(path, tmp_path / "unmounted")
    assert f"{tmp_path}/unmounted: No such file" in what
    assert "unpack it to a place for you alone" in what


def test_a_directory_that_is_only_to_be_read_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, path = compressed(tmp_path)

    def refuse(**anything: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    assert "Read-only file system" in refusal(path)


@pytest.mark.parametrize("kind", KINDS)
def test_however_large_it_is_memory_stays_small(tmp_path: Path, kind: str) -> None:
    path = pack(tmp_path / "large", build.database(1) + bytes(64 << 20), kind)
    tracemalloc.start()
    try:
        assert "without its hash" in refusal(path)
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()
