"""Reading a journal back: whole, incomplete and altered are told apart, whatever is done to the file."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from requorum import __main__
from requorum import inventory as inventories
from requorum.command import Command, Result
from requorum.evidence import audit
from requorum.evidence import syslog as anchor
from requorum.evidence.audit import State, against, verdict
from requorum.evidence.journal import Journal, line_of
from requorum.evidence.syslog import Anchor
from requorum.hosts.fleet import Fleet
from requorum.run.run import Run, leave_anchor
from requorum.run.terms import Options
from tests.unit import build

ENTRIES: list[dict[str, Any]] = [
    {"time": "2026-01-01T00:00:00.000Z", "kind": "run", "cluster": "lab"},
    {"time": "2026-01-01T00:00:01.000Z", "kind": "stage", "stage": "a::B::c"},
    {"time": "2026-01-01T00:00:02.000Z", "kind": "note", "text": 'größer — \u2028 \n {"time": 1.50}'},
    {"time": "2026-01-01T00:00:02.000Z", "kind": "note", "text": 'größer — \u2028 \n {"time": 1.50}'},
    {"time": "2026-01-01T00:00:03.000Z", "kind": "stage ended", "stage": "a::B::c", "outcome": "passed"},
    {"time": "2026-01-01T00:00:04.000Z", "kind": "end", "outcome": "recovered", "stopped_at": None},
]


def chained(entries: list[dict[str, Any]]) -> list[bytes]:
    lines: list[bytes] = []
    head = "0" * 64
    for entry in entries:
        lines.append(line_of(entry, head))
        head = digest(lines[-1])
    return lines


def digest(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest()


LINES = chained(ENTRIES)
WHOLE = b"".join(LINES)
NUMBERS = st.integers(0, len(LINES) - 1)
PLACES = st.integers(0, len(WHOLE) - 1)


class TestWhatTheFileSaysOfItself:
    def test_a_journal_with_its_end_is_whole(self) -> None:
        found = verdict(WHOLE)
        assert (found.state, found.number) == (State.WHOLE, 6)
        assert str(found) == f"whole: 6 records, the last is {digest(LINES[-1])}; outcome: recovered"

    def test_what_a_run_writes_is_whole(self, tmp_path: Path) -> None:
        journal = Journal(tmp_path / "run")
        journal.command(Result(Command("h", ("a", "\udcff"), "w"), 1, "", "password: hunter2 ü\n", 0.1))
        journal.record("end", outcome="stopped")
        assert verdict(journal.path.read_bytes()).state is State.WHOLE

    @given(st.integers(0, len(WHOLE) - 1))
    def test_cut_off_anywhere_it_is_incomplete(self, size: int) -> None:
        found = verdict(WHOLE[:size])
        begun = WHOLE[:size].count(b"\n")
        assert found.state is State.INCOMPLETE
        assert found.number == (begun if WHOLE[:size].endswith(b"\n") or not size else begun + 1)

    @given(PLACES, st.integers(1, 255))
    def test_any_byte_changed_is_found_where_it_is(self, place: int, flip: int) -> None:
        data = WHOLE[:place] + bytes([WHOLE[place] ^ flip]) + WHOLE[place + 1 :]
        found = verdict(data)
        assert found.state is State.ALTERED
        assert found.number == WHOLE[:place].count(b"\n") + 1

    @given(st.integers(0, len(WHOLE)), st.binary(min_size=1, max_size=40))
    def test_anything_inserted_anywhere_is_found(self, place: int, added: bytes) -> None:
        assert verdict(WHOLE[:place] + added + WHOLE[place:]).state is State.ALTERED

    @given(PLACES, st.integers(1, 60))
    def test_anything_removed_before_the_end_is_found(self, place: int, size: int) -> None:
        data = WHOLE[:place] + WHOLE[place + size :]
        assert verdict(data).state is (State.ALTERED if place + size < len(WHOLE) else State.INCOMPLETE)

    @given(st.integers(0, len(LINES) - 2))
    def test_a_record_dropped_is_found(self, number: int) -> None:
        found = verdict(b"".join(LINES[:number] + LINES[number + 1 :]))
        assert (found.state, found.number) == (State.ALTERED, number + 1)

    @given(NUMBERS, NUMBERS)
    def test_records_swapped_are_found(self, one: int, other: int) -> None:
        lines = list(LINES)
        lines[one], lines[other] = lines[other], lines[one]
        found = verdict(b"".join(lines))
        assert found.state is (State.WHOLE if one == other else State.ALTERED)
        assert one == other or found.number == min(one, other) + 1

    @given(NUMBERS, st.integers(0, len(LINES)))
    def test_a_record_put_in_again_is_found(self, number: int, place: int) -> None:
        found = verdict(b"".join([*LINES[:place], LINES[number], *LINES[place:]]))
        assert found.state is State.ALTERED

    @given(st.integers(0, len(LINES) - 2))
    def test_a_record_changed_and_sealed_again_breaks_the_chain_behind_it(self, number: int) -> None:
        previous = json.loads(LINES[number])["previous"]
        forged = line_of({**ENTRIES[number], "kind": "forged"}, previous)
        found = verdict(b"".join([*LINES[:number], forged, *LINES[number + 1 :]]))
        assert (found.state, found.number) == (State.ALTERED, number + 2)

    def test_a_line_without_a_record_is_altered_though_its_seal_fits(self) -> None:
        body = b"no record"
        line = b'%s, "seal": "%s"}\n' % (body, digest(body).encode())
        assert verdict(line).state is State.ALTERED

    def test_an_outcome_that_its_stages_deny_is_found(self) -> None:
        entries = [*ENTRIES[:4], {**ENTRIES[4], "outcome": "failed"}, ENTRIES[5]]
        assert verdict(b"".join(chained(entries))).why == "record 6 says recovered, but record 5 is a stage that failed"

    @given(st.binary(max_size=200))
    def test_any_file_at_all_gets_a_verdict(self, data: bytes) -> None:
        assert verdict(data).state in (State.ALTERED, State.INCOMPLETE)


NAME = digest(LINES[0])[:16]


def told(*numbers: int, lines: list[bytes] = LINES) -> list[Anchor]:
    return [Anchor(digest(lines[0])[:16], number, digest(lines[number - 1])) for number in numbers]


class TestWhatTheHostsSay:
    def test_a_file_that_agrees_with_every_host_stays_whole(self) -> None:
        found = against(WHOLE, verdict(WHOLE), {"etcd-1": told(2, 5), "etcd-2": told(2)})
        assert found.state is State.WHOLE
        assert found.why.endswith("up to record 5 as told to etcd-1, etcd-2")

    @pytest.mark.parametrize(
        ("lying", "silent", "state"),
        [
            (0, 0, State.WHOLE),
            (1, 0, State.DISPUTED),
            (2, 0, State.DISPUTED),
            (3, 0, State.ALTERED),
            (0, 2, State.WHOLE),
            (0, 3, State.UNTOLD),
            (0, 5, State.UNTOLD),
            (1, 4, State.DISPUTED),
        ],
    )
    def test_a_majority_of_the_hosts_that_answer_decides(self, lying: int, silent: int, state: State) -> None:
        forged = [Anchor(NAME, 5, "f" * 64)]
        said = [forged] * lying + [[]] * silent + [told(2, 5)] * (5 - lying - silent)
        found = against(WHOLE, verdict(WHOLE), {f"etcd-{n}": of for n, of in enumerate(said, 1)})
        assert found.state is state
        assert lying == 0 or f"(say {', '.join(f'etcd-{n + 1}' for n in range(lying))} of 5 hosts)" in found.why

    def test_a_file_rewritten_from_some_record_on_is_found(self) -> None:
        lines = chained([*ENTRIES[:3], {**ENTRIES[3], "text": "nothing happened"}, *ENTRIES[4:]])
        data = b"".join(lines)
        assert verdict(data).state is State.WHOLE
        found = against(data, verdict(data), {"etcd-1": told(2, 5), "etcd-2": told(2, 5), "etcd-3": told(2)})
        assert (found.state, found.number) == (State.ALTERED, 5)
        assert "etcd-1" in found.why

    def test_what_only_looked_did_not_change_anything(self) -> None:
        acted = {"time": "x", "kind": "command", "host": "etcd-1", "changes": True}
        copied = {"time": "x", "kind": "copy", "action": "x"}
        looked = {**acted, "changes": False}
        for outcome in ("checked", "planned"):
            end = {**ENTRIES[-1], "outcome": outcome}
            assert verdict(b"".join(chained([ENTRIES[0], looked, end]))).state is State.WHOLE
            for record in (acted, copied):
                found = verdict(b"".join(chained([ENTRIES[0], record, looked, end])))
                assert found.why == f"record 4 says {outcome}, but record 2 changed something"

    @pytest.mark.parametrize("name", audit.CLOSED)
    def test_the_files_beside_it_are_those_that_its_end_knows(self, name: str) -> None:
        files = {name: digest(b"as written")}
        data = b"".join(chained([*ENTRIES[:-1], {**ENTRIES[-1], "files": files}]))
        assert verdict(data, {name: b"as written"}).state is verdict(data, {}).state is State.WHOLE
        found = verdict(data, {name: b"as rewritten"})
        assert (found.state, found.number) == (State.ALTERED, 6) and name in found.why
        assert verdict(WHOLE, {name: b"of a landed version"}).state is State.WHOLE

    def test_a_file_rewritten_from_its_first_record_on_is_known_to_no_host(self) -> None:
        data = b"".join(chained([{**ENTRIES[0], "cluster": "other"}, *ENTRIES[1:]]))
        found = against(data, verdict(data), {"etcd-1": told(2, 5)})
        assert found.state is State.UNTOLD and "rewritten as a whole" in found.why

    @given(st.integers(1, len(LINES) - 1))
    def test_whole_records_cut_off_are_found_when_a_host_was_told_of_them(self, kept: int) -> None:
        data = b"".join(LINES[:kept])
        found = against(data, verdict(data), {"etcd-1": told(5)})
        assert found.state is (State.INCOMPLETE if kept >= 5 else State.ALTERED)

    def test_other_runs_of_the_cluster_do_not_matter(self) -> None:
        other = chained([{**ENTRIES[0], "run": "earlier"}, *ENTRIES[1:]])
        anchors = {"etcd-1": [*told(2, 5, lines=other), *told(2)]}
        assert against(WHOLE, verdict(WHOLE), anchors).state is State.WHOLE

    def test_a_run_killed_before_its_first_anchor_is_only_incomplete(self) -> None:
        data = b"".join(LINES[:2])
        assert against(data, verdict(data), {"etcd-1": []}).state is State.INCOMPLETE

    def test_a_check_tells_no_host_of_itself_and_is_judged_by_its_file_alone(self) -> None:
        data = b"".join(chained([*ENTRIES[:-1], {**ENTRIES[-1], "outcome": "checked"}]))
        found = against(data, verdict(data), {"etcd-1": []})
        assert found.state is State.WHOLE and "a check or plan tells no host" in found.why
        torn = data[:-1]
        assert against(torn, verdict(torn), {"etcd-1": []}).state is not State.WHOLE

    def test_what_is_altered_by_its_own_word_stays_so(self) -> None:
        data = WHOLE.replace(b"run", b"RUN", 1)
        assert against(data, verdict(data), {"etcd-1": told(5)}).state is State.ALTERED


class TestAnchors:
    def test_every_host_is_told_as_root_and_need_not_understand(self) -> None:
        one, two = anchor.write(["etcd-1", "etcd-2"], "lab", Anchor("ab" * 8, 7, "c" * 64))
        text = f"journal {'ab' * 8} of lab: 7 records, {'c' * 64}"
        assert one.line() == f"{build.SHORT} logger -t requorum '{text}'"
        assert (one.host, two.host, one.accept, one.changes) == ("etcd-1", "etcd-2", None, False)

    def test_only_what_root_said_is_read_back(self) -> None:
        assert anchor.ask("etcd-1").line() == f"{build.SHORT} journalctl -t requorum _UID=0 --no-pager -o cat"

    def test_what_was_told_is_what_is_read(self) -> None:
        told_of = Anchor("ab" * 8, 7, "c" * 64)
        (command,) = anchor.write(["h"], "my-prod.1", told_of)
        assert anchor.parse(f"-- Boot 1 --\n{command.argv[-1]}\nelse\n") == [told_of]

    @given(st.text())
    def test_any_other_line_is_passed_over(self, text: str) -> None:
        assert anchor.parse(text) == []

    def test_an_interrupted_fleet_is_noted_and_no_more(self, tmp_path: Path) -> None:
        journal = Journal(tmp_path / "run")
        journal.record("run", cluster="lab")
        with Fleet(build.inventory(transport={"backend": "local"}), journal) as fleet:
            fleet.interrupt()
            leave_anchor(fleet, ["etcd-1"], "lab")
        assert audit.records(journal.path.read_bytes())[-1]["text"].startswith("not anchored in every syslog")


class TestTheCommand:
    @pytest.mark.parametrize(
        ("data", "code", "word"),
        [(WHOLE, 0, "whole: "), (WHOLE[:-400], 2, "incomplete: "), (WHOLE.replace(b"lab", b"LAB"), 1, "altered: ")],
    )
    def test_its_exit_code_and_its_one_line_say_the_same(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], data: bytes, code: int, word: str
    ) -> None:
        path = tmp_path / "journal.jsonl"
        path.write_bytes(data)
        assert __main__.journal(["verify", str(path)]) == code
        said = capsys.readouterr().out
        assert said.startswith(f"{path}: {word}") and said.count("\n") == 1 and "record" in said

    def test_what_a_journal_would_have_a_terminal_do_is_shown(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = tmp_path / "journal.jsonl"
        record = {"time": "x", "kind": f"{build.OBEYED}\nwhole: 2 records", "previous": "0" * 64}  # by another's hand
        body = json.dumps(record)[:-1].encode()
        path.write_bytes(b'%s, "seal": "%s"}\n' % (body, hashlib.sha256(body).hexdigest().encode()))
        __main__.journal(["verify", str(path)])
        assert __main__.journal(["verify", str(path), f"--hosts={build.OBEYED}"]) == 4
        said = capsys.readouterr()
        assert said.out.count("\n") == 1 and (said.out + said.err).replace("\n", "").isprintable()

    def test_a_missing_file_and_a_missing_inventory_are_no_verdict(self, tmp_path: Path) -> None:
        (tmp_path / "j").write_bytes(WHOLE)
        assert __main__.journal(["verify", str(tmp_path / "none")]) == 4
        assert __main__.journal(["verify", str(tmp_path / "j"), "--hosts=nowhere"]) == 4

    def test_a_wrong_word_is_no_verdict(self) -> None:
        with pytest.raises(SystemExit) as ended:
            __main__.journal(["verify"])
        assert ended.value.code == 4


@pytest.fixture
def hosts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An inventory whose hosts are this machine: an ssh that stays here, a sudo that changes nobody, a syslog file."""
    place = tmp_path / "bin"
    place.mkdir()
    for name, script in {
        "ssh": 'for line; do :; done; exec sh -c "$line"',
        "sudo": 'shift; exec "$@"',
        "logger": f'echo "$3" >> {tmp_path}/syslog',
        "journalctl": f"cat {tmp_path}/syslog",
    }.items():
        (place / name).write_text(f"#!/bin/sh\n{script}\n")
        (place / name).chmod(0o700)
    monkeypatch.setenv("PATH", f"{place}:{os.environ['PATH']}")
    path = tmp_path / "here.yaml"
    path.write_text(yaml.safe_dump(build.document()))
    return path


