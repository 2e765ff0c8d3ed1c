"""Ctrl-C on the hosts: ending there what this run has started, since ending the ssh here does not.

What changes a host and may take long carries its `stop` (`command.act_long`, restores and isolated boots). Everything
else is short or only waits and is left to its own deadline.
"""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Callable, Sequence

from requorum.command import STOP_SECONDS, Command, Result
from requorum.hosts import bounded

Process = subprocess.Popen[bytes] | subprocess.Popen[str]
Running = tuple[tuple[Command, ...], Process]
PATIENCE = STOP_SECONDS + 5  # seconds: for systemd to end a unit by force, and for the way there


def end(
    running: Sequence[Running],
    fit: Callable[[Sequence[Command]], Sequence[Command]],
    start: Callable[[Command], subprocess.Popen[bytes]],
    tell: Callable[[Result], None],
    scale: float = 1.0,
) -> None:
    """Stops on the hosts what can be stopped, waits until it has ended, and lets go of the rest after a moment.

    `fit`: how root is to be had. `start`: brings a command to its host. `tell` hears of every stop.
    """
    stops = {process: {(c.host, c.stop) for c in commands if c.stop} for commands, process in running}
    patience = PATIENCE * scale
    deadline = time.monotonic() + patience
    try:
        while (left := [p for p in stops if p.poll() is None]) and time.monotonic() < deadline:
            # Again and again: a command that was just being started was not there to be stopped.
            wanted = sorted(set().union(*(stops[process] for process in left)))
            enders = [Command(host, stop, "stop what the interrupted run started") for host, stop in wanted]
            _stop(fit([ender.stretched(scale) for ender in enders]), start, tell, patience)
            _wait(left, 1)
            if not wanted:
                break
    finally:
        for process in stops:
            process.terminate()


def _stop(
    plan: Sequence[Command],
    start: Callable[[Command], subprocess.Popen[bytes]],
    tell: Callable[[Result], None],
    patience: float,
) -> None:
    """All of them at the same time, beside whatever runs there."""
    started = time.monotonic()
    enders = {start(command): command for command in plan}
    for process, command in enders.items():
        said = bounded.hear(process, None, bounded.LAST_WORDS, patience).out.decode(errors="replace")
        tell(Result(command, process.returncode, "", said, time.monotonic() - started))


def _wait(processes: Sequence[Process], seconds: float) -> None:
    until = time.monotonic() + seconds
    for process in processes:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(max(until - time.monotonic(), 0))
