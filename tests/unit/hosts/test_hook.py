"""A line of the inventory run on this machine: its words, its environment, its deadline; with real processes."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from compose import poll
from requorum.hosts import hook


def script(place: Path, text: str) -> str:
    path = place / "a hook"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return f"'{path}'"


def test_it_is_split_as_a_shell_would_and_no_shell_runs_it(tmp_path: Path) -> None:
    line = script(tmp_path, f'printf "%s\\n" "$@" "$REQUORUM_OUTCOME" >{tmp_path}/said')
    assert hook.run(f"{line} 'two words' $HOME ;x", {"REQUORUM_OUTCOME": "verified"}, 30) == ""
    assert (tmp_path / "said").read_text() == "two words\n$HOME\n;x\nverified\n"


def test_what_goes_wrong_is_a_sentence(tmp_path: Path) -> None:
    said = hook.run(script(tmp_path, "echo first >&2; printf 'no\\033[2J' >&2; exit 3"), {}, 30)
    assert said == f"{tmp_path}/a hook ended with 3: no?[2J"
    assert "could not be started: No such file" in hook.run("/nowhere/at-all x", {}, 30)


def test_with_its_deadline_all_that_it_started_ends(tmp_path: Path) -> None:
    line = script(tmp_path, f"sleep 600 & echo $! >{tmp_path}/child; wait")
    assert hook.run(line, {}, 1).endswith("did not end within 1 s")
    ends(int((tmp_path / "child").read_text()))


def test_an_interrupt_ends_it_and_all_that_it_started_and_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line, wait = script(tmp_path, f"sleep 600 & echo $! >{tmp_path}/child; wait"), subprocess.Popen.wait

    def interrupted(process: subprocess.Popen[bytes], timeout: float | None = None) -> int:
        if timeout is None:
            return wait(process)
        poll.until(lambda: child.exists() and child.read_text() != "", seconds=30, what="the child is there")
        raise KeyboardInterrupt

    child = tmp_path / "child"
    monkeypatch.setattr(subprocess.Popen, "wait", interrupted)
    assert hook.run(line, {}, 30) == f"{tmp_path}/a hook was interrupted"
    ends(int(child.read_text()))


def ends(child: int) -> None:
    def gone() -> bool:
        try:
            os.kill(child, 0)
        except ProcessLookupError:
            return True
        return Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0] == "Z"

    poll.until(gone, seconds=30, what="the child ends")


@pytest.mark.parametrize("line", ["'", "  "])
def test_a_line_that_is_none_is_refused_with_the_inventory(line: str) -> None:
    from pydantic import ValidationError

    from tests.unit import build

    with pytest.raises(ValidationError, match="is no command line"):
        build.inventory(hooks={"on_failure": line})
