"""The trial stops the run before anything is committed; with the cause mended, the same command finishes it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from compose.nodes import Nodes
from tests.lab.rehearsal import Rehearsal
from tests.lab.writers import leftovers, restored_ahead

CLIENT = "/etc/sysconfig/deephaven/etcd/client/props-rw/password"


WRAPPER = "/usr/local/bin/etcdctl"
# In an isolated boot (its /tmp is its own) whatever is asked meets a change of the leader first.
CHANGES = r"""#!/bin/sh
once=/tmp/asked-$(printf '%s' "$ETCDCTL_USER $*" | md5sum | cut -c1-32)
[ -e "$once" ] || { touch "$once"; echo "Error: etcdserver: leader changed" >&2; exit 1; }
exec /usr/bin/etcdctl "$@"
"""


@contextmanager
def leader_changes_at_every_question(nodes: Nodes) -> Iterator[None]:
    for node in nodes.members:
        node.run(["sh", "-c", 'cat > "$0" && chmod 755 "$0"', WRAPPER], stdin=CHANGES.encode())
    try:
        yield
    finally:
        for node in nodes.members:
            node.run(["rm", "-f", WRAPPER])


def test_a_refused_password_stops_the_trial_and_a_leader_that_changes_does_not(rehearsal: Rehearsal) -> None:
    nodes = rehearsal.nodes
    right = nodes.configuration_server.get(CLIENT)
    rehearsal.lose("wipe")
    for node in nodes.deephaven:
        node.run(["sh", "-c", 'echo another-password > "$0"', CLIENT])
    inventory = rehearsal.inventory()

    with leader_changes_at_every_question(nodes):
        stopped = rehearsal.run(inventory)
    assert stopped.code == 1, stopped.output
    assert "an old password does not log in: props-rw:" in stopped.output
    assert "test_then_every_old_password_logs_in_to_the_trial" in stopped.summary["stopped_at"]
    assert right.decode().strip() not in stopped.output
    assert "Traceback" not in stopped.output
    assert leftovers(nodes) == []
    assert restored_ahead(nodes) == [node.name for node in nodes.members], "for the same command"

    backup = f"/var/lib/requorum/lab/{stopped.summary['run']}/client.before/props-rw/password"
    assert f"{backup.replace('props-rw', 'ROLE')} on every" in stopped.output
    for node in nodes.deephaven:
        node.run(["sh", "-c", 'cat > "$0"', backup], stdin=right)
    with leader_changes_at_every_question(nodes):
        run = rehearsal.run(inventory)
    rehearsal.assert_recovered(run)
    assert run.summary["snapshot"]["source"] == "salvage", "nor is the salvage given up for it"
    assert run.summary["run"] == stopped.summary["run"]
    assert restored_ahead(nodes) == []
    for node in nodes.members:
        tried = node.run(["sh", "-c", f"cat /var/lib/requorum/lab/{run.summary['run']}/restored.ahead"]).stdout
        assert tried.startswith(run.summary["snapshot"]["sha256"]) and f"--name={node.name}" in tried
