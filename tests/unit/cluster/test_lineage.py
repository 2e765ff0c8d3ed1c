"""Only the lost cluster's lineage competes; the highest revision of it wins, our own bumps subtracted."""

from __future__ import annotations

import base64
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from requorum.cluster import lineage
from requorum.cluster.lineage import Lineage
from requorum.command import Command, Result
from requorum.run import history
from requorum.run.history import Birth
from requorum.run.marker import Phase
from requorum.snapshots import family, ranking
from requorum.snapshots.bolt import Member
from requorum.snapshots.family import Family
from requorum.snapshots.ranking import Candidate
from requorum.snapshots.snapshot import Source
from tests.unit.build import understood

OURS = Lineage("prod-1", 0xA1)
OTHER = Lineage("staging-1", 0xB2)
BUMP = 1_000_000_000
# A head of a WAL and the cluster IDs, tokens and peer URLs beside it: measured on etcd 3.5.16.
WAL = """04000000000000840804100000000000200000000000000008011 0c6bfef9b0b1a1608fc97d69de7e0d28de70110f389
b1f5fff7b39c8a010e00000000000082"""
MEASURED = 9959938999448257779
MEMBERS = [
    Member(5620752190837648690, "etcd-3", ("https://10.89.37.13:2380",)),
    Member(6647847241077095058, "etcd-2", ("https://10.89.37.12:2380",)),
    Member(16652986538215705596, "etcd-1", ("https://10.89.37.11:2380",)),
]
TOKEN = "lab-20261123t051651"


def source(revision: int, of: Lineage | None = OURS, kind: str = "file", bumps: int = 0, taken: str = "1") -> Source:
    return Source(kind, None, f"/backups/{kind}-{revision}.snap", "00", 544, taken, revision, 1, of, bumps)


def candidate(revision: int, of: Lineage | None = OURS, kind: str = "file", bumps: int = 0) -> Candidate:
    return ranking.of(source(revision, of, kind, bumps))


def birth(token: str, phase: Phase, parent: Lineage | None = OURS, bumps: int = BUMP) -> Birth:
    return Birth(token, f"run-{token}", phase, "00", parent, bumps)


# -- what etcd itself says ---------------------------------------------------------------------------------------


def test_the_cluster_id_is_read_from_a_real_wal() -> None:
    raw = bytes.fromhex("".join(WAL.split()))
    head = base64.b64encode(raw).decode()
    assert lineage._read_wal(head)[1] == MEASURED
    assert lineage.of_member(Result(Command("h", (), ""), 0, head, "", 0.0)) not in (None, MEASURED)


@pytest.mark.parametrize("kept", ["", "wal"])
def test_the_log_is_read_where_it_is(tmp_path: Path, kept: str) -> None:
    data, place = tmp_path / "data", tmp_path / (kept or "data/member/wal")
    place.mkdir(parents=True)
    (place / "0.wal").write_bytes(bytes.fromhex("".join(WAL.split())))
    question = lineage.ask_wal("h", str(data), str(place) if kept else "")
    (command,) = question.commands
    done = subprocess.run(command.argv, capture_output=True, text=True, check=True)
    assert question.understand([Result(command, 0, done.stdout, "", 0.0)]) == MEASURED


@given(st.binary(max_size=300))
def test_a_damaged_wal_gives_a_number_or_nothing_and_never_an_error(raw: bytes) -> None:
    found = lineage._read_wal(base64.b64encode(raw).decode())
    assert all(part is None or isinstance(part, int) for part in found)


def test_member_and_cluster_ids_are_etcds_own() -> None:
    assert [lineage.member_id(m.peer_urls, TOKEN) for m in MEMBERS] == [m.id for m in MEMBERS]
    assert lineage.cluster_id(m.id for m in MEMBERS) == MEASURED


def test_a_snapshot_without_a_manifest_is_told_by_its_members() -> None:
    ours = Lineage(TOKEN, None)
    assert family.of_members(MEMBERS, [OTHER, ours]) == ours
    assert family.of_members(MEMBERS, [OTHER]) == Lineage(None, MEASURED)
    assert family.of_members([], [ours]) is None


def test_one_member_that_was_replaced_since_changes_nothing() -> None:
    replaced = [replace(MEMBERS[0], id=7), *MEMBERS[1:]]
    assert family.of_members(replaced, [Lineage(TOKEN, MEASURED)]) == Lineage(TOKEN, MEASURED)


def test_a_birth_survives_being_written_and_read() -> None:
    parent = Lineage("ours\x1b[2J of old", 161)  # somebody else's token is compared and shown, and no more
    born = replace(birth("prod-2", Phase.POWERING_ON, parent), run="20260101t000000z-abcdef")
    content = history.write_birth("etcd-1", "prod", born).stdin
    assert content is not None
    said = content.decode()
    others = said.replace("abcdef", "../../etc") + said.replace("prod-2", "prod 2") + said.replace('"00"', '"/x"')
    assert understood(history.ask_births("etcd-1", "lab"), f"not JSON\n{said}{others}{{}}\n") == (born,)
    assert str(parent) == "ours?[2J of old a1"


