"""Another etcd on the host: left alone only where it is surely another cluster's."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from requorum.cluster import others
from requorum.command import Result
from requorum.inventory import Etcd
from tests.unit.build import understood

ARGS = "--data-dir=/srv/foo --listen-client-urls=http://127.0.0.1:12379 --listen-peer-urls http://127.0.0.1:12380"
FOREIGN = "0::/system.slice/foo-etcd.service"
OURS = "4:memory:/system.slice/dh-etcd.service,0::/system.slice/dh-etcd.service/init.scope"


def running(args: str = ARGS, group: str = FOREIGN) -> others.Running:
    question = others.ask_running("etcd-1", "dh-etcd.service")
    (found,) = understood(question, f"   4711 {group}      /usr/bin/etcd {args}\n")
    return found


def test_one_of_another_unit_with_other_data_and_ports_is_not_this_clusters() -> None:
    found = running()
    assert found.doubt(Etcd(), "") == ""
    assert str(found) == "process 4711 (foo-etcd.service, data /srv/foo, ports 12379, 12380)"


@pytest.mark.parametrize(
    ("args", "group", "moved"),
    [
        (ARGS, OURS, ""),
        (ARGS, "0::/requorum.slice/requorum-x.service", ""),
        (ARGS, "0::/user.slice/session-3.scope", ""),
        (ARGS, "-", None),
        (ARGS, FOREIGN, None),
        (ARGS, FOREIGN, "EnvironmentFiles of its unit may say otherwise"),
        (ARGS.replace("/srv/foo", "/var/lib/etcd/dh/old"), FOREIGN, ""),
        (ARGS.replace("/srv/foo", "/srv/../var/lib/etcd/dh"), FOREIGN, ""),
        (ARGS.replace("/srv/foo", "/var/lib/etcd"), FOREIGN, ""),
        (ARGS.replace("/srv/foo", "default.etcd"), FOREIGN, ""),
        (f"{ARGS} --data-dir=/var/lib/etcd/dh/old", FOREIGN, ""),
        (f"{ARGS} --wal-dir /var/lib/etcd/dh/wal", FOREIGN, ""),
        (ARGS.replace("12379", "2379"), FOREIGN, ""),
        (ARGS.replace("12380", "2380"), FOREIGN, ""),
        ("--data-dir=/srv/foo", FOREIGN, ""),
        (ARGS.replace("--data-dir=/srv/foo", ""), FOREIGN, ""),
        (f"{ARGS} --config-file=/srv/foo.yaml", FOREIGN, ""),
        (f"{ARGS} --config-file /etc/etcd/dh/latest/config.yaml", FOREIGN, ""),
    ],
)
def test_what_leaves_anything_open_may_be_this_clusters(args: str, group: str, moved: str | None) -> None:
    assert running(args, group).doubt(Etcd(), moved)


@pytest.mark.parametrize(
    ("said", "moved"),
    [
        ("Environment=\nEnvironmentFiles=\nBindPaths=\n", ""),
        ("Environment=ETCD_CONFIG_FILE=/x\n", "Environment of its unit may say otherwise"),
        ("Environment=\nBindPaths=/var/lib/etcd/dh:/srv/foo:rbind\n", "BindPaths of its unit may say otherwise"),
        ("", None),
    ],
)
def test_a_unit_that_sets_more_than_the_command_line_says_is_no_proof(said: str, moved: str | None) -> None:
    assert understood(others.ask_moved("etcd-1", "foo-etcd.service"), said) == moved


def where(theirs: Path | str, *ours: Path, pid: int | None = None) -> str:
    """By the real script, here; the process is this one."""
    question = others.ask_where("etcd-1", str(pid or os.getpid()), [str(theirs)], [str(path) for path in ours])
    (command,) = question.commands
    done = subprocess.run(command.argv, capture_output=True, text=True, check=False)
    return question.understand([Result(command, done.returncode, done.stdout, done.stderr, 0.0)])


@pytest.fixture
def ours(tmp_path: Path) -> Path:
    """A data root with one member's data."""
    (tmp_path / "dh" / "cd01a0636" / "member" / "snap").mkdir(parents=True)
    return tmp_path / "dh"


