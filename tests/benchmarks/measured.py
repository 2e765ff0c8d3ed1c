"""Runs one command and writes what it took: `python -m tests.benchmarks.measured FILE COMMAND…`.

A process of its own, and a small one: Linux counts the memory of whoever starts a process as its peak too, and
`bench.py` has held all keys of the lab. The command's exit code is this one's.
"""

import json
import os
import resource
import subprocess
import sys
import threading
import time
from pathlib import Path

EVERY = 0.25  # seconds between two looks at all processes


def main(out: str, command: list[str]) -> int:
    """Seconds from start to end; in MiB, the largest resident memory of any process of the command, and the most that
    all of them took together at any look, what they share counted once, without what detached itself, as ssh's
    masters do."""
    started = time.monotonic()
    process = subprocess.Popen(command)
    most = [0]
    threading.Thread(target=_watch, args=(process, most), daemon=True).start()
    code = process.wait()
    seconds = time.monotonic() - started
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    with open(out, "w", encoding="utf-8", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
        json.dump({"seconds": seconds, "peak_mib": peak, "together_mib": most[0] / 2**20}, file)
    return code


def _watch(process: "subprocess.Popen[bytes]", most: list[int]) -> None:
    while process.poll() is None:
        most[0] = max(most[0], sum(map(_bytes, _family(process.pid))))
        time.sleep(EVERY)


def _family(pid: int) -> list[int]:
    """A process and all that descend from it."""
    found = [pid]
    for one in found:  # grows meanwhile
        try:
            tasks = list(Path(f"/proc/{one}/task").iterdir())
            found += [int(child) for task in tasks for child in (task / "children").read_text().split()]
        except OSError:
            continue  # it has ended
    return found


def _bytes(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
