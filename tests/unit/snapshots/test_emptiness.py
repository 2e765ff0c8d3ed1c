"""Whether a disk is proven to hold nothing: one reason to doubt it after the other, and the nights without any."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from requorum.cluster import lineage
from requorum.cluster.lineage import Lineage
from requorum.command import Command, Result
from requorum.hosts import systemd
from requorum.hosts.systemd import Unit
from requorum.inventory import Etcd
from requorum.snapshots import emptiness
from requorum.snapshots.disks import Disk
from requorum.snapshots.emptiness import Place, Way
from requorum.snapshots.family import Family
from requorum.snapshots.layout import Layout
from requorum.troubleshoot import sudoers
from tests.unit import build

LOST, OTHER = Lineage("old", 1), Lineage("other", 2)
FAMILY = Family((LOST,))
DATA = "/var/lib/etcd/dh/old"
STRAY = "/var/lib/etcd/dh/old.bak"
FULL = Layout({"member": "d", "member/snap": "d", "member/snap/db": "f"})
ANEW = Place("etcd-2", build.ABSENT, None, root=Layout(None))
OURS = ("etcd", "--config-file", "/etc/etcd/dh/latest/config.yaml")
WIPED = Place("etcd-2", build.STOPPED, build.config(2), runs=OURS, root=Layout({"old": "d"}))
WHOLE: dict[str, Any] = {"logged": True, "bytes": 1}


def disk(lineage: Lineage = LOST, **fields: Any) -> Disk:
    return Disk(build.inventory().members[1], build.config(2, lineage.token or ""), lineage, True, **fields)


def runs(now: Result, before: Result, drop_ins: str = "") -> tuple[str, ...] | None:
    known, kept = systemd.ask_known("h", "u").understand([now]), systemd.ask_kept("h", "u", ())
    return systemd.started(known or kept.understand([before, replace(before, code=0, stdout=drop_ins)]))


def doubt(place: Place, *found: Disk, family: Family = FAMILY, picked: bool = False) -> str:
    return emptiness.doubt(place, found, picked, family, Etcd())


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
        ({"unmounted": ("/var",), "ways": {"/var/lib/etcd/dh": Way("/var/lib/etcd/dh")}}, "/var should be a file"),
        ({"earlier": "no answer"}, "no answer"),
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
        (("etcd", "--config-file=/etc/etcd/dh/cd01a0636/config.yaml"), "reads /etc/etcd/dh/cd01a0636/config.yaml"),
        (("etcd", "-config-file=/etc/etcd/dh/latest/config.yaml", "--data-dir=/d"), ""),
        (("/opt/wrapper.sh", "start"), "is not seen to start etcd with --config-file=/etc/etcd/dh/latest/config.yaml"),
        (None, "is not seen to start etcd with --config-file"),
        (("/bin/bash", "-c", "exec etcd --data-dir=/data"), "is not seen to start etcd"),
        (("etcd", "--config-file=/opt/etcd.yaml"), "dh-etcd.service reads /opt/etcd.yaml, not /etc/"),
        (("etcd", "--data-dir", "/data", "--wal-dir=/wal"), "gives etcd data-dir=/data wal-dir=/wal by flags"),
    ],
)
def test_a_unit_that_takes_its_settings_elsewhere_is_not_proven_empty(words: tuple[str, ...] | None, why: str) -> None:
    found = doubt(replace(WIPED, runs=words), disk())
    assert why in found and bool(why) == bool(found)


def test_a_masked_unit_tells_nothing_and_its_configuration_is_what_there_is() -> None:
    assert doubt(replace(WIPED, runs=None, unit=replace(build.STOPPED, load="masked")), disk()) == ""


@pytest.mark.parametrize(
    ("words", "why"),
    [(OURS, ""), (None, ""), (("/opt/wrapper.sh",), ""), (("etcd", "--config-file=/opt/etcd.yaml"), "reads /opt/etcd")],
)
def test_whole_data_is_in_doubt_where_the_unit_leads_to_other_data(words: tuple[str, ...] | None, why: str) -> None:
    found = doubt(replace(WIPED, runs=words), disk(**WHOLE), picked=True)
    assert why in found and bool(why) == bool(found)


NOTED = (DATA, "/data", "/backups/7.snap")


@pytest.mark.parametrize(
    ("fields", "found", "why"),
    [
        ({"noted": NOTED, "mounted": ("/", "/data")}, [disk()], ""),
        ({"noted": NOTED, "mounted": ("/",)}, [disk()], f"/backups/7.snap its data was in {DATA}, on the file system"),
        ({"noted": NOTED, "mounted": ("/",)}, [disk()], "/data: that is not mounted"),
        ({"noted": ("/x/old", "/", "b"), "mounted": ("/",)}, [disk()], "no configuration names that directory"),
        ({"noted": None, "mounted": ("/",)}, [disk()], ""),
    ],
)
def test_an_emptied_directory_is_held_against_where_the_last_backup_saw_the_data(
    fields: dict[str, Any], found: list[Disk], why: str
) -> None:
    """D4: the volume that is not mounted, and that nobody listed in fstab."""
    said = doubt(replace(WIPED, **fields), *found)
    assert why in said and bool(why) == bool(said)


def test_what_the_last_backup_saw_does_not_stop_a_machine_set_up_anew() -> None:
    assert doubt(replace(ANEW, noted=NOTED, mounted=("/",))) == ""


ON_DATA = {DATA: Way("/data/old")}


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"unmounted": ("/data",), "ways": ON_DATA}, "/data should be a file system of its own (fstab), and none"),
        ({"unmounted": ("/var/lib/etcd",), "ways": {DATA: Way(DATA)}}, "/var/lib/etcd should be a file system"),
        ({"unmounted": None}, "nobody tells which of its file systems are mounted"),
        ({"noted": NOTED, "mounted": ("/",)}, "/data: that is not mounted"),
        ({"noted": ("/x/old", "/", "b"), "mounted": ("/",)}, f"in /x/old, on the file system /: now it is in {DATA}"),
        ({"noted": (DATA, "/", "b"), "mounted": ("/", "/data"), "ways": ON_DATA}, "now that directory is on /data"),
    ],
)
def test_whole_data_is_in_doubt_where_it_may_be_the_stale_copy_below_a_volume_that_is_not_mounted(
    fields: dict[str, Any], why: str
) -> None:
    assert why in doubt(replace(WIPED, **fields), disk(**WHOLE), picked=True)


@pytest.mark.parametrize(
    "fields",
    [
        {"noted": None, "mounted": ("/",)},
        {"noted": NOTED, "mounted": ("/", "/data"), "ways": ON_DATA},
        {"noted": (DATA, "/", "b"), "mounted": ("/", "/data"), "ways": {DATA: Way(DATA)}},
        {"unmounted": ("/srv",), "ways": {DATA: Way(DATA)}},
        {"strays": {STRAY: (FULL, LOST)}},
    ],
)
def test_whole_data_is_not_in_doubt_where_it_lies_as_the_last_backup_saw_it_or_no_backup_knows(
    fields: dict[str, Any],
) -> None:
    assert doubt(replace(WIPED, **fields), disk(**WHOLE), picked=True) == ""


def test_a_running_member_whose_open_database_no_configuration_leads_to_is_in_doubt() -> None:
    """Its disk is not copied from where data only was; once etcd is stopped nobody could tell any more."""
    for found, picked in (([disk()], False), ([disk(**WHOLE)], True), ([], False)):
        why = doubt(replace(WIPED, opened=("/data/x/member/snap/db",)), *found, picked=picked)
        assert why.startswith("its etcd has /data/x/member/snap/db open, and its configuration leads to ")
        assert why.endswith(found[0].database if found else "no database")
    assert doubt(replace(WIPED, opened=None), disk(**WHOLE), picked=True) == "", "sudo may not know the question yet"


@pytest.mark.parametrize(
    ("said", "code", "opened"),
    [
        ("open 1:7 /d/member/snap/db\nknown 1:7\n", 0, ()),
        ("open 1:7 /d/member/snap/db\n", 0, ("/d/member/snap/db",)),
        ("open 1:7 /d/db (deleted)\nopen 1:7 /d/db (deleted)\nknown 1:8\n", 0, ("/d/db (deleted)",)),
        ("stray text\nopen 1:7 /d/\x1b[2Jdb\n", 0, ("/d/?[2Jdb",)),
        ("known 1:7\n", 0, None),
        ("", 1, None),
    ],
)
def test_the_open_database_is_told_by_its_inode(said: str, code: int, opened: tuple[str, ...] | None) -> None:
    question = emptiness.ask_opened("h", "dh-etcd.service", ["/d/member/snap/db"])
    assert sudoers.unlisted(build.inventory(), [command.line() for command in question.commands]) == []
    assert build.understood(question, said, code=code) == opened


def test_the_open_database_is_found_behind_links_and_after_it_was_deleted(tmp_path: Path) -> None:
    """The question as it runs, of this very process; the unit's name is what its control group is called."""
    group = next(line.rpartition("/")[2] for line in Path("/proc/self/cgroup").read_text().splitlines() if "/" in line)
    me = f"/proc/{os.getpid()}/cgroup"
    real, named = tmp_path / "db", tmp_path / "link"
    real.write_text("x")
    named.symlink_to(real)
    asked = {path: emptiness.ask_opened("h", group, [str(path)]) for path in (real, named, tmp_path / "none")}

    def opened(path: Path) -> tuple[str, ...]:
        (command,) = asked[path].commands
        argv = [word.replace("/proc/[0-9]*/cgroup", me) for word in command.argv]
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
        found = asked[path].understand([Result(command, done.returncode, done.stdout, done.stderr, 0.0)])
        assert found is not None
        return tuple(name for name in found if name.startswith(str(tmp_path)))

    with real.open():
        assert [opened(path) for path in asked] == [(), (), (str(real),)]
        real.unlink()
        assert opened(real) == (f"{real} (deleted)",)


