"""Proofs as pure functions: who is connected, and whether the members form one cluster."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from requorum.cluster import etcdctl
from requorum.cluster.etcd import Tools
from requorum.cluster.etcdctl import Status
from requorum.cluster.quorum import Kind, Verdict
from requorum.command import Command, Result, look
from requorum.hosts.fleet import FleetError, Machine
from requorum.hosts.question import Question
from requorum.recovery.proofs import machines
from requorum.recovery.proofs.cluster import not_one_cluster
from requorum.recovery.proofs.machines import went_past_the_save
from requorum.refusal import Disproved, Refusal
from requorum.run import facts
from requorum.run.run import Run
from requorum.snapshots.snapshot import Source
from tests.unit import build
from tests.unit.run.test_dryrun import Hosts, planning

IPS = ("10.0.0.11", "10.0.0.12", "10.0.0.13")


class TestOneCluster:
    def members(self, *ips: str) -> list[Status]:
        return [
            Status(
                endpoint=f"https://{f'[{ip}]' if ':' in ip else ip}:2379",
                cluster_id=1,
                member_id=n,
                leader=1,
                revision=5,
                version="3.5.16",
                errors=(),
            )
            for n, ip in enumerate(ips, start=1)
        ]

    def wrong(self, **second: object) -> str | None:
        """What is found where the second member differs."""
        first, other, third = self.members(*IPS)
        return not_one_cluster([first, replace(other, **second), third], IPS)  # type: ignore[arg-type]

    def test_members_that_agree_are_one_cluster(self) -> None:
        assert self.wrong() is None

    def test_addresses_of_the_sixth_version_are_read_in_brackets(self) -> None:
        assert not_one_cluster(self.members("fd00::1"), ("fd00::1",)) is None

    def test_revisions_may_differ_since_leases_run_out_by_themselves(self) -> None:
        assert self.wrong(revision=6) is None

    @pytest.mark.parametrize(
        ("second", "says"),
        [
            ({"cluster_id": 2}, "several cluster IDs"),
            ({"leader": 2}, "leaders: 1, 2"),
            ({"leader": 0}, "leaders: 0, 1"),
            ({"errors": ("NOSPACE",)}, "https://10.0.0.12:2379: NOSPACE"),
            ({"endpoint": "https://10.0.0.99:2379"}, "the members are 10.0.0.11, 10.0.0.13, 10.0.0.99"),
        ],
        ids=["IDs", "leaders", "leaderless", "alarm", "a stranger"],
    )
    def test_everything_else_must_hold(self, second: dict[str, object], says: str) -> None:
        assert self.wrong(**second) == says

    def test_a_leader_that_is_no_member_is_none(self) -> None:
        members = [replace(status, leader=9) for status in self.members(*IPS)]
        assert not_one_cluster(members, IPS) == "leaders: 9"

    @pytest.mark.parametrize("count", [0, 1, 2])
    def test_every_member_must_be_there(self, count: int) -> None:
        assert "the members are" in (not_one_cluster(self.members(*IPS[:count]), IPS) or "")


class TestNewMembersThatAreAClusterAlready:
    """The command of the night, given again later with old_members still in the inventory."""

    def judge(self, monkeypatch: pytest.MonkeyPatch, kind: Kind, moved: bool) -> None:
        inventory = build.inventory()
        old = inventory.members[1:] if moved else inventory.members
        run = SimpleNamespace(inventory=SimpleNamespace(members=inventory.members, old_members=old))
        monkeypatch.setattr(facts, "has_quorum", lambda run, members: members == inventory.members)
        machines.new_members_are_no_cluster_already(cast(Run, run), Verdict(kind, ()))

    def test_they_are_not_rebuilt(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with pytest.raises(Refusal, match="has quorum already"):
            self.judge(monkeypatch, Kind.LOST, moved=True)

    @pytest.mark.parametrize(("kind", "moved"), [(Kind.INTACT, True), (Kind.LOST, False)])
    def test_nothing_is_asked_where_the_old_ones_tell(
        self, monkeypatch: pytest.MonkeyPatch, kind: Kind, moved: bool
    ) -> None:
        self.judge(monkeypatch, kind, moved)


LACKING = {
    "stat": ("etcd-1", "/usr/illumon/latest/bin/unpack_etcd_server.sh"),
    "0 ss": ("query-1", "ss"),
    "id": ("etcd-2", "the account etcd"),
}
UNFOUND = {"1 ss": ("etcd-1", "ss in /sbin"), "2 etcd": ("etcd-3", "etcd in /usr/local/sbin")}


class Lacking(Hosts):
    """Hosts that have all they need, but for one thing: what `lacks` says, or what that tool looks for."""

    def __init__(self, lacks: str = "") -> None:
        super().__init__()
        self.lacks, self.looks = lacks, list[str]()

    def each(self, hosts: Iterable[str], work: Callable[[Machine], Any]) -> dict[str, Any]:
        return {host: work(cast(Machine, SimpleNamespace(name=host, ask=self.tell))) for host in hosts}

    def tell(self, question: Question[Any]) -> Any:
        self.looks += [command.host for command in question.commands if "tools" in command.why]
        return question.understand([self.say(command) for command in question.commands])

    def say(self, command: Command) -> Result:
        asked = "id" if "exec id -u" in " ".join(command.argv) else command.argv[0]
        lacks = command.host == ({**LACKING, **UNFOUND}.get(self.lacks) or ("",))[0]
        if asked == "stat":
            paths = [path for path in command.argv if path.startswith("/")]
            there = paths[:-1] if lacks and self.lacks == "stat" else paths
            return build.answered(command, "".join(f"{path}\n" for path in there))
        if asked == "id":
            return Result(command, 1, "", "", 0.0) if lacks and self.lacks == "id" else build.answered(command, "900\n")
        return build.answered(command, f"{self.lacks}\n" if lacks and " " in self.lacks else "")


def equipped(tmp_path: Path, hosts: Lacking) -> None:
    run = planning(tmp_path, hosts)
    run.begin("m.py::TestX::test_given_the_tools_are_there")
    run.stages[-1].looked = True
    machines.every_host_is_equipped(run, dict.fromkeys(run.terms.everyone, "/sbin"))


@pytest.mark.parametrize("lacks", UNFOUND)
def test_what_root_or_a_unit_does_not_find_is_named_with_where_it_looks(tmp_path: Path, lacks: str) -> None:
    host, what = UNFOUND[lacks]
    with pytest.raises(Disproved) as error:
        equipped(tmp_path, Lacking(lacks))
    assert f"{host}: found no {what}" in str(error.value) and "secure_path in sudoers" in error.value.remedy


@pytest.mark.parametrize("lacks", LACKING)
def test_a_program_a_tool_or_an_account_that_is_not_there_is_named_by_its_host(tmp_path: Path, lacks: str) -> None:
    host, what = LACKING[lacks]
    with pytest.raises(Disproved, match=rf"{host}: found missing: {what}") as error:
        equipped(tmp_path, Lacking(lacks))
    assert str(error.value).count("found missing") == 1


def test_all_places_of_a_hosts_tools_are_looked_in_by_one_command(tmp_path: Path) -> None:
    hosts = Lacking()
    equipped(tmp_path, hosts)
    assert sorted(hosts.looks) == ["etcd-1", "etcd-2", "etcd-3", "infra-1", "query-1"]


class TestRevisionsAfterAHandover:
    """What stopped members hold on disk, beside the save at revision 9."""

    SAVE = Source("handover", "infra-1", "/live.snap", "sha", 1, "now", 9)

    def went_past(
        self,
        monkeypatch: pytest.MonkeyPatch,
        tmp_path: Path,
        *revisions: int | None,
        fails: FleetError | None = None,
        without: tuple[str, ...] = (),
    ) -> bool:
        run = planning(tmp_path, Hosts())
        run.begin("m.py::TestX::test_then_every_stopped_member_tells_its_revision")
        run.stages[-1].looked = True
        hosts = [member.host for member in run.inventory.members]
        said = [f'{{"revision": {number}, "totalKey": 1}}' for number in revisions]
        answers = [
            Result(look(host, "x", why="x"), 0 if number else 1, text, "damaged", 0.0)
            for host, number, text in zip(hosts, revisions, said, strict=True)
        ]

        def probed(plan: list[Command]) -> list[Result]:
            assert not [command for command in plan if command.host in without]
            if fails:
                raise fails
            return answers

        monkeypatch.setattr(run, "probe", probed)
        monkeypatch.setattr(facts, "old_configs", lambda *_: dict.fromkeys(hosts, build.config(1, "old")))
        there = {host: () if host in without else ("/db",) for host in hosts}
        monkeypatch.setattr(facts, "files", lambda *_: there)
        tools = {host: Tools("3.5.16", "etcdutl", True) for host in hosts}
        return went_past_the_save(run, self.SAVE, tools)

    @pytest.mark.parametrize(("furthest", "past"), [(8, False), (9, False), (10, True)])
    def test_one_that_holds_more_is_told(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, furthest: int, past: bool
    ) -> None:
        assert self.went_past(monkeypatch, tmp_path, 8, furthest, 9) is past

    def test_where_one_cannot_be_read_the_disks_decide(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        assert self.went_past(monkeypatch, tmp_path, 9, None, 9) is True

    def test_where_a_copy_fails_the_disks_decide(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        assert self.went_past(monkeypatch, tmp_path, 9, 9, 9, fails=FleetError("etcd-2", "I/O error", "x")) is True

    def test_a_member_without_a_database_says_nothing(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        assert self.went_past(monkeypatch, tmp_path, 9, 9, 9, without=("etcd-3",)) is False

    def test_where_no_majority_tells_the_disks_decide(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        assert self.went_past(monkeypatch, tmp_path, 9, 9, 9, without=("etcd-2", "etcd-3")) is True


class Ahead(Hosts):
    """The configuration server's clock is `seconds` ahead."""

    seconds = 0

    def answer(self, command: Command) -> tuple[int, str]:
        if command.argv[0] == "date":
            return 0, f"{time.time() + (self.seconds if command.host == 'infra-1' else 0):.3f}\n"
        return super().answer(command)


