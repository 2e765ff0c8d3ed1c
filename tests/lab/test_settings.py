"""What an administrator had written into etcd's configuration, and the generator does not know."""

from __future__ import annotations

from typing import Any

import pytest

from compose import faults
from compose.ailment_scripts import RESTART
from tests.lab import plans
from tests.lab.rehearsal import Rehearsal

QUOTA = 4 << 30
WRITTEN = f"quota-backend-bytes: {QUOTA}"
METRIC = "curl -sk https://127.0.0.1:2379/metrics | grep '^etcd_server_quota_backend_bytes '"


@pytest.mark.matrix
def test_a_raised_quota_is_kept_and_etcd_runs_with_it_as_planned_with_stretched_deadlines(rehearsal: Rehearsal) -> None:
    for member in rehearsal.nodes.members:
        member.run(["sh", "-ec", f"echo '{WRITTEN}' >>{faults.CONFIG}; {RESTART}"])
    faults.await_quorum(rehearsal.nodes)
    rehearsal.lose("wipe")

    def kept(content: dict[str, Any]) -> None:
        content.setdefault("etcd", {})["keep_settings"] = ["quota-backend-bytes", "snapshot-count=5000"]

    inventory, longer = rehearsal.inventory(kept), "--timeout-scale=2"
    plan = plans.made(rehearsal, inventory, longer)
    process, evidence = rehearsal.start(inventory, longer)
    run = rehearsal.finish(process, evidence)
    rehearsal.assert_recovered(run)
    plans.assert_it_was_run(plan, evidence)
    assert " timeout -k 5 120 " in plan.text and " timeout -k 5 60 " not in plan.text
    assert f"kept         quota-backend-bytes {QUOTA}, snapshot-count 5000" in run.output
    for member in rehearsal.nodes.members:
        lines = member.run(["cat", faults.CONFIG]).stdout.splitlines()
        assert lines.count(WRITTEN) == lines.count("snapshot-count: 5000") == 1
        assert float(member.run(["sh", "-c", METRIC]).stdout.split()[1]) == QUOTA
