"""Proofs about roles that have a client certificate and no password: in order where etcd knows them so too."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from requorum.cluster import deephaven
from requorum.cluster.authentication import Authentication
from requorum.cluster.etcdctl import OUTSIDE
from requorum.command import Command, Result
from requorum.hosts.fleet import Machine
from requorum.hosts.question import Question
from requorum.recovery.proofs import cluster, configuration
from requorum.refusal import Disproved, Refusal
from requorum.run import facts
from requorum.run.dryrun import Planning
from tests.unit import build
from tests.unit.run.test_dryrun import Hosts, planning

LISTED = f"{build.CLIENT}/root/endpoints:https://10.0.0.11:2379\n"


class Bare(Hosts):
    """No password anywhere; `listed`: the endpoints that clients know."""

    def __init__(self, listed: str = LISTED) -> None:
        super().__init__()
        self.listed = listed

    def answer(self, command: Command) -> tuple[int, str]:
        if "sha256sum" in command.argv:
            return 0, ""
        return (0, self.listed) if "endpoints" in command.argv else super().answer(command)


def begun(place: Path, hosts: Hosts) -> Planning:
    """Before a proof whose stage looks at what is there now."""
    run = planning(place, hosts, timeout_scale=0.001)
    run.begin("m.py::TestX::test_then_it_holds")
    run.stages[-1].looked = True
    return run


def test_no_password_at_all_is_in_order_where_there_are_roles(tmp_path: Path) -> None:
    run = begun(tmp_path / "some", Bare())
    assert configuration.passwords_agree(run) == ()
    assert run.notes == ["no password lies here for any of 1 roles"]
    run = begun(tmp_path / "none", Bare(""))
    with pytest.raises(Disproved, match=f"no role in {build.CLIENT}"):
        configuration.passwords_agree(run)


@pytest.mark.parametrize(
    ("backup", "packed", "wrong"),
    [
        ({}, [], None),
        ({}, [("root", "a")], "another password for root in the query archive"),
        ({"root": "a"}, [], "no password at all in the query archive"),
        ({"root": "a"}, [("root", "a")], None),
    ],
)
def test_archives_hold_as_many_passwords_as_there_were(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    backup: dict[str, str],
    packed: list[tuple[str, str]],
    wrong: str | None,
) -> None:
    monkeypatch.setattr(facts, "passwords", lambda run, directory, hosts: {"infra-1": backup})
    monkeypatch.setattr(facts, "passwords_anywhere", lambda run, host, directory: packed)
    run = begun(tmp_path, Bare())
    if wrong is None:
        configuration.archives_hold_the_old_passwords(run)
        return
    with pytest.raises(Disproved, match=wrong):
        configuration.archives_hold_the_old_passwords(run)


def test_there_is_no_wrong_password_to_try_where_there_is_none(tmp_path: Path) -> None:
    run = begun(tmp_path, Bare())
    cluster.wrong_password_is_refused(run, (), Authentication(without_password=("root",)))
    assert run.stages[-1].actions == [] and "no wrong one to try" in run.notes[0]


def test_every_file_of_a_role_without_a_password_is_compared_and_of_what_is_no_role_none() -> None:
    said = "".join(f"{'a' * 64}  /x/{name}\n" for name in ("root/endpoints", "root/client.key", "notes/readme"))
    found = build.understood(deephaven.ask_client_files("infra-1", "/x"), said)
    assert set(found) == {"root/endpoints", "root/client.key"}


def test_who_a_certificate_is_for_need_not_be_written_down() -> None:
    def ask(question: Question[Any]) -> Any:
        return question.understand([build.answered(question.commands[0], "")])

    machine = cast(Machine, SimpleNamespace(name="infra-1", ask=ask))
    assert cluster._users(machine, build.CLIENT, ["root"], needed=()) == {"root": ""}
    with pytest.raises(Refusal, match="user of root"):
        cluster._users(machine, build.CLIENT, ["root"], needed=("root",))


class Asked(Hosts):
    """A configuration server with directories of four roles, of which `config` alone has a password."""

    users = {"config": "config", "root": "root", "stray": "eve", "unnamed": ""}  # noqa: RUF012

    def __init__(self, refused: str = "") -> None:
        super().__init__()
        self.refused, self.read, self.granted, self.trips = refused, list[str](), list[str](), 0
        self.logins = list[tuple[str, ...]]()
        self.deputies: tuple[str, ...] = ()  # who have the role root

    def each(self, hosts: Iterable[str], work: Callable[[Machine], Any]) -> dict[str, Any]:
        return {host: work(cast(Machine, SimpleNamespace(name=host, ask=self.tell))) for host in hosts}

    def tell(self, question: Question[Any]) -> Any:
        self.trips += 1
        return question.understand([self.say(command) for command in question.commands])

    def say(self, command: Command) -> Result:
        line = command.line()
        if "-name endpoints" in line:
            text = "".join(f"{build.CLIENT}/{role}/endpoints:https://10.0.0.11:2379\n" for role in self.users)
            return build.answered(command, text)
        if "-name user" in line:
            return build.answered(
                command, "".join(f"{build.CLIENT}/{r}/user:{u}\n" for r, u in self.users.items() if u)
            )
        if " user get " in line and "--detail" not in line:
            roles = ["root"] if command.argv[command.argv.index("get") + 1] in self.deputies else ["one", "other"]
            return build.answered(command, json.dumps({"header": {}, "roles": roles}))
        if " user get " in line:
            self.granted.append(command.argv[command.argv.index("get") + 1])
            detail = '\n{"perm": [{"key": "L21haW4=", "range_end": "L21haW8="}]}\n\n{"perm": []}\n'
            if self.granted[-1] in self.deputies:
                detail = '\n{"header": {}}\n'
            return build.answered(command, f"User: {self.granted[-1]}\n{detail}")
        role = next(role for role in self.users if f"{build.CLIENT}/{role}" in line)
        self.read.append(role)
        self.logins.append(command.argv)
        said = (
            "Error: etcdserver: authentication failed"
            if role == self.refused
            else "Error: etcdserver: permission denied"
        )
        return Result(command, 1, "", said, 0.0)


class Lax(Asked):
    """Everybody reads everything."""

    def say(self, command: Command) -> Result:
        found = super().say(command)
        return build.answered(command, "") if found.code else found


@pytest.mark.parametrize(
    ("was", "roles", "read"),
    [
        (Authentication(), ("config",), ["config"]),
        (Authentication(without_password=("root",)), ("config",), ["config", "root", "unnamed"]),
        (Authentication(without_password=("root",)), (), ["root", "unnamed"]),
    ],
)
def test_a_role_without_a_password_is_let_in_where_etcd_knows_its_user_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, was: Authentication, roles: tuple[str, ...], read: list[str]
) -> None:
    monkeypatch.setattr(cluster, "_keys_outside", lambda *_: {})
    hosts = Asked()
    cluster.old_passwords_log_in(begun(tmp_path / "in", hosts), roles, was)
    assert hosts.read == read
    with pytest.raises(Disproved, match=f"{read[-1]} .*authentication failed"):
        cluster.old_passwords_log_in(begun(tmp_path / "out", Asked(read[-1])), roles, was)


def test_whose_closed_key_the_trial_told_is_not_asked_about_and_the_key_stays_closed(tmp_path: Path) -> None:
    hosts = Asked()
    hosts.users = {"a": "one", "b": "two", "c": "three", "d": "four"}
    told = {"one": "requorum-outside", "two": None, "three": "/a b; c"}  # what no trial says is not taken
    cluster.old_passwords_log_in(begun(tmp_path, hosts), tuple(hosts.users), Authentication(), told)
    assert hosts.granted == ["three", "four"]
    assert [argv[argv.index("get") + 1] for argv in hosts.logins] == [
        "requorum-outside",
        "",
        *2 * ["/requorum/outside"],
    ]
    hosts = Lax()
    with pytest.raises(Disproved, match=r"config .* may read requorum-outside, outside its permissions"):
        cluster.old_passwords_log_in(
            begun(tmp_path / "lax", hosts), ("config",), Authentication(), {"config": OUTSIDE[1]}
        )


def test_whoever_has_the_role_root_is_not_held_to_a_closed_key(tmp_path: Path) -> None:
    """etcd 3.5 shows the permissions of that role as none."""
    hosts = Lax()
    hosts.users, hosts.deputies = {"deputy": "deputy"}, ("deputy",)
    cluster.old_passwords_log_in(begun(tmp_path, hosts), ("deputy",), Authentication())
    assert [argv[argv.index("get") + 1] for argv in hosts.logins] == [""]


def test_all_roles_logins_take_three_rounds_however_many_roles_there_are(tmp_path: Path) -> None:
    hosts = Asked()
    hosts.users = {f"role-{n:02}": f"user-{n}" for n in range(11)}
    cluster.old_passwords_log_in(begun(tmp_path, hosts), tuple(hosts.users), Authentication())
    assert hosts.read == sorted(hosts.users), "each by a read of its own"
    assert hosts.granted == list(hosts.users.values()), "what a user's roles open is asked with one login"
    assert hosts.trips == 3
