"""Evidence: every record names the one before it, nothing secret gets in, nothing is ever half written."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from requorum.command import Command, Result
from requorum.evidence.journal import EvidenceError, Journal
from requorum.evidence.redaction import LINE, redact, redacted_lines

# Each is repeated behind nothing, and behind each word without which an expression is not tried.
_WORST = r"""
import resource
resource.setrlimit(resource.RLIMIT_CPU, (10, 10))  # of its own work, however busy the machine is
from requorum.evidence.redaction import _SECRETS
units = ["a", " ", "=", ":", "@", "a://", "a://b:", "eyJ-", "-eyJaaaaaaaa", "--user=", "_user=a", " -u", "password",
         "password=", 'password="', "password='", "token", "token=", 'token="', "bearer ", "authorization", "basic ",
         "pwd=", "\\", '"', "'", '\\"', "/password:", "-----BEGIN ", "-----BEGIN PRIVATE KEY-----", "-----END ",
         "PRIVATE KEY", "$2a$10$", "A", "."]
for words, pattern, replacement in _SECRETS:
    for unit in units:
        for before in ("", *words):
            pattern.sub(replacement, before + unit * (100_000 // len(unit)))
"""
# ESC sequences that clear, rename and answer; return, backspace, C1's CSI, delete, bidi, zero width, line ends.
OBEYED = [
    ("\x1b[2J\x1b]0;x\x07", r"\x1b[2J\x1b]0;x\x07"),
    ("no\ryes", r"no\ryes"),
    ("no\b\byes", r"no\x08\x08yes"),
    ("\x9b6n", r"\x9b6n"),
    ("\x7f", r"\x7f"),
    ("\u202eon\u2066", r"\u202eon\u2066"),
    ("\u200b", r"\u200b"),
    ("\x85\u2028", r"\x85\u2028"),
    ("\x00", r"\x00"),
    ("\U000e0041", r"\U000e0041"),
    ("\u3164\u115f\u2800\u180e\u034f\ufe0f", r"\u3164\u115f\u2800\u180e\u034f\ufe0f"),
    ("\U000e0100", r"\U000e0100"),
]
KEY = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEE\n-----END EC PRIVATE KEY-----"


def records(journal: Journal) -> list[dict[str, Any]]:
    return [json.loads(line) for line in journal.path.read_text().splitlines()]


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "run")


class TestTheChain:
    def test_the_first_record_names_nothing_before_it(self, journal: Journal) -> None:
        journal.record("run")
        assert records(journal)[0]["previous"] == "0" * 64

    def test_each_record_names_the_line_before_it(self, journal: Journal) -> None:
        for number in range(4):
            journal.record("note", text=f"line {number}")
        lines = journal.path.read_bytes().splitlines(keepends=True)
        named = [json.loads(line)["previous"] for line in lines]
        assert named[1:] == [hashlib.sha256(line).hexdigest() for line in lines[:-1]]

    def test_the_head_is_the_newest_line(self, journal: Journal) -> None:
        journal.record("note", text="ü")
        assert journal.head == hashlib.sha256(journal.path.read_bytes()).hexdigest()

    def test_many_threads_write_one_chain(self, journal: Journal) -> None:
        def write() -> None:
            for _ in range(10):
                journal.record("x")

        threads = [threading.Thread(target=write) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        lines = journal.path.read_bytes().splitlines(keepends=True)
        assert [json.loads(line)["previous"] for line in lines[1:]] == [
            hashlib.sha256(line).hexdigest() for line in lines[:-1]
        ]


class TestTheDisk:
    @pytest.fixture
    def flushed(self, journal: Journal, monkeypatch: pytest.MonkeyPatch) -> list[int]:
        """How many records there were at each flush."""
        found: list[int] = []
        monkeypatch.setattr(os, "fdatasync", lambda file: found.append(len(records(journal))))
        return found

    def test_all_commands_of_a_trip_are_flushed_at_once_and_before_anything_else_is_done(
        self, journal: Journal, flushed: list[int]
    ) -> None:
        for _ in range(5):
            journal.command(Result(Command("h", ("a",), "w"), 0, "", "", 0))
        assert flushed == []
        journal.prove_kept()
        assert flushed == [5]
        journal.prove_kept()
        assert flushed == [5], "nothing is left to be flushed"

    def test_any_other_record_is_flushed_with_all_before_it(self, journal: Journal, flushed: list[int]) -> None:
        journal.command(Result(Command("h", ("a",), "w"), 0, "", "", 0))
        journal.record("note", text="x")
        assert flushed == [2]

    def test_what_hosts_are_told_of_and_what_is_closed_is_on_the_disk(
        self, journal: Journal, flushed: list[int]
    ) -> None:
        journal.command(Result(Command("h", ("a",), "w"), 0, "", "", 0))
        assert (journal.anchor()[1], flushed) == (1, [1])
        journal.command(Result(Command("h", ("a",), "w"), 0, "", "", 0))
        journal.close()
        assert flushed == [1, 2]

    def test_a_disk_that_does_not_take_it_is_told_and_no_record_follows(
        self, journal: Journal, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def broken(file: int) -> None:
            raise OSError(errno.EIO, "")

        monkeypatch.setattr(os, "fdatasync", broken)
        journal.command(Result(Command("h", ("a",), "w"), 0, "", "", 0))
        for _ in range(2):
            with pytest.raises(EvidenceError, match="Input/output error"):
                journal.record("note", text="x")
        assert len(records(journal)) == 2, "the second try added nothing"
        assert journal.anchor()[1:] == (0, "0" * 64), "no host is told of what the disk did not take"

    def test_what_another_thread_appends_while_an_anchor_is_made_is_not_in_it(
        self, journal: Journal, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Broken once: a syslog was told of a record that was not on the disk."""
        command = Result(Command("h", ("a",), "w"), 0, "", "", 0)
        journal.command(command)
        first = journal.head
        monkeypatch.setattr(os, "fdatasync", lambda file: journal.command(command))
        assert journal.anchor()[1:] == (1, first)


class TestWhatIsRecorded:
    def test_a_command_is_recorded_as_it_ran_with_its_exit_code(self, journal: Journal) -> None:
        journal.command(Result(Command("etcd-1", ("true",), "why"), 0, "", "", 0.1234))
        (record,) = records(journal)
        assert (record["host"], record["argv"], record["exit_code"], record["seconds"]) == (
            "etcd-1",
            "sudo -n timeout -k 5 60 true",
            0,
            0.123,
        )

    def test_only_a_failure_carries_what_was_said(self, journal: Journal) -> None:
        journal.command(Result(Command("h", ("a",), "w"), 1, "", "no such thing\n", 0))
        journal.command(Result(Command("h", ("a",), "w"), 0, "fine", "", 0))
        assert [record.get("said") for record in records(journal)] == ["no such thing", None]

    def test_standard_input_is_never_recorded(self, journal: Journal) -> None:
        journal.command(Result(Command("h", ("a",), "w", stdin=b"hunter2"), 1, "", "", 0))
        assert "hunter2" not in journal.path.read_text()

    def test_a_secret_commands_words_are_never_recorded(self, journal: Journal) -> None:
        journal.command(Result(Command("h", ("a",), "w", secret=True), 1, "hunter2", "hunter2", 0))
        assert "hunter2" not in journal.path.read_text()

    @pytest.mark.parametrize(("found", "holds", "word"), [(None, True, "as expected"), ("two", False, "two")])
    def test_an_assertion_says_what_was_expected_and_found(
        self, journal: Journal, found: str | None, holds: bool, word: str
    ) -> None:
        journal.assertion("etcd-1", "one leader", found)
        (record,) = records(journal)
        assert (record["expected"], record["holds"], record["found"]) == ("one leader", holds, word)

    def test_commands_and_assertions_are_counted(self, journal: Journal) -> None:
        journal.command(Result(Command("h", ("a",), "w"), 0, "", "", 0))
        journal.assertion("h", "x", None)
        journal.assertion("h", "x", "y")
        assert (journal.commands, journal.assertions) == (1, 2)


class TestItsFiles:
    def test_only_its_owner_reads_it(self, journal: Journal) -> None:
        modes = [path.stat().st_mode & 0o777 for path in (journal.directory, journal.path)]
        assert modes == [0o700, 0o600]

    def test_a_second_run_in_the_same_second_gets_a_place_of_its_own(self, tmp_path: Path) -> None:
        paths = {Journal.create(tmp_path, "2026-01-01T000000Z").path for _ in range(3)}
        assert len(paths) == 3

    def test_a_summary_leaves_no_half_of_itself(self, journal: Journal) -> None:
        path = journal.summary({"schema": 1, "gone": []})
        assert json.loads(path.read_text()) == {"schema": 1, "gone": []}
        assert {p.name for p in journal.directory.iterdir()} == {"summary.json", "journal.jsonl"}


class TestRedacting:
    @pytest.mark.parametrize(
        ("text", "shown"),
        [
            ("https://root:hunter2@10.0.0.11:2379", "https://root:•••@10.0.0.11:2379"),
            ("password=hunter2 next", "password=••• next"),
            ("Password: hunter2", "Password: •••"),
            ("the secret = hunter2.", "the secret = •••"),
            (f"before {KEY} after", "before ••• after"),
            ("ETCDCTL_PASSWORD=abc etcdctl get x", "ETCDCTL_PASSWORD=••• etcdctl get x"),
            ("ETCDCTL_USER=root:pw etcdctl", "ETCDCTL_USER=root:••• etcdctl"),
            ("etcdctl --user root:pw get x", "etcdctl --user root:••• get x"),
            ("etcdctl --user=root:p:w get x", "etcdctl --user=root:••• get x"),
            ("--user=root --password=abc", "--user=root --password=•••"),
            ('{"user": "root", "password": "x", "n": 1}', '{"user": "root", "password": •••, "n": 1}'),
            ("{'password': 'x'}", "{'password': •••}"),
            ("client_secret: abc", "client_secret: •••"),
            ("with password hunter2", "with password •••"),
            ('"msg":"invalid auth token","token":"mHnguhRCWynwazio.4149"}', '"msg":"invalid auth token","token":•••}'),
            ("Authorization: Bearer abc.def", "Authorization: Bearer •••"),
            ("sent eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJyb290In0.sflKxw_-1", "sent •••"),
            ("/etc/client/root/password:hunter2 and more", "/etc/client/root/password:•••"),
            (
                '{"said": "{\\"password\\": \\"hunter2 and more\\", \\"n\\": 1}"}',
                '{"said": "{\\"password\\": •••, \\"n\\": 1}"}',
            ),
            (r"{\\\"password\\\":\\\"hunter\\\\\\\"2 and\\\"}", r"{\\\"password\\\":•••}"),
            ("pwd=hunter2 next", "pwd=••• next"),
            ('password: "hunter2 cut off', "password: •••"),
            ("\x1b[1mpassword\x1b[0m: \x1b[31mhunter2", r"\x1b[1mpassword\x1b[0m: \x1b[31m•••"),
            ("https://a:b://c:d@e https://x:y@z/", "https://a:•••@e https://x:•••@z/"),
            ("hash $2a$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy", "hash •••"),
        ],
    )
    def test_what_looks_like_a_secret_is_replaced(self, text: str, shown: str) -> None:
        assert redact(text) == shown

    @pytest.mark.parametrize(
        "text",
        [
            "https://10.0.0.11:2379",
            "the old password of root stays valid",
            "ssh ops@etcd-1",
            "3 tokens",
            "initial-cluster-token: lab-1",
            "auth-token: simple",
            "the bearer of bad news",
            "ops ALL=(root) NOPASSWD: /usr/bin/timeout",
            "journalctl -u dh-etcd.service -n 3",
            "cat: /etc/client/root/password: No such file or directory",
            "ops : PWD=/home/ops ; USER=root ; COMMAND=/usr/bin/timeout",
            "https://etcd-1:2379/health, ops@etcd-1",
        ],
    )
    def test_what_is_none_stays_readable(self, text: str) -> None:
        assert redact(text) == text

    def test_of_a_key_over_several_lines_of_a_stream_nothing_is_left(self) -> None:
        stream = ["one\n", *(f"12:00 host: {line}\n" for line in KEY.splitlines()), "two\n"]
        assert list(redacted_lines(stream)) == ["one\n", "12:00 host: •••\n", "two\n"]

    def test_a_key_without_an_end_does_not_swallow_the_rest_of_a_stream(self) -> None:
        stream = [f"{KEY.splitlines()[0]}\n", *(f"line {n}\n" for n in range(1000))]
        left = list(redacted_lines(stream))
        assert len(left) == 801 and left[-1] == "line 999\n"

    def test_a_private_key_on_several_lines_never_reaches_the_file(self, journal: Journal) -> None:
        journal.record("note", text=KEY)
        assert "MHcCAQEE" not in journal.path.read_text()

    @pytest.mark.parametrize("text", ["password: hunter2", "etcd --initial-cluster-token=lab-1", "secret=a\\"])
    def test_a_redacted_record_is_still_json(self, journal: Journal, text: str) -> None:
        journal.record("note", text=text, more="kept")
        assert records(journal)[0]["more"] == "kept"

    def test_the_longest_line_that_is_kept_has_16_kibibytes(self) -> None:
        short, *lines = redact(f"short\n{'x' * LINE}\n{'x' * (LINE + 1)}\nlast\n").split("\n")
        assert (short, lines[0], lines[2:]) == ("short", "x" * LINE, ["last", ""])
        assert len(lines[1]) < LINE and lines[1].endswith("x… (the rest is left out)")

    def test_no_expression_takes_more_than_its_share_of_time_on_any_text(self) -> None:
        """A search that begins again in what another has passed over takes minutes here; the worst once took 10 s for a
        quarter of it, and held up Ctrl-C."""
        subprocess.run([sys.executable, "-c", _WORST], check=True, cwd=Path(__file__).parents[3])

    @pytest.mark.parametrize(("text", "shown"), OBEYED)
    def test_what_a_terminal_would_obey_is_shown(self, journal: Journal, text: str, shown: str) -> None:
        assert redact(f"a\tb\n{text}ü") == f"a\tb\n{shown}ü"
        journal.record("note", text=text, by={text: 1})
        journal.summary({"why": text})
        assert records(journal)[0]["text"] == shown and records(journal)[0]["by"] == {shown: 1}
        for file in journal.directory.iterdir():
            assert file.read_text().replace("\n", "").isprintable()

    @given(st.text(st.sampled_from("\x1b\x85\u2028\\password=:'\" /@-u.eyJ[0m")))
    def test_redacting_twice_changes_nothing_more_whatever_stands_in_between(self, text: str) -> None:
        assert redact(redact(text)) == redact(text)

    @given(st.text())
    def test_redacting_twice_changes_nothing_more(self, text: str) -> None:
        assert redact(redact(text)) == redact(text)
