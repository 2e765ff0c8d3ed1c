"""Two names of one place: bind mounts, mounts upon mounts, subvolumes, an overlay's layers."""

from __future__ import annotations

import pytest

from requorum.hosts import mounts

PLAIN = ["1 0 8:1 / / rw - ext4 /dev/sda1 rw", "2 1 0:5 / /proc rw,nosuid shared:1 - proc proc rw"]


def one_place(*rows: str) -> bool:
    found = mounts.read([*PLAIN, *rows])
    return mounts.overlap(found.all("/var/lib/etcd/dh"), found.all("/srv/foo"))


@pytest.mark.parametrize(
    "rows",
    [
        ["3 1 8:1 /srv/foo /var/lib/etcd/dh rw - ext4 /dev/sda1 rw"],
        ["3 1 8:1 /srv/foo/dh /var/lib/etcd/dh rw master:1 - ext4 /dev/sda1 rw"],
        ["3 1 8:1 /srv /var/lib rw - ext4 /dev/sda1 rw", "4 3 8:1 /srv/foo /var/lib/etcd rw - ext4 /dev/sda1 rw"],
        ["3 1 8:1 /srv/foo /var/lib/etcd/dh/cd01a0636 rw - ext4 /dev/sda1 rw"],
        ["3 1 8:1 /var/lib/etcd/dh/cd01a0636 /srv/foo rw - ext4 /dev/sda1 rw"],
        ["3 1 8:1 /var/lib/etcd/dh /srv/foo rw - ext4 /dev/sda1 rw", "4 1 8:9 / /srv/foo/x rw - xfs /dev/sdb rw"],
        ["3 1 0:9 /@data /var/lib/etcd rw - btrfs /dev/sdb rw", "4 1 0:9 /@data/dh /srv rw - btrfs /dev/sdb rw"],
        ["3 1 0:9 / /srv/foo rw - overlay overlay rw,lowerdir=/var/lib/etcd/dh/a:/x,upperdir=/y,workdir=/z"],
        ["3 1 0:9 / /srv rw - overlay overlay rw,lowerdir=/x,upperdir=/var/lib/etcd/dh,workdir=/z"],
        ["3 1 8:9 / /var/lib/etcd rw - xfs /dev/sdb rw", "4 3 8:1 /srv/foo /var/lib/etcd/dh rw - ext4 /dev/sda1 rw"],
    ],
)
def test_one_place_by_two_names(rows: list[str]) -> None:
    assert one_place(*rows)


@pytest.mark.parametrize(
    "rows",
    [
        [],
        ["3 1 8:1 /srv /var/lib/etcd rw - ext4 /dev/sda1 rw"],
        ["3 1 8:9 / /var/lib/etcd/dh rw - xfs /dev/sdb rw", "4 1 8:10 / /srv/foo rw - xfs /dev/sdc rw"],
        ["3 1 8:9 /dh /var/lib/etcd/dh rw - xfs /dev/sdb rw", "4 1 8:9 /dh2 /srv/foo rw - xfs /dev/sdb rw"],
        ["3 1 0:9 / /srv rw - overlay overlay rw,lowerdir=/x,upperdir=/var/lib/etcd,workdir=/z"],
    ],
)
def test_two_places(rows: list[str]) -> None:
    assert not one_place(*rows)


def test_a_later_mount_hides_what_was_mounted_there_and_below() -> None:
    found = mounts.read(
        [*PLAIN, "3 1 8:2 / /a/b rw - xfs x rw", "4 1 8:3 / /a rw - xfs x rw", "5 4 8:4 /r /a rw - xfs x rw"]
    )
    assert found.lies("/a/b/c") == ("8:4", "/r/b/c")


def test_names_are_spelled_as_the_kernel_spells_them() -> None:
    found = mounts.read([*PLAIN, r"3 1 8:2 /my\040data /srv/a\011b rw - xfs x rw"])
    assert found.lies("/srv/a\tb/c") == ("8:2", "/my data/c")


def test_in_a_changed_root_nothing_may_be_mounted_above() -> None:
    assert mounts.read(["3 1 8:2 / /data rw - xfs x rw"]).lies("/srv") is None


def test_a_line_that_is_none_is_not_passed_over() -> None:
    with pytest.raises(ValueError, match="not a line of mountinfo"):
        mounts.read([*PLAIN, "3 1 8:2"])
