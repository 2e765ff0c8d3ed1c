"""testinfra's looks with a deadline: its own wait for ever where a host, or its directory service, hangs."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

from testinfra.backend.base import CommandResult
from testinfra.host import Host

from requorum.command import MOST
from requorum.hosts import bounded, shell


def bound(seen: Host, seconds: float, carried: Callable[[str], str] = str, mark: str = "") -> Host:
    """The same view of a host. A look that does not end in time raises `RuntimeError`, as ssh does where it fails.

    `carried`: how a line is brought to its sh; `mark` stands before what it prints.
    """
    backend = seen.backend
    asked = ""

    def get_command(command: str, *arguments: str) -> str:
        nonlocal asked
        asked = backend.quote(command, *arguments)
        return carried(asked)

    def run_local(command: str, *arguments: str) -> CommandResult:
        line = backend.encode(backend.quote(command, *arguments))
        process = subprocess.Popen(
            line, shell=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        heard = bounded.hear(process, None, MOST, seconds)
        if heard.ended:
            why = f"did not end within {seconds:g} s" if heard.ended == "late" else f"printed more than {MOST:,} bytes"
            raise RuntimeError(f"a look {why}: {asked[:200]}")
        out, err = heard.out, heard.err
        _, out = shell.answer(out, mark.encode()) or (b"", out) if mark else (b"", out)
        return backend.result(process.returncode, line, out, err)

    backend.run_local, backend.get_command = run_local, get_command
    return seen
