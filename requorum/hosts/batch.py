"""Several commands of one host in one trip: far away, or with ssh, the trips cost more than the commands.

Pure framing: a script that runs the commands in order and stops at the first that fails, what it reads for those that
take input, and a reader that takes its output apart again, command by command, as it arrives. `fleet` decides nothing
here but uses all three.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from requorum.command import STOP, Command

LONGEST = 100_000  # bytes of one script as it is carried: well below what one argument may hold (128 KiB on Linux)
_MARK = "m" * 32  # as long as a real one
_CODE = re.compile(r" ([0-9]{1,3})\n?")  # behind the mark, which is another one each trip


@dataclass(frozen=True)
class Frame:
    """What one command of a batch gave."""

    code: int
    stdout: str
    stderr: str


def fits(command: Command) -> bool:
    """Alone goes what is stopped in a way of its own, what would not end a batch when stopped, and what is fed by
    another command or a file."""
    return (
        command.fed is None
        and command.brings is None
        and (not command.stop or (command.stop == STOP and command.accept is not None))
    )


def batches(commands: Sequence[Command]) -> Iterator[list[Command]]:
    """Splits one host's commands, in order, into what can go in one trip."""
    batch: list[Command] = []
    size = 0
    for command in commands:
        length = _length(command)
        if batch and (not fits(command) or not fits(batch[-1]) or size + length > LONGEST):
            yield batch
            batch, size = [], 0
        batch.append(command)
        size += length
    if batch:
        yield batch


def _length(command: Command) -> int:
    """Bytes that it takes in a script as `shell.carried` quotes or encodes it, and of its input."""
    part = script([command], _MARK).encode() + b"\n"
    quoted, encoded = len(part) + 4 * part.count(b"'"), 4 * len(part) // 3
    return max(quoted, encoded) + 2 * len(command.stdin or b"")


def script(commands: Sequence[Command], mark: str) -> str:
    """One script of sh. Behind each command's output: `mark` and exit code, its standard error, `mark` again.

    What a command takes as input is a line of `fed`, read whole or nothing is run: by the shell's own `read` and
    `printf`, so that it stands in nobody's arguments, in a variable that is not exported.
    """
    parts = []
    for command in commands:
        accepted = "*" if command.accept is None else "|".join(map(str, command.accept))
        line = f"{command.sent()} 2>&1 >&3 3>&-"
        reads = command.stdin is not None
        before = "unset rq; IFS= read -r rq || exit 0; " if reads else ""
        line = f'printf %s "$rq" | base64 -d | {line}' if reads else f"{line} </dev/null"
        parts.append(
            f"{before}{{ e=$({line}); r=$?; }} 3>&1; "
            f'printf \'\\n%s %s\\n%s\\n%s\\n\' {mark} "$r" "$e" {mark}; case $r in {accepted}) ;; *) exit 0 ;; esac'
        )
    return "\n".join(parts)


def fed(commands: Sequence[Command]) -> str:
    """What the script reads: a line for each command that takes input."""
    return "".join(f"{base64.b64encode(c.stdin).decode()}\n" for c in commands if c.stdin is not None)


def frames(lines: Iterable[str], mark: str) -> Iterator[Frame]:
    """Takes the output apart as it comes. What is cut off in the middle gives no frame."""
    output: list[str] = []
    code: int | None = None
    errors: list[str] = []
    for line in lines:
        if code is None and line.startswith(mark) and (found := _CODE.fullmatch(line, len(mark))):
            code = int(found[1])
        elif code is None:
            output.append(line)
        elif line.rstrip("\n") == mark:
            stderr = "".join(errors)
            yield Frame(code, "".join(output)[:-1], stderr if stderr.strip() else "")
            output, code, errors = [], None, []
        else:
            errors.append(line)
