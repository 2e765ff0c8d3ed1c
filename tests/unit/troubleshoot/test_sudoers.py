"""The sudoers list: spelled as sudo reads it, and held against `sudo -l` as sudo decides."""

from __future__ import annotations

import re
import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from requorum.cluster import deephaven, etcd
from requorum.command import Command, look
from requorum.hosts import sudo
from requorum.run import lock
from requorum.troubleshoot import sudoers
from requorum.troubleshoot.sudoers import Need
from tests.unit import build

INVENTORY = build.inventory()
TOP = Path(__file__).parents[3]
OLD = TOP / "tests" / "samples" / "9c571ea" / "requorum.sudoers"  # as that version printed it for this inventory
CHANGELOG = TOP / "CHANGELOG.md"
HEAD = "Matching Defaults entries for x on h:\n    env_reset\n\nUser x may run the following commands on h:\n"


def listing(*entries: str) -> str:
    return HEAD + "".join(f"    {entry}\n" for entry in entries)


def granted() -> list[str]:
    """The list's own lines as `sudo -l` prints them."""
    return [need.line("x").removeprefix("x ALL=") for need in sudoers.needed(INVENTORY)]


def test_its_own_lines_lack_nothing() -> None:
    assert sudoers.missing(INVENTORY, sudo.parse(listing(*granted()))) == ()


@pytest.mark.parametrize(
    "entry",
    [
        "(ALL : ALL) NOPASSWD: ALL",
        "(root) NOPASSWD: /usr/bin/timeout",
        "(ALL) NOPASSWD: /bin/timeout",
        "(root) NOPASSWD: /usr/bin/",
        "(root) NOPASSWD: SETENV: /usr/bin/tim*",
        "(root, etcd) NOPASSWD: /bin/ls, ALL",
        r"(root) NOPASSWD: /usr/bin/timeout ^-k 5 (60|900|7200) .*$",
    ],
)
def test_a_wider_rule_covers_everything(entry: str) -> None:
    assert sudoers.missing(INVENTORY, sudo.parse(listing(entry))) == ()


@pytest.mark.parametrize(
    "entry",
    [
        "(root) ALL",
        "(root) PASSWD: ALL",
        "(etcd) NOPASSWD: ALL",
        "(root) NOPASSWD: /usr/bin/sudo",
        '(root) NOPASSWD: /usr/bin/timeout ""',
        "(root) NOPASSWD: ALL, !/usr/bin/timeout",
        "(root) NOPASSWD: /usr/bin/timeouts",
        "(root) NOPASSWD: /usr/sbin/",
    ],
)
def test_a_password_another_account_or_another_command_covers_nothing(entry: str) -> None:
    assert sudoers.missing(INVENTORY, sudo.parse(listing(entry))) == sudoers.needed(INVENTORY)


def test_an_answer_without_any_entry_covers_nothing() -> None:
    assert sudoers.missing(INVENTORY, sudo.parse("")) == sudoers.needed(INVENTORY)


def test_the_last_entry_that_matches_decides() -> None:
    denied = "(root) NOPASSWD: !/usr/bin/timeout -k 5 60 true"
    assert [n.arguments for n in sudoers.missing(INVENTORY, sudo.parse(listing("(root) NOPASSWD: ALL", denied)))] == [
        "-k 5 60 true"
    ]
    assert sudoers.missing(INVENTORY, sudo.parse(listing(denied, "(root) NOPASSWD: ALL"))) == ()


def test_a_password_tag_holds_until_the_next_one() -> None:
    entry = "(root) PASSWD: /bin/ls, /usr/bin/id, NOPASSWD: /bin/cat, /usr/bin/timeout -k 5 60 true"
    grants = sudo.parse(listing(entry))
    assert [grant.password for grant in grants] == [True, True, False, False]
    assert sudo.allowed(grants, "-k 5 60 true")


def test_a_line_that_lacks_is_told_unless_a_wider_one_covers_it() -> None:
    lines = granted()
    for gone in lines[::7]:
        rest = [line for line in lines if line != gone]
        lacking = [
            need.line("x").removeprefix("x ALL=") for need in sudoers.missing(INVENTORY, sudo.parse(listing(*rest)))
        ]
        wider = [line for line in rest if "*" in line and line.split("*")[0] in gone]
        assert lacking == [gone] or (lacking == [] and wider), gone


