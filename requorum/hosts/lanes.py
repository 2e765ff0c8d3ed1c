"""Several trips to one host at the same time: questions that cost more there than the way, and acts in lanes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from requorum.command import Command

LANES = 4  # sshd takes ten sessions of one connection by default

R = TypeVar("R")


def once(look: Callable[[Sequence[Command]], list[R]], commands: Sequence[Command]) -> list[R]:
    """One after the other."""
    return look(commands)


def at_once(look: Callable[[Sequence[Command]], list[R]], commands: Sequence[Command]) -> list[R]:
    """What `look` gives of all commands, in their order. Raises what it raises, once all lanes have ended."""
    lanes = [commands[first::LANES] for first in range(min(LANES, len(commands)))]
    if len(lanes) < 2:
        return look(commands)
    with ThreadPoolExecutor(len(lanes), thread_name_prefix="lane") as pool:
        tries = [pool.submit(look, lane) for lane in lanes]
    told = [each.result() for each in tries]
    return [told[number % len(lanes)][number // len(lanes)] for number in range(len(commands))]


def side_by_side(run: Callable[[Sequence[Command]], list[R]], commands: Sequence[Command]) -> list[R]:
    """What `run` gives of the commands of each lane, one lane behind the other. Raises what it raises, once all lanes
    have ended."""
    lanes: dict[str, list[Command]] = {}
    for command in commands:
        lanes.setdefault(command.lane, []).append(command)
    if len(lanes) < 2:
        return run(commands)
    with ThreadPoolExecutor(len(lanes), thread_name_prefix="lane") as pool:
        tries = [pool.submit(run, lane) for lane in lanes.values()]
    return [one for each in tries for one in each.result()]
