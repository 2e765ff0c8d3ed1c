"""Which data the runbook restores when several could be: only the lost cluster's own, and of that the newest good."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from compose import cluster, etcd_client, lab, load, rehearse
from requorum import bolt, manifest, snapshot
from tests.lab import procedures
from tests.lab.rehearsal import Rehearsal, Run

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
    run = rehearsal.run(rehearsal.inventory(into(directory)))
    assert verdicts(run)[good.name] == "chosen"
    assert "cut off or altered" in verdicts(run)[cut.name]
    assert "does not match the SHA-256 at its end" in verdicts(run)[flipped.name]
    assert f"skipped: {cut}" in run.output
    assert "verdict" in run.output, "the table is drawn"
    assert_recovered_with(rehearsal, run, {0})
    assert run.summary["snapshot"]["sha256"] == snapshot.verify(good).sha256


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


def test_another_clusters_backup_and_a_failed_runs_bumped_data_are_never_chosen_by_themselves(
    rehearsal: Rehearsal, tmp_path: Path
) -> None:
    directory = tmp_path / "nightly"
    foreign = _backup_of_another_cluster(rehearsal, directory)
    late(rehearsal, 0)
    good = back_up(rehearsal, directory)

    # A run that fails in Step 5, its new cluster up and bumped; a nightly backup is taken of that; then it is given up.
    rehearsal.lose("wipe", ("etcd-1", "etcd-2", "etcd-3"))  # otherwise the survivor would be salvaged

    def expecting_too_much(content: dict[str, Any]) -> None:
        into(directory)(content)
        content["expect"] = {"min_keys": 10**9, "prefixes": {}}

    failed = rehearsal.run(rehearsal.inventory(expecting_too_much))
    assert failed.code == 1
    assert "keys" in failed.output
    assert verdicts(failed)[foreign.name].startswith("of another cluster"), failed.summary["sources"]
    bumped = back_up(rehearsal, directory)
    note = manifest.read(bumped)
    assert note is not None
    assert note.bumps == 1_000_000_000
    assert note.revision > 1_000_000_000
    for node in rehearsal.nodes.all:
        node.run(["rm", "-f", "/var/lib/requorum/lab/run.json"])

    rehearsal.lose("wipe", ("etcd-1", "etcd-2", "etcd-3"))  # otherwise the survivor would be salvaged
    run = rehearsal.run(rehearsal.inventory(into(directory)))
    assert verdicts(run)[good.name] == "chosen", run.summary["sources"]
    assert verdicts(run)[foreign.name].startswith("of another cluster")
    assert verdicts(run)[bumped.name].startswith("data of an earlier run that failed")
    assert_recovered_with(rehearsal, run, {0})

    # What a finished run made is the cluster's own line: its backups compete, those of before do not beat them.
    late(rehearsal, 7)
    after = back_up(rehearsal, directory)
    rehearsal.lose("wipe", ("etcd-1", "etcd-2", "etcd-3"))  # otherwise the survivor would be salvaged
    again = rehearsal.run(rehearsal.inventory(into(directory)))
    assert verdicts(again)[after.name] == "chosen", again.summary["sources"]
    assert verdicts(again)[good.name].startswith("older")
    assert_recovered_with(rehearsal, again, {7})


def _backup_of_another_cluster(rehearsal: Rehearsal, directory: Path) -> Path:
    """A newer cluster of the same name and make, at a higher revision: the lab formed anew, backed up, formed again."""
    _form_anew(rehearsal)
    for number in range(20):
        late(rehearsal, number)
    kept = back_up(rehearsal, directory)
    _form_anew(rehearsal)
    foreign = kept.rename(directory / "of-another-cluster.snap")
    note = manifest.path_of(kept).rename(manifest.path_of(foreign))
    content = json.loads(note.read_text())
    assert content["revision"] == bolt.read(foreign).revision
    shutil.copy(foreign, directory / "of-another-cluster-without-manifest.snap")
    return foreign


def _form_anew(rehearsal: Rehearsal) -> None:
    for node in rehearsal.nodes.all:
        node.run(["rm", "-f", cluster.FORMED])
    lab.up(spares=rehearsal.spares, etcd=rehearsal.etcd)
    lab.load_keys(load.KEYS)
    rehearsal.snapshot = rehearse.back_up(rehearsal.nodes, rehearsal.scratch / "backups")