# -- which cluster was lost --------------------------------------------------------------------------------------


def test_wiped_members_vote_with_their_configuration() -> None:
    found = family.family_of({"a": OURS, "b": Lineage("prod-1"), "c": Lineage("prod-1")}, {})
    assert found.lost == OURS


def test_members_that_contradict_each_other_equally_tell_nothing() -> None:
    assert family.family_of({"a": OURS, "b": OTHER}, {}).lost is None


def test_a_failed_runs_cluster_counts_as_the_one_it_was_restored_from() -> None:
    births = {"prod-2": birth("prod-2", Phase.STOPPING)}
    found = family.family_of(dict.fromkeys("abc", Lineage("prod-2", 0xC3)), births)
    assert found.line == (OURS,)
    assert found.is_unborn(Lineage("prod-2", 0xC3))


def test_a_recovered_cluster_remembers_what_it_was_restored_from() -> None:
    births = {"prod-2": birth("prod-2", Phase.DONE), "prod-3": birth("prod-3", Phase.DONE, Lineage("prod-2"), 2 * BUMP)}
    found = family.family_of(dict.fromkeys("abc", Lineage("prod-3", 0xC3)), births)
    assert found.line == (Lineage("prod-3", 0xC3), Lineage("prod-2"), OURS)
    assert found.bump(Lineage("prod-3")) == 2 * BUMP


@pytest.mark.parametrize(
    ("told", "derived", "whole"),
    [
        (Lineage(None, 0xA1), None, OURS),
        (Lineage(None, 5), Lineage("failed"), Lineage("failed", 5)),
        (Lineage(), OTHER, OTHER),
        (Lineage(None, 5), OTHER, Lineage(None, 5)),
        (Lineage(None, 5), Lineage(None, 6), Lineage(None, 5)),
        (OTHER, OURS, OTHER),
    ],
)
def test_a_lineage_is_completed_by_ours_or_by_what_the_members_prove(
    told: Lineage, derived: Lineage | None, whole: Lineage
) -> None:
    assert Family((OURS,)).completed(told, derived) == whole


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.sampled_from(Phase)), max_size=8))
def test_births_in_a_circle_end_too(found: list[tuple[int, int, Phase]]) -> None:
    births = {f"t{own}": birth(f"t{own}", phase, Lineage(f"t{parent}")) for own, parent, phase in found}
    line = family.family_of({"a": Lineage("t0"), "b": Lineage("t0")}, births).line
    assert len(line) == len(set(line))


# -- which source is chosen --------------------------------------------------------------------------------------

FAMILY = Family((OURS, Lineage("prod-0")), (Lineage("prod-2"),), (("prod-1", BUMP), ("prod-2", 2 * BUMP)))

lineages = st.sampled_from([OURS, Lineage("prod-1"), Lineage("prod-0"), OTHER, Lineage("prod-2"), Lineage(), None])
candidates = st.lists(
    st.builds(
        lambda revision, of, kind, bad: (
            replace(candidate(revision, of, kind), problem="cut off", source=None, hash="bad")
            if bad
            else candidate(revision, of, kind)
        ),
        st.integers(0, 10**10),
        lineages,
        st.sampled_from(["file", "survivor", "on-disk", "salvage"]),
        st.booleans(),
    ),
    max_size=12,
)


@given(candidates)
def test_nothing_foreign_bad_or_of_a_last_resort_is_ever_chosen_by_itself(found: list[Candidate]) -> None:
    chosen, rows = ranking.rank(found, FAMILY)
    assert len(rows) == len(found)
    if chosen is None:
        return
    assert chosen.problem is None
    assert chosen.kind != "on-disk"
    assert chosen.lineage is not None
    assert FAMILY.generation(chosen.lineage) is not None
    assert not FAMILY.is_unborn(chosen.lineage)


@given(candidates)
def test_one_is_chosen_wherever_one_may_be(found: list[Candidate]) -> None:
    chosen, _ = ranking.rank(found, FAMILY)
    possible = [
        c for c in found if c.source and c.kind != "on-disk" and c.lineage and FAMILY.generation(c.lineage) is not None
    ]
    assert (chosen is None) == (not possible)


@given(candidates)
def test_every_row_says_why_and_exactly_one_is_chosen_and_stands_first(found: list[Candidate]) -> None:
    chosen, rows = ranking.rank(found, FAMILY)
    assert all(row.verdict for row in rows)
    assert [row.verdict.startswith("chosen") for row in rows].count(True) == (chosen is not None)
    assert chosen is None or rows[0] == chosen


@given(candidates, st.randoms(use_true_random=False))
def test_the_order_of_what_was_found_does_not_matter(found: list[Candidate], random: object) -> None:
    shuffled = list(found)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    first, second = ranking.rank(found, FAMILY)[0], ranking.rank(shuffled, FAMILY)[0]
    assert (first and (first.kind, first.own_revision)) == (second and (second.kind, second.own_revision))


@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=10))
def test_among_backups_of_one_lineage_the_highest_revision_wins(revisions: list[int]) -> None:
    chosen, _ = ranking.rank([candidate(r) for r in revisions], FAMILY)
    assert chosen is not None
    assert chosen.revision == max(revisions)


