"""Every command that a stop prints is pasted: through the front door's own parsing, into the decision of Step 1, until
the incident ends recovered or rolled back.

The worlds are those of `test_worlds`; the operator pastes any line of the screen's last block.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from requorum.recovery import commit
from requorum.refusal import Refusal
from requorum.run import held
from requorum.run.accepted import Accepted
from requorum.run.history import Told
from requorum.run.marker import Marker, MarkerError, Phase
from requorum.run.terms import Options
from requorum.snapshots import anew, choice, ranking, snapshot
from requorum.snapshots.anew import Anew
from requorum.snapshots.family import Family
from requorum.snapshots.ranking import BY_YOU, Candidate
from requorum.snapshots.snapshot import SnapshotError, Source
from requorum.snapshots.sources import Sources
from requorum.snapshots.survivors import Salvaged
from tests.unit import build
from tests.unit.plugin.ending.ended import did, ended, pasted
from tests.unit.run.test_held import carried_on, says
from tests.unit.snapshots import test_worlds as world_of
from tests.unit.snapshots.test_anew import row as note_of
from tests.unit.snapshots.test_choice import LOST, disk
from tests.unit.snapshots.test_worlds import COULD_NOT, GIVEN_UP, WHOLE, Member, World
from tests.unit.typed import said

HOSTS = ("etcd-1", "etcd-2", "etcd-3")
INVENTORY = build.inventory()
BARE = Options(hosts="lab", confirm="lab")


# -- the decision, of a world and what was said ------------------------------------------------------------------


@dataclass(frozen=True)
class Night:
    """`world` with what salvage comes to besides: `failed`, and whether one copy could be forced, and works then.
    `hours`: the age that a backup may have."""

    world: World
    failed: str = ""
    forced: bool = False
    hours: float = 10**6

    def salvaged(self, words: Options) -> Salvaged:
        """What Step 1 finds when it is told this."""
        away = words.accepted.hosts("without")
        members = tuple(
            replace(member, looks=GIVEN_UP) if f"etcd-{n}" in away and member.looks in (WHOLE, COULD_NOT) else member
            for n, member in enumerate(self.world.members, start=1)
        )
        found = world_of.salvaged(replace(self.world, members=members))
        whole = tuple(f"etcd-{n}" for n, member in enumerate(members, start=1) if member.looks == WHOLE)
        found = replace(found, hosts=whole, taken=whole if found.source else ())
        if not self.failed or not whole:
            return found
        if self.forced and words.accepted.hosts("forced") == whole[:1]:
            return replace(found, how="alone", taken=whole[:1], survivors=whole[:1])
        one = whole[0] if self.forced else ""
        return replace(found, source=None, taken=(), failed=self.failed, could_be_forced=one)

    def rows(self, words: Options) -> tuple[Candidate, ...]:
        found = world_of.rows(self.world)
        return tuple(
            ranking.of(row.source, BY_YOU) if row.source and row.path == words.snapshot else row for row in found
        )


def restored(night: Night, words: Options) -> tuple[choice.Decision, Salvaged] | SnapshotError:
    """What Step 1 comes to: its own stage's function, and what it finds."""
    salvaged, shown = night.salvaged(words), SimpleNamespace(record=lambda *_, **__: None)
    there = [n for n, member in enumerate(night.world.members, start=1) if member.looks in (WHOLE, COULD_NOT)]
    sources = Sources(Family((LOST,)), disks=tuple(disk(n, LOST) for n in there), rows=night.rows(words))
    resort = next((one for one in sources.disks if one.host == words.skip_hash), None)
    if resort and (salvaged.source is None or salvaged.could_not):
        of = night.world.members[int(resort.host[-1]) - 1]
        revision, bump, at = of.applied + night.world.bump, night.world.bump, "2026-01-01T00:00:00Z"
        made = Source("on-disk", resort.host, resort.database, "h", 512, at, revision, 1, LOST, bump)
        sources.last_resort = ranking.of(made, BY_YOU)
    mark = Marker(run=build.RUN, token=build.TOKEN, phase=Phase.STOPPING, by="x")
    within = INVENTORY.snapshot.model_copy(update={"max_age_hours": night.hours})
    inventory = INVENTORY.model_copy(update={"snapshot": within})
    run: Any = SimpleNamespace(options=words, mark=mark, carrying_on=False, inventory=inventory, journal=shown)
    run.warn = lambda text: None
    try:
        decision = choice.in_step_1(run, sources, salvaged)
    except SnapshotError as stop:
        return stop
    sources.source, sources.loss, sources.salvaged = decision.source, decision.loss, salvaged
    asked = commit.unanswered(run, SimpleNamespace(sources=sources))  # type: ignore[arg-type]
    if not asked:
        return decision, salvaged
    remedy = f"accept the loss (price in writes: x): {words.accepted.option(*asked)}"
    return SnapshotError("the commit prompt", "What is lost is not answered for by --confirm", remedy)


def printed(stop: SnapshotError, words: Options) -> list[str]:
    """What can be pasted from the screen, when these words were typed."""
    typed = ["--confirm=lab"]
    typed += [words.accepted.option()] * bool(words.accepted.words)
    typed += [
        f"--{name}={value}" for name, value in (("snapshot", words.snapshot), ("salvage", words.salvage)) if value
    ]
    of = ended(stop, 1, did=did(Phase.STOPPING))
    return pasted(replace(of, said=replace(of.said, words=tuple(typed))))


MOST = 5  # words one after the other: three disks, a history, and the commit prompt


