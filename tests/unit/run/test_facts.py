"""A member that its unit configures is asked for a leader like any other; one that starts again and again is down."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from requorum.cluster import quorum
from requorum.cluster.quorum import Kind, State
from requorum.command import Command
from requorum.run import facts
from tests.unit import build
from tests.unit.run.test_dryrun import SHOW, Hosts, planning
from tests.unit.snapshots.test_salvage import Flags


def test_it_sees_a_leader_and_quorum_is_intact(tmp_path: Path) -> None:
    assert quorum.decide(facts.diagnose(planning(tmp_path, Flags(leader=1)))).kind is Kind.INTACT


def test_one_whose_unit_does_not_say_all_is_unknown_with_what_it_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Flags, "lacking", "initial-cluster-token")
    found = facts.diagnose(planning(tmp_path, Flags(leader=1)))
    assert {one.state for one in found} == {State.UNKNOWN}
    assert "by flags and environment lacks initial-cluster-token" in str(found[0])


class Looping(Hosts):
    """etcd ends as soon as it has started, on `hosts`, and never answers anywhere."""

    hosts: tuple[str, ...] = ()
    looks = 0

    def answer(self, command: Command) -> tuple[int, str]:
        if command.argv[0] == "curl":
            return 7, ""
        if command.argv[:2] == ("systemctl", "show"):
            self.looks += 1
            invocation = f"a{self.looks}" if command.host in self.hosts else "b0"
            return 0, f"{SHOW.replace('ActiveState=active', 'ActiveState=activating')}InvocationID={invocation}\n"
        return super().answer(command)


@pytest.mark.parametrize("hosts", [(), ("etcd-1",), ("etcd-1", "etcd-3")])
def test_a_crash_loop_that_is_seen_while_etcd_starts_is_no_unknown_member(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hosts: tuple[str, ...]
) -> None:
    monkeypatch.setattr(Looping, "hosts", hosts)
    found = facts.diagnose(planning(tmp_path, Looping()))
    assert {one.member.host for one in found if one.state is not State.UNKNOWN} == set(hosts)
    assert all("starts and ends again and again" in str(one) for one in found if one.member.host in hosts)
    expected = Kind.UNKNOWN if len(hosts) < 2 else Kind.RESTARTABLE
    assert quorum.decide(found).kind is expected


class Waiting(Looping):
    """etcd was started everywhere and has no quorum: it answers its peers, and no client before it has had one."""

    def answer(self, command: Command) -> tuple[int, str]:
        if command.argv[0] == "curl" and any("/members" in word for word in command.argv):
            return 0, "HTTP/1.1 200 OK\n\n[]"
        return super().answer(command)


def test_members_that_wait_for_a_quorum_since_they_were_started_are_up_without_a_leader(tmp_path: Path) -> None:
    found = facts.diagnose(planning(tmp_path, Waiting()))
    assert {one.state for one in found} == {State.LEADERLESS}
    assert quorum.decide(found).kind is Kind.LOST


class RestartedOnce(Looping):
    """Somebody restarts two healthy members while they are looked at."""

    hosts = ("etcd-1", "etcd-3")
    times = 0

    def answer(self, command: Command) -> tuple[int, str]:
        if command.argv[0] == "curl" and any("/metrics" in word for word in command.argv):
            self.times += 1
            return (0, "etcd_server_has_leader 1\n") if self.times > 3 else (7, "")
        return super().answer(command)


def test_an_answer_after_one_restart_wins(tmp_path: Path) -> None:
    found = facts.diagnose(planning(tmp_path, RestartedOnce()))
    assert {one.state for one in found} == {State.HEALTHY}


@pytest.mark.parametrize(("again", "expected"), [("refused", {"etcd-2": ("etcd-3",)}), ("open", {})])
def test_a_peer_that_refused_once_and_not_again_was_only_being_started(
    again: str, expected: dict[str, tuple[str, ...]]
) -> None:
    """Its etcd, which ends as soon as it has started, answered its own host a moment before."""
    configured = {member.host: build.config(n) for n, member in enumerate(build.inventory().members, start=1)}
    looks: list[Any] = [
        {"etcd-1": ["open", "open"], "etcd-2": ["open", again], "etcd-3": ["open", "open"]},
        dict.fromkeys(configured, False),
    ]
    run: Any = SimpleNamespace(
        inventory=build.inventory(), terms=build.terms(), ask=lambda questions: looks.pop(0), acts=True
    )
    members = build.inventory().members
    assert facts._still_cut_off(run, members, {"etcd-2": ("etcd-3",)}, configured) == expected
