"""Room is asked of every machine that takes part, on each of its file systems, with its own figure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import SimpleNamespace
from typing import Any, cast

import pytest

from requorum.cluster.quorum import Kind, MemberFacts, Verdict
from requorum.cluster.sandbox import WAL_BYTES
from requorum.hosts.fleet import Machine
from requorum.hosts.question import Question
from requorum.recovery.progress import Progress
from requorum.recovery.proofs import machines
from requorum.run.accepted import Accepted
from requorum.run.run import Run
from requorum.run.terms import Options
from tests.unit import build

S = 1 << 30
D = S + WAL_BYTES
COPIES = dict.fromkeys(("etcd-1", "etcd-2", "etcd-3"), D)


class Roomy:
    """A run whose hosts have so many bytes free, on one file system each."""

    def __init__(self, free: Mapping[str, int], options: tuple[str, ...] = ("rw",)) -> None:
        self.free, self.options, self.terms, self.inventory = free, options, build.terms(), build.inventory()
        self.carrying_on, self.notes = False, list[str]()
        self.left: dict[str, str] = {}
        self.found: dict[str, str | None] = {}
        self.asked: list[str] = []

    def tell(self, question: Question[Any]) -> Any:
        self.asked.append(question.host)
        row = f"/x 9 9 {self.free.get(question.host, 99 * S)} 9% /"
        said = {"sh": self.left.get(question.host, ""), "stat": "0 755 directory\n" * 4}
        answers = [(c, said.get(c.argv[0]) or build.df(c, row)) for c in question.commands]
        return question.understand([build.answered(command, text) for command, text in answers])

    def note(self, text: str) -> None:
        self.notes.append(text)

    def ask(self, questions: Mapping[str, Question[Any]]) -> dict[str, Any]:
        return {key: self.tell(question) for key, question in questions.items()}

    def prove(self, hosts: Iterable[str], claim: str, probe: Callable[[Machine], str | None], remedy: str) -> None:
        see = SimpleNamespace(mount_point=lambda mount: SimpleNamespace(exists=True, options=self.options))
        made = {host: SimpleNamespace(name=host, ask=self.tell, see=see) for host in hosts}
        self.found = {host: probe(cast(Machine, machine)) for host, machine in made.items()}


def with_margin(size: int) -> int:
    return size + size // 10 + (64 << 20)


def proven(
    free: Mapping[str, int], copies: Mapping[str, int], carrying_on: bool = False, **given: Any
) -> dict[str, str | None]:
    run = Roomy(free, **given)
    run.carrying_on = carrying_on
    machines.there_is_room(cast(Run, run), S, copies)
    assert len(run.asked) == len(set(run.asked)), "each host is asked once"
    return run.found


def test_with_room_for_all_of_it_nothing_is_found() -> None:
    assert set(proven({}, COPIES).values()) == {None}


@pytest.mark.parametrize(("host", "needed"), [("etcd-1", S + 2 * D), ("etcd-2", S + D)])
@pytest.mark.parametrize("carrying_on", [False, True])
def test_what_would_be_found_with_everything_off_is_found_first(host: str, needed: int, carrying_on: bool) -> None:
    """A margin is asked for where nothing is off yet, and not of a run that is carried on."""
    needed = needed if carrying_on else with_margin(needed)
    assert set(proven({host: needed}, {}, carrying_on).values()) == {None}
    found = proven({host: needed - 1}, {}, carrying_on)
    what = "the snapshot, its trial and the restored data"
    assert str(found.pop(host)).startswith(f"{needed - 1:,} bytes free in /, {needed:,} needed: {what}")
    assert set(found.values()) == {None}


@pytest.mark.parametrize("carrying_on", [False, True])
def test_what_a_killed_run_had_put_down_is_no_lack_of_room_for_its_rerun(carrying_on: bool) -> None:
    run = Roomy({"etcd-1": with_margin(S + 2 * D) - 3 * D})
    run.carrying_on, run.left["etcd-1"] = carrying_on, f"{3 * D}\t{build.PLACE}/salvage\n"
    machines.there_is_room(cast(Run, run), S)
    assert [host for host, why in run.found.items() if why] == ([] if carrying_on else ["etcd-1"])


def test_a_ratio_of_earlier_versions_is_said_to_do_nothing() -> None:
    run = Roomy({})
    run.inventory = build.inventory(limits={"free_disk_ratio": 3})
    machines.there_is_room(cast(Run, run), S)
    assert ["free_disk_ratio in the inventory does nothing any more" in note for note in run.notes] == [True]
    assert run.found and set(run.found.values()) == {None}


def test_copies_that_nobody_can_take_are_named_where_they_would_be_gathered() -> None:
    small = dict.fromkeys(COPIES, 40 * D)
    found = proven(small, small)
    assert {host for host, why in found.items() if why and "copies of what disks hold" in why} == {"etcd-1"}


def test_a_disk_that_only_reads_is_named() -> None:
    assert proven({}, {}, options=("ro",))["etcd-1"] == "/ is mounted read-only"


def test_a_disk_that_is_given_up_needs_no_room_for_its_copy() -> None:
    facts = [MemberFacts(member, data_bytes=S) for member in build.inventory().members]
    progress = Progress(verdict=Verdict(Kind.LOST, tuple(facts)))
    run = SimpleNamespace(options=Options(accepted=Accepted(("without:etcd-2",))))
    assert progress.copies(cast(Run, run)) == {"etcd-1": D, "etcd-3": D}
