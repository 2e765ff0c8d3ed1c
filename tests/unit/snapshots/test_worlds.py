"""Worlds: generated as truth first, then what each look would show of it; the oracle computes from the truth alone.

A world has members with a log and what they had applied of it, what a look at each disk comes to, and backups. Raft is
played by its rule for votes; everything after it is the project's own decision.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import pytest
from hypothesis import HealthCheck, Phase, event, given, settings
from hypothesis import strategies as st

from requorum.cluster.sandbox import Answers
from requorum.run.marker import SALVAGE
from requorum.snapshots import attempts, choice, loss, ranking
from requorum.snapshots.attempts import Attempt
from requorum.snapshots.family import Family
from requorum.snapshots.ranking import Candidate
from requorum.snapshots.snapshot import SnapshotError, Source
from requorum.snapshots.survivors import Salvaged
from tests.unit.snapshots.test_choice import LOST, disk
from tests.unit.snapshots.test_survivors import known_members, survivor

ANEW = "/anew"  # a save that holds nothing of the lost cluster
ALARMS = NOSPACE, CORRUPT = "NOSPACE", "CORRUPT"
WHOLE, NOTHING, COULD_NOT, GIVEN_UP = "whole", "nothing", "could not", "given up"


@dataclass(frozen=True)
class Member:
    """Entries 1 to `log` are in its log, of which `applied` are in its database; `looks`: what its disk comes to;
    `anew`: its entries are those of an empty cluster that began with the same token, later."""

    log: int
    applied: int
    looks: str = WHOLE
    anew: bool = False

    @property
    def last(self) -> tuple[bool, int]:
        """By which Raft compares logs: what began later has the higher term."""
        return self.anew, self.log


@dataclass(frozen=True)
class World:
    """`backups`: (revision, whether the file is whole). `elected`: which of those that Raft may elect it elects.
    `bump`: what our own runs added to every revision that can be seen. `alarm`: etcd's, in the data of every disk."""

    members: tuple[Member, ...]
    backups: tuple[tuple[int, bool], ...] = ()
    elected: int = 0
    bump: int = 0
    alarm: str = ""

    @property
    def taken(self) -> list[int]:
        """Whose disks are salvaged."""
        return [n for n, member in enumerate(self.members) if member.looks == WHOLE]

    @property
    def acknowledged(self) -> int:
        """The last entry that a majority had in its log, before any of them began anew."""
        logs = (9 if member.anew else member.log for member in self.members)
        return sorted(logs, reverse=True)[len(self.members) // 2]

    @property
    def there(self) -> int:
        """The last acknowledged entry that a disk holds which is neither proven empty nor given up, 0 for none: it can
        be read, or nobody knows what it holds."""
        held = [min(m.log, self.acknowledged) for m in self.members if m.looks in (WHOLE, COULD_NOT) and not m.anew]
        return max(held, default=0)


def electable(world: World, taken: list[int]) -> list[int]:
    """Who may lead the copies: a majority must have no more in its log. Stand-ins have nothing."""
    quorum = len(world.members) // 2 + 1
    lasts = [world.members[n].last for n in taken] + [(False, 0)] * max(quorum - len(taken), 0)
    return [n for n in taken if sum(last <= world.members[n].last for last in lasts) >= quorum]


def refused(world: World) -> str:
    """Why the copies' equal answers are no proof, by the alarm in their data."""
    size = len(world.members)
    attempt = Attempt(tuple(survivor(n + 1, size) for n in world.taken), known_members(size))
    hashes = dict.fromkeys(attempt.names, (7, 1))
    return attempts.failure(
        attempt, Answers(saved=True, hashes=hashes, alarms=(world.alarm,) * bool(world.alarm)), None
    )


def salvaged(world: World) -> Salvaged:
    """What a salvage of this world gives."""
    hosts = {n: f"etcd-{n + 1}" for n in range(len(world.members))}
    taken = world.taken
    found = Salvaged(
        None,
        members=len(world.members),
        lineage=LOST,
        bumps=world.bump,
        could_not=tuple((hosts[n], "it is odd") for n, m in enumerate(world.members) if m.looks == COULD_NOT),
        given_up=tuple((hosts[n], "--gone") for n, m in enumerate(world.members) if m.looks == GIVEN_UP),
    )
    if not taken:
        return replace(found, lineage=None)
    if why := refused(world):
        return replace(found, failed=why)
    leaders = electable(world, taken)
    leader = leaders[world.elected % len(leaders)]
    path = ANEW if world.members[leader].anew else "/s"
    revision = world.members[leader].log + world.bump
    source = Source("salvage", "etcd-1", path, "s", 1, "now", revision, 1, LOST, world.bump)
    shown = tuple((hosts[n], world.members[n].applied + world.bump) for n in taken)
    found = replace(found, how="together", survivors=tuple(hosts[n] for n in taken), hosts=(), databases=shown)
    return attempts.measured(found, source)


def rows(world: World) -> tuple[Candidate, ...]:
    found = []
    for number, (revision, whole) in enumerate(world.backups):
        seen, at = revision + world.bump, "2026-01-01T00:00:00Z"
        source = Source("file", None, f"/{number}.snap", f"{number}", 1, at, seen, 1, LOST, world.bump)
        row = ranking.of(source)
        found.append(row if whole else replace(row, source=None, problem="is cut off"))
    return tuple(found)


def restored(world: World) -> choice.Decision | None:
    """What a run restores unasked; None where it stops."""
    disks = (disk(1, LOST),) if any(member.looks == WHOLE for member in world.members) else ()  # for the table's rows
    found = choice.Found(rows(world), disks, Family((LOST,)), None, salvaged(world))
    if choice.refusal(found):
        return None
    try:
        return choice.decide(found)
    except SnapshotError:
        return None


@st.composite
def worlds(draw: st.DrawFn) -> World:
    size, length = draw(st.sampled_from((1, 2, 3, 3, 4, 5, 5))), draw(st.integers(1, 9))
    members = []
    logs = [draw(st.integers(0, length)) for _ in range(size)]
    acknowledged = sorted(logs, reverse=True)[size // 2]
    for log in logs:
        looks = draw(st.sampled_from((WHOLE, WHOLE, NOTHING, COULD_NOT, GIVEN_UP)))
        members.append(Member(log, draw(st.integers(0, min(log, acknowledged))), looks))
    further = max((m.applied for m in members if m.looks == WHOLE), default=0)
    for number in draw(st.sets(st.integers(0, size - 1), max_size=2)) if further > 1 else ():
        if members[number].applied < further:  # else nobody could tell
            began = draw(st.integers(1, further - 1))
            members[number] = Member(began, began, WHOLE, anew=True)
    if any(m.anew for m in members):
        acknowledged = further  # backups are of the lost history
    backup = st.tuples(st.integers(0, acknowledged), st.booleans())
    backups = draw(st.lists(backup, max_size=3)) if acknowledged else []
    bump, alarm = draw(st.sampled_from((0, 1_000_000_000))), draw(st.sampled_from(("", "", *ALARMS)))
    return World(tuple(members), tuple(backups), draw(st.integers(0, 4)), bump, alarm)


def holds(world: World) -> None:
    """What is restored unasked lacks no acknowledged entry that a disk may hold, nor is a loss said too small."""
    decision = restored(world)
    event("stopped" if decision is None else "went on")  # shown by --hypothesis-show-statistics
    if decision is None:
        return
    if world.alarm == CORRUPT and decision.source.kind == SALVAGE:
        assert 2 * len(world.taken) > len(world.members), "nobody tells whose data is right"
    revision = 0 if decision.source.path == ANEW else (decision.source.revision or 0) - world.bump
    assert revision >= world.there
    assert revision >= max((r for r, whole in world.backups if whole), default=0)
    told = max((r for r, _ in world.backups), default=0)
    assert revision >= told or (decision.loss.certain or 0) >= told - revision
    if decision.loss.certain == 0 and decision.loss.possible == 0:
        assert revision >= world.acknowledged, "it is said that nothing is missing"
    if decision.loss.certain is not None:
        assert decision.loss.certain <= max(world.acknowledged, *(m.log for m in world.members)) - revision + 9


def goes_on_in_the_calm_one(world: World) -> None:
    """The same world without doubts, beginners and damaged files, where anything is left to restore."""
    members = tuple(replace(m, looks=NOTHING if m.looks == COULD_NOT else m.looks) for m in world.members)
    calm = replace(world, members=members, backups=tuple((revision, True) for revision, _ in world.backups))
    calm = replace(calm, alarm="" if calm.alarm == CORRUPT else calm.alarm)
    if any(m.anew for m in members) or not (calm.backups or any(m.looks == WHOLE for m in members)):
        return
    assert restored(calm) is not None, "it stops on an ordinary night"


@settings(max_examples=1_000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(worlds())
def test_what_is_restored_unasked_lacks_no_acknowledged_entry_that_a_disk_may_hold(world: World) -> None:
    holds(world)


@pytest.mark.matrix  # a minute
@settings(max_examples=10_000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(worlds())
def test_the_same_holds_in_ten_thousand_worlds(world: World) -> None:
    holds(world)


@settings(max_examples=1_000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(worlds())
def test_where_no_disk_is_in_doubt_none_began_anew_and_no_backup_was_cut_off_it_does_not_stop(world: World) -> None:
    goes_on_in_the_calm_one(world)


# -- faults, one planted at a time ----------------------------------------------------------------------------------


def always_a_majority(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Salvaged, "has_a_majority", property(lambda self: self.source is not None))


def never_held_against_databases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "measured", lambda found, source: replace(found, source=source))


def a_failed_salvage_gives_way(monkeypatch: pytest.MonkeyPatch) -> None:
    stop = choice._stop
    monkeypatch.setattr(choice, "_stop", lambda found: None if found.salvaged.failed else stop(found))


def what_is_in_doubt_gives_way(monkeypatch: pytest.MonkeyPatch) -> None:
    stop = choice._stop

    def sure(found: choice.Found) -> SnapshotError | None:
        return stop(replace(found, salvaged=replace(found.salvaged, could_not=())))

    monkeypatch.setattr(choice, "_stop", sure)


def no_manifest_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "_behind_a_manifest", lambda found, chosen: None)
    monkeypatch.setattr(ranking, "newest", lambda rows, lineage: None)


def a_backup_never_competes(monkeypatch: pytest.MonkeyPatch) -> None:
    rank = ranking.rank

    def ranked(rows: Sequence[Candidate], family: Family) -> tuple[Candidate | None, tuple[Candidate, ...]]:
        return rank([row for row in rows if row.kind == SALVAGE and row.source] or rows, family)

    monkeypatch.setattr(ranking, "rank", ranked)


def nothing_is_ever_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "loss_of", lambda *_: loss.Loss(0, 0, "nothing is missing"))


def copies_of_a_minority_are_believed_after_a_corruption(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "_is_confirmed", lambda *_: True)


def an_alarm_of_room_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    failure = attempts.failure
    monkeypatch.setattr(
        attempts, "failure", lambda attempt, answers, told: ",".join(answers.alarms) or failure(attempt, answers, told)
    )


PLANTED = (
    copies_of_a_minority_are_believed_after_a_corruption,
    an_alarm_of_room_stops,
    always_a_majority,
    never_held_against_databases,
    a_failed_salvage_gives_way,
    what_is_in_doubt_gives_way,
    no_manifest_is_asked,
    a_backup_never_competes,
    nothing_is_ever_lost,
)


@pytest.mark.parametrize("plant", PLANTED)
def test_a_planted_fault_is_found(plant: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)

    @settings(max_examples=3_000, deadline=None, database=None, phases=[Phase.generate], derandomize=True)
    @given(worlds())
    def found(world: World) -> None:
        holds(world)
        goes_on_in_the_calm_one(world)

    with pytest.raises(AssertionError):
        found()


def test_the_share_of_worlds_that_stop_is_known() -> None:
    """Of three members whose disks come to anything, with a whole backup: a run stops where it must, not elsewhere."""
    looks = (WHOLE, NOTHING, COULD_NOT, GIVEN_UP)
    ends = Counter(
        restored(World((Member(5, 5, a), Member(5, 4, b), Member(4, 4, c)), ((3, True),))) is None
        for a in looks
        for b in looks
        for c in looks
    )
    print(f"{ends[True]} of {ends.total()} worlds stop")
    doubted = sum(COULD_NOT in (a, b, c) and [a, b, c].count(WHOLE) < 2 for a in looks for b in looks for c in looks)
    assert ends[True] == doubted


@pytest.mark.parametrize(
    "world",
    [
        World((Member(9, 9, NOTHING),) * 3, ((9, True),)),
        World((Member(9, 8), Member(9, 9, NOTHING), Member(9, 9, NOTHING)), ((5, True),)),
        World((Member(9, 8), Member(9, 9, GIVEN_UP), Member(9, 9, GIVEN_UP)), ((5, True),)),
        World((Member(9, 8), Member(9, 8), Member(9, 9, COULD_NOT)), ((5, True),)),
        World((Member(9, 8), Member(9, 8), Member(9, 7), Member(9, 9, NOTHING), Member(9, 9, NOTHING)), ((5, True),)),
        World((Member(3, 3), Member(9, 9, NOTHING), Member(9, 9, NOTHING)), ((8, True),)),
        World((Member(9, 8), Member(9, 8), Member(8, 8))),
        World((Member(9, 8), Member(9, 9, NOTHING), Member(9, 9, NOTHING))),
        World((Member(9, 8, NOTHING),), ((9, True),)),
        World((Member(9, 8), Member(9, 9, NOTHING), Member(9, 9, NOTHING)), ((5, True),), alarm=NOSPACE),
        World((Member(9, 8), Member(9, 8), Member(9, 9, NOTHING)), ((5, True),), alarm=CORRUPT),
    ],
    ids=[
        "all wiped, a fresh backup",
        "two reinstalled, one whole",
        "two gone",
        "one of three unreadable",
        "five with two lost",
        "backup further on than the survivor",
        "all whole but stopped",
        "no backup at all, a whole survivor",
        "one member, new machine",
        "NOSPACE in the data",
        "CORRUPT, and a majority is alike",
    ],
)
def test_on_ordinary_nights_it_does_not_stop(world: World) -> None:
    decision = restored(world)
    assert decision is not None
    assert (decision.source.revision or 0) - world.bump >= world.there
