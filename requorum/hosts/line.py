"""A line of the inventory as a program on this machine: its words, without a shell, with a deadline and a bound."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import tempfile
import threading
from collections.abc import Generator
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from requorum.evidence.redaction import redact
from requorum.hosts.question import plain

BLOCK = 1 << 20
SAID = 4096  # bytes of what it said that are looked at
LOOKS = 0.2  # seconds between two looks at how large a file has become


class LineError(Exception):
    """What went wrong, as a sentence that begins with the program."""


@dataclass(frozen=True)
class Line:
    """`words`: the program and its arguments; `seconds`: how long it may take; `most`: bytes that it may give;
    `grows`: a directory into which it writes in place of its standard output, and no more than `most` either."""

    words: tuple[str, ...]
    seconds: float
    most: int
    grows: Path | None = None

    def bounded(self, seconds: float, most: int) -> Line:
        return replace(self, seconds=seconds, most=most)


def words(line: str, **filled: str) -> tuple[str, ...]:
    """Split as a shell would, then its placeholders are filled in, so that each is exactly one argument."""
    return tuple(word.format(**filled) for word in shlex.split(line))


def blocks(line: Line, stdin: Path | None = None) -> Generator[bytes, None, None]:
    """What it says on its standard output; memory stays at one block. With the end of this generator, whichever, its
    whole process group has ended. Raises `LineError`, or `OSError` where `stdin` cannot be read."""
    program = line.words[0]
    with tempfile.TemporaryFile() as errors, open(stdin or os.devnull, "rb") as source:
        try:
            process = subprocess.Popen(
                line.words, stdin=source, stdout=subprocess.PIPE, stderr=errors, start_new_session=True
            )
        except OSError as error:
            raise LineError(f"{program} could not be started: {error.strerror}") from None
        watchdog = _Watchdog(process, line, _size(line.grows))
        watchdog.start()
        size = 0
        try:
            assert process.stdout
            while block := process.stdout.read(BLOCK):
                size += len(block)
                if size > line.most:
                    raise LineError(f"{program} gives {_more(line.most)}")
                yield block
            process.wait()
        finally:
            watchdog.over.set()
            _end(process)
            watchdog.join()
        if watchdog.why:
            raise LineError(f"{program} {watchdog.why}")
        if watchdog.is_too_large():
            raise LineError(f"{program} gives {_more(line.most)}")
        if process.returncode:
            errors.seek(0, os.SEEK_END)
            errors.seek(max(errors.tell() - SAID, 0))
            said = errors.read().decode(errors="replace").strip().splitlines()
            why = f": {plain(redact(said[-1]))}" if said else ", and said nothing"
            raise LineError(f"{program} ended with {process.returncode}{why}")


def run(line: Line, stdin: Path | None = None) -> bytes:
    """All that it says."""
    with closing(blocks(line, stdin)) as said:
        return b"".join(said)


def _size(directory: Path | None) -> int:
    """Bytes of the files in it, whatever they are called."""
    size = 0
    for path in directory.iterdir() if directory else ():
        with suppress(FileNotFoundError):  # renamed meanwhile
            size += path.lstat().st_size
    return size


def _more(most: int) -> str:
    return f"more than the {most:,} bytes that were expected"


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:  # its number is nobody else's yet
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdout:
        process.stdout.close()


class _Watchdog(threading.Thread):
    """Ends it when its time is over, or when what it writes is too large. `why`: what is said of it then."""

    def __init__(self, process: subprocess.Popen[bytes], line: Line, before: int) -> None:
        super().__init__(daemon=True)
        self.process, self.line, self.before = process, line, before
        self.over, self.why = threading.Event(), ""

    def is_too_large(self) -> bool:
        return bool(self.line.grows) and _size(self.line.grows) - self.before > self.line.most

    def run(self) -> None:
        left, grows = self.line.seconds, self.line.grows
        while left > 0:
            step = min(LOOKS, left) if grows else left
            if self.over.wait(step):
                return
            left -= step
            if self.is_too_large():
                self.why = f"gives {_more(self.line.most)}"
                break
        self.why = self.why or f"did not end within {self.line.seconds:g} s"
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
