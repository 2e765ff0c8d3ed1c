"""Which backup is proven: the newest of the running cluster, and what is said where that one is bad."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from requorum.cluster.lineage import Lineage
from requorum.inventory import Inventory
from requorum.snapshots import manifest
from requorum.snapshots.ranking import Candidate
from requorum.snapshots.snapshot import SnapshotError
from requorum.verify import newest
from tests.unit import build
from tests.unit.verify import nights

NOW = datetime(2026, 11, 4, 4, 30, tzinfo=UTC)


def directory(place: Path) -> Inventory:
    return build.inventory(snapshot={"directory": str(place)})


def test_it_is_the_last_that_was_made_whatever_a_clock_said(tmp_path: Path) -> None:
    nights.kept(tmp_path, nights.noted(2))
    nights.kept(tmp_path, replace(nights.noted(3), taken="2020-01-01T00:00:00Z"))
    found = newest.newest_first(newest.rows(directory(tmp_path)), nights.OURS)
    assert [row.note.number for row in found if row.note] == [3, 2]


def test_only_the_running_clusters_and_of_its_own_history_count(tmp_path: Path) -> None:
    nights.kept(tmp_path, nights.noted(2))
    nights.kept(tmp_path, nights.noted(4, lineage=Lineage("other", 9)))
    nights.kept(tmp_path, nights.noted(5, another=True))
    (tmp_path / "by-hand.snap").write_bytes(b"x")
    found = newest.rows(directory(tmp_path))
    assert [row.note.number for row in newest.newest_first(found, nights.OURS) if row.note] == [2]
    last = newest.newest_first([row for row in found if row.note and row.note.number != 5], None)
    assert [row.note.number for row in last if row.note] == [4], "of the last one's cluster where none is known"


def test_a_newest_whose_manifest_is_torn_is_bad_and_not_passed_over(tmp_path: Path) -> None:
    nights.kept(tmp_path, nights.noted(2))
    torn = nights.kept(tmp_path, nights.noted(3))
    manifest.path_of(torn).write_text("{")
    found = newest.choose(directory(tmp_path), nights.OURS, nights.good)
    assert found.row.path == str(torn) and "its manifest" in (found.row.problem or "")
    assert found.good and found.good.note and found.good.note.number == 2


def test_of_a_bad_newest_the_newest_good_one_is_named_with_its_age_and_what_would_be_lost(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        nights.kept(tmp_path, nights.noted(number))
    looked = []

    def look(row: Candidate) -> Candidate:
        looked.append(row.revision)
        return nights.bad(row) if row.revision == 103 else nights.good(row)

    found = newest.choose(directory(tmp_path), nights.OURS, look)
    assert looked == [103, 102], "no more is read than must be"
    stop = newest.refusal(found, nights.live(), NOW)
    assert stop is not None and stop.where.endswith("lab-3.snap")
    assert "does not match the SHA-256" in stop.what
    assert f"the newest good one is {tmp_path}/lab-2.snap, 50.0 h old: with it 31 revisions would be lost" in stop.what
    silent = newest.refusal(found, "no member answers", NOW)
    assert silent is not None and "all that was written since 2026-11-02T02:30:00Z would be lost" in silent.what


def test_where_none_is_good_that_is_said(tmp_path: Path) -> None:
    nights.kept(tmp_path, nights.noted(1))
    stop = newest.refusal(newest.choose(directory(tmp_path), nights.OURS, nights.bad), nights.live(), NOW)
    assert stop is not None and "no other is good either" in stop.what


def test_a_good_newest_is_no_refusal(tmp_path: Path) -> None:
    nights.kept(tmp_path, nights.noted(1))
    found = newest.choose(directory(tmp_path), nights.OURS, nights.good)
    assert newest.refusal(found, nights.live(), NOW) is None and found.good is found.row


def test_without_a_backup_of_the_running_cluster_nothing_is_chosen(tmp_path: Path) -> None:
    nights.kept(tmp_path, nights.noted(1, lineage=Lineage("other", 9)))
    with pytest.raises(SnapshotError, match="holds no backup of the running cluster"):
        newest.choose(directory(tmp_path), nights.OURS, nights.good)


def test_a_file_is_looked_into_for_what_it_is(tmp_path: Path) -> None:
    nights.kept(tmp_path, nights.noted(1))
    found = newest.choose(directory(tmp_path), nights.OURS)
    assert found.row.source is None and "has 1 bytes" in (found.row.problem or "") and found.good is None
