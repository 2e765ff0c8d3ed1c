"""Each cause is made for real, named first, and gone again; on a healthy cluster nothing is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from compose import cluster, faults, poll
from compose.ailments import AILMENTS, Ailment
from requorum import causes, examination, inventory
from requorum.causes import Cause
from requorum.cluster import Cluster, Options
from requorum.fleet import Fleet
from requorum.journal import Journal
from tests.lab import procedures
from tests.lab.rehearsal import Rehearsal, Run

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
        seen = Cluster(hosts, Options(hosts=str(path)), fleet.journal, fleet)
        return causes.named(examination.sheet(seen, *examination.reach(seen)))


def await_health(rehearsal: Rehearsal) -> None:
    faults.await_quorum(rehearsal.nodes)
    poll.until(
        lambda: all(process.works for process in cluster.state(rehearsal.nodes).processes),
        seconds=30, what="Deephaven's processes reach etcd",
    )  # fmt: skip


@pytest.mark.parametrize("ailment", AILMENTS, ids=lambda ailment: ailment.name)
def test_each_cause_is_named_first_and_nothing_else_but_what_follows_from_it(
    rehearsal: Rehearsal, tmp_path: Path, ailment: Ailment
) -> None:
    ailment.inject(rehearsal.nodes)
    found = diagnosed(rehearsal, tmp_path)
    ailment.heal(rehearsal.nodes)
    await_health(rehearsal)
    said = "\n".join(line for number, cause in enumerate(found, start=1) for line in cause.lines(number))
    assert [cause.name for cause in found][:1] == [ailment.cause], said
    assert {cause.name for cause in found[1:]} <= FOLLOWS, said
    rehearsal.spoilt = False


def test_a_healthy_cluster_is_called_healthy_by_the_command_and_nothing_is_changed(rehearsal: Rehearsal) -> None:
    run = procedures.run(rehearsal.scratch, "troubleshoot/diagnose", f"--hosts={rehearsal.inventory()}")
    assert run.code == 0, run.output
    assert "Healthy: nothing is wrong." in run.output
    assert run.summary["outcome"] == "diagnosed"
    assert run.summary["causes"] == []
    rehearsal.assert_untouched(Run(1, run.output, {}))


def test_a_silent_host_is_a_finding_and_not_the_end(rehearsal: Rehearsal) -> None:
    """A full disk made two members fail, and a query host is off: the command still looks at all that is left."""
    nodes = rehearsal.nodes
    path = rehearsal.inventory()
    faults.power_off(nodes.query[0])
    try:
        run = procedures.run(rehearsal.scratch, "troubleshoot/diagnose", f"--hosts={path}")
    finally:
        faults.power_on(nodes.query[0])
    assert run.code == 0, run.output
    (cause,) = run.summary["causes"]
    assert cause["name"] == "host silent"
    assert list(cause["evidence"]) == ["query-1"]
    assert f"pytest runbook/troubleshoot/diagnose --hosts={path}" in run.output
    assert "Traceback" not in run.output
    await_health(rehearsal)
    rehearsal.spoilt = False
