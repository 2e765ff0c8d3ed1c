"""A run that is cut anywhere stops with a clear message, and the same command finishes it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from compose import poll
from compose.nodes import Node
from tests.lab.rehearsal import Rehearsal

# One cut in every step: the host whose ssh is cut, and the stage whose start it is cut at.
CUTS = {
    "step-0": ("etcd-2", "test_when_the_snapshot_is_copied_to_every_new_member"),
    "step-1": ("etcd-3", "test_when_deephaven_is_turned_off"),
    "step-2": ("infra-1", "test_when_the_new_configuration_is_generated"),
    "step-3": ("query-1", "test_when_both_archives_are_copied"),
    "step-4": ("etcd-2", "test_when_the_snapshot_is_restored_on_every_member"),
    "step-5": ("infra-1", "test_then_every_old_password_logs_in"),
}


@pytest.mark.parametrize("step", CUTS)
def test_a_run_whose_ssh_is_cut_stops_clearly_and_the_same_command_finishes(rehearsal: Rehearsal, step: str) -> None:
    name, stage = CUTS[step]
    node = rehearsal.nodes.by_name(name)
    rehearsal.lose("wipe")
    inventory = rehearsal.inventory()
    process, evidence = rehearsal.start(inventory)
    try:
        await_stage(process, evidence, stage)
        cut_ssh(node)
        cut = rehearsal.finish(process, evidence)
    finally:
        process.kill()
        mend_ssh(node)
    assert cut.code == 1, cut.output
    assert f"{name}: " in cut.output
    assert "did not answer" in cut.output
    assert "Traceback" not in cut.output
    assert cut.summary["stopped_at"]

    again = rehearsal.run(inventory)
    rehearsal.assert_recovered(again)
    assert again.summary["run"] == cut.summary["run"] or step == "step-0"


def await_stage(process: subprocess.Popen[str], evidence: Path, stage: str) -> None:
    """Waits until the run's own journal says that the stage has begun."""

    def begun() -> bool:
        assert process.poll() is None, "the run ended before the stage began"
        return any(
            json.loads(line).get("stage", "").endswith(stage)
            for journal in evidence.glob("*/journal.jsonl")
            for line in journal.read_text().splitlines()
            if '"kind": "stage"' in line
        )

    poll.until(begun, seconds=120, every=0.02, what=f"the stage {stage} begins")


CUT = """
systemctl stop ssh.socket 2>/dev/null
systemctl kill --kill-whom=all -s KILL ssh.service
systemctl stop ssh.service
for session in $(loginctl list-sessions --no-legend 2>/dev/null | awk '{print $1}'); do
    loginctl terminate-session "$session"
done
"""


def cut_ssh(node: Node) -> None:
    """Ends the host's ssh, with all sessions that are open."""
    node.run(["sh", "-c", CUT], check=False)


def mend_ssh(node: Node) -> None:
    node.run(["sh", "-c", "systemctl reset-failed ssh.service; systemctl start ssh.service"])
