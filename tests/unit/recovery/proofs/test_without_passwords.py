"""Proofs about roles that have a client certificate and no password: in order where etcd knows them so too."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from requorum.cluster import deephaven
from requorum.cluster.authentication import Authentication
from requorum.command import Command
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
    run = planning(place, hosts)
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
    assert cluster._user(machine, build.CLIENT, "root", needed=False) == ""
    with pytest.raises(Refusal, match="user of root"):
        cluster._user(machine, build.CLIENT, "root", needed=True)
