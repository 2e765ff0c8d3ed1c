"""The table of sources on the terminal: short enough to read at night, and nothing that may be named is left out."""

from __future__ import annotations

from io import StringIO
from typing import Any

from rich.console import Console

from requorum.plugin.reporter import FILES, drawn, shortened


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
