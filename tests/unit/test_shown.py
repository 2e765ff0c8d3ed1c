"""What stays on a terminal, as the screens and pictures for readers have it."""

from __future__ import annotations

import io
import re

from rich.console import Console

from compose import poll
from requorum.plugin.watch import TerminalWatch
from tests.benchmarks import screens, shown


def test_what_was_drawn_in_place_and_taken_away_is_gone_and_what_was_said_stays() -> None:
    sent = io.StringIO()
    console = Console(file=sent, force_terminal=True, width=80)
    console.print("Step 0.")
    watch = TerminalWatch(console)
    watch.begin("When  survivors are salvaged")
    watch.waiting(["etcd-2"], 3)
    poll.until(lambda: "etcd-2" in sent.getvalue(), seconds=10, every=0.01, what="it is drawn")
    during = sent.getvalue()
    watch.end()
    console.print("  When  survivors are salvaged  [green]✓[/green]")
    assert "survivors are salvaged" in shown.plain(during) and "2 of 3" not in shown.plain(sent.getvalue())
    assert shown.plain(sent.getvalue().replace("\n", "\r\n")) == "Step 0.\n  When  survivors are salvaged  ✓\n"


def test_styles_are_kept_and_end_with_their_line() -> None:
    assert shown.ansi("\x1b[1mState\x1b[0m x\r\n\x1b[32m✓") == "\x1b[0m\x1b[1mState\x1b[0m x\n\x1b[0m\x1b[32m✓\x1b[0m"


def test_a_picture_holds_what_was_said_and_loads_nothing() -> None:
    picture = shown.svg("\x1b[1mState\x1b[0m      Deephaven is OFF\r\n", "a stop", 80)
    assert "State" in picture and "a stop" in picture.replace("&#160;", " ")
    assert set(re.findall(r"https?://[^\s\"']+", picture)) == {"http://www.w3.org/2000/svg"}
    assert "font-face" not in picture and "url(" not in picture.replace("url(#", "")


def test_the_same_seed_draws_the_same_states_each_with_a_name_of_its_own() -> None:
    names = [world.name for world in screens.chosen((), 12, 12)]
    assert names == [world.name for world in screens.chosen((), 12, 12)]
    every = [world.name for world in (*screens.NAMED, *screens.POOL)]
    assert len(set(names)) == len(names) == len(screens.NAMED) + 12 and len(set(every)) == len(every)
