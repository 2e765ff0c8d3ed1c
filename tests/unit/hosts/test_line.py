"""A line of the inventory as a program on this machine: its words, its bounds, its deadline; with real processes."""

from __future__ import annotations

import os
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from compose import poll
from requorum.hosts import line
from requorum.hosts.line import Line, LineError
from tests.unit import build


def program(place: Path, text: str) -> str:
    path = place / "a program"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return f"'{path}'"


def test_a_placeholder_is_one_argument_whatever_is_in_it(tmp_path: Path) -> None:
    shows = 'printf %s, $# "$@"'
    words = line.words(f"{program(tmp_path, shows)} x:{{name}} {{file}} $HOME ;x", name="a b", file="c'd")
    assert line.run(Line(words, 30, 1000)) == b"4,x:a b,c'd,$HOME,;x,"


def test_what_it_is_given_is_its_standard_input(tmp_path: Path) -> None:
    (tmp_path / "given").write_bytes(b"abc" * 1_000_000)
    assert line.run(Line(("tr", "a", "z"), 30, 3_000_000), tmp_path / "given") == b"zbc" * 1_000_000


def test_more_than_was_expected_is_refused_and_ends_it(tmp_path: Path) -> None:
    with pytest.raises(LineError, match="yes gives more than the 10 bytes that were expected"):
        line.run(Line(("yes",), 30, 10))
    room = tmp_path / "room"
    room.mkdir()
    writes = line.words(program(tmp_path, f"yes >'{room}/x.partial'"))
    with pytest.raises(LineError, match=r"gives more than the 10 bytes"):
        line.run(Line(writes, 30, 10, room))


def test_what_goes_wrong_is_a_sentence_without_a_secret_or_an_escape(tmp_path: Path) -> None:
    words = line.words(program(tmp_path, "echo 'passphrase: hunter2 no\033[2J' >&2; exit 3"))
    with pytest.raises(LineError) as refused:
        line.run(Line(words, 30, 10))
    assert "ended with 3" in str(refused.value) and "hunter2" not in str(refused.value)
    assert str(refused.value).isprintable()
    with pytest.raises(LineError, match="could not be started: No such file"):
        line.run(Line(("/nowhere/at-all",), 30, 10))


def test_with_its_deadline_or_with_who_reads_it_all_that_it_started_ends(tmp_path: Path) -> None:
    words = line.words(program(tmp_path, f"sleep 600 & echo $! >{tmp_path}/child; echo x; wait"))
    with pytest.raises(LineError, match="did not end within 1 s"):
        line.run(Line(words, 1, 10))
    ends(int((tmp_path / "child").read_text()))
    with closing(
        line.blocks(
            Line(line.words(program(tmp_path, f"exec 2>&-; sleep 600 & echo $! >{tmp_path}/child; yes")), 60, 1 << 30)
        )
    ) as blocks:
        next(blocks)
    ends(int((tmp_path / "child").read_text()))


def ends(process: int) -> None:
    def is_gone() -> bool:
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return True
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"

    poll.until(is_gone, seconds=10, what="it ends")


def test_a_program_that_has_written_too_much_before_anybody_looks_is_seen_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken once: what a quick one had written counted as there before."""
    popen = subprocess.Popen

    def ended(*words: Any, **more: Any) -> subprocess.Popen[bytes]:
        process = popen(*words, **more)
        process.wait()
        return process

    monkeypatch.setattr(subprocess, "Popen", ended)
    (room := tmp_path / "room").mkdir()
    with pytest.raises(LineError, match="more than the 100 bytes"):
        line.run(Line(("sh", "-c", f"printf %0200d 1 >{room}/file"), 30, 100, room))


def script(place: Path, text: str) -> str:
    path = place / "a hook"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return f"'{path}'"


def test_it_is_split_as_a_shell_would_and_no_shell_runs_it(tmp_path: Path) -> None:
    text = script(tmp_path, f'printf "%s\\n" "$@" "$REQUORUM_OUTCOME" >{tmp_path}/said')
    assert line.attempt(f"{text} 'two words' $HOME ;x", {"REQUORUM_OUTCOME": "verified"}, 30) == ""
    assert (tmp_path / "said").read_text() == "two words\n$HOME\n;x\nverified\n"


def test_what_goes_wrong_is_a_sentence(tmp_path: Path) -> None:
    said = line.attempt(script(tmp_path, "echo first >&2; printf 'no\\033[2J' >&2; exit 3"), {}, 30)
    assert said == f"{tmp_path}/a hook ended with 3: no\\x1b[2J"
    assert "could not be started: No such file" in line.attempt("/nowhere/at-all x", {}, 30)


def test_with_its_deadline_all_that_it_started_ends(tmp_path: Path) -> None:
    text = script(tmp_path, f"sleep 600 & echo $! >{tmp_path}/child; wait")
    assert line.attempt(text, {}, 1).endswith("did not end within 1 s")
    ends(int((tmp_path / "child").read_text()))


def test_an_interrupt_ends_it_and_all_that_it_started_and_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, wait, child = (
        script(tmp_path, f"sleep 600 & echo $! >{tmp_path}/child; wait"),
        subprocess.Popen.wait,
        tmp_path / "child",
    )
    interrupts = [KeyboardInterrupt()]

    def interrupted(process: subprocess.Popen[bytes], timeout: float | None = None) -> int:
        poll.until(lambda: child.exists() and child.read_text() != "", seconds=30, what="the child is there")
        if interrupts:
            raise interrupts.pop()
        return wait(process, timeout)

    monkeypatch.setattr(subprocess.Popen, "wait", interrupted)
    assert line.attempt(text, {}, 30) == f"{tmp_path}/a hook was interrupted"
    ends(int(child.read_text()))


def test_what_it_leaves_running_does_not_keep_the_run_and_what_it_says_without_an_end_fills_no_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert line.attempt(script(tmp_path, f"sleep 600 >/dev/null & echo $! >{tmp_path}/child"), {}, 30) == ""
    os.kill(int((tmp_path / "child").read_text()), 9)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))  # it writes into no file of ours
    said = line.attempt(script(tmp_path, "yes noise | head -c 9000000 >&2; echo password=hunter2 >&2; exit 3"), {}, 30)
    assert said.startswith(f"{tmp_path}/a hook ended with 3: password=") and "hunter2" not in said


@pytest.mark.parametrize("text", ["'", "  "])
def test_a_line_that_is_none_is_refused_with_the_inventory(text: str) -> None:
    with pytest.raises(ValidationError, match="is no command line"):
        build.inventory(hooks={"on_failure": text})
