"""A piece of the controller in a process of its own, for what it takes in memory and what it stores."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
GIB = 1 << 30
MEMORY_MIB = 150  # what the controller may take, however large the snapshot is
STORED = 1 << 20  # bytes: the largest file that it may write before the kernel ends it

# The peak is the kernel's VmHWM: ru_maxrss counts what this test had in memory before it started the process.
AROUND = """
import json, re, resource, sys
from pathlib import Path
resource.setrlimit(resource.RLIMIT_FSIZE, ({stored}, resource.RLIM_INFINITY))
{work}
peak = int(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1])
print(json.dumps([answer, peak / 1024]))
"""


def run(work: str, *arguments: str) -> tuple[object, float]:
    """Runs Python that takes `arguments` from sys.argv and leaves `answer`. Returns that and its peak memory in MiB.

    Whoever in it, or started by it, stores more than `STORED` bytes in one file fails; a pipe is no file.
    """
    program = AROUND.format(stored=STORED, work=work)
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer, peak = json.loads(done.stdout)
    return answer, peak
