"""Which data the runbook restores when several could be: only the lost cluster's own, and of that the newest good."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from compose import etcd_client
from requorum.snapshots import bolt, manifest, snapshot
from tests.lab import procedures
from tests.lab.rehearsal import Rehearsal, Run
from tests.lab.stops import choice, stops
from tests.lab.test_interruption import await_stage
from tests.lab.writers import data_dir, digests

LATE = "/main/late"


def into(directory: Path) -> Callable[[dict[str, Any]], None]:
    def change(content: dict[str, Any]) -> None:
        content["snapshot"]["directory"] = str(directory)

    return change


def back_up(rehearsal: Rehearsal, directory: Path) -> Path:
    """A nightly backup by its own procedure; its path."""
    before = set(directory.glob("*.snap"))
    run = procedures.run(rehearsal.scratch, "backup", f"--hosts={rehearsal.inventory(into(directory))}")
    assert run.code == 0, run.output
    (made,) = set(directory.glob("*.snap")) - before
    return made


def verdicts(run: Run) -> dict[str, str]:
    """What the table says: file name or host → verdict."""
    return {row["source"].split(" ", 1)[1]: row["verdict"] for row in run.summary["sources"] if row["hash"] != "none"}


def late(rehearsal: Rehearsal, number: int) -> None:
    etcd_client.put(rehearsal.nodes, f"{LATE}/{number}", "written late")


def assert_recovered_with(rehearsal: Rehearsal, run: Run, numbers: set[int]) -> None:
    """Everything that was loaded, and exactly these late writes."""
    assert run.recovered, run.output
    found = etcd_client.read_all(rehearsal.nodes, f"{LATE}/")
    assert {int(key.rsplit(b"/", 1)[1]) for key in found} == numbers
    with etcd_client.connect(rehearsal.nodes) as client:
        client.delete_all(sorted(found))
    rehearsal.assert_recovered(run)


def test_a_damaged_or_cut_newest_backup_is_skipped_and_the_next_good_one_wins(
    rehearsal: Rehearsal, tmp_path: Path
) -> None:
    directory = tmp_path / "nightly"
    backups = []
    for number in range(3):
        late(rehearsal, number)
        backups.append(back_up(rehearsal, directory))
    good, cut, flipped = backups
    with cut.open("r+b") as file:
        file.truncate(cut.stat().st_size - 1000)
    data = bytearray(flipped.read_bytes())
    data[len(data) // 2] ^= 1
    flipped.write_bytes(data)

    rehearsal.lose("wipe", ("etcd-1", "etcd-2", "etcd-3"))  # otherwise the survivor would be salvaged
    inventory = rehearsal.inventory(into(directory))
    asked = rehearsal.run(inventory)  # what the damaged ones held is known to be lost
    run = rehearsal.run(inventory, choice(asked, "backup"))
    assert verdicts(asked)[good.name] == "chosen"
    assert "cut off or altered" in verdicts(asked)[cut.name]
    assert "does not match the SHA-256 at its end" in verdicts(asked)[flipped.name]
    assert f"skipped: {cut}" in asked.output
    assert "verdict" in asked.output, "the table is drawn"
    assert_recovered_with(rehearsal, run, {0})
    assert run.summary["snapshot"]["sha256"] == snapshot.verify(good).sha256


@pytest.mark.matrix  # ranked in unit tests too
def test_the_highest_revision_wins_over_the_newest_time_with_and_without_a_manifest(
    rehearsal: Rehearsal, tmp_path: Path
) -> None:
    directory = tmp_path / "nightly"
    late(rehearsal, 0)
    older = back_up(rehearsal, directory)
    late(rehearsal, 1)
    newer = back_up(rehearsal, directory)
    manifest.path_of(newer).unlink()
    newer = newer.rename(directory / "a-file-without-a-manifest.db")
    older.touch()

    rehearsal.lose("wipe", ("etcd-1", "etcd-2", "etcd-3"))  # otherwise the survivor would be salvaged
    run = rehearsal.run(rehearsal.inventory(into(directory)))
    assert verdicts(run)[newer.name] == "chosen"
    assert verdicts(run)[older.name].startswith("older:")
    assert run.summary["snapshot"]["revision"] == bolt.read(newer).revision
    assert_recovered_with(rehearsal, run, {0, 1})


def test_a_failed_runs_data_is_used_only_when_named_and_the_lost_clusters_own_comes_back(
    rehearsal: Rehearsal, tmp_path: Path
) -> None:
    directory = tmp_path / "nightly"
    late(rehearsal, 0)
    good = back_up(rehearsal, directory)
    late(rehearsal, 1)
    rehearsal.lose("wipe")
    inventory = rehearsal.inventory(into(directory))

    # A run ends in Step 5, its new cluster up and bumped. It is backed up, nobody writes into it, and it is given up.
    cut(rehearsal, inventory, "test_then_every_member_is_healthy")
    token = data_dir(rehearsal.nodes.by_name("etcd-1")).rsplit("/", 1)[1]
    bumped = back_up(rehearsal, directory)
    foreign = of_another_cluster(bumped)
    give_up(rehearsal)
    rehearsal.lose("wipe")

    # Named, it is salvaged.
    rows = cut(rehearsal, inventory, "test_when_the_old_passwords_are_backed_up", f"--salvage={token}")
    (chosen,) = [row for row in rows if row["verdict"] == "chosen: named by you"]
    assert chosen["source"].startswith("salvage ")
    assert chosen["lineage"].startswith(token)
    note = manifest.read(good)
    assert note is not None
    assert chosen["revision"] > note.revision + 1_000_000_000
    give_up(rehearsal)

    # Not named, it is listed, and what the same disk still holds of the lost cluster itself is salvaged.
    run = rehearsal.run(inventory)
    rows = run.summary["sources"]
    said = {row["lineage"].split(" ")[0]: row["verdict"] for row in rows if row["source"].startswith("salvage ")}
    assert said.pop(token) == f"data of an earlier run that failed: --salvage={token}"
    assert "chosen" in said.values()
    assert verdicts(run)[bumped.name].startswith("data of an earlier run that failed")
    assert verdicts(run)[foreign.name].startswith("of another cluster")
    assert verdicts(run)[good.name].startswith("salvage has all of it")
    assert run.summary["snapshot"]["source"] == "salvage"
    assert note.revision < run.summary["snapshot"]["revision"] < note.revision + 1_000_000_000
    assert_recovered_with(rehearsal, run, {0, 1})


def cut(rehearsal: Rehearsal, inventory: Path, stage: str, *arguments: str) -> list[dict[str, Any]]:
    """A run that is killed as this stage begins; the table of sources, as its journal has it."""
    process, evidence = rehearsal.start(inventory, *arguments)
    try:
        await_stage(process, evidence, stage)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    (journal,) = evidence.glob("2*/journal.jsonl")
    tables = [json.loads(line) for line in journal.read_text().splitlines() if '"kind": "sources"' in line]
    rows: list[dict[str, Any]] = tables[-1]["sources"]
    return rows


def of_another_cluster(backup: Path) -> Path:
    """The same file with a manifest that says it is of another cluster."""
    foreign = backup.with_name("of-another-cluster.snap")
    shutil.copy(backup, foreign)
    note = json.loads(manifest.path_of(backup).read_text())
    note["lineage"] = {"token": "another", "cluster_id": 7}
    manifest.path_of(foreign).write_text(json.dumps(note))
    assert manifest.read(foreign) is not None
    return foreign


def give_up(rehearsal: Rehearsal) -> None:
    """As docs/night.md#giving-a-run-up says."""
    for node in rehearsal.nodes.all:
        node.run(["rm", "-f", "/var/lib/requorum/lab/run.json"])


