"""What lies in a data directory and behind links and `wal-dir`, and whether etcd would read just that."""

from __future__ import annotations

from typing import Any

import pytest

from requorum.command import Command, Result
from requorum.snapshots import disks, layout
from requorum.snapshots.layout import Data, Layout
from requorum.troubleshoot import sudoers
from tests.unit import build
from tests.unit.run.test_dryrun import WHOLE, listing, parts

DATA = "/var/lib/etcd/dh/old"
WAL = "/fast/wal"
KEPT_APART = ("d member", "d member/snap", "f member/snap/db", f"d {WAL}", f"f {WAL}/0.wal")
GONE = f"find: '{DATA}/.': No such file or directory\nfind: '{DATA}': No such file or directory\n"


def answer(out: str, code: int = 0, said: str = "") -> Result:
    return Result(Command("etcd-1", ("find",), ""), code, out, said, 0.0)


def of(*entries: str) -> Layout:
    return layout.ask_layout("etcd-1", DATA).understand([answer(listing(DATA, *entries))])


def data(*entries: str, **config: Any) -> Data:
    question = layout.ask_data("etcd-1", build.config(**config))
    return question.understand([answer(listing(DATA, *entries)), answer(parts(DATA, *entries))])


def whole(*links: str, wal: str = f"{DATA}/member/wal") -> Data:
    return Data(f"{DATA}/member/snap", wal, ("db",), ("0.wal",), tuple(f"{DATA}/{link}" for link in links))


def test_a_whole_members_data_is_what_etcd_lays_out() -> None:
    assert of(*WHOLE).files == ["member/snap/db", "member/wal/0.wal"]
    assert data(*WHOLE) == whole()


def test_what_is_copied_is_database_snapshots_and_log_and_nothing_beside_them() -> None:
    beside = ("f member/snap/1.snap", "f member/snap/1.snap.db", "f member/snap/1.snap.broken", "f member/wal/1.tmp")
    found = data(*WHOLE, *beside, "f member/wal/1.wal", "f notes")
    assert (found.snaps, found.logs) == (("1.snap", "1.snap.db", "db"), ("0.wal", "1.wal"))
    assert found.problem == ""


@pytest.mark.parametrize(
    "there",
    [
        (),
        ("d member", "d member/snap"),
        ("d lost+found",),
        ("d member", "d member/wal", "d member/wal/lost+found"),
        ("l member", "d member/."),
        ("d member", "l member/snap", "d member/snap/.", "l member/wal", "d member/wal/."),
    ],
)
def test_a_tree_without_files_holds_nothing_and_is_no_problem(there: tuple[str, ...]) -> None:
    found = data(*there)
    assert (found.snaps, found.logs, found.problem) == ((), (), "")


def test_a_data_directory_that_is_gone_holds_nothing() -> None:
    question = layout.ask_data("etcd-1", build.config())
    assert question.understand([answer("", 1, GONE), answer("", 1, GONE)]).problem == ""


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
    assert layout.ask_data("etcd-1", build.config()).understand([result, answer("")]).problem == found.problem


def test_what_cannot_be_looked_at_behind_a_link_proves_nothing() -> None:
    question = layout.ask_data("etcd-1", build.config())
    led = answer("", 1, "find: '/x': Input/output error")
    assert "Input/output error" in question.understand([answer(listing(DATA)), led]).problem


@pytest.mark.parametrize("config", [{"data_dir": "etcd-1.etcd"}, {"wal_dir": "wal"}])
def test_a_directory_that_depends_on_where_etcd_was_started_is_not_understood(config: dict[str, str]) -> None:
    assert "no absolute path" in data(**config).problem


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
    ("entries", "links"),
    [
        (("l member", "d member/snap", "f member/snap/db", "d member/wal", "f member/wal/0.wal"), ("member",)),
        (("d member", "l member/snap", "f member/snap/db", "d member/wal", "f member/wal/0.wal"), ("member/snap",)),
        (("d member", "d member/snap", "f member/snap/db", "l member/wal", "f member/wal/0.wal"), ("member/wal",)),
        (
            ("l member", "l member/snap", "f member/snap/db", "l member/wal", "f member/wal/0.wal"),
            ("member", "member/snap", "member/wal"),
        ),
    ],
)
def test_links_to_directories_are_followed_and_named(entries: tuple[str, ...], links: tuple[str, ...]) -> None:
    assert data(*entries) == whole(*links)


