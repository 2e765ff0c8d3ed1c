"""A majority lost its disks and systemd started it again: an empty cluster, which nothing takes for the lost one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from compose import cluster, poll
from compose.faults import UNIT
from tests.lab import procedures
from tests.lab.rehearsal import Rehearsal, Run
from tests.lab.stops import paste, stops
from tests.lab.test_backup import back_up, into, names
from tests.lab.test_stop_before_less import is_back, write_late

pytestmark = pytest.mark.matrix

EMPTY = ("etcd-2", "etcd-3")
# Nobody is asked who they are where authentication began anew as well.
PUT = (
    "ETCDCTL_API=3 etcdctl --endpoints=https://127.0.0.1:2379 --insecure-skip-tls-verify --insecure-transport=false put"
)


def begin_anew(rehearsal: Rehearsal) -> str:
    """The others are down and two are wiped; those form a cluster of their old configuration, before etcd-1 is back.
    Gives a key that was written after the last backup, and that only the disk of etcd-1 holds."""
    key = write_late(rehearsal)
    rehearsal.lose("stop", ("etcd-1", *EMPTY))
    rehearsal.lose("wipe", EMPTY)
    for name in EMPTY:
        rehearsal.nodes.by_name(name).run(["systemctl", "start", "--no-block", UNIT])
    poll.until(
        lambda: sum(member.healthy for member in cluster.state(rehearsal.nodes).members) == len(EMPTY),
        seconds=60,
        what="the wiped members are a cluster of their own",
    )
    return key


def notes(directory: Path) -> list[dict[str, Any]]:
    found = [json.loads(path.read_text()) for path in directory.glob("*.snap.json")]
    return sorted(found, key=lambda note: int(note["number"]))


def nightly(rehearsal: Rehearsal, directory: Path) -> Callable[..., Run]:
    """A directory with one backup of the cluster as it was; the next nights."""
    assert back_up(rehearsal, directory).code == 0
    return lambda *words: back_up(rehearsal, directory, *words, count=1, days=1)


def says_so(run: Run) -> bool:
    """By its revision, or, where that has grown past the backup's meanwhile, by last night's mark."""
    said = " ".join(run.output.split())
    return "the data began anew" in said or "had begun anew before that" in said


def test_an_empty_cluster_of_the_same_ids_is_told_everywhere_and_what_was_lost_is_recovered(
    rehearsal: Rehearsal, tmp_path: Path
) -> None:
    night = nightly(rehearsal, tmp_path / "nightly")
    key = begin_anew(rehearsal)

    for count in (2, 3):
        run = night()
        assert run.code == 1, run.output
        assert "marked as another history" in run.output and "--accept=history" in run.output, run.output
        assert len(names(tmp_path / "nightly")) == 2 * count + 1, "both files of each, and which processes were up"
    assert [note["another"] for note in notes(tmp_path / "nightly")] == [False, True, True]
    assert procedures.left_on_hosts(rehearsal.nodes) == {}

    inventory = rehearsal.inventory(into(tmp_path / "nightly"))
    check = rehearsal.run(inventory, "--check")
    assert check.code == 1 and says_so(check), check.output
    diagnosed = procedures.run(rehearsal.scratch, "troubleshoot/diagnose", f"--hosts={inventory}")
    assert "made an empty cluster of them" in " ".join(diagnosed.output.split()), diagnosed.output

    run = rehearsal.run(inventory)
    stops(run, "test_given_quorum_is_lost")
    assert says_so(run), run.output
    assert "--rebuild" in run.output and "--accept=history" in run.output

    # What writes into the empty cluster takes it past the backup's revision: it is no less another history.
    grow = f"for n in $(seq 200); do {PUT} /main/since/$n x >/dev/null; done"
    rehearsal.nodes.by_name("etcd-2").run(["sh", "-euc", grow])

    run = paste(rehearsal, run, "--rebuild")
    assert run.recovered, run.output
    assert "the disk of etcd-3 was seen to have begun anew while it ran" in " ".join(run.output.split()), run.output
    assert run.summary["snapshot"]["source"] == "salvage"
    assert run.summary["data_loss"]["certain"] is None, "nobody knows what the wiped members had acknowledged"
    assert "nothing is missing" not in run.output
    assert is_back(rehearsal, key), "the disk that reached further than the backup is what came back"
    rehearsal.assert_recovered(run)
    assert night().code == 0, "the recovered cluster's backup is an ordinary one"


def test_by_one_word_the_empty_cluster_is_kept_and_its_nights_are_ordinary(
    rehearsal: Rehearsal, tmp_path: Path
) -> None:
    night = nightly(rehearsal, tmp_path / "nightly")
    begin_anew(rehearsal)
    assert night().code == 1
    stopped = rehearsal.run(rehearsal.inventory(into(tmp_path / "nightly", count=1, days=1)))
    assert paste(rehearsal, stopped, "runbook/backup", "--accept=history").code == 0
    assert night().code == 0
    found = [(note["another"], note["history"]) for note in notes(tmp_path / "nightly")]
    assert found[-1] == (False, 1), "its nights rotate the others out as any"
    assert (True, 0) in found, "one that is marked pushes nothing out, and goes by its age"
