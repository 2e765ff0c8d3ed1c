"""The thin line: a copy's first bytes go plain and are timed, the rest is compressed where that is faster.

A host's half stands around a line in the login's own shell, so that what root runs is the same either way: it takes or
gives `MEASURED` plain bytes, then reads one word, which says how the rest goes. By gzip alone: it is on every host, and
Python has it.
"""

from __future__ import annotations

import contextlib
import subprocess
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from io import BufferedReader

from requorum.hosts.packed import BLOCK, PackedError

MEASURED = 16 << 20
LEAST = 2 * MEASURED  # bytes of a copy that is worth it
GZ, PLAIN = "gz", "plain"
CAN = ("gzip", "--version")  # what else it takes is of coreutils
GAIN = 0.8  # of the time that it takes plain, at most
_SAMPLE = 4  # every so manieth block is compressed for trial
_GZIP = 31  # of zlib: the format of gzip, with its checksum

_TAKES = f"{{ head -c {MEASURED}; IFS= read -r how && case $how in {GZ}) gzip -dc;; *) cat;; esac; }} | "
# 3: the word's way in, 4: the bytes' way out, 5: the line's own exit code, and a word for each of what stands around it
# that failed, 6: the plain bytes once more, to be counted, since the word is waited for only where there may be more.
_FAILED = "|| echo 1 >&5"
_FIRST = f"n=$({{ {{ head -c {MEASURED} {_FAILED}; }} | {{ tee /dev/fd/6 >&4 {_FAILED}; }}; }} 6>&1 | wc -c)"
_REST = (
    f"[ $n -lt {MEASURED} ] || {{ IFS= read -r how <&3 && case $how in {GZ}) gzip -1c;; *) cat;; esac; }} >&4 {_FAILED}"
)


def takes(line: str) -> str:
    """`line` as a host runs it where its standard input comes over a thin line."""
    return _TAKES + line


def gives(line: str) -> str:
    """The same of its standard output. The exit code is the line's, or 1 where what stands around it failed: the last
    of what the line gave would be missing, and it would know nothing of that."""
    return (
        f"exec 3<&0 4>&1; code=$({{ {{ {{ {line}; }} </dev/null 3<&- 4>&- 5>&-; echo $? >&5; }} | "
        f"{{ {_FIRST}; {_REST}; }} >&2; }} 5>&1); "
        "for one in ${code:-1}; do [ $one = 0 ] || exit $one; done; exit 0"
    )


def choose(line: float, compressor: float, ratio: float) -> str:
    """`line` and `compressor` in bytes a second, `ratio`: what is left of a byte. One waits for the other here."""
    return GZ if 1 / compressor + ratio / line < GAIN / line else PLAIN


@dataclass
class Measure:
    """Of the first `MEASURED` bytes of a copy: how fast they went, and what compressing some of them took."""

    seen: int = 0
    began: float = 0.0
    sampled: int = 0
    packed: int = 0
    seconds: float = 0.0
    blocks: int = 0
    clock: Callable[[], float] = time.monotonic

    def block(self, block: bytes) -> None:
        """Before it goes."""
        now = self.clock()
        self.began = self.began or now
        if self.blocks % _SAMPLE == 0:
            self.packed += len(zlib.compress(block, 1))
            self.seconds += self.clock() - now
            self.sampled += len(block)
        self.seen += len(block)
        self.blocks += 1

    def verdict(self) -> str:
        """Once all of them went."""
        on_the_line = max(self.clock() - self.began - self.seconds, 1e-6)
        return choose(self.seen / on_the_line, self.sampled / max(self.seconds, 1e-6), self.packed / self.sampled)


def unpacked(read: Callable[[int], bytes]) -> Iterator[bytes]:
    """The plain bytes, at most a block at a time whatever the other end sends. Raises `PackedError`."""
    unpack = zlib.decompressobj(_GZIP)
    while not unpack.eof:
        data = unpack.unconsumed_tail or read(BLOCK)
        if not data:
            raise PackedError("ended before its end")
        try:
            block = unpack.decompress(data, BLOCK)
        except zlib.error as error:
            raise PackedError(f"cannot be unpacked: {error}") from None
        if block:
            yield block
    if unpack.unused_data or read(1):
        raise PackedError("goes on behind its end")


Process = subprocess.Popen[bytes]


class Line:
    """One copy over it: plain until so many bytes were measured, then as that says, in and out alike.

    `far`: the command at the far end whose output is copied, None where the source is here; `sinks`: those at far ends.
    `measures`: they run what `gives` and `takes` made of their lines.
    """

    def __init__(self, far: Process | None, sinks: Sequence[Process], measures: bool) -> None:
        self._far, self._sinks = far, sinks
        self._measure = Measure() if measures else None
        self._packer = zlib.compressobj(1, zlib.DEFLATED, _GZIP)
        self._in = self._out = 0
        self.how = "" if measures else PLAIN  # "" while it is measured

    @property
    def carried(self) -> int:
        """Bytes, in and out."""
        return self._in + self._out * len(self._sinks)

    def blocks(self, pipe: BufferedReader) -> Iterator[bytes]:
        """The plain bytes of what the far end gives. Raises `PackedError`."""

        def read(size: int, at_once: bool = False) -> bytes:
            data = pipe.read1(size) if at_once else pipe.read(size)
            self._in += len(data) if self._far else 0
            return data

        while self.how != GZ or not self._far:
            if not (block := read(BLOCK)):
                return
            yield block
        yield from unpacked(lambda size: read(size, at_once=True))  # a thin line fills no block for a while

    def parts(self, block: bytes) -> Iterator[bytes]:
        """Of a block, so that what is measured ends with one of them."""
        left = MEASURED - self._measure.seen if self._measure and not self.how else len(block)
        yield from filter(None, (block[:left], block[left:]))

    def out(self, block: bytes) -> bytes:
        """As it goes to all sinks at far ends."""
        if self._measure and not self.how:
            self._measure.block(block)
        sent = self._packer.compress(block) if self.how == GZ else block
        self._out += len(sent)
        return sent

    def went(self) -> None:
        """What `out` gave went to all. Where that was the last to be measured, far ends are told how the rest goes."""
        if self.how or not self._measure or self._measure.seen < MEASURED:
            return
        self.how = self._measure.verdict()
        for process in (*([self._far] if self._far else []), *self._sinks):
            assert process.stdin
            with contextlib.suppress(BrokenPipeError):  # who has ended says why by itself
                process.stdin.write(self.how.encode() + b"\n")
                process.stdin.flush()

    def end(self) -> bytes:
        """What is left to go to all sinks."""
        left = self._packer.flush() if self.how == GZ else b""
        self._out += len(left)
        return left
