"""A snapshot's own contents, read on the operator's machine without etcd: its revision, members and users.

A snapshot is a bbolt file: pages of a B+ tree, two meta pages in front, of which the newer valid one counts. Only what
telling snapshots apart needs is read, a page at a time. Nothing is written, and what `verify` has not proven whole is
not worth reading. Layout: bbolt's `page.go`, `bucket.go`; etcd's `mvcc/backend` and `membership` for the buckets.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from requorum.cluster.authentication import Authentication

MAGIC = 0xED0CDAED
PASSWORD = 2  # the number of etcd's field for a user's hash: absent or empty where there is no password
REVISION = 17  # bytes of one in the bucket of keys
FIELD_KEY, FIELD_MODIFIED, FIELD_VERSION, FIELD_VALUE, FIELD_LEASE = 1, 3, 4, 5, 6  # of etcd's KeyValue
BRANCH, LEAF = 0x01, 0x02
DEEPEST = 64  # levels of a tree that no real one has
_PAGE = struct.Struct("<QHHI")  # number, flags, elements, pages it overflows into
_META = struct.Struct("<IIIIQQQQQQ")  # magic, version, page size, flags, root, sequence, freelist, pages, tx, sum
_BRANCH = struct.Struct("<IIQ")  # position behind the element itself, key size, page
_LEAF = struct.Struct("<IIII")  # flags, position behind the element itself, key size, value size


class BoltError(Exception):
    """The file is not laid out as a bbolt database."""


@dataclass(frozen=True)
class Member:
    """A member as the database knows it; `id` is etcd's own number."""

    id: int
    name: str
    peer_urls: tuple[str, ...]


@dataclass(frozen=True)
class Contents:
    """`revision` of the newest entry, 0 in an empty store; `members` of the cluster that it was taken from.
    `authentication`: None where it does not tell."""

    revision: int
    members: tuple[Member, ...]
    authentication: Authentication | None = None


def read(path: Path) -> Contents:
    """Reads a snapshot or a database. Raises `BoltError`, or `OSError` where the file cannot be read."""
    with path.open("rb") as file:
        return contents(file, path)


def contents(file: BinaryIO, path: Path) -> Contents:
    """The same of an open file. `path` is what it is called."""
    try:
        tree = _Tree(file)
        last = tree.last_key(b"key")
        members = tuple(_member(key, value) for key, value in tree.items(b"members"))
        authentication = _authentication(tree)
    except (struct.error, ValueError, KeyError, TypeError) as error:
        raise BoltError(f"{path} is not laid out as an etcd database: {error}") from None
    return Contents(int.from_bytes(last[:8], "big") if last else 0, members, authentication)


@dataclass(frozen=True)
class Entry:
    """One key as it was last written: `modified` by which revision, `lease` 0 for none."""

    key: bytes
    value: bytes
    modified: int
    version: int
    lease: int


def entries(file: BinaryIO, path: Path, prefix: bytes) -> Iterator[Entry]:
    """Every key below a prefix that was there at the end, in the order of its last write. Raises `BoltError`."""
    try:
        last: dict[bytes, bytes] = {}
        for revision, value in _Tree(file).items(b"key"):
            if (key := _key(value)).startswith(prefix):
                last[key] = revision
        for revision, value in _Tree(file).items(b"key"):
            key = _key(value)
            if last.get(key) == revision and len(revision) == REVISION:  # a longer one marks that it was deleted
                told = dict(_fields(value))
                data = told.get(FIELD_VALUE, b"")
                if not isinstance(data, bytes):
                    raise ValueError("a value that is a number")
                numbers = [told.get(field, 0) for field in (FIELD_MODIFIED, FIELD_VERSION, FIELD_LEASE)]
                modified, version, lease = (number for number in numbers if isinstance(number, int))
                yield Entry(key, data, modified, version, lease)
    except (struct.error, ValueError, KeyError, TypeError, IndexError) as error:
        raise BoltError(f"{path} is not laid out as an etcd database: {error}") from None


def _key(value: bytes) -> bytes:
    """Of etcd's message about a key and its value, in which the key stands first."""
    first = next(_fields(value), None)
    if first is None or first[0] != FIELD_KEY or not isinstance(first[1], bytes):
        raise ValueError("an entry without a key")
    return first[1]


def _authentication(tree: _Tree) -> Authentication | None:
    """As etcd's auth store keeps it; every etcd makes these buckets when it starts."""
    if not tree.has(b"auth"):
        return None
    on = dict(tree.items(b"auth")).get(b"authEnabled") == b"\x01"
    users = ((key, dict(_fields(value))) for key, value in tree.items(b"authUsers"))
    return Authentication(on, tuple(sorted(key.decode() for key, user in users if not user.get(PASSWORD))))


