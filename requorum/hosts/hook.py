"""A line of the inventory, run on this machine at the end of a run: split into words, no shell, with a deadline."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from contextlib import suppress

from requorum.hosts.question import plain

MOST = 4096  # bytes of what it said that are looked at


def run(line: str, environment: Mapping[str, str], seconds: float) -> str:
    """Why it did not work, in a sentence; "" where it did. Its process group ends with the deadline, or at Ctrl-C."""
    words = shlex.split(line)
    with tempfile.TemporaryFile() as errors:  # a pipe would be held open by what it leaves behind
        try:
            process = subprocess.Popen(
                words,
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                start_new_session=True,
            )
        except OSError as error:
            return f"{words[0]} could not be started: {error.strerror}"
        try:
            code = process.wait(timeout=seconds)
        except (subprocess.TimeoutExpired, KeyboardInterrupt) as ended:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            late = isinstance(ended, subprocess.TimeoutExpired)
            return f"{words[0]} {f'did not end within {seconds:g} s' if late else 'was interrupted'}"
        errors.seek(max(errors.tell() - MOST, 0))
        lines = errors.read().decode(errors="replace").strip().splitlines()
    return "" if code == 0 else f"{words[0]} ended with {code}{f': {plain(lines[-1])}' if lines else ''}"
