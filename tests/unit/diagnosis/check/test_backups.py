"""What `--check` says of the backups themselves."""

from __future__ import annotations

import pytest

from requorum.diagnosis.check.check import HERE, Finding
from requorum.snapshots.offsite import There
from tests.unit import build
from tests.unit.world import World

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
