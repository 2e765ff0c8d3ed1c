"""Two clusters from one operator's checkout at the same time: nothing on this machine or on a host is shared."""

from __future__ import annotations

import json
from pathlib import Path

from requorum.evidence.journal import Journal
from requorum.hosts.fleet import Fleet
from requorum.inventory import Inventory
from requorum.plugin import programs
from requorum.run import lock, marker
from tests.unit import build

STARTED = "2026-11-27T030000Z"  # both in the same second


def of(cluster: str, tmp_path: Path) -> Inventory:
    config = tmp_path / f"{cluster}.config"
    config.touch()
    return build.inventory(cluster=cluster, transport={"backend": "ssh", "ssh_config": str(config)})


def test_connections_and_evidence_are_each_ones_own(tmp_path: Path) -> None:
    one, two = (of(cluster, tmp_path) for cluster in ("one", "two"))
    journals = [Journal.create(tmp_path / "evidence" / each.cluster, STARTED) for each in (one, two)]
    with Fleet(one, journals[0]) as first, Fleet(two, journals[1]) as second:
        assert first._sockets != second._sockets and first._mark != second._mark
        ways = [set(machine.prefix) for fleet in (first, second) for machine in fleet.machines.values()]
        paths = [{word for word in way if word.startswith(("ControlPath=", "/"))} for way in ways]
        shared = [(a, b) for a in paths[: len(paths) // 2] for b in paths[len(paths) // 2 :] if a & b]
        assert not shared, "neither a control socket nor an ssh configuration"
        for journal in journals:
            programs.point_at(journal.directory)
            journal.record("note", text=str(journal.directory))
    told = [(tmp_path / "evidence" / name / "latest" / "journal.jsonl").read_text() for name in ("one", "two")]
    assert [json.loads(text.splitlines()[-1])["text"] for text in told] == [str(j.directory) for j in journals]
    assert not first._sockets.exists() and not second._sockets.exists()


def test_two_runs_of_one_cluster_in_one_second_have_evidence_of_their_own(tmp_path: Path) -> None:
    journals = [Journal.create(tmp_path / "evidence" / "one", STARTED) for _ in range(2)]
    assert journals[0].directory != journals[1].directory


def test_locks_and_marks_do_not_meet_even_on_one_machine() -> None:
    places = [{lock.path(name), marker.directory(name)} for name in ("one", "two")]
    assert not places[0] & places[1]


def test_pytest_itself_keeps_nothing_between_runs() -> None:
    """A cache below the checkout would be both runs'."""
    assert "no:cacheprovider" in (Path(__file__).parents[3] / "pytest.ini").read_text()