def ends(night: Night, words: Options, steps: int = MOST) -> Iterator[str]:
    """How each way through the printed commands ends."""
    found = restored(night, words)
    if not isinstance(found, SnapshotError):
        yield "recovered"
        return
    lines = printed(found, words)
    assert lines, found
    for line in lines:
        directory, told = said(line)
        if directory != "runbook":
            yield directory
        elif (told.accepted, told.snapshot, told.salvage) != (words.accepted, words.snapshot, words.salvage):
            assert steps, f"it goes on and on: {line}\n{found}"
            yield from ends(night, told, steps - 1)


@st.composite
def nights(draw: st.DrawFn) -> Night:
    world = draw(world_of.worlds().filter(lambda one: len(one.members) == len(HOSTS)))
    failed = draw(st.sampled_from(("", "", "a log does not check")))
    return Night(world, failed, forced=bool(failed) and draw(st.booleans()))


TORN = World((Member(9, 8), Member(9, 9, "nothing"), Member(9, 9, "nothing")), ((5, True),))


@pytest.fixture(autouse=True)
def files_are_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "verify", lambda path: None)


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.function_scoped_fixture],
)
@given(nights())
@example(Night(TORN, "torn"))
@example(Night(TORN, "torn", forced=True))
@example(Night(World((Member(3, 3), Member(9, 9, "nothing"), Member(9, 9, "nothing")), ((8, False), (2, True)))))
@example(Night(World((Member(9, 9), Member(9, 9, COULD_NOT), Member(9, 9, COULD_NOT)), ((8, True),))))
@example(Night(World((Member(9, 9, COULD_NOT),) * 3)))
def test_every_printed_command_of_every_stop_ends_the_incident(night: Night) -> None:
    found = restored(night, BARE)
    outcomes = list(ends(night, BARE))
    assert set(outcomes) <= {"recovered", "runbook/rollback", "runbook/troubleshoot/diagnose"}
    if isinstance(found, SnapshotError):
        there = any(m.looks == WHOLE for m in night.world.members) or any(whole for _, whole in night.world.backups)
        assert "recovered" in outcomes or not there, found
        assert "runbook/rollback" in outcomes, found


def test_an_old_backup_is_taken_by_the_word_that_its_stop_prints() -> None:
    night = Night(World((Member(9, 9, "nothing"),) * 3, ((9, True),)), hours=1)
    stop = restored(night, Options(hosts="lab"))
    assert isinstance(stop, SnapshotError) and "h old, more than snapshot.max_age_hours" in str(stop)
    assert "--snapshot=/0.snap" in stop.remedy
    assert "recovered" in list(ends(night, Options(hosts="lab")))


# -- other stops -------------------------------------------------------------------------------------------------


def words_of(stop: Refusal | None, typed: Options = BARE) -> Accepted:
    """What the recovery is told by the line of this stop that holds a word."""
    assert stop is not None
    of = ended(stop, 0, did=did(Phase.OPEN))
    known = ("--confirm=lab", typed.accepted.option()) if typed.accepted.words else ("--confirm=lab",)
    lines = pasted(replace(of, said=replace(of.said, words=known)))
    (line,) = [line for line in lines if "--accept=" in line]
    return said(line)[1].accepted


def test_a_mark_that_only_another_host_has_is_followed_by_the_printed_word() -> None:
    told = {"infra-1": says(), "etcd-1": says(build.mark(Phase.STOPPING)), "etcd-2": says()}
    stop = held.refusal(held.hold(told, "infra-1"), INVENTORY)
    now = held.hold(told, "infra-1", words_of(stop))
    assert held.refusal(now, INVENTORY) is None
    assert carried_on(now) == build.mark(Phase.STOPPING)


def test_an_unreadable_mark_of_the_configuration_server_is_moved_aside_and_the_run_followed_by_what_is_printed() -> (
    None
):
    broken = MarkerError("infra-1", "its mark cannot be read", "")
    others = {"etcd-1": says(build.mark(Phase.STOPPING)), "etcd-2": says(build.mark(Phase.STOPPING))}
    stop = held.unread({"infra-1": Told(broken, frozenset(), frozenset(), ()), **others}, INVENTORY)
    words = words_of(stop)
    assert any("mv --backup=numbered" in line for line in pasted(ended(stop, 0, did=did(Phase.OPEN))))
    assert carried_on(held.hold({"infra-1": says(), **others}, "infra-1", words)) == build.mark(Phase.STOPPING)


def test_data_whose_authentication_was_turned_off_on_purpose_is_taken_by_the_printed_word() -> None:
    warned: list[str] = []
    lineage = note_of(1, 900).lineage

    def run(words: Accepted) -> Any:
        return SimpleNamespace(options=Options(accepted=words), warn=warned.append)

    noted = (note_of(1, 900, authentication=True),)
    with pytest.raises(Refusal) as stop:
        anew.refuse_left_open(run(Accepted()), "/a.snap", False, lineage, noted)
    anew.refuse_left_open(run(words_of(stop.value)), "/a.snap", False, lineage, noted)
    assert "taken on your word" in warned[0]


def test_a_cluster_that_began_anew_is_handed_over_or_its_backup_accepted_by_the_printed_lines() -> None:
    stop = Refusal("lab", "quorum is intact", anew.ways("lab", Anew(12, note_of(1, 900))))
    told = [
        said(line) for line in pasted(ended(stop, 0, did=did(Phase.OPEN))) if "rebuild" in line or "history" in line
    ]
    assert [(directory, words.rebuild, words.accepted.words) for directory, words in told] == [
        ("runbook", True, ()),
        ("runbook/backup", False, ("history",)),
    ]


def test_words_that_name_nobody_are_refused_at_the_door() -> None:
    line = "cd /opt && .venv/bin/pytest runbook --hosts=lab --accept=without:etcd-9"
    with pytest.raises(Refusal, match="names no old member"):
        said(line)
    assert said(line.replace("etcd-9", "etcd-2"))[1].accepted == Accepted(("without:etcd-2",))
