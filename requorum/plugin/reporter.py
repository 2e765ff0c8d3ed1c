"""How a run looks: a heading for each step, a line for each stage, the reason where it stopped.

A pytest reporter that takes the place of the usual one for the runbook only. Plain text without a terminal.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any

import pytest
from _pytest.terminal import TerminalReporter
from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderableType
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
    TransferSpeedColumn,
)
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from requorum.diagnosis.check.check import Finding
from requorum.evidence.redaction import redact, shown
from requorum.hosts.watch import Watch
from requorum.run.dryrun import LEGEND

WORDS = {"given": "Given", "when": "When", "then": "Then"}
STYLES = {"passed": "green", "failed": "bold red", "skipped": "dim"}
TABLE_WIDTH = 160  # columns that a table takes where the terminal has fewer; it then wraps
FILES = 8  # backups that the table of sources shows, the best first; the others are counted
MARKS = {"passed": "✓", "failed": "✗", "skipped": "·"}


def sentence(nodeid: str) -> tuple[str, str]:
    """`…::test_given_quorum_is_lost` → ("Given", "quorum is lost")."""
    kind, _, rest = nodeid.rsplit("::", 1)[-1].removeprefix("test_").partition("_")
    return WORDS.get(kind, kind.capitalize()), rest.replace("_", " ")


class Screen(Console):
    """A terminal on which nothing that a host said is obeyed: only rich's own styles are."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(shown(segment.text), segment.style)


class Reporter(TerminalReporter):  # type: ignore[misc]  # final for type checkers; replacing it is documented
    """Draws the runbook. Counts and exit codes stay pytest's own."""

    def __init__(self, config: pytest.Config) -> None:
        super().__init__(config)
        self.console = Screen(file=self._tw._file, highlight=False, soft_wrap=True)
        self._step = ""
        self._skipped: list[tuple[str, str]] = []
        self._failure: tuple[str, str] | None = None
        self.watch = self._watch()
        self.advice: list[str] = []  # how a run that did not end well is gone on with
        self.closing: list[str] = []  # the last lines, set when the run has ended

    def _watch(self) -> Watch:
        """Draws on a descriptor of its own: while a stage runs, pytest has the usual one."""
        if not self.console.is_terminal:
            return Watch()
        screen = os.fdopen(os.dup(self._tw._file.fileno()), "w", encoding="utf-8")
        return TerminalWatch(Screen(file=screen, force_terminal=True, highlight=False))

    def write_line(self, line: str | bytes, **markup: bool) -> None:
        """pytest's own way to the terminal, when something in it breaks: what a host said may be in that."""
        super().write_line(shown(line if isinstance(line, str) else line.decode(errors="replace")), **markup)

    # What pytest says about itself is of no use to an operator.
    def pytest_sessionstart(self, session: pytest.Session) -> None:
        self._session = session
        self._items: list[pytest.Item] = []
        self._session_start = _instant()

    def pytest_collection(self) -> None: ...

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self._items = session.items

    def report_collect(self, final: bool = False) -> None: ...
    def pytest_runtest_logfinish(self, nodeid: str) -> None: ...
    def summary_failures(self) -> None: ...
    def summary_warnings(self) -> None: ...
    def short_test_summary(self) -> None: ...

    def pytest_runtest_logstart(self, nodeid: str, location: Any) -> None:
        step = nodeid.split("::")[1]
        if step != self._step and self._failure is None:
            self._step = step
            item = next(i for i in self._items if i.nodeid == nodeid)
            doc = (getattr(item, "cls", None).__doc__ or step).strip().splitlines()[0]
            self.console.print(f"\n[bold]{doc}[/bold]")
        if self._failure is None:
            word, text = sentence(nodeid)
            self.watch.begin(f"{word:<6}{text}")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        category, _, _ = self.config.hook.pytest_report_teststatus(report=report, config=self.config)
        self._add_stats(category, [report])
        self._tests_ran = True
        if report.when == "call" or report.outcome != "passed":
            self._stage(report)

    def _stage(self, report: pytest.TestReport) -> None:
        self.watch.end()
        properties: dict[str, Any] = dict(report.user_properties)
        word, text = sentence(report.nodeid)
        if report.skipped:
            self._skipped.append((report.nodeid.split("::")[1], f"{word} {text}"))
            return
        hosts = brief(properties.get("hosts", []))
        if not hosts and not properties.get("notes") and word != "Given" and report.passed:
            self.console.print(Text(f"  {word:<6}{text:<58} not needed here", style="dim"))
            return
        line = Text(f"  {word:<6}")
        line.append(f"{text:<58} ")
        line.append(f"{hosts:<42} ", style="dim")
        line.append(f"{report.duration:6.1f} s ")
        line.append(MARKS[report.outcome], style=STYLES[report.outcome])
        self.console.print(line, crop=False, overflow="ignore")
        for note in properties.get("notes", []):
            self.console.print(Text(f"           {note}", style="dim"))
        if properties.get("table"):
            wide = Screen(file=self.console.file, highlight=False, width=max(self.console.width, TABLE_WIDTH))
            wide.print(drawn(properties["table"]), crop=False)
        if report.failed:
            self._failure = (f"{word} {text}", redact(str(report.longrepr)))
            self.console.print(Text(f"\n{self._failure[1]}\n", style="red"))

    def _report_keyboardinterrupt(self) -> None:
        """Ctrl-C: the stages' own word, not a Python path. What to do next is in the last lines."""
        self.watch.end()
        self.console.print(Text("\nInterrupted. What was started on the hosts has been stopped.", style="bold"))

    def summary_errors(self) -> None: ...

    def summary_stats(self) -> None:
        """How it ended, what did not run and why, where the evidence is."""
        self.console.print()
        if self._skipped and self._failure:
            self.console.print(f"Not run, since the runbook stopped at “{self._failure[0]}”:")
            for step, stages in groupby(self._skipped, key=lambda skipped: skipped[0]):
                names = "; ".join(stage for _, stage in stages)
                self.console.print(Text(f"  {_words(step)}: {names}", style="dim"))
            self.console.print()
        for line in self.closing:
            self.console.print(Text(redact(line)))
        if self.advice:
            self.console.print()
        for line in self.advice:
            self.console.print(Text(redact(line)))
        super().summary_stats()


