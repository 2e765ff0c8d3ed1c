"""What a process prints, and no more of it than was asked for: a host that prints without an end costs itself."""

from __future__ import annotations

import contextlib
import os
import selectors
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Literal

BLOCK = 1 << 16
NOTHING: Iterator[bytes] = iter(())
LAST_WORDS = 1 << 16  # bytes of a standard error that are kept where only its end is shown


@dataclass(frozen=True)
class Heard:
    """`ended`: by us, since its time was over or it printed too much; "" where it ended by itself."""

    out: bytes
    err: bytes
    ended: Literal["", "late", "much"] = ""


def hear(
    process: subprocess.Popen[bytes], fed: bytes | None, most: int, seconds: float, then: Iterator[bytes] = NOTHING
) -> Heard:
    """Feeds a process and hears it to its end, at most `most` bytes on both pipes together, and for so many seconds.
    `then`: what it is fed afterwards, block by block; where that raises, the process is ended first."""
    try:
        return _heard(process, fed, most, time.monotonic() + seconds, then)
    finally:
        end(process)


def _heard(
    process: subprocess.Popen[bytes], fed: bytes | None, most: int, until: float, then: Iterator[bytes]
) -> Heard:
    heard: dict[object, bytearray] = {pipe: bytearray() for pipe in (process.stdout, process.stderr) if pipe}
    ended: Literal["", "late", "much"] = ""
    with selectors.DefaultSelector() as selector:
        for pipe in (process.stdout, process.stderr):
            if pipe:
                selector.register(pipe, selectors.EVENT_READ)
        if process.stdin:
            os.set_blocking(process.stdin.fileno(), False)
            selector.register(process.stdin, selectors.EVENT_WRITE)
        while selector.get_map() and not ended:
            ready = selector.select(max(until - time.monotonic(), 0))
            ended = "" if time.monotonic() < until else "late"
            for key, _ in ready:
                if key.fileobj is process.stdin:
                    fed = _feed(process.stdin, fed or next(then, b""))
                    if fed is None:
                        selector.unregister(process.stdin)
                elif block := os.read(key.fd, BLOCK):
                    heard[key.fileobj] += block
                else:
                    selector.unregister(key.fileobj)
            ended = "much" if sum(map(len, heard.values())) > most else ended
    if not ended:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(max(until - time.monotonic(), 0))
        ended = "late" if process.poll() is None else ""
    out, err = (bytes(heard[pipe]) if pipe else b"" for pipe in (process.stdout, process.stderr))
    return Heard(out, err, ended)


def _feed(pipe: IO[bytes], left: bytes) -> bytes | None:
    """Gives what the pipe takes, and closes it where nothing is left; who has ended reads nothing. What is left, None
    where it was closed."""
    with contextlib.suppress(BrokenPipeError):
        try:
            if left:
                return left[os.write(pipe.fileno(), left[:BLOCK]) :]
        except BlockingIOError:
            return left
    with contextlib.suppress(OSError):
        pipe.close()
    return None


def end(process: subprocess.Popen[bytes]) -> None:
    """What hangs below it ends with the connection."""
    if process.poll() is None:
        process.kill()
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe and not pipe.closed:
            with contextlib.suppress(OSError):
                pipe.close()
    process.wait()


class Lines:
    """The lines of a pipe until `allowed` bytes have come, which may be raised meanwhile; `much`: more did."""

    def __init__(self, pipe: IO[bytes], allowed: int) -> None:
        self._pipe, self.allowed, self.much = pipe, allowed, False

    def __iter__(self) -> Iterator[str]:
        while data := self._pipe.readline(self.allowed + 1):
            self.allowed -= len(data)
            self.much = self.allowed < 0
            if self.much:
                return
            yield data.decode(errors="replace")


class LastWords(threading.Thread):
    """Reads a pipe to its end, so that nobody waits at it, and keeps only the end of what came."""

    def __init__(self, pipe: IO[bytes]) -> None:
        super().__init__(daemon=True)
        self._pipe, self._kept = pipe, b""
        self.start()

    def run(self) -> None:
        with contextlib.suppress(OSError, ValueError):  # closed beside us
            while block := os.read(self._pipe.fileno(), BLOCK):
                self._kept = (self._kept + block)[-LAST_WORDS:]

    def said(self, seconds: float = 5) -> str:
        """What it was, once the process has ended: a connection that is shared may keep the pipe open."""
        self.join(seconds)
        return self._kept.decode(errors="replace")
