"""Another try: what takes away the data that a run restored, on all members, as data. Pure planners.

Afterwards the run is where it was before its first restore, and the runbook's own steps carry it on.
"""

from __future__ import annotations

from collections.abc import Mapping

from requorum.cluster.etcd import MemberConfig
from requorum.command import Command, act
from requorum.deadlines import LONG
from requorum.hosts.systemd import Unit
from requorum.recovery import ahead
from requorum.recovery.plan import is_new
from requorum.recovery.undo import rollback
from requorum.recovery.written import Wrote
from requorum.refusal import NothingToDo, Refusal
from requorum.run.marker import Marker, Phase
from requorum.run.terms import Terms


class RetryError(Refusal):
    """There is no failed restore or start to try again."""


def refusal(mark: Marker | None, named: str | None, hosts: str) -> Refusal | None:
    """Why there is nothing to try again; None if there is. `named`: a snapshot; `hosts`: what `--hosts` was."""
    if mark is None:
        remedy = f"recover with: pytest runbook --hosts={hosts}"
        return NothingToDo("the hosts", "carry no mark of an unfinished run", remedy)
    where = f"run {mark.run} of {mark.by}"
    if mark.phase >= Phase.POWERING_ON:
        return RetryError(
            where,
            "had turned Deephaven on, so its data may hold new writes",
            f"carry it on with: pytest runbook --hosts={hosts}; or go back: {mark.rollback(hosts)}",
        )
    if named:
        return RetryError(
            f"--snapshot={named}",
            f"cannot be used here: {where} is tried again with its own snapshot",
            f"for another one go back first: {mark.rollback(hosts)}",
        )
    return None


def not_installed(terms: Terms, configs: Mapping[str, MemberConfig | None], hosts: str) -> RetryError | None:
    """A run that did not get to Step 4 has nothing to try again; it is only carried on."""
    lacking = [host for host in terms.member_hosts if not is_new(terms, configs[host])]
    if not lacking:
        return None
    return RetryError(
        ", ".join(lacking),
        f"has not the new configuration yet: run {terms.mark.run} did not get to Step 4",
        f"carry it on with: pytest runbook --hosts={hosts}",
    )


def written(mark: Marker, wrote: Wrote, hosts: str) -> RetryError:
    where = f"run {mark.run} of {mark.by}"
    return RetryError(where, f"its cluster {wrote}", rollback.ways_out(mark, wrote, hosts))


def data_of(terms: Terms, configs: Mapping[str, MemberConfig]) -> dict[str, tuple[str, ...]]:
    """host → where this run's data may lie: restored, or half restored."""
    return {h: (configs[h].data_dir, f"{configs[h].data_dir}.restoring") for h in terms.member_hosts}


def places_of(terms: Terms, configs: Mapping[str, MemberConfig]) -> dict[str, tuple[str, ...]]:
    """The same, and where this run restores before it is committed."""
    return {host: (*paths, ahead.place(terms)) for host, paths in data_of(terms, configs).items()}


def stop_etcd(terms: Terms, units: Mapping[str, Unit]) -> list[Command]:
    """The new etcd on every member, before the data of any is touched; nor may it start with the machine meanwhile."""
    unit = terms.inventory.etcd.unit
    plan: list[Command] = []
    for host in terms.member_hosts:
        if units[host].enabled == "enabled":
            plan.append(act(host, "systemctl", "disable", unit, why=f"{unit} must not start by itself meanwhile"))
        if units[host].running:
            plan.append(Command(host, ("systemctl", "stop", unit), f"stop {unit}", deadline=LONG))
        if units[host].active == "failed":
            plan.append(act(host, "systemctl", "reset-failed", unit, why="and forget its failure", accept=(0, 1, 5)))
    return plan


def set_aside(terms: Terms, existing: Mapping[str, tuple[str, ...]]) -> list[Command]:
    """`existing`: host → which of `data_of` are there. Moved into the run's directory, beside earlier tries."""
    kept = terms.place("tried")
    plan: list[Command] = []
    for host, paths in existing.items():
        if paths:
            plan.append(act(host, "mkdir", "-p", kept, why="where the data of earlier tries is kept"))
        plan += [rollback.away(host, path, kept) for path in paths]
    return plan
