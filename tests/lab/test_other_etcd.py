"""Another unit's etcd on a member's machine: left alone only where its data lies apart from this cluster's."""

from __future__ import annotations

import re

import pytest

from compose import layouts
from compose.nodes import Node
from requorum.hosts import systemd
from tests.lab.rehearsal import Rehearsal
from tests.lab.stops import stops

UNIT, DATA, OURS = "foreign-etcd.service", "/srv/foreign", f"{layouts.DATA_ROOT}/foreign"
STOP = f"systemctl stop {UNIT}; systemctl reset-failed {UNIT}; umount {DATA}; rm -rf {DATA} {OURS}; true"
URLS = ("--listen-client-urls=http://127.0.0.1:12379", "--listen-peer-urls=http://127.0.0.1:12380")
# Each makes one place of both names; the last only where that etcd itself looks.
WAYS = {
    "a link": f"mkdir {OURS}; ln -s {OURS} {DATA}",
    "a link of ours": f"mkdir {DATA}; ln -s {DATA} {OURS}",
    "a bind mount": f"mkdir {OURS} {DATA}; mount --bind {OURS} {DATA}",
    "a mount of its own": f"mkdir {OURS} {DATA}",
}


def start(node: Node, way: str) -> None:
    node.run(["sh", "-ec", WAYS.get(way, "true")])
    own = f"mount --bind {OURS} {DATA}; " if way == "a mount of its own" else ""
    wrapped = ["unshare", "-m", "sh", "-ec", f'{own}exec "$@"', "sh"] if own else []
    told = [f"--data-dir={DATA}", *URLS, "--advertise-client-urls=http://127.0.0.1:12379"]
    told += ["--initial-advertise-peer-urls=http://127.0.0.1:12380", "--initial-cluster=default=http://127.0.0.1:12380"]
    node.run(["systemd-run", f"--unit={UNIT}", "--service-type=notify", *wrapped, "etcd", *told])


@pytest.mark.matrix
def test_another_etcd_is_left_alone_only_where_its_data_lies_apart(rehearsal: Rehearsal) -> None:
    node = rehearsal.nodes.by_name("etcd-1")
    rehearsal.lose("wipe")
    inventory = rehearsal.inventory()
    try:
        for way in WAYS:
            start(node, way)
            run = rehearsal.run(inventory)
            stops(run, "test_given_quorum_is_lost")
            said = " ".join(run.output.split())
            assert UNIT in said and "may be this cluster's" in said, (way, run.output)
            assert ("another file system for it" if "own" in way else "lies where this cluster's does") in said, said
            node.run(["sh", "-c", STOP])
        start(node, "apart")
        run = rehearsal.run(inventory)
        assert f"({UNIT}, data {DATA}, ports 12379, 12380) is not this cluster's" in " ".join(run.output.split())
        assert node.run(["systemctl", "is-active", UNIT]).stdout.strip() == "active"
    finally:
        node.run(["sh", "-c", STOP])
    rehearsal.assert_recovered(run)


AT, OF = ("/etc/systemd/system", "/run/systemd/system", "/usr/lib/systemd/system"), f"{layouts.UNIT}.d"
DROPPED = (
    f"{AT[2]}/{OF}/10.conf",
    f"{AT[0]}/{OF}/50.conf",
    f"{AT[2]}/{OF}/50.conf",  # hidden by the one above
    f"{AT[1]}/{OF}/20.conf",
    f"{AT[0]}/dh-.service.d/20.conf",  # hides the one above
    f"{AT[1]}/dh-.service.d/60.conf",
    f"{AT[0]}/service.d/05.conf",
)


@pytest.mark.matrix
def test_drop_ins_are_read_in_the_order_in_which_systemd_applies_them(rehearsal: Rehearsal) -> None:
    node = rehearsal.nodes.by_name("etcd-1")
    (command,) = systemd.ask_drop_ins(node.name, layouts.UNIT).commands
    try:
        for path in DROPPED:
            node.run(["mkdir", "-p", path.rpartition("/")[0]])
            node.put(path, f"# {path}\n".encode(), 0o600)
        node.run(["systemctl", "daemon-reload"])
        told = node.run(["sh", "-c", f"cat $(systemctl show -p DropInPaths --value {layouts.UNIT})"]).stdout
        ours = node.run(list(command.argv)).stdout
    finally:
        node.run(["rm", "-f", *DROPPED])
        node.run(["systemctl", "daemon-reload"])
    found = re.findall("^# (.*)", ours, re.M)
    assert found == re.findall("^# (.*)", told, re.M)
    assert len(found) == len(DROPPED) - 2, found
    rehearsal.spoilt = False
