"""What is shown while a stage runs: drawn on a terminal and gone when it is over, a line now and then in a log."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from rich.console import Console

from compose import poll
from requorum.hosts.stream import fan_out
from requorum.plugin.watch import LogWatch, TerminalWatch, brief


def terminal(width: int = 160) -> tuple[TerminalWatch, io.StringIO]:
    screen = io.StringIO()
    return TerminalWatch(Console(file=screen, force_terminal=True, width=width)), screen


def test_a_stage_shows_its_hosts_and_the_time() -> None:
    watch, screen = terminal()
    watch.begin("When  the snapshot is restored on every member")
    watch.on(["etcd-1", "etcd-2", "etcd-1"])
    watch.end()
    shown = screen.getvalue()
    assert "the snapshot is restored on every member" in shown
    assert "etcd-1, etcd-2" in shown
    assert "0:00:00" in shown


def test_who_has_not_answered_yet_is_named_once_others_have() -> None:
    watch, screen = terminal()
    watch.begin("Given every host answers")
    watch.waiting([f"h{n}" for n in range(53)], 53)
    assert "waiting" not in screen.getvalue()
    watch.waiting(["query-7", "query-31"], 53)
    watch.end()
    assert "51 of 53, waiting for query-7, query-31" in screen.getvalue()


def test_a_copy_shows_how_much_has_gone() -> None:
    watch, screen = terminal()
    watch.begin("When  the snapshot is copied")
    watch.copying("the snapshot to every new member", 4_000_000)
    watch.copied(2_000_000)
    watch.end()
    shown = screen.getvalue()
    assert "the snapshot to every new member" in shown
    assert "2.0/4.0 MB" in shown


def test_a_copy_of_unknown_size_shows_what_has_gone() -> None:
    watch, screen = terminal()
    watch.begin("When  survivors are salvaged")
    watch.copying("the copy of etcd-1", None)
    watch.copied(3_000_000)
    watch.end()
    assert "3.0/? MB" in screen.getvalue()


def test_nothing_is_drawn_once_the_terminal_is_needed_for_a_question() -> None:
    watch, screen = terminal()
    watch.begin("Given you confirm")
    watch.end()
    before = screen.getvalue()
    watch.on(["etcd-1"])
    watch.copying("x", 1)
    watch.copied(1)
    watch.end()
    assert screen.getvalue() == before


def test_many_hosts_are_counted() -> None:
    assert brief([f"h{n}" for n in range(5)]) == "h0, h1, h2, h3, h4"
    assert brief([f"h{n}" for n in range(9)]) == "h0, h1, h2, h3, and 5 more"


def test_a_copy_tells_after_each_block_how_much_has_gone(tmp_path: Path) -> None:
    (tmp_path / "from").write_bytes(b"x" * (2 * (1 << 20) + 5))
    told: list[int] = []
    fan_out(tmp_path / "from", {"here": ("dd", f"of={tmp_path}/to", "status=none")}, timeout=60, tell=told.append)
    assert told == [1 << 20, 2 << 20, (2 << 20) + 5]


def lines(screen: io.StringIO) -> list[str]:
    return re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", screen.getvalue()).replace("\r", "\n").splitlines()


def test_at_80_columns_the_slow_ones_are_named_and_bytes_and_time_left_are_whole() -> None:
    watch, screen = terminal(80)
    watch.begin("When  deephaven is turned on at the configuration server")
    watch.waiting(["query-7.example.com", "query-31.example.com"], 53)
    watch.copying("the snapshot to every new member, which is long", 4_000_000_000)
    watch.copied(2_000_000_000)
    watch.end()
    drawn = lines(screen)
    assert all(len(line) <= 80 for line in drawn)
    text = "\n".join(drawn)
    assert "When  deephaven is turned on at the configuration server" in text
    assert "51 of 53, waiting for query-7.example.com, query-31.example.com" in text
    assert re.search(r"2\.0/4\.0 GB .*(?:\?|[\d.]+ [kMG]?B/s|-:--:--|\d:\d\d:\d\d)", text), text


def test_without_colour_nothing_is_coloured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    watch, screen = terminal(80)
    watch.begin("Given every host answers")
    watch.end()
    assert not re.search(r"\x1b\[(?:[\d;]*;)?(?:3[0-7]|9[0-7])m", screen.getvalue())


def test_a_log_gets_a_line_of_a_stage_that_is_long_and_none_of_one_that_is_not() -> None:
    said = io.StringIO()
    watch = LogWatch(said, every=0.02)
    watch.begin("When  survivors are salvaged")
    watch.waiting(["etcd-2"], 3)
    watch.copying("the copy of etcd-1", 4_000_000)
    watch.copied(1_000_000)
    poll.until(lambda: "MB" in said.getvalue(), seconds=10, every=0.01, what="a line")
    watch.end()
    line = said.getvalue().splitlines()[-1]
    assert line.startswith("  … When survivors are salvaged: 0:0")
    assert "; 2 of 3, waiting for etcd-2; the copy of etcd-1: 1.0 MB of 4.0 MB, " in line
    assert re.search(r"of 4\.0 MB, [\d.,]+ MB a second, about \d+ min left$", line)
    assert "\x1b" not in said.getvalue()
    quick = LogWatch(said := io.StringIO())
    quick.begin("Given every host answers")
    quick.on(["etcd-1"])
    quick.end()
    assert said.getvalue() == ""
