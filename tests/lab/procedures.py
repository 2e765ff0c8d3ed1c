"""Procedures other than the recovery, run as they are in production: by their own command in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from compose.nodes import Nodes
from compose.state import REPOSITORY
from tests.lab.rehearsal import Run


def start(scratch: Path, procedure: str, *arguments: str) -> tuple[subprocess.Popen[str], Path]:
    """Starts `pytest runbook/<procedure>`. Returns it and its evidence directory."""
    evidence = Path(tempfile.mkdtemp(prefix="evidence-", dir=scratch))
    argv = [sys.executable, "-m", "pytest", f"runbook/{procedure}", f"--evidence={evidence}", *arguments]
    process = subprocess.Popen(
        argv, cwd=REPOSITORY, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, start_new_session=True,
    )  # fmt: skip
    return process, evidence


def finish(process: subprocess.Popen[str], evidence: Path) -> Run:
    output, _ = process.communicate(timeout=600)
    summaries = sorted(evidence.glob("*/*/summary.json"))
    summary = json.loads(summaries[-1].read_text()) if summaries else {}
    return Run(process.returncode, output, summary)


def run(scratch: Path, procedure: str, *arguments: str) -> Run:
    return finish(*start(scratch, procedure, *arguments))


def left_on_hosts(nodes: Nodes) -> dict[str, str]:
    """host → what backups have left there; {} is as it must be."""
    # Runs keep snapshots of their own below /var/lib/requorum; a backup's place there is called after it.
    script = "find /var/lib/requorum -name 'backup*'; find /tmp /root -name '*backup*' -o -name '*.snap'"
    found = {n.name: n.run(["sh", "-c", f"{script} 2>/dev/null"], check=False).stdout.strip() for n in nodes.all}
    return {name: left for name, left in found.items() if left}
