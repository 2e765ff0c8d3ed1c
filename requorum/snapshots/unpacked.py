"""A snapshot on this machine looked into, also where it is compressed."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, cast

from requorum.cluster.authentication import Authentication
from requorum.deadlines import by_bytes
from requorum.hosts import line, packed
from requorum.hosts.line import Line
from requorum.snapshots import bolt, manifest, snapshot
from requorum.snapshots.snapshot import SnapshotError, Source

SPARE_BYTES = 64 * 1024 * 1024  # the evidence and whatever else lies on that disk
OTHER = "use another snapshot: --snapshot=FILE"
BY_HAND = "unpack it to a place for you alone, and name that with --snapshot=FILE"


def look(path: Path, rooms: Sequence[Path] = (), decrypt: str | None = None) -> tuple[Source, bolt.Contents]:
    """Proves that a snapshot is whole, and reads what is in it. `decrypt`: the inventory's line for an encrypted one,
    of which nothing is written in clear: what is in it, its manifest says.

    The plain bytes of a compressed one go to a file without a name in the first of `rooms` that takes one, by default
    beside it: it is nobody's to read, and gone however this ends. Raises `SnapshotError`, `BoltError` or `OSError`.
    """
    if path.name.endswith(f".{packed.ENC}"):
        return _decrypted(path, decrypt)
    with Nameless(path, rooms or (path.parent,)) as plain:
        source = snapshot.verify(path, plain)
        return source, bolt.contents(plain.file, path) if plain.file else bolt.read(path)


def opener(decrypt: str, size: int) -> Line:
    """What gives the plain bytes, and no more than `size` of them."""
    return Line(line.words(decrypt), by_bytes(size), size)


def _decrypted(path: Path, decrypt: str | None) -> tuple[Source, bolt.Contents]:
    """Its own SHA-256 is that of the manifest where it tells, and that of its plain bytes always."""
    note = manifest.of_file(path)
    if note is None:
        what = "is encrypted, and no manifest beside it says what must come out of it"
        raise SnapshotError(str(path), what, f"bring its manifest too: {path.name.removesuffix('.enc')}.json")
    if note.sealed and note.sealed.name == path.name:
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != note.sealed.sha256:
                raise SnapshotError(str(path), "is not the file that was encrypted: another SHA-256", OTHER)
    source = snapshot.verify(path, decrypt=opener(decrypt, note.bytes) if decrypt else None)
    if source.sha256 != note.sha256:
        what = "is not what its manifest describes once it is decrypted: another SHA-256"
        raise SnapshotError(str(path), what, OTHER)
    on = note.authentication
    return source, bolt.Contents(note.revision, (), None if on is None else Authentication(on))


class Nameless:
    """Opened with the first block; takes no more than there is room for."""

    def __init__(self, path: Path, rooms: Sequence[Path]) -> None:
        self.path, self.rooms = path, rooms
        self.file: BinaryIO | None = None

    def __enter__(self) -> Nameless:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self.file:
            self.file.close()

    def write(self, block: bytes) -> None:
        self.file = self.file or self._open()
        room = os.fstatvfs(self.file.fileno())
        if room.f_bavail * room.f_frsize < len(block) + SPARE_BYTES:
            raise self._refused(f"there is no room for it: {self.file.tell():,} bytes of it fill the disk")
        try:
            self.file.write(block)
        except OSError as error:
            raise self._refused(f"{error.strerror}") from None

    def _open(self) -> BinaryIO:
        why = ""
        for room in self.rooms:
            try:
                return cast("BinaryIO", tempfile.TemporaryFile(dir=room, buffering=0))
            except OSError as error:
                why += f"; {room}: {error.strerror}"
        raise self._refused(why.removeprefix("; "))

    def _refused(self, why: str) -> SnapshotError:
        return SnapshotError(str(self.path), f"is compressed, and cannot be unpacked: {why}; {BY_HAND}", BY_HAND)
