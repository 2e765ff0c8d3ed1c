"""What programs read of a run, from the real command in a process of its own, and by itself."""

from __future__ import annotations

import json
import os
import xml.etree.ElementTree as ET
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from requorum import version
from requorum.command import act
from requorum.plugin import hooks, programs
from requorum.procedures import PROCEDURES
from requorum.refusal import NotApproved
from requorum.run.dryrun import Planning, Stage, seal
from tests.unit.plugin.test_hooks import inventory, refused, run

__all__ = ["inventory"]


# -- --json ------------------------------------------------------------------------------------------------------


def test_standard_output_is_the_summary_and_nothing_else(inventory: Path) -> None:
    place = inventory.parent
    ended = run(
        "runbook", "--check", "--json", f"--hosts={inventory}", f"--evidence={place}/e", f"--junitxml={place}/j.xml"
    )
    assert ended.returncode == 1, ended.stderr
    summary = json.loads(ended.stdout)
    assert summary == json.loads((place / "e" / "lab" / "latest" / "summary.json").read_text())
    assert summary["outcome"] == "checked"
    assert "did not answer" in ended.stderr, "the screen is on standard error"


def test_a_stop_is_a_summary_too(inventory: Path) -> None:
    ended = run("runbook", "--json", f"--hosts={inventory}", "--confirm=lab", f"--evidence={inventory.parent}/e")
    assert (ended.returncode, json.loads(ended.stdout)["outcome"]) == (1, "refused")
    assert "Go on" in ended.stderr


def test_a_refusal_before_any_host_leaves_standard_output_empty(inventory: Path) -> None:
    ended = run("runbook", "--json", f"--hosts={inventory}", "--confirm=no", f"--evidence={inventory.parent}/e")
    assert (ended.returncode, ended.stdout) == (4, "")
    assert "is not the name of this cluster" in ended.stderr


def test_a_plan_that_does_not_hold_any_more_is_not_given_again(tmp_path: Path) -> None:
    said = {"approved": "/srv/plan.json", "hosts": "lab", "evidence": "evidence", "timeout_scale": 1}
    ran = SimpleNamespace(dir=tmp_path)
    for plans in (False, True):
        get = {**said, "--plan": plans, "plan": plans}.get
        config: Any = SimpleNamespace(getoption=get, stash={hooks.PROCEDURE: PROCEDURES[0]}, invocation_params=ran)
        words = hooks._said(config, NotApproved("so", {"quorum": "lost"}, "make it anew")).words
        assert words.count("--plan") == 1 and not any(word.startswith("--approved") for word in words)


def test_the_command_to_go_on_keeps_the_approved_plan_as_long_as_nothing_is_changed(inventory: Path) -> None:
    told = {"cluster": "lab", "made": datetime.now(UTC).isoformat(), "basis": {"version": version.told()}}
    plan = inventory.parent / "plan.json"
    plan.write_text(json.dumps({**told, "seal": seal(told)}))
    words = (f"--hosts={inventory}", "--confirm=lab", f"--evidence={inventory.parent}/e", f"--approved={plan}")
    (line,) = [line for line in run("runbook", *words).stdout.splitlines() if line.startswith("Go on")]
    assert f"--approved={plan}" in line


# -- exit codes --------------------------------------------------------------------------------------------------


def test_findings_are_2_with_a_detailed_exit_code_and_the_outcome_tells_it_from_an_interruption(
    inventory: Path,
) -> None:
    evidence = f"--evidence={inventory.parent}/e"
    ended = run("runbook", "--check", "--json", "--detailed-exitcode", f"--hosts={inventory}", evidence)
    assert (ended.returncode, json.loads(ended.stdout)["outcome"]) == (2, "checked")


def test_a_plan_that_cannot_be_made_stays_1(inventory: Path) -> None:
    evidence = f"--evidence={inventory.parent}/e"
    assert run("runbook", "--plan", "--detailed-exitcode", f"--hosts={inventory}", evidence).returncode == 1


