"""What the proofs of Steps 4 and 5 say to do first, by what they found."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, cast

import pytest

from requorum.hosts.fleet import Machine
from requorum.hosts.systemd import Unit
from requorum.recovery.proofs import cluster
from requorum.refusal import Disproved, Remedy
from requorum.run import facts
from requorum.run.marker import Phase
from requorum.run.run import Run
from tests.unit import build

UNITS = {"etcd-1": build.RUNNING, "etcd-2": Unit("loaded", "failed", "failed", "enabled", "x"), "etcd-3": build.RUNNING}


class Proving:
    """A run whose proofs find what `says` has; what is asked of a host is its leader, then its unit."""

    inventory, health_seconds = build.inventory(), 0.0

    def __init__(self, says: str = "", phase: Phase = Phase.STARTED) -> None:
        self.says = says
        self.terms, self.mark = build.terms(phase), build.mark(phase)

    def prove(
        self, hosts: Iterable[str], claim: str, probe: Callable[[Machine], str | None], remedy: str, within: float
    ) -> None:
        found = {host: self.says or probe(cast(Machine, Asked(host))) for host in hosts}
        raise Disproved(claim, {host: words for host, words in found.items() if words}, remedy)


class Asked:
    def __init__(self, name: str) -> None:
        self.name, self.told = name, iter((None, UNITS[name]))

    def ask(self, question: object) -> Any:
        return next(self.told)


def disproved(phase: Phase, says: str, remedy: str = "look there") -> Disproved:
    with pytest.raises(Disproved) as error:
        cluster._on_configuration_server(cast(Run, Proving(says, phase)), "all is well", lambda _: says, remedy)
    assert error.value.asked
    return error.value


@pytest.mark.parametrize("says", ["https://etcd-1:2379: alarm: NOSPACE", "etcdserver: mvcc: database space exceeded"])
def test_a_full_quota_is_raised_in_the_inventory_and_the_run_given_up_for_it(says: str) -> None:
    error = disproved(Phase.STARTED, says)
    assert "etcd.keep_settings: [quota-backend-bytes=8589934592]" in error.remedy
    assert error.remedy.index("pytest runbook/rollback") < error.remedy.index("pytest runbook --hosts")
    assert not error.anew, "the same data has the same quota"


def test_nobody_is_sent_back_for_a_full_quota_once_deephaven_may_have_written() -> None:
    assert disproved(Phase.POWERING_ON, "alarm: NOSPACE").remedy == "look there"
    assert disproved(Phase.STARTED, "alarm: NOSPACE", cluster.LIVING).remedy == cluster.LIVING


def test_anything_else_has_its_own_remedy() -> None:
    error = disproved(Phase.STARTED, "no leader")
    assert error.remedy == "look there" and error.anew


def test_where_no_leader_is_seen_the_unit_that_ended_is_at_fault_and_its_journal_is_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(facts, "configs", lambda run, hosts: {host: build.config() for host in hosts})
    with pytest.raises(Disproved) as error:
        cluster.every_member_sees_a_leader(cast(Run, Proving()))
    assert len(error.value.findings) == 3 and error.value.hosts == ("etcd-2",)
    told = error.value.remedy
    assert isinstance(told, Remedy)
    assert [" ".join(argv) for argv in told.by_hand] == [f"journalctl --no-pager -q -o cat -n 80 -u {build.UNIT}"]


def test_the_member_that_differs_is_named_where_most_agree() -> None:
    assert cluster._odd({"a": 1, "b": 2, "c": 1}) == "b: hash 2; all others: 1"
    assert cluster._odd({"a": 1, "b": 2}) == "a: hash 1; b: hash 2"
