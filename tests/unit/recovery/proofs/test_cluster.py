"""Step 5's proofs of Deephaven: which processes must be up, and for whom one that stays off is an obstacle."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from requorum.hosts.fleet import Machine
from requorum.hosts.question import Question
from requorum.recovery.proofs import cluster, machines
from requorum.refusal import Disproved
from requorum.run.dryrun import Planning
from requorum.snapshots.vault import Vault
from tests.unit import build
from tests.unit.run.test_dryrun import Hosts, planning

ONE_OFF = " cs  OK  Process\n importer  Not monitored  Process\n"
ALL_OFF = ONE_OFF.replace("OK", "Not monitored")
CONNECTED = "0 0 10.0.0.21:5000 10.0.0.11:2379 uid:1001\n"


class Answering(Hosts):
    """Deephaven hosts that are asked for what monit says there, and for their connections."""

    def __init__(self, monit: str, connections: str = CONNECTED) -> None:
        super().__init__()
        self.says = {"ss -Htne": connections, "id -u": "900\n", "dh_monit": monit, "pgrep -x monit": ""}
        self.monit = set[str]()  # who was asked for its word

    def each(self, hosts: Iterable[str], work: Callable[[Machine], Any]) -> dict[str, Any]:
        return {host: work(cast(Machine, SimpleNamespace(name=host, ask=self.tell))) for host in hosts}

    def tell(self, question: Question[Any]) -> Any:
        self.monit |= {c.host for c in question.commands if "monit" in c.line()}
        said = [next(t for part, t in self.says.items() if part in c.line()) for c in question.commands]
        return question.understand([build.answered(c, text) for c, text in zip(question.commands, said, strict=True)])


def running(tmp_path: Path, hosts: Hosts, off: Iterable[str] = ()) -> Planning:
    snapshot = {"directory": str(tmp_path)}
    expect, limits = {"off": list(off)}, {"health_seconds": 0.001}
    run = planning(tmp_path, hosts, build.inventory(snapshot=snapshot, expect=expect, limits=limits))
    run.begin("m.py::TestX::test_then_deephaven_runs")
    run.stages[-1].looked = True
    return run


def test_one_process_that_stays_off_fails_in_the_end_by_name_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(Disproved, match=r"query-1: .*importer \(Not monitored\)[\s\S]*expect\.off") as error:
        cluster.deephaven_is_up(running(tmp_path, Answering(ONE_OFF)))
    assert "cs (" not in str(error.value)


def test_one_that_is_off_on_purpose_is_not_waited_for(tmp_path: Path) -> None:
    cluster.deephaven_is_up(running(tmp_path, Answering(ONE_OFF), off=["importer", "never_heard_of"]))


def test_what_the_last_backup_saw_up_must_be_up_and_nothing_else(tmp_path: Path) -> None:
    run = running(tmp_path, Answering(ONE_OFF))
    vault = Vault(run.inventory)
    vault.keep_processes({"infra-1": ("cs",), "query-1": ("cs",)})
    cluster.deephaven_is_up(run)
    vault.keep_processes({"query-1": ("cs", "worker")})
    with pytest.raises(Disproved, match=r"query-1: .*not up: worker \(unknown to monit\)") as error:
        cluster.deephaven_is_up(run)
    assert "infra-1" not in str(error.value)


def test_one_that_stays_off_on_the_configuration_server_hinders_no_other_host(tmp_path: Path) -> None:
    run = running(tmp_path, Answering(ONE_OFF))
    cluster.deephaven_has_begun(run, "infra-1")
    assert run.notes == ["infra-1: not up: importer (Not monitored); the other hosts are turned on all the same"]


@pytest.mark.parametrize(
    ("hosts", "says"),
    [
        (Answering(ALL_OFF), "not up: cs"),
        (Answering(""), "monit cannot be understood"),
        (Answering("no daemon"), "monit names no process"),
        (Answering(ONE_OFF, connections=""), "connected to no member"),
    ],
    ids=["all of them off", "monit silent", "monit not there", "nothing talks to etcd"],
)
def test_a_configuration_server_on_which_nothing_works_stops_the_rest(
    tmp_path: Path, hosts: Answering, says: str
) -> None:
    with pytest.raises(Disproved, match=f"infra-1: .*{says}"):
        cluster.deephaven_has_begun(running(tmp_path, hosts), "infra-1")


@pytest.mark.parametrize(
    ("told", "asked"),
    [
        ({}, ["infra-1", "query-1"]),
        ({"infra-1": {"cs": "Not monitored"}, "query-1": {}}, []),
        ({"infra-1": {"cs": "OK", "etcd": "not monitored"}}, ["query-1"]),
        ({"infra-1": {"dh-etcd": "OK"}, "query-1": {"dh-etcd": "stopped"}}, ["infra-1", "query-1"]),
    ],
    ids=["nothing told", "all told", "one told", "told otherwise"],
)
def test_what_monit_said_of_etcd_is_asked_again_only_where_it_would_bring_one_back(
    tmp_path: Path, told: dict[str, dict[str, str]], asked: list[str]
) -> None:
    hosts = Answering(ALL_OFF)
    run = running(tmp_path, hosts)
    machines.monit_supervises_no_etcd(run, told)
    assert sorted(hosts.monit & {"infra-1", "query-1"}) == asked
    assert "etcd-1" in hosts.monit