@pytest.mark.parametrize(
    ("entries", "why"),
    [
        (("l member",), "member is a link that leads to no directory"),
        (("d member", "l member/snap", "d member/wal", "f member/wal/0.wal"), "member/snap is a link that leads to no"),
        (("d member", "d member/snap", "f member/snap/db", "l member/wal"), "member/wal is a link that leads to no"),
        (("d member", "d member/snap", "l member/snap/db", "f member/wal/0.wal"), "member/snap/db is a link"),
        (("d member", "l member/snap", "l member/snap/db", "f member/wal/0.wal"), "member/snap/db is a link"),
        (("d member", "d member/snap", "f member/snap/db", "l member/wal/0.wal"), "0.wal is a link, not a file"),
        ((*WHOLE, "l member/snap/1.snap"), "1.snap is a link, not a file"),
        ((*WHOLE, "l notes"), "notes is a link"),
        ((*WHOLE, "c member/wal/1.wal"), "1.wal is of the kind “c”, not a file"),
        ((*WHOLE, "d member/wal/1.wal"), "1.wal is a directory, not a file"),
        ((*WHOLE, "f member/wal/\x1b.wal"), "cannot be shown"),
        (("d member", "d member/snap", "f member/snap/db", "d member/wal"), "a database, but no log"),
        (("d member", "d member/wal", "f member/wal/0.wal"), "a log, but no database"),
        (("d member.old", "f member.old/notes"), "member.old/notes, but neither database nor log"),
        (("l member", "d member/.", "d member/old"), "member/old, but neither database nor log"),
        (("d member", "d member/wal", "d member/wal/old"), "member/wal/old, but neither database nor log"),
        (("p member",), "of the kind “p”"),
        (("l member", "d member/wal", "f member/wal/\x1b.wal"), "a name cannot be shown"),
    ],
)
def test_what_etcd_would_not_have_laid_out_so_is_named(entries: tuple[str, ...], why: str) -> None:
    assert why in data(*entries).problem


@pytest.mark.parametrize("kept", [WAL, f"{WAL}/", f"{DATA}/wal"])
def test_a_log_that_is_kept_apart_is_the_members_log(kept: str) -> None:
    entries = [entry.replace(WAL, kept.rstrip("/")) for entry in KEPT_APART]
    assert data(*entries, wal_dir=kept) == whole(wal=kept.rstrip("/"))
    assert data(*WHOLE, wal_dir=f"{DATA}/member/wal") == whole()


@pytest.mark.parametrize("there", [(), (f"d {WAL}",), (f"d {WAL}", f"f {WAL}/1.tmp"), (f"l {WAL}", f"d {WAL}/.")])
def test_a_member_without_database_and_log_in_both_places_holds_nothing(there: tuple[str, ...]) -> None:
    found = data(*there, wal_dir=WAL)
    assert (found.snaps, found.logs, found.problem) == ((), (), "")
    assert found.links == ((WAL,) if there and there[0].startswith("l") else ())


@pytest.mark.parametrize(
    ("entries", "why"),
    [
        (KEPT_APART[:3], f"a database, but no log is in {WAL} (wal-dir)"),
        (KEPT_APART[3:], f"{WAL} holds a log, but no database"),
        ((f"l {WAL}",), f"{WAL} is a link that leads to no directory"),
        ((*KEPT_APART[:4], f"l {WAL}/0.wal"), "0.wal is a link, not a file"),
        ((*KEPT_APART, "d member/wal", "f member/wal/0.wal"), f"holds a log, but its configuration keeps it in {WAL}"),
        (("d member", "d member/wal", "f member/wal/0.wal"), f"holds a log, but its configuration keeps it in {WAL}"),
    ],
)
def test_a_log_that_is_not_where_the_configuration_keeps_it_is_named(entries: tuple[str, ...], why: str) -> None:
    assert why in data(*entries, wal_dir=WAL).problem


def test_a_log_is_looked_for_where_etcd_would() -> None:
    for config, there in ((build.config(), False), (build.config(wal_dir=WAL), True)):
        assert layout.ask_log("etcd-1", config).understand([answer(parts(DATA, *KEPT_APART))]) is there


def test_the_questions_are_lines_of_the_sudo_rules() -> None:
    config = build.config(wal_dir=WAL)
    commands = disks.ask_disk(build.inventory().members[0], config, installed=True).commands
    assert sudoers.unlisted(build.inventory(), [command.line() for command in commands]) == []
