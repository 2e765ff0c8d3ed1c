"""Starts the runbook as an operator does, in a process of its own, and reads what it said.

What it says goes to a file. A pipe that is read only at the end holds 64 KiB: a run that says more would stand still
until somebody reads, while a test waits for its next stage.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from compose.state import REPOSITORY

Process = subprocess.Popen[bytes]

# Every run compiles the runbook's and testinfra's modules where nothing may be written beside them: a second each.
_COMPILED = tempfile.TemporaryDirectory(prefix="requorum-compiled-")
ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"},
    "PYTHONPYCACHEPREFIX": _COMPILED.name,
    "COLUMNS": "400",  # what it says is looked for in whole sentences: none is wrapped
}


def start(evidence: Path, *arguments: str, checkout: Path = REPOSITORY) -> Process:
    """Starts `pytest runbook…` with its evidence below `evidence`, in a process group, of a `checkout`.

    With `-v`, so that the whole text of a failure is said, and a traceback that nobody foresaw."""
    argv = [sys.executable, "-m", "pytest", *arguments, "-v", f"--evidence={evidence}"]
    return _started(evidence, argv, checkout)


def typed(evidence: Path, line: str, confirm: str) -> Process:
    """The same by a line that was pasted into a shell somewhere; its evidence is below `evidence`."""
    return _started(evidence, ["sh", "-c", line if confirm in line else f"{line} {confirm}"], Path("/"))


def _started(evidence: Path, argv: list[str], place: Path) -> Process:
    with _said(evidence).open("wb") as said:
        return subprocess.Popen(
            argv,
            cwd=place,
            env=ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def output(process: Process, evidence: Path, seconds: float = 600) -> str:
    """All that it said, once it has ended."""
    process.wait(timeout=seconds)
    return so_far(evidence)


def so_far(evidence: Path) -> str:
    return _said(evidence).read_text()


def _said(evidence: Path) -> Path:
    return evidence / "terminal.txt"
