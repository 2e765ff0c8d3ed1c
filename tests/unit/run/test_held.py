"""Marks are held against the configuration server's: what is normal, what is old, what nobody follows unasked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise, product
from typing import cast

import pytest

from requorum.cluster.lineage import Lineage
from requorum.command import Command, Result
from requorum.evidence.journal import Journal
from requorum.hosts import kept
from requorum.hosts.fleet import Fleet, FleetError
from requorum.run import held, history, lock, marker
from requorum.run.accepted import Accepted
from requorum.run.held import Held
from requorum.run.history import Birth, Told
from requorum.run.marker import Marker, MarkerError, Phase, Undone
from requorum.run.run import Run
from requorum.run.terms import Options
from tests.unit import build

MINE, OLD, LATER = build.RUN, "20251201t000000z-0000aa", "20270101t000000z-0000bb"
BEGUN = [phase for phase in Phase if Phase.OPEN < phase < Phase.DONE]
# Who is there: 1, 3 and 5 members, the configuration server on one of them or apart.
SHAPES = [
    (server, hosts)
    for count in (1, 3, 5)
    for members in [[f"etcd-{n}" for n in range(1, count + 1)]]
    for server, hosts in (("etcd-1", [*members, "query-1"]), ("infra-1", [*members, "infra-1", "query-1"]))
]


def says(mark: Marker | None = None, undone: str = "", kept: str = "", births: tuple[Birth, ...] = ()) -> Told:
    return Told(mark, frozenset({kept} - {""}), frozenset({undone} - {""}), births)


def born(run: str, phase: Phase) -> Birth:
    return Birth(f"lab-{run}", run, phase, "ab", Lineage("parent", 1), 7)


def holding(server: Told, *others: Told, words: tuple[str, ...] = ()) -> Held:
    hosts = {f"etcd-{n}": told for n, told in enumerate(others, start=1)}
    return held.hold({"infra-1": server, **hosts}, "infra-1", Accepted(words))


def carried_on(found: Held) -> Marker | None:
    assert not found.foreign, found.foreign
    return marker.to_carry_on(found.marks, "prod", found.outlived)


# -- what happens to an honest cluster ---------------------------------------------------------------------------


def cuts(server: str, hosts: list[str], before: Marker | None, after: Marker) -> Iterator[dict[str, Told]]:
    """What hosts say where a runbook is killed between any two hosts' writes: the server's is the first of them."""
    others = [host for host in hosts if host != server]
    for written in range(len(hosts)):
        marked = [server, *others[:written]]
        yield {host: says(after if host in marked else before) for host in hosts}


def visited(told: dict[str, Told], server: str) -> Iterator[dict[str, Told]]:
    """One other host is as it was, was set up anew, is gone, or comes back with the mark of a run that is over."""
    known = {**told, server: replace(told[server], births=(born(OLD, Phase.DONE),))}
    for host in [host for host in told if host != server]:
        yield known
        yield {**known, host: says()}
        yield {name: of for name, of in known.items() if name != host}
        yield {**known, host: says(build.mark(Phase.POWERING_ON, OLD))}


@pytest.mark.parametrize(("server", "hosts"), SHAPES, ids=[f"{len(hosts)}-{server}" for server, hosts in SHAPES])
@pytest.mark.parametrize(("before", "after"), list(pairwise(Phase)))
def test_killed_between_any_two_writes_it_is_carried_on_as_the_configuration_server_says(
    server: str, hosts: list[str], before: Phase, after: Phase
) -> None:
    for told in cuts(server, hosts, build.mark(before), build.mark(after)):
        for seen in visited(told, server):
            found = held.hold(seen, server)
            expected = build.mark(after) if after < Phase.DONE else None
            assert carried_on(found) == expected, seen
            assert marker.to_roll_back(found.marks, found.outlived) == build.mark(after)


@pytest.mark.parametrize(("server", "hosts"), SHAPES, ids=[f"{len(hosts)}-{server}" for server, hosts in SHAPES])
def test_the_first_mark_of_a_run_overwrites_those_of_one_that_ended_host_by_host(server: str, hosts: list[str]) -> None:
    for over in (build.mark(Phase.DONE, OLD), build.mark(Phase.STARTED, OLD, undone=Undone.ROLLED_BACK), None):
        for told in cuts(server, hosts, over, build.mark(Phase.OPEN)):
            known = {host: replace(of, births=(born(OLD, Phase.DONE),)) for host, of in told.items()}
            assert carried_on(held.hold(known, server)) is None


@pytest.mark.parametrize(("server", "hosts"), SHAPES, ids=[f"{len(hosts)}-{server}" for server, hosts in SHAPES])
@pytest.mark.parametrize("phase", BEGUN)
def test_what_versions_left_that_wrote_everywhere_at_once_is_carried_on(
    server: str, hosts: list[str], phase: Phase
) -> None:
    """Any of the hosts may be one phase behind, the configuration server too: what comes after it has not begun."""
    before, after = build.mark(Phase(phase - 1)), build.mark(phase)
    for written in product((False, True), repeat=len(hosts)):
        told = {host: says(after if done else before) for host, done in zip(hosts, written, strict=True)}
        mark = carried_on(held.hold(told, server))
        assert (mark or before).phase in (before.phase, after.phase)
        assert mark is not None or phase is Phase.STOPPING, "only a run that changed nothing is left behind"


def test_a_configuration_server_that_lost_its_last_write_is_one_phase_behind_and_the_run_goes_on() -> None:
    behind = says(build.mark(Phase.OPEN))
    found = holding(behind, *[says(build.mark(Phase.STOPPING))] * 3)
    assert carried_on(found) == build.mark(Phase.STOPPING)


@pytest.mark.parametrize("undone", [Undone.BEGUN, Undone.SAVED, Undone.ROLLED_BACK])
def test_a_rollback_that_is_cut_between_writes_is_finished_or_over(undone: Undone) -> None:
    before, after = build.mark(Phase.STARTED, undone=Undone(undone - 1)), build.mark(Phase.STARTED, undone=undone)
    for told in cuts("infra-1", ["etcd-1", "etcd-2", "infra-1", "query-1"], before, after):
        found = held.hold(told, "infra-1")
        assert not found.foreign
        assert marker.to_roll_back(found.marks, found.outlived) == after


def test_a_machine_that_was_gone_during_a_rollback_is_still_owed_it() -> None:
    """Also once a later run, which changed nothing, has overwritten the other marks."""
    mark = build.mark(Phase.STARTED)
    for own in (replace(mark, undone=Undone.ROLLED_BACK), build.mark(Phase.OPEN, LATER)):
        found = holding(says(own, undone=MINE), says(own, undone=MINE), says(mark))
        assert not found.foreign
        assert marker.left_behind(found.marks, found.outlived)[1] == ("etcd-2",)


# -- one that lies -----------------------------------------------------------------------------------------------

LIES = {
    "another run": build.mark(Phase.STOPPING, LATER),
    "another run, as old as may be": build.mark(Phase.POWERING_ON, "20000101t000000z-0000aa"),
    "another token": replace(build.mark(Phase.STOPPING), token="live"),
    "other members": build.mark(Phase.STOPPING, members="etcd-1=evil/10.6.6.6"),
    "two phases further": build.mark(Phase.POWERING_ON),
    "a rollback that has saved": build.mark(Phase.STOPPING, undone=Undone.SAVED),
}


@pytest.mark.parametrize("lie", LIES.values(), ids=list(LIES))
def test_a_mark_that_only_another_host_has_is_followed_by_nobody_and_is_named_with_the_ways_out(lie: Marker) -> None:
    own = build.mark(Phase.STOPPING)
    found = holding(says(own), says(own), says(lie), says(own))
    error = held.refusal(found, build.inventory(), Accepted(("backup",)))
    assert isinstance(error, MarkerError) and error.where == "etcd-2"
    assert f"etcd-2 says that ops@desk began run {lie.run} on {lie.began:%Y-%m-%d}" in error.what
    assert error.what.endswith(f"; infra-1 says run {MINE}, stopping")
    assert error.remedy.startswith(
        "ask ops@desk whether that was begun; where nobody began it, move the mark away: ssh"
    )
    path = "/var/lib/requorum/lab/run.json"
    assert f"sudo -n timeout -k 5 60 mv --backup=numbered -T {path} {path}.{lie.run}" in error.remedy
    assert ("mark:" in error.remedy) is (lie.run != MINE), "where the server has that run a word does nothing"
    assert lie.run == MINE or f"--accept=backup,mark:{lie.run}" in error.remedy


def test_of_a_host_that_alone_has_a_mark_the_configuration_server_is_said_to_know_of_none() -> None:
    lie = build.mark(Phase.STOPPING, LATER, by="eve; ssh infra-1 sudo rm -rf /")
    error = held.refusal(holding(says(), says(), says(lie), says()), build.inventory())
    assert error is not None and error.what.endswith("; infra-1 knows of no run that is unfinished")
    assert "that it had begun to stop things" in error.what
    assert "rm -rf" not in error.remedy and error.remedy.startswith("ask whoever works on this cluster whether")


UNREAD = MarkerError("etcd-2", "the mark of a run at /var/lib/requorum/…/run.json is empty", "")
MOVED = "mv --backup=numbered -T /var/lib/requorum/lab/run.json /var/lib/requorum/lab/run.json.unread"


def test_a_mark_that_cannot_be_read_is_moved_aside_by_the_line_that_is_printed_for_that_very_host() -> None:
    inventory = build.inventory()
    assert held.unread({"infra-1": says(), "etcd-1": says(build.mark())}, inventory) is None
    error = held.unread(
        {"infra-1": says(build.mark()), "etcd-2": Told(UNREAD, frozenset(), frozenset(), ())}, inventory
    )
    assert error is not None and error.where == "etcd-2" and UNREAD.what in error.what
    assert lock.by_hand(inventory, "etcd-2", *MOVED.split()) in error.remedy and "nothing is deleted" in error.remedy
    assert "infra-1" not in error.what and "--accept" not in error.remedy


@pytest.mark.parametrize(
    ("others", "whose", "word"),
    [
        (
            [says(build.mark(Phase.STOPPING)), says()],
            f"run {MINE} of ops@desk (etcd-1: stopping)",
            f"mark:{MINE}",
        ),
        ([says(build.mark(Phase.DONE)), says()], f"run {MINE} of ops@desk (etcd-1: done)", ""),
        ([says(), says()], "no other host has the mark of a run", ""),
    ],
    ids=["unfinished", "over", "unknown"],
)
def test_of_one_on_the_configuration_server_is_said_whose_it_may_be(others: list[Told], whose: str, word: str) -> None:
    told = {"infra-1": Told(UNREAD, frozenset(), frozenset(), ())}
    told |= {f"etcd-{n}": one for n, one in enumerate(others, start=1)}
    error = held.unread(told, build.inventory(), Accepted(("backup",)))
    assert error is not None and error.where == "infra-1" and whose in error.what
    assert (f"--accept=backup,{word}" in error.remedy) if word else ("--accept" not in error.remedy)


def test_one_hosts_planted_mark_of_the_living_clusters_run_stops_before_anything_is_touched() -> None:
    """H2: `run.json` on a query host, with the live token, steered a whole recovery."""
    planted = replace(build.mark(Phase.STOPPING, LATER), token="live")
    over = says(build.mark(Phase.DONE, OLD), births=(born(OLD, Phase.DONE),))
    for server in (over, says()):
        found = holding(server, over, over, says(planted))
        assert list(found.foreign) == ["etcd-3"]
        assert found.newest != LATER, "nor does it put off what later runs are called"


@pytest.mark.parametrize("own", [build.mark(Phase.OPEN), build.mark(Phase.DONE), build.mark(undone=Undone.ROLLED_BACK)])
def test_of_a_run_that_is_over_or_changed_nothing_whatever_a_host_claims_is_old_and_said(own: Marker) -> None:
    for claimed in (build.mark(Phase.POWERING_ON), build.mark(Phase.STARTED, undone=Undone.SAVED)):
        found = holding(says(own), says(claimed), says(own))
        assert carried_on(found) is None
        assert not claimed.phase > own.phase + 1 or [note for note in found.notes() if MINE in note]


def test_what_one_host_notes_of_runs_ends_none_and_closes_none() -> None:
    own = build.mark(Phase.STARTED)
    liar = says(own, undone=MINE, births=(born(MINE, Phase.DONE), born(LATER, Phase.DONE)))
    found = holding(says(own), liar, says(own))
    assert carried_on(found) == own
    assert not held.outlived({"infra-1": says(own), "query-1": liar, "etcd-1": says(own)}, "infra-1").reached


def test_a_majority_knows_it_too() -> None:
    over = says(None, births=(born(OLD, Phase.DONE),))
    found = holding(says(), over, over, says(build.mark(Phase.STARTED, OLD), births=(born(OLD, Phase.DONE),)))
    assert carried_on(found) is None and list(found.old) == ["etcd-3"]


# -- the operator's word -----------------------------------------------------------------------------------------


def test_where_the_configuration_server_was_replaced_the_word_names_the_run_that_is_followed() -> None:
    mark = build.mark(Phase.STARTED)
    over = says(build.mark(Phase.DONE, OLD))
    for server in (says(), over):  # set up anew, or from an old image
        others = [says(mark), says(build.mark(Phase.STOPPING)), says(mark)]
        assert holding(server, *others).foreign
        assert carried_on(holding(server, *others, words=(f"mark:{MINE}",))) == mark


def test_a_word_is_not_needed_where_the_configuration_server_has_that_run() -> None:
    own, liar = build.mark(Phase.STOPPING), build.mark(Phase.POWERING_ON)
    assert holding(says(own), says(liar), words=(f"mark:{MINE}",)).foreign
    assert carried_on(holding(says(own), says(own), words=(f"mark:{LATER}",))) == own


# -- the order of runs -------------------------------------------------------------------------------------------


def test_a_closed_run_of_the_future_hides_no_unfinished_one() -> None:
    """D17: the operator's clock was ahead, and is right now."""
    future = born(LATER, Phase.DONE)
    own = says(build.mark(Phase.STOPPING), births=(future,), undone=LATER)
    found = holding(own, own, says(build.mark(Phase.DONE, LATER)))
    assert carried_on(found) == build.mark(Phase.STOPPING)
    assert found.newest == LATER


