"""How a run looks: a heading for each step, a line for each stage, the reason where it stopped.

A pytest reporter that takes the place of the usual one for the runbook only. Plain text without a terminal.
"""

from __future__ import annotations

import os
import re
import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any, TextIO

import pytest
from _pytest.terminal import TerminalReporter
from rich import box
from rich.console import Console, ConsoleOptions, RenderableType
from rich.padding import Padding
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from requorum.diagnosis.check.check import Finding
from requorum.evidence.redaction import redact, shown
from requorum.hosts.watch import Watch
from requorum.plugin.ending.block import LABEL, Line
from requorum.plugin.ending.block import drawn as block
from requorum.plugin.watch import LogWatch, TerminalWatch, brief
from requorum.run.dryrun import LEGEND

WORDS = {"given": "Given", "when": "When", "then": "Then"}
STYLES = {"✓": "green", "!": "bold yellow", "✗": "bold red", "no": "bold red"}
WIDEST = 120  # columns that a stage takes where the terminal has more
TEXT = 50  # columns of a stage's words, as the longest of them
NOTE = 11  # columns before what a stage found
UNITS = {"keys": "keys", "size": "bytes"}  # fields of a source, beside its revision
# What came of a run, in sentences; other lines at its end may be there to be pasted.
OUTCOME = ("Recovered in ", "Data loss: ")
TELL = {"Failed", "Found"}  # labels of the last lines that say what failed
LAST_RESORTS = ("on-disk", "directory")  # kinds of sources that are no choice by themselves
FILES = 8  # backups that a list of sources shows, the best first; the others are counted


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

    def __init__(self, config: pytest.Config, file: TextIO | None = None) -> None:
        super().__init__(config, file)
        self.console = Screen(file=self._tw._file, highlight=False, soft_wrap=True)
        self._step = ""
        self._skipped: list[tuple[str, str]] = []
        self._failure = ""  # the whole text of the first
        self.watch = self._watch()
        self.ending: list[Line] = []  # the last lines: what is so, what to do
        self.closing: list[str] = []  # what came of the run, set when it has ended
        self.untold = ""  # who was not told of the end

    def _watch(self) -> Watch:
        """Draws on a descriptor of its own: while a stage runs, pytest has the usual one. `TERM=dumb` is what a screen
        reader or an editor's shell says of itself: nothing is drawn there either."""
        try:
            screen = os.fdopen(os.dup(self._tw._file.fileno()), "w", encoding="utf-8")
        except OSError:  # no file at all
            return Watch()
        if not self.console.is_terminal or self.console.is_dumb_terminal:
            return LogWatch(screen)
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
        if step != self._step and not self._failure:
            self._step = step
            item = next(i for i in self._items if i.nodeid == nodeid)
            doc = (getattr(item, "cls", None).__doc__ or step).strip().splitlines()[0]
            self.console.print()
            for line in wrapped(doc, self.console.width, 0):
                self.console.print(Text(line, style="bold"))
        if not self._failure:
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
        notes, warned = properties.get("notes", []), properties.get("warned", False)
        hosts = properties.get("hosts", [])
        if not hosts and not notes and word != "Given" and report.passed:
            self.console.print(Text(f"  {word:<6}{text:<{TEXT}} not needed here", style="dim"))
            return
        mark = ("!" if warned else "✓") if report.passed else "no" if word == "Given" else "✗"
        line = drawn_stage(word, text, hosts, report.duration, mark, min(self.console.width, WIDEST))
        self.console.print(line, crop=False, overflow="ignore")
        told = properties.get("told", []) if report.failed and not self.verbosity > 0 else []
        for note in notes:
            if note not in told:  # the last lines say it
                self._below(note, NOTE, "yellow" if warned else "dim")
        if properties.get("table"):
            self.console.print(drawn(properties["table"]), crop=False, soft_wrap=False)
        if properties.get("sources") and self.verbosity > 0:
            for text, indent, style in drawn_sources(properties["sources"]):
                self._below(text, indent, style)
        elif properties.get("sources") and report.failed:
            self._below(there_is(properties["sources"]), NOTE, "dim")
        if report.failed:
            if self.verbosity > 0 or self._failure:  # the last lines say it once, and tell of one failure alone
                self._whole(str(report.longrepr))
            self._failure = self._failure or str(report.longrepr)

    def _whole(self, text: str) -> None:
        self.console.print(Text(f"\n{redact(text)}\n", style="red"))

    def _below(self, text: str, indent: int, style: str) -> None:
        """A line below a stage, wrapped at words; what has none, as a path, stays whole."""
        for line in wrapped(redact(text), self.console.width, indent):
            self.console.print(Text(line, style=style), crop=False, overflow="ignore")

    def _report_keyboardinterrupt(self) -> None:
        """Ctrl-C: the stages' own word, not a Python path. What to do next is in the last lines."""
        self.watch.end()
        self.console.print(Text("\nInterrupted. What was started on the hosts has been stopped.", style="bold"))

    def summary_errors(self) -> None: ...

    def summary_stats(self) -> None:
        """What did not run, in one line; what came of it; and, as the last word, the block."""
        super().summary_stats()
        self.console.print()
        if self._skipped and self._failure:
            rest = not_run([step for step, _ in self._skipped], self._step)
            self.console.print(Text(f"Not run: {rest}", style="dim"))
        if self._failure and not self.verbosity > 0 and not TELL & {line.label for line in self.ending}:
            self._whole(self._failure)
        self._below(self.untold, 0, "dim")
        for line in self.closing:
            if line.startswith(OUTCOME):
                self._below(line, 0, "")
            else:  # it may be there to be pasted
                self.console.print(Text(redact(line)))
        if self.ending:
            self.console.print()
        for line in block(self.ending, self.console.width):
            label, text = line[:LABEL], line[LABEL:]
            self.console.print(Text.assemble((redact(label), "bold"), redact(text)), crop=False, overflow="ignore")


