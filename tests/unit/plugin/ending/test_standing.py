"""How things stand: what was seen is said, what was not seen is not claimed."""

from __future__ import annotations

import pytest

from requorum.plugin.ending.standing import Did, standing
from requorum.run.marker import Phase, Undone
from requorum.run.state import Deephaven, Member
from tests.unit import build
from tests.unit.plugin.ending.ended import DEEPHAVEN, MEMBERS, NEW, OFF, OLD, ON, STOPPED, did, seen


def test_between_stop_and_power_on_deephaven_is_off_and_going_back_loses_nothing() -> None:
    said = standing(seen(), did(reached={Phase.STOPPING: "2026-11-27T11:23:45Z"}))
    assert "Deephaven is OFF on infra-1, query-1 (this run turned it off at 11:23 UTC)." in said
    assert "etcd runs with a leader (the new cluster) on etcd-1, etcd-2, etcd-3." in said
    assert "The old data is in place on etcd-1, etcd-2, etcd-3." in said
    assert "Nothing is lost so far" in said


def test_while_a_process_of_deephaven_is_up_or_not_known_nothing_is_called_lost_or_not() -> None:
    for one in (ON, Deephaven(0, 1), "did not answer"):
        found = {**dict.fromkeys(DEEPHAVEN, OFF), "query-1": one}
        assert "lost" not in standing(seen(deephaven=found), did())
    assert "lost" not in standing(seen(deephaven={}), did())


def test_a_host_that_did_not_answer_is_not_known() -> None:
    found = seen(
        {"etcd-1": OLD, "etcd-2": STOPPED, "etcd-3": "did not answer"},
        {"infra-1": ON, "query-1": "did not answer"},
    )
    said = standing(found, did(Phase.OPEN))
    assert "Deephaven is ON on infra-1. Not known on query-1 (did not answer)." in said
    assert "etcd is stopped on etcd-2, runs without a leader on etcd-1." in said
    assert "etcd is not known on etcd-3 (did not answer)." in said
    nothing = standing(seen(member="did not answer", deephaven="did not answer"), did(Phase.OPEN))
    assert "Whether Deephaven is on is not known" in nothing
    assert not [word for word in ("ON on", "OFF on", "runs", "stopped", "in place") if word in nothing]


def test_a_refusal_says_that_nothing_was_changed() -> None:
    assert "This run changed nothing of the cluster." in standing(seen(OLD, ON), did(Phase.OPEN))
    assert "changed nothing" not in standing(seen(), did())
    assert standing(None, Did(unasked=True)) == "Nothing was changed: no host was asked."
    assert standing(None, Did(acts=False)) == "Nothing was changed: this only looked."


def test_hosts_that_were_not_looked_at_are_not_spoken_of() -> None:
    assert standing(None, did()) == "How things stand now was not looked at."


@pytest.mark.parametrize(
    ("mark", "says"),
    [
        (build.mark(Phase.STOPPING), "is unfinished; it got to: stopping"),
        (build.mark(Phase.STARTED, undone=Undone.BEGUN), "is being rolled back"),
    ],
)
def test_a_run_that_is_under_way_on_the_hosts_is_named(mark: object, says: str) -> None:
    assert says in standing(seen(mark=mark), did(Phase.OPEN, run="another"))


def test_a_run_that_is_over_is_not_under_way() -> None:
    for mark in (build.mark(Phase.DONE), build.mark(Phase.STARTED, undone=Undone.ROLLED_BACK), build.mark()):
        assert "Run " not in standing(seen(mark=mark), did(Phase.OPEN, run="another"))


def test_past_the_point_of_no_return_nothing_reassures() -> None:
    said = standing(seen(deephaven=ON), did(Phase.POWERING_ON))
    assert "Deephaven may have written into the new cluster" in said and "loses nothing" not in said


def test_a_success_says_what_runs() -> None:
    said = standing(seen(deephaven=ON), did(Phase.DONE, outcome="recovered"))
    assert said == (
        "Deephaven is ON on infra-1, query-1. etcd runs with a leader (the new cluster) on etcd-1, etcd-2, etcd-3."
    )


def test_many_hosts_are_counted() -> None:
    many = {f"query-{number}": OFF for number in range(50)}
    assert "Deephaven is OFF on 50 hosts" in standing(seen(deephaven=many), did())


def test_old_data_is_claimed_only_where_a_database_was_seen() -> None:
    members = {**dict.fromkeys(MEMBERS, NEW), "etcd-2": Member(True, True, build.TOKEN, (build.TOKEN,))}
    assert "The old data is in place on etcd-1, etcd-3." in standing(seen(members), did())
