"""The page: whatever the run came to and whatever is left of its journal, everything is on it and no secret is."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from requorum.command import Command, Result
from requorum.evidence import audit, outline, report, timeline
from requorum.evidence.journal import Journal
from requorum.hosts.fleet import Fleet
from requorum.run import terms as opening
from requorum.run.run import Run
from requorum.run.terms import Options
from tests.unit import build
from tests.unit.recorded import DATA, RECORDS, SUMMARY

COUNTS = Counter(record["kind"] for record in RECORDS)
CHANGED = sum(bool(record.get("changes")) for record in RECORDS)
VOID = {"meta", "br", "rect", "circle", "path", "line"}
KEY = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEplanted\n-----END EC PRIVATE KEY-----"


class Page(HTMLParser):
    """What a page says, and whether its elements are closed in the order in which they were opened."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open, f"closed but never opened: {tag}"
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "title"):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def count(self, tag: str, of_class: str = "") -> int:
        return sum(t == tag and (not of_class or of_class in (a.get("class") or "").split()) for t, a in self.tags)


def page(summary: dict[str, Any] | None = SUMMARY, records: Sequence[dict[str, Any]] = RECORDS) -> Page:
    return Page(report.html(summary, records, "whole: so many records"))


def until(stage: str, **changes: Any) -> list[dict[str, Any]]:
    """The records up to the end of a stage, with that end changed."""
    number = next(n for n, r in enumerate(RECORDS) if r["kind"] == "stage ended" and stage in r["stage"])
    return [*RECORDS[:number], {**RECORDS[number], **changes}]


class TestARecovery:
    def test_the_outcome_stands_at_the_top_in_words_and_colour(self) -> None:
        found = page()
        assert found.text.startswith("Requorum · etcd cluster lab Recovered The cluster was rebuilt")
        assert found.count("header", "good") == 1 and found.count("section", "stop") == 0

    @pytest.mark.parametrize(
        "words",
        [
            "Recovery time 30.0 s acting 12.0 s proving 18.0 s",
            f"Proofs {COUNTS['assertion']} of {COUNTS['assertion']} hold, on 5 hosts",
            f"Commands {COUNTS['command']} {CHANGED} changed something, {COUNTS['copy']} copies, 0 failed",
            "Data loss Possible salvaged from 1 of 3 members (etcd-1)",
            "Step 5 Power on",
            "All steps 30.00",
            "revision 261 before any bump keys 21,652 size 10.6 MB SHA-256 dca33da7918ef544",
            "etcd-2 10.89.7.12 3.5.16 1,000,000,261 2285254373",
            "One hash at one revision",
            "Given quorum is lost",
            "verdict: quorum is lost",
            "Run by ops@desk",
            "The journal is whole",
            "Run with Python 3.",
        ],
    )
    def test_it_shows(self, words: str) -> None:
        assert words in page().text

    def test_every_source_of_data_is_there_with_its_verdict(self) -> None:
        rows: list[dict[str, Any]] = [
            {
                "source": "salvage salvage.snap",
                "host": "etcd-1",
                "lineage": "lab-1 7",
                "taken": "2026-11-23T05:29:25Z",
                "revision": 1262,
                "keys": 21652,
                "size": 10600000,
                "hash": "good",
                "verdict": "chosen",
            },
            {
                "source": "salvage lab-2",
                "host": "etcd-1",
                "lineage": "lab-2 8",
                "taken": "",
                "revision": None,
                "keys": None,
                "size": None,
                "hash": "none",
                "verdict": "failed: <torn>",
            },
        ]
        wanted = [
            "salvage.snap etcd-1 lab-1 7 2026-11-23 05:29:25 UTC 1,262 21,652 10.6 MB good chosen",
            "failed: <torn>",
        ]
        record = {"kind": "sources", "sources": rows}
        for found in (page({**SUMMARY, "sources": rows}), page(None, [*RECORDS, record])):
            assert all(words in found.text for words in wanted)

    def test_every_proof_is_there_with_its_hosts_and_what_was_found(self) -> None:
        found = page()
        for record in RECORDS:
            if record["kind"] == "assertion":
                assert record["expected"] in found.text
        assert found.count("circle", "holds") == COUNTS["assertion"] > 0 and found.count("path", "not") == 0
        groups = sum(len(s.proofs) for step in outline.steps_of(RECORDS) for s in step.stages)
        assert found.count("div", "proof") == groups + 1, "one a claim, and the heading"

    def test_every_command_is_there_with_why_exit_code_and_seconds(self) -> None:
        found = page()
        assert sum(t == "tr" for t, _ in found.tags) == 1 + 7 + 1 + 3 + 1 + 3 + 6 + COUNTS["command"] + COUNTS["copy"]
        one = next(r for r in RECORDS if r["kind"] == "command" and r["exit_code"] == 7)
        assert f"{one['why']} 7 {one['seconds']:.3f}" in found.text

    def test_the_timeline_has_a_row_a_host_and_a_bar_a_command(self) -> None:
        found = page()
        copies = sum(len(timeline.hosts_of(r)) for r in RECORDS if r["kind"] == "copy")
        bars = [a for t, a in found.tags if t == "rect" and a.get("rx") == "1"]
        assert len(bars) == COUNTS["command"] + copies
        assert "etcd-1" in found.text and found.count("text", "host") == 5
        assert all(timeline.GUTTER <= float(a["x"] or 0) <= timeline.WIDTH for a in bars)

    def test_it_needs_nothing_but_itself(self) -> None:
        found = page()
        assert not {t for t, _ in found.tags} & {"script", "link", "img", "iframe", "object", "base", "form"}
        assert not [a for _, a in found.tags if {"src", "href", "xlink:href", "srcset"} & set(a)]
        text = report.html(SUMMARY, RECORDS)
        assert "@import" not in text and "url(" not in text
        assert "default-src 'none'" in text

    def test_it_follows_the_readers_light_and_prints(self) -> None:
        text = report.html(SUMMARY, RECORDS)
        assert "prefers-color-scheme: dark" in text and "@media print" in text

    def test_it_is_a_pure_function(self) -> None:
        assert report.html(SUMMARY, RECORDS) == report.html(SUMMARY, RECORDS)


