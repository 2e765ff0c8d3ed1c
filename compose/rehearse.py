"""`make rehearse`: build the lab, load it, lose its quorum for good, run the runbook, prove the result.

The runbook is run exactly as an operator runs it, in a process of its own. What is measured here, it cannot know: every
key and value before the loss is compared with what is there after the recovery.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from compose import etcd_client, lab, layouts, load, state
from compose.errors import LabError
from compose.nodes import Nodes

ROOT = Path(__file__).resolve().parents[1]
LATE_WRITES = 10  # written after the backup, so that only the survivor's disk has them


def back_up(nodes: Nodes, directory: Path = state.BACKUPS) -> Path:
    """A snapshot by the vendor's etcdctl, fetched into the backup directory: what last night's backup would be."""
    remote = "/root/backup.snap"
    nodes.configuration_server.run(["/usr/illumon/latest/bin/etcdctl.sh", "snapshot", "save", remote])
    data = nodes.configuration_server.get(remote)
    nodes.configuration_server.run(["rm", "-f", remote])
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = directory / f"{datetime.now(UTC).strftime('%Y-%m-%dT%H%M%S.%fZ')}.snap"
    part = path.with_suffix(".part")
    part.touch(mode=0o600)
    part.write_bytes(data)
    part.replace(path)
    return path


def run_runbook(*arguments: str) -> int:
    """`pytest runbook …` as the operator types it; its exit code."""
    return subprocess.call([sys.executable, "-m", "pytest", "runbook", *arguments], cwd=ROOT)


def data(nodes: Nodes) -> dict[bytes, bytes]:
    """Everything but the heartbeats, which change by themselves."""
    return {k: v for k, v in etcd_client.read_all(nodes).items() if not k.startswith(b"/status/")}


def rehearse(leases: int = 0, presence: bool = False, accounts: bool = False, layout: str = "vendor") -> int:
    nodes = lab.up(presence=presence, accounts=accounts, layout=layout)
    lab.say(lab.load_keys(load.KEYS, leases))
    snapshot = back_up(nodes)
    lab.say(f"backup: {snapshot.relative_to(ROOT)}, {snapshot.stat().st_size:,} bytes")
    for number in range(LATE_WRITES):
        etcd_client.put(nodes, f"/main/late/{number}", "written after the backup")
    before = data(nodes)
    lab.say(f"quorum is destroyed now: {lab.break_lab('wipe')}")
    started = time.monotonic()
    code = run_runbook(f"--hosts={state.INVENTORY.stem}", "--confirm=lab")
    seconds = time.monotonic() - started
    if code != 0:
        lab.say(f"rehearsal: NOT recovered, the runbook ended with {code}; its evidence is in evidence/lab")
        return 1
    return _verdict(before, data(nodes), seconds)


def _verdict(before: dict[bytes, bytes], after: dict[bytes, bytes], seconds: float) -> int:
    lost = {key for key, value in before.items() if after.get(key) != value}
    late = {key for key in lost if key.startswith(b"/main/late/")}
    extra = set(after) - set(before)
    evidence = (ROOT / "evidence" / "lab" / "latest").resolve()
    lab.say(f"rehearsal: recovered in {seconds:.1f} s")
    lab.say(f"  {len(before) - len(lost):,} of {len(before):,} keys are back with their values")
    lab.say(f"  written after the backup: {LATE_WRITES - len(late)} of {LATE_WRITES} salvaged")
    lab.say(f"  lost: {len(lost)} (must be 0), not asked for: {len(extra)} (must be 0)")
    lab.say(f"  evidence: {evidence.relative_to(ROOT)}")
    return 1 if lost or extra else 0


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m compose.rehearse")
    parser.add_argument("--leases", type=int, default=0, help="dead leases in the data")
    parser.add_argument("--presence", action="store_true", help="each Deephaven process keeps a key with a lease")
    parser.add_argument("--accounts", action="store_true", help="three accounts run Deephaven")
    parser.add_argument("--layout", choices=layouts.LAYOUTS, default="vendor", help="how etcd lies on its machines")
    given = parser.parse_args(arguments)
    try:
        return rehearse(given.leases, given.presence, given.accounts, given.layout)
    except LabError as error:
        print(f"rehearsal: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    os.umask(0o077)
    sys.exit(main())
