"""Who wrote is observed, also where the cluster that a run made is down, or what it began with is compacted."""

from __future__ import annotations

import pytest

from compose import etcd_client
from tests.lab.rehearsal import Rehearsal
from tests.lab.test_rollback import ETCDCTL, cut

pytestmark = pytest.mark.matrix
PROVEN = "test_then_no_old_member_serves_clients"  # the last proof before Deephaven is turned on


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
