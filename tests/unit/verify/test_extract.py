"""One prefix of a backup: every key as it was at the end, what became of it, and nothing that anybody else may read."""

from __future__ import annotations

import base64
import json
import stat
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from requorum.cluster.etcdctl import Status
from requorum.cluster.lineage import Lineage
from requorum.hosts import line
from requorum.refusal import Refusal
from requorum.snapshots import bolt
from requorum.snapshots.bolt import BoltError, Entry
from requorum.snapshots.movement import Keys
from requorum.snapshots.ranking import Candidate
from requorum.verify import extract
from requorum.verify.live import Live
from tests.unit import build
from tests.unit.snapshots.test_bolt import PAGE, leaf, meta, revision
from tests.unit.snapshots.test_offsite import Remote


def number(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])


def message(key: bytes, value: bytes = b"", modified: int = 0, version: int = 0, lease: int = 0) -> bytes:
    """As etcd keeps it: a field that is zero or empty is left out."""
    said = b"\x0a" + number(len(key)) + key
    for field, count in ((3, modified), (4, version)):
        said += number(field << 3) + number(count) if count else b""
    said += b"\x2a" + number(len(value)) + value if value else b""
    return said + (number(6 << 3) + number(lease) if lease else b"")


def database(*rows: tuple[int, bytes, bytes | None]) -> bytes:
    """Revision, key, value; None: deleted."""
    items = []
    for at, key, value in rows:
        if value is None:
            items.append((revision(at) + b"t", message(key), 0))
        else:
            items.append((revision(at), message(key, value, at, 1, 9 if value == b"leased" else 0), 0))
    root = leaf(3, [(b"key", struct.pack("<QQ", 4, 0), 1)])
    return b"".join([meta(0, 99, 1), meta(1, 3, 2), bytes(PAGE), root, leaf(4, items)])


ROWS = (
    (2, b"/a/1", b"old"),
    (3, b"/a/2", b"gone before"),
    (4, b"/a/1", b"new"),
    (5, b"/b", b"elsewhere"),
    (6, b"/a/2", None),
    (7, b"/a/\xff", b"\xfe"),
    (8, b"/a/3", b"leased"),
)


def entries(path: Path, prefix: bytes) -> list[Entry]:
    with path.open("rb") as file:
        return list(bolt.entries(file, path, prefix))


def test_each_key_is_there_once_as_it_was_last_written_and_what_was_deleted_is_not(tmp_path: Path) -> None:
    (path := tmp_path / "x.db").write_bytes(database(*ROWS))
    assert entries(path, b"/a/") == [
        Entry(b"/a/1", b"new", 4, 1, 0),
        Entry(b"/a/\xff", b"\xfe", 7, 1, 0),
        Entry(b"/a/3", b"leased", 8, 1, 9),
    ]
    assert entries(path, b"/nothing") == []


@given(at=st.integers(4 * PAGE, 5 * PAGE - 1), byte=st.integers(1, 255))
def test_a_flipped_byte_gives_keys_or_a_clear_error(
    tmp_path_factory: pytest.TempPathFactory, at: int, byte: int
) -> None:
    data = bytearray(database(*ROWS))
    data[at] ^= byte
    (path := tmp_path_factory.mktemp("flipped") / "x.db").write_bytes(bytes(data))
    with suppress(BoltError):  # anything else is a traceback at night
        entries(path, b"/a/")


def test_what_became_of_each_is_told_by_the_revision_that_wrote_it(tmp_path: Path) -> None:
    (path := tmp_path / "x.db").write_bytes(database(*ROWS))
    into, now = tmp_path / "out.jsonl", Keys(20, {b"/a/1": (4, 0), b"/a/3": (19, 0), b"/a/9": (20, 0)})
    with path.open("rb") as file:
        counted = extract.written(file, path, "/a/", now, into)
    assert (counted.same, counted.changed, counted.deleted, counted.new) == (1, 1, 1, 1)
    rows = [json.loads(line) for line in into.read_text().splitlines()]
    assert [row["now"] for row in rows] == ["same", "deleted", "changed"]
    assert (
        base64.b64decode(rows[1]["key_base64"]) == b"/a/\xff" and base64.b64decode(rows[1]["value_base64"]) == b"\xfe"
    )
    assert rows[2] == {"key": "/a/3", "value": "leased", "mod_revision": 8, "version": 1, "lease": 9, "now": "changed"}
    assert stat.S_IMODE(into.stat().st_mode) == 0o600
    with path.open("rb") as file, pytest.raises(FileExistsError):
        extract.written(file, path, "/a/", now, into)


def test_where_nothing_can_be_compared_the_keys_are_written_all_the_same(tmp_path: Path) -> None:
    (path := tmp_path / "x.db").write_bytes(database(*ROWS))
    with path.open("rb") as file:
        counted = extract.written(file, path, "/a/", "no member answers", tmp_path / "out.jsonl")
    assert "3 keys; they could not be compared" in counted.words and "no member answers" in counted.words
    assert '"not known"' in (tmp_path / "out.jsonl").read_text()


def test_only_the_cluster_that_the_backup_is_proven_to_be_of_is_compared_with() -> None:
    """Another one's revisions may be equal, and would be said to be the same."""
    live = Live((Status("https://10.0.0.11:2379", 7, 1, 1, 130, "3.5.16", ()),), {})
    assert extract.apart(Lineage("ours", 7), live) == ""
    assert "another cluster runs now" in extract.apart(Lineage("ours", 8), live)
    assert "nothing tells" in extract.apart(None, live)
    assert extract.apart(Lineage("ours", 7), "no member answers") == "no member answers"


def test_half_of_it_keeps_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken once: a page that is bad left a file that looks like all of it."""

    def torn(file: BinaryIO, path: Path, prefix: bytes) -> Iterator[Entry]:
        yield Entry(b"/a/1", b"new", 4, 1, 0)
        raise BoltError("torn")

    monkeypatch.setattr(bolt, "entries", torn)
    (path := tmp_path / "x.db").write_bytes(database(*ROWS))
    with path.open("rb") as file, pytest.raises(BoltError):
        extract.written(file, path, "/a/", "no member answers", tmp_path / "out.jsonl")
    assert not (tmp_path / "out.jsonl").exists()


def test_of_an_encrypted_backup_only_what_was_asked_for_comes_to_a_disk(tmp_path: Path) -> None:
    remote = Remote(tmp_path)
    remote.here.mkdir()
    inventory = remote.inventory()
    plain = build.snapshot(remote.here, "lab.snap", database(*ROWS))
    sealed = remote.here / "lab.snap.enc"
    encrypt = line.Line(line.words(inventory.snapshot.encrypt or ""), 30, 1 << 20)
    sealed.write_bytes(line.run(encrypt, plain))
    size = plain.stat().st_size
    plain.unlink()
    before = {path.name for path in remote.here.iterdir()}
    with extract.opened(inventory, Candidate("file", None, str(sealed), "", size)) as file:
        assert {path.name for path in remote.here.iterdir()} == before
        assert [entry.key for entry in bolt.entries(file, sealed, b"/b")] == [b"/b"]
    with (
        pytest.raises(Refusal, match="do not fit into half"),
        extract.opened(inventory, Candidate("file", None, str(sealed), "", 1 << 60)),
    ):
        pass


@pytest.mark.parametrize("prefix", ["", "--from-key", "a\nb", "x" * 501])
def test_what_is_no_prefix_is_refused(prefix: str) -> None:
    with pytest.raises(Refusal, match="is no prefix of keys"):
        extract.check(prefix)
    extract.check("/main/config/schema/")
