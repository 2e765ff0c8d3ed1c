"""A member that its unit configures by flags and environment is asked for a leader like any other."""

from __future__ import annotations

from pathlib import Path

import pytest

from requorum.cluster import quorum
from requorum.cluster.quorum import Kind, State
from requorum.run import facts
from tests.unit.run.test_dryrun import planning
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
