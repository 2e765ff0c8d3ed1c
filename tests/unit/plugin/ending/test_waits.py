"""A stop that is a wait shows by one line whom it waits for, or ends it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from requorum.evidence.journal import Journal
from requorum.hosts.fleet import Fleet
from requorum.plugin.ending.remedies import ROOT
from requorum.recovery.undo.state import no_command_is_left
from requorum.refusal import Disproved
from requorum.run.marker import Marker, MarkerError, Phase, refuse_others
from requorum.run.run import Run
from requorum.run.terms import Options
from requorum.troubleshoot import sudoers
from tests.unit import build
from tests.unit.plugin.ending.ended import block, ended, pasted


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    inventory, journal = build.inventory(), Journal(tmp_path / "evidence")
    with Fleet(inventory, journal) as fleet:
        yield Run(inventory, Options(hosts="lab"), journal, fleet)


def test_a_command_that_is_still_at_work_is_waited_for_or_ended_by_a_line(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy = "still running: sudo -n timeout"
    monkeypatch.setattr(Run, "prove", lambda self, hosts, claim, probe, remedy, **how: refuse(claim, busy, remedy))
    with pytest.raises(Disproved) as found:
        no_command_is_left(run)
    of = ended(found.value, 1, "test_then_x")
    assert block(of)["Do first"] == "let it end, as it does by its own deadline"
    assert block(of)["Or"].startswith("end it, as Ctrl-C would have\nssh etcd-2.")
    assert "ssh etcd-2.invalid sudo -n timeout -k 5 60 systemctl stop requorum.slice" in pasted(of)


def refuse(claim: str, found: str, remedy: str) -> None:
    raise Disproved(claim, {"etcd-2": found}, remedy)


def test_lines_that_sudo_lacks_are_printed_as_a_whole_file_by_a_line(run: Run) -> None:
    with pytest.raises(Disproved) as found:
        sudoers._settle(run, "sudo allows it", {"etcd-2": sudoers.needed(run.inventory)[:1]})
    lines = [line for line in pasted(ended(found.value, 0, "test_given_x")) if "requorum.sudoers" in line]
    assert len(lines) == 1 and lines[0].startswith(f"cd {ROOT} && ")


def test_a_run_that_began_meanwhile_is_looked_at_by_a_line() -> None:
    other = Marker("20260101t000000z-abcdef", "t", Phase.STOPPING, "ann")
    with pytest.raises(MarkerError) as found:
        refuse_others({"infra-1": other}, replace(other, run="20260101t000001z-abcdef"))
    assert pasted(ended(found.value, 1))[0].endswith("runbook/troubleshoot/diagnose --hosts=lab")