def test_a_database_without_its_log_is_restored_only_on_the_operators_word(
    rehearsal: Rehearsal, tmp_path: Path
) -> None:
    rehearsal.lose("kill", ("etcd-1", "etcd-2", "etcd-3"))
    rehearsal.lose("wipe")
    survivor = rehearsal.nodes.by_name("etcd-1")
    directory = data_dir(survivor)
    survivor.run(["sh", "-c", 'rm "$0"/member/wal/*', directory])
    before = digests(survivor, directory)
    inventory = rehearsal.inventory(into(tmp_path))

    refused = rehearsal.run(inventory)
    assert refused.summary["outcome"] == "refused", refused.output
    assert "holds a database, but no log" in refused.output
    run = rehearsal.run(inventory, choice(refused, "on-disk:etcd-1"))
    rehearsal.assert_recovered(run)
    assert (run.summary["snapshot"]["source"], run.summary["snapshot"]["host"]) == ("on-disk", "etcd-1")
    assert "restored without a hash" in run.summary["data_loss"]["why"]
    assert digests(survivor, directory) == before, "the member's own data is only read"


def test_a_value_that_rotted_on_the_only_survivor_is_noticed_by_the_hash_that_the_backup_recorded(
    rehearsal: Rehearsal, tmp_path: Path
) -> None:
    late(rehearsal, 0)
    back_up(rehearsal, tmp_path)
    rehearsal.lose("kill", ("etcd-1", "etcd-2", "etcd-3"))
    rehearsal.lose("wipe")
    survivor = rehearsal.nodes.by_name("etcd-1")
    database = f"{data_dir(survivor)}/member/snap/db"
    rotten = survivor.get(database).replace(b"written late", b"Written late")
    survivor.run(["dd", f"of={database}", "conv=notrunc", "status=none"], stdin=rotten)

    inventory = rehearsal.inventory(into(tmp_path))
    stopped = rehearsal.run(inventory)
    stops(stopped, "test_when_the_best_data_is_chosen_and_copied")
    assert "salvage failed: a value has rotted on disk" in stopped.output
    run = rehearsal.run(inventory, choice(stopped, "backup"))
    assert run.summary["snapshot"]["source"] == "file"
    assert_recovered_with(rehearsal, run, {0})