@given(st.integers(1, 10**6), st.integers(1, 10**6))
def test_our_own_bumps_do_not_count(plain: int, bumped: int) -> None:
    assume(plain != bumped)
    chosen, _ = ranking.rank([candidate(plain), candidate(bumped + BUMP, bumps=BUMP)], FAMILY)
    assert chosen is not None
    assert chosen.own_revision == max(plain, bumped)


def test_a_backup_of_the_recovered_cluster_beats_one_of_its_ancestor_at_a_higher_revision() -> None:
    own, before = candidate(900 + BUMP, OURS, bumps=BUMP), candidate(1000, Lineage("prod-0"))
    chosen, rows = ranking.rank([before, own], FAMILY)
    assert chosen is not None
    assert chosen.path == own.path
    assert "went on" in rows[1].verdict


def test_salvage_beats_a_backup_that_holds_as_much() -> None:
    chosen, rows = ranking.rank([candidate(10), candidate(10, kind="salvage")], FAMILY)
    assert chosen is not None
    assert chosen.kind == "salvage"
    assert "salvage" in rows[1].verdict


def test_salvage_that_ends_before_a_backup_of_the_same_cluster_gives_way_to_it() -> None:
    chosen, rows = ranking.rank([candidate(11), candidate(10, kind="salvage")], FAMILY)
    assert chosen is not None
    assert chosen.kind == "file"
    assert rows[1].verdict == "the survivors' data ends at revision 10, before the file at 11"


@pytest.mark.parametrize("of", [Lineage("prod-0"), OTHER])
def test_salvage_does_not_give_way_to_another_clusters_revisions(of: Lineage) -> None:
    chosen, _ = ranking.rank([candidate(2000, of), candidate(10, kind="salvage")], FAMILY)
    assert chosen is not None
    assert chosen.kind == "salvage"


def test_the_inventorys_file_stands_before_other_backups_and_not_before_salvage() -> None:
    listed = replace(candidate(5), named=ranking.IN_INVENTORY)
    chosen, rows = ranking.rank([candidate(7), listed], FAMILY)
    assert chosen is not None
    assert (chosen.path, chosen.verdict) == (listed.path, "chosen: named in the inventory")
    assert rows[1].verdict == "another one was named"
    chosen, rows = ranking.rank([candidate(7), listed, candidate(9, kind="salvage")], FAMILY)
    assert chosen is not None
    assert chosen.kind == "salvage"


def said(revision: int) -> Candidate:
    """A database from a disk, which the operator allowed with --skip-hash."""
    return replace(candidate(revision, kind="on-disk"), named=ranking.BY_YOU, taken="2")  # later than all else


@pytest.mark.parametrize(
    ("others", "wins"),
    [
        ([], "on-disk"),
        ([candidate(9)], "on-disk"),
        ([candidate(10)], "file"),
        ([candidate(9), candidate(1, kind="salvage")], "on-disk"),
        ([candidate(11, kind="salvage")], "salvage"),
        ([replace(candidate(9), named=ranking.IN_INVENTORY)], "on-disk"),
    ],
)
def test_a_database_without_a_hash_wins_only_where_it_was_allowed_and_holds_most(
    others: list[Candidate], wins: str
) -> None:
    chosen, rows = ranking.rank([*others, said(10)], FAMILY)
    assert chosen is not None
    assert chosen.kind == wins
    assert next(row.hash for row in rows if row.kind == "on-disk") == "none"


@pytest.mark.parametrize("of", [OTHER, Lineage("prod-2"), Lineage(), None])
def test_what_is_named_is_used_whatever_it_is(of: Lineage | None) -> None:
    named = replace(candidate(1, of), named=ranking.BY_YOU)
    chosen, rows = ranking.rank([candidate(5), named, candidate(9, kind="salvage")], FAMILY)
    assert chosen is not None
    assert chosen.path == named.path
    assert chosen.verdict == "chosen: named by you"
    assert {row.verdict for row in rows[1:]} == {"another one was named"}


def test_a_named_file_that_is_bad_is_not_replaced_by_another() -> None:
    bad = replace(candidate(1), named=ranking.BY_YOU, problem="is empty", source=None, hash="bad")
    chosen, _ = ranking.rank([bad, candidate(5)], FAMILY)
    assert chosen is None


def test_where_no_host_tells_what_was_lost_a_single_lineage_is_used_and_two_are_not() -> None:
    nothing = Family()
    chosen, _ = ranking.rank([candidate(5), candidate(7)], nothing)
    assert chosen is not None
    assert chosen.revision == 7
    chosen, rows = ranking.rank([candidate(5), candidate(7, OTHER)], nothing)
    assert chosen is None
    assert all("several" in row.verdict for row in rows)


def test_a_failed_runs_data_is_not_used_either_where_no_host_tells_what_was_lost() -> None:
    chosen, rows = ranking.rank([candidate(5), candidate(7 + BUMP, Lineage("prod-2"))], Family((), FAMILY.unborn))
    assert chosen is not None
    assert chosen.revision == 5
    assert "earlier run that failed" in rows[1].verdict