def drawn(rows: list[dict[str, Any]]) -> Padding:
    """Rows with the same fields as a table; numbers with separators, to the right."""
    table = Table(box=box.SIMPLE, pad_edge=False, header_style="bold")
    for name in rows[0]:
        table.add_column(
            name,
            justify="right" if any(isinstance(r[name], int) for r in rows) else "left",
            overflow="fold",
            no_wrap=name in ("host", "taken", "revision", "size", "hash"),
        )
    shown, left_out = shortened(rows)
    for row in shown:
        cells = [f"{v:,}" if isinstance(v, int) else str(v) if v is not None else "?" for v in row.values()]
        style = "bold" if str(row.get("verdict", "")).startswith("chosen") else "dim"
        table.add_row(*(Text(redact(cell)) for cell in cells), style=style)
    return Padding(Group(table, *(Text(redact(line), style="dim") for line in left_out)), (0, 0, 0, 8))


def shortened(rows: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[str]]:
    """The rows to draw, and lines that count the others by reason: years of backups are no help at night.

    What lies on a host is always drawn, since it can be named; of the files on this machine the best `FILES`.
    """
    files = [row for row in rows if str(row.get("source", "")).startswith("file ")]
    rest = Counter(str(row.get("verdict", "")).split(":")[0] for row in files[FILES:])
    shown = [row for row in rows if row not in files[FILES:]]
    return shown, [
        f"and {count:,} more {'file' if count == 1 else 'files'}: {reason}" for reason, count in rest.items()
    ]


