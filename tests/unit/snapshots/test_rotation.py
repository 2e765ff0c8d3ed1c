"""Rotation removes few a night, never one of the last made good ones, and nothing while the nights do not agree."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from requorum.cluster.lineage import Lineage
from requorum.snapshots.manifest import Manifest
from requorum.snapshots.rotation import LEAST, MOST, Backup, Periods, kept, rotation

NOW = datetime(2026, 11, 23, tzinfo=UTC)
DAY = timedelta(days=1)
COUNT, DAYS = 5, 7
OURS = Lineage("ours", 1)


def night(number: int, taken: datetime, *, good: bool = True, **fields: object) -> Backup:
    values: dict[str, object] = {
        "cluster": "lab",
        "sha256": "",
        "bytes": 1,
        "lineage": OURS,
        "bumps": 0,
        "revision": 1000 + number,
        "keys": 100,
        "etcd": "3.5.16",
        "taken": taken.isoformat(),
        "member": "m",
        "number": number,
    }
    note = Manifest(**{**values, **fields})  # type: ignore[arg-type]
    return Backup(f"lab-{number:03}.snap", taken, good, note)


def nights(count: int, until: datetime = NOW) -> list[Backup]:
    """So many ordinary ones, the last tonight."""
    return [night(number, until - (count - number) * DAY) for number in range(1, count + 1)]


def odd(found: list[Backup], now: datetime = NOW) -> str:
    got = rotation(found, now, COUNT, DAYS)
    assert not (got.paused and got.removed)
    return got.paused


def test_on_ordinary_nights_the_first_made_one_beyond_the_count_goes() -> None:
    assert rotation(nights(6), NOW, COUNT, DAYS).removed == ("lab-001.snap",)
    assert rotation(nights(5), NOW, COUNT, DAYS).removed == ()


@given(st.integers(1, 40), st.integers(1, 20), st.integers(1, 40), st.integers(0, 4000))
def test_of_the_count_that_was_made_last_none_goes_however_old(there: int, count: int, days: int, ago: int) -> None:
    until = NOW - ago * DAY
    found = [*nights(there, until), *nights(there + 3, NOW)[there:]]
    gone = rotation(found, NOW, count, days).removed
    assert not {backup.name for backup in found[-count:]} & set(gone)
    assert len(gone) <= MOST


def test_at_most_two_more_go_than_were_added() -> None:
    assert rotation(nights(50), NOW, COUNT, DAYS).removed == ("lab-001.snap", "lab-002.snap", "lab-003.snap")


def test_the_order_is_that_of_making_and_not_of_a_clock() -> None:
    found = nights(6)
    late = replace(found[1], taken=NOW + 4000 * DAY)  # made second, by a clock that was ahead
    assert rotation([late, found[0], *found[2:]], NOW, COUNT, DAYS).removed == ("lab-001.snap",)
    assert rotation([late, *found[2:], night(7, NOW)], NOW, COUNT, DAYS).removed == (late.name,)


def test_backups_from_before_there_were_numbers_were_made_first() -> None:
    found = nights(7)
    assert found[1].note
    older = [replace(backup, note=replace(backup.note, number=0)) for backup in found[:3] if backup.note]
    assert rotation([*reversed(older), *found[3:]], NOW, COUNT, DAYS).removed == ("lab-001.snap", "lab-002.snap")
    unreadable = [replace(backup, note=None) for backup in found]
    assert rotation(unreadable, NOW, COUNT, DAYS).removed == ("lab-001.snap", "lab-002.snap")


def test_a_bad_one_stays_as_evidence_until_it_is_old_and_pushes_no_good_one_out() -> None:
    found = nights(30)
    bad = [replace(backup, good=False) for backup in (found[0], found[27])]
    assert rotation([bad[0], *found[-5:-3], bad[1], *found[-2:]], NOW, COUNT, DAYS).removed == (bad[0].name,)
    all_bad = [replace(backup, good=False) for backup in found]
    assert rotation(all_bad, NOW, COUNT, DAYS).removed == (), "nothing is good"
    assert rotation([*found[-8:-3], *all_bad[-3:]], NOW, COUNT, 1).removed == (), "no good one was made after them"


ODD = {
    "its clock was ahead": (night(31, NOW + 400 * DAY), "days after"),
    "its clock was behind": (night(31, NOW - 400 * DAY), "was taken before"),
    "the first success after a long pause": (night(31, NOW + 30 * DAY), "days after"),
    "few keys": (night(31, NOW + DAY, keys=49), "has 49 keys"),
    "another history": (night(31, NOW + DAY, revision=900), "at revision 900"),
    "another history, bumped": (night(31, NOW + DAY, revision=5900, bumps=5000), "at revision 900"),
}


@pytest.mark.parametrize("name", ODD)
def test_nothing_goes_on_an_odd_night_nor_until_three_nights_agree(name: str) -> None:
    strange, why = ODD[name]
    found = [*nights(30), strange]
    assert why in odd(found, strange.taken)
    for number in (32, 33):
        assert strange.note
        told = replace(strange.note, number=number, revision=strange.note.revision + number)
        found.append(Backup(f"lab-{number:03}.snap", strange.taken + (number - 31) * DAY, True, told))
        assert (why in odd(found, found[-1].taken)) == (number == 32)
    assert len(rotation(found, found[-1].taken, COUNT, DAYS).removed) == MOST


def test_when_the_clock_is_right_again_that_is_odd_too_and_then_it_goes_on() -> None:
    found = [*nights(30), night(31, NOW + 400 * DAY)]
    for number in (32, 33, 34):
        found.append(night(number, NOW + (number - 30) * DAY))
        assert bool(odd(found, found[-1].taken)) == (number < 34)


def test_a_clock_that_jumps_between_the_backup_and_its_rotation_removes_nothing() -> None:
    for jump in (400 * DAY, -400 * DAY):
        assert "a clock jumped" in odd(nights(30), NOW + jump)


def test_what_is_ordinary_pauses_nothing() -> None:
    weekly = [night(n, NOW - (30 - n) * 7 * DAY) for n in range(1, 31)]
    assert not odd(weekly)
    by_hand = [*nights(30), night(31, NOW + timedelta(minutes=1))]
    assert not odd(by_hand, NOW)
    weekend = [*nights(30), night(31, NOW + 3 * DAY), night(32, NOW + 4 * DAY)]
    assert not odd(weekend, NOW + 4 * DAY)
    uncounted = [night(n, NOW - (30 - n) * DAY, keys=None, entries=1000) for n in range(1, 30)]
    fewer = night(30, NOW, keys=499, entries=499)
    assert "499 entries, and those before it 1,000" in rotation([*uncounted, fewer], NOW, 14, 30).paused
    assert not rotation([*uncounted, night(30, NOW, keys=400, entries=600)], NOW, 14, 30).paused, "like with like"
    compacted = [night(n, NOW - (30 - n) * DAY, keys=100 if n % 3 else 1000) for n in range(1, 31)]
    for last in (28, 29, 30):
        assert not odd(compacted[:last], compacted[last - 1].taken), "the number counts history too"
    rebuilt = [*nights(30), night(31, NOW + DAY, lineage=Lineage("new", 2), revision=7)]
    assert not odd(rebuilt, NOW + DAY), "a recovery makes a new lineage"


@dataclass
class World:
    """A backup directory over many nights, the operator's clock, and a cluster."""

    clock: datetime = NOW
    number: int = 0
    revision: int = 1000
    keys: int = 100
    there: list[Backup] = field(default_factory=list)

    def night(self, fault: str, amount: int) -> None:
        self.clock += DAY
        self.revision += 10
        match fault:
            case "clock":
                self.clock += amount * DAY
            case "no backup":
                return
            case "rot" if self.there:
                spoilt = amount % len(self.there)
                self.there[spoilt] = replace(self.there[spoilt], good=False)
            case "manifest" if self.there:
                spoilt = amount % len(self.there)
                self.there[spoilt] = replace(self.there[spoilt], note=None)
            case "began anew":
                self.revision, self.keys = 1, 1
        self.number += 1
        self.there.append(night(self.number, self.clock, revision=self.revision, keys=self.keys))
        self.rotate()

    def rotate(self) -> None:
        earlier = [backup.name for backup in self.there[:-1] if backup.good]
        got = rotation(self.there, self.clock, COUNT, DAYS)
        assert len(got.removed) <= MOST
        self.there = [backup for backup in self.there if backup.name not in got.removed]
        left = [backup.name for backup in self.there[:-1] if backup.good]
        assert len(left) >= min(len(earlier), COUNT - 1), "the good ones of earlier nights"
        assert self.there[-1].name == f"lab-{self.number:03}.snap"