def _fields(message: bytes) -> Iterator[tuple[int, bytes | int]]:
    """Number and value of each field of a protobuf message. Raises `ValueError` for anything else."""
    at = 0

    def number() -> int:
        nonlocal at
        value = shift = 0
        while True:
            if at >= len(message) or shift > 63:
                raise ValueError("a number without end")
            byte = message[at]
            value, shift, at = value | (byte & 0x7F) << shift, shift + 7, at + 1
            if byte < 0x80:
                return value

    while at < len(message):
        tag = number()
        if tag & 7 == 0:
            yield tag >> 3, number()
        elif tag & 7 == 2:
            length = number()
            if at + length > len(message):
                raise ValueError("a field beyond its message")
            at += length
            yield tag >> 3, message[at - length : at]
        else:
            raise ValueError(f"a field of kind {tag & 7}")


def _member(key: bytes, value: bytes) -> Member:
    about = json.loads(value)
    return Member(int(key, 16), str(about.get("name", "")), tuple(about["peerURLs"]))


class _Tree:
    """The root bucket of one open file."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._end = file.seek(0, 2)
        self._left = 4 * (self._end // 512 + 8)  # pages that may be read: a damaged tree can go in circles
        self._size, root = self._meta()
        self._buckets = dict(self._walk(self._page(root)))

    def has(self, bucket: bytes) -> bool:
        return bucket in self._buckets

    def items(self, bucket: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Keys and values of a bucket in the order of their keys; nothing where there is no such bucket."""
        page = self._bucket(bucket)
        return self._walk(page) if page is not None else iter(())

    def last_key(self, bucket: bytes) -> bytes | None:
        """The highest key of a bucket, by one path down the tree."""
        page = self._bucket(bucket)
        for _ in range(DEEPEST):
            if page is None:
                return None
            flags, count = _PAGE.unpack_from(page)[1:3]
            if count == 0:
                return None
            if flags & LEAF:
                return _leaf(page, count - 1)[1]
            page = self._page(_branch(page, count - 1))
        raise ValueError("a tree without end")

    def _meta(self) -> tuple[int, int]:
        """Page size and root page by the newest meta page whose checksum is right."""
        self._file.seek(0)
        size = _META.unpack_from(self._file.read(4096), _PAGE.size)[2]
        if size not in (1 << n for n in range(9, 17)):
            raise ValueError(f"a page size of {size} bytes")
        found = []
        for number in (0, 1):
            self._file.seek(number * size)
            raw = self._file.read(_PAGE.size + _META.size)[_PAGE.size :]
            meta = _META.unpack(raw)
            if meta[0] == MAGIC and meta[9] == _fnv(raw[:-8]):
                found.append((meta[8], meta[4]))
        if not found:
            raise ValueError("no valid meta page")
        return size, max(found)[1]

    def _page(self, number: int) -> bytes:
        self._left -= 1
        if self._left < 0:
            raise ValueError("a tree that goes in circles")
        if number * self._size >= self._end:
            raise ValueError("a page that is not there")
        self._file.seek(number * self._size)
        page = self._file.read(self._size)
        overflow = _PAGE.unpack_from(page)[3]
        return page + self._file.read(overflow * self._size) if overflow else page

    def _bucket(self, name: bytes) -> bytes | None:
        """A bucket's first page. A small bucket lies within its parent, behind 16 bytes of header."""
        value = self._buckets.get(name)
        if value is None:
            return None
        root = int.from_bytes(value[:8], "little")
        return self._page(root) if root else value[16:]

    def _walk(self, page: bytes, depth: int = 0) -> Iterator[tuple[bytes, bytes]]:
        flags, count = _PAGE.unpack_from(page)[1:3]
        if depth > DEEPEST or not flags & (BRANCH | LEAF):
            raise ValueError(f"a page with flags {flags:#x} at depth {depth}")
        for index in range(count):
            if flags & LEAF:
                yield _leaf(page, index)[1:]
            else:
                yield from self._walk(self._page(_branch(page, index)), depth + 1)


def _leaf(page: bytes, index: int) -> tuple[int, bytes, bytes]:
    start = _PAGE.size + index * _LEAF.size
    flags, position, key, value = _LEAF.unpack_from(page, start)
    begin = start + position
    if begin + key + value > len(page):
        raise ValueError("an element beyond its page")
    return flags, page[begin : begin + key], page[begin + key : begin + key + value]


def _branch(page: bytes, index: int) -> int:
    number: int = _BRANCH.unpack_from(page, _PAGE.size + index * _BRANCH.size)[2]
    return number


def _fnv(data: bytes) -> int:
    """FNV-1a in 64 bits, bbolt's sum over a meta page."""
    value = 0xCBF29CE484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return value
