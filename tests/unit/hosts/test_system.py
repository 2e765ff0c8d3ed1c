"""What any Linux says of its files, addresses and room: read once, and held against what was asked."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from requorum.command import Result
from requorum.hosts import system
from requorum.hosts.question import Question
from requorum.hosts.system import Connection, Free, Reach
from requorum.refusal import Refusal
from tests.unit import build
from tests.unit.build import refused_by, understood

T = TypeVar("T")

PATHS = ("/etc/a", "/etc/b", "/usr/lib/x.service", "/lib/x.service", "/var/lib/my etcd/member")


def exist(said: str) -> tuple[str, ...]:
    return understood(system.ask_files("h", *PATHS), said)


class TestFiles:
    def test_each_path_that_exists_in_the_order_of_the_question(self) -> None:
        assert exist("2049:7 /etc/b\n2049:3 /etc/a\n") == ("/etc/b", "/etc/a")

    def test_of_two_names_of_one_file_the_first_counts(self) -> None:
        assert exist("8:9 /usr/lib/x.service\n8:9 /lib/x.service\n") == ("/usr/lib/x.service",)

    def test_the_same_number_on_another_disk_is_another_file(self) -> None:
        assert exist("8:9 /usr/lib/x.service\n9:9 /lib/x.service\n") == (
            "/usr/lib/x.service",
            "/lib/x.service",
        )

    def test_a_path_may_hold_blanks(self) -> None:
        assert exist("8:9 /var/lib/my etcd/member\n") == ("/var/lib/my etcd/member",)

    def test_nothing_is_there(self) -> None:
        assert exist("") == ()

    def test_what_the_parser_reads_is_what_the_question_asks_for(self, tmp_path: Path) -> None:
        """The real `find`: a link is not followed, and two names of one file are one."""
        file, link, twin = tmp_path / "a file", tmp_path / "link", tmp_path / "twin"
        file.touch()
        link.symlink_to(file)
        twin.hardlink_to(file)
        question = system.ask_files("h", *map(str, (link, file, tmp_path / "absent", twin)))
        said = subprocess.run(question.commands[0].argv, capture_output=True, text=True, check=False).stdout
        assert understood(question, said) == (str(link), str(file))


class TestReadingAddresses:
    TEXT = (
        "1: lo    inet 127.0.0.1/8 scope host lo\\       valid_lft forever preferred_lft forever\n"
        "1: lo    inet6 ::1/128 scope host \\       valid_lft forever preferred_lft forever\n"
        "4: eth0    inet 10.0.0.11/24 brd 10.0.0.255 scope global eth0\\       valid_lft forever\n"
        "4: eth0    inet6 fd00::2/64 scope global nodad \\       valid_lft forever\n"
    )

    def test_both_families_are_read_without_their_prefix_lengths(self) -> None:
        assert understood(system.ask_addresses("h"), self.TEXT) == ("127.0.0.1", "::1", "10.0.0.11", "fd00::2")

    @pytest.mark.parametrize(
        ("code", "said", "reach"),
        [
            (0, "", "connected"),
            (1, "bash: connect: Connection refused", "refused"),
            (1, "bash: connect: No route to host", "silent"),
            (124, "", "silent"),
        ],
    )
    def test_a_refused_connection_proves_that_somebody_is_there(self, code: int, said: str, reach: Reach) -> None:
        assert understood(system.ask_reach("h", "10.0.0.12", 2380), "", code=code, stderr=said) == reach


def test_a_sudo_that_refuses_says_how() -> None:
    assert understood(system.ask_root("h"), "") is None
    said = understood(system.ask_root("h"), "", code=1, stderr="sudo: a password is required")
    assert said == "sudo refused: sudo: a password is required"


class TestRoom:
    HEAD = "Filesystem 1-blocks Used Available Capacity Mounted on\n"

    def test_the_deepest_place_that_exists_counts(self) -> None:
        said = f"{self.HEAD}/dev/a 9 1 8 1% /\n/dev/a 9 1 8 1% /\n/dev/b 7 1 6 1% /var/lib\n"
        gone = "df: /var/lib/etcd: No such file or directory\n"
        question = system.ask_free("h", *system.with_parents("/var/lib/etcd"))
        assert understood(question, said, code=1, stderr=gone) == Free(6, "/var/lib", "/dev/b")

    @pytest.mark.parametrize("quotes", ["", "''", "‘’"])
    def test_a_path_that_is_not_there_loses_no_others_answer(self, quotes: str) -> None:
        """df leaves its row out, and says so: the rows after it are the next ones'."""
        question = system.ask_free_of("h", ["/a", "/a/b"], ["/a/b"], ["/c d", "/e"], ["/a/bc"])
        gone = "/a/b".join(quotes or ("", ""))
        rows = f"{self.HEAD}/dev/a 9 1 1 1% /a\n/dev/c 9 1 2 1% /c\n/dev/e 9 1 3 1% /e\n/dev/a 9 1 4 1% /a\n"
        told = understood(question, rows, code=1, stderr=f"a banner\ndf: {gone}: No such file or directory\n")
        here, missing, last, like = told
        assert (here, last, like) == (Free(1, "/a", "/dev/a"), Free(3, "/e", "/dev/e"), Free(4, "/a", "/dev/a"))
        assert str(missing).startswith("no answer from df")
        assert question.commands[0].argv[3:] == ("/a", "/a/b", "/c d", "/e", "/a/bc"), "each once"

    def test_rows_that_are_not_one_for_each_path_are_nobodys(self) -> None:
        question = system.ask_free_of("h", ["/a"], ["/b"])
        for rows in (1, 3):
            told = understood(question, self.HEAD + rows * "/dev/a 9 1 1 1% /a\n", code=1)
            assert told == [f"df is not understood: {rows} rows for /a /b"] * 2

    def test_where_df_tells_nothing_its_own_words_stand_for_it(self) -> None:
        assert (
            understood(system.ask_free("h", "/x"), "", code=127, stderr="df: not found")
            == "no answer from df: df: not found"
        )

    @pytest.mark.parametrize("row", ["/dev/a 9 1 8 1% /a;b", "/dev/a 9 1 ² 1% /", "x", "/dev/a 9 1 -8 1% /"])
    def test_what_is_not_understood_is_no_room_and_stops_nobody(self, row: str) -> None:
        assert understood(system.ask_free("h", "/x"), f"{self.HEAD}{row}\n") == f"df is not understood: {row!r}"

    @pytest.mark.parametrize(
        ("path", "found"),
        [("/var/lib/x", ["/", "/var", "/var/lib", "/var/lib/x"]), ("/", ["/"])],
    )
    def test_a_path_is_asked_for_after_its_parents(self, path: str, found: list[str]) -> None:
        assert system.with_parents(path) == found


