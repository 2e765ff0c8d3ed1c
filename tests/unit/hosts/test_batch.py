"""Several commands in one trip give what they give one by one."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from requorum.command import Command, look
from requorum.hosts import batch
from requorum.hosts.batch import Frame

MARK = "0123456789abcdef"


def command(line: str, accept: tuple[int, ...] | None = (0,), stdin: bytes | None = None) -> Command:
    return Command("etcd-1", ("sh", "-c", line), "test", root=False, accept=accept, stdin=stdin)


def run(*commands: Command) -> list[Frame]:
    """Runs the script with a real shell and takes its output apart."""
    line = batch.script(commands, MARK)
    process = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=True)
    return list(batch.frames(process.stdout.splitlines(keepends=True), MARK))


def test_each_command_gives_its_own_code_output_and_errors() -> None:
    assert run(command("echo a; echo b"), command("echo oops >&2; exit 3", accept=None), command("printf c")) == [
        Frame(0, "a\nb\n", ""),
        Frame(3, "", "oops\n"),
        Frame(0, "c", ""),
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


@pytest.mark.parametrize(
    "alone",
    [
        command("cat", stdin=b"secret"),
        Command("etcd-1", ("true",), "restore", root=False, stop=("systemctl", "stop", "x")),
    ],
)
def test_input_and_what_can_be_stopped_go_alone_and_in_order(alone: Command) -> None:
    first, last = command("echo 1"), command("echo 2")
    assert list(batch.batches([first, first, alone, last])) == [[first, first], [alone], [last]]


def test_a_script_never_outgrows_one_argument() -> None:
    many = [command("x" * 1000) for _ in range(200)]
    groups = list(batch.batches(many))
    assert sum(map(len, groups)) == 200
    assert max(len(batch.script(group, MARK)) for group in groups) < 128 * 1024


def test_a_question_is_asked_in_english_and_what_acts_keeps_the_hosts_language() -> None:
    question, action = look("h", "find", "/a", why=""), Command("h", ("monit", "up"), "")
    assert question.sent() == f"env LC_ALL=C {question.line()}"
    assert action.sent() == action.line()
    text = batch.script([question, action], MARK)
    assert f"env LC_ALL=C {question.line()} " in text and f"$({action.line()} " in text
