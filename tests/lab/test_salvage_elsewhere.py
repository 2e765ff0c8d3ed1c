"""Salvage in labs of another shape than the shared one: each test makes its own and takes it down."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import pytest

from compose import cluster, etcd_client, faults, poll
from compose.errors import LabError
from compose.nodes import Node, Nodes, on_each
from tests.lab.rehearsal import Own, Rehearsal, Run
from tests.lab.stops import choice
from tests.lab.test_salvage import ALL, kill_all_while_writing, missing
from tests.lab.writers import PREFIX, data_dir, leftovers, on_disk, writing

ETCDCTL = "/usr/illumon/latest/bin/etcdctl.sh"
IN_FLIGHT = 64  # so many writes are under way at any moment, and stay unacknowledged where the leader is cut off
LATE = tuple(f"{PREFIX}99/{number:06d}." for number in range(10))


# -- an old leader that was cut off ------------------------------------------------------------------------------


def leader(nodes: Nodes) -> Node:
    """The member that leads, by its own word."""
    script = "curl -s http://127.0.0.1:2381/metrics | grep -q '^etcd_server_is_leader 1'"
    answers = on_each(nodes.members, lambda node: node.run(["sh", "-c", script], check=False).rc)
    return next(node for node, code in zip(nodes.members, answers, strict=True) if code == 0)


def settled_leader(nodes: Nodes) -> Node:
    """The member that has led for ten looks in a row: right after a load leadership may move."""
    seen: list[Node] = []

    def settled() -> bool:
        seen.append(leader(nodes))
        return len(seen) >= 10 and len({node.name for node in seen[-10:]}) == 1

    poll.until(settled, seconds=60, every=0.5, what="one member goes on leading")
    return seen[-1]


@contextmanager
def crowd(nodes: Nodes, member: Node) -> Iterator[list[str]]:
    """Yields the acknowledged keys of writers that all write to `member`; at its end all of them were refused."""
    acknowledged: list[str] = []

    def write(writer: int) -> None:
        number = 0
        with suppress(LabError):
            while True:
                number += 1
                key = f"{PREFIX}{writer}/{number:06d}."
                client.put(key.encode(), key.encode())
                acknowledged.append(key)

    with etcd_client.connect(nodes, member=member) as client, ThreadPoolExecutor(IN_FLIGHT) as pool:
        for writer in range(IN_FLIGHT):
            pool.submit(write, writer)
        poll.until(lambda: len(acknowledged) > 300, seconds=60, what="the writers write")
        yield acknowledged


def write_late(nodes: Nodes, members: tuple[Node, ...]) -> None:
    """Writes `LATE`, acknowledged by `members`, and waits until the last of them has applied it."""
    names = {node.name for node in members}

    def all_of_them(holds: Callable[[cluster.MemberState], bool]) -> bool:
        return all(holds(state) for state in cluster.state(nodes).members if state.name in names)

    poll.until(lambda: all_of_them(lambda state: state.healthy), seconds=30, what="a majority goes on without it")
    with etcd_client.connect(nodes, member=members[0]) as client:
        revision = max(client.put(key.encode(), key.encode()) for key in LATE)
    poll.until(lambda: all_of_them(lambda state: state.revision >= revision), seconds=30, what="each has applied it")


@pytest.mark.matrix
def test_an_isolated_old_leader_gives_way_to_what_was_acknowledged_without_it(own: Own) -> None:
    """Two of five survive: the old leader, whose log holds more, and a follower, who knows what came later."""
    other = own(members=5, etcd="testing")
    nodes = other.nodes
    old = settled_leader(nodes)
    others = tuple(node for node in nodes.members if node != old)
    follower = others[-1]
    with crowd(nodes, old) as acknowledged:
        other.lose("partition", (old.name,))
    write_late(nodes, others)
    other.lose("kill", tuple(node.name for node in nodes.members))
    other.lose("wipe", tuple(node.name for node in others[:-1]))
    faults.by_name("partition").heal(nodes, [old])
    on_old, on_follower = on_disk(old, data_dir(old)), on_disk(follower, data_dir(follower))
    unacknowledged = on_old - on_follower
    assert on_follower >= {*acknowledged, *LATE} and not on_old & set(LATE), "the follower knows what came later"
    assert len(unacknowledged) > len(LATE), "the old leader's log holds more"

    run = other.run(other.inventory())

    assert run.recovered, run.output
    assert run.summary["snapshot"]["source"] == "salvage", run.output
    assert missing(other, [*acknowledged, *LATE]) == []
    assert not unacknowledged & {key.decode() for key in etcd_client.read_all(nodes, PREFIX)}
    assert "salvaged from 2 of 5 members" in run.summary["data_loss"]["why"]
    assert leftovers(nodes) == []
    other.assert_recovered(run)


# -- other versions ----------------------------------------------------------------------------------------------


@pytest.mark.matrix
@pytest.mark.parametrize("etcd", ["3.4", "testing"])
def test_other_versions_of_etcd_salvage_too(own: Own, etcd: str) -> None:
    other = own(etcd=etcd)
    acknowledged = kill_all_while_writing(other)
    other.lose("wipe", ("etcd-2", "etcd-3"))
    survivor = other.nodes.by_name("etcd-1")
    held = on_disk(survivor, data_dir(survivor)) & set(acknowledged)

    run = other.run(other.inventory())

    assert run.recovered, run.output
    assert missing(other, held) == []
    assert run.summary["snapshot"]["source"] == "salvage"
    assert leftovers(other.nodes) == []
    other.assert_recovered(run)


# -- other circumstances -----------------------------------------------------------------------------------------


@pytest.mark.matrix
def test_without_authentication_salvage_needs_no_login_and_the_new_cluster_has_none_either(own: Own) -> None:
    other = own()
    server = other.nodes.configuration_server
    with writing(other.nodes) as writers:
        server.run([ETCDCTL, "auth", "disable"])
        other.lose("kill", ALL)
    other.lose("wipe", ("etcd-2", "etcd-3"))
    survivor = other.nodes.by_name("etcd-1")
    held = on_disk(survivor, data_dir(survivor)) & set(writers.acknowledged)

    run = other.run(other.inventory())

    assert run.recovered, run.output
    assert run.summary["snapshot"]["source"] == "salvage"
    assert "authentication is off in this data" in run.output
    server.run([ETCDCTL, "auth", "enable"])  # the lab's own eyes log in
    assert missing(other, held) == []
    assert leftovers(other.nodes) == []
    other.assert_recovered(run)


# -- clusters that are as they began, and others ------------------------------------------------------------------

AHEAD, JOIN = "its stand-ins start before the copies", "the stand-ins join them"


def member_id(nodes: Nodes, name: str) -> str:
    listed = nodes.configuration_server.run([ETCDCTL, "member", "list"]).stdout.splitlines()
    (number,) = [line.split(",")[0] for line in listed if f", {name}, " in line]
    return number


def lose_two(other: Rehearsal, without: str = "") -> None:
    """With writes that no backup has, acknowledged by all but `without`."""
    write_late(other.nodes, tuple(node for node in other.nodes.members if node.name != without))
    other.lose("kill", ALL)
    other.lose("wipe", ("etcd-2", "etcd-3"))


def assert_salvaged(other: Rehearsal, run: Run) -> None:
    assert run.recovered, run.output
    assert run.summary["snapshot"]["source"] == "salvage"
    assert missing(other, LATE) == []
    assert leftovers(other.nodes) == []
    other.assert_recovered(run)


@pytest.mark.matrix  # which of both ways is decided in unit tests too
def test_stand_ins_of_a_cluster_that_was_restored_begin_ahead_too_and_only_vote(own: Own) -> None:
    """What was restored is in no log, so that they are never sent it, and are not asked for it."""
    other = own()
    lose_two(other)
    first = other.run(other.inventory())
    assert_salvaged(other, first)
    lose_two(other)

    run = other.run(other.inventory())

    assert_salvaged(other, run)
    for said, begun in ((first.output, "is as it began"), (run.output, "was restored with these members")):
        assert f"the cluster {begun}: {AHEAD}" in " ".join(said.split()) and JOIN not in said


@pytest.mark.matrix
@pytest.mark.parametrize("stands_in", [True, False])
def test_a_member_that_was_replaced_makes_the_stand_ins_join(own: Own, stands_in: bool) -> None:
    """Under the same name and peer URL: no configuration and no log's head tells, the data does."""
    other = own()
    nodes = other.nodes
    dead = "etcd-2" if stands_in else "etcd-3"
    url, server = f"https://{nodes.by_name(dead).ip}:2380", nodes.configuration_server
    server.run([ETCDCTL, "member", "remove", member_id(nodes, dead)])

    def added() -> bool:
        server.run([ETCDCTL, "member", "add", dead, f"--peer-urls={url}"], check=False)
        return url in server.run([ETCDCTL, "member", "list"], check=False).stdout

    poll.until(added, seconds=60, every=1, what="the others go on, and take it in again")
    lose_two(other, without=dead)

    run = other.run(other.inventory())

    assert_salvaged(other, run)
    assert AHEAD in run.output and JOIN in run.output


