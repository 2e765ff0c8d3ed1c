"""Each cause is made for real, named first, and gone again; on a healthy cluster nothing is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from compose import cluster, faults, lab, poll
from compose.ailments import AILMENTS, Ailment, by_name
from requorum import inventory
from requorum.diagnosis import causes, examination
from requorum.diagnosis.causes import Cause
from requorum.evidence.journal import Journal
from requorum.hosts.fleet import Fleet
from requorum.run.run import Run
from requorum.run.terms import Options
from tests.lab import procedures
from tests.lab.rehearsal import Rehearsal

# What a root cause may bring with it; anything else that is named beside it is a false alarm.
FOLLOWS = {"quorum lost", "quorum restartable", "quorum unknown", "member down", "Deephaven down"}


def with_an_old_member(rehearsal: Rehearsal, content: dict[str, Any]) -> None:
    """The inventory after a recovery in which a spare's machine was replaced by the third member's."""
    spare = rehearsal.nodes.spares[0]
    old = [dict(member) for member in content["members"]]
    content["old_members"] = [*old[:2], {**old[2], "host": spare.name, "ip": spare.ip}]


def diagnosed(rehearsal: Rehearsal, scratch: Path) -> list[Cause]:
    """As the procedure's stages do it, without starting pytest each time."""
    path = rehearsal.inventory(lambda content: with_an_old_member(rehearsal, content))
    hosts = inventory.load(path)
    with Fleet(hosts, Journal.create(scratch, "diagnosis")) as fleet:
        seen = Run(hosts, Options(hosts=str(path)), fleet.journal, fleet)
        return causes.named(examination.sheet(seen, *examination.reach(seen)))


def await_health(rehearsal: Rehearsal) -> None:
    faults.await_quorum(rehearsal.nodes)
    poll.until(
        lambda: all(process.works for process in cluster.state(rehearsal.nodes).processes),
        seconds=30,
        what="Deephaven's processes reach etcd",
    )


def assert_named_first(rehearsal: Rehearsal, scratch: Path, ailment: Ailment) -> None:
    """Made, diagnosed, undone, and healthy again."""
    ailment.inject(rehearsal.nodes)
    found = diagnosed(rehearsal, scratch)
    ailment.heal(rehearsal.nodes)
    await_health(rehearsal)
    said = "\n".join(line for number, cause in enumerate(found, start=1) for line in cause.lines(number))
    assert [cause.name for cause in found][:1] == [ailment.cause], f"{ailment.name}: {said or 'nothing was named'}"
    assert {cause.name for cause in found[1:]} <= FOLLOWS, f"{ailment.name}: {said}"


@pytest.mark.parametrize("ailment", AILMENTS, ids=lambda ailment: ailment.name)
def test_each_cause_is_named_first_and_nothing_else_but_what_follows_from_it(
    rehearsal: Rehearsal, tmp_path: Path, ailment: Ailment
) -> None:
    assert_named_first(rehearsal, tmp_path, ailment)
    rehearsal.spoilt = False


@pytest.mark.matrix
@pytest.mark.parametrize("etcd", ["3.4", "testing"])
def test_each_cause_is_named_first_by_other_versions_too(tmp_path: Path, etcd: str) -> None:
    lab.down()
    other = Rehearsal(tmp_path, etcd=etcd, spares=1)
    try:
        other.prepare()
        assert diagnosed(other, tmp_path) == []
        for ailment in AILMENTS:
            assert_named_first(other, tmp_path, ailment)
    finally:
        lab.down()


def test_a_healthy_cluster_is_called_healthy_by_the_command_and_nothing_is_changed(rehearsal: Rehearsal) -> None:
    before = left_behind(rehearsal)
    run = procedures.run(rehearsal.scratch, "troubleshoot/diagnose", f"--hosts={rehearsal.inventory()}")
    assert run.code == 0, run.output
    assert "Healthy: nothing is wrong." in run.output
    assert run.summary["outcome"] == "diagnosed"
    assert run.summary["causes"] == []
    assert left_behind(rehearsal) == before
    rehearsal.assert_data_is_back()
    rehearsal.spoilt = False


def left_behind(rehearsal: Rehearsal) -> list[str]:
    """What lies on the hosts where we, or somebody careless, would leave something."""
    script = "find /var/lib/requorum /tmp /root /home /etc -newermt 2020-01-01 -printf '%p %s\\n' 2>/dev/null | sort"
    return [node.run(["sh", "-c", script], check=False).stdout for node in rehearsal.nodes.all]


def test_lost_quorum_and_a_silent_host_are_both_named_with_what_to_paste(rehearsal: Rehearsal) -> None:
    nodes, path, lost = rehearsal.nodes, rehearsal.inventory(), by_name("lost")
    lost.inject(nodes)
    faults.power_off(nodes.query[0])
    try:
        run = procedures.run(rehearsal.scratch, "troubleshoot/diagnose", f"--hosts={path}")
    finally:
        faults.power_on(nodes.query[0])
        lost.heal(nodes)
    await_health(rehearsal)
    assert run.code == 0, run.output
    assert "Traceback" not in run.output
    first, second = run.summary["causes"]
    assert (first["name"], first["command"]) == ("quorum lost", f"pytest runbook --hosts={path}")
    assert (second["name"], list(second["evidence"])) == ("host silent", ["query-1"])
    assert f"     pytest runbook --hosts={path}\n" in run.output
    rehearsal.spoilt = False