def test_a_file_that_was_not_asked_for_is_refused() -> None:
    with pytest.raises(Refusal, match="h: tells of '/etc/shadow', which was not asked"):
        exist("1:2 /etc/shadow\n")


QUESTIONS: list[Question[Any]] = [
    system.ask_root("etcd-1"),
    system.ask_files("etcd-1", "/a"),
    system.ask_addresses("etcd-1"),
    system.ask_reach("etcd-1", "10.0.0.12", 2380),
    system.ask_free("etcd-1", "/a"),
    system.ask_uid("etcd-1", "etcd"),
    system.ask_processes("etcd-1", "irisadmin"),
    system.ask_connections("etcd-1", 2379),
    system.ask_listing("etcd-1", "/data", build.UNIT, ["/a"]),
]
LIKELY = (
    "0 0 a:1 10.0.0.1:2 uid:9\n",
    "12 java\n",
    "1:2 /a\n",
    " inet 999.1\n",
    "x\n/dev/a 1 2 3 4 5 6\n",
    "d 755 root:root\0",
    "/a\0",
    "f 1 a:b\0../x\0\0",
)


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: str(question.commands[0].why))
@settings(max_examples=50, deadline=None)
@given(
    text=st.text(max_size=2000) | st.lists(st.sampled_from(LIKELY) | st.text(max_size=20)).map("".join),
    code=st.sampled_from([0, 1, 124]),
)
def test_whatever_a_host_says_is_a_value_or_a_refusal_that_names_it(
    question: Question[Any], text: str, code: int
) -> None:
    with refused_by("etcd-1"):
        understood(question, text, code=code, stderr=text)


def seen(text: str) -> frozenset[Connection]:
    return understood(system.ask_connections("h", 2379), text)


