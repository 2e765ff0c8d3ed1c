"""The names of processes that were up when all was well: kept for their owner alone, and trusted only when whole."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from requorum.inventory import Inventory
from requorum.refusal import Refusal
from requorum.run.run import Run
from requorum.snapshots import backup, processes
from requorum.snapshots.backup import Tonight
from requorum.snapshots.vault import Vault
from tests.unit import build


@pytest.fixture
def inventory(tmp_path: Path) -> Inventory:
    return build.inventory(snapshot={"directory": str(tmp_path)})


def path(inventory: Inventory) -> Path:
    found = processes.path_of(inventory)
    assert found is not None
    return found


def test_a_backup_keeps_what_is_up_and_what_it_knew_of_a_host_that_tells_nothing(inventory: Inventory) -> None:
    monit = {"infra-1": (0, " cs  OK  Process\n importer  Not monitored  Process\n"), "query-1": (0, "")}
    notes: list[str] = []

    def each(hosts: Iterable[str], work: Callable[[Any], Any]) -> dict[str, Any]:
        return {host: work(SimpleNamespace(name=host, ask=lambda q: q.understand([said(q)]))) for host in hosts}

    def said(question: Any) -> Any:
        (command,) = question.commands
        return build.answered(command, monit[command.host][1])

    run = SimpleNamespace(
        inventory=inventory, terms=build.terms(of=inventory), fleet=SimpleNamespace(each=each), note=notes.append
    )
    vault = Vault(inventory)
    vault.keep_processes({"query-1": ("worker",), "infra-1": ("cs", "gone")})
    backup.keep_what_is_up(cast(Run, run), Tonight(vault))
    assert processes.last_up(inventory) == {"infra-1": ("cs",), "query-1": ("worker",)}
    assert notes == [
        "infra-1: not up any more, and expected no more: gone",
        "query-1: which processes are up is not known tonight",
    ]
    assert stat.S_IMODE(path(inventory).stat().st_mode) == 0o600
    assert [found.name for found in vault.directory.iterdir()] == ["lab-processes.json"], "no draft is left"


def test_a_host_that_does_not_answer_fails_no_backup(inventory: Inventory) -> None:
    notes: list[str] = []
    silent = {host: Refusal(host, "did not answer", "x") for host in inventory.deephaven.hosts}
    fleet = SimpleNamespace(each=lambda *_: silent)
    run = SimpleNamespace(inventory=inventory, terms=build.terms(of=inventory), fleet=fleet, note=notes.append)
    backup.keep_what_is_up(cast(Run, run), Tonight(Vault(inventory)))
    assert processes.last_up(inventory) == {}
    assert notes[0] == "infra-1: which processes are up is not known tonight: did not answer"


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "7", '{"schema": 2, "up": {"infra-1": ["cs"]}}', '{"schema": 1}', '{"schema": 1, "up": 7}']
)
def test_a_file_that_is_not_whole_tells_nothing(inventory: Inventory, text: str) -> None:
    path(inventory).write_text(text, encoding="utf-8")
    assert processes.last_up(inventory) == {}


def test_a_host_without_names_is_one_of_which_nothing_is_known(inventory: Inventory) -> None:
    path(inventory).write_text(json.dumps({"schema": 1, "up": {"infra-1": [], "query-1": ["w"]}}), encoding="utf-8")
    assert processes.last_up(inventory) == {"query-1": ("w",)}


def test_without_a_directory_nothing_is_known() -> None:
    assert processes.last_up(build.inventory()) == {}