class TestARunThatEndedBadly:
    WHY = "expected: the member sees a leader\n    etcd-1: found <none>\n    → run it again"

    def test_what_it_stopped_at_and_why_and_what_to_do_stand_first(self) -> None:
        records = until("sees_a_leader", outcome="failed", why=self.WHY)
        found = page({**SUMMARY, "outcome": "stopped", "stopped_at": records[-1]["stage"], "members": []}, records)
        assert found.count("header", "bad") == 1 and found.count("section", "stop") == 1
        assert "It ended at Step 4 — Then every member sees a leader" in found.text
        assert "etcd-1: found <none> → run it again" in found.text
        assert found.text.index("Why it stopped") < found.text.index("Where the time went")

    def test_what_does_not_hold_and_what_failed_are_marked(self) -> None:
        records = until("sees_a_leader", outcome="failed", why=self.WHY)
        last = {"kind": "assertion", "host": "etcd-1", "expected": "x", "holds": False, "found": "no leader"}
        command = next(r for r in records if r["kind"] == "command")
        failed = {**command, "exit_code": 9, "said": "connection refused"}
        found = page(None, [*records[:-1], {**last, "time": records[-1]["time"]}, failed, records[-1]])
        assert found.count("div", "not") == 1 and found.count("path", "not") == 1
        assert found.count("tr", "broke") == 1 and "connection refused" in found.text

    @pytest.mark.parametrize("outcome", sorted(report.OUTCOMES))
    def test_every_outcome_has_its_words(self, outcome: str) -> None:
        word, tone, meaning = report.OUTCOMES[outcome]
        found = page({**SUMMARY, "outcome": outcome})
        assert f"{word} {meaning}" in found.text and found.count("header", tone) == 1

    def test_machines_that_are_gone_are_named_with_what_retires_them(self) -> None:
        terms = build.terms(gone=("etcd-3", "query-1"), of=build.replaced())
        run = {**RECORDS[0], **opening.opening(terms, "ops")}
        found = page({**SUMMARY, "gone": ["etcd-3", "query-1"]}, [run, *RECORDS[1:]])
        assert "etcd-3 sudo -n timeout -k 5 900 systemctl disable --now dh-etcd.service" in found.text
        assert "query-1 sudo -n timeout -k 5 900 /usr/illumon/latest/bin/dh_monit down --block" in found.text

    def test_what_was_accepted_is_told(self) -> None:
        assert "Accepted" not in page(SUMMARY).text
        assert "without:etcd-2 backup" in page({**SUMMARY, "accepted": ["without:etcd-2", "backup"]}).text