class TestConnections:
    @pytest.mark.parametrize(
        ("line", "connection"),
        [
            (
                "0      0          10.0.0.11:2379       10.0.0.12:55555 uid:999 ino:0 sk:1860 cgroup:/x <->",
                Connection("10.0.0.12", False, 999),
            ),
            (
                "0 0 10.0.0.11:40000 10.0.0.12:2379 timer:(on,9sec,0) uid:1000",
                Connection("10.0.0.12", True, 1000),
            ),
            ("0 0 [::ffff:10.0.0.11]:2379 [::ffff:10.0.0.12]:5 uid:999", Connection("10.0.0.12", False, 999)),
            ("0 0 [fd00::1]:2379 [fd00::2]:40000 ino:4 sk:1", Connection("fd00::2", False, 0)),
            ("0 0 [fd00::1]:40000 [fd00::2]:2379 uid:999", Connection("fd00::2", True, 999)),
            ("0 0 10.0.0.11:2379 10.0.0.12:12379", Connection("10.0.0.12", False, 0)),
        ],
        ids=["from a client", "to a member", "mapped", "sixth version", "itself a client", "ports alike"],
    )
    def test_each_line_of_ss_is_read(self, line: str, connection: Connection) -> None:
        assert seen(f"{line}\n") == {connection}

    def test_both_ends_of_a_connection_within_one_machine_are_seen(self) -> None:
        text = "0 0 127.0.0.1:2379 127.0.0.1:40000 uid:999 ino:1\n0 0 127.0.0.1:40000 127.0.0.1:2379 ino:2\n"
        assert {(c.outgoing, c.uid) for c in seen(text)} == {(False, 999), (True, 0)}

    @pytest.mark.parametrize("text", ["", "\n"])
    def test_without_lines_nobody_is_connected(self, text: str) -> None:
        assert seen(text) == set()

    @pytest.mark.parametrize("line", ["nonsense", "0 0 10.0.0.11:2379 client:5", "0 0 10.0.0.11:2379 /run/x"])
    def test_a_line_that_is_not_understood_is_no_empty_one(self, line: str) -> None:
        with pytest.raises(Refusal, match="h: "):
            seen(f"0 0 10.0.0.11:2379 10.0.0.12:5\n{line}\n")

    def test_the_same_client_on_many_ports_counts_once(self) -> None:
        text = "".join(f"0 0 10.0.0.11:2379 10.0.0.12:{port}\n" for port in range(40000, 40009))
        assert len(seen(text)) == 1

    def test_looking_for_some_seconds_is_one_question_that_changes_nothing(self) -> None:
        (question,) = system.ask_connections("h", 2379, seconds=3).commands
        assert not question.changes
        assert "+ 3)" in question.argv[-1] and "sport = :2379" in question.argv[-1]


class TestAccounts:
    def test_an_account_has_a_number_or_is_not_there(self) -> None:
        assert understood(system.ask_uid("h", "etcd"), "998\n") == 998
        assert understood(system.ask_uid("h", "etcd"), "", code=1, stderr="id: 'etcd': no such user") is None

    def test_its_own_accounts_a_host_is_asked_without_its_directory_service(self, tmp_path: Path) -> None:
        """`id` may ask one first, and hang."""
        (tmp_path / "passwd").write_text("root:x:0:0::/:/bin/sh\netcd:x:998:9:a b:/:\n")
        (tmp_path / "id").write_text('#!/bin/sh\n[ "$1 $2" = "-u joe" ] || exec sleep 60\necho 4711\n')
        (tmp_path / "id").chmod(0o755)

        def asked(account: str) -> int | None:
            (command,) = system.ask_uid("h", account).commands
            argv = [word.replace("/etc/passwd", f"{tmp_path}/passwd") for word in command.argv]
            path = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
            done = subprocess.run(argv, env=path, capture_output=True, text=True, timeout=20, check=False)
            return understood(system.ask_uid("h", account), done.stdout, code=done.returncode)

        assert [asked("etcd"), asked("root"), asked("joe")] == [998, 0, 4711]

    def test_one_that_does_not_answer_in_time_is_no_account_that_is_missing(self) -> None:
        (command,) = system.ask_uid("etcd-2", "etcd").commands
        late = replace(build.answered(command, ""), code=124, stderr="")
        with pytest.raises(Refusal, match="etcd-2: could not be asked") as refused:
            system.ask_uid("etcd-2", "etcd").understand([late])
        assert "etcd's account" in refused.value.what

    def test_what_an_account_runs(self) -> None:
        tree = """\
            1     0     0 root      systemd
           12     1  1001 x         java
           30     1     0 root      sshd
           31    30     0 root      sshd-session
           32    31  1001 x         bash
           33    32  1001 x         java
           40     1  1001 x         systemd
           41    40  1001 x         dbus-daemon
           50     1  1002 y         java
           51     1  1003 stranger  java"""
        found = understood(system.ask_processes("h", "x", ("y",)), "12 java\n 32 bash\n33 java\n41 dbus-daemon\n", tree)
        assert {process.pid: process.below_login for process in found} == {
            12: False,
            32: True,
            33: True,
            41: True,
            50: False,
        }
        assert (found[0].uid, str(found[-1])) == (1001, "java (process 50 of y)")

    def test_a_process_that_calls_itself_nothing_but_blanks_is_one_all_the_same(self) -> None:
        found = understood(system.ask_processes("h", "x"), "77   \n", "77 1 5 x    \n")
        assert [(process.pid, process.name) for process in found] == [(77, "")]

    def test_what_only_root_may_see_has_its_name_alone(self) -> None:
        said = "  345 (sd-pam)\n 6 tmux: server\n"
        found = understood(system.ask_processes("h", "x", ("y",)), said, "77 1 5 ops ps\n")
        assert [(p.name, p.below_login, p.uid) for p in found] == [
            ("tmux: server", False, None),
            ("(sd-pam)", False, None),
        ]


