"""The room that a recovery asks for is held against what it takes: by `du`, while it runs."""

from __future__ import annotations

import time

import pytest

from compose.nodes import Node, on_each
from requorum import inventory as inventories
from requorum.recovery import room
from requorum.run.marker import BASE, Marker, Phase
from requorum.run.terms import Terms
from tests.lab.rehearsal import Rehearsal

MARK = Marker(run="room", token="room", phase=Phase.OPEN, by="test")
DU = f"du -xsB1 --total /var/lib/etcd {BASE} 2>/dev/null | tail -n 1 | cut -f 1"


def taken(node: Node) -> int:
    """Bytes of all that lies where etcd's data and a run's own are; files that go meanwhile are passed over."""
    return int(node.run(["sh", "-c", DU], check=False).stdout or 0)


@pytest.mark.matrix
def test_no_host_takes_more_room_than_was_asked_for(rehearsal: Rehearsal) -> None:
    rehearsal.lose("wipe")
    members, path = rehearsal.nodes.members, rehearsal.inventory()
    terms = Terms(inventories.load(path), MARK, ())
    copies = {"etcd-1": taken(members[0])}
    before = dict(on_each(members, lambda node: (node.name, taken(node))))
    most = dict(before)
    process, evidence = rehearsal.start(path)
    while process.poll() is None:
        for name, size in on_each(members, lambda node: (node.name, taken(node))):
            most[name] = max(most[name], size)
        time.sleep(0.2)
    run = rehearsal.finish(process, evidence)
    rehearsal.assert_recovered(run)
    size = run.summary["snapshot"]["bytes"]
    for name in most:
        turns = room.turns(terms, name, size, copies, "etcd-1")
        mounts = {place: "/" for turn in turns for place in turn.uses}
        asked, what = room.needed(turns, mounts)["/"]
        grown = most[name] - before[name]
        print(f"{name}: {grown:,} bytes at most, {asked:,} asked for ({what})")
        assert 0 < grown <= asked, f"{name}: {grown:,} bytes taken, {asked:,} asked for"
