"""Troubleshooting on a real cluster: each procedure against what it is for, cut in the middle, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from compose import faults, lab
from compose.nodes import Node
from tests.lab import troubles
from tests.lab.rehearsal import Rehearsal
from tests.lab.troubles import CONFIG, UNIT


def test_debug_logging_goes_on_and_off_one_member_at_a_time(rehearsal: Rehearsal) -> None:
    troubles.debug_logging_goes_on_and_off(rehearsal, "log-level: debug")
    rehearsal.spoilt = False


def test_etcd_runs_directly_and_its_unit_is_back_whatever_happens(rehearsal: Rehearsal) -> None:
    troubles.etcd_runs_directly(rehearsal)
    rehearsal.spoilt = False


def test_files_of_another_account_are_given_back_and_the_way_back_is_kept(rehearsal: Rehearsal) -> None:
    troubles.files_are_given_back(rehearsal)
    rehearsal.spoilt = False


def test_what_cannot_be_done_is_refused_and_nothing_changes(rehearsal: Rehearsal) -> None:
    nodes = rehearsal.nodes
    second, third = nodes.by_name("etcd-2"), nodes.by_name("etcd-3")
    troubles.put_drop_in(third, "[Service]\nExecStart=\n")
    try:
        troubles.refused(rehearsal, "as one without ExecStart", "run_directly", "--members=etcd-3")
    finally:
        troubles.drop(third)
    config = second.get(CONFIG)
    try:
        put_config(second, b"name: [etcd-2\n")
        says = f"etcd-2:{second_path(second)}: is not YAML"
        troubles.refused(rehearsal, says, "debug_logging", "--members=etcd-1,etcd-2")
        troubles.refused(rehearsal, "is not YAML", "permissions", "--members=etcd-2")
    finally:
        put_config(second, config)
    faults.power_off(third)
    try:
        troubles.refused(rehearsal, "etcd-3: found did not answer", "debug_logging", "--members=etcd-3")
        says = "etcd-2: found of the other members etcd-1 would be left with a leader"
        troubles.refused(rehearsal, says, "run_directly", "--members=etcd-2")
    finally:
        faults.power_on(third)
        faults.await_quorum(nodes)
    rehearsal.spoilt = False


def put_config(node: Node, content: bytes) -> None:
    """Over the old one: owner and mode stay. A running etcd has read it long ago."""
    node.run(["sh", "-c", f"cat > {CONFIG}"], stdin=content)


def second_path(node: Node) -> str:
    return node.run(["readlink", "-f", CONFIG]).stdout.strip()


@pytest.mark.matrix
def test_a_member_that_was_stopped_stays_stopped(rehearsal: Rehearsal) -> None:
    node = rehearsal.nodes.by_name("etcd-1")
    node.run(["systemctl", "stop", UNIT])
    troubles.refused(rehearsal, f"{UNIT} does not run", "debug_logging", "--members=etcd-1")
    found = troubles.succeeded(troubles.run(rehearsal, "run_directly", "--members=etcd-1", "--seconds=2"))
    assert "etcd is stopped, as it was before" in str(found.records)
    assert node.run(["systemctl", "is-active", UNIT], check=False).stdout.strip() == "inactive"
    node.run(["systemctl", "start", UNIT])
    faults.await_quorum(rehearsal.nodes)
    rehearsal.spoilt = False


@pytest.mark.matrix
def test_all_of_it_holds_with_an_etcd_before_3_5(tmp_path: Path) -> None:
    """Another lab: `debug: true`, log lines without JSON, `/health` of the older spelling."""
    older = Rehearsal(tmp_path, etcd="3.4", spares=0)
    try:
        older.prepare()
        troubles.debug_logging_goes_on_and_off(older, "debug: true")
        troubles.etcd_runs_directly(older)
        troubles.files_are_given_back(older)
        older.assert_data_is_back()
        assert troubles.unlisted_in_sudoers(older) == []
    finally:
        lab.down()