# -- births ------------------------------------------------------------------------------------------------------


def test_a_birth_is_what_the_configuration_server_or_a_majority_has_noted() -> None:
    """H4: one birth.json on any host outvoted all disks."""
    real, lie = born(MINE, Phase.DONE), born(LATER, Phase.DONE)
    assert held.births({"infra-1": [], "a": [lie], "b": [], "c": []}, "infra-1") == {}
    assert held.births({"infra-1": [lie], "a": [], "b": []}, "infra-1") == {lie.token: lie}
    assert held.births({"infra-1": [], "a": [real], "b": [real], "c": [real]}, "infra-1") == {real.token: real}
    raised = held.births({"infra-1": [born(MINE, Phase.STARTED)], "a": [real], "b": []}, "infra-1")
    assert raised[real.token].phase is Phase.STARTED, "how far it got no host raises alone"
    bent = replace(real, bumps=10**12, parent=Lineage("evil", 6))
    assert held.births({"infra-1": [real], "a": [bent], "b": [bent], "c": [bent]}, "infra-1") == {real.token: real}


# -- how it is written -------------------------------------------------------------------------------------------


def unstarted(monkeypatch: pytest.MonkeyPatch) -> tuple[Run, list[list[Command]]]:
    """A run that is asked nothing, and the plans that it is told to carry out."""
    run = Run(build.inventory(), Options(operator="ops@desk"), cast(Journal, None), cast(Fleet, None))
    done: list[list[Command]] = []
    monkeypatch.setattr(run, "note", lambda text: None)
    monkeypatch.setattr(run, "do", lambda plan, bookkeeping: done.append(list(plan)))
    return run, done


