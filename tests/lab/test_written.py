"""Who wrote is observed, also where the cluster that a run made is down, or what it began with is compacted."""

from __future__ import annotations

import pytest

from compose import etcd_client
from compose.nodes import on_each
from requorum.snapshots import manifest
from tests.lab import plans, procedures
from tests.lab.rehearsal import Rehearsal
from tests.lab.test_close import turn_deephaven_on
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


def test_a_cluster_that_people_finished_is_what_is_lost_though_nobody_closed_its_run(rehearsal: Rehearsal) -> None:
    rehearsal.lose("wipe")
    inventory = rehearsal.inventory()
    cut(rehearsal, inventory, PROVEN)
    turn_deephaven_on(rehearsal, inventory)
    rehearsal.assert_deephaven_works()
    etcd_client.put(rehearsal.nodes, "/status/by/hand", "months later")

    plan = plans.made(rehearsal, inventory)
    assert not [row for row in plan.rows if "dh_monit down" in row["line"]], "carried on, Deephaven stays on"
    backed_up = procedures.run(rehearsal.scratch, "backup", f"--hosts={inventory}")
    assert backed_up.code == 0 and "was never closed, but its cluster lives" in " ".join(backed_up.output.split())
    newest = max((rehearsal.scratch / "backups").glob("*.snap"), key=lambda path: path.stat().st_mtime)
    note = manifest.read(newest)
    assert note is not None and note.lived

    rehearsal.lose("wipe")
    recovered = rehearsal.run(inventory)
    assert "was never closed, but its cluster does not run" in " ".join(recovered.output.split()), recovered.output
    rehearsal.assert_recovered(recovered)
    assert recovered.summary["snapshot"]["source"] == "salvage", recovered.summary["snapshot"]
    assert b"/status/by/hand" in etcd_client.read_all(rehearsal.nodes, "/status/by/")
