"""Facts for going back, and the save of a cluster that is discarded: the one thing here that is not a look.

`baseline` says what is asked, `rollback` what is run; the save's planners are the backup's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from requorum.cluster import deephaven
from requorum.command import Command
from requorum.hosts import system, systemd
from requorum.hosts.fleet import Machine
from requorum.recovery.undo import baseline, rollback
from requorum.recovery.undo.baseline import Difference, Record
from requorum.run import facts
from requorum.run.marker import Phase
from requorum.run.run import Run

ENDING_SECONDS = 60  # a short command of a killed runbook has ended by then


def as_it_is(run: Run) -> dict[str, Record]:
    """Every host as it is now, for the record of a run that is about to change it.

    Once the run has begun to, only a host that was gone until now: it has no record, and nothing of this run.
    """
    begun = run.mark.phase > Phase.OPEN
    hosts = [h for h, found in records(run).items() if found is None] if begun else run.terms.everyone
    questions = [question for host in hosts for question in _questions(run, host)]
    found = {}
    for host, (listing, unit, *monit) in run.look_by_host(questions).items():
        found[host] = baseline.of_host(listing, systemd.parse_unit(unit.stdout), monit[0] if monit else None)
    if not begun:
        return found
    left = facts.files(run, {host: baseline.traces(run.terms) for host in found})
    return {h: r for h, r in found.items() if not baseline.is_touched(r, run.mark.token, left[h])}


def _questions(run: Run, host: str) -> list[Command]:
    questions = [baseline.ask_listing(host, run.terms), systemd.ask_unit(host, run.inventory.etcd.unit)]
    if host in run.terms.deephaven_hosts:
        questions.append(deephaven.ask_monit(run.inventory, host))
    return questions


def records(run: Run) -> dict[str, Record | None]:
    """What every host was before the run; None where nothing was recorded."""
    answers = facts.by_host(run, [baseline.ask_record(host, run.terms) for host in run.terms.everyone])
    return {host: baseline.parse_record(host, result.stdout) for host, result in answers.items()}


def differences(run: Run, known: Mapping[str, Record]) -> dict[str, Difference]:
    """How every host that has a record differs from it now."""
    answers = facts.by_host(run, [baseline.ask_listing(host, run.terms) for host in known])
    return {h: baseline.difference(known[h].entries, system.parse_listing(r.stdout)) for h, r in answers.items()}


def deephaven_is_on(run: Run) -> dict[str, bool | None]:
    """Whether any process is supervised on each Deephaven host; None where monit cannot be understood."""
    hosts = run.terms.deephaven_hosts
    answers = facts.by_host(run, [deephaven.ask_monit(run.inventory, host) for host in hosts])
    return {host: baseline.supervised(result) for host, result in answers.items()}


def disks(run: Run, paths: Mapping[str, Iterable[str]]) -> dict[str, rollback.Disk]:
    """What would have to move to another disk to be set aside. Shape: host → paths."""
    questions = [rollback.ask_disk(run.terms, host, tuple(found)) for host, found in paths.items()]
    return {host: rollback.parse_disk(r.stdout) for host, r in facts.by_host(run, questions).items()}


def no_command_is_left(run: Run) -> None:
    """Commands of a killed runbook run on until they end; beside one nothing could be proven."""

    def probe(machine: Machine) -> str | None:
        left = baseline.left_running(machine.look(baseline.ask_left_running(machine.name)).stdout)
        return f"still running: {'; '.join(row[:120] for row in left)}" if left else None

    run.prove(
        run.terms.everyone,
        "no command of a run is at work any more",
        probe,
        "let it end, or end it there by its number; then run the same again",
        within=ENDING_SECONDS,
    )


# -- past the point of no return ---------------------------------------------------------------------------------
