"""Quorum is lost in every way that the guide knows, and everything comes back. Wiped members are in `test_plan`."""

from __future__ import annotations

from typing import Any

import pytest

from compose import faults
from tests.lab.rehearsal import Rehearsal, heal
from tests.lab.stops import paste_on_hosts

LOST = ("etcd-2", "etcd-3")


@pytest.mark.parametrize("how", ["kill", pytest.param("stop", marks=pytest.mark.matrix)])
def test_members_that_only_need_starting_are_refused_and_the_named_command_brings_them_back(
    rehearsal: Rehearsal, how: str
) -> None:
    rehearsal.lose(how, LOST)
    run = rehearsal.run(rehearsal.inventory())
    assert run.code == 1
    assert "only needs starting" in run.output
    start = "systemctl start --no-block dh-etcd.service"
    assert f"On etcd-2, etcd-3: {start}" in run.output
    for name in LOST:
        rehearsal.nodes.by_name(name).run(["systemctl", "unmask", "dh-etcd.service"])
    paste_on_hosts(run, start)
    faults.await_quorum(rehearsal.nodes)
    rehearsal.assert_data_is_back()
    rehearsal.spoilt = False


@pytest.mark.matrix  # all three are, in test_salvage
def test_killed_members_are_rebuilt_when_the_operator_insists(rehearsal: Rehearsal) -> None:
    rehearsal.lose("kill", LOST)
    rehearsal.assert_recovered(rehearsal.run(rehearsal.inventory(), "--rebuild"))


def test_members_at_new_addresses_are_rebuilt(rehearsal: Rehearsal) -> None:
    rehearsal.lose("readdress", LOST)
    run = rehearsal.run(rehearsal.inventory())
    rehearsal.assert_recovered(run)
    assert {m["ip"] for m in run.summary["members"]} == {m.ip for m in rehearsal.nodes.members}


@pytest.mark.matrix  # units hold every line of it; CI is to end within forty minutes
def test_a_second_vendor_dialect_is_a_matter_of_the_inventory_alone(rehearsal: Rehearsal) -> None:
    vendor = "/opt/vendor2/bin"

    def other_dialect(content: dict[str, Any]) -> None:
        content["deephaven"]["commands"] = {
            "etcdctl": f"{vendor}/dhctl etcd --",
            "etcdctl_as": f"{vendor}/dhctl --client={{client}} etcd --",
            "monit_down": f"{vendor}/monitctl stop --wait",
            "monit_up": f"{vendor}/monitctl start --wait",
            "monit_status": f"{vendor}/monitctl status",
            "generate": f"{vendor}/make_etcd_config --addresses={{ips_comma}} {{cluster_id}}",
            "unpack_server": f"{vendor}/install_server --number={{number}} --archive={{archive}}",
            "unpack_client": f"{vendor}/install_client --archive={{archive}}",
        }

    rehearsal.lose("wipe", LOST)
    rehearsal.assert_recovered(rehearsal.run(rehearsal.inventory(other_dialect)))


def test_a_partition_is_refused_since_the_network_is_what_failed(rehearsal: Rehearsal) -> None:
    rehearsal.lose("partition", LOST)
    run = rehearsal.run(rehearsal.inventory())
    assert run.code == 1
    assert "mend the network" in run.output
    heal(rehearsal, "partition", LOST)
    rehearsal.assert_data_is_back()
    rehearsal.spoilt = False


def replaced(content: dict[str, Any]) -> None:
    """The members that are gone are replaced by spares, under the same names and server numbers."""
    content["old_members"] = [dict(member) for member in content["members"]]
    for member, (host, ip) in zip(content["members"][1:], SPARES, strict=True):
        member["host"], member["ip"] = host, ip


SPARES: list[tuple[str, str]] = []


def test_machines_that_are_gone_are_replaced_by_spares(rehearsal: Rehearsal) -> None:
    nodes = rehearsal.nodes
    SPARES[:] = [(spare.name, spare.ip) for spare in nodes.spares[:2]]
    for name in LOST:
        faults.power_off(nodes.by_name(name))
    inventory = rehearsal.inventory(replaced)

    silent = rehearsal.run(inventory)
    assert silent.code == 1, "a host that does not answer is unknown, and unknown is not lost"
    assert "etcd-2: did not answer" in silent.output
    assert "--gone=HOST" in silent.output

    run = rehearsal.run(inventory, "--gone=etcd-2,etcd-3")
    rehearsal.assert_recovered(run)
    assert run.summary["gone"] == ["etcd-2", "etcd-3"]
    assert {member["ip"] for member in run.summary["members"]} == {nodes.members[0].ip, *(ip for _, ip in SPARES)}
    rehearsal.spoilt = True  # two machines are off