@pytest.mark.parametrize("owner", ["etcd:domain users", "4711:4711", "DOM\\joe:DOM\\domain users"])
def test_owners_by_number_and_groups_with_a_space_are_understood(owner: str) -> None:
    question = system.ask_listing("etcd-1", "/data", build.UNIT, ["/a"])
    (entry,) = understood(question, f"f 640 {owner}\0/a/x\0\0")
    assert (entry.owner, entry.path) == (owner, "/a/x")


ADMIN = """Matching Defaults entries for ops on etcd-1:
    env_reset, mail_badpass,
    secure_path=/usr/local/sbin\\:/usr/local/bin\\:/usr/sbin\\:/usr/bin, use_pty{more}

User ops may run the following commands on etcd-1:
    (root) NOPASSWD: /usr/bin/timeout, /bin/x secure_path=/tmp
"""


@pytest.mark.parametrize(
    ("said", "path"),
    [
        (ADMIN.format(more=""), "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin"),
        (ADMIN.format(more=", secure_path=/opt/bin\\:/bin"), "/opt/bin:/bin"),
        (ADMIN.format(more=", !secure_path"), ""),
        (ADMIN.replace("secure_path", "other"), ""),
        ("", ""),
    ],
)
def test_where_root_looks_is_what_sudo_says_last(said: str, path: str) -> None:
    assert understood(system.ask_root_path("h"), said) == path


def test_a_secure_path_that_is_none_is_refused() -> None:
    with pytest.raises(Refusal, match="h: its secure_path is"):
        understood(system.ask_root_path("h"), ADMIN.format(more=", secure_path=$(reboot)"))


def test_tools_are_looked_for_where_they_will_be(tmp_path: Path) -> None:
    (tmp_path / "ss").write_text("")
    (tmp_path / "ss").chmod(0o755)
    tools = ("ss", "sh", "no-such")
    sought = [("", tools), ("/nowhere", ("ss",)), (str(tmp_path), tools), ("", ("ss", "cat"))]

    def found(asked: Question[T]) -> T:
        (command,) = asked.commands
        environment = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
        said = subprocess.run(command.argv, env=environment, capture_output=True, text=True, check=True).stdout
        return asked.understand([Result(command, 0, said, "", 0.0)])

    assert found(system.ask_unfound("h", *sought)) == [["no-such"], ["ss"], ["sh", "no-such"], []]
    assert [found(system.ask_missing("h", of, path)) for path, of in sought] == found(system.ask_unfound("h", *sought))


def test_of_several_paths_those_where_nothing_is_are_told(tmp_path: Path) -> None:
    (tmp_path / "there").touch()
    (tmp_path / "link").symlink_to("there")
    (tmp_path / "dangling").symlink_to("nowhere")
    asked = [str(tmp_path / name) for name in ("there", "link", "dangling", "no-such")]
    (command,) = system.ask_absent("h", asked).commands
    said = subprocess.run(command.argv, capture_output=True, text=True, check=False)
    answer = Result(command, said.returncode, said.stdout, said.stderr, 0.0)
    assert system.ask_absent("h", asked).understand([answer]) == asked[2:]
    with pytest.raises(Refusal, match="could not be asked in time"):
        system.ask_absent("h", asked).understand([replace(answer, code=124)])
