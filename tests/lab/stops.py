"""A run that stopped before less was restored, and the choices that it printed."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

from tests.lab import launch
from tests.lab.rehearsal import Rehearsal, Run


def stops(run: Run, stage: str) -> None:
    """It ended there, and said nothing that reassures."""
    assert run.code == 1, run.output
    assert run.summary["stopped_at"].endswith(stage), run.output
    assert "Recovered" not in run.output
    assert "no disk holds anything" not in run.output


def choice(run: Run, word: str) -> str:
    """What the stop offers with this word behind its arrow, to be pasted."""
    found = re.search(rf"--accept=[^\s;]*{word}[^\s;]*", run.output.partition("→")[2])
    assert found, run.output
    return found[0]


def paste_on_hosts(run: Run, words: str) -> None:
    """Each line that this run's last lines hold to be run on a host with these words, as it stands."""
    lines = [found[0] for line in run.output.splitlines() if (found := re.search(rf"ssh .*{words}.*$", line))]
    assert lines, run.output
    for line in dict.fromkeys(lines):
        subprocess.run(line, shell=True, check=True, timeout=60)


def paste(rehearsal: Rehearsal, run: Run, *words: str) -> Run:
    """The first command that this run's last lines hold with these words, run as it stands, from anywhere; the
    cluster's name is typed where the command does not say it."""
    printed = (re.match(r"(?:[A-Z][a-z]+(?: [a-z]+)?)?\s*(cd /.*)", line) for line in run.output.splitlines())
    lines = [found[1].strip() for found in printed if found]
    line = next((line for line in lines if all(word in line for word in words)), None)
    assert line, run.output
    (evidence,) = [word.partition("=")[2] for word in shlex.split(line) if word.startswith("--evidence=")]
    return rehearsal.finish(launch.typed(Path(evidence), line, "--confirm=lab"), Path(evidence) / "lab")
