"""A survivor is salvaged however it lies; where its disk may hold more the run stops, touches no data, and goes on as
it is told."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from compose import disks, etcd_client
from compose.nodes import Node
from tests.lab import listing
from tests.lab.rehearsal import Rehearsal, Run
from tests.lab.stops import choice, stops
from tests.lab.writers import data_dir, leftovers

ALL = ("etcd-1", "etcd-2", "etcd-3")
LATE = "/status/late"
CONFIG = "/etc/etcd/dh/latest/config.yaml"
AWAY = "/var/lib/elsewhere"  # another disk, as far as etcd can tell


def write_late(rehearsal: Rehearsal) -> str:
    """A write that no backup has; its key, which no other test has written."""
    key = f"{LATE}/{time.time_ns()}"
    etcd_client.put(rehearsal.nodes, key, "written after the backup")
    return key


def is_back(rehearsal: Rehearsal, key: str) -> bool:
    return etcd_client.read_all(rehearsal.nodes, key) != {}


def originals(node: Node, directory: str) -> str:
    """SHA-256 of all that the member's data is made of, wherever it lies."""
    script = 'find -L "$0" "$1" -type f -exec sha256sum {} + 2>/dev/null | sort -k2'
    return node.run(["sh", "-c", script, directory, AWAY]).stdout


# -- what a machine may look like --------------------------------------------------------------------------------


def log_kept_apart(node: Node, directory: str) -> None:
    """`wal-dir` in its configuration: a log on a fast disk of its own."""
    script = 'mkdir -p "$1"; mv "$0"/member/wal "$1"/wal; echo "wal-dir: $1/wal" >>"$2"'
    node.run(["sh", "-ec", script, directory, AWAY, CONFIG])


def linked(name: str) -> Callable[[Node, str], None]:
    def made(node: Node, directory: str) -> None:
        script = 'mkdir -p "$1"; mv "$0/$2" "$1/moved"; ln -s "$1/moved" "$0/$2"'
        node.run(["sh", "-ec", script, directory, AWAY, name])

    made.__name__ = f"{name.replace('/', '_')}_is_a_link"
    return made


def log_is_gone(node: Node, directory: str) -> None:
    """A link to a disk that is not there; the log is."""
    script = 'mkdir -p "$1"; mv "$0"/member/wal "$1"/wal; ln -s "$1/gone" "$0/member/wal"'
    node.run(["sh", "-ec", script, directory, AWAY])


UNDO = """
if [ -e "$1"/wal ]; then sed -i /^wal-dir/d "$2"; rm -f "$0"/member/wal; mv "$1"/wal "$0"/member/wal; fi
for name in member member/wal member/snap member/snap/db; do
    [ ! -L "$0/$name" ] || { rm "$0/$name"; mv "$1"/moved "$0/$name"; }
done
rm -rf "$1"
"""

LAYOUTS = (log_kept_apart, linked("member"), linked("member/wal"), linked("member/snap"))
ODD = {linked("member/snap/db"): "db is a link, not a file", log_is_gone: "is a link that leads to no directory"}


# -- what the run must do ----------------------------------------------------------------------------------------


def lose_all_but_one(rehearsal: Rehearsal) -> tuple[Node, str, str]:
    """A late write, then all are stopped and two wiped; the survivor, its data directory, and the key."""
    key = write_late(rehearsal)
    rehearsal.lose("stop", ALL)
    rehearsal.lose("wipe")
    survivor = rehearsal.nodes.by_name("etcd-1")
    survivor.run(["rm", "-rf", AWAY])
    return survivor, data_dir(survivor), key


def refused_untouched(rehearsal: Rehearsal, why: str) -> Run:
    """A run that ends in Step 0 and leaves every machine as it was."""
    before = listing.taken(rehearsal.nodes)
    run = rehearsal.run(rehearsal.inventory())
    stops(run, "test_given_a_snapshot_is_whole")
    assert why in run.output.replace("\n", " "), run.output
    changed = listing.changes(before, listing.taken(rehearsal.nodes))
    ours = ("requorum", "-- No entries --")  # the lock's directory, and what the syslog is told of the run
    assert [line for line in changed if not any(word in line for word in ours)] == []
    return run


@pytest.mark.parametrize("made", [LAYOUTS[0], *(pytest.param(made, marks=pytest.mark.matrix) for made in LAYOUTS[1:])])
def test_a_survivor_is_salvaged_by_itself_wherever_its_configuration_and_links_lead(
    rehearsal: Rehearsal, made: Callable[[Node, str], None]
) -> None:
    survivor, directory, key = lose_all_but_one(rehearsal)
    made(survivor, directory)
    before = originals(survivor, directory)
    run = rehearsal.run(rehearsal.inventory())
    assert run.recovered and run.summary["snapshot"]["source"] == "salvage", run.output
    assert is_back(rehearsal, key)
    assert originals(survivor, directory) == before, "what the link leads to is only read"
    assert leftovers(rehearsal.nodes) == []
    rehearsal.assert_recovered(run)


def test_a_disk_that_is_not_understood_stops_the_run_before_anything_is_touched(rehearsal: Rehearsal) -> None:
    """A link at the database, and one that leads nowhere; at the last one the printed last resort is pasted."""
    survivor, directory, key = lose_all_but_one(rehearsal)
    inventory = rehearsal.inventory()
    for made, why in ODD.items():
        survivor.run(["sh", "-ec", UNDO, directory, AWAY, CONFIG])
        made(survivor, directory)
        run = refused_untouched(rehearsal, why)
    before = originals(survivor, directory)

    run = rehearsal.run(inventory, choice(run, "on-disk"))

    assert run.recovered, run.output
    assert run.summary["snapshot"]["source"] == "on-disk"
    assert is_back(rehearsal, key)
    assert originals(survivor, directory) == before
    rehearsal.assert_recovered(run)


