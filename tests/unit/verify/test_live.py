"""What the running cluster says, and on which machines a backup is not booted for its sake."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from requorum.cluster.lineage import Lineage
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
