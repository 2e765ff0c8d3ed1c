"""Several commands of one host in one trip: far away, or with ssh, the trips cost more than the commands.

Pure framing: a script that runs the commands in order and stops at the first that fails, and a reader that takes its
output apart again, command by command, as it arrives. `fleet` decides nothing here but uses both.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from requorum.command import STOP, Command

LONGEST = 60_000  # characters of one script: far below what one argument may hold (128 KiB on Linux)


@dataclass(frozen=True)
class Frame:
    """What one command of a batch gave."""

    code: int
    stdout: str
    stderr: str


def fits(command: Command) -> bool:
    """Alone goes what takes input, what is stopped in a way of its own, and what would not end a batch when stopped."""
    return command.stdin is None and (not command.stop or (command.stop == STOP and command.accept is not None))


def batches(commands: Sequence[Command]) -> Iterator[list[Command]]:
    """Splits one host's commands, in order, into what can go in one trip."""
    batch: list[Command] = []
    size = 0
    for command in commands:
        length = len(command.sent())
        if batch and (not fits(command) or not fits(batch[-1]) or size + length > LONGEST):
            yield batch
            batch, size = [], 0
        batch.append(command)
        size += length
    if batch:
        yield batch


def script(commands: Sequence[Command], mark: str) -> str:
    """One script of sh. Behind each command's output: `mark` and exit code, its standard error, `mark` again."""
    parts = []
    for command in commands:
        accepted = "*" if command.accept is None else "|".join(map(str, command.accept))
        parts.append(
            f"{{ e=$({command.sent()} 2>&1 >&3 3>&- </dev/null); r=$?; }} 3>&1; "
            f'printf \'\\n%s %s\\n%s\\n%s\\n\' {mark} "$r" "$e" {mark}; case $r in {accepted}) ;; *) exit 0 ;; esac'
        )
    return "\n".join(parts)


def frames(lines: Iterable[str], mark: str) -> Iterator[Frame]:
    """Takes the output apart as it comes. What is cut off in the middle gives no frame."""
    output: list[str] = []
    code: int | None = None
    errors: list[str] = []
    for line in lines:
        if code is None and line.startswith(f"{mark} "):
            code = int(line.split()[1])
        elif code is None:
            output.append(line)
        elif line.rstrip("\n") == mark:
            stderr = "".join(errors)
            yield Frame(code, "".join(output)[:-1], stderr if stderr.strip() else "")
            output, code, errors = [], None, []
        else:
            errors.append(line)