def _words(step: str) -> str:
    """`TestStep1Stop` → `Step 1`."""
    return re.sub(r"^Test(\D+)(\d+).*", r"\1 \2", step)


def _instant() -> Any:
    from _pytest import timing

    return timing.Instant()


class PlanReporter(Reporter):  # type: ignore[misc]
    """Draws a plan: looks as a run draws them, everything else as what would be done."""

    def pytest_runtest_logstart(self, nodeid: str, location: Any) -> None:
        if not self._step:
            for line in LEGEND:
                self.console.print(Text(line, style="dim"))
        super().pytest_runtest_logstart(nodeid, location)

    def _stage(self, report: pytest.TestReport) -> None:
        self.watch.end()
        lines = dict(report.user_properties).get("plan")
        if report.skipped or report.failed or not isinstance(lines, list) or not lines:
            super()._stage(report)
            return
        for line in lines:
            self.console.print(line, crop=False, overflow="ignore")


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
            TextColumn("[dim]{task.fields[hosts]}"),
            TimeElapsedColumn(),
            console=self._console,
        )
        self._copies = Progress(
            TextColumn("          "),
            TextColumn("[dim]{task.description}"),
            BarColumn(bar_width=30),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeElapsedColumn(),
            console=self._console,
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


def brief(hosts: list[str]) -> str:
    """At most five names, then a number."""
    return ", ".join(hosts if len(hosts) <= MANY else [*hosts[: MANY - 1], f"and {len(hosts) - MANY + 1} more"])


LOOKS = {"holds": ("✓", "green"), "fails": ("✗", "bold red"), "told": ("i", "yellow"), "unknown": ("?", "yellow")}
CHECKS_WIDTH = 110  # columns that a table takes where the terminal has fewer


class CheckReporter(Reporter):  # type: ignore[misc]  # as its parent
    """One line while it asks, then the tables. Counts and exit codes stay pytest's own."""

    findings: Sequence[Finding] = ()  # the check's own list, which grows as it judges

    def pytest_runtest_logstart(self, nodeid: str, location: Any) -> None:
        if not self._step:
            self.watch.begin("asking all hosts")
        self._step = nodeid.split("::")[1]

    def _stage(self, report: pytest.TestReport) -> None:
        """A case is a row of a table; only what nobody foresaw is said at once."""
        self.watch.end()
        if report.failed and not isinstance(report.longrepr, str):
            self.console.print(Text(redact(str(report.longrepr)), style="red"))

    def summary_stats(self) -> None:
        wide = Screen(file=self.console.file, highlight=False, width=max(self.console.width, CHECKS_WIDTH))
        for table in tables(self.findings):
            wide.print(table, "")
        super().summary_stats()

    def _report_keyboardinterrupt(self) -> None:
        self.console.print(Text("\nInterrupted. Nothing was changed.", style="bold"))


def tables(findings: Sequence[Finding]) -> list[Table]:
    """A table a host, in the order of the findings."""
    return [_table(host, list(rows)) for host, rows in groupby(findings, key=lambda finding: finding.host)]


def _table(host: str, findings: list[Finding]) -> Table:
    style = "bold red" if any(finding.verdict == "fails" for finding in findings) else "bold green"
    table = Table(
        box=None,
        pad_edge=False,
        title=host,
        title_justify="left",
        show_header=False,
        title_style=style,
        padding=(0, 2, 0, 0),
    )
    table.add_column(width=1)
    table.add_column(width=14)
    table.add_column(overflow="fold")
    for finding in findings:
        mark, style = LOOKS[finding.verdict]
        text = redact(finding.found)
        if finding.verdict == "fails":
            text += f"\nexpected: {finding.expected}\n→ {finding.remedy}"
        table.add_row(Text(mark, style=style), finding.check, Text(text, style=style if mark in "✗?" else ""))
    return table
