"""What root runs for the proof: one program that is fixed, and a login that can choose nothing of it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from requorum.cluster import sandbox
from requorum.command import BESIDE, LIMITS, SLICE, Command, Result
from requorum.run.aftermath import is_own
from requorum.snapshots.snapshot import Source
from requorum.troubleshoot import sudoers
from requorum.verify import live, program
from tests.unit import build

INVENTORY = build.inventory(verify={"rate": 7})
AT = "/usr/libexec/requorum/verify-lab"
SOURCE = Source("file", None, "/backups/a.snap", "ab" * 32, 20_000_000, "2026-11-27T02:30:00Z", 120, packed="gz")
TOKEN = f"verify-{build.RUN}"


def boot(in_memory: bool = True, bump: int = 0, scale: float = 1.0, size: int = SOURCE.bytes) -> Command:
    source = Source("file", None, SOURCE.path, SOURCE.sha256, size, SOURCE.taken, 120, packed="gz")
    roles, prefixes = ("query", "root"), ("", "/main")
    return program.boot(INVENTORY, "query-1", TOKEN, source, 120, bump, roles, prefixes, in_memory, scale)


def everything() -> list[Command]:
    boots = [boot(), boot(False), boot(bump=1000), boot(size=3_000_000_000), boot(False, size=3_000_000_000)]
    return [*program.clear(INVENTORY), *boots, program.logins(INVENTORY)]


def test_its_own_login_needs_no_more_than_its_own_list() -> None:
    needs = sudoers.needed(INVENTORY, purpose="verify")
    asked = [*live.ask(INVENTORY).commands, *program.ask_left(INVENTORY, "infra-1").commands]
    for command in [*everything(), *asked]:
        for each in (command, Command(command.host, command.stop, "stop") if command.stop else command):
            line = sudoers.as_root(each.line())
            assert line is None or any(need.covers(line) for need in needs), line


def test_nothing_that_its_list_allows_can_be_chosen_but_of_which_places_the_room_is_told() -> None:
    needs = sudoers.needed(INVENTORY, 1.0, 2.0, purpose="verify")
    assert [need.arguments for need in needs if "*" in need.arguments] == [
        "-k 5 60 df -P -B1 *",
        "-k 5 120 df -P -B1 *",
    ]
    own = [need.arguments for need in needs if AT in need.arguments]
    assert len(own) == 2 * 7 and not [words for words in own if set(words) & set("*?[")]
    for need in needs:
        if AT in need.arguments:
            assert not need.covers(f"{need.arguments} x") and not need.covers(need.arguments.replace("lab", "bal"))


BIRTHS = (
    "-k 5 60 sh -c find \"$0\" -mindepth 2 -maxdepth 2 '(' -name client.before -o -name rolled-back ')'; echo =; "
    'for file in "$0"/*/birth.json; do [ ! -f "$file" ] || cat "$file"; done /var/lib/requorum/lab'
)


@pytest.mark.parametrize(
    "other",
    [
        BIRTHS.replace('in "$0"/*', "in .$0//x").replace("!", "x").replace('cat "$file";', "cat >$file ;"),
        BIRTHS.replace('cat "$file";', "cat <$file ;"),
        BIRTHS.replace('"$0"', ".$0/"),
        BIRTHS.replace("[ !", ". x"),
        BIRTHS.replace("'(' -name", ">( -name").replace("')'", ">)"),
    ],
    ids=["write what a link leads to", "read it", "from where the login is", "a file of the PATH", "write names"],
)
def test_no_character_of_the_one_script_that_its_list_spells_out_can_be_another(other: str) -> None:
    """A link below where the login is, as `./var/lib/requorum/lab/x/birth.json`, would lead root anywhere."""
    needs = sudoers.needed(INVENTORY, purpose="verify")
    assert any(need.covers(BIRTHS) for need in needs) and not any(need.covers(other) for need in needs)
    assert sum("sh -c" in need.arguments for need in needs) == 1 and other.count(" ") >= BIRTHS.count(" ")


def test_what_it_may_tell_the_syslog_is_the_journals_head_and_no_option_of_logger() -> None:
    needs = [need for need in sudoers.needed(INVENTORY, purpose="verify") if "logger" in need.arguments]
    head, tail = "-k 5 60 logger -t requorum journal", f"records, {64 * 'b'}"
    assert any(need.covers(f"{head} {16 * 'a'} of lab: 4711 {tail}") for need in needs)
    for other in (" -f /root/x " + 6 * "a", "-f" + 14 * "a", "aa -f aaaaaaaaaa"):
        assert len(other) == 16 or other.startswith(" ")
        assert not any(need.covers(f"{head} {other} of lab: 4711 {tail}") for need in needs)
    assert not any(need.covers(f"{head} {16 * 'a'} of lab: 4711 records, --socket=/tmp/x {48 * 'b'}") for need in needs)


def test_a_recovery_does_not_stop_for_want_of_the_proofs_lines() -> None:
    own = [need for need in sudoers.needed(INVENTORY) if AT in need.arguments]
    assert len(own) == 7 and all(need.aside for need in own)


def test_the_program_says_itself_how_little_it_may_take_and_ends_nothing_of_a_recovery() -> None:
    text = program.text(INVENTORY)
    assert f"--slice={BESIDE} " in text and f"--slice={SLICE} " not in text
    assert all(f"--property={limit} " in text for limit in LIMITS)
    assert "slice=requorum-verify.slice" in text and 'systemctl stop "$slice"' in text
    assert BESIDE.startswith(f"{SLICE.removesuffix('.slice')}-"), "below that slice: a recovery ends it with the rest"
    assert "@" not in text.replace("@TOKEN@", "").replace("$@", "").split("# What follows is")[0]
    assert text.endswith(sandbox.PROGRAM.read_text())


def test_the_program_is_one_that_a_shell_can_read(tmp_path: Path) -> None:
    path = tmp_path / "program"
    path.write_text(program.text(INVENTORY))
    assert subprocess.run(["sh", "-n", str(path)], check=False).returncode == 0
    for words in ([], ["boot"], ["boot", "memory"], ["boot", "tape", "1"], ["boot", "disk", "1;x"], ["left", "x"]):
        ended = subprocess.run(["sh", str(path), *words], capture_output=True, text=True, check=False)
        assert (ended.returncode, ended.stdout) == (2, "") and ended.stderr.startswith("usage: "), words


def test_what_is_booted_and_asked_goes_by_standard_input_alone() -> None:
    plain, bumped = boot(), boot(bump=1000, scale=2)
    assert plain.argv == (AT, "boot", "memory", "870") and boot(False).argv == (AT, "boot", "disk", "870")
    assert boot(size=3_000_000_000).argv[-1] == "7170"
    head = f"{TOKEN} 120 0 20000000 {SOURCE.sha256} 60 2 2\nquery\nroot\n\n/main\n"
    assert plain.stdin == head.encode()
    assert bumped.stdin == head.replace("120 0 ", "120 1000 ").replace(" 60 2", " 120 2").encode()
    assert plain.brings and (plain.brings.path, plain.brings.packed) == ("/backups/a.snap", "gz")
    assert plain.brings.rate == 7_000_000 and plain.brings.bytes == 20_000_000


def test_the_boot_is_fed_the_configuration_servers_own_logins() -> None:
    fed = boot().fed
    assert fed is not None and fed.host == "infra-1" and fed.argv == (AT, "logins")
    assert fed.secret and not fed.changes


def test_it_changes_nothing_of_the_cluster() -> None:
    assert [action.shown() for action in everything() if not is_own(action)] == []


def said(command: Command, text: str) -> Result:
    return Result(command, 0, text, "", 0.0)


@pytest.mark.parametrize(
    ("whose", "content", "wrong"),
    [
        ("0 755\n" * 4, None, None),
        ("0 755\n" * 3, None, "is not there"),
        ("1000 755\n" + "0 755\n" * 3, None, "is not root's alone"),
        ("0 755\n0 775\n" + "0 755\n" * 2, None, "does not lie where root alone writes"),
        ("0 757\n" + "0 755\n" * 3, None, "is not root's alone"),
        ("0 755\n" * 4, "#!/bin/sh\n", "is another version's"),
    ],
)
def test_only_this_very_program_that_root_alone_can_change_is_taken(
    whose: str, content: str | None, wrong: str | None
) -> None:
    question = program.ask_installed("infra-1", INVENTORY)
    own, read = question.commands
    assert not own.root and not read.root
    text = program.text(INVENTORY) if content is None else content
    found = question.understand([said(own, whose), said(read, text)])
    assert found is wrong if wrong is None else wrong in str(found)


def test_it_is_put_there_whole_and_gets_its_name_last() -> None:
    *_, write, name = program.install(INVENTORY, "infra-1")
    assert write.argv[:3] == ("install", "-m", "755") and write.argv[-1] == f"{AT}.new"
    assert write.stdin == program.text(INVENTORY).encode() and name.argv == ("mv", "-fT", f"{AT}.new", AT)
