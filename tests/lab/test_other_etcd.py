"""Another unit's etcd on a member's machine: left alone only where its data lies apart from this cluster's."""

from __future__ import annotations

import pytest

from compose import layouts
from compose.nodes import Node
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