def test_a_rule_for_one_file_does_not_cover_a_rule_for_all() -> None:
    one = [line.replace("/var/lib/requorum/lab/*", "/var/lib/requorum/lab/run.json") for line in granted()]
    assert len(sudoers.missing(INVENTORY, sudo.parse(listing(*one)))) > 20


words = st.lists(st.text(string.printable.replace("\n", "") + "é", min_size=0, max_size=8), min_size=1, max_size=5)


@given(words)
def test_whatever_a_command_holds_its_own_line_covers_it(argv: list[str]) -> None:
    command = Command("h", tuple(argv), "why")
    spoken = sudoers.as_root(command.line())
    assert spoken == " ".join(("-k", "5", "60", *argv))
    need = Need(spoken)
    assert need.covers(spoken)
    assert sudo.allowed(sudo.parse(listing(need.line("x").removeprefix("x ALL="))), spoken) or "\\" in spoken


@given(words)
def test_a_line_without_wildcards_covers_nothing_longer(argv: list[str]) -> None:
    spoken = " ".join(argv).replace("*", "")
    assert not Need(spoken).covers(spoken + "x")


def test_a_command_without_sudo_needs_no_line() -> None:
    assert sudoers.as_root(look("h", "true", why="", root=False).line()) is None


def test_what_no_line_covers_is_named() -> None:
    covered = deephaven.monit(INVENTORY, "infra-1", up=False).line()
    stranger = Command("h", ("reboot",), "why").line()
    assert sudoers.unlisted(INVENTORY, [covered, stranger, stranger]) == [stranger]


def test_a_command_with_input_is_recognised_by_its_words() -> None:
    shown = Command("h", ("dd", "of=/var/lib/requorum/lab/x", "status=none"), "why", stdin=b"s").shown()
    assert sudoers.unlisted(INVENTORY, [shown]) == []


def test_the_vendors_own_words_are_in_the_list() -> None:
    second = build.inventory(build.SECOND_DIALECT)
    needs = [need.arguments for need in sudoers.needed(second)]
    assert "-k 5 900 /opt/vendor2/bin/monitctl --user irisadmin halt" in needs
    assert not any(re.search("@[A-Z_]+@", words) for words in needs), "every word of the list is filled"


def test_stretched_deadlines_have_lines_of_their_own_limits_in_the_words_too() -> None:
    plain, both = (sudoers.file(INVENTORY, "ops", *scales) for scales in ((), (1.0, 4.0)))
    assert both.startswith(plain)
    knock = etcd.ask_leader("etcd-1", build.config()).commands[0]
    for command in (knock, lock.drop("infra-1", "lab", "words", "x"), deephaven.monit(INVENTORY, "infra-1", up=False)):
        line = sudoers.as_root(command.stretched(4).line()) or ""
        needs = {scale: any(need.covers(line) for need in sudoers.needed(INVENTORY, scale)) for scale in (1.0, 4.0)}
        assert needs == {1.0: False, 4.0: True}, line


def test_the_list_printed_by_9c571ea_lacks_exactly_what_the_changelog_names() -> None:
    granted = [line.removeprefix("ops ALL=") for line in OLD.read_text().splitlines() if line.startswith("ops ALL=")]
    lacking = {need.line("ops") for need in sudoers.missing(INVENTORY, sudo.parse(listing(*granted)))}
    named = CHANGELOG.read_text().partition("```\n")[2].partition("```")[0].splitlines()
    assert len(granted) > 200
    assert lacking == {line for line in named if line.startswith("ops ")}


def test_a_file_is_whole_lines_for_one_login_with_a_safe_path() -> None:
    lines = sudoers.file(INVENTORY, "ops").splitlines()
    assert lines[0] == "Defaults:ops !requiretty" and lines[1].startswith("Defaults:ops secure_path=")
    assert all(line.startswith("ops ALL=(root) NOPASSWD: /usr/bin/timeout -k 5 ") for line in lines[2:])
