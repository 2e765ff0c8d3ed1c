"""A run that stopped before less was restored, and the choices that it printed."""

from __future__ import annotations

import re

from tests.lab.rehearsal import Run


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