def name_twice(nodes: Nodes, name: str) -> None:
    dead = nodes.by_name(name)
    urls = f"--peer-urls=https://{dead.ip}:2380,https://{dead.ip}:2390"
    nodes.configuration_server.run([ETCDCTL, "member", "update", member_id(nodes, name), urls])


@pytest.mark.matrix
def test_a_dead_member_with_two_peer_urls_is_stood_in_for_where_the_cluster_is_as_it_began(own: Own) -> None:
    other = own()
    name_twice(other.nodes, "etcd-2")
    lose_two(other)
    assert_salvaged(other, other.run(other.inventory()))


@pytest.mark.matrix
def test_where_copies_cannot_be_started_together_one_is_forced_into_a_cluster_of_its_own(own: Own) -> None:
    """A dead member had two peer URLs: the data names both, so a stand-in that joins with one is turned away."""
    other = own()
    nodes = other.nodes
    other.lose("wipe")
    other.assert_recovered(other.run(other.inventory()))  # a cluster that was restored
    name_twice(nodes, "etcd-2")
    lose_two(other)

    stopped = other.run(other.inventory())
    run = other.run(other.inventory(), choice(stopped, "forced:etcd-1"))

    assert run.recovered, run.output
    assert "together it failed: " in run.output, "the first way was tried"
    assert run.summary["snapshot"]["source"] == "salvage"
    assert "salvaged by forcing one survivor into a cluster of its own" in run.summary["data_loss"]["why"]
    assert missing(other, LATE) == []
    assert leftovers(nodes) == []
    other.assert_recovered(run)
