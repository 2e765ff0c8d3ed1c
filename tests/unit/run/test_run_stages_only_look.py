"""A Given and a Then never act: what changes a host is a When's, a listed probe write aside."""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from requorum.command import Command
from requorum.evidence.journal import Journal
from requorum.hosts.fleet import Fleet
from requorum.recovery import probes
from requorum.run.run import Run
from tests.unit import build
from tests.unit.run.test_dryrun import Hosts, planning

ROOT = Path(__file__).parents[3]
CHANGE = Command("etcd-1", ("rm", "-f", "/a"), "change something")
ACTS: dict[str, Callable[[Run], object]] = {
    "do": lambda run: run.do([CHANGE]),
    "advance": lambda run: run.advance(run.mark),
    "remark": lambda run: run.remark(replace(run.mark, by="x")),
}


@pytest.mark.parametrize("word", ["given", "then"])
@pytest.mark.parametrize("verb", ACTS)
def test_a_stage_that_only_looks_cannot_act(tmp_path: Path, word: str, verb: str) -> None:
    run = planning(tmp_path, Hosts())
    run.begin("m.py::TestX::test_when_something_is_done")
    ACTS[verb](run)
    run.begin(f"m.py::TestX::test_{word}_something_holds")
    with pytest.raises(AssertionError, match=f"test_{word}_something_holds must not"):
        ACTS[verb](run)
    run.probe([CHANGE])


def test_what_a_proof_may_write_is_all_in_one_file() -> None:
    """`probe` is called with a plan of `probes` and with nothing else."""
    calls = [
        (path.name, call.args[0])
        for path in [*(ROOT / "requorum").rglob("*.py"), *(ROOT / "runbook").rglob("*.py")]
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "probe"
    ]
    plans = [ast.unparse(plan).split("(")[0] for _, plan in calls]
    assert set(plans) == {
        "probes.read_stopped_members",
        "probes.read_databases",
        "probes.spoil_login",
        "probes.remove_spoiled_login",
        "probes.write_through",
        "probes.remove_written",
    }
    assert all(hasattr(probes, plan.removeprefix("probes.")) for plan in plans)


def test_a_machine_that_is_asked_refuses_a_command_that_changes_something(tmp_path: Path) -> None:
    inventory, journal = build.inventory(transport={"backend": "local"}), Journal(tmp_path / "evidence")
    with Fleet(inventory, journal) as fleet, pytest.raises(AssertionError, match="must not change anything"):
        fleet.machines["etcd-1"].look([replace(CHANGE, root=False)])
