"""Which files the etcd account does not own or cannot use, what mends them, and the way back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from requorum.cluster.quorum import MemberFacts
from requorum.command import Command
from requorum.hosts import systemd
from requorum.inventory import Member
from requorum.refusal import Refusal
from requorum.run.run import Run
from requorum.troubleshoot import permissions, restarts
from requorum.troubleshoot.permissions import Account, Entry, Finding, Kind
from tests.unit import build
from tests.unit.build import understood

ETCD = Account("etcd", 990, (990, 991))
DATA = Entry("f", 990, 990, 0o600, 1, "/var/lib/etcd/dh/t/member/snap/db")
KEY = Entry("f", 0, 990, 0o640, 1, "/etc/etcd/dh/t/peer.key")
WAY = Entry("d", 0, 990, 0o750, 2, "/etc/etcd/dh/t")


def data(**changes: object) -> list[Finding]:
    return permissions.findings("etcd-1", ETCD, [replace(DATA, **changes)], [], [])  # type: ignore[arg-type]


def key(**changes: object) -> list[Finding]:
    return permissions.findings("etcd-1", ETCD, [], [replace(KEY, **changes)], [KEY.path])  # type: ignore[arg-type]


def test_what_is_as_it_must_be_is_not_found() -> None:
    assert permissions.findings("etcd-1", ETCD, [DATA], [KEY, WAY], [KEY.path]) == []


def test_data_of_another_account_is_given_to_etcd() -> None:
    (found,) = data(uid=0, gid=0)
    assert found.problem == "owned by 0, not by etcd"
    assert found.fixes == (("chown", "-h", "etcd:", "--"),)


@pytest.mark.parametrize(("type_", "mode"), [("f", 0o400), ("f", 0o200), ("d", 0o600), ("d", 0o500)])
def test_data_that_its_owner_cannot_use_is_opened_to_him(type_: str, mode: int) -> None:
    (found,) = data(type=type_, mode=mode)
    assert found.fixes == (("chmod", "u+rwX", "--"),)


def test_a_link_needs_no_mode() -> None:
    assert data(type="l", mode=0o777) == []
    assert [f.fixes for f in data(type="l", uid=0)] == [(("chown", "-h", "etcd:", "--"),)]


def test_a_file_with_a_second_name_is_for_people_to_judge() -> None:
    (found,) = data(uid=0, links=2)
    assert found.fixes == () and "2 names" in found.problem


@pytest.mark.parametrize(
    ("changes", "fixes"),
    [
        ({"uid": 0, "gid": 0, "mode": 0o600}, (("chgrp", "etcd", "--"), ("chmod", "g+rX", "--"))),
        ({"mode": 0o600}, (("chmod", "g+rX", "--"),)),
        ({"gid": 991, "mode": 0o600}, (("chmod", "g+rX", "--"),)),
        ({"uid": 990, "mode": 0o200}, (("chmod", "u+rX", "--"),)),
    ],
)
def test_a_key_that_etcd_cannot_read_is_opened_to_its_group_only(changes: dict[str, int], fixes: object) -> None:
    (found,) = key(**changes)
    assert found.fixes == fixes


@pytest.mark.parametrize("changes", [{"gid": 0, "mode": 0o644}, {"uid": 990, "mode": 0o400}])
def test_who_owns_a_readable_key_does_not_matter(changes: dict[str, int]) -> None:
    assert key(**changes) == []


def test_a_directory_that_etcd_cannot_pass_is_opened_but_never_the_systems_own() -> None:
    closed = replace(WAY, gid=0, mode=0o700)
    (own,) = permissions.findings("etcd-1", ETCD, [], [closed], [])
    assert own.kind is Kind.WAY and own.fixes == (("chgrp", "etcd", "--"), ("chmod", "g+rX", "--"))
    assert permissions.findings("etcd-1", ETCD, [], [replace(WAY, mode=0o710)], []) == [], "to pass is enough"
    assert len(permissions.findings("etcd-1", ETCD, [], [replace(WAY, mode=0o740)], [])) == 1, "to list is not"
    (system,) = permissions.findings("etcd-1", ETCD, [], [replace(closed, path="/etc/etcd")], [])
    assert system.fixes == () and "by hand" in system.problem


def test_a_file_that_is_named_and_not_there_is_found() -> None:
    (found,) = permissions.findings("etcd-1", ETCD, [], [], [KEY.path])
    assert found.problem == "not there" and found.fixes == ()


def test_the_way_back_is_noted_before_anything_is_given() -> None:
    found = [*data(uid=0, gid=0, mode=0o400), *key(uid=0, gid=0, mode=0o600), *data(uid=0, links=2)]
    plan = permissions.give_back("lab", "r1", found)
    directory = "/var/lib/requorum/lab/permissions"
    assert [line.removeprefix(f"etcd-1: {build.SHORT} ") for line in build.lines(plan)] == [
        f"install -d -m 700 /var/lib/requorum /var/lib/requorum/lab {directory}",
        f"dd of={directory}/r1.sh conv=fsync status=none",
        f"chown -h etcd: -- {DATA.path}",
        f"chmod u+rwX -- {DATA.path}",
        f"chgrp etcd -- {KEY.path}",
        f"chmod g+rX -- {KEY.path}",
    ]
    assert build.stdins(plan)[0].decode().splitlines() == [
        f"chown 0:0 -- {DATA.path}",
        f"chmod 400 -- {DATA.path}",
        f"chown 0:0 -- {KEY.path}",
        f"chmod 600 -- {KEY.path}",
    ]


def test_nothing_found_is_nothing_done() -> None:
    assert permissions.give_back("lab", "r1", []) == []


@given(
    st.text(st.characters(codec="utf-8", exclude_characters="\0/"), min_size=1, max_size=20).filter(lambda n: n != "..")
)
def test_a_path_is_read_whatever_its_name(name: str) -> None:
    (entry,) = understood(permissions.ask_data("etcd-1", "/data"), f"f 0 990 640 1 /data/{name}\0")
    assert entry == Entry("f", 0, 990, 0o640, 1, f"/data/{name}")


@pytest.mark.parametrize("path", ["/etc/shadow", "/data/../etc/shadow", "/database", "data/x"])
def test_what_lies_elsewhere_is_not_given_to_etcd(path: str) -> None:
    """A host's own word becomes an argument of `chown` and `chmod` as root."""
    with pytest.raises(Refusal, match="etcd-1: tells of"):
        understood(permissions.ask_data("etcd-1", "/data"), f"f 0 0 600 1 {path}\0")
    with pytest.raises(Refusal, match="etcd-1: tells of"):
        understood(permissions.ask_paths("etcd-1", ["/data/a"]), f"f 0 0 600 1 {path}\0")


