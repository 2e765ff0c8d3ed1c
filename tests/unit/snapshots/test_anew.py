"""A cluster that began anew under its old token and IDs is told by the manifests of its backups, exactly."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from requorum.cluster.lineage import Lineage
from requorum.run.accepted import Accepted
from requorum.snapshots import anew, backup, files, ranking, rotation
from requorum.snapshots.backup import Tonight
from requorum.snapshots.family import Family
from requorum.snapshots.manifest import Manifest
from requorum.snapshots.ranking import Candidate
from requorum.snapshots.rotation import Backup
from requorum.snapshots.snapshot import Source
from requorum.snapshots.vault import BackupError, Vault
from tests.unit import build
from tests.unit.run.test_dryrun import Hosts, planning
from tests.unit.snapshots.test_files import backup as write
from tests.unit.snapshots.test_files import note as describe

OURS, BUMP = Lineage("ours", 1), 1_000_000_000


def note(number: int, revision: int, **fields: Any) -> Manifest:
    taken = f"2026-11-{number:02}T03:00:00Z"
    values = {"lineage": OURS, "bumps": BUMP, "revision": BUMP + revision, "number": number, **fields}
    return Manifest("prod", "a", 1, keys=1, etcd="3.5.16", taken=taken, member="m", **values)


def row(number: int, revision: int, whole: bool = True, **fields: Any) -> Candidate:
    kept = note(number, revision, **fields)
    told = kept.taken, kept.bytes, kept.revision, kept.keys, kept.lineage, kept.bumps
    source = Source("file", None, f"/{number}.snap", f"sha-{number}", 1, kept.taken, kept.revision)
    return Candidate("file", None, f"/{number}.snap", *told, note=kept, source=source if whole else None)


BEFORE = (row(1, 900), row(2, 1000))


@pytest.mark.parametrize(
    ("revision", "lineage", "rows", "found"),
    [
        (BUMP + 999, OURS, BEFORE, True),
        (BUMP + 1000, OURS, BEFORE, False),
        (4, OURS, BEFORE, True),
        (4, Lineage("ours"), BEFORE, True),
        (4, Lineage("other", 2), BEFORE, False),
        (4, OURS, (), False),
        (4, OURS, (*BEFORE, row(3, 2 - BUMP, history=1)), False),
        (BUMP + 5000, OURS, (*BEFORE, row(3, 2 - BUMP, another=True)), True),
        (BUMP + 999, OURS, (row(1, 900), row(2, 1000, whole=False)), True),
    ],
    ids=["behind", "level", "empty", "by token", "another's", "no backup", "accepted", "grown since", "damaged"],
)
def test_a_revision_below_the_newest_manifest_of_its_lineage_is_another_history(
    revision: int, lineage: Lineage, rows: tuple[Candidate, ...], found: bool
) -> None:
    assert (anew.began_anew(revision, lineage, rows) is not None) == found


def test_it_is_said_with_the_numbers_and_the_backup() -> None:
    assert str(anew.began_anew(4, OURS, BEFORE)) == (
        "is at revision 4, and by its manifest the backup /2.snap, taken 2026-11-02T03:00:00Z, was at 1,000,001,000 "
        "under the same IDs: the data began anew"
    )
    grown = str(anew.began_anew(BUMP + 5000, OURS, (*BEFORE, row(3, 2 - BUMP, another=True))))
    assert "had begun anew" in grown and "/3.snap is marked as another history than /2.snap" in grown


def test_its_backup_is_marked_every_night_until_one_word_makes_its_history_the_clusters_own() -> None:
    nights, rows = [], list(BEFORE)
    for number, revision, accepted in ((3, 4, False), (4, BUMP + 2000, False), (5, 9, True), (6, 12, False)):
        placed, found = anew.placed(note(number, revision - BUMP), rows, accepted)
        nights.append((placed.another, placed.history, found is not None))
        rows.append(row(number, revision - BUMP, another=placed.another, history=placed.history))
    assert nights == [(True, 0, True), (True, 0, True), (False, 1, True), (False, 1, False)]


# -- what is restored --------------------------------------------------------------------------------------------


def chosen(*rows: Candidate) -> str:
    best, _ = ranking.rank(rows, Family((OURS,)))
    return best.path if best else ""


def test_a_backup_of_another_history_never_competes_by_itself_and_is_restored_when_named() -> None:
    marked = row(3, 5000, another=True)
    assert chosen(*BEFORE, marked) == "/2.snap"
    assert chosen(marked) == ""
    assert chosen(*BEFORE, replace(marked, named=ranking.BY_YOU)) == "/3.snap"


def test_once_accepted_the_backups_of_the_history_before_it_are_used_only_when_named() -> None:
    accepted = row(3, 2 - BUMP, history=1)
    assert chosen(*BEFORE, accepted) == "/3.snap"
    verdicts = {found.path: found.verdict for found in ranking.rank((*BEFORE, accepted), Family((OURS,)))[1]}
    assert "given up for another one" in verdicts["/2.snap"]
    assert chosen(replace(BEFORE[1], named=ranking.BY_YOU), accepted) == "/2.snap"


def test_a_salvage_is_behind_only_a_backup_of_its_own_history() -> None:
    salvage = ranking.of(Source("salvage", "etcd-1", "/salvage", "sha", 1, "now", BUMP + 1500, 1, OURS, BUMP))
    assert chosen(salvage, row(3, 5000, another=True)) == "/salvage"
    assert chosen(salvage, row(3, 5000)) == "/3.snap"


# -- the nightly backup ------------------------------------------------------------------------------------------


def test_nothing_is_rotated_after_another_history_and_its_backups_push_no_good_one_out() -> None:
    def made(kept: Manifest) -> Backup:
        return Backup(f"{kept.number}.snap", datetime.fromisoformat(kept.taken), True, kept)

    before = [made(note(number, 900 + number)) for number in range(1, 8)]
    marked = [made(note(number, number - BUMP, another=True)) for number in range(8, 14)]
    tonight = marked[-1].taken
    got = rotation.rotation([*before, *marked], tonight, 3, 30)
    assert (got.removed, "of another history" in got.paused) == ((), True)
    after = [made(note(number, 1000 + number, lineage=Lineage("new", 2))) for number in range(14, 18)]
    left = rotation.rotation([*before[-2:], *marked, *after], after[-1].taken, 5, 30)
    assert left.removed == ("6.snap",), "six good ones there, five kept; the marked ones do not count"


def backed_up(place: Path, *words: str) -> Tonight:
    """A night after one at revision 7, whose save is at revision 3."""
    path = write(place, "a.snap")
    describe(path, lineage=OURS, number=1)
    run = planning(place, Hosts(), build.inventory(snapshot={"directory": str(place)}), accepted=Accepted(words))
    tonight = Tonight(Vault(run.inventory))
    first = files.noted(run.inventory)[0].note
    assert first is not None
    backup.place_in_history(run, tonight, replace(first, revision=first.revision - 1))
    tonight.path = place / "b.snap"
    backup.it_is_no_other_history(run, tonight)
    return tonight


def test_the_night_fails_after_its_backup_is_kept_and_names_both_ways_out(tmp_path: Path) -> None:
    with pytest.raises(BackupError, match=r"b\.snap is kept and marked as another history") as error:
        backed_up(tmp_path)
    assert "--rebuild" in error.value.remedy and "runbook/backup" in error.value.remedy
    assert error.value.remedy.endswith("--accept=history")


def test_by_the_operators_word_the_night_is_an_ordinary_one(tmp_path: Path) -> None:
    tonight = backed_up(tmp_path, "history")
    assert (tonight.kept.another, tonight.kept.history, tonight.kept.number) == (False, 1, 1)
