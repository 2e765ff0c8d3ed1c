"""Whether a disk is proven to hold nothing: one reason to doubt it after the other, and the nights without any."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from requorum import emptiness
from requorum.command import Command, Result
from requorum.disks import Disk
from requorum.emptiness import Place
from requorum.etcd import Unit
from requorum.inventory import Etcd
from requorum.layout import Layout
from requorum.lineage import Family, Lineage
from tests.unit import build

LOST, OTHER = Lineage("old", 1), Lineage("other", 2)
FAMILY = Family((LOST,))
DATA = "/var/lib/etcd/dh/old"
STRAY = "/var/lib/etcd/dh/old.bak"
FULL = Layout({"member": "d", "member/snap": "d", "member/snap/db": "f"})
ANEW = Place("etcd-2", build.ABSENT, None, root=Layout(None))
WIPED = Place("etcd-2", build.STOPPED, build.config(2), root=Layout({"old": "d"}))


def disk(lineage: Lineage = LOST, **fields: Any) -> Disk:
    return Disk(build.inventory().members[1], build.config(2, lineage.token or ""), lineage, True, **fields)


def doubt(place: Place, *found: Disk, family: Family = FAMILY) -> str:
    return emptiness.doubt(place, found, family, Etcd())


@pytest.mark.parametrize("family", [FAMILY, Family()])
def test_a_machine_set_up_anew_is_proven_empty(family: Family) -> None:
    assert doubt(ANEW, family=family) == ""
    assert doubt(replace(ANEW, root=Layout({})), family=family) == ""
    assert doubt(replace(ANEW, root=Layout({"notes.txt": "f", "lost+found": "d"})), family=family) == ""


@pytest.mark.parametrize("unit", [build.STOPPED, build.ABSENT])
def test_a_wiped_one_is_proven_empty_whether_its_unit_was_set_aside_or_not(unit: Unit) -> None:
    assert doubt(replace(WIPED, unit=unit), disk()) == ""
    assert doubt(replace(WIPED, unit=unit, config=None), disk()) == "", "by the configuration that a run set aside"


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"unit": build.STOPPED}, "dh-etcd.service is installed, but /etc/etcd/dh/latest/config.yaml is not there"),
        ({"processes": ("77",)}, "an etcd runs (process 77)"),
        ({"config": "etcd-2:/etc/x lacks data-dir"}, "lacks data-dir"),
        ({"root": Layout(problem="/var/lib/etcd/dh cannot be looked at: x")}, "cannot be looked at"),
        ({"unmounted": ("/var/lib/etcd",)}, "/var/lib/etcd should be a file system of its own"),
        ({"unmounted": None}, "nobody tells which"),
        ({"strays": {STRAY: (FULL, Lineage())}}, f"data lies in {STRAY}, which no configuration names"),
        ({"strays": {STRAY: (Layout(problem="odd"), Lineage())}}, "odd"),
    ],
)
def test_a_machine_without_configuration_is_not_empty_where_anything_of_etcd_is_left(
    fields: dict[str, Any], why: str
) -> None:
    assert why in doubt(replace(ANEW, **fields))


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("etcd", "--config-file", "/etc/etcd/dh/latest/config.yaml"), ""),
        (("etcd", "--config-file=/etc/etcd/dh/cd01a0636/config.yaml"), ""),
        (("etcd", "-config-file=/etc/etcd/dh/latest/config.yaml", "--data-dir=/d"), ""),
        (("/opt/wrapper.sh", "start"), ""),
        (("etcd", "--config-file=/opt/etcd.yaml"), "dh-etcd.service reads /opt/etcd.yaml, not /etc/"),
        (("etcd", "--data-dir", "/data", "--wal-dir=/wal"), "starts etcd with --data-dir=/data --wal-dir=/wal"),
    ],
)
def test_a_unit_that_takes_its_settings_elsewhere_is_not_proven_empty(words: tuple[str, ...], why: str) -> None:
    found = doubt(replace(WIPED, runs=words), disk())
    assert why in found and bool(why) == bool(found)


def test_a_disk_that_is_not_understood_says_why() -> None:
    assert doubt(WIPED, disk(problem="its log is elsewhere")) == "its log is elsewhere"
    assert doubt(WIPED, disk(), disk(OTHER, problem="odd")) == "", "another cluster's does not matter"


@pytest.mark.parametrize(("target", "odd"), [("/var", True), (DATA, True), ("/home", False), ("/var/lib/etcd2", False)])
def test_a_file_system_that_is_not_mounted_counts_where_the_data_would_be(target: str, odd: bool) -> None:
    assert bool(doubt(replace(WIPED, unmounted=(target,)), disk())) == odd


@pytest.mark.parametrize(
    ("lineage", "family", "odd"),
    [
        (LOST, FAMILY, True),
        (Lineage(None, 1), FAMILY, True),
        (Lineage(None, 2), FAMILY, False),
        (Lineage(), FAMILY, True),
        (Lineage(None, 2), Family((Lineage("old"),)), True),
        (Lineage(None, 2), Family(), True),
    ],
)
def test_data_that_no_configuration_names_is_passed_over_only_where_it_is_proven_anothers(
    lineage: Lineage, family: Family, odd: bool
) -> None:
    assert bool(doubt(replace(WIPED, strays={STRAY: (FULL, lineage)}), disk(), family=family)) == odd
    assert doubt(replace(WIPED, strays={STRAY: (Layout({}), lineage)}), disk(), family=family) == ""


def test_directories_that_a_configuration_names_are_no_strays_nor_what_a_restore_left() -> None:
    root = Layout({"old": "d", "old.restoring": "d", "old.bak": "d", "link": "l", "notes": "f", "lost+found": "d"})
    assert emptiness.strays(root, "/var/lib/etcd/dh", [disk()]) == ["/var/lib/etcd/dh/link", STRAY]
    assert emptiness.strays(Layout({"member": "d"}), DATA, [disk()]) == [], "the root is the data directory itself"
    assert emptiness.strays(Layout(None), "/var/lib/etcd/dh", []) == []


def test_whole_data_of_which_nobody_says_whether_it_was_lost_can_be_named() -> None:
    whole: dict[str, Any] = {"logged": True, "bytes": 1}
    assert "--salvage=old, --salvage=other" in doubt(WIPED, disk(**whole), disk(OTHER, **whole), family=Family())


def said(code: int, out: str = "", words: str = "") -> Result:
    return Result(Command("etcd-2", ("x",), ""), code, out, words, 0.0)


def test_the_answers_are_read() -> None:
    assert emptiness.processes(said(0, "12\n13\n")) == ("12", "13")
    assert emptiness.processes(said(1)) == ()
    assert emptiness.processes(said(127)) == ("unknown",)
    assert emptiness.unmounted(said(0, "/\n/data\nnone\n"), said(0, "/\n/proc\n")) == ("/data",)
    assert emptiness.unmounted(said(1), said(0, "/\n")) == ()
    assert emptiness.unmounted(said(0, "/\n"), said(127)) is None
    assert emptiness.runs("h", "u", said(1, "", "Unknown object")) == ()
