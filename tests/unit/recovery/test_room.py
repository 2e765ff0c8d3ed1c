"""One figure a file system: the most that a run puts there at any time."""

from __future__ import annotations

import pytest

from requorum.cluster.sandbox import WAL_BYTES
from requorum.hosts.system import Free
from requorum.inventory import Inventory
from requorum.recovery import room
from requorum.run import bulk
from requorum.run.bulk import Rooms
from tests.unit import build

S = 1 << 30
D = S + WAL_BYTES
BASE, DATA, SCRATCH = "/var/lib/requorum", "/var/lib/etcd/dh", f"/var/lib/etcd/requorum-{build.RUN}.scratch"
ONE, TWO = {BASE: "/", DATA: "/", SCRATCH: "/"}, {BASE: "/", DATA: "/data", SCRATCH: "/"}
APART = {BASE: "/", DATA: "/data", SCRATCH: "/data"}
COPIES = dict.fromkeys(("etcd-1", "etcd-2", "etcd-3"), D)


def five() -> Inventory:
    members = [build.member(n) for n in range(1, 6)]
    hosts = {f"etcd-{n}": None for n in range(1, 6)} | {"infra-1": None, "query-1": None}
    return build.inventory(members=members, hosts=hosts)


def most(host: str, mounts: dict[str, str], of: Inventory | None = None, **given: object) -> dict[str, int]:
    copies, lies = given.get("copies", {}), given.get("lies", ())
    assert isinstance(copies, dict) and isinstance(lies, tuple)
    found = room.turns(build.terms(of=of), host, S, copies, str(given.get("gathers", "")), lies)
    return {mount: size for mount, (size, _) in room.needed(found, mounts, spares=False).items()}


@pytest.mark.parametrize("of", [None, five()])
def test_the_trial_is_put_down_once_beside_the_restored_data_however_many_members(of: Inventory | None) -> None:
    assert most("etcd-1", ONE, of) == {"/": S + 2 * D}
    assert most("etcd-2", ONE, of) == {"/": S + D}


def test_places_on_one_file_system_are_added_and_on_two_they_are_not() -> None:
    assert most("etcd-1", TWO) == {"/": S + D, "/data": D}
    assert most("etcd-2", TWO) == {"/": S, "/data": D}


def test_scratch_beside_the_data_needs_nothing_of_a_small_var_but_the_snapshot_and_the_save() -> None:
    assert most("etcd-1", APART) == {"/": S, "/data": 2 * D}
    assert most("etcd-3", APART, copies=COPIES, gathers="etcd-3") == {"/": D, "/data": 6 * D}
    assert most("etcd-2", APART, copies={**COPIES, "etcd-2": 99 * S}, gathers="etcd-1") == {"/": S, "/data": 99 * S}


def test_a_ratio_of_earlier_versions_asks_for_nothing() -> None:
    wide = build.inventory(limits={"free_disk_ratio": 99})
    assert most("etcd-2", ONE, wide) == most("etcd-2", ONE)


def test_what_a_run_has_put_down_needs_no_room_again() -> None:
    assert most("etcd-1", TWO, lies=(room.SNAPSHOT,)) == {"/": D, "/data": D}
    assert most("etcd-1", TWO, lies=(room.SNAPSHOT, room.RESTORED)) == {"/": D, "/data": 0}


def test_before_the_commit_only_what_is_still_to_be_put_down_is_asked_for() -> None:
    def uses(**given: bool) -> list[int]:
        return list(room.before_the_commit(build.terms(), S, **given).uses.values())

    assert uses(tries=True, restores=True) == [D, D]
    assert uses(tries=True, restores=False) == [D, 0]
    assert uses(tries=False, restores=True) == [0, D]


def test_where_copies_are_gathered_they_are_needed_twice_with_stand_ins_and_the_save() -> None:
    assert most("etcd-3", ONE, copies=COPIES, gathers="etcd-3") == {"/": 7 * D}
    alone = {"etcd-3": 9 * D}
    assert most("etcd-3", ONE, copies=alone, gathers="etcd-3") == {"/": 2 * 9 * D + 9 * D + WAL_BYTES + 9 * D}
    assert most("etcd-2", ONE, copies={**COPIES, "etcd-2": 99 * S}, gathers="etcd-1") == {"/": 99 * S}