FAULTS = ("none",) * 6 + ("clock", "no backup", "rot", "manifest", "began anew")
faulty = st.lists(st.tuples(st.sampled_from(FAULTS), st.integers(-2000, 2000)), min_size=60, max_size=60)


@settings(max_examples=300, deadline=None)
@given(faulty)
def test_over_ninety_nights_good_earlier_backups_are_always_left_and_the_count_comes_back(
    faults: list[tuple[str, int]],
) -> None:
    world = World()
    for fault, amount in [*faults, *[("none", 0)] * 30]:
        world.night(fault, amount)
    assert len([backup for backup in world.there if backup.good]) == COUNT


# -- the union of all that keeps one -----------------------------------------------------------------------------


def left_after(found: list[Backup], count: int, periods: Periods) -> list[Backup]:
    """Once as many rotations have been as it takes."""
    while removed := rotation(found, NOW, count, DAYS, periods).removed:
        found = [backup for backup in found if backup.name not in removed]
    return found


def test_days_weeks_and_months_each_keep_the_last_that_was_made_in_them() -> None:
    found = nights(120)
    noon = [replace(backup, name=f"{backup.name}.noon", taken=backup.taken + DAY / 2) for backup in found[:-1]]
    left = left_after([*found, *noon], 0, Periods(daily=5, weekly=4, monthly=3))
    told = sorted({backup.taken.date().isoformat() for backup in left})
    weeks, months = ["2026-11-08", "2026-11-15", "2026-11-22"], ["2026-09-30", "2026-10-31"]
    days = ["2026-11-19", "2026-11-20", "2026-11-21", "2026-11-22", "2026-11-23"]
    assert told == sorted({*weeks, *months, *days})
    assert len(left) == len(told) + 1, "the last three as they were made, and of each other day its last"


