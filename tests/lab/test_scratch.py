"""A small /var is not filled: what takes room lies on the data's own file system, and goes again from there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from compose import disks
from compose.nodes import Node, Nodes
from tests.lab import procedures
from tests.lab.rehearsal import Rehearsal
from tests.lab.test_interruption import acts, kill
from tests.lab.writers import leftovers, restored_ahead

SMALL = (
    "260M"  # the save and the snapshot fit, with what stays free; copies and stand-ins, or the trial, do not besides
)


@contextmanager
def small_var(nodes: Nodes) -> Iterator[None]:
    with ExitStack() as mounts:
        for node in nodes.members:
            mounts.enter_context(disks.full(node, SMALL))
            node.run(["chown", "root:root", "/var/lib/etcd"])  # etcd's own, nothing of root's would lie in it
            mounts.callback(node.run, ["chown", "etcd:etcd", "/var/lib/etcd"])
        yield


def beside(node: Node) -> list[str]:
    script = "find /var/lib/etcd -maxdepth 2 -path '*requorum-*.scratch*'"
    return node.run(["sh", "-c", script]).stdout.split()


@pytest.mark.matrix
def test_with_a_small_var_copies_and_the_trial_lie_beside_the_data_and_nothing_stays(rehearsal: Rehearsal) -> None:
    nodes = rehearsal.nodes
    with small_var(nodes):
        rehearsal.lose("wipe")
        process, evidence = rehearsal.start(rehearsal.inventory())
        run = rehearsal.finish(process, evidence)
        assert run.recovered, run.output
        assert run.summary["snapshot"]["source"] == "salvage"
        assert leftovers(nodes) == [] and restored_ahead(nodes) == []
        linked = {word for word in _words(evidence) if word.endswith((".scratch/room", ".scratch/packed"))}
        assert {Path(word).name for word in linked} == {"room", "packed"}
    rehearsal.assert_recovered(run)


@pytest.mark.matrix
@pytest.mark.parametrize("stage", ["test_when_the_best_data_is_chosen_and_copied", "test_when_the_snapshot_is_tried"])
def test_what_a_killed_run_left_beside_the_data_goes_with_a_rollback(rehearsal: Rehearsal, stage: str) -> None:
    nodes, inventory = rehearsal.nodes, rehearsal.inventory()
    with small_var(nodes):
        rehearsal.lose("wipe")
        kill(rehearsal, inventory, stage, acts)
        back = procedures.run(rehearsal.scratch, "rollback", f"--hosts={inventory}", "--confirm=lab")
        assert back.code == 0, back.output
        assert [path for node in nodes.members for path in beside(node)] == [] and restored_ahead(nodes) == []
        again = rehearsal.run(inventory)
        assert again.recovered, again.output
        assert leftovers(nodes) == [] and restored_ahead(nodes) == []
    rehearsal.assert_recovered(again)


def _words(evidence: Path) -> set[str]:
    (journal,) = evidence.glob("2*/journal.jsonl")
    records = map(json.loads, journal.read_text().splitlines())
    return {word for record in records for word in str(record.get("argv", "")).split()}
