"""The sudoers list: spelled as sudo reads it, and held against `sudo -l` as sudo decides."""

from __future__ import annotations

import re
import string
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from requorum.cluster import deephaven, etcd
from requorum.command import Command, look
from requorum.hosts import sudo
from requorum.hosts.probe import Probed
from requorum.hosts.sudo import Sudo
from requorum.recovery.proofs import machines
from requorum.refusal import Disproved
from requorum.run import lock
from requorum.run.dryrun import Planning
from requorum.troubleshoot import sudoers
from requorum.troubleshoot.sudoers import Need
from runbook.retry import test_1_set_aside as retry_stages
from tests.unit import build
from tests.unit.run.test_dryrun import Hosts, planning

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
    entry = "(root) PASSWD: /bin/ls, /usr/bin/timeout x, NOPASSWD: /bin/cat, /usr/bin/timeout -k 5 60 true"
    grants = sudo.parse(listing(entry))
    assert [grant.password for grant in grants] == [True, False]
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
@example(["^", ")", "$"])
def test_whatever_a_command_holds_its_own_line_covers_it(argv: list[str]) -> None:
    command = Command("h", tuple(argv), "why")
    spoken = sudoers.as_root(command.line())
    assert spoken == " ".join(("-k", "5", "60", *argv))
    need = Need(spoken)
    assert need.covers(spoken)
    assert sudo.allowed(sudo.parse(listing(need.line("x").removeprefix("x ALL="))), spoken) or "\\" in spoken


@pytest.mark.parametrize("said", ["^)$", "^[$", "^(?P<a>$", "^a{99999999999}$", f"^{'(' * 9999}$"])
def test_a_host_s_own_regular_expression_that_is_none_allows_nothing(said: str) -> None:
    assert not sudo.allowed(sudo.parse(listing(f"(root) NOPASSWD: /usr/bin/timeout {said}")), "-k 5 60 true")


@given(words)
@example(["^", ")", "$"])
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


