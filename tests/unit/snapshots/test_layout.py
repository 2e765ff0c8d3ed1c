"""What lies in a data directory, and whether it is as etcd lays it out by itself."""

from __future__ import annotations

from typing import Any

import pytest

from requorum.command import Command, Result
from requorum.snapshots import layout
from requorum.snapshots.layout import Layout
from tests.unit import build
from tests.unit.run.test_dryrun import WHOLE, listing

DATA = "/var/lib/etcd/dh/old"
GONE = f"find: '{DATA}/.': No such file or directory\nfind: '{DATA}': No such file or directory\n"


def answer(out: str, code: int = 0, said: str = "") -> Result:
    return Result(Command("etcd-1", ("find",), ""), code, out, said, 0.0)


def of(*entries: str) -> Layout:
    return layout.ask_layout("etcd-1", DATA).understand([answer(listing(DATA, *entries))])


def test_a_whole_members_data_is_what_etcd_lays_out() -> None:
    found = of(*WHOLE)
    assert found.files == ["member/snap/db", "member/wal/0.wal"]
    assert layout.problem(build.config(), found) == ""


@pytest.mark.parametrize("there", [of(), of("d member", "d member/snap"), of("d lost+found"), Layout(None)])
def test_a_tree_without_files_holds_nothing_and_is_no_problem(there: Layout) -> None:
    assert there.files == []
    assert layout.problem(build.config(), there) == ""


def test_a_directory_that_is_gone_is_told_by_the_systems_own_words() -> None:
    assert layout.ask_layout("etcd-1", DATA).understand([answer("", 1, GONE)]) == Layout(None)


@pytest.mark.parametrize(
    ("result", "why"),
    [
        (answer("", 1, "find: '/x': Input/output error"), "cannot be looked at: find: '/x': Input/output error"),
        (answer("", 1, "sudo: a password is required"), "a password is required"),
        (answer("", 124), "cannot be looked at"),
        (answer("", 1), "cannot be looked at"),
        (answer(""), "cannot be looked at"),
        (answer(listing(DATA, *WHOLE), 1, f"{GONE}find: '/x': Input/output error"), "Input/output error"),
        (answer(f"l 0 0 777 1 {DATA}\0", 1, GONE.splitlines()[0]), "is no directory and leads to none"),
        (answer(f"f 0 0 600 1 {DATA}\0", 1, f"find: '{DATA}/.': Not a directory"), "is no directory"),
    ],
)
def test_whatever_else_is_said_proves_nothing(result: Result, why: str) -> None:
    found = layout.ask_layout("etcd-1", DATA).understand([result])
    assert why in found.problem
    assert layout.problem(build.config(), found) == found.problem


def test_a_data_directory_that_depends_on_where_etcd_was_started_is_not_understood() -> None:
    assert "no absolute path" in layout.problem(build.config(data_dir="etcd-1.etcd"), of())


def test_what_was_not_looked_into_is_no_empty_tree() -> None:
    """As data is moved aside: data_root/backup/old/member/snap/db."""
    assert of("d old", "d old/member", "d old/member/snap").files == ["old/member/snap"]
    assert layout.ask_layout("etcd-1", DATA, 1).understand([answer(listing(DATA, "d old"))]).files == ["old"]


def test_what_sudo_says_besides_is_not_finds_word() -> None:
    assert layout.ask_layout("etcd-1", DATA).understand(
        [answer("", 1, f"sudo: unable to resolve host etcd-1\n{GONE}")]
    ) == Layout(None)


def test_what_a_running_etcd_takes_away_meanwhile_is_no_problem() -> None:
    said = f"find: '{DATA}/./member/wal/1.tmp': No such file or directory"
    assert layout.ask_layout("etcd-1", DATA).understand([answer(listing(DATA, *WHOLE), 1, said)]) == of(*WHOLE)


@pytest.mark.parametrize(
    ("entries", "why"),
    [
        (("l member",), "member is a link, not a directory"),
        (("d member", "l member/snap", "d member/wal", "f member/wal/0.wal"), "member/snap is a link"),
        (("d member", "d member/snap", "f member/snap/db", "l member/wal"), "member/wal is a link"),
        (("d member", "d member/snap", "l member/snap/db", "f member/wal/0.wal"), "member/snap/db is a link"),
        (("d member", "d member/snap", "f member/snap/db", "l member/wal/0.wal"), "0.wal is a link, not a file"),
        (("d member", "d member/snap", "f member/snap/db", "d member/wal"), "a database, but no log"),
        (("d member", "d member/wal", "f member/wal/0.wal"), "a log, but no database"),
        (("d member.old", "f member.old/notes"), "member.old/notes, but neither database nor log"),
        (("p member",), "of the kind “p”"),
    ],
)
def test_what_etcd_would_not_have_laid_out_so_is_named(entries: tuple[str, ...], why: str) -> None:
    assert why in layout.problem(build.config(), of(*entries))


@pytest.mark.parametrize(
    ("config", "odd"),
    [
        ({"wal_dir": "/fast/wal"}, True),
        ({"wal_dir": f"{DATA}/wal"}, True),
        ({"wal_dir": f"{DATA}/member/wal"}, False),
        ({"wal_dir": f"{DATA}/member/wal/"}, False),
    ],
)
def test_a_log_that_is_kept_apart_is_no_empty_disk(config: dict[str, Any], odd: bool) -> None:
    found = layout.problem(build.config(**config), of() if odd else of(*WHOLE))
    assert ("(wal-dir)" in found) == odd
