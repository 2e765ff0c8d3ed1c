"""One source to many sinks, block by block: the copy routine of the tree.

A source is a local file, compressed or not, or a command's standard output, a sink a command's standard input. Nothing
is stored on this machine and memory stays at one block, however large the file. `fleet` builds the commands.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import itertools
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from io import BufferedReader
from pathlib import Path
from typing import IO, NamedTuple, cast

from requorum.deadlines import STALLED
from requorum.hosts import packed, shell
from requorum.hosts.packed import PackedError
from requorum.hosts.thin import GZ, Line


class StreamError(Exception):
    """A copy did not arrive. `where` is the host that failed, or "source"."""

    def __init__(self, where: str, what: str, late: bool = False) -> None:
        self.where = where
        self.what = what
        self.late = late  # its time was over, which says nothing about the file
        super().__init__(f"{where}: {what}")


class Went(NamedTuple):
    """What was copied. `carried`: bytes over the line, in and out; `how` they went, "" where too few to tell."""

    sha256: str
    size: int
    carried: int = 0
    how: str = ""

    def fields(self) -> dict[str, object]:
        """Of its record."""
        packed = {"packed": self.how} if self.how == GZ else {}
        return {"sha256": self.sha256, "bytes": self.size, "carried": self.carried, **packed}


def _blocks_of_file(path: Path, kind: str) -> Iterator[bytes]:
    try:
        yield from packed.blocks(path, kind)
    except PackedError as error:
        raise StreamError("this machine", f"{path} {error}") from None
    except OSError as error:
        raise StreamError("this machine", f"{path} cannot be read: {error.strerror}") from None


First = Callable[[subprocess.Popen[bytes], bool], None]  # gives a process what it reads before all else


def _begin(argv: Sequence[str], stdin: int, stdout: int, first: First | None = None) -> subprocess.Popen[bytes]:
    pipe = subprocess.PIPE if first else stdin
    process = subprocess.Popen(argv, stdin=pipe, stdout=stdout, stderr=subprocess.PIPE, start_new_session=True)
    _widen(process.stdin)
    _widen(process.stdout)
    if first:
        first(process, stdin == subprocess.PIPE)
    return process


def _widen(pipe: IO[bytes] | None) -> None:
    """Makes a block fit into it: else both its ends wake for each 64 KiB. What the kernel refuses is only slower."""
    if pipe:
        with contextlib.suppress(OSError, AttributeError):
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, packed.BLOCK)


def _decrypting(path: Path, decrypt: Sequence[str]) -> subprocess.Popen[bytes]:
    """Reads the file by itself: in clear its bytes are in pipes alone."""
    if not decrypt:
        raise StreamError("this machine", f"{path} {packed.LOCKED}")
    try:
        with path.open("rb") as file:
            return _begin(decrypt, file.fileno(), subprocess.PIPE)
    except OSError as error:
        raise StreamError("this machine", f"{path} cannot be decrypted: {decrypt[0]}: {error.strerror}") from None


def _reader(
    source: Path | Sequence[str], kind: str, decrypt: Sequence[str], first: First | None, measured: bool
) -> subprocess.Popen[bytes] | None:
    """The process that gives the bytes, so that the deadline ends it too; None where they are read right here."""
    if not isinstance(source, Path):
        return _begin(source, subprocess.PIPE if measured else subprocess.DEVNULL, subprocess.PIPE, first)
    if kind == packed.ENC:
        return _decrypting(source, decrypt)
    return _begin((*packed.UNZSTD, str(source)), subprocess.DEVNULL, subprocess.PIPE) if kind == packed.ZST else None


def fan_out(
    source: Path | Sequence[str],
    sinks: Mapping[str, Sequence[str]],
    timeout: float,
    stalled: float = STALLED,
    tell: Callable[[int], None] = lambda size: None,
    kind: str = "",
    mark: str = "",
    most: int = 0,
    rate: int = 0,
    decrypt: Sequence[str] = (),
    first: First | None = None,
    to_sinks: bool = True,
    measured: bool = False,
) -> Went:
    """Copies `source` into every sink's standard input.

    It is late after `timeout` seconds, and after `stalled` without a byte; not while sinks end, which write to a disk.

    `tell` hears after each block how many bytes have gone. `kind`: how a file is compressed; its plain
    bytes are copied. `mark`: stands before what a command's output is. `most`: bytes that are taken of it, 0 for all.
    `rate`: bytes a second that it is held to, 0 for as fast as it goes. `decrypt`: the program for an encrypted file.
    `first`: gives hosts (no sink where `to_sinks` is false) what each reads before all else. `measured`: hosts run what
    `thin` made of their lines.

    Raises `StreamError` for the first sink or source that ended badly; all processes are ended before that.
    """
    far = not isinstance(source, Path)
    reader = _reader(source, kind, decrypt, first, measured)
    to = first if to_sinks else None
    writers = {name: _begin(argv, subprocess.PIPE, subprocess.DEVNULL, to) for name, argv in sinks.items()}
    processes = [*writers.values(), *([reader] if reader else [])]
    watchdog = _Watchdog(processes, timeout, stalled)
    watchdog.start()

    try:
        if reader and reader.stdout and mark and not shell.skip(reader.stdout, mark.encode()):
            raise StreamError("source", _reason(reader))
        line = Line(reader if far else None, list(writers.values()) if to_sinks else [], measured)
        blocks = _blocks_of_file(source, kind) if isinstance(source, Path) and not reader else _given(reader, line)
        return _pump(blocks, reader, writers, _moving(tell, watchdog, rate), watchdog, most, line, to_sinks)
    except StreamError as error:
        if watchdog.why:
            raise StreamError(error.where, watchdog.why, late=True) from None
        raise
    finally:
        watchdog.over.set()
        _end(processes)


def _end(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        _kill(process)
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe and not pipe.closed:
                _close(pipe)


def _moving(tell: Callable[[int], None], watchdog: _Watchdog, rate: int) -> Callable[[int], None]:
    """What is done after each block: it is told, and what is ahead of its rate waits."""

    def moved(size: int) -> None:
        watchdog.moved = time.monotonic()
        tell(size)
        ahead = size / rate - (watchdog.moved - watchdog.began) if rate else 0
        if ahead > 0:
            watchdog.over.wait(ahead)

    return moved


LINE = 1 << 20  # bytes of one line; the rest of a longer one is left out, so that no secret is seen in two halves


def lines_of(pipe: IO[bytes], most: int) -> Iterator[str]:
    """The lines of a stream until `most` bytes were read, each at most `LINE` long. Memory stays at one line."""
    left, whole = most, True
    while left > 0 and (data := pipe.readline(LINE)):
        left -= len(data)
        if whole:
            text = data.decode(errors="replace")
            yield text if text.endswith("\n") or len(data) < LINE else text + "… (the rest of this line is left out)\n"
        whole = data.endswith(b"\n")


def _given(reader: subprocess.Popen[bytes] | None, line: Line) -> Iterator[bytes]:
    assert reader and reader.stdout
    try:
        yield from line.blocks(cast("BufferedReader", reader.stdout))
    except PackedError as error:
        raise StreamError("source", f"what it sends {error}") from None


def _pump(
    blocks: Iterator[bytes],
    reader: subprocess.Popen[bytes] | None,
    writers: Mapping[str, subprocess.Popen[bytes]],
    tell: Callable[[int], None],
    watchdog: _Watchdog,
    most: int,
    line: Line,
    to_sinks: bool,
) -> Went:
    sha, size = hashlib.sha256(), 0
    for block in itertools.chain.from_iterable(map(line.parts, blocks)):
        sha.update(block)
        size += len(block)
        if most and size > most:
            raise StreamError("source", f"sends more than the {most:,} bytes that it is said to have")
        sent = line.out(block)
        _write(writers, sent if to_sinks else block)
        line.went()
        tell(size)
    watchdog.stalled = watchdog.timeout
    left = line.end()
    _write(writers, left if to_sinks else b"")
    if reader is not None and reader.wait() != 0:
        raise StreamError("source", _reason(reader))
    for name, writer in writers.items():
        assert writer.stdin
        try:
            writer.stdin.close()
        except BrokenPipeError:
            raise StreamError(name, _reason(writer)) from None
    for name, writer in writers.items():
        if writer.wait() != 0:
            raise StreamError(name, _reason(writer))
    return Went(sha.hexdigest(), size, line.carried, line.how)


def _write(writers: Mapping[str, subprocess.Popen[bytes]], data: bytes) -> None:
    for name, writer in writers.items():
        assert writer.stdin
        try:
            writer.stdin.write(data)
        except BrokenPipeError:
            raise StreamError(name, _reason(writer)) from None


class _Watchdog(threading.Thread):
    """Ends all processes when time is over. `why`: what is said of it then; `moved`: when the last byte went."""

    def __init__(self, processes: Sequence[subprocess.Popen[bytes]], timeout: float, stalled: float) -> None:
        super().__init__(daemon=True)
        self.processes, self.timeout, self.stalled = processes, timeout, stalled
        self.moved = self.began = time.monotonic()
        self.over = threading.Event()
        self.why = ""

    def run(self) -> None:
        while not self.over.wait(min(1.0, self.stalled / 4, self.timeout / 4)):
            now = time.monotonic()
            if now - self.began >= self.timeout:
                self.why = f"did not end within {self.timeout:g} s"
            elif now - self.moved >= self.stalled:
                self.why = f"stood still for {self.stalled:g} s"
            if self.why:
                for process in self.processes:
                    _kill(process)
                return


def _kill(process: subprocess.Popen[bytes]) -> None:
    """With all that it has started: what hangs below a script would keep the pipe open, and nobody's wait would end."""
    if process.returncode is None:  # nobody has waited for it, so its number is nobody else's
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _reason(process: subprocess.Popen[bytes]) -> str:
    code = process.wait()
    said = process.stderr.read().decode(errors="replace").strip() if process.stderr else ""
    return f"exit code {code}: {said.splitlines()[-1] if said else 'it printed nothing'}"


def _close(pipe: object) -> None:
    with contextlib.suppress(OSError):
        pipe.close()  # type: ignore[attr-defined]