def test_whole_data_is_in_doubt_where_there_is_other_data_on_the_same_machine() -> None:
    assert doubt(WIPED, disk(**WHOLE), disk(problem="its log is elsewhere"), picked=True) == "its log is elsewhere"
    assert "may be in /var/lib/etcd/dh/old and in" in doubt(WIPED, disk(**WHOLE), disk(**WHOLE), picked=True)
    assert doubt(replace(WIPED, config="x cannot be read"), disk(**WHOLE), picked=True) == "x cannot be read"
    assert doubt(replace(WIPED, earlier="no answer"), disk(**WHOLE), picked=True) == "no answer"


def test_a_disk_that_is_not_understood_says_why() -> None:
    assert doubt(WIPED, disk(problem="its log is elsewhere")) == "its log is elsewhere"
    assert doubt(WIPED, disk(), disk(OTHER, problem="odd")) == "", "another cluster's does not matter"


@pytest.mark.parametrize(
    ("family", "lineage", "others"),
    [
        (FAMILY, LOST, False),
        (FAMILY, Lineage("newer", 1), False),  # etcd goes by a token only once, so people may have changed it
        (FAMILY, Lineage("newer", 2), True),
        (FAMILY, Lineage("newer"), False),
        (Family((LOST, Lineage("parent", 5))), Lineage("parent", 5), True),
        (Family((LOST,), (Lineage("failed"),)), Lineage("failed", 7), True),
        (Family((LOST,), (), (("ours", 1),)), Lineage("ours"), True),
        (Family((Lineage("old"),)), Lineage("newer", 2), False),
        (Family(), Lineage("newer", 2), False),
    ],
)
def test_whole_data_under_another_token_is_anothers_only_where_that_is_proven(
    family: Family, lineage: Lineage, others: bool
) -> None:
    assert emptiness.is_proven_anothers(disk(lineage), family) == others
    assert ("--salvage=" in doubt(WIPED, disk(lineage, **WHOLE), family=family)) != others


