"""Runs one command and writes what it took: `python -m tests.benchmarks.measured FILE COMMAND…`.

A process of its own, and a small one: Linux counts the memory of whoever starts a process as its peak too, and
`bench.py` has held all keys of the lab. The command's exit code is this one's.
"""

import json
import os
import resource
import subprocess
import sys
import time


def main(out: str, command: list[str]) -> int:
    """Seconds from start to end, and the largest resident memory of any process of the command, in MiB."""
    started = time.monotonic()
    code = subprocess.call(command)
    seconds = time.monotonic() - started
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    with open(out, "w", encoding="utf-8", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
        json.dump({"seconds": seconds, "peak_mib": peak}, file)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