def test_every_directory_on_the_way_is_asked_for() -> None:
    argv = permissions.ask_paths("etcd-1", ["/etc/etcd/dh/latest/config.yaml"]).commands[0].argv
    assert argv[1:8] == (
        "-L",
        "/",
        "/etc",
        "/etc/etcd",
        "/etc/etcd/dh",
        "/etc/etcd/dh/latest",
        "/etc/etcd/dh/latest/config.yaml",
    )


@pytest.mark.parametrize(
    ("unit", "mended", "cost", "verb"),
    [
        (build.RUNNING, False, None, ""),
        (build.RUNNING, True, None, "restart"),
        (build.RUNNING, True, "quorum", ""),
        (build.STOPPED, False, None, "start"),
        (replace(build.STOPPED, enabled="disabled"), False, None, ""),
        (replace(build.STOPPED, enabled="disabled"), True, None, "start"),
        (replace(build.STOPPED, active="failed", enabled="disabled"), False, None, "start"),
        (replace(build.RUNNING, active="activating", sub="auto-restart"), True, "quorum", "start"),
    ],
)
def test_what_proves_that_a_member_starts(unit: systemd.Unit, mended: bool, cost: str | None, verb: str) -> None:
    assert permissions.verb_of(unit, mended, cost) == verb


@pytest.mark.parametrize("unit", [replace(build.STOPPED, enabled="disabled"), build.STOPPED])
@pytest.mark.parametrize("has_data", [True, False])
def test_a_member_without_data_is_mended_and_not_started(
    monkeypatch: pytest.MonkeyPatch, unit: systemd.Unit, has_data: bool
) -> None:
    """As a recovery leaves its new members until Step 4: an etcd that is started there begins an empty cluster."""
    done: list[Command] = []
    notes: list[str] = []
    run = cast(
        Run,
        SimpleNamespace(
            inventory=build.inventory(), options=SimpleNamespace(hosts="prod"), do=done.extend, note=notes.append
        ),
    )
    monkeypatch.setattr(restarts, "is_back", lambda *_: None)
    sheets: Sequence[MemberFacts] = [
        MemberFacts(
            Member(name=f"etcd-{n}", host=f"etcd-{n}", ip=f"10.0.0.1{n}"),
            unit=unit,
            config=build.config(n),
            has_data=has_data,
        )
        for n in (1, 2, 3)
    ]
    assert permissions.start_member(run, sheets, "etcd-1", mended=True) is has_data
    assert any("systemctl start" in line for line in build.lines(done)) is has_data
    assert bool(notes) is not has_data
    assert all("empty cluster" in note and "pytest runbook --hosts=prod" in note for note in notes)


LOOPING = replace(build.STOPPED, active="activating", sub="auto-restart")


@pytest.mark.parametrize(
    ("unit", "has_data", "has_leader", "waits"),
    [
        (LOOPING, False, None, True),
        (replace(LOOPING, sub="start"), False, None, True),
        (LOOPING, True, None, False),
        (build.STOPPED, False, None, False),
        (build.RUNNING, False, True, False),
    ],
)
def test_a_member_without_data_that_systemd_starts_again_and_again_is_not_mended(
    unit: systemd.Unit, has_data: bool, has_leader: bool | None, waits: bool
) -> None:
    found: dict[str, str | None] = {}
    run = cast(
        Run,
        SimpleNamespace(inventory=build.inventory(), settle=lambda claim, outcomes, remedy: found.update(outcomes)),
    )
    member = Member(name="etcd-1", host="etcd-1", ip="10.0.0.11")
    sheet = MemberFacts(member, unit=unit, config=build.config(), has_data=has_data, has_leader=has_leader)
    permissions.nothing_waits_to_begin_an_empty_cluster(run, [sheet], ["etcd-1"])
    assert (found["etcd-1"] is not None) is waits
