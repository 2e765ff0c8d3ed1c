"""Three accounts run Deephaven, and the vendor's commands run as its administrator, as the vendor's pages have it."""

from __future__ import annotations

import pytest

from compose import cluster
from tests.lab import procedures
from tests.lab.rehearsal import Own

pytestmark = pytest.mark.matrix
# A process of dbmerge that monit does not know, as somebody may start one by hand and log out.
BY_HAND = "cp /bin/sleep /tmp/java && setsid -f runuser -u dbmerge -- /tmp/java 900"
PID = "pgrep -u dbmerge -x java"


def test_it_is_backed_up_checked_handed_over_and_a_process_of_any_account_is_seen(own: Own) -> None:
    other = own(accounts=True)
    inventory = other.inventory()
    saved = procedures.run(other.scratch, "backup", f"--hosts={inventory}")
    assert saved.code == 0 and saved.summary["outcome"] == "backed-up", saved.output
    checked = procedures.run(other.scratch, "", f"--hosts={inventory}", "--check")
    assert [f for f in checked.summary["findings"] if f["verdict"] == "fails"] == [], checked.output
    host = other.nodes.by_name("infra-1")
    host.run(["sh", "-ec", BY_HAND])
    pid = host.run(["sh", "-c", PID]).stdout.strip()
    stopped = other.run(inventory, "--rebuild")
    assert stopped.code == 1 and f"java (process {pid} of dbmerge)" in stopped.output, stopped.output
    host.run(["kill", pid])
    moved = other.run(inventory, "--rebuild")
    other.assert_recovered(moved)
    assert moved.summary["data_loss"]["certain"] == 0
    assert all(member.healthy for member in cluster.state(other.nodes).members)
