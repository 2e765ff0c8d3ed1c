"""A file on its way into a command's standard input: whole, in its order, no faster than it may; with real ones."""

from __future__ import annotations

import gzip
import subprocess
import time
from pathlib import Path

import pytest

from requorum.command import Brought, Command
from requorum.hosts import bounded, pour
from requorum.hosts.failure import FleetError
from requorum.hosts.watch import Watch


def through(command: Command, decrypt: str | None = None) -> bytes:
    given, then = pour.given(command, lambda fed: b"behind it", decrypt, Watch())
    argv = ("sh", "-c", "sleep 0.1; cat")
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    heard = bounded.hear(process, given, 1 << 24, 30, then)
    assert heard.ended == ""
    return heard.out


def command(path: Path, size: int, packed: str = "", rate: int = 0) -> Command:
    return Command(
        "h",
        ("x",),
        "why",
        stdin=b"head\n",
        fed=Command("h", ("y",), "why"),
        brings=Brought(str(path), size, packed, rate),
    )


@pytest.mark.parametrize("packed", ["", "gz", "enc"])
def test_head_then_the_plain_bytes_then_what_is_fed_are_read_in_this_order(tmp_path: Path, packed: str) -> None:
    plain = bytes(range(256)) * 5000
    path = tmp_path / f"a.{packed}"
    path.write_bytes(gzip.compress(plain) if packed else plain)
    decrypt = "gzip -dc" if packed == "enc" else None
    assert through(command(path, len(plain), packed), decrypt) == b"head\n" + plain + b"behind it"


def test_more_than_it_is_said_to_hold_is_not_sent_and_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"x" * 300_000)
    with pytest.raises(FleetError, match="holds more than its 200,000 bytes"):
        through(command(path, 200_000))
    with pytest.raises(FleetError, match="cannot be read: No such file"):
        through(command(tmp_path / "none", 1))
    with pytest.raises(FleetError, match="is encrypted, and the inventory has no"):
        through(command(path, 300_000, "enc"))


def test_it_goes_no_faster_than_its_rate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr(time, "sleep", waited.append)
    monkeypatch.setattr(time, "monotonic", lambda: sum(waited))
    path = tmp_path / "a"
    path.write_bytes(b"x" * 3_000_000)
    assert sum(map(len, pour.blocks(Brought(str(path), 3_000_000, rate=1_000_000), b""))) == 3_000_000
    assert sum(waited) == pytest.approx(3.0)


def test_what_reads_nothing_of_it_ends_it(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"x" * 3_000_000)
    given, then = pour.given(command(path, 3_000_000), lambda fed: b"", None, Watch())
    argv = ("sh", "-c", "echo no >&2; exit 3")
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    heard = bounded.hear(process, given, 1000, 30, then)
    assert (process.returncode, heard.err, heard.ended) == (3, b"no\n", "")
