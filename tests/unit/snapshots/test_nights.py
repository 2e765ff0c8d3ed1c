"""Whole nights: what lies on each machine is generated first, then what every look shows of it; all of that is read and
judged by the project's own functions, and the oracle knows the truth alone.

What a disk comes to is `test_worlds`' word; here it is found out, wherever etcd keeps its data. Beside it a night has
marks of runs, and leases that run out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import Phase as Generated
from hypothesis import strategies as st

from requorum.command import Command, Result
from requorum.inventory import Etcd
from requorum.run import held
from requorum.run.held import Held
from requorum.run.marker import Phase
from requorum.snapshots import emptiness, layout, movement
from requorum.snapshots.disks import Disk
from requorum.snapshots.emptiness import Place, Way
from requorum.snapshots.layout import Layout
from requorum.snapshots.movement import Keys
from tests.unit import build
from tests.unit.run.test_dryrun import WHOLE as FILES
from tests.unit.run.test_dryrun import listing, parts
from tests.unit.run.test_held import BEGUN, SHAPES, carried_on, cuts, says, visited
from tests.unit.snapshots import test_worlds as world_of
from tests.unit.snapshots.test_emptiness import ANEW, DATA, FAMILY, FULL, LOST, OURS, STRAY
from tests.unit.snapshots.test_layout import GONE, KEPT_APART, WAL
from tests.unit.snapshots.test_worlds import ALARMS, CORRUPT, COULD_NOT, NOTHING, WHOLE, Member, World

# How etcd lies on its machine: what is in its data directory and behind links, and what its configuration adds.
LIES: Mapping[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "vendor": (FILES, {}),
    "wal-dir": (KEPT_APART, {"wal_dir": WAL}),
    "member linked": (("l member", *FILES[1:]), {}),
    "snap and wal linked": (("d member", "l member/snap", FILES[2], "l member/wal", FILES[4]), {}),
    "a volume": (FILES, {}),
    "a link on the way": (FILES, {}),
}
HAS = ("data", "nothing", "set up anew")
# What is wrong with it: of each, data may be there that is not seen.
ODD = (
    "a linked database",
    "no log",
    "no database",
    "an unreadable block",
    "not mounted",
    "a dangling link",
    "another configuration",
    "unnamed data",
    "another database open",
    "noted elsewhere",
)


@dataclass(frozen=True)
class Machine:
    """An old member's: entries 1 to `log` are in its log, of which `applied` are in its database, where it has "data";
    else "nothing", or it was "set up anew". `lies`: how; `odd`: what is wrong with that."""

    log: int = 9
    applied: int = 9
    has: str = "data"
    lies: str = "vendor"
    odd: str = ""


def entries(machine: Machine) -> tuple[str, ...]:
    """What `find` shows of it."""
    there, _ = LIES[machine.lies]
    if machine.odd == "a linked database":
        return tuple(e.replace("f member/snap/db", "l member/snap/db") for e in there)
    if machine.odd in ("no log", "no database"):
        end = ".wal" if machine.odd == "no log" else "/db"
        left = tuple(entry for entry in there if not entry.endswith(end))
    elif machine.has == "data" and machine.odd in ("", "another configuration", "another database open"):
        return there
    else:
        left = tuple(entry for entry in there if entry[0] != "f")
    emptied = {e[2:] for e in left if e[0] == "l"} - {e[2:].rpartition("/")[0] for e in left if e[0] == "f"}
    return (*left, *(f"d {name}/." for name in emptied))  # a link that leads to an empty directory


def disk(machine: Machine) -> Disk:
    """By what is listed."""
    config = build.config(2, **LIES[machine.lies][1])
    asked = layout.ask_data("etcd-2", config)
    seen = entries(machine)
    said = [(listing(DATA, *seen), 0, ""), (parts(DATA, *seen), 0, "")]
    if machine.odd == "an unreadable block":
        said[0] = ("", 1, f"find: '{DATA}/member': Input/output error")
    if machine.odd in ("not mounted", "a dangling link"):
        said = [("", 1, GONE)] * 2
    found = asked.understand([Result(Command("etcd-2", ("find",), ""), code, out, err, 0.0) for out, code, err in said])
    size = 1 if "db" in found.snaps else None
    member = build.inventory().members[1]
    return Disk(member, config, LOST, True, bool(found.logs), size, "", found.problem, found.links)


def place(machine: Machine) -> Place:
    """By everything else that is looked at there."""
    if machine.has == "set up anew" and not machine.odd:
        return ANEW
    mounts: tuple[str, ...] = ("/",)
    way = Way(DATA)
    if machine.lies == "a volume":
        mounts = ("/", "/var/lib/etcd/dh")
    if machine.lies == "a link on the way":
        mounts, way = ("/", "/data"), Way("/data/old", link=True)
    root, ways = Layout({"old": "d"}), {DATA: way}
    found = Place("etcd-2", build.STOPPED, build.config(2), runs=OURS, root=root, mounted=mounts, ways=ways)
    odd: dict[str, dict[str, Any]] = {
        "not mounted": {"unmounted": ("/var/lib/etcd/dh",)},
        "a dangling link": {"ways": {DATA: Way(DATA, dangling="/var/lib/etcd/dh")}},
        "another configuration": {"runs": ("etcd", "--config-file=/opt/etcd.yaml")},
        "unnamed data": {"strays": {STRAY: (FULL, LOST)}},
        "another database open": {"opened": ("/srv/other/member/snap/db",)},
        "noted elsewhere": {"noted": (DATA, "/srv/volume", "/backups/7.snap")},
    }
    return replace(found, **odd.get(machine.odd, {}))


def looks(machine: Machine) -> str:
    """What a run makes of it."""
    anew = machine.has == "set up anew" and not machine.odd
    found = [] if anew else [disk(machine)]
    whole = any(one.whole for one in found)
    doubt = emptiness.doubt(place(machine), found, whole, FAMILY, Etcd())
    return COULD_NOT if doubt else WHOLE if whole else NOTHING


def truth(machine: Machine) -> str:
    return COULD_NOT if machine.odd else WHOLE if machine.has == "data" else NOTHING


# -- nights ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Night:
    """`phase`: how far an unfinished run got, None where there is none; it was killed when `marked` of its hosts had
    that, and `visitor` is one of what `visited` makes of another host. `after`: what happened to the restored cluster
    behind the proof: leases "expire", somebody "writes", or "deletes" what had none."""

    machines: tuple[Machine, ...]
    backups: tuple[tuple[int, bool], ...] = ()
    alarm: str = ""
    phase: Phase | None = None
    marked: int = 0
    visitor: int = 0
    after: tuple[str, ...] = ()

    def world(self, seen: Callable[[Machine], str]) -> World:
        members = tuple(Member(m.log, m.applied, seen(m)) for m in self.machines)
        return World(members, self.backups, alarm=self.alarm)


def marks(night: Night) -> Held:
    server, hosts = SHAPES[2 * (len(night.machines) // 2)]
    told = [dict.fromkeys(hosts, says())]
    if night.phase:
        told = list(cuts(server, hosts, build.mark(Phase(night.phase - 1)), build.mark(night.phase)))
    several = list(visited(told[night.marked % len(told)], server))
    return held.hold(several[night.visitor % len(several)], server)


def moved(night: Night) -> str | None:
    """Who moved the revision, by the keys before and after."""
    plain = {f"/{n}".encode(): (n + 1, 0) for n in range(9)}
    leased = {f"/l{n}".encode(): (50, n + 1) for n in range(9)}
    before = Keys(100, plain | leased)
    held_now, revision = dict(before.held), before.revision
    for number, what in enumerate(night.after):
        revision += 1
        if what == "expires":
            held_now.pop(f"/l{number}".encode())
        elif what == "deletes":
            held_now.pop(f"/{number}".encode())
        else:
            held_now[b"/written"] = (revision, 0)
    return movement.writer(before.revision, before, Keys(revision, held_now))


@st.composite
def machines(draw: st.DrawFn, most: int) -> Machine:
    log = draw(st.integers(0, most))
    has, odd = draw(st.sampled_from(("data", *HAS))), draw(st.sampled_from(("", "", "", *ODD)))
    lies = draw(st.sampled_from(tuple(LIES)))
    if odd in ("noted elsewhere", "unnamed data"):
        has = "nothing"
    return Machine(log, draw(st.integers(0, log)), has, lies, odd)


@st.composite
def nights(draw: st.DrawFn) -> Night:
    size, most = draw(st.sampled_from((1, 3, 3, 5))), draw(st.integers(1, 9))
    found = [draw(machines(most)) for _ in range(size)]
    acknowledged = sorted((m.log for m in found), reverse=True)[size // 2]
    found = [replace(m, applied=min(m.applied, acknowledged)) for m in found]
    backup = st.tuples(st.integers(0, acknowledged), st.booleans())
    after = st.lists(st.sampled_from(("expires", "expires", "expires", "writes", "deletes")), max_size=5)
    return Night(
        tuple(found),
        tuple(draw(st.lists(backup, max_size=3)) if acknowledged else []),
        draw(st.sampled_from(("", "", *ALARMS))),
        draw(st.sampled_from((None, *BEGUN))),
        draw(st.integers(0, 9)),
        draw(st.integers(0, 30)),
        tuple(draw(after)),
    )


def holds(night: Night) -> None:
    """No look takes a disk for empty that may hold anything; nothing less is restored; who wrote is seen."""
    for machine in night.machines:
        assert looks(machine) == truth(machine), machine
    world_of.holds(night.world(looks))
    assert (moved(night) is None) == ({"writes", "deletes"}.isdisjoint(night.after))


def ordinary(night: Night) -> Night:
    """The same night without anything odd."""
    calm = tuple(replace(machine, odd="") for machine in night.machines)
    whole = tuple((revision, True) for revision, _ in night.backups)
    alarm = "" if night.alarm == CORRUPT else night.alarm
    after = tuple(what for what in night.after if what == "expires")
    return replace(night, machines=calm, backups=whole, alarm=alarm, after=after)


def goes_on(night: Night) -> None:
    """It does not stop, whatever marks are there, and carries the run on that was under way."""
    found = marks(night)
    assert held.refusal(found, build.inventory()) is None
    run = carried_on(found)
    assert run == (build.mark(night.phase) if night.phase else None)
    world = night.world(looks)
    if night.backups or WHOLE in [member.looks for member in world.members]:
        assert world_of.restored(world) is not None, "it stops on an ordinary night"
    assert moved(night) is None, "a lease that runs out is nobody's write"


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(nights())
def test_on_no_night_is_a_disk_taken_for_empty_less_restored_or_a_writer_missed(night: Night) -> None:
    holds(night)
    event("odd" if any(machine.odd for machine in night.machines) else "ordinary")


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(nights().map(ordinary))
def test_no_ordinary_night_stops_wherever_etcd_lies_and_whatever_was_under_way(night: Night) -> None:
    goes_on(night)


@pytest.mark.parametrize("odd", ["", *ODD])
@pytest.mark.parametrize("lies", LIES)
@pytest.mark.parametrize("has", HAS)
def test_wherever_etcd_lies_a_disk_comes_to_what_it_holds_or_could_not(has: str, lies: str, odd: str) -> None:
    if odd in ("noted elsewhere", "unnamed data"):
        has = "nothing"  # else it is there, where the backup has it or beside
    machine = Machine(has=has, lies=lies, odd=odd)
    assert looks(machine) == truth(machine)


# -- faults, one planted at a time ----------------------------------------------------------------------------------


def what_is_odd_is_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "_odd", lambda *_: "")


def half_a_member_is_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "_incomplete", lambda *_: "")


def what_is_not_mounted_is_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emptiness, "_unmounted_there", lambda place: "")


def links_are_not_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    odd = layout._odd
    monkeypatch.setattr(layout, "_odd", lambda tree, places, opened: odd(tree, (), opened))


def wal_dir_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "wal", lambda config: f"{config.data_dir}/member/wal")


def an_old_mark_is_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(held, "_over", lambda told: set())


def whatever_moved_it_was_a_writer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(movement, "changed", lambda pinned, before, now, probes=None: "x" * (now.revision > pinned))


def nobody_ever_wrote(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(movement, "writer", lambda *_: None)


PLANTED = (
    what_is_odd_is_nothing,
    half_a_member_is_nothing,
    what_is_not_mounted_is_nothing,
    links_are_not_followed,
    wal_dir_is_not_known,
    an_old_mark_is_followed,
    whatever_moved_it_was_a_writer,
    nobody_ever_wrote,
)


@pytest.mark.parametrize("plant", PLANTED)
def test_a_planted_fault_is_found(plant: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)

    @settings(max_examples=1_000, deadline=None, database=None, phases=[Generated.generate], derandomize=True)
    @given(nights())
    def found(night: Night) -> None:
        holds(night)
        goes_on(ordinary(night))

    with pytest.raises(AssertionError):
        found()


@pytest.mark.matrix  # minutes
@settings(max_examples=10_000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(nights())
def test_the_same_holds_on_ten_thousand_nights(night: Night) -> None:
    holds(night)
    goes_on(ordinary(night))
