"""What one stage of Step 5 was told serves the next one too, and is asked again where it does not hold."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from requorum.cluster import etcdctl
from requorum.cluster.etcd import EtcdError
from requorum.command import Command, Result
from requorum.hosts.fleet import Machine
from requorum.hosts.question import Question
from requorum.recovery import probes, trial
from requorum.recovery.probes import Reached
from requorum.recovery.progress import Progress
from requorum.recovery.proofs import cluster
from requorum.recovery.trial import Trial
from requorum.refusal import Disproved
from requorum.run.marker import Phase
from requorum.snapshots.beginning import Beginning, Proven
from tests.unit import build
from tests.unit.recovery.test_written import PROVEN, Acting, Asked, as_tried, carried_on, noted
from tests.unit.recovery.undo.test_discard import BEGAN, LEASE_RAN_OUT, MARK, RESTORED, WRITTEN
from tests.unit.run.test_dryrun import Hosts

SAME = {f"https://10.0.0.1{n}:2379": (BEGAN.hash, 90) for n in (1, 2, 3)}
OTHER = {**SAME, "https://10.0.0.12:2379": (8, 90)}


def told(revision: int, hashes: dict[str, tuple[int, int]] = SAME, count: int = 2) -> trial.Asked:
    return trial.Asked({revision: hashes}, {("", revision): count})


def test_what_was_asked_at_the_trials_revision_is_not_asked_twice(tmp_path: Path) -> None:
    hosts = Asked(None, 95, BEGAN.hash, BEGAN.users)
    assert as_tried(tmp_path, hosts, BEGAN, told(BEGAN.revision)) == 90, "up to where it was compacted when it was told"
    assert hosts.verbs == ["list", "list"]


def test_what_was_asked_at_another_revision_says_nothing_of_the_trials(tmp_path: Path) -> None:
    hosts = Asked(None, 95, BEGAN.hash, BEGAN.users)
    assert as_tried(tmp_path, hosts, BEGAN, told(BEGAN.revision + 1)) == 95
    assert hosts.verbs == ["hashkv", "get", "list", "list"]


@pytest.mark.parametrize("wrong", [told(BEGAN.revision, OTHER), told(BEGAN.revision, count=3)], ids=["hash", "keys"])
def test_what_was_asked_is_compared_as_what_is_asked_here(tmp_path: Path, wrong: trial.Asked) -> None:
    hosts = Asked(None, 90, 8, BEGAN.users)
    with pytest.raises(Disproved, match=r"hash 8|3 keys under everything"):
        as_tried(tmp_path, hosts, BEGAN, wrong)
    assert (wrong.hashes, wrong.counts) == ({}, {}), "a second look asks"


def test_a_note_stands_only_for_what_is_compacted_since_also_where_it_was_asked_before(tmp_path: Path) -> None:
    hosts = Asked(PROVEN, None, 8, BEGAN.users)
    at = dict.fromkeys(SAME, (8, 118))
    assert as_tried(tmp_path / "since", hosts, BEGAN, told(BEGAN.revision, at)) == 118
    with pytest.raises(Disproved, match="hash 8"):
        as_tried(tmp_path / "not", Asked(PROVEN, 90, 8, BEGAN.users), BEGAN, told(BEGAN.revision, OTHER))


@pytest.mark.parametrize("why", ["context deadline exceeded", "etcdserver: mvcc: required revision has been compacted"])
def test_an_empty_list_of_hashes_is_no_answer_and_says_why(why: str) -> None:
    """As etcdctl prints it, with exit code 1, where no member tells: seen with 3.5.16."""
    asked = etcdctl.ask_fingerprints(build.inventory(), "https://10.0.0.11:2379", 7)
    with pytest.raises(EtcdError, match=why):
        asked.understand([Result(asked.commands[0], 1, "[]\n", f"Error: {why}\n", 0.0)])


def test_a_member_that_does_not_tell_its_hash_is_not_as_the_trial(tmp_path: Path) -> None:
    run, nobody = carried_on(tmp_path, Asked(None, 90, BEGAN.hash, BEGAN.users)), cast(Machine, None)
    less = told(BEGAN.revision, dict(list(SAME.items())[1:]))
    assert trial._other_data(run, nobody, BEGAN, "", None, set(), told(BEGAN.revision)) == []
    wrong = trial._other_data(run, nobody, BEGAN, "", None, set(), less)
    assert wrong == ["2 members told the hash of their data"]


@pytest.mark.parametrize(("header", "revision"), [({"revision": 7}, 7), ({}, 0)])
def test_a_count_says_of_which_revision_it_is(header: dict[str, Any], revision: int) -> None:
    text = json.dumps({"header": header, "kvs": [{"key": "L2E="}], "count": 20})
    assert build.understood(etcdctl.ask_counted(build.inventory(), "/main"), text) == (20, revision)


# -- that nobody else wrote --------------------------------------------------------------------------------------

TRIED = replace(BEGAN, leased=1)  # of its two keys
OWN = Reached(BEGAN.revision + 4, 4)  # three keys, and their removal
LISTS = "which keys have a lease"


def listed(hosts: Acting) -> int:
    return [command.why for command in hosts.asked].count(LISTS)


def test_where_the_probes_own_writes_lead_on_from_the_trial_nobody_else_wrote_and_no_key_is_listed(
    tmp_path: Path,
) -> None:
    hosts = Acting(RESTORED)
    assert noted(tmp_path, hosts, tried=TRIED, reached=OWN) == [Proven(MARK.snapshot, 100, 7, 90, 104, 1)]
    assert listed(hosts) == 0


@pytest.mark.parametrize(
    ("tried", "reached", "compacted"),
    [
        (TRIED, replace(OWN, revision=105), 90),
        (TRIED, replace(OWN, own=3), 90),
        (TRIED, None, 90),
        (BEGAN, OWN, 90),
        (replace(TRIED, revision=101), replace(OWN, revision=105), 90),
        (TRIED, OWN, None),
    ],
    ids=["one more", "one less of ours", "not told", "an older note", "another trial", "not compared"],
)
def test_else_all_keys_are_listed_and_a_writer_is_noted_by_nobody(
    tmp_path: Path, tried: Trial, reached: Reached | None, compacted: int | None
) -> None:
    earlier = None if compacted else PROVEN
    hosts = Acting(WRITTEN, earlier)
    assert noted(tmp_path, hosts, compacted, tried=tried, reached=reached) == []
    assert listed(hosts) == 1


def test_leases_that_ran_out_are_told_from_a_deletion_by_one_list(tmp_path: Path) -> None:
    hosts = Acting(LEASE_RAN_OUT, kept=False)
    assert noted(tmp_path, hosts, tried=TRIED, reached=replace(OWN, revision=105)) == [
        Proven(MARK.snapshot, 100, 7, 90, 120, 1)
    ]
    assert listed(hosts) == 1
    assert noted(tmp_path / "deleted", Acting({}, kept=False), tried=TRIED) == []


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ({"header": {"revision": 104}, "deleted": 3}, OWN),
        ({"header": {"revision": 104}, "deleted": 4}, None),
        ({"header": {"revision": 104}}, None),
        ({"deleted": 3}, None),
        ([], None),
    ],
)
def test_how_far_the_probe_came_is_known_where_exactly_its_keys_went(said: Any, found: Reached | None) -> None:
    (command,) = probes.remove_written(build.terms())
    assert command.changes and command.accept == (0,)
    assert probes.reached(build.terms(), 3, [build.answered(command, json.dumps(said))]) == found


@pytest.mark.parametrize(("phase", "found"), [(Phase.STARTED, {"dh": None}), (Phase.POWERING_ON, {})])
def test_what_the_trial_says_of_users_holds_until_deephaven_may_have_changed_them(
    tmp_path: Path, phase: Phase, found: dict[str, None]
) -> None:
    progress = Progress(trial=replace(BEGAN, outside={"dh": None}))
    assert progress.outside(carried_on(tmp_path, Hosts(), phase)) == found


def test_the_runs_own_notes_are_read_once(tmp_path: Path) -> None:
    asked, read = trial.Asked(), Asked(PROVEN, 90, BEGAN.hash, BEGAN.users)
    as_tried(tmp_path / "compared", read, BEGAN, asked)
    assert asked.began == Beginning(BEGAN.revision, PROVEN, True)
    hosts = Acting(RESTORED, PROVEN)
    assert noted(tmp_path / "noted", hosts, tried=TRIED, began=asked.began) == [replace(PROVEN, reached=120)]
    assert [command.why for command in hosts.asked] == [LISTS]


class Healthy(Hosts):
    """Three members, of which `sick` is no health; as `status` tells them, one answer after the other."""

    def __init__(self, status: list[list[int]], sick: str = "") -> None:
        super().__init__()
        self.status, self.sick, self.words = status, sick, list[str]()

    def each(self, hosts: Iterable[str], work: Any) -> dict[str, Any]:
        return {host: work(cast(Machine, SimpleNamespace(name=host, ask=self.tell))) for host in hosts}

    def tell(self, question: Question[Any]) -> Any:
        return question.understand([self.say(command) for command in question.commands])

    def say(self, command: Command) -> Result:
        self.words.append(next(word for word in ("health", "status") if word in command.argv))
        at = [f"https://10.0.0.1{n}:2379" for n in (1, 2, 3)]
        if self.words[-1] == "health":
            return build.answered(command, json.dumps([{"endpoint": e, "health": e != self.sick} for e in at]))
        leaders = self.status.pop(0)
        rows = [
            {
                "Endpoint": e,
                "Status": {
                    "header": {"cluster_id": 1, "member_id": n, "revision": 7},
                    "leader": leader,
                    "version": "3.5.16",
                },
            }
            for n, (e, leader) in enumerate(zip(at, leaders, strict=False), start=1)
        ]
        return build.answered(command, json.dumps(rows) if rows else "{")


def stages(tmp_path: Path, hosts: Healthy) -> Progress:
    progress = Progress()
    run = carried_on(tmp_path, hosts)
    run.begin("m.py::TestX::test_then_every_member_is_healthy")
    run.stages[-1].looked = True
    cluster.every_member_is_healthy(run, {}, progress)
    cluster.it_is_one_cluster(run, progress, living=True)
    return progress


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ([[1, 1, 1]], ["health", "status"]),
        ([[1, 2, 1], [1, 1, 1]], ["health", "status", "status"]),
        ([[], [1, 1, 1]], ["health", "status", "status"]),
    ],
    ids=["good", "two leaders at first", "no answer at first"],
)
def test_the_status_is_asked_with_the_health_and_again_where_it_does_not_hold(
    tmp_path: Path, status: list[list[int]], words: list[str]
) -> None:
    hosts = Healthy(status)
    assert [found.leader for found in stages(tmp_path, hosts).status] == [1, 1, 1]
    assert hosts.words == words


def test_who_is_not_healthy_stops_the_stage_of_health_whatever_the_status_is(tmp_path: Path) -> None:
    hosts = Healthy([[1, 1, 1]] * 99, "https://10.0.0.12:2379")
    run = carried_on(tmp_path, hosts)
    run.begin("m.py::TestX::test_then_every_member_is_healthy")
    run.stages[-1].looked = True
    run.options = replace(run.options, timeout_scale=0.0)
    with pytest.raises(Disproved, match="all 3 members are healthy"):
        cluster.every_member_is_healthy(run, {}, Progress())
