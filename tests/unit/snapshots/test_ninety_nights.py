"""Ninety nights of backup, proof and rotation, with a clock that is told and faults between, on real files."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from requorum.snapshots import manifest, offsite, proven, snapshot, vault
from requorum.snapshots.proven import Proven
from requorum.snapshots.rotation import MOST, Rotation
from requorum.snapshots.vault import Vault
from tests.unit import build
from tests.unit.snapshots.test_bolt import database
from tests.unit.verify.nights import NOTE

FIRST = datetime(2026, 8, 1, 2, 30, tzinfo=UTC)
NIGHTS = 90
KEEP = {"last": 5, "daily": 7, "weekly": 4, "monthly": 2, "days": 20}
PINNED, ROTTEN = 3, 44
FAILED = {10, *range(60, 65)}  # no member was healthy; and a long pause
KILLED = {20, 21, 70}
CUT_OFF = {55}  # the rotation was killed once the first snapshot was gone, its notes were not
ANEW = {50, 51}  # the cluster began anew, until somebody chose
UNPROVEN = {*range(30, 34), *range(80, 90)}
CLOCK = {30: timedelta(days=400), 75: timedelta(days=-2)}  # how wrong it was that night


@dataclass
class Nights:
    """`made`: night → name; `paused`: the nights on which nothing was removed, with why."""

    vault: Vault
    made: dict[int, str] = field(default_factory=dict)
    paused: dict[int, str] = field(default_factory=dict)

    def night(self, number: int) -> None:
        now = FIRST + timedelta(days=number) + CLOCK.get(number, timedelta())
        with self.vault.locked():
            self.vault.clear_parts()
            assert self.vault.parts() == []
            if number in FAILED:
                return
            path = self._back_up(number, now)
            if number in KILLED:  # right before it got its name: with its manifest, without its snapshot
                path.rename(path.with_name(f"{path.name}.part"))
                return
            self.made[number] = path.name
            if number not in ANEW:
                self._rotate(number, now)
        if number not in UNPROVEN | ANEW:
            self._prove(path, now)

    def _back_up(self, number: int, now: datetime) -> Path:
        taken = now.isoformat().replace("+00:00", "Z")
        revision = 10 if number in ANEW else 1000 + number
        part = build.snapshot(self.vault.directory, self.vault.part(taken).name, database([1, revision]))
        whole = snapshot.verify(part)
        note = replace(NOTE, sha256=whole.sha256, bytes=whole.bytes, revision=revision, taken=taken, fingerprint=None)
        return self.vault.keep(replace(self.vault.numbered(note), another=number in ANEW))

    def _rotate(self, number: int, now: datetime) -> None:
        before = {backup.name: backup for backup in self.vault.backups()}
        if number in CUT_OFF:
            (first, *_) = self.vault.rotation(before.values(), now).removed
            (self.vault.directory / first).unlink()
            return
        found = self.vault.rotate(now)
        self._holds(number, found, len([b for b in before.values() if b.good and not b.another]))

    def _holds(self, number: int, found: Rotation, good: int) -> None:
        """What must be so after every rotation, whatever night it was."""
        left = self.vault.backups()
        assert len(found.removed) <= MOST and not (found.paused and found.removed)
        assert self.made[number] in {backup.name for backup in left}, "tonight's is never removed"
        assert len([b for b in left if b.good and not b.another]) >= min(good, 3)
        if found.paused:
            self.paused[number] = found.paused

    def _prove(self, path: Path, now: datetime) -> None:
        note = manifest.read(path)
        assert note
        self.vault.keep_sent(path, offsite.Sent(path.name, note.sha256, now.isoformat(), "r").text())
        self.vault.keep_proof(path, Proven(note.sha256, now.isoformat(), "infra-1", "3.5.16", "r"))


@pytest.fixture(scope="module")
def nights(tmp_path_factory: pytest.TempPathFactory) -> Nights:
    place = tmp_path_factory.mktemp("nights")
    nights = Nights(Vault(build.inventory(snapshot={"directory": str(place), "keep": KEEP})))
    for number in range(NIGHTS):
        nights.night(number)
        if number == PINNED:
            vault.pin_of(place / nights.made[number]).touch()
        if number == ROTTEN:
            with (place / nights.made[number]).open("r+b") as file:
                file.seek(5000)
                file.write(b"\xff\xff")
    return nights


def left(nights: Nights) -> set[int]:
    """The nights whose backups are there."""
    there = {path.name for path in nights.vault.directory.glob("*.snap")}
    assert there <= set(nights.made.values())
    return {number for number, name in nights.made.items() if name in there}


def test_what_is_left_after_ninety_nights_is_what_the_inventory_says(nights: Nights) -> None:
    last = {85, 86, 87, 88, 89}
    daily = {83, 84, *last}
    # Night 89 is Thursday, 29 October: the Sundays before it, of which none was lost, and this week's last.
    weekly = {71, 78, 85, 89}
    monthly = {59, 89}  # on the last day of September the long pause began
    proven_last = {77, 78, 79}
    # Those of another history, and the one that rotted, are evidence for 20 days and gone since.
    assert left(nights) == {PINNED, *daily, *weekly, *monthly, *proven_last}


def test_on_odd_nights_nothing_was_removed_and_it_was_said_why(nights: Nights) -> None:
    ahead, pause, back = [30, 31, 32], [65, 66], [75, 76]  # the way back of a clock that was ahead is odd, too
    assert sorted(nights.paused) == [*ahead, *pause, *back]
    assert "a clock jumped" in nights.paused[31] and "a long pause" in nights.paused[65]


def test_nothing_half_and_nothing_orphaned_is_left(nights: Nights) -> None:
    whole = {path.name for path in nights.vault.directory.glob("*.snap")}
    for path in nights.vault.directory.iterdir():
        if path.name != ".lock":
            assert path.name.split(".snap")[0] + ".snap" in whole, path.name
    assert nights.vault.parts() == []
    assert {
        proven.read(nights.vault.directory / nights.made[n]) is not None for n in left(nights) - UNPROVEN - ANEW
    } == {True}
