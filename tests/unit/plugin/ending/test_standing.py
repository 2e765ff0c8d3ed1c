"""How things stand: what was seen is said, what was not seen is not claimed."""

from __future__ import annotations

import pytest

from requorum.plugin.ending.standing import Did, standing
from requorum.run.marker import Phase, Undone
from requorum.run.state import Deephaven, Member
from tests.unit import build
from tests.unit.plugin.ending.ended import (
    DEEPHAVEN,
    MEMBERS,
    NEW,
    OFF,
    OLD,
    ON,
    STOPPED,
    block,
    broken,
    did,
    ended,
    seen,
)


def test_between_stop_and_power_on_deephaven_is_off_and_going_back_loses_nothing() -> None:
    said = standing(seen(), did(reached={Phase.STOPPING: "2026-11-27T11:23:45Z"}))
    assert "Deephaven is OFF on infra-1, query-1 (this run turned it off at 11:23 UTC)." in said
    assert "etcd runs with a leader (the new cluster) on etcd-1, etcd-2, etcd-3." in said
    assert "This run deleted nothing, and going back brings back what was there." in said


def test_while_a_process_of_deephaven_is_up_or_not_known_nothing_is_called_lost_or_not() -> None:
    for one in (ON, Deephaven(0, 1, 1, ()), Deephaven(0, 0, 5), Deephaven(0, 0, 5, ("java",)), "did not answer"):
        found = {**dict.fromkeys(DEEPHAVEN, OFF), "query-1": one}
        assert "going back" not in standing(seen(deephaven=found), did())
    assert "going back" not in standing(seen(deephaven={}), did())


def test_off_is_said_only_where_no_process_of_its_accounts_runs() -> None:
    left = Deephaven(0, 0, 0, ("java (process 4711 of irisadmin)",))
    said = standing(seen(deephaven={"infra-1": OFF, "query-1": left}), did())
    assert "Deephaven is OFF on infra-1." in said
    assert (
        "On query-1 monit supervises none of Deephaven, but java (process 4711 of irisadmin) still runs and may write."
    ) in said
    said = standing(seen(deephaven=Deephaven(0, 0, 5)), did())
    assert "OFF" not in said
    assert "On infra-1, query-1 monit supervises none of Deephaven; whether any still runs is not known." in said


def test_the_data_of_a_cluster_that_runs_with_a_leader_is_not_called_lost() -> None:
    lives = Member(True, True, "old", ("old",))
    said = standing(seen(dict.fromkeys(("etcd-1", "etcd-2"), lives)), did(Phase.OPEN, lost="old"))
    assert "etcd runs with a leader on etcd-1, etcd-2." in said and "lost cluster" not in said
    torn = standing(seen({"etcd-1": Member(True, False, "old", ("old",))}), did(Phase.OPEN, lost="old"))
    assert "A database of the lost cluster (old) lies on etcd-1." in torn


def test_where_only_some_processes_are_up_they_are_counted() -> None:
    said = standing(seen(deephaven=Deephaven(9, 10, 10, ("java",))), did())
    assert "Deephaven is ON on infra-1, query-1 (18 of 20 processes are up)." in said


def test_a_loss_that_is_known_stands_beside_the_way_back() -> None:
    said = standing(seen(), did(loss="no disk holds what was written after 02:30"))
    assert "Going on may lose writes: no disk holds what was written after 02:30." in said
    assert "Going on" not in standing(seen(), did())


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


def test_what_this_run_began_is_said_where_nobody_looked() -> None:
    began = {Phase.STOPPING: "2026-11-27T11:23:45Z", Phase.STARTED: "2026-11-27T11:40:00Z"}
    said = "This run began to turn Deephaven off at 11:23 UTC and turned nothing on."
    assert standing(None, did(reached=began)).startswith(said)
    assert said not in standing(None, did(reached={**began, Phase.POWERING_ON: "2026-11-27T11:50:00Z"}))


def test_a_run_that_is_cut_while_it_installs_says_where_the_new_configuration_lies() -> None:
    members = {**dict.fromkeys(MEMBERS, STOPPED), "etcd-1": Member(False, None, build.TOKEN, ("old",))}
    assert "The new configuration lies on etcd-1." in standing(seen(members), did(Phase.STOPPING))
    assert "new configuration" not in standing(seen(STOPPED), did(Phase.STOPPING))


def test_a_run_that_is_carried_on_is_one_and_the_same() -> None:
    mark = build.mark(Phase.STARTED)
    said = standing(seen(mark=mark), did(run=mark.run, carried_on=True, changed=False))
    assert f"Run {mark.run} of {mark.by}, carried on here, is unfinished" in said
    assert said.count("Run ") == 1 and "This run changed nothing" not in said


@pytest.mark.parametrize(
    ("mark", "says"),
    [
        (build.mark(Phase.STOPPING), "is unfinished: it had begun to stop Deephaven and the old etcd"),
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


def test_data_is_called_the_lost_clusters_only_where_its_token_says_so() -> None:
    members = {
        "etcd-1": Member(True, True, build.TOKEN, ("ancestor", build.TOKEN)),
        "etcd-2": NEW,
        "etcd-3": Member(True, True, build.TOKEN, (build.TOKEN,)),
    }
    said = standing(seen(members), did(lost="old"))
    assert "A database of the lost cluster (old) lies on etcd-2; on etcd-1 only in a directory of another name" in said
    unnamed = standing(seen(members, root="/var/lib/etcd/dh"), did())
    assert "A database lies below /var/lib/etcd/dh on etcd-1, etcd-2." in unnamed and "lost cluster" not in unnamed


def test_no_comfort_is_taken_from_a_disk_that_does_not_read() -> None:
    said = standing(seen(), did(lost="old"), {"etcd-2"})
    assert "A database of the lost cluster (old) lies on etcd-1, etcd-3." in said
    torn = broken("tar: db: Read error: Input/output error", "etcd-3")
    assert "lies on etcd-1, etcd-2." in block(ended(torn, did=did(lost="old")))["State"]


def test_that_no_database_is_there_is_said_where_it_was_seen() -> None:
    members = {**dict.fromkeys(MEMBERS, Member(False, data=())), "etcd-3": Member(False)}
    said = standing(seen(members, root="/var/lib/etcd/dh"), did(Phase.OPEN))
    assert "No database was found below /var/lib/etcd/dh on etcd-1, etcd-2." in said
    assert "database" not in standing(seen(Member(False)), did(Phase.OPEN))


def test_old_units_that_the_run_set_aside_are_said_until_the_cluster_is_recovered_or_as_before() -> None:
    aside = Member(False, None, "old", ("old",), aside=True)
    said = standing(seen({**dict.fromkeys(MEMBERS, aside), "etcd-3": STOPPED}), did(Phase.STOPPING))
    assert "Old units are set aside on etcd-1, etcd-2: a rollback puts them back." in said
    said = standing(seen({"etcd-1": aside, "etcd-3": STOPPED}), did(Phase.STOPPING))
    assert "The old unit is set aside on etcd-1: a rollback puts it back." in said
    for outcome in ("recovered", "closed", "rolled-back"):
        assert "aside" not in standing(seen(aside), did(Phase.DONE, outcome=outcome))