def visudo(directory: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    (directory / "visudo").write_text(f"#!/bin/sh\n{script}\n")
    (directory / "visudo").chmod(0o755)
    monkeypatch.setenv("PATH", str(directory), prepend=":")


def test_lines_that_visudo_does_not_take_are_not_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    inventory = tmp_path / "prod.yaml"
    inventory.write_text(yaml.safe_dump(build.document()))
    visudo(tmp_path, monkeypatch, f'cat "$3" >{tmp_path}/seen; echo "$3:7:21: syntax error"; exit 1')
    assert sudoers.main([str(inventory), "ops"]) == 4
    said = capsys.readouterr()
    assert said.out == "" and "line 7:21: syntax error" in said.err and "visudo" in said.err
    assert (tmp_path / "seen").read_text() == sudoers.file(INVENTORY, "ops", 1.0)

    visudo(tmp_path, monkeypatch, "exit 0")
    assert sudoers.main([str(inventory), "ops"]) == 0
    assert capsys.readouterr().out == sudoers.file(INVENTORY, "ops", 1.0)
    inventory.write_text(yaml.safe_dump({**build.document(), "transport": {"become": "dzdo -n"}}))
    assert sudoers.main([str(inventory), "ops"]) == 0
    assert "these are sudo's lines, and transport.become is dzdo -n" in capsys.readouterr().err


def test_stretched_deadlines_have_lines_of_their_own_limits_in_the_words_too() -> None:
    plain, both = (sudoers.file(INVENTORY, "ops", *scales) for scales in ((), (1.0, 4.0)))
    assert both.startswith(plain)
    knock = etcd.ask_leader("etcd-1", build.config()).commands[0]
    for command in (knock, lock.drop("infra-1", "lab", "words", "x"), deephaven.monit(INVENTORY, "infra-1", up=False)):
        line = sudoers.as_root(command.stretched(4).line()) or ""
        needs = {scale: any(need.covers(line) for need in sudoers.needed(INVENTORY, scale)) for scale in (1.0, 4.0)}
        assert needs == {1.0: False, 4.0: True}, line


@pytest.mark.parametrize("labels", [False, True])
def test_the_list_printed_by_9c571ea_lacks_exactly_what_the_changelog_names(labels: bool) -> None:
    granted = [line.removeprefix("ops ALL=") for line in OLD.read_text().splitlines() if line.startswith("ops ALL=")]
    host = Probed(Sudo(grants=sudo.parse(listing(*granted))), labels=labels)
    everywhere, selinux, proof = CHANGELOG.read_text().split("```\n")[1:6:2]
    named = [*everywhere.splitlines(), *proof.splitlines(), *(selinux.splitlines() if labels else ())]
    assert len(granted) > 200 and len(named) > 5
    assert {need.line("ops") for need in sudoers.lacked(INVENTORY, host) if isinstance(need, Need)} == set(named)


def lines_out_of(host: str, grants: list[str] | None, tmp_path: Path) -> Planning:
    """Step 0 at a host whose sudo tells these grants; None where it tells nothing."""
    found = Sudo(grants=None if grants is None else sudo.parse(listing(*grants)), why="a password is required")
    run = planning(tmp_path, Hosts())
    run.begin("m.py::TestX::test_given_sudo_allows_what_will_be_run")
    run.stages[-1].looked = True
    run.probed = {host: Probed(found)}
    return run


def test_step_0_stops_before_the_lock_with_the_lines_that_are_missing(tmp_path: Path) -> None:
    run = lines_out_of("etcd-2", [line for line in granted() if "alarm" not in line], tmp_path)
    with pytest.raises(Disproved, match="etcd-2: found 1 not allowed"):
        sudoers.what_is_run_is_allowed(run)
    assert run.last_words[0] == "Missing on etcd-2:"
    assert all("alarm disarm" in line for line in run.last_words[1:]) and len(run.last_words) == 2


def test_step_0_refuses_the_list_printed_by_9c571ea_with_exactly_the_lines_that_the_changelog_names(
    tmp_path: Path,
) -> None:
    lines = [line.removeprefix("ops ALL=") for line in OLD.read_text().splitlines() if line.startswith("ops ALL=")]
    run = lines_out_of("etcd-2", lines, tmp_path)
    with pytest.raises(Disproved, match="etcd-2: found"):
        sudoers.what_is_run_is_allowed(run)
    named = CHANGELOG.read_text().split("```\n")[1].replace("ops ALL=", "LOGIN ALL=").splitlines()
    assert sorted(run.last_words[1:]) == sorted(named)


def test_step_0_only_notes_what_other_procedures_lack(tmp_path: Path) -> None:
    aside = [need for need in sudoers.needed(INVENTORY) if need.aside]
    others = ("-o json", "run-directly", "chgrp", "tail -n", "alarm list", "timedatectl")
    assert all(any(word in need.arguments for need in aside) for word in others)
    kept = [need.line("x").removeprefix("x ALL=") for need in sudoers.needed(INVENTORY) if not need.aside]
    run = lines_out_of("etcd-2", kept, tmp_path)
    sudoers.what_is_run_is_allowed(run)
    lacking = sudoers.missing(INVENTORY, sudo.parse(listing(*kept)))  # some are covered by a recovery's own
    assert len(lacking) > 20 and set(lacking) <= set(aside)
    assert run.notes[0].startswith(f"etcd-2: sudo does not allow {len(lacking)} commands that only other procedures")
    assert run.last_words == []


def test_a_retry_stops_with_them_before_it_takes_any_data_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = lines_out_of("etcd-2", [line for line in granted() if "alarm" not in line], tmp_path)
    monkeypatch.setattr(machines, "every_host_answers", lambda run: None)
    with pytest.raises(Disproved, match="etcd-2: found 1 not allowed"):
        retry_stages.TestRetry().test_given_every_host_answers(run)


def test_a_rollback_goes_without_labels_where_sudo_lacks_their_lines(tmp_path: Path) -> None:
    run = planning(tmp_path, Hosts())
    needs = sudoers.needed(run.inventory)
    for lines, labelled in ((needs, True), ([need for need in needs if not need.labels], False)):
        grants = sudo.parse(listing(*(need.line("x").removeprefix("x ALL=") for need in lines)))
        assert machines._sets_labels(run, "etcd-1", Probed(Sudo(grants=grants), labels=True)) is labelled
    assert not machines._sets_labels(run, "etcd-1", Probed(Sudo(grants=None), labels=False))


def test_step_0_goes_on_where_sudo_allows_all_or_does_not_tell(tmp_path: Path) -> None:
    run = lines_out_of("etcd-2", ["(root) NOPASSWD: ALL"], tmp_path / "all")
    sudoers.what_is_run_is_allowed(run)
    assert run.notes == []
    run = lines_out_of("etcd-2", None, tmp_path / "none")
    sudoers.what_is_run_is_allowed(run)
    assert run.notes == ["etcd-2: sudo does not tell what it allows: a password is required"]


def test_a_file_is_whole_lines_for_one_login_with_a_safe_path() -> None:
    lines = sudoers.file(INVENTORY, "ops").splitlines()
    assert lines[0] == "Defaults:ops !requiretty" and lines[1].startswith("Defaults:ops secure_path=")
    assert all(line.startswith("ops ALL=(root) NOPASSWD: /usr/bin/timeout -k 5 ") for line in lines[2:])


def test_the_last_line_is_the_verdict_of_the_whole_list(tmp_path: Path) -> None:
    run = planning(tmp_path, Hosts())
    run.begin("m.py::TestSudoers::test_then_every_command_is_allowed")
    sudoers.every_command_is_allowed(run, {"etcd-1": (), "infra-1": ()})
    assert run.last_words == [f"All {len(run.table)} commands are allowed on etcd-1, infra-1."]
    need = sudoers.needed(run.inventory)[0]
    run.last_words.clear()
    sudoers.every_command_is_allowed(run, {"etcd-1": (need,), "infra-1": ()})
    assert not any(line.startswith("All ") for line in run.last_words)