def test_whoever_says_that_it_stays_is_enough() -> None:
    found = nights(40)
    pinned, proven = replace(found[2], pinned=True), replace(found[4], proven=True)
    left = left_after([*found[:2], pinned, found[3], proven, *found[5:]], 4, Periods())
    assert [backup.name for backup in left] == [pinned.name, proven.name, *(b.name for b in found[-4:])]
    why = kept(left, 4)
    assert why[pinned.name] == "pinned" and "were proven" in why[proven.name] and "last 4" in why[found[-1].name]


@given(st.integers(0, 2), st.integers(3, 30), st.sets(st.integers(0, 29)))
def test_the_newest_three_good_ones_and_the_newest_three_proven_ones_never_go(
    count: int, there: int, proven: set[int]
) -> None:
    found = [replace(backup, proven=number in proven) for number, backup in enumerate(nights(there))]
    left = {backup.name for backup in left_after(found, count, Periods())}
    assert {backup.name for backup in found[-LEAST:]} <= left
    assert {backup.name for backup in [b for b in found if b.proven][-LEAST:]} <= left


def test_a_pinned_bad_one_stays_too() -> None:
    found = nights(30)
    old = replace(found[0], good=False, pinned=True)
    assert old.name not in rotation([old, *found[-3:]], NOW, COUNT, DAYS).removed
