"""Several commands in one trip give what they give one by one."""

from __future__ import annotations

import base64
import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from requorum.command import Brought, Command, look
from requorum.hosts import batch, shell
from requorum.hosts.batch import Frame

MARK = "0123456789abcdef" * 2


def command(line: str, accept: tuple[int, ...] | None = (0,), stdin: bytes | None = None) -> Command:
    return Command("etcd-1", ("sh", "-c", line), "test", root=False, accept=accept, stdin=stdin)


def run(*commands: Command) -> list[Frame]:
    """Runs the script with a real shell and takes its output apart."""
    line = batch.script(commands, MARK)
    fed = batch.fed(commands)
    process = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=True, input=fed)
    return list(batch.frames(process.stdout.splitlines(keepends=True), MARK))


def test_each_command_gives_its_own_code_output_and_errors() -> None:
    assert run(command("echo a; echo b"), command("echo oops >&2; exit 3", accept=None), command("printf c")) == [
        Frame(0, "a\nb\n", ""),
        Frame(3, "", "oops\n"),
        Frame(0, "c", ""),
    ]


def test_what_is_fed_by_a_file_or_another_command_goes_alone() -> None:
    fed = (Command("h", ("cat",), "why", brings=Brought("/a", 1)), Command("h", ("cat",), "why", fed=command("true")))
    for one in fed:
        assert list(batch.batches([command("true"), one, command("true")])) == [
            [command("true")],
            [one],
            [command("true")],
        ]


def test_nothing_runs_after_the_first_failure() -> None:
    assert [frame.code for frame in run(command("true"), command("exit 9"), command("echo never"))] == [0, 9]


def test_a_code_that_is_accepted_is_no_failure() -> None:
    assert len(run(command("exit 1", accept=(0, 1)), command("true"))) == 2


def test_no_command_reads_the_others_lines() -> None:
    assert run(command("cat"), command("echo still"))[1].stdout == "still\n"


def test_a_batch_that_is_cut_off_gives_only_what_was_finished() -> None:
    line = batch.script([command("echo a"), command("kill -9 $PPID; echo b"), command("echo c")], MARK)
    process = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=False)
    lines = process.stdout.splitlines(keepends=True)
    assert [frame.stdout for frame in batch.frames(lines[: lines.index(f"{MARK}\n") + 1], MARK)] == ["a\n"]


@given(st.text(st.characters(codec="ascii", exclude_characters="\x00\r\x0b\x0c\x1c\x1d\x1e"), max_size=60))
def test_output_comes_back_to_the_letter(text: str) -> None:
    said = Command("etcd-1", ("printf", "%s", text), "test", root=False)
    assert run(said, said) == [Frame(0, text, "")] * 2


@given(st.lists(st.none() | st.binary(max_size=60), min_size=1, max_size=4))
def test_each_command_gets_its_own_input_to_the_letter_and_no_other(inputs: list[bytes | None]) -> None:
    frames = run(*(command("od -An -v -tx1 | tr -d ' \\n'", stdin=given) for given in inputs))
    assert [bytes.fromhex(frame.stdout) for frame in frames] == [given or b"" for given in inputs]


def test_who_does_not_read_its_input_keeps_it_from_nobody_else() -> None:
    many = b"x" * 20_000
    frames = run(command("exit 3", accept=None, stdin=many), command("cat", stdin=b"second"))
    assert [(frame.code, frame.stdout) for frame in frames] == [(3, ""), (0, "second")]


@pytest.mark.parametrize("lacking", [1, 2, 8])
def test_a_command_whose_input_was_cut_off_is_not_run_nor_any_after_it(tmp_path: Path, lacking: int) -> None:
    commands = (command("cat", stdin=b"first"), command(f"cat >{tmp_path}/mark", stdin=b"second"), command("echo 3"))
    said = subprocess.run(
        ["sh", "-c", batch.script(commands, MARK)], capture_output=True, text=True, input=batch.fed(commands)[:-lacking]
    ).stdout
    assert [frame.stdout for frame in batch.frames(said.splitlines(keepends=True), MARK)] == ["first"]
    assert not (tmp_path / "mark").exists()


def test_what_a_command_takes_as_input_is_in_no_arguments_and_no_environment() -> None:
    sees = command("cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null", accept=None, stdin=b"hunter2" * 3000)
    said = subprocess.run(
        ["sh", "-c", batch.script([sees], MARK)],
        capture_output=True,
        input=batch.fed([sees]).encode(),
        env={**os.environ, "rq": "exported"},
    ).stdout
    assert b"cat /proc/" in said and b"PATH=" in said
    assert b"hunter2" not in said and base64.b64encode(b"hunter2" * 3) not in said


@pytest.mark.parametrize("alone", [Command("e", ("true",), "restore", root=False, stop=("systemctl", "stop", "x"))])
def test_what_can_be_stopped_goes_alone_and_in_order(alone: Command) -> None:
    first, last = command("echo 1"), command("echo 2")
    assert list(batch.batches([first, first, alone, last])) == [[first, first], [alone], [last]]


@pytest.mark.parametrize("login", ["bash", "tcsh"])
@pytest.mark.parametrize("line", ["true", "x" * 1000, "'" * 40, "é" * 500], ids=["short", "long", "quotes", "umlauts"])
def test_a_script_never_outgrows_one_argument_as_it_is_carried(line: str, login: str) -> None:
    groups = list(batch.batches([command(line)] * 1052))
    assert sum(map(len, groups)) == 1052
    carried = [shell.carried(batch.script(group, MARK), MARK, login) for group in groups]
    assert max(len(one.encode()) for one in carried) < 128 * 1024


def test_a_question_is_asked_in_english_and_what_acts_keeps_the_hosts_language() -> None:
    question, action = look("h", "find", "/a", why=""), Command("h", ("monit", "up"), "")
    assert question.sent() == f"env LC_ALL=C {question.line()}"
    assert action.sent() == action.line()
    text = batch.script([question, action], MARK)
    assert f"env LC_ALL=C {question.line()} " in text and f"$({action.line()} " in text
