"""What survivors' disks still hold comes back; where they are damaged the run stops, and says what can be done."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable
from functools import partial

import pytest

from compose import etcd_client, load, poll
from compose.nodes import Node
from tests.lab.rehearsal import KEYS, Rehearsal
from tests.lab.stops import choice, stops
from tests.lab.test_interruption import await_stage
from tests.lab.writers import PREFIX, data_dir, digests, leftovers, on_disk, writing

ALL = ("etcd-1", "etcd-2", "etcd-3")


def kill_all_while_writing(rehearsal: Rehearsal) -> list[str]:
    """SIGKILL for every member in full flow; the keys whose write was acknowledged."""
    with writing(rehearsal.nodes) as writers:
        rehearsal.lose("kill", ALL)
    return list(writers.acknowledged)


def set_up_anew(rehearsal: Rehearsal, names: Iterable[str]) -> None:
    """No unit, no configuration, no data: as a machine is that never was a member."""
    script = """
        rm -rf /etc/etcd/dh /var/lib/etcd/dh
        rm -f /usr/lib/systemd/system/dh-etcd.service /etc/systemd/system/dh-etcd.service
        systemctl daemon-reload
    """
    for name in names:
        rehearsal.nodes.by_name(name).run(["sh", "-ec", script])


def missing(rehearsal: Rehearsal, keys: Iterable[str]) -> list[str]:
    there = etcd_client.read_all(rehearsal.nodes, PREFIX)
    return sorted(key for key in keys if there.get(key.encode()) != key.encode())


def test_all_that_reached_the_one_survivors_disk_is_back(rehearsal: Rehearsal) -> None:
    """The commonest night: the other two machines were installed anew, and nothing of etcd is on them."""
    acknowledged = kill_all_while_writing(rehearsal)
    rehearsal.lose("wipe", ("etcd-2", "etcd-3"))
    set_up_anew(rehearsal, ("etcd-2", "etcd-3"))
    survivor = rehearsal.nodes.by_name("etcd-1")
    directory = data_dir(survivor)
    held, before = on_disk(survivor, directory) & set(acknowledged), digests(survivor, directory)

    run = rehearsal.run(rehearsal.inventory())

    assert run.recovered, run.output
    assert len(held) > 100
    assert missing(rehearsal, held) == []
    assert run.summary["snapshot"]["source"] == "salvage"
    assert run.summary["data_loss"]["certain"] is None
    assert "salvaged from 1 of 3 members (etcd-1)" in run.summary["data_loss"]["why"]
    assert digests(survivor, directory) == before, "the survivor's own data is only read"
    assert leftovers(rehearsal.nodes) == []
    rehearsal.assert_recovered(run)


def test_with_a_majority_of_disks_no_acknowledged_write_is_lost(rehearsal: Rehearsal) -> None:
    acknowledged = kill_all_while_writing(rehearsal)
    rehearsal.lose("wipe", ("etcd-1",))

    run = rehearsal.run(rehearsal.inventory(), "--rebuild")

    assert run.recovered, run.output
    assert missing(rehearsal, acknowledged) == []
    assert (run.summary["data_loss"]["certain"], run.summary["data_loss"]["possible"]) == (0, 0)
    rehearsal.assert_recovered(run)


@pytest.mark.matrix  # with it gone the last resort remains, in test_sources
def test_without_any_backup_the_survivor_alone_brings_everything_back(rehearsal: Rehearsal) -> None:
    rehearsal.lose("wipe", ("etcd-2", "etcd-3"))
    empty = rehearsal.scratch / "no-backups"
    empty.mkdir(exist_ok=True)
    inventory = rehearsal.inventory(lambda content: content["snapshot"].update(directory=str(empty)))
    run = rehearsal.run(inventory)
    rehearsal.assert_recovered(run)
    assert run.summary["snapshot"]["source"] == "salvage"


def truncate_log(node: Node, directory: str) -> None:
    """Leaves the first half of the log: etcd would mend it and go on, behind its own database."""
    logs = node.run(["sh", "-c", 'ls "$0"/member/wal/*.wal', directory]).stdout.split()
    written = len(node.get(logs[0]).rstrip(b"\0"))  # etcd lays segments out in full, zeroes to the end
    node.run(["truncate", "-s", str(written // 2), logs[0]])
    if logs[1:]:
        node.run(["rm", *logs[1:]])


def damage_pages(node: Node, directory: str) -> None:
    """Random bytes where the database keeps keys."""
    for offset in _offsets(node, directory, load.key(50, KEYS).encode()):
        where = f"seek={max(offset // 4096 - 2, 2)}"
        file = f"of={directory}/member/snap/db"
        node.run(["dd", "if=/dev/urandom", file, "bs=4096", where, "count=4", "conv=notrunc", "status=none"])


def _offsets(node: Node, directory: str, what: bytes) -> list[int]:
    data = node.get(f"{directory}/member/snap/db")
    found, at = [], data.find(what)
    while at >= 0:
        found.append(at)
        at = data.find(what, at + 1)
    assert found, "the database holds it"
    return found


@pytest.mark.parametrize(
    ("damage", "option"),
    [
        pytest.param(truncate_log, "on-disk", marks=pytest.mark.matrix),  # makes room for test_stop_before_less
        pytest.param(damage_pages, "backup", marks=pytest.mark.matrix),  # so does this: two recoveries
    ],
)
def test_a_survivor_whose_data_is_damaged_stops_the_run_and_a_choice_goes_on(
    rehearsal: Rehearsal, damage: object, option: str
) -> None:
    assert callable(damage)
    etcd_client.put(rehearsal.nodes, "/status/late", "written after the backup")
    rehearsal.lose("kill", ALL)
    rehearsal.lose("wipe", ("etcd-2", "etcd-3"))
    survivor = rehearsal.nodes.by_name("etcd-1")
    directory = data_dir(survivor)
    damage(survivor, directory)
    before = digests(survivor, directory)

    stopped = rehearsal.run(rehearsal.inventory())

    stops(stopped, "test_when_the_best_data_is_chosen_and_copied")
    assert "salvage failed: " in stopped.output
    assert digests(survivor, directory) == before
    assert leftovers(rehearsal.nodes) == []

    run = rehearsal.run(rehearsal.inventory(), choice(stopped, option))

    rehearsal.assert_recovered(run)
    assert run.summary["snapshot"]["source"] == ("file" if option == "backup" else "on-disk")
    assert "salvage failed: " in run.summary["data_loss"]["why"]
    assert digests(survivor, directory) == before


@pytest.mark.matrix  # decided in unit tests too
def test_a_named_snapshot_is_used_as_named_and_the_salvage_is_mentioned(rehearsal: Rehearsal) -> None:
    for number in range(3):
        etcd_client.put(rehearsal.nodes, f"/status/late/{number}", "written after the backup")
    rehearsal.lose("wipe", ("etcd-2", "etcd-3"))
    inventory, named = rehearsal.inventory(), f"--snapshot={rehearsal.snapshot}"
    asked = rehearsal.run(inventory, named)
    stops(asked, "test_given_you_confirm_what_was_proven")
    assert "What is lost is not answered for by --confirm: " in " ".join(asked.output.split())
    run = rehearsal.run(inventory, named, choice(asked, "backup"))
    rehearsal.assert_recovered(run)
    assert run.summary["snapshot"]["source"] == "file"
    assert "salvage is newer: revision" in run.output
    assert run.summary["data_loss"]["certain"] >= 3


@pytest.mark.matrix  # a kill in every step is in CI: test_interruption
def test_isolated_boots_that_are_killed_half_way_are_cleared_by_the_next_run(rehearsal: Rehearsal) -> None:
    rehearsal.lose("kill", ALL)
    rehearsal.lose("wipe", ("etcd-2", "etcd-3"))
    survivor = rehearsal.nodes.by_name("etcd-1")
    directory = data_dir(survivor)
    before = digests(survivor, directory)
    inventory = rehearsal.inventory()
    stages = {"salvage": "test_when_survivors_are_salvaged", "trial": "test_when_the_snapshot_is_tried"}
    for kind, stage in stages.items():
        process, evidence = rehearsal.start(inventory)
        try:
            await_stage(process, evidence, stage)
            poll.until(partial(_boots, survivor, kind), seconds=60, every=0.1, what=f"the {kind} runs")
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        assert leftovers(rehearsal.nodes) != [], "it was really killed half way"

    run = rehearsal.run(inventory)

    rehearsal.assert_recovered(run)
    assert run.summary["snapshot"]["source"] == "salvage"
    assert digests(survivor, directory) == before
    assert leftovers(rehearsal.nodes) == []


def _boots(node: Node, kind: str) -> bool:
    script = 'systemctl is-active --quiet "requorum-$0-*" && pgrep -f /tmp/requorum/ >/dev/null'
    return node.run(["sh", "-c", script, kind], check=False).rc == 0
