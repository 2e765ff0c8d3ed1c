"""What the running cluster says, and on which machines a backup is not booted for its sake."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from requorum.cluster.lineage import Lineage
from requorum.snapshots import ranking
from requorum.snapshots.bolt import Member
from requorum.snapshots.ranking import Candidate
from requorum.snapshots.snapshot import Source
from requorum.verify import live
from tests.unit import build, world
from tests.unit.verify import nights

NAMED = build.inventory(verify={"host": "etcd-2"})


def said(health: str, status: str) -> live.Live | str:
    return build.understood(live.ask(build.inventory()), health, status)


def test_it_is_as_far_as_its_furthest_member() -> None:
    endpoints = [f"https://10.0.0.{n}:2379" for n in (11, 12, 13)]
    found = said(world.health(), json.dumps([world.status(endpoint) for endpoint in endpoints]))
    assert isinstance(found, live.Live)
    assert (found.revision, found.lineage, found.versions) == (103, Lineage(None, 1), ("3.5.33",))


@pytest.mark.parametrize(("health", "status"), [("", ""), ("[]", "[]"), ("Error: context deadline exceeded", "")])
def test_a_silent_cluster_is_a_reason_and_no_error(health: str, status: str) -> None:
    assert isinstance(said(health, status), str)


def test_no_members_machine_is_taken_that_is_not_named() -> None:
    assert "verify.host does not name it" in str(live.refuse_member(build.inventory(), "etcd-2", nights.live()))
    assert live.refuse_member(build.inventory(), "infra-1", "no member answers") is None


def test_a_named_members_machine_only_while_it_does_not_lead_and_all_are_well() -> None:
    assert live.refuse_member(NAMED, "etcd-2", nights.live()) is None
    leads = nights.live(*(nights.status(n, leader=2) for n in (1, 2, 3)))
    assert live.refuse_member(NAMED, "etcd-2", leads) == "its member is the leader now"
    ill = nights.live(**{"https://10.0.0.13:2379": "unhealthy"})
    assert "https://10.0.0.13:2379: unhealthy" in str(live.refuse_member(NAMED, "etcd-2", ill))
    assert "etcd-3 does not answer" in str(
        live.refuse_member(NAMED, "etcd-2", nights.live(*map(nights.status, (1, 2))))
    )
    assert "is not known" in str(live.refuse_member(NAMED, "etcd-2", "no member answers"))


def test_revisions_are_counted_only_against_the_same_cluster() -> None:
    assert live.behind(nights.NOTE, nights.live()) == live.Behind(13)
    other = nights.live(*(replace(nights.status(n), cluster_id=9) for n in (1, 2, 3)))
    assert (
        live.behind(nights.NOTE, other).revisions is None and "another cluster" in live.behind(nights.NOTE, other).why
    )
    assert live.behind(nights.NOTE, "no member answers") == live.Behind(None, "no member answers")


def backup(*members: int, **fields: Any) -> Candidate:
    found = tuple(Member(n, f"etcd-{n}", (f"https://10.0.0.{10 + n}:2380",)) for n in members)
    source = Source("file", None, "/b/lab.snap", "a" * 64, 1, "2026-11-27T02:30:00Z", members=found)
    return replace(ranking.of(source), lineage=nights.OURS, **fields)


def test_a_member_that_only_the_backup_knows_is_a_zombie() -> None:
    assert live.zombies(backup(1, 2, 3), nights.live()) == ()
    found = live.zombies(backup(1, 2, 3, 4), nights.live())
    assert not isinstance(found, str) and live.named(found) == "etcd-4 (https://10.0.0.14:2380)"
    assert live.named([Member(10, "\x1b[2J", ("a",)), Member(11, "", ())]) == "?[2J (a); b ()"


def test_nobody_is_a_zombie_where_not_all_is_known() -> None:
    silent = nights.live(*map(nights.status, (1, 2)), **{"https://10.0.0.13:2379": "unhealthy"})
    assert live.zombies(backup(1, 2, 3), silent) == "not every member answers: https://10.0.0.13:2379"
    other = nights.live(*(replace(nights.status(n), cluster_id=9) for n in (1, 2, 3)))
    assert live.zombies(backup(7, 8, 9), other) == "the newest backup is of another cluster"
    assert live.zombies(None, nights.live()) == live.zombies(backup(), nights.live())
    assert live.zombies(backup(1), "no member answers") == "no member answers"
