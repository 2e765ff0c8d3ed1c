"""`--plan` changes nothing on any host, and what it says is what the run then does."""

from __future__ import annotations

from tests.lab import listing, plans
from tests.lab.rehearsal import Rehearsal

CLIENT = "/etc/sysconfig/deephaven/etcd/client"


def test_a_plan_changes_nothing_and_wiped_members_are_rebuilt_exactly_as_planned(rehearsal: Rehearsal) -> None:
    inventory = rehearsal.inventory()
    healthy = plans.made(rehearsal, inventory)
    assert "Today the runbook would stop at “Given quorum is lost”, and do none of this." in healthy.run.output
    assert "quorum is intact" in healthy.text

    rehearsal.lose("wipe")
    before = listing.taken(rehearsal.nodes)
    plan = plans.made(rehearsal, inventory)
    assert listing.changes(before, listing.taken(rehearsal.nodes)) == []
    assert "Today the runbook would stop" not in plan.run.output
    assert plan.text.index("the commit prompt") < plan.text.index("the point of no return")
    secrets = [rehearsal.nodes.configuration_server.get(f"{CLIENT}/{role}/password") for role in ("root", "props-rw")]
    assert not [secret for secret in secrets if secret.decode().strip() in plan.text + plan.run.output]

    process, evidence = rehearsal.start(inventory)
    run = rehearsal.finish(process, evidence)
    rehearsal.assert_recovered(run)
    plans.assert_it_was_run(plan, evidence)
    assert run.summary["snapshot"]["source"] == "salvage"
    assert [member["name"] for member in run.summary["members"]] == ["etcd-1", "etcd-2", "etcd-3"]
    assert len({member["hash"] for member in run.summary["members"]}) == 1