class TestATornJournal:
    def test_a_killed_run_shows_where_it_was_and_what_was_planned(self) -> None:
        number = next(n for n, r in enumerate(RECORDS) if r["kind"] == "planned")
        found = page(None, RECORDS[: number + 2])
        assert "Cut off The journal has no end" in found.text
        planned = RECORDS[number]["actions"]
        assert "Planned in this stage, and not known to have run" in found.text
        assert planned[-1]["action"] in found.text

    @settings(max_examples=12)
    @given(st.integers(0, len(DATA)))
    def test_cut_off_anywhere_it_renders(self, size: int) -> None:
        data = DATA[:size]
        Page(report.html(None, audit.records(data), str(audit.verdict(data))))

    @settings(max_examples=50)
    @given(
        st.lists(
            st.dictionaries(
                st.sampled_from(
                    [
                        "kind",
                        "time",
                        "host",
                        "stage",
                        "text",
                        "argv",
                        "why",
                        "outcome",
                        "expected",
                        "found",
                        "actions",
                        "said",
                    ]
                ),
                st.sampled_from(
                    [
                        "command",
                        "copy",
                        "stage",
                        "stage ended",
                        "assertion",
                        "planned",
                        "note",
                        "run",
                        "end",
                        "2026-01-01T00:00:00Z",
                        "",
                        "<b>",
                        "a::B::test_given_c",
                    ]
                ),
                max_size=6,
            ),
            max_size=12,
        )
    )
    def test_records_with_fields_missing_render(self, records: list[dict[str, Any]]) -> None:
        Page(report.html(None, records))

    def test_a_summary_of_nothing_renders(self) -> None:
        page({}, RECORDS)
        page({"data_loss": {"certain": None, "possible": None, "why": "x"}, "snapshot": None}, [])
        assert "Up to 12 writes" in page({"data_loss": {"certain": None, "possible": 12, "why": "x"}}).text
        assert "Data loss None" in page({"data_loss": {"certain": 0, "possible": 0, "why": "x"}}).text
        assert "3 writes, certain, up to 9" in page({"data_loss": {"certain": 3, "possible": 9, "why": "x"}}).text


class TestSecrets:
    def test_planted_ones_appear_nowhere(self) -> None:
        planted = f"password=hunter2 and https://root:hunter2@h:2379 and {KEY}"
        run = {**RECORDS[0], "operator": planted}
        stage = {"time": RECORDS[1]["time"], "kind": "stage", "stage": "m::TestStep0::test_given_x"}
        more: list[dict[str, Any]] = [
            {"kind": "command", "host": "h", "argv": planted, "why": planted, "said": planted},
            {"kind": "copy", "action": planted, "why": planted},
            {"kind": "assertion", "host": "h", "expected": planted, "holds": False, "found": planted},
            {"kind": "note", "text": planted},
            {"kind": "planned", "actions": [{"action": planted, "why": planted}]},
            {"kind": "stage ended", "outcome": "failed", "why": planted},
        ]
        summary = {**SUMMARY, "data_loss": {"certain": None, "possible": None, "why": planted}}
        text = report.html(summary, [run, stage, *more])
        assert "hunter2" not in text and "planted" not in text and "PRIVATE KEY" not in text
        assert text.count("•••") > 10

    def test_what_a_host_said_cannot_become_part_of_the_page(self) -> None:
        evil = '<script>alert(1)</script>"><img src=x onerror=alert(1)>'
        stage = {"time": RECORDS[1]["time"], "kind": "stage", "stage": f"m::TestStep0::test_given_{evil}"}
        more = [{"kind": "command", "host": evil, "argv": evil, "why": evil, "said": evil}]
        found = page({"cluster": evil}, [RECORDS[0], stage, *more])
        assert found.count("script") == 0 and found.count("img") == 0

    def test_what_a_reader_would_obey_is_shown(self) -> None:
        evil = build.OBEYED
        stage = {"time": RECORDS[1]["time"], "kind": "stage", "stage": f"m::TestStep0::test_given_{evil}"}
        more = [{"kind": "command", "host": evil, "argv": evil, "why": evil, "said": evil}, {"kind": evil}]
        text = report.html({"cluster": evil, "outcome": evil}, [RECORDS[0], stage, *more], checked=evil)
        assert text.replace("\n", "").isprintable() and r"no\ryes" in text


