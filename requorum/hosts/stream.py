"""One source to many sinks, block by block: the copy routine of the tree.

A source is a local file or a command's standard output, a sink a command's standard input. Nothing is stored on
this machine and memory stays at one block, however large the file. `fleet` builds the commands.
"""

from __future__ import annotations

import contextlib
import hashlib
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

BLOCK = 1 << 20


class StreamError(Exception):
    """A copy did not arrive. `where` is the host that failed, or "source"."""

    def __init__(self, where: str, what: str) -> None:
        self.where = where
        self.what = what
        super().__init__(f"{where}: {what}")


def _blocks_of_file(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            while block := file.read(BLOCK):
                yield block
    except OSError as error:
        raise StreamError("this machine", f"{path} cannot be read: {error.strerror}") from None


def _begin(argv: Sequence[str], stdin: int, stdout: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(argv, stdin=stdin, stdout=stdout, stderr=subprocess.PIPE, start_new_session=True)


def fan_out(
    source: Path | Sequence[str],
    sinks: Mapping[str, Sequence[str]],
    timeout: float,
    tell: Callable[[int], None] = lambda size: None,
) -> tuple[str, int]:
    """Copies `source` into every sink's standard input. Returns SHA-256 and bytes of what was read.

    `tell` hears after each block how many bytes have gone.

    Raises `StreamError` for the first sink or source that ended badly; all processes are ended before that.
    """
    writers = {name: _begin(argv, subprocess.PIPE, subprocess.DEVNULL) for name, argv in sinks.items()}
    reader = None if isinstance(source, Path) else _begin(source, subprocess.DEVNULL, subprocess.PIPE)
    processes = [*writers.values(), *([reader] if reader else [])]
    late = threading.Event()
    watchdog = threading.Timer(timeout, _kill, [processes, late])
    watchdog.start()
    try:
        return _pump(source, reader, writers, tell)
    except StreamError as error:
        if late.is_set():
            raise StreamError(error.where, f"did not end within {timeout:g} s") from None
        raise
    finally:
        watchdog.cancel()
        for process in processes:
            if process.poll() is None:
                process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe and not pipe.closed:
                    _close(pipe)


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


def _pump(
    source: Path | Sequence[str],
    reader: subprocess.Popen[bytes] | None,
    writers: Mapping[str, subprocess.Popen[bytes]],
    tell: Callable[[int], None],
) -> tuple[str, int]:
    sha, size = hashlib.sha256(), 0
    if reader is None:
        assert isinstance(source, Path)
        blocks = _blocks_of_file(source)
    else:
        assert reader.stdout
        blocks = iter(lambda stdout=reader.stdout: stdout.read(BLOCK), b"")  # type: ignore[misc]
    for block in blocks:
        sha.update(block)
        size += len(block)
        for name, writer in writers.items():
            assert writer.stdin
            try:
                writer.stdin.write(block)
            except BrokenPipeError:
                raise StreamError(name, _reason(writer)) from None
        tell(size)
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
    return sha.hexdigest(), size


def _kill(processes: Sequence[subprocess.Popen[bytes]], late: threading.Event) -> None:
    late.set()
    for process in processes:
        process.kill()


def _reason(process: subprocess.Popen[bytes]) -> str:
    code = process.wait()
    said = process.stderr.read().decode(errors="replace").strip() if process.stderr else ""
    return f"exit code {code}: {said.splitlines()[-1] if said else 'it printed nothing'}"


def _close(pipe: object) -> None:
    with contextlib.suppress(OSError):
        pipe.close()  # type: ignore[attr-defined]
