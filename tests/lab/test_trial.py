"""The trial stops the run before anything is committed; with the cause mended, the same command finishes it."""

from __future__ import annotations

from tests.lab.rehearsal import Rehearsal
from tests.lab.writers import leftovers

CLIENT = "/etc/sysconfig/deephaven/etcd/client/config/password"


def test_a_password_that_does_not_log_in_to_the_trial_stops_the_run(rehearsal: Rehearsal) -> None:
    nodes = rehearsal.nodes
    right = nodes.configuration_server.get(CLIENT)
    rehearsal.lose("wipe")
    for node in nodes.deephaven:
        node.run(["sh", "-c", 'echo another-password > "$0"', CLIENT])
    inventory = rehearsal.inventory()

    stopped = rehearsal.run(inventory)
    assert stopped.code == 1, stopped.output
    assert "an old password does not log in: config:" in stopped.output
    assert "test_then_every_old_password_logs_in_to_the_trial" in stopped.summary["stopped_at"]
    assert right.decode().strip() not in stopped.output
    assert "Traceback" not in stopped.output
    assert leftovers(nodes) == []

    backup = f"/var/lib/requorum/lab/{stopped.summary['run']}/client.before/config/password"
    for node in nodes.deephaven:
        for path in (CLIENT, backup):
            node.run(["sh", "-c", 'cat > "$0"', path], stdin=right)
    # What was generated holds the wrong one: it is made again from the backup.
    nodes.configuration_server.run(
        ["sh", "-c", "rm -f /var/lib/requorum/lab/*/server.tgz /var/lib/requorum/lab/*/query.tgz"]
    )
    run = rehearsal.run(inventory)
    rehearsal.assert_recovered(run)
    assert run.summary["run"] == stopped.summary["run"]
