"""Which copies are started after which answers, and what is said to have come of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

import pytest

from requorum.cluster import sandbox
from requorum.cluster.lineage import Lineage, cluster_id, member_id
from requorum.cluster.sandbox import Answers
from requorum.command import Command, Result
from requorum.snapshots import attempts, on_host, ranking, survivors
from requorum.snapshots.attempts import Attempt, Copies
from requorum.snapshots.snapshot import Fingerprint, Source
from requorum.snapshots.survivors import Salvaged, Survivor
from tests.unit.snapshots.test_survivors import known_members, survivor, terms

CONFIGURED = known_members(3)
ONE, TWO = survivor(1), survivor(2)
COPIES = Copies((TWO, ONE), (("etcd-1", 5), ("etcd-2", 9)), ())
NOTHING = Salvaged(None, members=3, hosts=("etcd-1", "etcd-2"))
GOOD = Answers(hashes={"a": (9, 1), "b": (9, 1)}, saved=True)
TORN = Answers(failed="the copy of etcd-2 ended: crc", died=("etcd-2", "crc"))
SLOW = Answers(failed="no leader within 60 s", hindered=True)
REFUSED = Answers(failed="nothing can be read: context deadline exceeded")
WHY = "error validating peerURLs"
TURNED_AWAY = Answers(failed=f"the copy of etcd-3 ended: {WHY}", died=("etcd-3", WHY))  # a stand-in
KILLED = Answers(failed="the copy of etcd-3 ended: x", died=("etcd-2", "no reason in its log"))
WAITED = Answers(failed="the copy of etcd-3 ended: x", died=("etcd-3", "could not get cluster response"))


def run(copies: Copies, *answers: Answers, accepted: tuple[str, ...] = ()) -> tuple[list[Attempt], Salvaged]:
    """The attempts that follow when these are the answers, one after the other, and what came of them."""
    given = list(answers)
    tried: list[tuple[Attempt, Answers]] = []
    while (attempt := attempts.following(copies, CONFIGURED, tried, accepted)) is not None:
        tried.append((attempt, given.pop(0)))
    assert not given, "every answer was asked for"
    return [attempt for attempt, _ in tried], attempts.outcome(NOTHING, copies, tried)


def test_all_sound_copies_start_together_and_a_good_answer_ends_it() -> None:
    (only,), found = run(COPIES, GOOD)
    assert (only.names, only.members, only.force) == (("etcd-2", "etcd-1"), CONFIGURED, False)
    assert (found.how, found.survivors, found.failed) == ("together", ("etcd-2", "etcd-1"), "")
    assert found.on_disk == 9


def test_a_copy_that_does_not_start_is_left_out_and_the_rest_tried_again() -> None:
    (_, second), found = run(COPIES, TORN, GOOD)
    assert second.names == ("etcd-1",)
    assert "it is left out" in second.why
    assert (found.how, found.survivors) == ("together", ("etcd-1",))


BEGUN = replace(ONE, cluster_id=cluster_id(member_id([url], "lost") for url in CONFIGURED.values()))
AS_IT_BEGAN = Copies((replace(BEGUN, data=replace(BEGUN.data, snaps=("db",))),), (("etcd-1", 5),), ())


def test_where_the_cluster_is_as_it_began_the_stand_ins_begin_ahead() -> None:
    (only,), found = run(AS_IT_BEGAN, GOOD)
    assert only.ahead and "as it began" in only.why
    assert (found.how, found.survivors, found.failed) == ("together", ("etcd-1",), "")
    (stand_in,) = [boot for boot in attempts.boots(terms(), only) if boot.stand_in]
    assert stand_in.ahead


def test_where_it_was_restored_with_its_members_they_do_too_and_it_is_said() -> None:
    (begun,) = AS_IT_BEGAN.sound
    data = replace(begun.data, snaps=("db", "0000000000000001-0000000000000003.snap"))
    (only,), found = run(replace(AS_IT_BEGAN, sound=(replace(begun, data=data),)), GOOD)
    assert only.ahead and "was restored with these members" in only.why and not found.failed
    (stand_in,) = [boot for boot in attempts.boots(terms(), only) if boot.stand_in]
    assert stand_in.turn == "votes"


@pytest.mark.parametrize(
    "first", [SLOW, REFUSED, TURNED_AWAY, TORN, Answers(hashes={"a": (9, 1), "b": (8, 1)}, saved=True)]
)
def test_whatever_fails_then_is_tried_again_with_stand_ins_that_join(first: Answers) -> None:
    (_, second), found = run(AS_IT_BEGAN, first, GOOD)
    assert (second.names, second.members, second.ahead, second.force) == (("etcd-1",), CONFIGURED, False, False)
    assert "fresh copies are started, and the stand-ins join them" in second.why
    assert (found.how, found.survivors, found.failed, found.could_not) == ("together", ("etcd-1",), "", ())


def test_what_fails_both_ways_has_failed_as_if_it_had_only_joined() -> None:
    joining = replace(AS_IT_BEGAN, sound=(ONE,))
    for last in (SLOW, REFUSED, TURNED_AWAY):
        (_, alone), (_, both) = run(joining, last), run(AS_IT_BEGAN, SLOW, last)
        assert (both.failed, both.mend, both.could_be_forced) == (alone.failed, alone.mend, alone.could_be_forced)


WORD = ("etcd-2",)


def test_no_copy_is_forced_without_the_operators_word_which_is_asked_for_only_where_it_may_do() -> None:
    for last, host in ((TURNED_AWAY, "etcd-2"), (SLOW, ""), (WAITED, ""), (REFUSED, "")):
        tried, found = run(COPIES, last)
        assert len(tried) == 1 and found.failed
        assert found.could_be_forced == host


def test_one_copy_is_forced_only_where_an_etcd_ended_by_itself() -> None:
    (_, forced), found = run(COPIES, TURNED_AWAY, GOOD, accepted=WORD)
    assert (forced.names, forced.force) == (("etcd-2",), True)
    assert "one copy is forced" in forced.why
    assert (found.how, found.survivors) == ("alone", ("etcd-2",))


def test_nothing_is_tried_after_the_forced_copy_and_both_reasons_are_kept() -> None:
    _, found = run(COPIES, TURNED_AWAY, Answers(failed="no space"), accepted=WORD)
    assert found.failed == f"the copy of etcd-3 ended: {WHY}; alone: no space"
    assert found.source is None


@pytest.mark.parametrize(
    "last",
    [
        SLOW,
        REFUSED,
        Answers(failed="it ended early", hindered=True),
        Answers(failed="what is written is not kept: mvcc: database space exceeded", saved=True),
        Answers(hashes={"a": (9, 1), "b": (8, 1)}),
        WAITED,
    ],
)
@pytest.mark.parametrize("before", [(), (TORN,)])
def test_no_copy_is_forced_after_what_was_slow_refused_or_said_nothing_of_the_data(
    before: tuple[Answers, ...], last: Answers
) -> None:
    tried, found = run(COPIES, *before, last, accepted=("etcd-1", "etcd-2"))
    assert found.failed and found.source is None
    assert not any(attempt.force for attempt in tried)


@pytest.mark.parametrize("copies", [COPIES, Copies((TWO,), (("etcd-2", 9),), ())])
def test_a_copy_that_ended_for_want_of_room_is_neither_left_out_nor_forced(copies: Copies) -> None:
    full = "no space left on device"
    tried, found = run(
        copies, Answers(failed=f"the copy of etcd-2 ended: {full}", hindered=True, died=("etcd-2", full))
    )
    assert len(tried) == 1 and found.mend == attempts.MEND


def test_no_copy_is_forced_whose_disk_gave_no_page() -> None:
    """Its etcd has the file mapped: that ends it with these words, forced or not."""
    why = "[signal SIGBUS: bus error code=0x2 addr=0x7f2e04338000 pc=0xa0af8a]"
    alone = Copies((TWO,), (("etcd-2", 9),), ())
    ended = Answers(failed=f"the copy of etcd-2 ended: {why}", died=("etcd-2", why))
    tried, found = run(alone, ended, accepted=WORD)
    assert not any(attempt.force for attempt in tried) and found.could_be_forced == ""
    both, found = run(COPIES, ended, GOOD)
    assert [attempt.names for attempt in both] == [("etcd-2", "etcd-1"), ("etcd-1",)]
    assert [host for host, said in found.could_not if why in said] == ["etcd-2"]


def test_no_copy_is_forced_that_was_killed_and_left_no_reason() -> None:
    alone = Copies((TWO,), (("etcd-2", 9),), ())
    tried, found = run(alone, KILLED, accepted=WORD)
    assert found.failed and not any(attempt.force for attempt in tried)


@pytest.mark.parametrize(("last", "mendable"), [(SLOW, True), (REFUSED, False)])
def test_where_it_was_hindered_the_host_is_what_is_to_be_mended(last: Answers, mendable: bool) -> None:
    _, found = run(COPIES, last)
    assert (found.mend == attempts.MEND) == mendable


def answered(code: int, said: str, out: str = "") -> Result:
    return Result(Command("etcd-1", ("etcdutl",), ""), code, out, said, 0.0)


SOUND = answered(0, "", '{"revision": 9, "totalKey": 1}')


def judged(said: Mapping[Survivor, Result]) -> Copies:
    question = on_host.ask_status("etcd-1", "/db")
    return attempts.judge(list(said), {one.host: question.understand([answer]) for one, answer in said.items()})


@pytest.mark.parametrize(
    ("code", "said"), [(127, "sh: etcdutl: not found"), (124, ""), (1, "sudo: a password is required")]
)
@pytest.mark.parametrize("others", [[], [SOUND]])
def test_a_database_that_nobody_could_look_at_is_not_called_damaged_and_nothing_is_tried_without_it(
    code: int, said: str, others: list[Result]
) -> None:
    tried, found = run(judged(dict(zip([ONE, TWO], [answered(code, said), *others], strict=False))))
    assert tried == []
    assert "the database of etcd-1 could not be looked at" in found.failed
    assert "damaged" not in found.failed
    assert found.mend == attempts.MEND


@pytest.mark.parametrize(("code", "said"), [(1, "sudo: unable to resolve host\npage 7 is bad"), (2, "panic: page 7")])
def test_a_damaged_database_is_left_out_and_said_to_be(code: int, said: str) -> None:
    (only,), found = run(judged({ONE: answered(code, said), TWO: SOUND}), GOOD)
    assert only.names == ("etcd-2",)
    ((host, why),) = found.could_not
    assert host == "etcd-1" and why.startswith("the database of etcd-1 is damaged: ")
    assert found.damaged == ("etcd-1",)


def test_a_copy_that_did_not_go_with_the_others_is_not_in_what_was_salvaged() -> None:
    _, found = run(COPIES, TORN, GOOD)
    assert found.could_not == (("etcd-2", "the copy of etcd-2 ended: crc"),)
    _, found = run(COPIES, TURNED_AWAY, GOOD, accepted=WORD)
    assert [host for host, _ in found.could_not] == ["etcd-1"], "one that is forced is alone"


@pytest.mark.parametrize(("ends", "short"), [(9, False), (10, False), (8, True)])
def test_a_salvage_that_ends_before_what_a_database_shows_has_failed_and_says_both_numbers(
    ends: int, short: bool
) -> None:
    _, found = run(COPIES, GOOD)
    saved = Source("salvage", "etcd-1", "/run/salvage.snap", "sha", 544, "now", ends, 1)
    measured = attempts.measured(found, saved)
    assert (measured.source is None) == short
    assert measured.failed == (
        "what was saved ends at revision 8, but the database of etcd-2 shows 9 as applied" if short else ""
    )


@pytest.mark.parametrize(
    "answers",
    [Answers(hashes={"a": (9, 1), "b": (8, 1)}), Answers(failed="nothing can be read: context deadline exceeded")],
)
def test_no_copy_is_forced_where_that_would_pick_blindly_or_fail_the_same_way(answers: Answers) -> None:
    (_,), found = run(COPIES, answers)
    assert found.failed


def test_the_data_is_right_about_the_members_once() -> None:
    told = (("etcd-1", "https://10.0.0.11:2380"), ("etcd-2", "https://10.0.0.99:2380"))
    moved = Answers(failed="no leader within 60 s", members=told, hindered=True)
    (_, second), found = run(COPIES, moved, moved)
    assert second.members == dict(told)
    assert found.failed == "no leader within 60 s"


def test_no_copy_is_started_where_no_database_hangs_together() -> None:
    tried, found = run(Copies((), (), (("etcd-1", "the database of etcd-1 is damaged: page 7"),)))
    assert tried == []
    assert found.failed == "the database of etcd-1 is damaged: page 7"


TOLD = Fingerprint(7, 3, 111, "3.5.16")
SECOND, FIRST = "http://127.0.0.1:20001", "http://127.0.0.1:20002"  # etcd-1 and etcd-2, in the order of names
TOLD_COPIES = Copies(COPIES.sound, COPIES.databases, (), TOLD)
SAME = GOOD.hashes


def test_a_value_that_rotted_on_every_survivor_is_noticed_by_what_the_backup_recorded() -> None:
    rotten = Answers(hashes=SAME, then={FIRST: (999, 3), SECOND: (999, 3)})
    (_,), found = run(TOLD_COPIES, rotten)
    assert found.failed == (
        "a value has rotted on disk: at revision 7 the data is not what the backup of then says; it is alike on all "
        "of these, so that their history may be another one, that began anew; --salvage=lost takes it nevertheless"
    )
    unlike = run(TOLD_COPIES, Answers(hashes=SAME, then={FIRST: (999, 3), SECOND: (998, 3)}))[1].failed
    assert unlike.startswith("a value has rotted") and "another one" not in unlike


def test_copies_listen_in_the_order_of_their_names() -> None:
    """What is answered by port is held against the copy that listens there."""
    boots = survivors.boots(COPIES.sound, CONFIGURED, terms().inventory.old_members)
    assert [boot.name for boot in boots][:2] == ["etcd-1", "etcd-2"]
    assert sorted(COPIES.sound, key=lambda s: s.name) != list(COPIES.sound)


def test_after_the_alarm_of_corruption_equal_hashes_count_where_they_are_a_majoritys_or_the_backups() -> None:
    alarmed = replace(GOOD, alarms=("CORRUPT",))
    assert run(COPIES, alarmed)[1].failed == ""
    one = Copies((ONE,), (("etcd-1", 5),), ())
    assert "the alarm CORRUPT" in run(one, alarmed)[1].failed
    told = replace(one, expected=TOLD)
    assert run(told, replace(alarmed, then={SECOND: (TOLD.hash, TOLD.compacted)}))[1].failed == ""
    assert "the alarm CORRUPT" in run(told, replace(alarmed, then={SECOND: (TOLD.hash, 5)}))[1].failed
    assert "the alarm CORRUPT" in run(told, alarmed)[1].failed


def test_hashes_of_copies_that_are_compacted_differently_are_not_compared() -> None:
    _, found = run(COPIES, Answers(hashes={"a": (9, 1), "b": (8, 2)}))
    assert "cannot be compared, since they are compacted differently" in found.failed


def test_the_survivor_whose_value_rotted_is_left_out() -> None:
    mixed = Answers(hashes={FIRST: (9, 1), SECOND: (8, 1)}, then={FIRST: (999, 3), SECOND: (111, 3)})
    (_, second), found = run(TOLD_COPIES, mixed, Answers(hashes=SAME, then={FIRST: (111, 3)}))
    assert second.names == ("etcd-1",)
    assert "etcd-2 is left out" in second.why
    assert (found.survivors, found.failed) == (("etcd-1",), "")


@pytest.mark.parametrize("then", [{FIRST: (111, 3), SECOND: (111, 3)}, {FIRST: (999, 5), SECOND: (999, 5)}, {}])
def test_data_that_was_compacted_since_or_never_got_there_cannot_tell(then: dict[str, tuple[int, int]]) -> None:
    (_,), found = run(TOLD_COPIES, Answers(hashes=SAME, then=then))
    assert found.failed == ""


@pytest.mark.parametrize(
    ("lineage", "version", "expected"),
    [
        (Lineage("lost"), "etcd Version: 3.5.16\nGit SHA: x\n", 20),
        (Lineage("lost"), "etcd Version: 3.5.1\n", None),
        (Lineage("other"), "etcd Version: 3.5.16\n", None),
    ],
)
def test_the_newest_backup_of_the_same_cluster_and_etcd_is_compared_with(
    lineage: Lineage, version: str, expected: int | None
) -> None:
    def backup(revision: int, told: bool = True) -> ranking.Candidate:
        fingerprint = Fingerprint(revision, 0, 1, "3.5.16") if told else None
        ours = Lineage("lost", 1)
        return ranking.of(Source("file", None, "/x", "0", 1, "now", revision, 1, ours, 0, fingerprint))

    found = attempts.expected([backup(10), backup(20), backup(30, told=False)], lineage, version)
    assert (found.revision if found else None) == expected


def test_each_copy_is_judged_by_its_own_database_and_the_most_advanced_stands_first() -> None:
    def answer(code: int, said: str) -> Result:
        return Result(Command("etcd-1", ("etcdutl",), ""), code, said, "", 0.0)

    status = [json.dumps({"revision": revision, "totalKey": 1}) for revision in (5, 9)]
    three = survivor(3)
    found = judged({ONE: answer(0, status[0]), three: answer(1, "page 7 is bad"), TWO: answer(0, status[1])})
    assert [copy.name for copy in found.sound] == ["etcd-2", "etcd-1"]
    assert found.databases == (("etcd-1", 5), ("etcd-2", 9))
    assert found.damage == (("etcd-3", "the database of etcd-3 is damaged: page 7 is bad"),)


def test_every_attempt_starts_from_fresh_copies() -> None:
    fresh = survivors.unpack(terms(), "etcd-1", (ONE,))
    plan = attempts.boot(terms(), "etcd-1", Attempt((ONE,), CONFIGURED), unpacked=fresh)
    assert plan[0].argv[:2] == ("systemctl", "stop")
    assert any("--extract" in command.argv for command in plan)
    assert plan[-1].argv[0] == "systemd-run"


@pytest.mark.parametrize("revision", [None, 7])
def test_the_hash_of_the_backups_revision_is_asked_for(revision: int | None) -> None:
    plan = attempts.boot(terms(), "etcd-1", Attempt((ONE,), CONFIGURED), revision)
    (program,) = [command.stdin for command in plan if command.stdin]
    assert sandbox.files_of(program.decode())["revision"] == ("7" if revision else "")


def test_data_that_was_forced_by_hand_once_is_no_majority_of_the_members_that_there_were() -> None:
    told = (("etcd-1", "https://10.0.0.11:2380"),)
    alone = Copies((ONE,), (("etcd-1", 5),), ())
    moved = Answers(failed="no leader within 60 s", members=told, hindered=True)
    (_, second), found = run(alone, moved, GOOD)
    assert second.members == dict(told)
    assert found.members == 3, "of the three that were lost"