def test_data_whose_cluster_id_follows_from_its_own_configuration_is_that_clusters() -> None:
    urls = [f"https://10.0.0.{10 + n}:2380" for n in (1, 2, 3)]
    formed = lineage.cluster_id(lineage.member_id([url], "newer") for url in urls)
    assert emptiness.is_proven_anothers(disk(Lineage("newer", formed)), Family((Lineage("old"),)))


@pytest.mark.parametrize("target", ["/var", DATA, "/var/lib/etcd", "/data"])
def test_a_file_system_that_is_not_mounted_counts_where_the_data_would_be(target: str) -> None:
    ways = {DATA: Way("/data/etcd/old"), "/var/lib/etcd/dh": Way("/data/etcd")}
    assert "should be a file system of its own" in doubt(replace(WIPED, unmounted=(target,), ways=ways), disk())


@pytest.mark.parametrize("target", ["/home", "/var/lib/etcd2", "/dat", "/"])
def test_a_file_system_elsewhere_does_not(target: str) -> None:
    ways = {DATA: Way("/data/etcd/old")}
    assert doubt(replace(WIPED, unmounted=(target,), ways=ways), disk()) == ""


def test_a_link_on_the_way_that_leads_nowhere_is_no_empty_disk() -> None:
    found = doubt(replace(ANEW, ways={"/var/lib/etcd/dh": Way("/data/etcd/dh", "/var/lib/etcd")}))
    assert found == "/var/lib/etcd is a link on the way to /var/lib/etcd/dh, and leads nowhere"


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


