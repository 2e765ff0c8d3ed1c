"""What `--check` says of the backups themselves."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from requorum.cluster.lineage import Lineage
from requorum.diagnosis.check.check import CLUSTER, HERE, Finding
from requorum.snapshots import ranking
from requorum.snapshots.bolt import Member
from requorum.snapshots.offsite import There
from requorum.snapshots.snapshot import Source
from tests.unit import build
from tests.unit.world import Answer, World, health, status

AWAY = {"put": "put {file} {name}", "get": "get {name}", "list": "list"}


def name(day: int) -> str:
    return f"lab-2026-11-{day:02}T023000Z.snap.enc"


def finding(there: There | str | None) -> Finding:
    inventory = build.inventory(snapshot={"directory": "/nowhere", "keep": {"last": 3}}, offsite=AWAY)
    return World(build.terms(of=inventory), seen={"off_site": there}).findings()[HERE, "off-site"]


def test_a_fresh_one_with_its_manifest_holds() -> None:
    found = finding(There((name(23), name(22))))
    assert (found.verdict, found.found.split(";")[0]) == ("holds", "2, the newest 0.5 h old")


@pytest.mark.parametrize(
    ("there", "says"),
    [
        (There((name(20),)), "is 72 h old"),
        (There(()), "no backup of this cluster with a manifest lies there"),
        (There((name(23),), bare=(name(22),)), f"without a manifest, so that nothing proves them: {name(22)}"),
        (There(("lab-2027-01-01T023000Z.snap", name(20))), "is 72 h old"),
        (There(("lab-2027-01-01T023000Z.snap", name(23))), "lab-2027-01-01T023000Z.snap says that it was made later"),
        (There((name(23),), odd=2), "2 names there are no plain file names"),
        (There(tuple(name(day) for day in range(23, 16, -1))), f"4 lie there beyond snapshot.keep: {name(17)}"),
        ("offsite.list rclone ended with 1", "offsite.list rclone ended with 1"),
    ],
)
def test_what_is_wrong_there_is_found(there: There | str, says: str) -> None:
    found = finding(there)
    assert found.verdict == "fails" and says in found.found and "is ever deleted by a run" in found.remedy


def test_where_no_list_is_configured_nothing_is_said() -> None:
    assert (HERE, "off-site") not in World().findings()


def test_where_the_proofs_program_is_not_there_or_another_it_is_told_since_nobody_has_to_prove_backups() -> None:
    def said(*says: tuple[str, str, Answer]) -> Finding:
        return World(says=list(says)).findings()["infra-1", "proof's program"]

    assert said().verdict == "holds"
    gone = said(("infra-1", "stat -L", (1, "", "stat: cannot statx '/usr/libexec/requorum/verify-lab'")))
    assert gone.verdict == "told" and gone.found.endswith(
        "verify-lab is not there: no proof runs until ./setup hosts NAME"
    )
    other = said(("infra-1", "cat /usr/libexec", (0, "#!/bin/sh\n")))
    assert other.verdict == "told" and "is another version's" in other.found


def zombie(*members: int, sick: dict[str, str] | None = None) -> Finding:
    found = tuple(Member(n, f"etcd-{n}", (f"https://10.0.0.{10 + n}:2380",)) for n in members)
    source = Source("file", None, "/b/lab.snap", "a" * 64, 1, "2026-11-23T02:30:00Z", members=found)
    row = replace(ranking.of(source), lineage=Lineage("old", 1))
    up = [f"https://10.0.0.{n}:2379" for n in (11, 12, 13) if f"10.0.0.{n}" not in (sick or {})]
    says: list[tuple[str, str, Answer]] = [
        ("infra-1", "endpoint health --cluster", (0, health(sick))),
        ("infra-1", "endpoint status --cluster", (0, json.dumps([status(endpoint) for endpoint in up]))),
    ]
    return World(says=says, seen={"backup": row}).findings()[CLUSTER, "zombie members"]


def test_a_member_that_only_the_newest_backup_knows_is_found_with_what_mends_it() -> None:
    assert zombie(1, 2, 3).verdict == "holds"
    found = zombie(1, 2, 3, 4)
    assert found.verdict == "fails" and "etcd-4 (https://10.0.0.14:2380)" in found.found
    assert "3.5.26" in found.remedy
    assert zombie(1, 2, 3, sick={"10.0.0.13": "unhealthy"}).verdict == "unknown"
    assert World().findings()[CLUSTER, "zombie members"].found.startswith("no backup whose members")
