"""What a stage looks like: calm at 80 columns, no tick over bad news, nothing obeyed that a host said."""

from __future__ import annotations

import re
from io import StringIO
from typing import Any

import pytest

from requorum.diagnosis.check.check import Finding
from requorum.hosts.watch import Watch
from requorum.plugin.ending.block import Line
from requorum.plugin.reporter import FILES, CheckReporter, Reporter, Screen, drawn_sources, drawn_stage, shortened
from requorum.plugin.watch import LogWatch, TerminalWatch
from tests.unit import build


def row(source: str, verdict: str) -> dict[str, Any]:
    return {"source": source, "host": "this machine", "revision": 1_234, "taken": "now", "verdict": verdict}


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
    text = "\n".join(line for line, _, _ in drawn_sources(rows))
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
    said = [("hosts", [evil]), ("notes", [evil]), ("table", [row(evil, evil)]), ("sources", [row(evil, evil)])]
    report = pytest.TestReport(
        "m::TestStep0::test_given_x", ("m", 0, "x"), {}, outcome, evil, "call", user_properties=said
    )
    reporter._stage(report)
    reporter.closing, reporter._failure = [evil], evil
    reporter.ending = [Line(evil, evil), Line(evil, evil, paste=True)]
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


HOSTS = ["etcd-1", "etcd-2", "etcd-3", "infra-1", "query-1"]


@pytest.mark.parametrize("width", [80, 100, 120])
@pytest.mark.parametrize("text", ["quorum is lost", "deephaven is turned on at the configuration server"])
def test_a_stage_fits_the_width_with_its_words_whole_and_its_hosts_named_or_counted(width: int, text: str) -> None:
    many = [f"query-{n}.example.com" for n in range(50)]
    for hosts in ([], HOSTS[:1], HOSTS, many):
        line = drawn_stage("When", text, hosts, 1234.5, "✓", width).plain
        assert len(line) <= width
        assert line.startswith(f"  When  {text}") and line.endswith("1234.5 s ✓")
    assert "50 hosts" in drawn_stage("When", text, many, 1.0, "✓", 80).plain
    assert "etcd-1, etcd-2, etcd-3, infra-1, query-1" in drawn_stage("When", text, HOSTS, 1.0, "✓", 120).plain


def stage(name: str, outcome: Any, *said: tuple[str, object]) -> pytest.TestReport:
    found = [("hosts", HOSTS), *said]
    words = "expected: it is lost"
    return pytest.TestReport(f"m::TestStep0::{name}", ("m", 0, ""), {}, outcome, words, "call", user_properties=found)