def test_a_log_that_is_kept_apart_and_what_links_lead_to_are_no_strays_and_looked_at_for_mounts() -> None:
    config, kept = build.config(2, wal_dir="/var/lib/etcd/dh/wal"), f"{DATA}/member/snap"
    found = replace(disk(), config=config, links=(kept,))
    root = Layout({"old": "d", "wal": "d"})
    assert emptiness.strays(root, "/var/lib/etcd/dh", [found]) == []
    ways = {"/var/lib/etcd/dh": False, DATA: False, "/var/lib/etcd/dh/wal": False, kept: True}
    assert emptiness.ways(root, "/var/lib/etcd/dh", [found]) == ways
    led = {path: Way(path, link=link) for path, link in ways.items()}
    assert "should be a file system" in doubt(replace(WIPED, ways=led, unmounted=("/mnt",)), found)


def test_a_wiped_member_whose_log_is_kept_apart_is_proven_empty_only_where_both_places_are_mounted() -> None:
    found = replace(disk(), config=build.config(2, wal_dir="/fast/wal"))
    ways = {DATA: Way(DATA), "/fast/wal": Way("/fast/wal")}
    assert doubt(replace(WIPED, ways=ways), found) == ""
    assert "/fast should be a file system" in doubt(replace(WIPED, ways=ways, unmounted=("/fast",)), found)


def test_a_member_whose_unit_says_all_itself_is_proven_empty_and_one_whose_does_not_is_not() -> None:
    bare = replace(WIPED, config=None, runs=("etcd", "--data-dir=/data"))
    assert doubt(replace(bare, told=""), disk()) == ""
    assert doubt(replace(bare, told="it lacks name"), disk()) == "it lacks name"
    assert "gives etcd data-dir=/data by flags or environment" in doubt(bare, disk())


def test_whole_data_of_which_nobody_says_whether_it_was_lost_can_be_named() -> None:
    assert "--salvage=old" in doubt(WIPED, disk(**WHOLE), family=Family())


def said(code: int, out: str = "", words: str = "") -> Result:
    return Result(Command("etcd-2", ("x",), ""), code, out, words, 0.0)


def test_the_answers_are_read() -> None:
    assert emptiness._processes(said(0, "12\n13\n")) == ("12", "13")
    assert emptiness._processes(said(1)) == ()
    assert emptiness._processes(said(127)) == ("unknown",)
    assert emptiness._unmounted(said(0, "/\n/data\nnone\n"), said(0), said(0, "/\n/proc\n")) == ("/data",)
    assert emptiness._unmounted(said(0, "/data/\n"), said(0), said(0, "/\n/data\n")) == ()
    assert emptiness._unmounted(said(1), said(0), said(0, "/\n")) == ()
    assert emptiness._unmounted(said(0, "/\n"), said(0), said(127)) is None
    assert runs(said(1, "", "Unknown object"), said(1)) is None
    assert runs(said(0, "a(sasbttttuii) 1\n" * 6), said(1)) is None
    assert emptiness._unmounted(said(124), said(0), said(0, "/\n")) is None
    assert emptiness._unmounted(said(0), said(124), said(0, "/\n")) is None
    assert emptiness.ask_way("h", "/a").understand([said(124)]).unknown
    assert emptiness.ask_way("h", "/a").understand([said(0, "= /b/c\n")]) == Way("/b/c")
    assert emptiness.ask_way("h", "/a").understand([said(0, "/a\n= /b\n")]) == Way("/b", "/a")


