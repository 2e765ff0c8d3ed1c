"""What is said while a stage runs: what it does, who has not answered yet, how far a copy is. Drawn in place on a
terminal, a line now and then where that is a log or cannot be drawn on."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Sequence
from typing import TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
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
from rich.text import Text

from requorum.hosts.watch import Watch

MANY = 5  # hosts that are named; more of them are counted
INDENT = 11  # columns before what stands below a stage
EVERY = 60.0  # seconds between two lines in a log


class _Below:
    """A line that is there only while it says something."""

    text = ""

    def __rich__(self) -> RenderableType:
        return Padding(Text(self.text, style="dim"), (0, 0, 0, INDENT)) if self.text else Group()


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
            TextColumn("[cyan]{task.description}", table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1)),
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
        self._stage.add_task(text, total=None)
        self._hosts = _Below()
        self._live = Live(
            Group(self._stage, self._hosts, self._copies),
            console=self._console,
            refresh_per_second=4,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._live.start()

    def on(self, hosts: Iterable[str]) -> None:
        if self._live is not None:
            self._hosts.text = brief(list(dict.fromkeys(hosts)))

    def waiting(self, hosts: Sequence[str], out_of: int) -> None:
        if self._live is not None and hosts and len(hosts) < out_of:
            self._hosts.text = late(hosts, out_of)

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


class LogWatch(Watch):
    """Says a line every so often while a stage is at work, and nothing of one that is over before."""

    def __init__(self, out: TextIO, every: float = EVERY) -> None:
        self._out, self._every = out, every
        self._over: threading.Event | None = None

    def begin(self, text: str) -> None:
        self.end()
        self._text, self._who = " ".join(text.split()), ""
        self._copy: tuple[str, int | None, float] | None = None
        self._sent, self._began, self._over = 0, time.monotonic(), threading.Event()
        threading.Thread(target=self._say, args=(self._over,), daemon=True).start()

    def _say(self, over: threading.Event) -> None:
        while not over.wait(self._every):
            minutes, seconds = divmod(int(time.monotonic() - self._began), 60)
            said = "; ".join(filter(None, (f"{minutes}:{seconds:02} min", self._who, self._gone())))
            print(f"  … {self._text}: {said}", file=self._out, flush=True)

    def _gone(self) -> str:
        if self._copy is None:
            return ""
        what, size, began = self._copy
        if size is None:
            return f"{what}: {megabytes(self._sent)}"
        rate = self._sent / max(time.monotonic() - began, 0.001)
        left = f", about {(size - self._sent) / rate / 60:.0f} min left" if rate and self._sent < size else ""
        return f"{what}: {megabytes(self._sent)} of {megabytes(size)}, {megabytes(int(rate))} a second{left}"

    def on(self, hosts: Iterable[str]) -> None:
        self._who = f"on {brief(list(dict.fromkeys(hosts)))}"

    def waiting(self, hosts: Sequence[str], out_of: int) -> None:
        if hosts and len(hosts) < out_of:
            self._who = late(hosts, out_of)

    def copying(self, what: str, size: int | None) -> None:
        self._copy, self._sent = (what, size, time.monotonic()), 0

    def copied(self, size: int) -> None:
        self._sent = size

    def end(self) -> None:
        if self._over is not None:
            self._over.set()
            self._over = None


def megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"


def late(hosts: Sequence[str], out_of: int) -> str:
    """How many have answered, and who has not."""
    return f"{out_of - len(hosts)} of {out_of}, waiting for {brief(list(hosts))}"


def brief(hosts: list[str], room: int | None = None) -> str:
    """At most five names, then a number; where they do not fit into `room` columns only how many, or nothing."""
    named = ", ".join(hosts if len(hosts) <= MANY else [*hosts[: MANY - 1], f"and {len(hosts) - MANY + 1} more"])
    ways = (named, f"{len(hosts)} host{'s' * (len(hosts) != 1)}" if hosts else "", "")
    return next(way for way in ways if room is None or len(way) <= room)