class TestFromTheHostsAndBack:
    def test_a_run_is_anchored_and_verified_until_it_is_rewritten(
        self, tmp_path: Path, hosts: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        journal = Journal(tmp_path / "run")
        journal.record("run", cluster="lab")
        with Fleet(inventories.load(hosts), journal) as fleet:
            leave_anchor(fleet, ["etcd-1", "etcd-2"], "lab")
            journal.record("note", text="what happened")
            leave_anchor(fleet, ["etcd-1", "etcd-2"], "lab")
        journal.record("end", outcome="recovered")
        verify = ["verify", str(journal.path), f"--hosts={hosts}"]
        assert __main__.journal(verify) == 0
        kept = [{k: v for k, v in r.items() if k not in ("previous", "seal")} for r in audit.records(read(journal))]
        forged = [{**entry, "text": "what should have"} if entry["kind"] == "note" else entry for entry in kept]
        journal.path.write_bytes(b"".join(chained(forged)))
        assert __main__.journal(verify[:2]) == 0, "by itself it is consistent"
        assert __main__.journal(verify) == 1
        assert "the chain was rewritten" in capsys.readouterr().out

    def test_a_host_without_logger_is_noted_and_nothing_stops(self, tmp_path: Path, hosts: Path) -> None:
        (tmp_path / "bin" / "logger").write_text("#!/bin/sh\necho no such thing >&2\nexit 127\n")
        journal = Journal(tmp_path / "run")
        journal.record("run", cluster="lab")
        with Fleet(inventories.load(hosts), journal) as fleet:
            leave_anchor(fleet, ["etcd-1"], "lab")
        assert audit.records(read(journal))[-1]["text"] == "not anchored in every syslog: etcd-1: no such thing"

    def test_hosts_that_cannot_tell_are_no_verdict(self, tmp_path: Path, hosts: Path) -> None:
        (tmp_path / "j").write_bytes(WHOLE)
        assert __main__.journal(["verify", str(tmp_path / "j"), f"--hosts={hosts}"]) == 4


class TestARun:
    def test_a_step_is_anchored_when_the_next_one_begins(self, tmp_path: Path, hosts: Path) -> None:
        journal = Journal(tmp_path / "run")
        inventory = inventories.load(hosts)
        with Fleet(inventory, journal) as fleet:
            run = Run(inventory, Options(), journal, fleet)
            counts = []
            for nodeid in ("m::TestStep0::test_a", "m::TestStep0::test_b", "m::TestStep1::test_c"):
                run.begin(nodeid)
                run.end(nodeid, "passed", 0.1, "")
                syslog = tmp_path / "syslog"
                counts.append(len(syslog.read_text().splitlines()) if syslog.exists() else 0)
        assert counts == [0, 0, 5]

    @pytest.mark.parametrize("interrupted", [False, True])
    def test_its_closing_record_is_the_last_and_hosts_know_it(
        self, tmp_path: Path, hosts: Path, interrupted: bool
    ) -> None:
        journal = Journal(tmp_path / "run")
        inventory = inventories.load(hosts)
        with Fleet(inventory, journal) as fleet:
            run = Run(inventory, Options(), journal, fleet)
            run.begin("m::TestStep0::test_a")
            run.end("m::TestStep0::test_a", "failed", 0.1, "no")
            if interrupted:
                fleet.interrupt()
        run.close("stopped", "m::TestStep0::test_a", "2026-01-01T00:00:00Z")
        assert run.unanchored == ""
        verify = ["verify", str(journal.path), f"--hosts={hosts}"]
        assert __main__.journal(verify) == 0
        written = audit.records(read(journal))
        assert written[-1]["kind"] == "end" and len(written) == journal.records
        forged = [{k: v for k, v in r.items() if k not in ("previous", "seal")} for r in written]
        journal.path.write_bytes(b"".join(chained([*forged[:-1], {**forged[-1], "outcome": "interrupted"}])))
        assert (__main__.journal(verify[:2]), __main__.journal(verify)) == (0, 1)

    def test_who_was_not_told_of_the_end_is_named_on_the_terminal(self, tmp_path: Path, hosts: Path) -> None:
        (tmp_path / "bin" / "logger").write_text("#!/bin/sh\necho no such thing >&2\nexit 127\n")
        inventory, journal = inventories.load(hosts), Journal(tmp_path / "run")
        with Fleet(inventory, journal) as fleet:
            run = Run(inventory, Options(), journal, fleet)
            run.begin("m::TestStep0::test_a")
            run.end("m::TestStep0::test_a", "failed", 0.1, "no")
        run.close("stopped", None, "2026-01-01T00:00:00Z")
        untold = "etcd-1, etcd-2, etcd-3, infra-1, query-1"
        assert run.unanchored == f"The end is not anchored in every syslog: {untold}: no such thing"
        assert audit.records(read(journal))[-1]["kind"] == "end"


def read(journal: Journal) -> bytes:
    return journal.path.read_bytes()
