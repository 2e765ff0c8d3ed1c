"""What lies in a backup directory and in its folders: what is taken for a backup, and what is not, with why."""

from __future__ import annotations

import getpass
import stat
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from requorum.hosts import packed
from requorum.hosts.packed import PackedError
from requorum.snapshots import snapshot
from requorum.snapshots.ranking import DIRECTORY, Candidate
from requorum.snapshots.snapshot import HEAD, SUFFIXES

NAMED = "the inventory's snapshot.directory"
UNUSED = "not used, not recognised"
SET_ASIDE = "discarded"  # a folder of ours: what a rollback gave up is used only when it is named
DEEPEST = 3  # folders below each other: by year, month and day
MOST = 10_000  # files that are looked at
BESIDE = (
    ".json",
    ".also.enc",
    ".pin",
    ".part",
    ".jsonl",
    ".log",
    ".txt",
    ".md5",
    ".sha1",
    ".sha256",
    ".sha512",
)  # never a backup


@dataclass(frozen=True)
class Contents:
    """`backups`: what name or first bytes say are some, not verified; `others`: rows that say what is not, and why."""

    backups: tuple[Path, ...]
    others: tuple[Candidate, ...]


def contents(directory: Path) -> Contents:
    """A directory that cannot be read or holds no backup is itself a row among the others."""
    backups, others = [], []
    for number, found in enumerate(_walk(directory, DEEPEST, f"{NAMED} ")):
        if number == MOST:
            others.append(_none(directory, f"{NAMED} holds more than {MOST:,} files: not all were looked at"))
            break
        if isinstance(found, Path):
            backups.append(found)
        elif found is not None:
            others.append(found)
    if not backups and not any(row.kind == DIRECTORY for row in others):
        others.append(_none(directory, f"{NAMED} holds no backup"))
    return Contents(tuple(backups), tuple(others))


def _walk(directory: Path, depth: int, what: str = "") -> Iterator[Path | Candidate | None]:
    """Files by their names, the last first; then its folders', the last day's first."""
    try:
        there = sorted(directory.iterdir(), reverse=True)
    except OSError as error:
        yield _none(directory, what + _why(directory, error))
        return
    folders = [path for path in there if _is_folder(path)]
    yield from (_look(path) for path in there if path not in folders)
    for folder in folders:
        if _is_named_so(folder):
            yield folder  # a folder by accident: its verdict says so
        if folder.name.startswith("."):
            yield None
        elif folder.is_symlink():
            yield _other(folder, "a link to a folder")
        elif depth == 0:
            yield _other(folder, f"a folder more than {DEEPEST} deep")
        elif not (depth == DEEPEST and folder.name == SET_ASIDE):
            yield from _walk(folder, depth - 1)


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return False  # its own row says why


def _is_named_so(path: Path) -> bool:
    name = path.name.lower()
    return next((name.removesuffix(end) for end in packed.PACKED if name.endswith(end)), name).endswith(SUFFIXES)


def _look(path: Path) -> Path | Candidate | None:
    """The path where it is taken for a backup; a row where it may be one; None where it is none."""
    name = path.name.lower()
    if name.startswith(".") or name.endswith(BESIDE):
        return None
    if _is_named_so(path):
        return path
    try:
        status = path.lstat()
        if stat.S_ISLNK(status.st_mode):
            return _other(path, "a symbolic link")
        if not stat.S_ISREG(status.st_mode) or status.st_size == 0:
            return None
        with closing(packed.blocks(path, packed.kind(path))) as blocks:
            is_database = snapshot.is_database(next(blocks, b"")[:HEAD])
    except PackedError as error:
        return _other(path, str(error))
    except OSError as error:
        return _other(path, f"cannot be read: {error.strerror}")
    return path if is_database else _other(path, "neither by its name nor by its first bytes")


def _why(directory: Path, error: OSError) -> str:
    if isinstance(error, PermissionError):
        return f"cannot be read by {getpass.getuser()}; run as the account that makes the backups"
    if isinstance(error, FileNotFoundError):
        return "is a link that leads nowhere" if directory.is_symlink() else "does not exist"
    return f"cannot be read: {error.strerror}"


def _none(directory: Path, why: str) -> Candidate:
    return Candidate(DIRECTORY, None, str(directory), "", problem=why)


def _other(path: Path, why: str) -> Candidate:
    return Candidate("file", None, str(path), modified(path), problem=f"{UNUSED}: {why}")


def modified(path: Path) -> str:
    """When it was written; empty where that cannot be told."""
    try:
        return snapshot.rfc3339(path.lstat().st_mtime)
    except OSError:
        return ""
