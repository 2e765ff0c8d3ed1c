"""testinfra's looks with a deadline: its own wait for ever where a host, or its directory service, hangs."""

from __future__ import annotations

import subprocess

from testinfra.backend.base import CommandResult
from testinfra.host import Host


def bound(seen: Host, seconds: float) -> Host:
    """The same view of a host. A look that does not end in time raises `RuntimeError`, as ssh does where it fails."""
    backend = seen.backend

    def run_local(command: str, *arguments: str) -> CommandResult:
        line = backend.encode(backend.quote(command, *arguments))
        process = subprocess.Popen(
            line, shell=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        try:
            out, err = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.kill()  # what hangs below it ends with the connection
            for pipe in (process.stdout, process.stderr):
                if pipe:
                    pipe.close()
            process.wait()
            raise RuntimeError(f"a look did not end within {seconds:g} s: {command[:200]}") from None
        return backend.result(process.returncode, line, out, err)

    backend.run_local = run_local
    return seen
