"""The page of collected logs: one order of time, every bad sign counted, bounded however much there is."""

from __future__ import annotations

import html
import re
import stat
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from requorum.diagnosis.logs import collection, page
from requorum.diagnosis.logs.collection import UNIT_JOURNAL, WHOLE_JOURNAL
from requorum.refusal import Refusal
from tests.unit import build

ABOUT: dict[str, Any] = {
    "cluster": "lab",
    "taken": "now",
    "since": "2h",
    "files": [{"name": "etcd-1/x", "bytes": 3, "note": ""}],
    "silent": {},
    "clocks": {},
}


def stamped(second: float, text: str, host: str = "etcd-1", ident: str = "etcd[49]") -> str:
    return f"2026-01-01T00:{int(second // 60):02}:{second % 60:09.6f}+0000 {host} {ident}: {text}\n"


def written(place: Path, host: str, lines: list[str], name: str = UNIT_JOURNAL) -> None:
    (place / host).mkdir(parents=True, exist_ok=True)
    (place / host / name).write_text("".join(lines))


def text_of(page: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", page)).split())


def test_all_members_lines_stand_in_the_order_of_their_time(tmp_path: Path) -> None:
    written(tmp_path, "etcd-1", [stamped(1, "a"), stamped(3, "c"), "    of several lines\n", stamped(5, "e")])
    written(tmp_path, "etcd-2", [stamped(2, "b", "etcd-2"), stamped(4, "d", "etcd-2")])
    lines = page.read(tmp_path, ["etcd-1", "etcd-2", "etcd-3"]).lines()
    assert [line.text.split(": ")[-1].strip() for line in lines] == ["a", "b", "c", "of several lines", "d", "e"]


def test_each_sign_is_counted_by_host_with_its_first_and_last_line(tmp_path: Path) -> None:
    written(tmp_path, "etcd-1", [stamped(n, f"slow fdatasync {n}") for n in range(100)])
    written(tmp_path, "etcd-2", [stamped(1, "all is well", "etcd-2")])
    book = page.read(tmp_path, ["etcd-1", "etcd-2"])
    ((key, count),) = book.counts.items()
    assert key == ("slow disk", "etcd-1")
    assert (count.times, count.begin[14:19], count.end[14:19]) == (100, "00:00", "01:39")
    assert len(book.lines()) == 2 * page.EACH + 1


def test_what_is_kept_does_not_grow_with_what_there_is(tmp_path: Path) -> None:
    written(tmp_path, "etcd-1", [stamped(n / 100, f"line {n}") for n in range(5 * page.NEWEST)])
    book = page.read(tmp_path, ["etcd-1"])
    assert book.total == 5 * page.NEWEST
    assert len(book.lines()) == page.NEWEST
    assert book.lines()[-1].text.endswith(f"line {5 * page.NEWEST - 1}")
    assert f"{page.NEWEST:,} of {book.total:,} lines" in text_of(page.html(book, ABOUT))


def test_of_the_whole_journal_only_what_is_bad_and_not_of_etcd_or_of_us(tmp_path: Path) -> None:
    written(tmp_path, "etcd-1", [stamped(1, "own")])
    whole = [
        stamped(1, "own"),
        stamped(2, "no space left on device", ident="kernel"),
        stamped(3, "fine", ident="cron"),
        stamped(4, "COMMAND=grep permission denied", ident="sudo[7]"),
        stamped(5, "slow fdatasync"),
    ]
    written(tmp_path, "etcd-1", whole, WHOLE_JOURNAL)
    assert [line.text for line in page.read(tmp_path, ["etcd-1"]).lines()] == [
        "etcd[49]: own",
        "kernel: no space left on device",
    ]


def test_the_page_says_what_a_sign_means_and_what_is_wrong_with_the_collection(tmp_path: Path) -> None:
    written(tmp_path, "etcd-1", [stamped(1, "slow fdatasync")])
    about = {**ABOUT, "silent": {"etcd-9": "did not answer"}, "clocks": {"etcd-2": 90.0}}
    found = text_of(page.html(page.read(tmp_path, ["etcd-1"]), about))
    assert "It needs a disk of its own" in found
    assert "etcd-9 could not be asked: did not answer" in found
    assert "The clock of etcd-2 is about +90.0 s off" in found
    assert "Not found: raft term jumps, no leader," in found


def test_what_a_host_wrote_cannot_become_part_of_the_page(tmp_path: Path) -> None:
    evil = '<script>alert(1)</script>"><img src=x onerror=alert(1)> permission denied'
    written(tmp_path, "etcd-1", [stamped(1, evil)])
    text = page.html(page.read(tmp_path, ["etcd-1"]), {**ABOUT, "cluster": evil, "silent": {evil: evil}})
    assert "<script" not in text and "<img" not in text
    assert "https:" not in text and "http:" not in text, "it loads nothing"


def test_what_a_reader_would_obey_is_shown_on_the_page(tmp_path: Path) -> None:
    written(tmp_path, "etcd-1", [stamped(1, f"{build.OBEYED} permission denied")])
    text = page.html(page.read(tmp_path, ["etcd-1"]), {**ABOUT, "silent": {"etcd-9": build.OBEYED}})
    assert text.replace("\n", "").isprintable() and r"no\ryes" in text


def test_the_same_files_give_the_same_archive_for_its_owner_only(tmp_path: Path) -> None:
    written(tmp_path / "logs", "etcd-2", ["b\n"])
    written(tmp_path / "logs", "etcd-1", ["a\n"])
    sizes = [page.pack(tmp_path / "logs", tmp_path / name, "logs-lab") for name in ("1.tar.gz", "2.tar.gz")]
    assert (tmp_path / "1.tar.gz").read_bytes() == (tmp_path / "2.tar.gz").read_bytes()
    assert sizes[0] == (tmp_path / "1.tar.gz").stat().st_size
    assert stat.S_IMODE((tmp_path / "1.tar.gz").stat().st_mode) == 0o600
    with tarfile.open(tmp_path / "1.tar.gz") as tar:
        assert tar.getnames() == [f"logs-lab/etcd-{n}/{UNIT_JOURNAL}" for n in (1, 2)]
        assert {(m.mode, m.uid, m.mtime) for m in tar} == {(0o600, 0, 0)}


class TestWhatIsAskedFor:
    @pytest.mark.parametrize(
        ("text", "argument"),
        [
            ("2h", "-2h"),
            ("90m", "-90m"),
            ("3d", "-3d"),
            ("2026-01-31T03:00:00Z", "@1769828400"),
            ("2026-01-31T03:00:00", "@1769828400"),
            ("2026-01-31T04:00:00+01:00", "@1769828400"),
        ],
    )
    def test_a_time_is_one_moment_in_every_time_zone(self, text: str, argument: str) -> None:
        assert collection.since(text) == argument

    @pytest.mark.parametrize("text", ["", "yesterday", "2", "0h", "-2h", "2h; reboot", "2026-13-01"])
    def test_what_is_no_time_is_refused(self, text: str) -> None:
        with pytest.raises(Refusal, match=r"90m, 2h, 3d"):
            collection.since(text)

    def test_nothing_is_changed_and_no_password_or_key_is_read(self, tmp_path: Path) -> None:
        terms = build.terms()
        asked = collection.items(terms, terms.everyone, "-2h", tmp_path)
        assert not any(item.command.changes for item in asked)
        lines = " ".join(item.command.line() for item in asked)
        assert "password" not in lines and ".key" not in lines and "/client" not in lines
        assert len({item.target for item in asked}) == len(asked)

    def test_both_journals_of_every_member_and_etcds_word_from_the_configuration_server(self, tmp_path: Path) -> None:
        terms = build.terms()
        names = {
            item.target.removeprefix(f"{tmp_path}/")
            for item in collection.items(terms, terms.everyone, "-2h", tmp_path)
        }
        for host in terms.member_hosts:
            assert {f"{host}/{UNIT_JOURNAL}", f"{host}/{WHOLE_JOURNAL}", f"{host}/config.yaml"} <= names
        assert {"infra-1/etcd-status.json", "query-1/monit.txt", "query-1/journal.log"} <= names
        assert "query-1/config.yaml" not in names

    def test_of_a_journal_that_is_too_long_the_newest_lines_are_taken(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """journalctl's own -n gives the oldest where --since is given, in systemd 252."""
        (tmp_path / "journalctl").write_text("#!/bin/sh\nseq 1 100\n")
        (tmp_path / "journalctl").chmod(0o755)
        monkeypatch.setattr(collection, "MOST_LINES", 3)
        terms = build.terms()
        (journal,) = (
            item.command
            for item in collection.items(terms, ["query-1"], "-2h", tmp_path)
            if item.target.endswith(WHOLE_JOURNAL)
        )
        path = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
        said = subprocess.run(journal.argv, env=path, capture_output=True, text=True, check=True).stdout
        assert said.split() == ["98", "99", "100"]
