"""--rebuild on a healthy cluster: the guide's change of addresses as an orderly handover, under write load."""

from __future__ import annotations

from compose import etcd_client, poll
from compose.nodes import Node
from tests.lab import plans
from tests.lab.rehearsal import Rehearsal
from tests.lab.test_interruption import await_stage

# A Deephaven process of its own kind: writes as fast as it can and notes what etcd acknowledged.
WRITER = r"""#!/bin/bash
export DH_ETCD_DIR=/etc/sysconfig/deephaven/etcd/client/props-ro
number=$(wc -l < /run/deephaven/acknowledged)
while :; do
    number=$((number + 1))
    /usr/illumon/latest/bin/etcdctl.sh --command-timeout=2s put "/status/writer/$number" "value $number" \
        > /dev/null 2>&1 && echo "$number" >> /run/deephaven/acknowledged
done
"""
MONIT = """check process writer with pidfile /run/deephaven/writer.pid
    start program = "/sbin/start-stop-daemon --start --oknodo --background --make-pidfile --pidfile /run/deephaven/writer.pid --chuid irisadmin:irisadmin --startas /usr/local/bin/writer"
    stop program = "/sbin/start-stop-daemon --stop --oknodo --pidfile /run/deephaven/writer.pid --retry TERM/5/KILL/5"
"""  # noqa: E501 - monit wants one line


def test_a_healthy_cluster_is_handed_over_without_losing_an_acknowledged_write(rehearsal: Rehearsal) -> None:
    node = rehearsal.nodes.by_name("query-1")
    _start_writer(node)
    try:
        inventory = rehearsal.inventory()
        plan = plans.made(rehearsal, inventory, "--rebuild")
        before = _acknowledged(node)
        process, evidence = rehearsal.start(inventory, "--rebuild")
        run = rehearsal.finish(process, evidence)
        assert run.recovered, run.output
        plans.assert_it_was_run(plan, evidence)
        acknowledged = _acknowledged(node)
        there = etcd_client.read_all(rehearsal.nodes, "/status/writer/")
    finally:
        _remove_writer(node)
    missing = [n for n in acknowledged if there.get(f"/status/writer/{n}".encode()) != f"value {n}".encode()]
    assert missing == []
    assert len(acknowledged) > len(before), "the writer wrote while the runbook ran"
    assert run.summary["snapshot"]["source"] == "live"
    assert run.summary["data_loss"]["certain"] == 0
    with etcd_client.connect(rehearsal.nodes) as client:
        client.delete_all(sorted(there))
    rehearsal.assert_recovered(run)


def test_a_handover_is_refused_while_a_stranger_is_connected(rehearsal: Rehearsal) -> None:
    """Deephaven is off, somebody still holds a connection: a save would not be the whole truth."""
    node = rehearsal.nodes.by_name("query-1")
    client = "DH_ETCD_DIR=/etc/sysconfig/deephaven/etcd/client/props-ro"
    watch = ["env", client, "/usr/illumon/latest/bin/etcdctl.sh", "watch", "--prefix", "/main/config"]
    # On a busy machine a login may take longer than etcdctl waits: then it tries again.
    node.run(["systemd-run", "--quiet", "--unit=stranger", "--property=Restart=on-failure", *watch])
    try:
        stopped = rehearsal.run(rehearsal.inventory(), "--rebuild")
    finally:
        node.run(["systemctl", "stop", "stranger"])
    assert stopped.code == 1
    assert "nobody but the member itself is connected to etcd" in stopped.output
    assert f"connected from {node.ip}" in stopped.output
    rehearsal.assert_recovered(rehearsal.run(rehearsal.inventory(), "--rebuild"))


def test_a_handover_cut_before_its_save_takes_the_writes_that_came_after(rehearsal: Rehearsal) -> None:
    """Killed when Deephaven is being turned off: etcd still runs, so the next run must save it anew."""
    inventory = rehearsal.inventory()
    process, evidence = rehearsal.start(inventory, "--rebuild")
    await_stage(process, evidence, "test_when_deephaven_is_turned_off")
    process.kill()
    rehearsal.finish(process, evidence)
    etcd_client.put(rehearsal.nodes, "/status/late", "acknowledged after the first run died")
    again = rehearsal.run(inventory, "--rebuild")
    assert again.recovered, again.output
    there = etcd_client.read_all(rehearsal.nodes, "/status/late")
    assert there == {b"/status/late": b"acknowledged after the first run died"}
    rehearsal.assert_recovered(again)


def _start_writer(node: Node) -> None:
    node.put("/usr/local/bin/writer", WRITER.encode(), 0o755)
    node.put("/etc/monit/conf-enabled/writer", MONIT.encode(), 0o600)
    node.run(["install", "-o", "irisadmin", "-g", "irisadmin", "/dev/null", "/run/deephaven/acknowledged"])
    node.run(["monit", "-c", "/etc/monit/monitrc", "reload"])
    poll.until(lambda: len(_acknowledged(node)) > 5, seconds=30, what="the writer writes")


def _remove_writer(node: Node) -> None:
    node.run(["monit", "-c", "/etc/monit/monitrc", "stop", "writer"], check=False)
    node.run(["rm", "-f", "/etc/monit/conf-enabled/writer"])
    node.run(["monit", "-c", "/etc/monit/monitrc", "reload"])


def _acknowledged(node: Node) -> list[int]:
    return [int(line) for line in node.run(["cat", "/run/deephaven/acknowledged"]).stdout.split()]
