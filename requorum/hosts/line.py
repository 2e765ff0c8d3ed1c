"""A line of the inventory as a program on this machine: its words, without a shell, with a deadline and a bound."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import threading
import time
from collections.abc import Generator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from requorum.evidence.redaction import redact
from requorum.hosts.bounded import LastWords
from requorum.hosts.question import plain

BLOCK = 1 << 20
LOOKS = 0.2  # seconds between two looks at how large a file has become


class LineError(Exception):
    """What went wrong, as a sentence that begins with the program. `late`: its time was over."""

    def __init__(self, what: str, late: bool = False) -> None:
        self.late = late
        super().__init__(what)


@dataclass(frozen=True)
class Line:
    """`words`: the program and its arguments; `seconds`: how long it may take; `most`: bytes that it may give;
    `grows`: a directory into which it writes in place of its standard output, and no more than `most` either;
    `stalled`: seconds without a byte on its standard output after which it is late, 0 for as long as it may take;
    `environment`: beside this machine's own; `heard`: whether anybody reads its standard output, which what it leaves
    running would keep open."""

    words: tuple[str, ...]
    seconds: float
    most: int
    grows: Path | None = None
    stalled: float = 0
    environment: Mapping[str, str] = field(default_factory=dict)
    heard: bool = True

    def bounded(self, seconds: float, most: int) -> Line:
        return replace(self, seconds=seconds, most=most)


def words(line: str, **filled: str) -> tuple[str, ...]:
    """Split as a shell would, then its placeholders are filled in, so that each is exactly one argument."""
    return tuple(word.format(**filled) for word in shlex.split(line))


def blocks(line: Line, stdin: Path | None = None) -> Generator[bytes, None, None]:
    """What it says on its standard output; memory stays at one block. With the end of this generator, whichever, its
    whole process group has ended. Raises `LineError`, or `OSError` where `stdin` cannot be read."""
    program, before = line.words[0], _size(line.grows)  # a quick one has ended before anybody looks
    with open(stdin or os.devnull, "rb") as source:
        try:
            process = subprocess.Popen(
                line.words,
                env={**os.environ, **line.environment},
                stdin=source,
                stdout=subprocess.PIPE if line.heard else subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            raise LineError(f"{program} could not be started: {error.strerror}") from None
        assert process.stderr
        last_words, watchdog = LastWords(process.stderr), _Watchdog(process, line, before)
        watchdog.start()
        size = 0
        try:
            while block := process.stdout.read(BLOCK) if process.stdout else b"":
                size += len(block)
                watchdog.moved = time.monotonic()
                if size > line.most:
                    raise LineError(f"{program} gives {_more(line.most)}")
                yield block
            process.wait()
        finally:
            watchdog.over.set()
            _end(process)
            watchdog.join()
        if watchdog.why:
            raise LineError(f"{program} {watchdog.why}", watchdog.late)
        if watchdog.is_too_large():
            raise LineError(f"{program} gives {_more(line.most)}")
        if process.returncode:
            said = last_words.said().strip().splitlines()
            why = f": {plain(redact(said[-1]))}" if said else ", and said nothing"
            raise LineError(f"{program} ended with {process.returncode}{why}")


def run(line: Line, stdin: Path | None = None) -> bytes:
    """All that it says."""
    with closing(blocks(line, stdin)) as said:
        return b"".join(said)


def attempt(text: str, environment: Mapping[str, str], seconds: float) -> str:
    """One that is run for what it does: why it did not work, in a sentence; "" where it did. What it leaves running
    must say what it says somewhere else."""
    program, *others = shlex.split(text)
    try:
        run(Line((program, *others), seconds, 0, environment=environment, heard=False))
    except LineError as error:
        return str(error)
    except KeyboardInterrupt:
        return f"{program} was interrupted"
    return ""


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
    """Ends it when its time is over, or when what it writes is too large. `why`: what is said of it then; `moved`: when
    the last byte came."""

    def __init__(self, process: subprocess.Popen[bytes], line: Line, before: int) -> None:
        super().__init__(daemon=True)
        self.process, self.line, self.before = process, line, before
        self.over, self.why, self.late = threading.Event(), "", False
        self.moved = self.began = time.monotonic()

    def is_too_large(self) -> bool:
        return bool(self.line.grows) and _size(self.line.grows) - self.before > self.line.most

    def _is_late(self) -> str:
        now, line = time.monotonic(), self.line
        if now - self.began >= line.seconds:
            return f"did not end within {line.seconds:g} s"
        stands = line.stalled and now - self.moved >= line.stalled
        return f"gave no byte for {line.stalled:g} s" if stands else ""

    def run(self) -> None:
        looks = self.line.grows or self.line.stalled
        while not (late := self._is_late()):
            left = max(self.began + self.line.seconds - time.monotonic(), 0)
            if self.over.wait(min(LOOKS, left) if looks else left):
                return
            if self.is_too_large():
                break
        self.why, self.late = late or f"gives {_more(self.line.most)}", bool(late)
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