def test_a_detailed_exit_code_is_for_what_only_looks(inventory: Path) -> None:
    said = refused(inventory.parent, "runbook", f"--hosts={inventory}", "--confirm=lab", "--detailed-exitcode")
    assert "--detailed-exitcode is for --check and --plan" in said


def planned(*stages: Stage) -> Planning:
    plan = Planning.__new__(Planning)
    plan.stages = list(stages)
    return plan


THEIRS = act("etcd-1", "systemctl", "stop", "dh-etcd.service", why="stop it")
OWN = act("etcd-1", "mkdir", "/var/lib/requorum/lab/run", why="the run's own place")


@pytest.mark.parametrize(
    ("outcome", "code", "stages", "wanted"),
    [
        ("planned", 0, [Stage("x::T::test_when_a", plans=[([THEIRS], False)])], 2),
        ("planned", 0, [Stage("x::T::test_when_a", plans=[([OWN], False)])], 0),
        ("planned", 0, [Stage("x::T::test_given_a", refusal="no"), Stage("x", plans=[([THEIRS], False)])], 0),
        ("interrupted", 2, [], 2),
        ("stopped", 1, [Stage("x", plans=[([THEIRS], False)])], 1),
        ("checked", 0, [], 0),
        ("checked", 1, [], 2),
    ],
    ids=["changes", "only its own", "stops today", "interrupted", "no plan", "good", "findings"],
)
def test_a_detailed_exit_code_says_what_came_of_it(outcome: str, code: int, stages: list[Stage], wanted: int) -> None:
    assert programs.detailed(planned(*stages), outcome, code) == wanted


# -- junit -------------------------------------------------------------------------------------------------------


def test_the_suite_has_the_run_as_properties(inventory: Path) -> None:
    place = inventory.parent
    run("runbook", f"--hosts={inventory}", "--confirm=lab", f"--evidence={place}/e", f"--junitxml={place}/j.xml")
    suite = ET.parse(place / "j.xml").getroot()[0]
    found = {p.get("name"): p.get("value") for p in suite.findall("properties/property")}
    summary = json.loads((place / "e" / "lab" / "latest" / "summary.json").read_text())
    assert (found["run"], found["outcome"]) == (summary["run"], "refused")
    assert float(found["seconds"] or "") > 0 and found["loss.certain"] == found["snapshot.sha256"] == ""
    assert found["evidence"] == str(next((place / "e" / "lab").glob("2*")))
    assert int(suite.get("tests") or 0) == len(suite.findall("testcase")) > 10, "written again, not twice"


def test_what_is_known_of_snapshot_and_loss_is_told() -> None:
    summary = {
        "run": "r",
        "outcome": "recovered",
        "version": "v",
        "recovery_seconds": {"total": 57.5, "action_seconds": 31.2},
        "snapshot": {"source": "salvage", "revision": 280, "sha256": "ab"},
        "data_loss": {"certain": 0, "possible": None, "why": "none"},
    }
    found = programs.properties(summary, Path("/e"))
    assert (found["snapshot.source"], found["snapshot.revision"], found["loss.certain"]) == ("salvage", "280", "0")
    assert (found["loss.possible"], found["seconds"]) == ("", "57.5")


# -- latest ------------------------------------------------------------------------------------------------------


def test_latest_leads_to_the_newest_run_and_is_replaced_in_one_step(tmp_path: Path) -> None:
    for name in ("2026-a", "2026-b"):
        (tmp_path / name).mkdir()
        programs.point_at(tmp_path / name)
        assert os.readlink(tmp_path / "latest") == name, "relative, so that a copied directory still holds together"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["2026-a", "2026-b", "latest"]


def test_where_latest_cannot_be_made_nothing_else_happens(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "latest").mkdir()  # somebody's own
    programs.point_at(tmp_path / "run")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["latest", "run"] and (tmp_path / "latest").is_dir()
    programs.point_at(tmp_path / "gone" / "run")