def test_a_way_is_followed_on_a_real_machine(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to("there")
    (tmp_path / "nowhere").symlink_to("gone")
    for name, expected in {"link/x/y": Way(f"{tmp_path}/there/x/y"), "there": Way(f"{tmp_path}/there")}.items():
        assert followed(f"{tmp_path}/{name}") == expected
    assert followed(f"{tmp_path}/nowhere/x") == Way(f"{tmp_path}/gone/x", f"{tmp_path}/nowhere")


def followed(path: str) -> Way:
    question = emptiness.ask_way("h", path)
    (command,) = question.commands
    done = subprocess.run(command.argv, capture_output=True, text=True, check=False)
    return question.understand([Result(command, done.returncode, done.stdout, done.stderr, 0.0)])


UNIT = """a(sasbttttuii) 1 "/usr/bin/etcd" {n} "/usr/bin/etcd" {words} false 0 0 0 0 0 0 0
as {m} {environment}
a(sb) 0
s "etcd"
s ""
t 1024
"""


def unit(words: list[str], environment: list[str]) -> Result:
    quoted = [" ".join(f'"{word}"' for word in group) for group in (words, environment)]
    text = UNIT.format(n=1 + len(words), words=quoted[0], m=len(environment), environment=quoted[1])
    return said(0, text)


@pytest.mark.parametrize(
    ("words", "environment", "why"),
    [
        ([], ["ETCD_DATA_DIR=/data/etcd"], "gives etcd data-dir=/data/etcd by flags or environment"),
        ([], ["ETCD_CONFIG_FILE=/etc/etcd/dh/latest/config.yaml"], ""),
        (["$OPTS"], ["OPTS=--config-file /etc/etcd/dh/latest/config.yaml"], ""),
        (["--config-file=/etc/etcd/dh/latest/config.yaml"], ["ETCD_DATA_DIR=/data"], ""),
        (["$OPTS"], [], "is not seen to start etcd"),
    ],
)
def test_the_values_that_a_unit_gives_itself_are_read_as_systemd_and_etcd_read_them(
    words: list[str], environment: list[str], why: str
) -> None:
    found = runs(unit(words, environment), said(1))
    assert found is not None
    doubted = doubt(replace(WIPED, runs=found), disk())
    assert why in doubted and bool(why) == bool(doubted)


@pytest.mark.parametrize(
    ("kept", "why"),
    [
        ("[Service]\nExecStart=/usr/bin/etcd --data-dir=/data\n", "gives etcd data-dir=/data by flags"),
        ("[Service]\nExecStart=-/usr/bin/etcd --config-file /etc/etcd/dh/latest/config.yaml\n", ""),
        ("", ""),
    ],
)
def test_a_unit_that_this_run_has_set_aside_still_tells(kept: str, why: str) -> None:
    found = runs(said(1, "", "Unknown object"), said(1, kept, "cat: x: No such file"))
    doubted = doubt(replace(WIPED, unit=build.ABSENT, config=None, runs=found), disk())
    assert why in doubted and bool(why) == bool(doubted)


def test_another_configuration_beside_the_installed_one_is_another() -> None:
    words = ("etcd", "--config-file=/etc/etcd/dh/B/config.yaml")
    assert "reads /etc/etcd/dh/B" in doubt(replace(WIPED, runs=words, real="/etc/etcd/dh/A/config.yaml"), disk())
    assert doubt(replace(WIPED, runs=words, real="/etc/etcd/dh/B/config.yaml"), disk()) == ""
    assert doubt(replace(WIPED, runs=words, config=None), disk()) == "", "the link that led there was set aside"


def test_a_golden_image_with_the_unit_and_nothing_else_is_as_new() -> None:
    image = replace(ANEW, unit=build.STOPPED, runs=OURS)
    assert doubt(image) == ""
    assert "is installed" in doubt(replace(image, runs=None))
    assert "is installed" in doubt(replace(image, root=Layout({"old": "d"}, depth=1)))


def test_a_link_that_this_login_cannot_follow_is_in_doubt_while_anything_is_not_mounted() -> None:
    ways = {DATA: Way(DATA, link=True)}
    assert "should be a file system" in doubt(replace(WIPED, ways=ways, unmounted=("/mnt",)), disk())
    assert doubt(replace(WIPED, ways=ways), disk()) == ""
    assert "nobody tells where" in doubt(replace(WIPED, ways={DATA: Way(DATA, unknown=True)}), disk())
    assert "systemd does not tell" in doubt(replace(WIPED, unit=replace(build.ABSENT, load="")), disk())


@pytest.mark.parametrize(
    ("line", "targets"),
    [
        ("var-lib-etcd-dh.mount enabled enabled", ("/var/lib/etcd/dh",)),
        ("var-lib-etcd-dh.mount static -", ("/var/lib/etcd/dh",)),
        ("data-my\\x2dvolume.mount generated -", ("/data/my-volume",)),
        ("var-lib-etcd-dh.mount disabled enabled", ()),
        ("var-lib-etcd-dh.mount masked enabled", ()),
        ("-.mount generated -", ()),
        ("dh-etcd.service enabled enabled", ()),
    ],
)
def test_a_file_system_that_a_unit_mounts_belongs_there_too(line: str, targets: tuple[str, ...]) -> None:
    assert emptiness._unmounted(said(0), said(0, f"{line}\n"), said(0, "/\n/proc\n")) == targets
    assert emptiness._unmounted(said(0), said(0, f"{line}\n"), said(0, "/\n" + "\n".join(targets))) == ()


def test_a_mount_point_of_the_kernel_holds_nobodys_data() -> None:
    def said(text: str) -> Result:
        return Result(Command("h", ("x",), ""), 0, text, "", 0.0)

    kernels = "/sys/kernel/config\n/dev/mqueue\n/proc/sys/fs/binfmt_misc\n/run/lock\n"
    assert emptiness._unmounted(said(f"{kernels}/data\n/system\n"), said(""), said("/\n")) == ("/data", "/system")
