"""What is drawn while a stage runs, on a terminal only: what it does, who has not answered yet, how far a copy is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console, Group
from rich.live import Live
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Column

from requorum.hosts.watch import Watch

MANY = 5  # hosts that are named; more of them are counted


class TerminalWatch(Watch):
    """Redraws its lines in place, and takes them away at the end."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: Live | None = None
        self._copy: TaskID | None = None

    def begin(self, text: str) -> None:
        self.end()
        self._stage = Progress(
            TextColumn(" "),
            SpinnerColumn(),
            TextColumn("[cyan]{task.description}"),
            TextColumn("[dim]{task.fields[hosts]}", table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1)),
            TimeElapsedColumn(),
            console=self._console,
            expand=True,
        )
        self._copies = Progress(
            TextColumn("   "),
            TextColumn("[dim]{task.description}", table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1)),
            BarColumn(bar_width=12),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=self._console,
            expand=True,
        )
        self._task = self._stage.add_task(text, total=None, hosts="")
        self._live = Live(
            Group(self._stage, self._copies),
            console=self._console,
            refresh_per_second=4,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._live.start()

    def on(self, hosts: Iterable[str]) -> None:
        if self._live is not None:
            self._stage.update(self._task, hosts=brief(list(dict.fromkeys(hosts))))

    def waiting(self, hosts: Sequence[str], out_of: int) -> None:
        if self._live is not None and hosts and len(hosts) < out_of:
            self._stage.update(self._task, hosts=f"{out_of - len(hosts)} of {out_of}, waiting for {brief(list(hosts))}")

    def copying(self, what: str, size: int | None) -> None:
        if self._live is not None:
            if self._copy is not None:
                self._copies.remove_task(self._copy)
            self._copy = self._copies.add_task(what, total=size)

    def copied(self, size: int) -> None:
        if self._live is not None and self._copy is not None:
            self._copies.update(self._copy, completed=size)

    def end(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = self._copy = None


def brief(hosts: list[str], room: int | None = None) -> str:
    """At most five names, then a number; where they do not fit into `room` columns only how many, or nothing."""
    named = ", ".join(hosts if len(hosts) <= MANY else [*hosts[: MANY - 1], f"and {len(hosts) - MANY + 1} more"])
    ways = (named, f"{len(hosts)} host{'s' * (len(hosts) != 1)}" if hosts else "", "")
    return next(way for way in ways if room is None or len(way) <= room)