def test_it_is_written_on_the_configuration_server_before_any_other_host(monkeypatch: pytest.MonkeyPatch) -> None:
    run, done = unstarted(monkeypatch)
    run.advance(replace(run.mark, phase=Phase.STOPPING), born(run.mark.run, Phase.STOPPING))
    run.remark(run.mark)
    run.remark(run.mark, ["query-1"])
    for (first,), others in (done[:2], done[2:4]):
        assert first.host == "infra-1" and first.argv[2] in kept.FLUSHED
        assert {command.host for command in others} == set(run.terms.everyone) - {"infra-1"}
        assert {command.stdin for command in others} == {first.stdin}
    assert [[command.host for command in plan] for plan in done[4:]] == [["query-1"]]


def test_what_this_process_has_made_and_noted_already_it_does_not_make_again(monkeypatch: pytest.MonkeyPatch) -> None:
    run, done = unstarted(monkeypatch)
    birth = born(run.mark.run, Phase.STOPPING)
    for phase, noted in ((Phase.STOPPING, birth), (Phase.STOPPING, birth), (Phase.STARTED, replace(birth, bumps=9))):
        run.advance(replace(run.mark, phase=phase), noted)
    texts = [command.argv[2] for plan in done for command in plan if command.host == "query-1"]
    assert texts == [kept.PLACED.two, kept.PLAIN.one, kept.PLAIN.two]
    mark, note = marker.path("lab"), f"{marker.directory('lab', run.mark.run)}/birth.json"
    assert [kept.targets(first.argv) for (first,) in done[::2]] == [(mark, note), (mark,), (mark, note)]
    (last,) = done[4]
    assert build.understood(history.ask_births("infra-1", "lab"), (last.stdin or b"").decode()) == (
        replace(birth, bumps=9),
    ), "a mark's line is no birth"


def test_what_could_not_be_noted_is_noted_again(monkeypatch: pytest.MonkeyPatch) -> None:
    run, done = unstarted(monkeypatch)
    birth, do = born(run.mark.run, Phase.STOPPING), run.do

    def fails(plan: Sequence[Command], bookkeeping: bool) -> list[Result]:
        raise FleetError("query-1", "failed", "look there")

    monkeypatch.setattr(run, "do", fails)
    with pytest.raises(FleetError):
        run.advance(run.mark, birth)
    monkeypatch.setattr(run, "do", do)
    run.advance(run.mark, birth)
    assert [c.argv[2] for c in done[1] if c.host == "query-1"] == [kept.PLACED.two]


def test_a_new_runs_name_comes_behind_the_last_one_that_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    run, _ = unstarted(monkeypatch)
    first = run.mark.run
    run.name_after("")
    run.name_after(OLD)
    assert run.mark.run == first
    run.name_after("29991231t235959z-ffffff")
    assert run.mark.run.startswith("30000101t000000z-") and run.mark.token.endswith(run.mark.run)
    assert marker.run_name("here", run.mark.run)
