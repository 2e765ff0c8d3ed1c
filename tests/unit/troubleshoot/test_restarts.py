"""What taking one member away would cost, and which members an operator may name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from requorum import procedures
from requorum.cluster.quorum import MemberFacts
from requorum.command import Command, Result
from requorum.hosts.question import Question
from requorum.inventory import Member
from requorum.plugin import options
from requorum.refusal import Disproved, Refusal
from requorum.run.run import Run
from requorum.troubleshoot import restarts, sudoers
from tests.unit import build
from tests.unit.run.test_dryrun import WHOLE, parts

DATA = "/var/lib/etcd/dh/t"
FIRST = Member(name="etcd-1", host="etcd-1", ip="10.0.0.11")
UP = MemberFacts(FIRST, unit=build.RUNNING, config=build.config(), has_leader=True)
DOWN = replace(UP, unit=build.STOPPED, has_leader=None)
LONELY = replace(UP, has_leader=False)
SILENT = replace(UP, unit=None, has_leader=None, reached=False)
MUTE = replace(UP, has_leader=None)


def cluster(*sheets: MemberFacts) -> list[MemberFacts]:
    return [
        replace(sheet, member=Member(name=f"etcd-{n}", host=f"etcd-{n}", ip=f"10.0.0.{n}"))
        for n, sheet in enumerate(sheets, start=1)
    ]


@pytest.mark.parametrize(
    ("sheets", "costs"),
    [
        ((UP, UP, UP), False),
        ((UP, UP, DOWN), True),
        ((UP, UP, SILENT), True),
        ((UP, UP, LONELY), True),
        ((UP,), True),
        ((UP, UP, UP, SILENT, UP), False),
        ((UP, UP, UP, SILENT, DOWN), True),
        ((MUTE, UP, DOWN), True),
        ((MUTE, UP, UP), False),
        ((DOWN, UP, UP), False),
        ((DOWN, UP, DOWN), False),
        ((LONELY, LONELY, DOWN), False),
        ((LONELY, DOWN, DOWN), False),
    ],
)
def test_the_first_member_is_taken_away_only_if_the_others_keep_quorum(
    sheets: tuple[MemberFacts, ...], costs: bool
) -> None:
    found = restarts.cost(cluster(*sheets), "etcd-1")
    assert (found is not None) == costs
    assert found is None or (found.startswith("of the other members") and f"of {max(len(sheets), 3)}" in found)


def test_a_member_whose_configuration_cannot_be_read_may_be_needed() -> None:
    found = restarts.cost(cluster(replace(MUTE, config=None), UP, DOWN), "etcd-1")
    assert found is not None and found.startswith("its configuration cannot be read")


@pytest.mark.parametrize(
    ("sheet", "running", "says"),
    [
        (SILENT, False, "no answer"),
        (replace(SILENT, silence="did not answer: no route to host"), False, "did not answer: no route to host"),
        (replace(UP, unit=build.ABSENT), False, "cannot be run: not-found"),
        (replace(UP, unit=replace(build.RUNNING, load="bad-setting")), False, "cannot be run: bad-setting"),
        (DOWN, True, "does not run"),
    ],
)
def test_a_member_that_cannot_be_worked_on_is_named(sheet: MemberFacts, running: bool, says: str) -> None:
    with pytest.raises(Disproved, match=f"etcd-2: found .*{says}"):
        restarts.refuse_silent(cluster(UP, sheet), ["etcd-2"], build.UNIT, running)
    restarts.refuse_silent(cluster(UP, sheet), ["etcd-1"], build.UNIT, running)


def test_a_stopped_member_is_no_reason_where_it_need_not_run() -> None:
    restarts.refuse_silent(cluster(DOWN), ["etcd-1"], build.UNIT, running=False)


def test_a_member_must_be_healthy_again_if_it_was() -> None:
    assert restarts.as_before(UP) is restarts.Back.HEALTHY
    assert restarts.as_before(LONELY) is restarts.Back.STARTED


@pytest.mark.parametrize(
    ("answer", "healthy"),
    [('{"health":"true"}', True), ('{"health": true, "reason":""}', True), ('{"health":"false"}', False), ("", False)],
)
def test_health_is_read_in_every_versions_spelling(answer: str, healthy: bool) -> None:
    assert restarts.says_healthy(answer) == healthy


# -- who may be named --------------------------------------------------------------------------------------------


def names(text: str, **fields: object) -> tuple[list[str], int]:
    found = restarts.choose(build.inventory(**fields), text)  # type: ignore[arg-type]
    return [member.name for member in found.members], len(found.cluster)


def test_members_are_named_by_name_or_host_once_each_in_the_operators_order() -> None:
    assert names("etcd-3, etcd-1,etcd-3") == (["etcd-3", "etcd-1"], 3)
    assert names("") == (["etcd-1", "etcd-2", "etcd-3"], 3)


def test_a_member_of_the_old_cluster_brings_that_cluster() -> None:
    inventory = build.replaced()
    assert restarts.choose(inventory, "etcd-4").cluster == inventory.members
    found = restarts.choose(inventory, "etcd-3")  # the name goes by the place: a new machine has it now
    assert [member.host for member in found.members] == ["etcd-4"]


@pytest.mark.parametrize("text", ["etcd-9", "etcd-1,etcd-9", "query-1"])
def test_a_stranger_is_refused(text: str) -> None:
    with pytest.raises(Refusal, match="is no member"):
        names(text)


def procedure(name: str) -> procedures.Procedure:
    return next(p for p in procedures.PROCEDURES if p.directory.endswith(name))


@pytest.mark.parametrize(
    ("name", "given", "says"),
    [
        ("debug_logging", {}, "needs --members"),
        ("run_directly", {"members": "etcd-1,etcd-2"}, "works on exactly one"),
        ("run_directly", {"members": "etcd-1", "seconds": 0}, "must be from 1 to 780"),
        ("run_directly", {"members": "etcd-1", "seconds": 781}, "must be from 1 to 780"),
        (
            "run_directly",
            {"members": "etcd-1", "off": True},
            "--off: is no option of runbook/troubleshoot/run_directly",
        ),
        ("runbook", {"members": "etcd-1"}, "--members: is no option of runbook"),
        ("sudoers", {"members": "etcd-1"}, "it takes none of its own"),
    ],
)
def test_an_option_that_a_procedure_cannot_use_is_refused(name: str, given: dict[str, object], says: str) -> None:
    with pytest.raises(Refusal, match=says):
        options.check_members(
            procedure(name), build.inventory(), {"members": None, "off": False, "seconds": None, **given}
        )


def test_what_a_procedure_takes_passes() -> None:
    options.check_members(
        procedure("run_directly"), build.inventory(), {"members": "etcd-1", "off": False, "seconds": 780}
    )
    options.check_members(procedure("permissions"), build.inventory(), {"members": None, "off": False, "seconds": None})


# -- data, without which etcd begins an empty cluster --------------------------------------------------------------


class Hosts:
    """Three members whose disks hold `data`, as `find` lists it."""

    def __init__(self, data: str) -> None:
        self.data = data
        self.asked: list[Command] = []

    def each(self, hosts: Sequence[str], work: Callable[[Any], Any]) -> dict[str, Any]:
        return {host: work(SimpleNamespace(name=host, look=self.look, ask=self.ask)) for host in hosts}

    def ask(self, question: Question[Any]) -> Any:
        return question.understand([self.look(command) for command in question.commands])

    def look(self, command: Command) -> Result:
        self.asked.append(command)
        config = "name: e\ndata-dir: /var/lib/etcd/dh/t\ninitial-cluster-token: t\ninitial-cluster: e=https://10.0.0.11:2380\n"
        texts = {"systemctl": "LoadState=loaded\nActiveState=inactive\n", "cat": config, "find": self.data, "ip": ""}
        return Result(command, 0, texts[command.argv[0]], "", 0.0)


@pytest.mark.parametrize(
    ("data", "there"),
    [(parts(DATA, *WHOLE), True), (parts(DATA, *WHOLE[:-1]), False), ("", False)],
)
def test_a_member_is_run_only_where_it_has_a_write_ahead_log(data: str, there: bool) -> None:
    hosts, inventory = Hosts(data), build.inventory()
    found: dict[str, str | None] = {}
    run = cast(
        Run,
        SimpleNamespace(
            inventory=inventory,
            fleet=hosts,
            options=SimpleNamespace(hosts="prod"),
            wait=lambda look, within, least: look(),
            settle=lambda claim, outcomes, remedy: found.update({**outcomes, "remedy": remedy}),
        ),
    )
    (sheet, *_) = restarts.standing(run, inventory.members)
    assert sheet.has_data is there
    restarts.refuse_without_data(run, sheet)
    assert found["remedy"] is not None and "pytest runbook --hosts=prod" in found["remedy"]
    assert found["etcd-1"] == (None if there else "no write-ahead log in /var/lib/etcd/dh/t/member/wal")
    assert sudoers.unlisted(inventory, [command.line() for command in hosts.asked]) == []
