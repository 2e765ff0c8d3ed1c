"""The table of sources on the terminal: short enough to read at night, and nothing that may be named is left out."""

from __future__ import annotations

import re
from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from requorum.diagnosis.check.check import Finding
from requorum.plugin.reporter import FILES, CheckReporter, Reporter, Screen, drawn, shortened
from tests.unit import build


def row(source: str, verdict: str) -> dict[str, Any]:
    return {"source": source, "host": "this machine", "revision": 1_234, "verdict": verdict}


def test_a_table_of_many_backups_shows_the_best_and_all_on_hosts_and_counts_the_others() -> None:
    rows = [
        row("file chosen.snap", "chosen"),
        *(row(f"file old-{n}.snap", f"older: {n + 1} revisions behind") for n in range(FILES + 1)),
        *(row(f"file foreign-{n}.snap", "of another cluster") for n in range(30)),
        row("salvage token", "named only"),
    ]

    shown, left_out = shortened(rows)

    assert shown == [*rows[:FILES], rows[-1]]
    assert left_out == ["and 2 more files: older", "and 30 more files: of another cluster"]
    terminal = StringIO()
    Console(file=terminal, width=160).print(drawn(rows))
    text = terminal.getvalue()
    assert "chosen.snap" in text and "salvage token" in text and "and 30 more files: of another cluster" in text
    assert "foreign" not in text


def test_a_table_of_few_backups_is_shown_whole() -> None:
    rows = [row(f"file {n}.snap", "older") for n in range(FILES)]

    assert shortened(rows) == (rows, [])
    assert shortened([*rows, row("file last.snap", "older")])[1] == ["and 1 more file: older"]


@pytest.fixture(params=[Reporter, CheckReporter])
def reporter(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Reporter:
    found: Reporter = request.param(request.config)
    monkeypatch.setattr(found, "_tw", type(found._tw)(StringIO()))
    found.console = Screen(file=found._tw._file, force_terminal=True, soft_wrap=True, highlight=False)
    found._skipped = [(build.OBEYED, build.OBEYED)]
    return found


@pytest.mark.parametrize("outcome", ["passed", "failed"])
def test_what_a_host_said_is_shown_on_the_terminal_and_not_obeyed(reporter: Reporter, outcome: Any) -> None:
    evil = build.OBEYED
    said = [("hosts", [evil]), ("notes", [evil]), ("table", [row(evil, evil)])]
    report = pytest.TestReport(
        "m::TestStep0::test_given_x", ("m", 0, "x"), {}, outcome, evil, "call", user_properties=said
    )
    reporter._stage(report)
    reporter.closing, reporter.advice, reporter._failure = [evil], [evil], (evil, evil)
    if isinstance(reporter, CheckReporter):
        reporter.findings = [Finding(evil, evil, "fails", evil, evil, evil)]
    reporter.write_line(f"INTERNALERROR> {evil}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("requorum.plugin.reporter.TerminalReporter.summary_stats", lambda self: None)
        reporter.summary_stats()
    screen = reporter._tw._file
    assert isinstance(screen, StringIO)
    text = screen.getvalue()
    assert r"no\ryes" in text
    assert re.sub(r"\x1b\[[\d;]*m|\n", "", text).isprintable(), "only rich's own styles are obeyed"
