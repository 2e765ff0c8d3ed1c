"""A run that is killed or cut off anywhere is finished by the same command.

Where that can be, the stages tell themselves: `make test` interrupts one incident once in every step, `make
rehearse-matrix` kills the runbook in and after every single When, and again while it carries on.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from compose import poll
from compose.nodes import Node
from compose.state import REPOSITORY
from requorum import procedures
from tests.lab import launch, plans
from tests.lab.rehearsal import Rehearsal
from tests.lab.writers import leftovers, restored_ahead

WHENS = [node for node in procedures.expected(REPOSITORY / "runbook", REPOSITORY) if "::test_when_" in node]

# One stage in every step at which the runbook is killed, and one at which a host's ssh is cut.
KILLED = (
    "test_when_the_snapshot_is_copied_to_every_new_member",
    "test_when_etcd_is_stopped_and_its_unit_set_aside",
    "test_when_the_old_passwords_are_put_into_the_archives",
    "test_when_the_snapshot_is_tried",
    "test_when_the_server_configuration_is_installed",
    "test_when_the_snapshot_is_restored_on_every_member",
    "test_when_deephaven_is_turned_on_at_the_configuration_server",
)
CUTS = {
    "test_when_the_snapshot_is_copied_to_every_new_member": "etcd-2",
    "test_when_deephaven_is_turned_off": "etcd-3",
    "test_when_the_new_configuration_is_generated": "infra-1",
    "test_when_both_archives_are_copied": "query-1",
    "test_when_the_snapshot_is_restored_on_every_member": "etcd-2",
    "test_then_every_old_password_logs_in": "infra-1",
}


def test_a_run_that_is_killed_once_in_every_step_is_carried_on_each_time(rehearsal: Rehearsal) -> None:
    assert _steps(KILLED) == _steps(WHENS), "there is a kill in every step"
    rehearsal.lose("wipe")
    inventory = rehearsal.inventory()
    for stage in KILLED:
        kill(rehearsal, inventory, stage, acts)
    again = rehearsal.run(inventory)
    rehearsal.assert_recovered(again)
    assert leftovers(rehearsal.nodes) == [] and restored_ahead(rehearsal.nodes) == []


@pytest.mark.matrix  # more than three minutes; a kill in every step stays
def test_a_run_whose_ssh_is_cut_in_every_step_stops_clearly_and_is_carried_on(rehearsal: Rehearsal) -> None:
    rehearsal.lose("wipe")
    inventory, runs = rehearsal.inventory(), []
    for stage, name in CUTS.items():
        node = rehearsal.nodes.by_name(name)
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
        runs.append(cut.summary["run"])
    plan = plans.made(rehearsal, inventory)
    process, evidence = rehearsal.start(inventory)
    again = rehearsal.finish(process, evidence)
    rehearsal.assert_recovered(again)
    assert {again.summary["run"]} == set(runs[2:]), "one run from the first change to the end"
    plans.assert_it_was_run(plan, evidence)  # what was left to do, and nothing else


@pytest.mark.matrix
@pytest.mark.parametrize("when", WHENS, ids=lambda node: node.rsplit("::", 1)[-1].removeprefix("test_"))
def test_a_run_that_is_killed_in_and_after_a_when_is_carried_on(rehearsal: Rehearsal, when: str) -> None:
    stage = when.rsplit("::", 1)[-1]
    healthy = stage == "test_when_a_healthy_cluster_is_saved"  # it acts in a handover only
    if not healthy:
        rehearsal.lose("wipe")
    inventory, words = rehearsal.inventory(), ("--rebuild",) if healthy else ()
    for moment in (acts, acts, ends):
        kill(rehearsal, inventory, stage, moment, *words)
    run = rehearsal.run(inventory, *words)
    if when == WHENS[-1]:  # it was closed before it was killed: nothing is left to do
        assert run.code == 1 and "quorum is intact" in run.output, run.output
        rehearsal.assert_data_is_back()
        rehearsal.assert_deephaven_works()
    else:
        rehearsal.assert_recovered(run)
    assert leftovers(rehearsal.nodes) == []


def _steps(names: tuple[str, ...] | list[str]) -> list[str]:
    """The modules of these stages, each once."""
    return list(dict.fromkeys(node.split("::")[0] for node in WHENS if node.rsplit("::", 1)[-1] in str(names)))


# -- moments -----------------------------------------------------------------------------------------------------

Moment = Callable[[list[dict[str, Any]]], bool]


def begins(records: list[dict[str, Any]]) -> bool:
    """The stage has begun. `records`: the journal from the stage's beginning on."""
    return bool(records)


def acts(records: list[dict[str, Any]]) -> bool:
    """Its commands are on their way, or there was nothing to do."""
    return any(record["kind"] in ("planned", "stage ended") for record in records)


def ends(records: list[dict[str, Any]]) -> bool:
    """It has ended, and the next one has not acted yet."""
    return any(record["kind"] == "stage ended" for record in records)


def kill(rehearsal: Rehearsal, inventory: Path, stage: str, moment: Moment, *words: str) -> None:
    """Runs the runbook and kills it, with SIGKILL, at that moment; a run that is past it already may end well."""
    process, evidence = rehearsal.start(inventory, *words)
    try:
        await_stage(process, evidence, stage, moment)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def await_stage(process: launch.Process, evidence: Path, stage: str, moment: Moment = begins) -> None:
    """Waits until the run's own journal says that the moment of the stage has come."""

    read, since = 0, list[dict[str, Any]]()  # only what is new each time: who looks late kills late

    def come() -> bool:
        nonlocal read
        assert process.poll() is None, f"the run ended before the stage began: {launch.so_far(evidence.parent)}"
        for journal in evidence.glob("2*/journal.jsonl"):  # one
            new = b"".join(journal.read_bytes()[read:].rpartition(b"\n")[:2])
            read += len(new)
            for record in map(json.loads, new.splitlines()):
                if since or (record["kind"] == "stage" and record["stage"].endswith(stage)):
                    since.append(record)
        return bool(since) and moment(since)

    poll.until(come, seconds=180, every=0.02, what=f"{moment.__name__}: {stage}")


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
