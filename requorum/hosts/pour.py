"""A file of this machine as what a command reads: block by block, never faster than it may go."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

from requorum.command import Brought, Command
from requorum.deadlines import LINE_RATE, by_bytes
from requorum.hosts import line, packed
from requorum.hosts.bounded import NOTHING
from requorum.hosts.failure import AGAIN, FleetError
from requorum.hosts.line import Line
from requorum.hosts.packed import PackedError
from requorum.hosts.watch import Watch

BLOCK = 1 << 16  # a rate is held block by block, and what the host says is read between two of them

HERE = "this machine"


def given(
    command: Command, printed: Callable[[Command], bytes], decrypt: str | None, watch: Watch
) -> tuple[bytes | None, Iterator[bytes]]:
    """What a command reads: at once, and then block by block. `printed` runs what it is fed by."""
    fed = printed(command.fed) if command.fed else None
    if command.brings is None:
        return (command.stdin if fed is None else fed), NOTHING
    watch.copying(command.why, command.brings.bytes)
    return command.stdin or b"", blocks(command.brings, fed or b"", decrypt, watch.copied)


def blocks(
    brought: Brought, behind: bytes, decrypt: str | None = None, tell: Callable[[int], None] = lambda size: None
) -> Iterator[bytes]:
    """The plain bytes of the file, then what goes `behind` it. `decrypt`: the inventory's line. Raises `FleetError`
    where it cannot be read, or is longer than it was said to be."""
    path, began, size = Path(brought.path), time.monotonic(), 0
    opens = Line(line.words(decrypt), by_bytes(brought.bytes, rate=LINE_RATE), brought.bytes) if decrypt else None
    try:
        for block in packed.blocks(path, brought.packed, opens):
            for start in range(0, len(block), BLOCK):
                part = block[start : start + BLOCK]
                size += len(part)
                if size > brought.bytes:
                    raise FleetError(HERE, f"{path} holds more than its {brought.bytes:,} bytes", AGAIN)
                yield part
                tell(size)
                ahead = size / brought.rate - (time.monotonic() - began) if brought.rate else 0
                time.sleep(max(ahead, 0))
    except PackedError as error:
        raise FleetError(HERE, f"{path} {error}", AGAIN) from None
    except OSError as error:
        raise FleetError(HERE, f"{path} cannot be read: {error.strerror}", AGAIN) from None
    if behind:
        yield behind