@pytest.mark.parametrize(("seconds", "stops"), [(0, False), (20, False), (-900, False), (900, True)])
def test_certificates_that_hosts_would_take_for_later_ones_are_refused_before_anything_is_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: int, stops: bool
) -> None:
    monkeypatch.setattr(Ahead, "seconds", seconds)
    stopped = pytest.raises(Refusal, match=r"at least (8\d\d|900)\S* s behind") if stops else nullcontext()
    run = planning(tmp_path, Ahead())
    run.begin("m.py::TestX::test_given_the_tools_are_there")
    with stopped:
        machines.certificates_will_be_valid(run)


def test_an_encrypted_snapshot_is_at_the_revision_that_it_was_chosen_by(monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken once: a manifest that says more than there is beat every other backup, and etcd's reading took its
    place without a word."""
    monkeypatch.setattr(etcdctl, "ask_snapshot", lambda *_: None)
    tools = {"etcd-1": Tools("3.5.16", "etcdutl", bumps=True)}

    def settle(claim: str, outcomes: dict[str, str | None], remedy: str) -> None:
        if wrong := {host: found for host, found in outcomes.items() if found}:
            raise Disproved(claim, wrong, remedy)

    terms = SimpleNamespace(snapshot_path="/x", member_hosts=("etcd-1",))
    run = cast("Run", SimpleNamespace(terms=terms, settle=settle, ask=lambda asked: dict.fromkeys(asked, (10, 3))))
    source = Source("file", None, "/b/x.snap.enc", "a" * 64, 1, "2026-11-23T02:30:00Z", revision=11, packed="enc")
    with pytest.raises(Disproved, match="it is at revision 10, not 11"):
        machines.every_copy_is_readable(run, tools, source)
    for told in (replace(source, revision=10), replace(source, revision=None), replace(source, packed=""), None):
        assert machines.every_copy_is_readable(run, tools, told) == 10


@pytest.mark.parametrize(
    ("versions", "asked"),
    [
        (("3.5.16", "3.5.16", "3.5.16"), ["etcd-1"]),
        (("3.5.16", "3.5.17", "3.5.16"), ["etcd-1", "etcd-2"]),
    ],
)
def test_copies_of_one_sha_256_are_read_once_by_each_tool_that_will_restore_them(
    tmp_path: Path, versions: tuple[str, ...], asked: list[str]
) -> None:
    told = {"etcd-2": (11, 3)}
    questions: list[str] = []

    def ask(asked: dict[str, object]) -> dict[str, tuple[int, int]]:
        questions.extend(asked)
        return {host: told.get(host, (10, 3)) for host in asked}

    run = planning(tmp_path, Hosts())
    run.begin("m.py::TestX::test_given_it_is_read")
    run.ask = ask  # type: ignore[assignment,method-assign]
    tools = {f"etcd-{n}": Tools(version, "etcdutl", bumps=True) for n, version in enumerate(versions, start=1)}
    apart = pytest.raises(Disproved, match="revision 11") if len(asked) > 1 else nullcontext()
    with apart:
        assert machines.every_copy_is_readable(run, tools) == 10
    assert questions == asked
