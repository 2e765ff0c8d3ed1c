"""One source to many sinks, with real processes of this machine."""

from __future__ import annotations

import hashlib
import io
import os
import time
from pathlib import Path

import pytest

from requorum.hosts import stream
from requorum.hosts.packed import BLOCK
from requorum.hosts.stream import StreamError, fan_out

DATA = os.urandom(BLOCK * 2 + 12345)
SHA = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.write_bytes(DATA)
    return path


def into(path: Path) -> tuple[str, ...]:
    return ("dd", f"of={path}", "bs=1M", "status=none")


def children() -> list[str]:
    """Processes that this one started and that still exist, zombies included."""
    tasks = Path("/proc/self/task").glob("*/children")
    return [pid for task in tasks for pid in task.read_text().split()]


@pytest.fixture(autouse=True)
def _nothing_is_left_running() -> object:
    before = set(children())
    yield
    assert set(children()) <= before


def test_a_file_arrives_whole_and_its_digest_is_the_files(source: Path, tmp_path: Path) -> None:
    assert fan_out(source, {"a": into(tmp_path / "a")}, 30)[:2] == (SHA, len(DATA))
    assert (tmp_path / "a").read_bytes() == DATA


def test_a_command_can_be_the_source(source: Path, tmp_path: Path) -> None:
    assert fan_out(("cat", str(source)), {"a": into(tmp_path / "a")}, 30)[:2] == (SHA, len(DATA))
    assert (tmp_path / "a").read_bytes() == DATA


def test_no_more_is_taken_of_a_source_than_it_is_said_to_have(tmp_path: Path) -> None:
    """H8: a host that never ends filled this machine's disk until the deadline."""
    assert fan_out(("head", "-c", "4096", "/dev/zero"), {"a": into(tmp_path / "a")}, 30, most=4096)[1] == 4096
    with pytest.raises(StreamError, match="sends more than the 4,096 bytes that it is said to have") as error:
        fan_out(("cat", "/dev/zero"), {"a": into(tmp_path / "a")}, 600, most=4096)
    assert error.value.where == "source" and (tmp_path / "a").stat().st_size <= 4096


def test_many_sinks_all_get_all_of_it(source: Path, tmp_path: Path) -> None:
    sinks = {str(n): into(tmp_path / str(n)) for n in range(12)}
    fan_out(source, sinks, 30)
    assert {hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() for name in sinks} == {SHA}


