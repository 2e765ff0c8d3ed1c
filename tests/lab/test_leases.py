"""Keys with leases: held by living processes, left behind by dead ones. They go by themselves, and nobody wrote."""

from __future__ import annotations

import pytest

from compose import etcd_client, load, poll
from compose.nodes import Nodes
from tests.lab.rehearsal import Own, Rehearsal

pytestmark = pytest.mark.matrix
LATE = "[Service]\nExecStartPre=/bin/sleep 12\n"


def leased(nodes: Nodes, prefix: str) -> dict[bytes, int]:
    with etcd_client.connect(nodes) as client:
        return client.leased(prefix.encode())


@pytest.fixture
def with_leases(own: Own) -> Rehearsal:
    other = own(presence=True, leases=6)
    poll.until(
        lambda: len(leased(other.nodes, "/status/presence/")) == len(other.nodes.deephaven),
        seconds=15,
        what="every Deephaven process keeps its presence key",
    )
    return other


def test_what_dead_processes_left_and_living_ones_hold_is_no_obstacle(with_leases: Rehearsal) -> None:
    assert len(set(leased(with_leases.nodes, load.LEASED).values())) >= 3, "those of 10 minutes and more at least"
    held = leased(with_leases.nodes, "/status/presence/")
    with_leases.lose("wipe")
    with_leases.assert_recovered(with_leases.run(with_leases.inventory()))
    assert leased(with_leases.nodes, "/status/presence/").keys() == held.keys()


def test_leases_that_expire_before_a_late_member_has_come_are_no_writer(with_leases: Rehearsal) -> None:
    node = with_leases.nodes.by_name("etcd-3")
    node.run(["mkdir", "-p", "/etc/systemd/system/dh-etcd.service.d"])
    node.put("/etc/systemd/system/dh-etcd.service.d/late.conf", LATE.encode(), 0o644)
    with_leases.lose("wipe")
    with_leases.assert_recovered(with_leases.run(with_leases.inventory()))


def test_leases_that_expire_while_a_healthy_cluster_is_handed_over_are_no_writer(with_leases: Rehearsal) -> None:
    with_leases.assert_recovered(with_leases.run(with_leases.inventory(), "--rebuild"))