def test_data_that_lies_apart_is_another_clusters(tmp_path: Path, ours: Path) -> None:
    (tmp_path / "foo" / "member").mkdir(parents=True)
    (ours / "latest").symlink_to("cd01a0636")
    assert where(tmp_path / "foo", ours) == ""
    assert where(tmp_path / "foo", tmp_path / "missing") == ""
    assert where(tmp_path / "foo", ours, tmp_path / "elsewhere") == ""


@pytest.mark.parametrize("at", ["dh", "dh/cd01a0636", "dh/new", "dh/../dh/cd01a0636"])
def test_a_data_directory_that_is_a_link_into_ours_is_ours(tmp_path: Path, ours: Path, at: str) -> None:
    (tmp_path / "foo").symlink_to(tmp_path / at)
    assert "lies where this cluster's does" in where(tmp_path / "foo", ours)
    (tmp_path / "twice").symlink_to("foo")
    assert "lies where this cluster's does" in where(tmp_path / "twice", ours)


@pytest.mark.parametrize("part", ["member", "member/snap", "member/wal"])
def test_a_part_of_it_that_is_a_link_into_ours_is_enough(tmp_path: Path, ours: Path, part: str) -> None:
    link = tmp_path / "foo" / part
    link.parent.mkdir(parents=True)
    link.symlink_to(ours / "cd01a0636")
    assert "lies where this cluster's does" in where(tmp_path / "foo", ours)


@pytest.mark.parametrize("part", ["", "cd01a0636", "cd01a0636/member", "cd01a0636/member/wal"])
def test_ours_that_is_a_link_into_anothers_is_in_doubt(tmp_path: Path, part: str) -> None:
    (tmp_path / "foo" / "dh").mkdir(parents=True)
    link = tmp_path / "dh" / part
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(tmp_path / "foo" / "dh")
    assert "lies where this cluster's does" in where(tmp_path / "foo", tmp_path / "dh")


def test_a_link_behind_a_link_is_followed(tmp_path: Path, ours: Path) -> None:
    (tmp_path / "disk").mkdir()
    (ours / "new").mkdir()
    (ours / "new" / "member").symlink_to(tmp_path / "disk")
    (tmp_path / "disk" / "wal").symlink_to(tmp_path / "foo" / "member")
    (tmp_path / "foo" / "member").mkdir(parents=True)
    assert "lies where this cluster's does" in where(tmp_path / "foo", ours)


def test_data_that_is_configured_outside_the_root_is_ours_too(tmp_path: Path, ours: Path) -> None:
    assert "lies where this cluster's does" in where(tmp_path / "foo", ours, tmp_path / "foo")


def test_a_process_that_is_gone_tells_nothing(tmp_path: Path, ours: Path) -> None:
    assert "cannot be told" in where(tmp_path / "foo", ours, pid=2**22 + 1)


MOUNTS = "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n"
TOLD = f"= mounts\n{MOUNTS}= its\n{MOUNTS}= set\n= ours\n/var/lib/etcd/dh\n= theirs\n/srv/foo\n"
BOUND = "2 1 8:1 /srv/foo /var/lib/etcd/dh rw - ext4 /dev/sda1 rw\n"


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (TOLD, ""),
        (TOLD.replace(MOUNTS, MOUNTS + BOUND), "/srv/foo lies where this cluster's does, in /var/lib/etcd/dh"),
        (TOLD.replace(MOUNTS, MOUNTS + "2 1 0:7 / /tmp rw - tmpfs tmpfs rw\n", 1), ""),
        (TOLD.replace("= its\n", "= its\n2 1 8:1 /var/lib/etcd/dh /srv rw - ext4 x rw\n"), "another file system"),
        (TOLD.replace("= its\n", "= its\n2 1 8:1 / / ro - ext4 /dev/sda1 ro\n"), ""),
        (TOLD.replace("= set\n", "= set\nETCD_CONFIG_FILE=\n"), "names a configuration file"),
        (TOLD.partition("= theirs")[0], "cannot be told"),
        (TOLD + "/x\n" * 100, "too many mounts or links"),
        ("", "cannot be told"),
    ],
)
def test_mounts_of_the_login_and_of_the_process_count(said: str, why: str) -> None:
    found = understood(others.ask_where("etcd-1", "4711", ["/srv/foo"], ["/var/lib/etcd/dh"]), said)
    assert why in found and bool(why) == bool(found)
