"""Snapshot files on this machine."""

from __future__ import annotations

import getpass
import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from requorum.inventory import Inventory
from requorum.snapshots import bolt, manifest, ranking, snapshot
from requorum.snapshots.family import Family, of_members
from requorum.snapshots.manifest import Manifest, ManifestError
from requorum.snapshots.ranking import BY_YOU, DIRECTORY, IN_INVENTORY, Candidate
from requorum.snapshots.snapshot import SUFFIXES, SnapshotError, Source


def by_sha256(inventory: Inventory, sha256: str) -> Source | None:
    """The file on this machine that has this SHA-256, whole; for a run that is carried on."""
    for candidate in of_files(inventory, None, Family()):
        if candidate.source and candidate.source.sha256 == sha256:
            return candidate.source
    return None


def of_files(inventory: Inventory, named: str | None, family: Family) -> list[Candidate]:
    """`--snapshot`, else the inventory's file, and every backup in its directory; each is verified.

    A directory that gives none is a row with the reason: what members' disks hold does not depend on it.
    """
    settings = inventory.snapshot
    word = named or settings.file
    first = Path(word) if word else None
    found = [of_file(first, family, BY_YOU if named else IN_INVENTORY)] if first else []
    directory = Path(settings.directory) if settings.directory else None
    if directory is None:
        return found
    try:
        there = sorted(directory.iterdir())
    except OSError as error:
        return [*found, _unusable(directory, error)]
    same = os.path.realpath(first) if first else None
    backups = [path for path in there if path.suffix in SUFFIXES and os.path.realpath(path) != same]
    if not backups and not found:
        return [Candidate(DIRECTORY, None, str(directory), "", problem=f"{NAMED} holds no backup")]
    return found + [of_file(path, family) for path in backups]


NAMED = "the inventory's snapshot.directory"


def _unusable(directory: Path, error: OSError) -> Candidate:
    if isinstance(error, PermissionError):
        why = f"cannot be read by {getpass.getuser()}; run as the account that makes the backups"
    elif isinstance(error, FileNotFoundError):
        why = "is a link that leads nowhere" if directory.is_symlink() else "does not exist"
    else:
        why = f"cannot be read: {error.strerror}"
    return Candidate(DIRECTORY, None, str(directory), "", problem=f"{NAMED} {why}")


def of_file(path: Path, family: Family, named: str = "") -> Candidate:
    """One file, verified: whole by its own SHA-256, readable, and as its manifest says where it has one."""
    try:
        source = snapshot.verify(path)
        contents = bolt.read(path)
    except (SnapshotError, bolt.BoltError, OSError) as error:
        why = error.what if isinstance(error, SnapshotError) else str(error)
        return Candidate("file", None, str(path), _modified(path), problem=why, hash="bad", named=named)
    try:
        note = manifest.read(path)
    except ManifestError:
        note = None  # the file proves itself; its members tell the lineage
    derived = of_members(contents.members, (*family.line, *family.unborn))
    if note is None:
        source = replace(source, revision=contents.revision, lineage=derived, bumps=family.bump(derived))
        return ranking.of(source, named)
    problem = _contradiction(source, contents, note)
    whose = family.completed(note.lineage, derived)
    source = replace(
        source,
        taken=note.taken,
        revision=note.revision,
        keys=note.keys,
        lineage=whose,
        bumps=family.bump(whose, told=note.bumps),
        fingerprint=note.fingerprint,
    )
    found = ranking.of(source, named)
    return replace(found, problem=problem, hash="bad", source=None) if problem else found


def _contradiction(source: Source, contents: bolt.Contents, note: Manifest) -> str | None:
    """How a whole file differs from the manifest beside it; None where it does not."""
    if source.sha256 != note.sha256:
        return "is not the file that its manifest describes: another SHA-256"
    if contents.revision != note.revision:
        return f"is at revision {contents.revision}, and its manifest says {note.revision}"
    return None


def _modified(path: Path) -> str:
    try:
        return _rfc3339(path.lstat().st_mtime)
    except OSError:
        return ""


def _rfc3339(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def newest_backup(inventory: Inventory, named: str | None) -> tuple[Candidate | None, str]:
    """The backup that a recovery would begin with, verified; else why there is none. Only that one is read."""
    settings = inventory.snapshot
    word = named or settings.file
    if word:
        return of_file(Path(word), Family(), BY_YOU if named else IN_INVENTORY), ""
    if not settings.directory:
        return None, "the inventory names no snapshot.directory"
    try:
        paths = [path for path in Path(settings.directory).iterdir() if path.suffix in SUFFIXES]
        newest = max(paths, key=_taken, default=None)
    except OSError as error:
        return None, f"{settings.directory}: {error.strerror}"
    if newest is None:
        return None, f"no backup in {settings.directory}"
    return of_file(newest, Family()), ""


def _taken(path: Path) -> datetime:
    """As its manifest says, else when the file was written."""
    try:
        note = manifest.read(path)
    except manifest.ManifestError:
        note = None
    return datetime.fromisoformat(note.taken) if note else datetime.fromtimestamp(path.stat().st_mtime, UTC)
