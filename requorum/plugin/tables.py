"""How a check looks: a table for each host, green for what holds, red for what does not, drawn when all is known."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import pytest
from rich.console import Console
from rich.table import Table
from rich.text import Text

from requorum.diagnosis.check.check import Finding
from requorum.evidence.redaction import redact
from requorum.plugin.reporter import Reporter

LOOKS = {"holds": ("✓", "green"), "fails": ("✗", "bold red"), "told": ("i", "yellow"), "unknown": ("?", "yellow")}
WIDTH = 110  # columns that a table takes where the terminal has fewer


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
        wide = Console(file=self.console.file, highlight=False, width=max(self.console.width, WIDTH))
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