def rooms(free: dict[str, int], apart: bool = False) -> dict[str, Rooms]:
    return {
        host: Rooms(Free(1, "/"), Free(size, "/data"), True) if apart else Rooms(Free(size, "/"), "none")
        for host, size in free.items()
    }


def test_a_survivor_that_is_no_new_member_needs_room_for_copies_alone() -> None:
    terms = build.terms(of=build.replaced())
    assert [turn.what for turn in room.turns(terms, "etcd-3", S, COPIES, "etcd-1")] == ["copies of what disks hold"]
    assert set(room.places(terms, "etcd-3", Rooms(Free(1, "/"), Free(2, "/data")))) == {BASE, SCRATCH}


@pytest.mark.parametrize("apart", [False, True])
def test_the_first_with_room_gathers_else_the_one_with_most(apart: bool) -> None:
    free = rooms({"etcd-1": S, "etcd-2": 99 * S, "etcd-3": 999 * S}, apart)
    assert room.gathering(COPIES, 3, free) == "etcd-2"
    assert room.gathering(COPIES, 3, rooms({"etcd-1": 3, "etcd-2": 1}, apart)) == "etcd-1"
    assert room.gathering({}, 3, {}) == ""
    assert room.gathering(COPIES, 3, rooms({"etcd-1": 6 * D, "etcd-2": 7 * D}, apart)) == (
        "etcd-1" if apart else "etcd-2"
    )


def test_one_survivor_without_room_is_left_out_where_the_others_are_a_majority() -> None:
    assert list(room.copied(COPIES, 3, rooms({"etcd-1": 1}))) == ["etcd-2", "etcd-3"]
    assert room.copied(COPIES, 3, rooms({"etcd-1": 1, "etcd-2": 1})) == COPIES, "then each is asked for"
    assert room.copied(COPIES, 5, rooms({"etcd-1": 1})) == COPIES


def test_what_is_lacking_names_file_system_free_needed_and_for_what_and_some_stays_free_for_others() -> None:
    found = room.turns(build.terms(), "etcd-1", S, {}, "")
    needed = S + D + (S + D) // 10 + (64 << 20)

    def lacks(free: int, spares: bool = True) -> str | None:
        places = {BASE: Free(free, "/"), SCRATCH: Free(free, "/"), DATA: Free(99 * S, "/data")}
        return room.lacking(found, places, spares)

    said = f"{S:,} bytes free in /, {needed:,} needed: the snapshot, its trial and the restored data"
    assert lacks(S) == said
    assert lacks(needed) is None and lacks(needed - 1)
    assert lacks(S + D, spares=False) is None and lacks(S + D - 1, spares=False)
    copied = [room.Turn("a copy", {BASE: S}, spares=False)]
    assert room.lacking(copied, {BASE: Free(S, "/")}) is None and room.lacking(copied, {BASE: Free(S - 1, "/")})
    nothing = [room.Turn("nothing", dict.fromkeys((BASE, SCRATCH, DATA), 0))]
    assert room.lacking(nothing, {place: Free(0, "/") for place in (BASE, SCRATCH, DATA)}) is None


@pytest.mark.parametrize(("device", "enough"), [("/dev/sda1", False), ("/dev/sdb1", True), ("", True)])
def test_what_two_mounts_share_is_counted_once(device: str, enough: bool) -> None:
    """Each would have room for its own part."""
    terms = build.terms()
    turn = room.before_the_commit(terms, 1000, tries=True)
    free = {place: Free(size, f"/{n}", "/dev/sda1") for n, (place, size) in enumerate(turn.uses.items())}
    other = bulk.beside(terms)
    free[other] = Free(free[other].size, free[other].mount, device)
    assert (room.lacking([turn], free, spares=False) is None) == enough
