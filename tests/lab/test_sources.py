"""Which data the runbook restores when several could be: only the lost cluster's own, and of that the newest good."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from compose import etcd_client
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