def test_where_the_kernel_gives_no_wide_pipes_it_arrives_all_the_same(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise PermissionError("the account's pipes are full")

    monkeypatch.setattr("fcntl.fcntl", refused)
    assert fan_out(source, {"a": into(tmp_path / "a")}, timeout=10).sha256 == SHA
    assert (tmp_path / "a").read_bytes() == DATA


def test_an_empty_file_is_a_file_too(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert fan_out(tmp_path / "empty", {"a": into(tmp_path / "a")}, 30)[:2] == (hashlib.sha256().hexdigest(), 0)
    assert (tmp_path / "a").read_bytes() == b""


@pytest.mark.parametrize(
    "dying",
    [
        "exec <&-; echo disk full >&2; exit 3",
        "head -c 9 >/dev/null; echo disk full >&2; exit 3",
        "cat >/dev/null; echo disk full >&2; exit 3",
    ],
    ids=["at once", "midway", "at the end"],
)
def test_a_sink_that_dies_is_named_with_its_last_words(source: Path, tmp_path: Path, dying: str) -> None:
    with pytest.raises(StreamError) as error:
        fan_out(source, {"good": into(tmp_path / "good"), "bad": ("sh", "-c", dying)}, 30)
    assert (error.value.where, error.value.what) == ("bad", "exit code 3: disk full")


def test_a_source_that_fails_is_named_with_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(StreamError) as error:
        fan_out(("sh", "-c", "echo half; echo gone away >&2; exit 5"), {"a": into(tmp_path / "a")}, 30)
    assert (error.value.where, error.value.what) == ("source", "exit code 5: gone away")


@pytest.mark.parametrize("stuck", ["source", "sink"])
def test_what_hangs_is_ended_at_the_deadline(source: Path, stuck: str) -> None:
    started = time.monotonic()
    reader = ("sleep", "60") if stuck == "source" else source
    with pytest.raises(StreamError):
        fan_out(reader, {"a": ("cat",) if stuck == "source" else ("sleep", "60")}, 0.3)
    assert time.monotonic() - started < 10


@pytest.mark.parametrize("stuck", ["source", "sink"])
def test_what_stands_still_is_ended_long_before_its_deadline(tmp_path: Path, stuck: str) -> None:
    (tmp_path / "large").write_bytes(b"x" * (3 * BLOCK))
    reader = ("sh", "-c", "echo begun; exec sleep 60") if stuck == "source" else tmp_path / "large"
    with pytest.raises(StreamError) as error:
        fan_out(reader, {"a": ("cat",) if stuck == "source" else ("sleep", "60")}, 60, 0.3)
    assert (error.value.what, error.value.late) == ("stood still for 0.3 s", True)


@pytest.mark.parametrize("stuck", ["source", "sink"])
def test_what_hangs_below_a_script_is_ended_with_it(tmp_path: Path, stuck: str) -> None:
    """As a decrypt line that waits for its key: it holds the script's pipes. Broken once: only the script was ended,
    and the copy waited for what hung below it."""
    hangs = ("sh", "-c", "sleep 600; true")
    path = tmp_path / "x.snap.enc"
    path.write_bytes(b"x" * BLOCK * 4)
    sinks = {"m1": ("sh", "-c", "cat >/dev/null") if stuck == "source" else hangs}
    with pytest.raises(StreamError, match="stood still"):
        fan_out(path, sinks, 600, stalled=0.3, kind="enc", decrypt=hangs if stuck == "source" else ("cat",))


def test_a_sink_that_writes_to_its_disk_at_the_end_is_not_standing_still(tmp_path: Path) -> None:
    slow = ("sh", "-c", f"cat >{tmp_path}/to; sleep 1")
    assert fan_out(("echo", "all"), {"a": slow}, 60, 0.3)[1] == 4


def test_a_file_that_vanished_is_an_error_in_words(tmp_path: Path) -> None:
    with pytest.raises(StreamError):
        fan_out(tmp_path / "none", {"a": ("cat",)}, 30)


class TestLinesOfAStream:
    def test_a_line_that_is_too_long_is_cut_once_and_its_rest_left_out(self) -> None:
        data = b"a\n" + b"x" * (3 * stream.LINE) + b" password=hunter2\n" + b"b\n"
        lines = list(stream.lines_of(io.BytesIO(data), 10 * stream.LINE))
        assert [lines[0], lines[2]] == ["a\n", "b\n"] and len(lines) == 3
        assert lines[1].startswith("xxx") and lines[1].endswith("(the rest of this line is left out)\n")
        assert "hunter2" not in lines[1]

    def test_it_ends_at_the_limit(self) -> None:
        pipe = io.BytesIO(b"0123456789\n" * 100)
        assert len(list(stream.lines_of(pipe, 25))) == 3
        assert pipe.read(1), "the rest was not read"

    def test_an_end_without_a_newline_is_a_line(self) -> None:
        assert list(stream.lines_of(io.BytesIO(b"a\nb"), 100)) == ["a\n", "b"]


def test_a_copy_that_is_held_to_a_rate_is_no_faster_and_whole(source: Path, tmp_path: Path) -> None:
    began = time.monotonic()
    assert fan_out(source, {"a": into(tmp_path / "a")}, 60, rate=20_000_000)[:2] == (SHA, len(DATA))
    assert time.monotonic() - began >= len(DATA) / 20_000_000
