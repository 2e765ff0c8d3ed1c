"""What is shown while a stage runs: on a terminal only, and gone when the stage is over."""

from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console

from requorum.hosts.stream import fan_out
from requorum.plugin.watch import TerminalWatch, brief


def terminal() -> tuple[TerminalWatch, io.StringIO]:
    screen = io.StringIO()
    return TerminalWatch(Console(file=screen, force_terminal=True, width=160)), screen


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
