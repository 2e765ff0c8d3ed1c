"""The first word with a host over ssh: it opens the shared connection, and tells what the login's shell is like."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from requorum.hosts import shell
from requorum.hosts.shell import Login

# Seconds that a connection surely outlives its last use: ControlPersist, less a moment.
PERSIST = 100


@dataclass(frozen=True)
class NoLogin:
    """Why there is none. `silent`: nobody answered, so nothing is known of the host."""

    why: str
    silent: bool


def greet(prefix: Sequence[str], mark: str, seconds: float) -> Login | NoLogin:
    try:
        said = subprocess.run(
            (*prefix, shell.carried(shell.WHICH, mark)),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=seconds,
            start_new_session=True,
            text=True,
            errors="replace",
        )
    except subprocess.TimeoutExpired:
        return NoLogin(f"did not answer within {seconds:g} s", silent=True)
    if said.returncode == 255:
        return NoLogin(f"did not answer: {last_line(said.stderr)}", silent=True)
    words = last_line(f"{said.stderr}\n{said.stdout}")
    return shell.login(said.stdout, mark) or NoLogin(
        f"its login's shell runs no command: {words[:200]!r}", silent=False
    )


def last_line(text: str) -> str:
    lines = [line.strip() for line in text.replace("\\n", "\n").splitlines() if line.strip()]
    return lines[-1] if lines else "no reason was given"
