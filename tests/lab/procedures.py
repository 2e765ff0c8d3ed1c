"""Procedures other than the recovery, run as they are in production: by their own command in a process of its own."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from compose.nodes import Nodes
from tests.lab import launch
from tests.lab.rehearsal import Run


def start(scratch: Path, procedure: str, *arguments: str) -> tuple[launch.Process, Path]:
    """Starts `pytest runbook/<procedure>`. Returns it and its evidence directory."""
    evidence = Path(tempfile.mkdtemp(prefix="evidence-", dir=scratch))
    return launch.start(evidence, f"runbook/{procedure}", *arguments), evidence


def finish(process: launch.Process, evidence: Path) -> Run:
    output = launch.output(process, evidence)
    summaries = sorted(evidence.glob("*/2*/summary.json"))
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
