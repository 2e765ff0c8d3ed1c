"""Snapshot files on this machine."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from requorum.hosts import packed
from requorum.inventory import Inventory
from requorum.refusal import Refusal
from requorum.snapshots import bolt, directory, manifest, ranking, snapshot, unpacked
from requorum.snapshots.family import Family, of_members
from requorum.snapshots.manifest import Manifest, ManifestError
from requorum.snapshots.ranking import BY_YOU, DIRECTORY, IN_INVENTORY, Candidate
from requorum.snapshots.snapshot import SnapshotError, Source

TOLD = 8  # files that were not recognised, by name


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
    word, opens = named or settings.file, settings.decrypt
    first, why = Path(word) if word else None, BY_YOU if named else IN_INVENTORY
    found = [of_file(first, family, why, _rooms(inventory, first), opens)] if first else []
    if not settings.directory:
        return found
    same = os.path.realpath(first) if first else None
    there = directory.contents(Path(settings.directory))
    backups = [path for path in there.backups if os.path.realpath(path) != same]
    return [*found, *(of_file(path, family, "", _rooms(inventory, path), opens) for path in backups), *there.others]


def _rooms(inventory: Inventory, path: Path) -> tuple[Path, ...]:
    """Where a compressed file may be unpacked for a look."""
    named = inventory.snapshot.directory
    return (*([Path(named)] if named else []), path.parent)


def without_older(found: Sequence[Candidate], chosen: Candidate | None) -> list[Candidate]:
    """Of what was not recognised, only what is younger than what is chosen can be missed."""
    if chosen is None or not chosen.taken:
        return list(found)
    at = datetime.fromisoformat(chosen.taken)
    return [row for row in found if not _unused(row) or not row.taken or datetime.fromisoformat(row.taken) > at]


def _unused(row: Candidate) -> bool:
    return (row.problem or "").startswith(directory.UNUSED)


def skipped(found: Sequence[Candidate]) -> Iterator[str]:
    """Lines for the operator about what cannot be restored."""
    yield from (f"skipped: {row.path} {row.problem}" for row in found if row.problem and not _unused(row))
    unused = [row for row in found if _unused(row)]
    yield from (f"{row.path}: {row.problem}" for row in unused[:TOLD])
    if unused[TOLD:]:
        yield f"and {len(unused[TOLD:])} more files: {directory.UNUSED}"


def of_file(
    path: Path, family: Family, named: str = "", rooms: Sequence[Path] = (), decrypt: str | None = None
) -> Candidate:
    """One file, verified: whole by its own SHA-256, readable, and as its manifest says where it has one.

    `rooms`: where it may be unpacked for a look, if it is compressed; `decrypt`: by which line, if it is encrypted.
    """
    try:
        source, contents = unpacked.look(path, rooms, decrypt)
    except (SnapshotError, ManifestError, bolt.BoltError, OSError) as error:
        why = error.what if isinstance(error, Refusal) else str(error)
        found = as_noted(path) or Candidate("file", None, str(path), directory.modified(path))
        bumps = family.bump(found.lineage, told=found.bumps)
        return replace(found, bumps=bumps, problem=why, hash="bad", named=named)
    source = replace(source, authentication=contents.authentication, members=contents.members)
    note = _note(path)  # without it the file proves itself; its members tell the lineage
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
    found = replace(ranking.of(source, named), note=note)
    return replace(found, problem=problem, hash="bad", source=None) if problem else found


def whole(inventory: Inventory, path: Path) -> Source:
    """A file that is named, proven whole. Raises `SnapshotError`."""
    if not path.name.endswith(f".{packed.ENC}"):
        return snapshot.verify(path)
    try:
        return unpacked.look(path, (), inventory.snapshot.decrypt)[0]
    except OSError as error:
        raise SnapshotError(str(path), f"cannot be read: {error.strerror}", unpacked.OTHER) from None


def _note(path: Path) -> Manifest | None:
    try:
        return manifest.of_file(path)
    except ManifestError:
        return None


def as_noted(path: Path) -> Candidate | None:
    """One file as its manifest says, not looked at; None where it has none that can be read."""
    if (note := _note(path)) is None:
        return None
    told = note.bytes, note.revision, note.keys, note.lineage, note.bumps
    return Candidate("file", None, str(path), note.taken, *told, note=note)


def noted(inventory: Inventory) -> tuple[Candidate, ...]:
    """The backups of `snapshot.directory` as their manifests say, none of them looked at."""
    if not inventory.snapshot.directory:
        return ()
    there = directory.contents(Path(inventory.snapshot.directory)).backups
    return tuple(row for path in there if (row := as_noted(path)))


def _contradiction(source: Source, contents: bolt.Contents, note: Manifest) -> str | None:
    """How a whole file differs from the manifest beside it; None where it does not."""
    if source.sha256 != note.sha256:
        return "is not the file that its manifest describes: another SHA-256"
    if contents.revision != note.revision:
        return f"is at revision {contents.revision}, and its manifest says {note.revision}"
    return None


def newest_backup(inventory: Inventory, named: str | None) -> tuple[Candidate | None, str]:
    """The backup that a recovery would begin with, verified; else why there is none. Only that one is read."""
    settings = inventory.snapshot
    word = named or settings.file
    if word:
        path = Path(word)
        why = BY_YOU if named else IN_INVENTORY
        return of_file(path, Family(), why, _rooms(inventory, path), settings.decrypt), ""
    if not settings.directory:
        return None, "the inventory names no snapshot.directory"
    there = directory.contents(Path(settings.directory))
    newest = max((path for path in there.backups if not _of_another_history(path)), key=_taken, default=None)
    if newest is None:
        return None, "; ".join(f"{row.path}: {row.problem}" for row in there.others if row.kind == DIRECTORY)
    return of_file(newest, Family(), "", _rooms(inventory, newest), settings.decrypt), ""


def _of_another_history(path: Path) -> bool:
    note = _note(path)
    return note is not None and note.another


def _taken(path: Path) -> datetime:
    """As its manifest says, else when the file was written."""
    note = _note(path)
    told = note.taken if note else directory.modified(path)
    return datetime.fromisoformat(told) if told else datetime.min.replace(tzinfo=UTC)
