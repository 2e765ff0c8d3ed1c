"""What is wrong, as pure functions of a sheet: each cause from its facts, roots before what follows from them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from requorum.cluster import quorum
from requorum.cluster.lineage import Lineage
from requorum.cluster.peers import DataHash
from requorum.cluster.quorum import MemberFacts
from requorum.diagnosis import causes
from requorum.diagnosis.sheet import Disk, EtcdSheet, Sheet
from requorum.hosts.certificates import Checked
from requorum.hosts.clock import Reading
from requorum.hosts.systemd import Unit
from requorum.inventory import Inventory
from requorum.run.marker import Outlived, Phase
from tests.unit import build, typed
from tests.unit.world import noted

ITS = Lineage("old", 0xF45)
ROOM = Disk("/var/lib/etcd", 10**10, 10**6)
DAY = datetime(2026, 1, 1, tzinfo=UTC)


def machine(number: int, **fields: Any) -> EtcdSheet:
    whole = EtcdSheet(
        unit=build.RUNNING,
        config=build.config(number),
        addresses=("127.0.0.1", f"10.0.0.{10 + number}"),
        has_data=True,
        disk=ROOM,
        certificates=(Checked("/peer.crt", (), DAY, DAY),),
        has_leader=True,
        revision=50,
        cluster_id="f45",
        health='{"health":"true"}',
        hash=DataHash(50, -1, 777),
    )
    return replace(whole, **fields)


DOWN: dict[str, Any] = {
    "unit": build.STOPPED,
    "has_leader": None,
    "cluster_id": None,
    "hash": None,
    "revision": None,
}


def sheet(machines: dict[int, dict[str, Any]] | None = None, of: Inventory | None = None, **fields: Any) -> Sheet:
    """A healthy cluster, but for the fields of some machines, by number. Silent hosts have no sheet."""
    inventory = of or build.inventory()
    found = {f"etcd-{n}": machine(n, **(machines or {}).get(n, {})) for n in (1, 2, 3)}
    silent = fields.get("silent", {})
    found = {host: on for host, on in found.items() if host not in silent}
    cut_off: dict[str, tuple[str, ...]] = fields.pop("cut_off", {})
    facts = [
        MemberFacts(member, reached=False)
        if (on := found.get(member.host)) is None
        else MemberFacts(
            member,
            unit=on.unit,
            config=on.config,
            has_data=on.has_data,
            addresses=on.addresses,
            has_leader=on.has_leader,
            cut_off_from=cut_off.get(member.host, ()),
        )
        for member in inventory.members
    ]
    clocks = {host: Reading(-0.01, 0.01) for host in ("etcd-1", "etcd-2", "etcd-3", "infra-1")}
    values = {"clocks": clocks, **fields}
    return Sheet(inventory, "prod", inventory.members, quorum.decide(facts), etcd=found, **values)


def names(found: Sheet) -> list[str]:
    """The causes. What is pasted of each is taken by the front door."""
    named = causes.named(found)
    lines = [cause.command for cause in named if cause.command.startswith("pytest ")]
    for line in (line for line in lines if "=HOST" not in line):  # a name that is to be filled in
        typed.said(f"cd / && {line.replace('--hosts=prod', '--hosts=lab')}", found.inventory)
    return [cause.name for cause in named]


EMPTY = {**DOWN, "has_data": False}
MASKED = Unit("masked", "inactive", "dead", "masked", "/dev/null")
EXPIRED = (Checked("/peer.crt", ("certificate has expired",), DAY, DAY),)
FOREIGN = (Checked("/peer.crt", ("unable to get local issuer certificate",), DAY, DAY),)
BOTH = {2: DOWN, 3: DOWN}
ALARM = ("memberID:1 alarm:NOSPACE",)
REFUSED = "rpc error: etcdserver: authentication failed, invalid user ID or password"


def test_a_healthy_cluster_has_no_cause() -> None:
    assert names(sheet()) == []


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (sheet({2: EMPTY, 3: EMPTY, 1: {"has_leader": False}}), ["quorum lost"]),
        (sheet(BOTH | {1: {"has_leader": False}}), ["quorum restartable"]),
        (sheet({1: {"has_leader": False}}, silent={"etcd-2": "no", "etcd-3": "no"}), ["quorum unknown"]),
        (sheet(silent={"etcd-3": "did not answer"}), ["host silent"]),
        (sheet(silent={"query-1": "did not answer"}), ["host silent"]),
        (sheet({3: {**DOWN, "foreign": ("/var/lib/etcd/dh/x",)}}), ["wrong owner", "member down"]),
        (sheet({3: {**DOWN, "certificates": EXPIRED}}), ["certificates expired", "member down"]),
        (sheet({3: {**DOWN, "certificates": FOREIGN}}), ["certificates mismatched", "member down"]),
        (sheet(logins={"root": "x509: certificate signed by unknown authority"}), ["certificates mismatched"]),
        (sheet({3: {**DOWN, "addresses": ("10.0.0.99",)}}), ["address changed", "member down"]),
        (sheet({3: {"disk": replace(ROOM, free=1000)}}), ["disk full"]),
        (sheet({3: {"disk": replace(ROOM, free_files=0)}}), ["disk full"]),
        (sheet({3: {"disk": replace(ROOM, read_only=True)}}), ["disk full"]),
        (sheet(alarms=ALARM), ["NOSPACE alarm"]),
        (sheet({3: {"hash": DataHash(50, -1, 1)}}), ["corrupt member"]),
        (
            sheet({3: {**DOWN, "said": ("panic: failed to open database: invalid database",)}}),
            ["corrupt member", "member down"],
        ),
        (sheet(alarms=("memberID:1 alarm:CORRUPT",)), ["corrupt member"]),
        (sheet({3: {"cluster_id": "abc", "hash": DataHash(9, -1, 1)}}), ["split cluster IDs"]),
        (sheet({2: {"revision": 51}}, backups=(noted(52, lineage=ITS),)), ["cluster began anew"]),
        (sheet(dict.fromkeys((1, 2, 3), DOWN), backups=(noted(52, lineage=ITS),)), ["quorum restartable"]),
        (sheet(stale={"10.0.0.31": ("infra-1",)}), ["stale old member"]),
        (sheet({3: {**DOWN, "unit": MASKED}}), ["service masked", "member down"]),
        (sheet(logins={"query": REFUSED, "root": None}), ["passwords do not match"]),
        (sheet(password_differences=("query: infra-1 differs from query-1",)), ["passwords do not match"]),
        (sheet(marks={"etcd-1": build.mark(Phase.STOPPING), "etcd-2": None}), ["unfinished run"]),
        (sheet(cut_off={"etcd-3": ("etcd-1", "etcd-2")}), ["network cut"]),
        (
            sheet({3: {**DOWN, "config": None, "config_problem": "is not YAML"}}),
            ["configuration unreadable", "member down"],
        ),
        (sheet(deephaven_down={"query-1": ("query_server (Not monitored)",)}), ["Deephaven down"]),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_each_cause_is_told_from_its_facts_and_no_other_is_named(found: Sheet, expected: list[str]) -> None:
    assert names(found) == expected


@pytest.mark.parametrize(
    "found",
    [
        sheet({2: {"revision": 52}}, backups=(noted(52, lineage=ITS),)),
        sheet(marks={"etcd-1": build.mark(Phase.OPEN)}),
        sheet(marks={"etcd-1": build.mark(Phase.DONE)}),
        sheet({3: {"hash": DataHash(50, 40, 1)}}),  # compacted otherwise: not to be compared
        sheet({3: {"hash": None}}),
        sheet({3: {"said": ("crc mismatch",)}}),  # long ago: it serves
        sheet(logins={"query": "context deadline exceeded"}),
        sheet(clocks={"etcd-1": Reading(0, 0.1), "etcd-2": Reading(0.5, 0.6), "infra-1": Reading(-3, 3)}),
        sheet({3: {"disk": None, "cluster_id": None}}),
    ],
)
def test_what_proves_nothing_is_no_cause(found: Sheet) -> None:
    assert names(found) == []


@pytest.mark.parametrize(("second", "gone"), [("turned the connection away, 6 times", False), ("did not answer", True)])
def test_machines_that_turn_connections_away_are_not_said_to_be_gone(second: str, gone: bool) -> None:
    silent = {"etcd-2": second, "etcd-3": "turned the connection away, 6 times"}
    cause = causes.quorum_gone(sheet({1: {"has_leader": False}}, silent=silent))
    assert cause is not None and cause.name == "quorum unknown"
    assert ("--gone" in cause.next + cause.command, "their sshd" in cause.next) == (gone, not gone)


def test_a_full_disk_is_named_before_the_quorum_that_was_lost_by_it() -> None:
    full = {**DOWN, "disk": replace(ROOM, free=0), "said": ("walpb: crc mismatch",)}
    found = names(sheet({2: full, 3: full, 1: {"has_leader": False}}))
    assert found[0] == "disk full"
    assert found[-1] == "quorum restartable"


@pytest.mark.parametrize(("seconds", "first"), [(5.0, "certificates expired"), (-90000.0, "clock difference")])
def test_a_clock_that_is_off_by_hours_is_named_before_certificates(seconds: float, first: str) -> None:
    clocks = {"etcd-1": Reading(0, 0.1), "etcd-2": Reading(0, 0.1), "etcd-3": Reading(seconds, seconds + 0.1)}
    found = sheet({3: {**DOWN, "certificates": EXPIRED}}, clocks=clocks)
    assert names(found)[0] == first
    assert set(names(found)) == {"certificates expired", "clock difference", "member down"}


MUTE: dict[str, Any] = {"has_leader": None}  # runs, and does not say whether it sees a leader


def test_members_that_only_do_not_say_are_never_restarted_while_quorum_may_hang_on_them() -> None:
    assert "member down" not in names(sheet({2: MUTE, 3: MUTE}))
    assert "member down" in names(sheet({3: MUTE}))


def test_of_two_unequal_members_neither_is_called_the_right_one() -> None:
    odd = causes.corrupt_member(sheet({1: {"hash": DataHash(50, -1, 1)}, 3: {"hash": None}}))
    assert odd and set(odd.evidence) == {"etcd-1", "etcd-2"}


def test_a_run_past_the_point_of_no_return_is_unfinished_only_while_its_cluster_lives() -> None:
    marks = {"etcd-1": build.mark(Phase.POWERING_ON)}
    assert names(sheet(marks=marks)) == ["unfinished run"]
    assert names(sheet(BOTH | {1: {"has_leader": False}}, marks=marks)) == ["quorum restartable"]


def test_a_machine_that_comes_back_does_not_revive_a_run_that_others_know_to_be_over() -> None:
    marks = {"etcd-1": build.mark(Phase.STOPPING), "etcd-2": None}
    assert names(sheet(marks=marks, outlived=Outlived({build.RUN: Phase.DONE}))) == []


def test_every_cause_says_where_what_and_what_next() -> None:
    found = causes.named(sheet({3: {**DOWN, "foreign": ("/var/lib/etcd/dh/x",)}}))
    assert found[0].lines(1) == [
        "1. etcd does not own, or cannot read, files that it needs on etcd-3.",
        "   etcd-3: /var/lib/etcd/dh/x",
        "   → as after etcd was run by hand as another account; show and mend it:",
        "     pytest runbook/troubleshoot/permissions --hosts=prod",
    ]
    assert set(found[0].row()) == {"name", "what", "evidence", "next", "command"}


def test_ranks_are_distinct_where_order_matters() -> None:
    assert len(causes.CAUSES) == len({find.__name__ for find in causes.CAUSES})
