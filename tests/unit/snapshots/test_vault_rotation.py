"""Rotation removes by count and age, and never the last good backup."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from requorum.snapshots.vault import Backup, expired

NOW = datetime(2026, 11, 23, tzinfo=UTC)

backups = st.lists(
    st.builds(
        lambda number, hours, good: Backup(f"lab-{number}.snap", NOW - timedelta(hours=hours), good),
        st.integers(0, 10**6),
        st.integers(-5, 24 * 100),
        st.booleans(),
    ),
    max_size=40,
    unique_by=lambda backup: backup.name,
)
counts, days = st.integers(1, 20), st.integers(1, 60)


@given(backups, counts, days)
def test_the_newest_good_backup_always_stays(found: list[Backup], count: int, age: int) -> None:
    good = [b for b in found if b.good]
    if good:
        newest = max(good, key=lambda b: (b.taken, b.name))
        assert newest.name not in expired(found, NOW, count, age)


@given(backups, counts, days)
def test_nothing_is_removed_where_nothing_is_good(found: list[Backup], count: int, age: int) -> None:
    assert expired([b for b in found if not b.good], NOW, count, age) == ()


@given(backups, counts, days)
def test_no_more_than_count_good_ones_are_left_and_none_too_old_but_the_last(
    found: list[Backup], count: int, age: int
) -> None:
    gone = set(expired(found, NOW, count, age))
    left = [b for b in found if b.good and b.name not in gone]
    assert len(left) <= count
    too_old = [b for b in left if b.taken < NOW - timedelta(days=age)]
    assert len(too_old) <= 1
    assert not too_old or len(left) == 1


@given(backups, counts, days)
def test_a_bad_backup_pushes_no_good_one_out(found: list[Backup], count: int, age: int) -> None:
    good = {b.name for b in found if b.good}
    alone = set(expired([b for b in found if b.good], NOW, count, age))
    assert set(expired(found, NOW, count, age)) & good == alone


@given(backups, counts, days)
def test_a_young_bad_backup_stays_as_evidence(found: list[Backup], count: int, age: int) -> None:
    gone = set(expired(found, NOW, count, age))
    assert not [b for b in found if b.name in gone and not b.good and b.taken >= NOW - timedelta(days=age)]


@given(backups, counts, days)
def test_rotating_twice_removes_nothing_more(found: list[Backup], count: int, age: int) -> None:
    gone = set(expired(found, NOW, count, age))
    assert expired([b for b in found if b.name not in gone], NOW, count, age) == ()
