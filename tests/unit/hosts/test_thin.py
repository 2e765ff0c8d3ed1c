"""A copy over a thin line, with both its halves run by real shells of this machine."""

from __future__ import annotations

import gzip
import hashlib
import itertools
import os
from pathlib import Path

import pytest

from requorum.command import Copy, Fetch
from requorum.evidence.journal import Journal
from requorum.hosts import thin
from requorum.hosts.fleet import Fleet, FleetError
from requorum.hosts.packed import BLOCK
from requorum.hosts.stream import StreamError, fan_out
from requorum.hosts.thin import GZ, MEASURED, PLAIN
from tests.unit import build

MB = 1_000_000
SHELLS = ["dash", "bash"]
SIZES = [7, MEASURED - 1, MEASURED, MEASURED + 1, 2 * MEASURED + 12345]


def data(size: int) -> bytes:
    return (os.urandom(3000) + bytes(9000)) * (size // 12000) + b"x" * (size % 12000)


@pytest.fixture(params=[GZ, PLAIN])
def how(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """What the measured bytes say."""
    monkeypatch.setattr(thin, "choose", lambda line, compressor, ratio: request.param)
    return str(request.param)


@pytest.mark.parametrize(
    ("line", "compressor", "ratio", "how"),
    [
        (6 * MB, 60 * MB, 0.3, GZ),  # 50 Mbit/s
        (1 * MB, 60 * MB, 0.3, GZ),
        (6 * MB, 60 * MB, 0.97, PLAIN),  # nothing to win
        (100 * MB, 60 * MB, 0.3, PLAIN),  # the line is faster than the compressor
        (60 * MB, 60 * MB, 0.1, PLAIN),  # as fast
        (30 * MB, 60 * MB, 0.3, PLAIN),  # hardly slower: what is won is not worth the work
        (30 * MB, 400 * MB, 0.3, GZ),
    ],
)
def test_the_rest_is_compressed_where_that_is_faster(line: float, compressor: float, ratio: float, how: str) -> None:
    assert thin.choose(line, compressor, ratio) == how


@pytest.mark.parametrize(("seconds", "how"), [(10.0, GZ), (0.0001, PLAIN)])
def test_what_compressing_took_is_no_time_of_the_line(seconds: float, how: str) -> None:
    now = [0.0]
    measure = thin.Measure(clock=lambda: now[0])
    for _ in range(16):
        measure.block(bytes(BLOCK))
        now[0] += seconds / 16
    measure.seconds = 0.05
    assert measure.verdict() == how


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("size", SIZES)
def test_what_goes_to_hosts_arrives_as_it_was(tmp_path: Path, how: str, size: int, shell: str) -> None:
    source, content = tmp_path / "source", data(size)
    source.write_bytes(content)
    sinks = {name: (shell, "-c", thin.takes(f"cat >{tmp_path / name}")) for name in ("a", "b")}
    went = fan_out(source, sinks, 60, measured=True)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes() == content
    assert went[:2] == (hashlib.sha256(content).hexdigest(), size)
    less = how == GZ and size > MEASURED + BLOCK
    assert went.carried < 2 * size if less else abs(went.carried - 2 * size) < 100
    assert went.how == (how if size >= MEASURED else "")


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("size", SIZES)
def test_what_comes_from_a_host_arrives_as_it_was(tmp_path: Path, how: str, size: int, shell: str) -> None:
    """A source that is shorter than it was said to be keeps nobody waiting for a word. Broken once: it did."""
    source, content = tmp_path / "source", data(size)
    source.write_bytes(content)
    reader = (shell, "-c", "echo m; " + thin.gives(f"cat {source}"))
    sink = {"here": ("dd", f"of={tmp_path}/a", "status=none")}
    went = fan_out(reader, sink, 60, stalled=5, mark="m", most=size, to_sinks=False, measured=True)
    assert went[:2] == (hashlib.sha256(content).hexdigest(), size) and (tmp_path / "a").read_bytes() == content
    less = how == GZ and size > MEASURED + BLOCK
    assert went.carried < size if less else abs(went.carried - size) < 100


def test_from_a_host_to_others_it_is_packed_both_ways(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    content = data(2 * MEASURED)
    (tmp_path / "source").write_bytes(content)
    reader = ("sh", "-c", thin.gives(f"cat {tmp_path}/source"))
    told: list[int] = []
    sinks = {"a": ("sh", "-c", thin.takes(f"cat >{tmp_path}/a"))}
    went = fan_out(reader, sinks, 60, tell=told.append, most=len(content), measured=True)
    assert (tmp_path / "a").read_bytes() == content and told[-1] == went.size == len(content), "plain bytes are told"
    assert went.carried < 1.8 * len(content) if how == GZ else went.carried == 2 * len(content)


@pytest.mark.parametrize("fails", ["exit 7", "kill -9 $$"])
def test_what_fails_at_the_host_is_no_end_of_the_file(tmp_path: Path, how: str, fails: str) -> None:
    (tmp_path / "source").write_bytes(data(MEASURED + 5 * BLOCK))
    reader = ("sh", "-c", thin.gives(f"sh -c 'cat {tmp_path}/source; echo no disk >&2; {fails}'"))
    with pytest.raises(StreamError, match=r"exit code (7|137)"):
        fan_out(reader, {"here": ("cat",)}, 60, most=1 << 30, to_sinks=False, measured=True)


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    ("program", "size", "how"),
    [("head", 7, PLAIN), ("tee", 7, PLAIN), ("cat", MEASURED + 7, PLAIN), ("gzip", MEASURED + 7, GZ)],
    indirect=["how"],
)
def test_what_fails_around_the_line_is_no_end_of_the_file(
    tmp_path: Path, how: str, program: str, size: int, shell: str
) -> None:
    """The line itself has given all that it had to a pipe, and ends well. Broken once: a shorter file counted as whole,
    since the digest that copies are held against is of what came."""
    (tmp_path / "source").write_bytes(data(size))
    (tmp_path / program).write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / program).chmod(0o755)
    path = f"PATH={tmp_path}:{os.environ['PATH']}"
    reader = ("env", path, shell, "-c", "echo m; " + thin.gives(f"dd if={tmp_path}/source status=none"))
    with pytest.raises(StreamError, match=r"exit code 1\b|ended before its end"):
        fan_out(reader, {"here": ("dd", "status=none", "of=/dev/null")}, 60, mark="m", to_sinks=False, measured=True)


def liar(rest: str) -> tuple[str, ...]:
    return ("sh", "-c", f"head -c {MEASURED} /dev/zero; read how; {rest}")


def test_a_bomb_ends_at_the_bytes_that_were_expected(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A thousand times what it takes on the line. Broken once: by unpacking all that was read at once."""
    monkeypatch.setattr(thin, "choose", lambda *_: GZ)
    most = MEASURED + 3 * BLOCK
    sink = {"here": ("dd", f"of={tmp_path}/a", "status=none")}
    with pytest.raises(StreamError, match=f"more than the {most:,} bytes") as error:
        fan_out(liar("head -c 1G /dev/zero | gzip -1c"), sink, 60, most=most, to_sinks=False, measured=True)
    assert error.value.where == "source" and (tmp_path / "a").stat().st_size <= most
    bomb = gzip.compress(bytes(200 * BLOCK))
    parts = iter([bomb])
    blocks = thin.unpacked(lambda size: next(parts, b""))
    assert {len(block) for block in itertools.islice(blocks, 50)} <= set(range(1, BLOCK + 1))


@pytest.mark.parametrize(
    ("rest", "why"),
    [
        ("head -c 3000000 /dev/urandom | gzip -1c | head -c 1000000", "ended before its end"),
        ("echo this is no gzip at all", "cannot be unpacked"),
        ("echo x | gzip -1c; echo more", "goes on behind its end"),
        (":", "ended before its end"),
    ],
)
def test_what_is_not_whole_is_none(monkeypatch: pytest.MonkeyPatch, rest: str, why: str) -> None:
    monkeypatch.setattr(thin, "choose", lambda *_: GZ)
    with pytest.raises(StreamError, match=why):
        fan_out(liar(rest), {"here": ("sh", "-c", "cat >/dev/null")}, 60, most=1 << 30, to_sinks=False, measured=True)


def test_what_gives_no_byte_stands_still(monkeypatch: pytest.MonkeyPatch) -> None:
    """Empty blocks of deflate are bytes on the line, and none of the file."""
    monkeypatch.setattr(thin, "choose", lambda *_: GZ)
    empty = (
        "printf '\\037\\213\\010\\0\\0\\0\\0\\0\\0\\003'; while :; do printf '\\0\\0\\0\\377\\377'; sleep 0.01; done"
    )
    with pytest.raises(StreamError, match="stood still"):
        fan_out(liar(empty), {"here": ("cat",)}, 60, stalled=0.5, most=1 << 30, to_sinks=False, measured=True)


# -- by a fleet --------------------------------------------------------------------------------------------------

SSH = '#!/bin/sh\nfor last; do :; done\n[ "$last" = "$REQUORUM_ADDRESS" ] && exit 0\nSHELL=/bin/sh exec sh -c "$last"\n'
SUDO = '#!/bin/sh\nshift; exec "$@"\n'


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fleet:
    (tmp_path / "bin").mkdir()
    for name, text in {"ssh": SSH, "sudo": SUDO}.items():
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    return Fleet(build.inventory(), Journal(tmp_path / "evidence"))


def records(fleet: Fleet) -> str:
    return fleet.journal.path.read_text()


def test_a_large_copy_is_packed_on_its_way_and_its_plain_bytes_are_proven(
    fleet: Fleet, tmp_path: Path, how: str
) -> None:
    content = data(thin.LEAST)
    source = tmp_path / "source"
    source.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    to = (("etcd-2", str(tmp_path / "copy")),)
    with fleet:
        fleet.run([Copy(str(source), to, "up", sha256=digest, bytes=len(content))])
        fleet.run([Fetch("etcd-1", str(source), str(tmp_path / "here"), "down", digest, len(content))])
        with pytest.raises(FleetError, match=r"etcd-1: fetch of .* sends more than"):
            fleet.run([Fetch("etcd-1", str(source), str(tmp_path / "less"), "less", digest, thin.LEAST - 5)])
    assert (tmp_path / "copy").read_bytes() == (tmp_path / "here").read_bytes() == content
    assert records(fleet).count('"packed": "gz"') == (2 if how == GZ else 0)


@pytest.mark.parametrize(("held", "size"), [(10**9, thin.LEAST), (0, thin.LEAST - 1)])
def test_what_is_small_or_held_to_a_rate_goes_as_ever(
    fleet: Fleet, tmp_path: Path, held: int, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thin, "choose", lambda *_: GZ)
    (tmp_path / "source").write_bytes(bytes(size))
    with fleet:
        to = (("etcd-2", str(tmp_path / "copy")),)
        fleet.run([Copy(str(tmp_path / "source"), to, "up", bytes=size, rate=held)])
    assert '"packed"' not in records(fleet) and "gzip" not in records(fleet)


def test_a_host_that_lacks_gzip_gets_it_plain(fleet: Fleet, tmp_path: Path, how: str) -> None:
    (tmp_path / "bin" / "gzip").write_text("#!/bin/sh\nexit 127\n")
    (tmp_path / "bin" / "gzip").chmod(0o755)
    (tmp_path / "source").write_bytes(bytes(thin.LEAST))
    with fleet:
        to = (("etcd-2", str(tmp_path / "copy")),)
        fleet.run([Copy(str(tmp_path / "source"), to, "up", bytes=thin.LEAST)])
    assert (tmp_path / "copy").stat().st_size == thin.LEAST and '"packed"' not in records(fleet)
