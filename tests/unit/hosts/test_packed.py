"""Compressed files give their plain bytes as a stream, or say what stands in the way."""

from __future__ import annotations

import gzip
import hashlib
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from requorum.command import Copy
from requorum.evidence.journal import Journal
from requorum.hosts import packed
from requorum.hosts.fleet import Fleet
from requorum.hosts.packed import GZ, ZST, PackedError
from requorum.hosts.stream import StreamError, fan_out
from tests.unit import build

DATA = bytes(range(256)) * 40_000
zstd = pytest.mark.skipif(shutil.which("zstd") is None, reason="no zstd on this machine")
KINDS = [GZ, pytest.param(ZST, marks=zstd)]


def pack(path: Path, data: bytes, kind: str) -> Path:
    if kind == GZ:
        path.write_bytes(gzip.compress(data, 1))
    else:
        path.write_bytes(subprocess.run(["zstd", "-qc"], input=data, stdout=-1, check=True).stdout)
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_the_plain_bytes_come_in_blocks_whatever_the_files_name(tmp_path: Path, kind: str) -> None:
    path = pack(tmp_path / "-backup", DATA, kind)
    assert packed.kind(path) == kind
    found = list(packed.blocks(path, kind))
    assert b"".join(found) == DATA
    assert len(found) > 1


def test_a_file_that_is_not_compressed_is_itself(tmp_path: Path) -> None:
    path = tmp_path / "backup.gz"
    path.write_bytes(DATA)
    assert packed.kind(path) == ""
    assert b"".join(packed.blocks(path, "")) == DATA


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x55
    path.write_bytes(data)


def trail(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"something else")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("spoil", [cut, flip, trail])
def test_one_that_is_cut_off_or_altered_never_ends_as_if_it_were_whole(
    tmp_path: Path, kind: str, spoil: Callable[[Path], None]
) -> None:
    path = pack(tmp_path / "backup", DATA, kind)
    spoil(path)
    with pytest.raises(PackedError, match="cannot be unpacked"):
        list(packed.blocks(path, kind))
    with pytest.raises(StreamError):
        fan_out(path, {"a": ("cat",)}, 30, kind=kind)


def test_a_missing_zstd_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PackedError, match="the program zstd is not on this machine: install it"):
        list(packed.blocks(tmp_path / "backup.zst", ZST))


@pytest.fixture
def stuck(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file whose disk stops answering after the first blocks: zstd waits."""
    program = tmp_path / "zstd"
    program.write_text("#!/bin/sh\nhead -c 3000000 /dev/zero\nexec sleep 60\n")
    program.chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return tmp_path / "backup"


def test_a_zstd_that_waits_for_ever_ends_with_its_reader(stuck: Path) -> None:
    began = time.monotonic()
    blocks = packed.blocks(stuck, ZST)
    next(blocks)
    blocks.close()
    with pytest.raises(StreamError, match=r"did not end within 0\.5 s"):
        fan_out(stuck, {"a": ("cat",)}, 0.5, kind=ZST)
    assert time.monotonic() - began < 30


@pytest.mark.parametrize("kind", KINDS)
def test_what_arrives_on_a_host_is_the_plain_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    sudo = tmp_path / "sudo"
    sudo.write_text('#!/bin/sh\nshift\nexec "$@"\n')
    sudo.chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    path, target = pack(tmp_path / "backup", DATA, kind), tmp_path / "arrived"
    copy = Copy(str(path), (("etcd-1", str(target)),), "why", None, hashlib.sha256(DATA).hexdigest(), packed=kind)
    assert ", unpacked," in copy.shown()
    with Fleet(build.inventory(transport={"backend": "local"}), Journal(tmp_path / "evidence")) as fleet:
        fleet.run([copy])
    assert target.read_bytes() == DATA