class TestTheFile:
    def test_it_is_written_when_a_run_is_closed_whatever_came_of_it(self, tmp_path: Path) -> None:
        journal = Journal(tmp_path / "run")
        inventory = build.inventory(transport={"backend": "local"})
        with Fleet(inventory, journal) as fleet:
            run = Run(inventory, Options(), journal, fleet)
            journal.record("run", **opening.opening(run.terms, "ops"))
            run.begin("m::TestStep0Snapshot::test_given_x")
            journal.command(Result(Command("etcd-1", ("true",), "why"), 0, "", "", 0.1))
            run.end("m::TestStep0Snapshot::test_given_x", "failed", 0.2, "etcd-1: no\n    → mend it")
            run.close("refused", "m::TestStep0Snapshot::test_given_x", "2026-01-01T00:00:00Z")
        path = journal.directory / "report.html"
        found = Page(path.read_text())
        assert "Refused" in found.text and "mend it" in found.text and "The journal is whole" in found.text
        assert path.stat().st_mode & 0o777 == 0o600
        assert {p.name for p in journal.directory.iterdir()} == {"journal.jsonl", "summary.json", "report.html"}
        end = audit.records(journal.path.read_bytes())[-1]
        written = {name: hashlib.sha256((journal.directory / name).read_bytes()).hexdigest() for name in audit.CLOSED}
        assert end["files"] == written
        report.write(journal.directory)
        assert hashlib.sha256(path.read_bytes()).hexdigest() == written["report.html"], "made again it is the same"

    def test_a_stage_says_how_much_of_it_was_acting(self, tmp_path: Path) -> None:
        journal = Journal(tmp_path / "run")
        inventory = build.inventory(transport={"backend": "local"})
        with Fleet(inventory, journal) as fleet:
            run = Run(inventory, Options(), journal, fleet)
            run.begin("m::TestStep0Snapshot::test_when_x")
            run.do([Command("etcd-1", ("sleep", "0.1"), "act", root=False)])
            run.end("m::TestStep0Snapshot::test_when_x", "passed", 5.0, "")
        assert 0.1 <= audit.records(journal.path.read_bytes())[-1]["acting"] < 5

    def test_a_page_that_cannot_be_written_changes_nothing(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert report.attempt(tmp_path / "nowhere") is None
        assert "report.html was not written" in capsys.readouterr().err

    def test_the_journal_of_these_tests_is_whole(self) -> None:
        assert audit.verdict(DATA).state is audit.State.WHOLE


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.5, "0.5 s"), (12, "12 s"), (180, "3 min"), (185, "3 min 05 s"), (3725, "1 h 02 min")]
)
def test_a_length_of_time_reads_well(seconds: float, words: str) -> None:
    assert timeline.clock(seconds) == words


@given(st.floats(0.001, 1e6))
def test_an_axis_has_a_few_ticks_within_it(seconds: float) -> None:
    drawing = timeline.draw([], [], [], seconds)
    assert 1 <= len(drawing.ticks) <= 13
    assert all(timeline.GUTTER <= tick.x <= timeline.WIDTH for tick in drawing.ticks)


class TestACheck:
    FINDINGS = [  # noqa: RUF012
        {"host": "etcd-1", "check": "clock", "verdict": "holds", "expected": "on time", "found": "0 s", "remedy": ""},
        {"host": "etcd-1", "check": "disk", "verdict": "fails", "expected": "room", "found": "<none>", "remedy": "mk"},
        {"host": "etcd-2", "check": "quorum", "verdict": "told", "expected": "whether", "found": "yes", "remedy": ""},
        {"host": "etcd-3", "check": "ssh", "verdict": "unknown", "expected": "it answers", "found": "no", "remedy": ""},
    ]

    def test_its_findings_stand_host_by_host_with_what_to_do(self) -> None:
        found = page({**SUMMARY, "outcome": "checked", "findings": self.FINDINGS})
        assert found.count("tr", "holds") == found.count("tr", "fails") == found.count("tr", "told") == 1
        assert "etcd-1 ✓ clock on time 0 s ✗ disk room <none> → mk etcd-2 i quorum" in found.text
        assert "? ssh it answers no" in found.text

    def test_it_is_red_where_something_does_not_hold_and_speaks_of_no_snapshot(self) -> None:
        found = page({**SUMMARY, "outcome": "checked", "findings": self.FINDINGS})
        assert found.count("header", "bad") == 1 and "1 of 4 findings do not hold" in found.text
        assert "The snapshot" not in found.text and "Data loss" not in found.text and "Why it stopped" not in found.text
        assert page({**SUMMARY, "outcome": "checked", "findings": self.FINDINGS[:1]}).count("header", "good") == 1

    def test_a_case_is_called_by_its_own_name(self) -> None:
        nodeid = "runbook/check/test_check.py::TestCheck::test_then_it_holds[clock on etcd-1]"
        assert outline.stage_name(nodeid) == ("TestCheck", "Then", "clock on etcd-1")


def test_names_are_sorted_by_their_numbers_whatever_a_journal_calls_them() -> None:
    names = ["etcd-10", "etcd-2", "\u00b2", "\u0663", "9" * 5000, "", "etcd-"]
    assert sorted(["etcd-10", "etcd-2"], key=timeline._natural) == ["etcd-2", "etcd-10"]
    assert len(sorted(names, key=timeline._natural)) == len(names)


@pytest.mark.parametrize(
    ("estimate", "told"),
    [
        ({"seconds": 2 * SUMMARY["recovery_seconds"]["total"], "told": "about", "by": None}, "2.0 times what it took"),
        ({"seconds": None, "told": "unknown: nothing was measured", "by": None}, "unknown: nothing was measured"),
        (None, ""),
        ("odd", ""),
    ],
)
def test_what_was_estimated_stands_below_what_it_took(estimate: object, told: str) -> None:
    text = report.html({**SUMMARY, "outcome": "recovered", "estimate": estimate}, RECORDS)
    assert ("Estimated: " in text) == bool(told) and told in text
