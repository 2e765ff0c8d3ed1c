"""Who wrote is observed, also where the cluster that a run made is down, or what it began with is compacted."""

from __future__ import annotations

import pytest

from compose import etcd_client
from compose.nodes import on_each
from tests.lab import procedures
from tests.lab.rehearsal import Rehearsal
from tests.lab.test_rollback import ETCDCTL, assert_equal, assert_rolled_back, cut, listing, roll_back

pytestmark = pytest.mark.matrix
PROVEN = "test_then_no_old_member_serves_clients"  # the last proof before Deephaven is turned on


def stop_all_members(rehearsal: Rehearsal) -> None:
    on_each(rehearsal.nodes.members, lambda node: node.run(["systemctl", "stop", "dh-etcd.service"]))


def test_a_compaction_after_the_proof_of_step_5_is_no_obstacle(rehearsal: Rehearsal) -> None:
    rehearsal.lose("wipe")
    inventory = rehearsal.inventory()
    cut(rehearsal, inventory, PROVEN)
    with etcd_client.connect(rehearsal.nodes) as client:
        revision = client.revision()
    rehearsal.nodes.configuration_server.run([*ETCDCTL, "compact", str(revision)])
    carried_on = rehearsal.run(inventory)
    rehearsal.assert_recovered(carried_on)
    assert "as this run had noted" in carried_on.output, carried_on.output


def test_a_cluster_that_is_down_is_thrown_away_only_by_word_where_somebody_wrote(rehearsal: Rehearsal) -> None:
    rehearsal.lose("wipe")
    inventory, before = rehearsal.inventory(), listing(rehearsal)

    cut(rehearsal, inventory, PROVEN)
    stop_all_members(rehearsal)
    unwritten = roll_back(rehearsal, inventory)
    assert_rolled_back(unwritten)
    assert unwritten.summary["data_loss"]["certain"] == 0, unwritten.summary["data_loss"]
    assert_equal(before, listing(rehearsal))

    cut(rehearsal, inventory, PROVEN)
    revision = etcd_client.put(rehearsal.nodes, "/main/by/hand", "after all was proven")
    stop_all_members(rehearsal)
    for procedure in ("rollback", "retry"):
        refused = procedures.run(rehearsal.scratch, procedure, f"--hosts={inventory}", "--confirm=lab")
        assert refused.code == 1 and refused.summary["outcome"] == "refused", refused.output
        assert f"is at revision {revision:,}" in " ".join(refused.output.split()), refused.output
        assert "--discard-new-writes" in refused.output, refused.output
    discarded = roll_back(rehearsal, inventory, "--discard-new-writes")
    assert_rolled_back(discarded)
    loss = discarded.summary["data_loss"]
    assert (loss["certain"], loss["possible"]) == (1, None), loss
    assert_equal(before, listing(rehearsal))
