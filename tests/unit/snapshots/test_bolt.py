"""A snapshot's contents are read from its bytes alone, and a damaged one gives an error, never nonsense without end."""

from __future__ import annotations

import contextlib
import json
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from requorum.cluster.authentication import Authentication
from requorum.snapshots import bolt

PAGE = 4096
MEMBER = {"id": 7, "peerURLs": ["https://10.0.0.11:2380"], "name": "etcd-1", "clientURLs": []}


def leaf(number: int, items: list[tuple[bytes, bytes, int]]) -> bytes:
    """One leaf page: headers first, then keys and values, each header pointing from itself."""
    head, body = struct.pack("<QHHI", number, 2, len(items), 0), b""
    elements = b""
    for index, (key, value, flags) in enumerate(items):
        position = (len(items) - index) * 16 + len(body)
        elements += struct.pack("<IIII", flags, position, len(key), len(value))
        body += key + value
    return (head + elements + body).ljust(PAGE, b"\0")


def branch(number: int, children: list[tuple[bytes, int]]) -> bytes:
    head, body, elements = struct.pack("<QHHI", number, 1, len(children), 0), b"", b""
    for index, (key, page) in enumerate(children):
        elements += struct.pack("<IIQ", (len(children) - index) * 16 + len(body), len(key), page)
        body += key
    return (head + elements + body).ljust(PAGE, b"\0")


def meta(number: int, root: int, transaction: int) -> bytes:
    fields = struct.pack("<IIIIQQQQQ", bolt.MAGIC, 2, PAGE, 0, root, 0, 9, 10, transaction)
    head = struct.pack("<QHHI", number, 4, 0, 0)
    return (head + fields + struct.pack("<Q", bolt._fnv(fields))).ljust(PAGE, b"\0")


def revision(number: int) -> bytes:
    return number.to_bytes(8, "big") + b"_" + (0).to_bytes(8, "big")


def database(revisions: list[int]) -> bytes:
    """Two meta pages (the older one with a root that is wrong), the root, a tree of revisions, the members inline."""
    half = len(revisions) // 2
    left, right = revisions[:half], revisions[half:]
    members = struct.pack("<QQ", 0, 0) + leaf(0, [(b"7", json.dumps(MEMBER).encode(), 0)])[:600]
    root = leaf(3, [(b"key", struct.pack("<QQ", 4, 0), 1), (b"members", members, 1)])
    pages = [meta(0, 99, 1), meta(1, 3, 2), bytes(PAGE), root]
    pages.append(branch(4, [(revision(left[0] if left else 0), 5), (revision(right[0]), 6)]))
    pages += [leaf(5, [(revision(r), b"x", 0) for r in left]), leaf(6, [(revision(r), b"x", 0) for r in right])]
    return b"".join(pages)


@pytest.fixture(scope="module")
def path() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as directory:
        yield Path(directory) / "some.snap"


@given(numbers=st.lists(st.integers(1, 2**62), min_size=2, max_size=60, unique=True).map(sorted))
def test_the_newest_revision_and_the_members_are_read(path: Path, numbers: list[int]) -> None:
    path.write_bytes(database(numbers))
    found = bolt.read(path)
    assert found.revision == numbers[-1]
    assert found.members == (bolt.Member(7, "etcd-1", ("https://10.0.0.11:2380",)),)


@given(at=st.integers(0, 7 * PAGE - 1), byte=st.integers(1, 255))
def test_any_flipped_byte_gives_contents_or_a_clear_error(path: Path, at: int, byte: int) -> None:
    data = bytearray(database(list(range(1, 40))))
    data[at] ^= byte
    path.write_bytes(data)
    with contextlib.suppress(bolt.BoltError):
        bolt.read(path)


@given(data=st.binary(max_size=3 * PAGE))
def test_anything_else_is_refused(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    with pytest.raises(bolt.BoltError):
        bolt.read(path)


def user(name: bytes, password: bytes | None, *, no_password: bool = False) -> tuple[bytes, bytes, int]:
    """As etcd keeps it: name, hash, a role, options; what is empty is left out."""
    parts = [(1, name), *([(2, password)] if password else []), (3, b"root")]
    parts += [(4, b"\x08\x01")] if no_password else []
    return name, b"".join(bytes([number << 3 | 2, len(value)]) + value for number, value in parts), 0


def guarded(enabled: list[tuple[bytes, bytes, int]], users: list[tuple[bytes, bytes, int]]) -> bytes:
    """A database with these buckets, inline."""
    auth, names = (struct.pack("<QQ", 0, 0) + leaf(0, items)[:600] for items in (enabled, users))
    buckets = [(b"auth", auth, 1), (b"authUsers", names, 1), (b"key", struct.pack("<QQ", 4, 0), 1)]
    return b"".join([meta(0, 99, 1), meta(1, 3, 2), bytes(PAGE), leaf(3, buckets), leaf(4, [(revision(7), b"x", 0)])])


HASH = b"$2a$10$" + b"x" * 53


@pytest.mark.parametrize(
    ("enabled", "users", "found"),
    [
        ([(b"authEnabled", b"\x01", 0)], [user(b"dh", HASH), user(b"root", HASH)], Authentication()),
        ([(b"authEnabled", b"\x00", 0)], [user(b"root", HASH)], Authentication(on=False)),
        ([], [], Authentication(on=False)),
        (
            [(b"authEnabled", b"\x01", 0), (b"authRevision", b"\x00" * 8, 0)],
            [user(b"dh", None, no_password=True), user(b"root", HASH), user(b"x", None)],
            Authentication(without_password=("dh", "x")),
        ),
    ],
)
def test_whether_authentication_is_on_and_who_has_no_password_is_read(
    path: Path,
    enabled: list[tuple[bytes, bytes, int]],
    users: list[tuple[bytes, bytes, int]],
    found: Authentication,
) -> None:
    path.write_bytes(guarded(enabled, users))
    assert bolt.read(path).authentication == found
    path.write_bytes(database([1, 2]))
    assert bolt.read(path).authentication is None, "a database without these buckets does not tell"


@pytest.mark.parametrize("value", [b"\x12\x7f$2a", b"\x12", b"\x80" * 12, b"\x15\x00\x00\x00\x00"])
def test_a_user_that_is_cut_off_is_an_error(path: Path, value: bytes) -> None:
    path.write_bytes(guarded([], [(b"u", value, 0)]))
    with pytest.raises(bolt.BoltError):
        bolt.read(path)


@given(value=st.binary(max_size=40))
def test_a_user_that_is_no_message_gives_an_answer_or_a_clear_error(path: Path, value: bytes) -> None:
    path.write_bytes(guarded([], [(b"u", value, 0)]))
    with contextlib.suppress(bolt.BoltError):
        bolt.read(path)
