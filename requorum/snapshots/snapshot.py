"""Snapshots on the operator's machine: verified before anything is touched.

A snapshot of etcd is a bbolt database (whole pages of 512-byte blocks) followed by the 32-byte SHA-256 of all before
it; `etcdctl snapshot status` does not check that sum, so it is checked here, streaming. `files` finds and lists
them; `Source` is what is handed on.
"""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from requorum.cluster.authentication import Authentication
from requorum.cluster.lineage import Lineage
from requorum.hosts import packed
from requorum.hosts.line import Line
from requorum.hosts.packed import PackedError
from requorum.refusal import Refusal
from requorum.snapshots.bolt import Member

TRAILER = 32  # bytes of SHA-256 behind the database
BOLT_MAGIC = bytes.fromhex("edda0ced")  # 0xED0CDAED, little endian, at byte 16 of the first page
HEAD = 20  # bytes that tell a database
SUFFIXES = (".snap", ".db")


class SnapshotError(Refusal):
    """There is no snapshot that may be used."""


@dataclass(frozen=True)
class Fingerprint:
    """What the running cluster said of its data when it was backed up: `hash` is hashkv at `revision`, when everything
    up to `compacted` was compacted. Only an etcd of the same version computes the same."""

    revision: int
    compacted: int
    hash: int
    etcd: str


@dataclass(frozen=True)
class Source:
    """Data to restore. `kind`: "file"; "handover", saved from a healthy cluster that nobody wrote to; "survivor", saved
    from a member without quorum. `host` None: on the operator's machine. `sha256` of the whole file, `taken` RFC 3339.

    `revision` and `entries` are `snapshot status`' words, known once a host has looked at it; `keys` were counted
    by the member that it was saved from, where one was asked. `bumps` is what our own runs added to the revision.
    `fingerprint` is the manifest's, where it has one. `packed`: how the file is compressed, empty where it is not;
    `sha256` and `bytes` are those of the plain snapshot. `authentication` as it is in the data, where a file on
    this machine tells.
    """

    kind: str
    host: str | None
    path: str
    sha256: str
    bytes: int
    taken: str
    revision: int | None = None
    keys: int | None = None
    lineage: Lineage | None = None
    bumps: int = 0
    fingerprint: Fingerprint | None = None
    packed: str = ""
    authentication: Authentication | None = None
    entries: int | None = field(default=None, compare=False)
    members: tuple[Member, ...] = field(default=(), compare=False)  # in its own bucket; none where nobody looked


class Sink(Protocol):
    def write(self, block: bytes, /) -> object: ...


def verify(path: Path, into: Sink | None = None, decrypt: Line | None = None) -> Source:
    """Proves that a file is a whole snapshot: kind, size, database header and SHA-256. Memory: one block.

    `into` takes the plain bytes of a compressed one, which is read as a stream; `decrypt`: what gives those of an
    encrypted one.
    Raises `SnapshotError` naming the file and what is wrong with it.
    """
    try:
        status = path.lstat()
    except OSError as error:
        raise _refused(path, f"cannot be read: {error.strerror}") from None
    if stat.S_ISLNK(status.st_mode):
        raise _refused(path, f"is a symbolic link to {path.readlink()}; name the file itself")
    if not stat.S_ISREG(status.st_mode):
        raise _refused(path, "is not a regular file")
    size = status.st_size
    if size == 0:
        raise _refused(path, "is empty")
    try:
        kind = packed.kind(path)
        if not kind:
            _refuse_a_size(path, size)
        whole, database, trailer, size = _sums(path, packed.blocks(path, kind, decrypt), into if kind else None)
    except PackedError as error:
        raise _refused(path, str(error)) from None
    except OSError as error:
        raise _refused(path, f"cannot be read: {error.strerror}") from None
    _refuse_a_size(path, size)
    if database != trailer:
        raise _refused(path, "does not match the SHA-256 at its end: it was altered or damaged")
    return Source("file", None, str(path), whole, size, rfc3339(status.st_mtime), packed=kind)


def rfc3339(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _refuse_a_size(path: Path, size: int) -> None:
    if size % 512 != TRAILER:
        why = "without its hash, as if copied from a disk" if size % 512 == 0 else "cut off or altered"
        raise _refused(path, f"has {size} bytes, not a multiple of 512 plus {TRAILER}: it is {why}")


def _sums(path: Path, blocks: Iterator[bytes], into: Sink | None) -> tuple[str, bytes, bytes, int]:
    """SHA-256 of the whole, SHA-256 of the database in it, the sum that it carries itself, and its size. In one pass:
    the whole is the database, and then that sum."""
    summed = hashlib.sha256()
    size, head, tail = 0, b"", b""
    for block in blocks:
        if len(head) < HEAD:
            head += block[:HEAD]
            if not is_database(head) and len(head) >= HEAD:
                raise _refused(path, "is not an etcd database")
        size += len(block)
        held = tail + block
        summed.update(held[:-TRAILER])
        tail = held[-TRAILER:]
        if into:
            into.write(block)
    database = summed.digest()
    summed.update(tail)
    return summed.hexdigest(), database, tail, size


def is_database(head: bytes) -> bool:
    return head[16:HEAD] == BOLT_MAGIC


def _refused(path: Path, what: str) -> SnapshotError:
    return SnapshotError(str(path), what, "use another snapshot: --snapshot=FILE")
