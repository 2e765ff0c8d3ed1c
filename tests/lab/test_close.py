"""A run that stopped and that people finished by hand is closed; what is lost afterwards is a run of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from requorum.inventory import load
from tests.lab import plans, procedures
from tests.lab.rehearsal import Rehearsal, Run
from tests.lab.test_rollback import cut


def close(rehearsal: Rehearsal, inventory: Path) -> Run:
    return procedures.run(rehearsal.scratch, "close", f"--hosts={inventory}", "--confirm=lab")


@pytest.mark.matrix
def test_a_run_that_people_finished_is_closed_and_a_new_loss_is_a_new_run(rehearsal: Rehearsal) -> None:
    rehearsal.lose("wipe")
    inventory = rehearsal.inventory()

    # Killed in Step 5, before its mark says that Deephaven was turned on: nothing is proven to be finished yet.
    cut(rehearsal, inventory, "test_when_what_was_proven_is_noted")
    early = close(rehearsal, inventory)
    assert early.code == 1 and early.summary["outcome"] == "refused", early.output
    assert early.summary["stopped_at"].endswith("test_given_deephaven_runs_and_talks_to_etcd"), early.output

    # People turn Deephaven on.
    turn_deephaven_on(rehearsal, inventory)
    rehearsal.assert_deephaven_works()
    for procedure in ("rollback", "retry"):  # the mark says that nobody can have written; the cluster says who did
        thrown = procedures.run(rehearsal.scratch, procedure, f"--hosts={inventory}", "--confirm=lab")
        assert thrown.code == 1 and "its cluster runs and was written to" in thrown.output, thrown.output
    rehearsal.assert_deephaven_works()
    plan = plans.made(rehearsal, inventory, of="close")
    process, evidence = procedures.start(rehearsal.scratch, "close", f"--hosts={inventory}", "--confirm=lab")
    closed = procedures.finish(process, evidence)
    assert closed.code == 0 and closed.summary["outcome"] == "closed", closed.output
    plans.assert_it_was_run(plan, evidence / "lab")
    assert closed.summary["run"] == early.summary["run"]
    rehearsal.assert_data_is_back()

    again = close(rehearsal, inventory)
    assert again.code == 1 and "no mark of an unfinished run" in again.output, again.output

    # The cluster that people finished is the one that is lost now: its survivor's data wins, by a run of its own.
    rehearsal.lose("wipe")
    recovered = rehearsal.run(inventory)
    rehearsal.assert_recovered(recovered)
    assert recovered.summary["run"] != closed.summary["run"]
    assert recovered.summary["snapshot"]["source"] == "salvage", recovered.summary["snapshot"]


def turn_deephaven_on(rehearsal: Rehearsal, inventory: Path) -> None:
    """By the vendor's own command, the configuration server first."""
    deephaven = load(inventory).deephaven
    up = deephaven.commands.monit_up.format(admin_user=deephaven.admin_user)
    nodes = rehearsal.nodes
    first = nodes.configuration_server
    for node in (first, *(n for n in map(nodes.by_name, deephaven.hosts) if n.name != first.name)):
        node.run(["sh", "-c", up])
