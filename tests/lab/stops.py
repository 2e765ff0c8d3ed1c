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


def choice(run: Run, option: str) -> str:
    """An option as the stop prints it behind its arrow, to be pasted; a table may have to break one."""
    found = re.search(rf"{option}=[^\s;,]+", run.output.partition("→")[2])
    assert found, run.output
    return found[0]