@pytest.mark.matrix  # the stop before anything is touched is proven of each above
@pytest.mark.parametrize("made", ODD)
def test_the_backup_after_a_disk_that_is_not_understood_works_as_pasted(
    rehearsal: Rehearsal, made: Callable[[Node, str], None]
) -> None:
    survivor, directory, key = lose_all_but_one(rehearsal)
    made(survivor, directory)
    before = originals(survivor, directory)
    stopped = rehearsal.run(rehearsal.inventory())
    run = rehearsal.run(rehearsal.inventory(), choice(stopped, "backup"))
    assert run.recovered, run.output
    assert not is_back(rehearsal, key)
    assert originals(survivor, directory) == before
    rehearsal.assert_recovered(run)


@pytest.mark.matrix
@pytest.mark.parametrize("made", ODD)
def test_once_it_is_mended_the_same_command_salvages(rehearsal: Rehearsal, made: Callable[[Node, str], None]) -> None:
    survivor, directory, key = lose_all_but_one(rehearsal)
    made(survivor, directory)
    stops(rehearsal.run(rehearsal.inventory()), "test_given_a_snapshot_is_whole")
    survivor.run(["sh", "-ec", UNDO, directory, AWAY, CONFIG])
    run = rehearsal.run(rehearsal.inventory())
    assert run.recovered and run.summary["snapshot"]["source"] == "salvage", run.output
    assert is_back(rehearsal, key)
    rehearsal.assert_recovered(run)


@pytest.mark.matrix
def test_what_the_whole_disks_hold_can_be_named_where_another_is_in_doubt(rehearsal: Rehearsal) -> None:
    key = write_late(rehearsal)
    rehearsal.lose("stop", ALL)
    rehearsal.lose("wipe", ("etcd-3",))
    odd = rehearsal.nodes.by_name("etcd-2")
    odd.run(["rm", "-rf", AWAY])
    log_is_gone(odd, data_dir(odd))
    stopped = rehearsal.run(rehearsal.inventory(), "--rebuild")
    stops(stopped, "test_given_a_snapshot_is_whole")
    run = rehearsal.run(rehearsal.inventory(), "--rebuild", choice(stopped, "without:etcd-2"))
    assert run.recovered and run.summary["snapshot"]["source"] == "salvage", run.output
    assert is_back(rehearsal, key)
    rehearsal.assert_recovered(run)


def test_a_survivor_that_refused_writes_is_salvaged_and_the_new_cluster_takes_writes(rehearsal: Rehearsal) -> None:
    """A space alarm lies in the data. It says nothing of the data, and what is restored does not carry it."""
    key = write_late(rehearsal)
    with etcd_client.connect(rehearsal.nodes) as client:
        client.raise_alarm()
    rehearsal.lose("stop", ALL)
    rehearsal.lose("wipe")
    survivor = rehearsal.nodes.by_name("etcd-1")
    directory = data_dir(survivor)
    before = originals(survivor, directory)
    run = rehearsal.run(rehearsal.inventory())
    assert run.recovered and run.summary["snapshot"]["source"] == "salvage", run.output
    assert is_back(rehearsal, key)
    assert originals(survivor, directory) == before
    assert leftovers(rehearsal.nodes) == []
    rehearsal.assert_recovered(run)


@pytest.mark.matrix
def test_once_the_disk_can_be_read_again_the_same_command_salvages(rehearsal: Rehearsal) -> None:
    key = write_late(rehearsal)
    rehearsal.lose("stop", ALL)
    rehearsal.lose("wipe", ("etcd-3",))
    inventory = rehearsal.inventory()
    with disks.unreadable(rehearsal.nodes.by_name("etcd-2")):
        stops(rehearsal.run(inventory, "--rebuild"), "test_when_the_best_data_is_chosen_and_copied")
    run = rehearsal.run(inventory, "--rebuild")
    assert run.recovered and run.summary["snapshot"]["source"] == "salvage", run.output
    assert run.summary["data_loss"]["certain"] == 0, "a majority of the disks is in it"
    assert is_back(rehearsal, key)
    rehearsal.assert_recovered(run)


@pytest.mark.parametrize(
    ("word", "late"),
    [
        ("without:etcd-2", True),
        pytest.param("on-disk:etcd-1", True, marks=pytest.mark.matrix),
        pytest.param("backup", False, marks=pytest.mark.matrix),
    ],
)
def test_one_of_two_survivors_with_an_io_error_stops_the_run(rehearsal: Rehearsal, word: str, late: bool) -> None:
    key = write_late(rehearsal)
    rehearsal.lose("stop", ALL)
    rehearsal.lose("wipe", ("etcd-3",))
    survivors = [(node, data_dir(node)) for node in rehearsal.nodes.members[:2]]
    before = [originals(node, directory) for node, directory in survivors]
    with disks.unreadable(rehearsal.nodes.by_name("etcd-2")):
        stopped = rehearsal.run(rehearsal.inventory(), "--rebuild")
        stops(stopped, "test_when_the_best_data_is_chosen_and_copied")
        assert "Input/output error" in stopped.output
        run = rehearsal.run(rehearsal.inventory(), "--rebuild", choice(stopped, word))
    assert run.recovered, run.output
    assert is_back(rehearsal, key) == late
    assert [originals(node, directory) for node, directory in survivors] == before
    rehearsal.assert_recovered(run)