def drawn_stage(word: str, text: str, hosts: list[str], seconds: float, mark: str, width: int) -> Text:
    """One line: the words are always whole, hosts are named or counted as there is room. A Given that does not hold is
    an answer, no cross on a sentence that then reads as its opposite."""
    end = f"{seconds:6.1f} s "
    said = f"{text}?" if mark == "no" else text
    room = width - len(f"  {word:<6}{said:<{TEXT}} {end}") - 3
    line = Text(f"  {word:<6}{said:<{TEXT}} ")
    line.append(f"{brief(hosts, max(room, 0)):<{max(room, 0)}} ", style="dim")
    line.append(end)
    line.append(mark, style=STYLES[mark])
    return line


def drawn(rows: list[dict[str, Any]]) -> Padding:
    """Rows with the same fields as a table; numbers with separators, to the right."""
    table = Table(box=box.SIMPLE, pad_edge=False, header_style="bold")
    for name in rows[0]:
        table.add_column(
            name,
            justify="right" if any(isinstance(r[name], int) for r in rows) else "left",
            overflow="fold",
            no_wrap=name == "host",
        )
    for row in rows:
        cells = [f"{v:,}" if isinstance(v, int) else str(v) if v is not None else "?" for v in row.values()]
        table.add_row(*(Text(redact(cell)) for cell in cells), style="dim")
    return Padding(table, (0, 0, 0, 8))


def wrapped(text: str, width: int, indent: int) -> list[str]:
    room = " " * indent
    return textwrap.wrap(
        text,
        width,
        initial_indent=room,
        subsequent_indent=room,
        break_long_words=False,
        break_on_hyphens=False,
    )


def drawn_sources(rows: list[dict[str, Any]]) -> Iterator[tuple[str, int, str]]:
    """What could be restored, the best first: what it is, and why it is or is not used. Text, indent, style."""
    shown, left_out = shortened(rows)
    for row in shown:
        numbers = [f"{row[name]:,} {unit}" for name, unit in UNITS.items() if row.get(name) is not None]
        revision = "revision not known yet" if row["revision"] is None else f"revision {row['revision']:,}"
        what = f"{row['source']} on {row['host']}: {', '.join((revision, *numbers))}, taken {row['taken']}"
        style = "bold" if str(row["verdict"]).startswith("chosen") else "dim"
        yield what, NOTE, style
        yield str(row["verdict"]), NOTE + 2, style
    for line in left_out:
        yield line, NOTE, "dim"


def there_is(rows: list[dict[str, Any]]) -> str:
    """What could be restored, in a sentence: a stop says what each of them costs, and -v why it is not used."""
    kinds = [str(row["source"]).partition(" ")[0] for row in rows]
    kept = [row for row, kind in zip(rows, kinds, strict=True) if kind not in LAST_RESORTS]
    said = [f"{_called(row)}, taken {row['taken']}" for row in kept[:FILES]]
    more = f"; and {len(kept) - FILES} more" if len(kept) > FILES else ""
    return f"found: {'; '.join(said)}{more}" if said else ""


def _called(row: dict[str, Any]) -> str:
    revision = "" if row["revision"] is None else f" at revision {row['revision']:,}"
    return f"{row['source']} on {row['host']}{revision}"


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


def not_run(steps: Sequence[str], stopped_in: str) -> str:
    """`TestStep0Snapshot, TestStep1Stop, …` → `the rest of Step 0, Steps 1 to 5`. `stopped_in`: the step that began."""
    whole = [step for step in dict.fromkeys(steps) if step != stopped_in]
    numbers = [found[1] for step in whole if (found := re.match(r"TestStep(\d)", step))]
    others = [re.sub(r"^Test", "", step) for step in whole if not re.match(r"TestStep\d", step)]
    said = [f"the rest of {_words(stopped_in)}"] if stopped_in in steps else []
    if numbers:
        said.append(f"Steps {numbers[0]} to {numbers[-1]}" if len(numbers) > 1 else f"Step {numbers[0]}")
    return ", ".join([*said, *others])


def _words(step: str) -> str:
    """`TestStep1Stop` → `Step 1`; of a procedure of one part `it`."""
    found = re.match(r"TestStep(\d)", step)
    return f"Step {found[1]}" if found else "it"


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


LOOKS = {"holds": ("✓", "green"), "fails": ("✗", "bold red"), "told": ("i", "yellow"), "unknown": ("?", "yellow")}


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
        for table in tables(self.findings):
            self.console.print(table, "", soft_wrap=False)
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