@pytest.fixture
def plain(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> tuple[Reporter, StringIO]:
    found, said = Reporter(request.config), StringIO()
    found.console = Screen(file=said, width=80, soft_wrap=True, highlight=False)
    monkeypatch.setattr(found, "watch", Watch())
    return found, said


def test_a_given_that_does_not_hold_is_an_answer_and_no_cross_on_its_opposite(plain: tuple[Reporter, StringIO]) -> None:
    reporter, said = plain
    reporter._stage(stage("test_given_quorum_is_lost", "failed"))
    first = said.getvalue().splitlines()[0]
    assert first.startswith("  Given quorum is lost?") and first.endswith(" no") and len(first) <= 80
    reporter._stage(stage("test_then_quorum_is_lost", "failed"))
    assert "✗" in said.getvalue()


def test_no_tick_stands_over_bad_news(plain: tuple[Reporter, StringIO]) -> None:
    reporter, said = plain
    reporter._stage(stage("test_when_data_is_chosen", "passed", ("notes", ["3 writes are lost"]), ("warned", True)))
    assert said.getvalue().splitlines()[0].endswith("s !") and "✓" not in said.getvalue()


def test_what_a_stage_found_is_wrapped_at_words_and_a_path_stays_whole(plain: tuple[Reporter, StringIO]) -> None:
    reporter, said = plain
    path = f"/backups/{'x' * 90}/etcd.snap"
    reporter._stage(stage("test_given_a_snapshot_is_whole", "passed", ("notes", [f"{'word ' * 30}{path}"])))
    lines = said.getvalue().splitlines()
    assert path in [line.strip() for line in lines]
    assert all(len(line) <= 80 for line in lines if path not in line)


@pytest.mark.parametrize(
    ("outcome", "verbose", "drawn"), [("passed", 0, False), ("passed", 1, True), ("failed", 0, True)]
)
def test_the_sources_are_listed_where_the_stage_fails_and_with_v(
    plain: tuple[Reporter, StringIO], monkeypatch: pytest.MonkeyPatch, outcome: str, verbose: int, drawn: bool
) -> None:
    reporter, said = plain
    monkeypatch.setattr(reporter.config.option, "verbose", verbose)
    reporter._stage(stage("test_given_a_snapshot_is_whole", outcome, ("sources", [row("file a.snap", "older")])))
    assert ("a.snap" in said.getvalue()) is drawn


def end(reporter: Reporter, monkeypatch: pytest.MonkeyPatch, ending: list[Line]) -> None:
    monkeypatch.setattr("requorum.plugin.reporter.TerminalReporter.summary_stats", lambda self: None)
    reporter.ending = ending
    reporter.summary_stats()


@pytest.mark.parametrize(("verbose", "times"), [(0, 0), (1, 1)])
@pytest.mark.parametrize("label", ["Failed", "Found"])
def test_what_the_last_lines_say_is_not_said_above_them_too_but_whole_with_v(
    plain: tuple[Reporter, StringIO], monkeypatch: pytest.MonkeyPatch, label: str, verbose: int, times: int
) -> None:
    reporter, said = plain
    monkeypatch.setattr(reporter.config.option, "verbose", verbose)
    reporter._stage(stage("test_given_quorum_is_lost", "failed"))
    end(reporter, monkeypatch, [Line("State", "x"), Line(label, "etcd-1: it is not")])
    assert said.getvalue().count("expected: it is lost") == times
    assert "etcd-1: it is not" in said.getvalue()


def test_what_the_last_lines_do_not_tell_of_is_said_whole(
    plain: tuple[Reporter, StringIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that is interrupted once a stage has failed; and a second failure, of what ends the run."""
    reporter, said = plain
    reporter._stage(stage("test_given_quorum_is_lost", "failed"))
    assert "expected: it is lost" not in said.getvalue()
    end(reporter, monkeypatch, [Line("State", "x"), Line("Ended", "Step 0: Ctrl-C")])
    assert said.getvalue().count("expected: it is lost") == 1
    reporter._stage(stage("test_given_quorum_is_lost", "failed"))
    assert said.getvalue().count("expected: it is lost") == 2


@pytest.mark.parametrize(("outcome", "verbose", "times"), [("failed", 0, 0), ("failed", 1, 1), ("passed", 0, 1)])
def test_what_the_last_lines_say_of_a_host_is_no_note_above_them_too(
    plain: tuple[Reporter, StringIO], monkeypatch: pytest.MonkeyPatch, outcome: str, verbose: int, times: int
) -> None:
    reporter, said = plain
    monkeypatch.setattr(reporter.config.option, "verbose", verbose)
    notes = ["etcd-1: up", "etcd-2: down"]
    reporter._stage(stage("test_given_quorum_is_lost", outcome, ("notes", notes), ("told", notes[1:])))
    assert said.getvalue().count("           etcd-1: up\n") == 1
    assert said.getvalue().count("           etcd-2: down\n") == times


def test_who_was_not_told_of_the_end_is_wrapped_and_a_line_to_paste_is_not(
    plain: tuple[Reporter, StringIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    reporter, said = plain
    rule = f"ops ALL=(root) NOPASSWD: /usr/bin/{'x' * 100} a b c"
    reporter.untold, reporter.closing = "The end is not anchored in every syslog: " + "host.example.com, " * 9, [rule]
    end(reporter, monkeypatch, [])
    lines = said.getvalue().splitlines()
    assert rule in lines and all(len(line) <= 80 for line in lines if line != rule)


@pytest.mark.parametrize(
    ("terminal", "term", "kind"), [(True, "xterm", TerminalWatch), (True, "dumb", LogWatch), (False, "xterm", LogWatch)]
)
def test_only_what_can_be_drawn_on_is_drawn_on(
    plain: tuple[Reporter, StringIO], monkeypatch: pytest.MonkeyPatch, terminal: bool, term: str, kind: type
) -> None:
    reporter, said = plain
    monkeypatch.setenv("TERM", term)
    reporter.console = Screen(file=said, force_terminal=terminal)
    assert type(reporter._watch()) is kind


def test_a_stop_says_in_a_sentence_what_there_is_and_no_last_resort(plain: tuple[Reporter, StringIO]) -> None:
    reporter, said = plain
    rows = [row("salvage s.snap", "chosen"), row("file a.snap", "older"), row("on-disk db", "the last resort: --skip")]
    reporter._stage(stage("test_when_the_best_data_is_chosen", "failed", ("sources", rows)))
    text = " ".join(said.getvalue().split())
    assert "found: salvage s.snap on this machine at revision 1,234, taken now; file a.snap on this machine" in text
    assert "chosen" not in text.partition("found:")[2] and "on-disk" not in text
