"""What is taken for a backup, by name or by contents, and that nothing else young is passed over without a word."""

from __future__ import annotations

import errno
import gzip
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

import pytest

from requorum.snapshots import directory
from requorum.snapshots.directory import UNUSED
from requorum.snapshots.ranking import DIRECTORY
from tests.unit import build
from tests.unit.hosts.test_packed import KINDS, pack
from tests.unit.snapshots.test_bolt import database


def backups(place: Path) -> list[str]:
    return [str(path.relative_to(place)) for path in directory.contents(place).backups]


def others(place: Path) -> dict[str, str]:
    return {str(Path(row.path).relative_to(place)): str(row.problem) for row in directory.contents(place).others}


@pytest.mark.parametrize(
    "name", ["a.snap", "A.SNAP", "a.db", "a.snap.gz", "a.snap.zst", "a.Snap.GZ", "prod 2026-11-26.db.Zst"]
)
def test_by_its_name_whatever_is_in_it(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    assert backups(tmp_path) == [name]


@pytest.mark.parametrize("name", ["etcd-20261126", "a.snap.1", "a.snap.2026-11-26", "a.snapshot", "a.bak", "-a"])
@pytest.mark.parametrize("kind", ["", *KINDS])
def test_by_its_contents_whatever_its_name(tmp_path: Path, name: str, kind: str) -> None:
    plain = build.snapshot(tmp_path, "plain", database([1, 2])).rename(tmp_path / name)
    if kind:
        pack(plain, plain.read_bytes(), kind)
    assert backups(tmp_path) == [name]


@pytest.mark.parametrize(
    "name", [".lock", ".a.snap.Xy3", "a.snap.part", "a.snap.gz.part", "a.snap.json", "a.snap.sha256", "backup.log"]
)
def test_what_lies_beside_backups_is_none(tmp_path: Path, name: str) -> None:
    (tmp_path / "a.snap").touch()
    build.snapshot(tmp_path, name)
    assert backups(tmp_path) == ["a.snap"]
    assert others(tmp_path) == {}


def test_what_may_be_one_is_named_with_why_it_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "a.snap").touch()
    (tmp_path / "a.snap.xz").write_bytes(b"\xfd7zXZ\0")
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as archive:
        archive.add(build.snapshot(tmp_path, "b.snap"))
    (tmp_path / "cut").write_bytes(gzip.compress(b"x" * 1000)[:12])
    (tmp_path / "link").symlink_to(tmp_path / "a.snap")
    (tmp_path / "nowhere").symlink_to("unmounted")
    (tmp_path / "empty").touch()
    os.mkfifo(tmp_path / "pipe")
    said = others(tmp_path)
    assert set(said) == {"a.snap.xz", "a.tar.gz", "cut", "link", "nowhere"}
    assert all(why.startswith(f"{UNUSED}: ") for why in said.values())
    assert said["a.snap.xz"].endswith("neither by its name nor by its first bytes")
    assert "cut off or altered" in said["cut"]
    assert said["link"].endswith("a symbolic link")
    rows = {row.path: row for row in directory.contents(tmp_path).others}
    assert rows[f"{tmp_path}/a.snap.xz"].taken == directory.modified(tmp_path / "a.snap.xz") != ""


def test_without_zstd_what_only_it_could_tell_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    (tmp_path / "a").write_bytes(b"\x28\xb5\x2f\xfd and more")
    assert "the program zstd is not on this machine" in others(tmp_path)["a"]


def test_folders_by_day_are_looked_into_the_last_day_first(tmp_path: Path) -> None:
    for day in ("25", "26"):
        (tmp_path / "2026" / "11" / day).mkdir(parents=True)
        (tmp_path / "2026" / "11" / day / "etcd.snap").touch()
    (tmp_path / "last.snap").touch()
    assert backups(tmp_path) == ["last.snap", "2026/11/26/etcd.snap", "2026/11/25/etcd.snap"]


def test_folders_are_not_looked_into_for_ever(tmp_path: Path) -> None:
    deep = tmp_path / "a" / "b" / "c" / "d"
    deep.mkdir(parents=True)
    (deep / "etcd.snap").touch()
    (tmp_path / "e").symlink_to(tmp_path)
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "etcd.snap").touch()
    assert backups(tmp_path) == []
    said = others(tmp_path)
    assert said["a/b/c/d"] == f"{UNUSED}: a folder more than 3 deep"
    assert said["e"] == f"{UNUSED}: a link to a folder"


def test_what_a_rollback_set_aside_is_not_looked_into(tmp_path: Path) -> None:
    for place in (tmp_path / "discarded", tmp_path / "2026" / "discarded"):
        place.mkdir(parents=True)
        (place / "a.snap").touch()
    assert backups(tmp_path) == ["2026/discarded/a.snap"]


def test_a_folder_that_is_named_like_a_backup_is_not_passed_over(tmp_path: Path) -> None:
    (tmp_path / "etcd.snap").mkdir()
    (tmp_path / "etcd.snap" / "inner.db").touch()
    assert backups(tmp_path) == ["etcd.snap", "etcd.snap/inner.db"]


def test_of_very_many_files_not_all_are_looked_at_and_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(directory, "MOST", 5)
    for number in range(6):
        (tmp_path / f"{number}.snap").touch()
    assert backups(tmp_path) == [f"{number}.snap" for number in (5, 4, 3, 2, 1)]
    assert "holds more than 5 files" in others(tmp_path)["."]


@pytest.fixture
def stale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of NFS whose server has forgotten it, and a file that this account may not read."""
    stale, closed = tmp_path / "stale", tmp_path / "closed"
    stale.mkdir()
    closed.write_bytes(b"x")
    listed, opened = Path.iterdir, Path.open

    def iterdir(path: Path) -> Iterator[Path]:
        if path == stale:
            raise OSError(errno.ESTALE, "Stale file handle")
        return iter(listed(path))

    def open_(path: Path, mode: str) -> IO[bytes]:
        if path == closed:
            raise PermissionError(errno.EACCES, "Permission denied")
        return cast("IO[bytes]", opened(path, mode))

    monkeypatch.setattr(Path, "iterdir", iterdir)
    monkeypatch.setattr(Path, "open", open_)
    return tmp_path


def test_one_folder_or_file_that_cannot_be_read_hides_no_other(stale: Path) -> None:
    (stale / "a.snap").touch()
    assert backups(stale) == ["a.snap"]
    said = others(stale)
    assert said["stale"] == "cannot be read: Stale file handle"
    assert said["closed"] == f"{UNUSED}: cannot be read: Permission denied"
    assert [row.kind for row in directory.contents(stale).others] == ["file", DIRECTORY]


def test_an_entry_that_cannot_even_be_looked_at_is_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.snap").touch()
    (tmp_path / "stale").touch()
    really = os.stat

    def looked(path: Path, **how: bool) -> os.stat_result:
        if path.name == "stale":
            raise OSError(errno.ESTALE, "Stale file handle")
        return really(path, **how)

    monkeypatch.setattr(Path, "stat", looked)
    assert backups(tmp_path) == ["a.snap"]
    assert others(tmp_path)["stale"] == f"{UNUSED}: cannot be read: Stale file handle"
