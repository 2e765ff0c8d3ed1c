"""Facts for going back: `baseline` says what is asked, `rollback` what is run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from requorum.command import SLICE, Result
from requorum.hosts import systemd
from requorum.hosts.fleet import Machine
from requorum.hosts.question import Question, both, every
from requorum.recovery import ahead
from requorum.recovery.undo import baseline, rollback
from requorum.recovery.undo.baseline import Difference, Record
from requorum.refusal import remedy
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
    found = run.ask({host: _ask_as_it_is(run, host) for host in hosts})
    if not begun:
        return found
    left = facts.files(run, {host: baseline.traces(run.terms) for host in found})
    return {h: r for h, r in found.items() if not baseline.is_touched(r, run.mark.token, left[h])}


def _ask_as_it_is(run: Run, host: str) -> Question[Record]:
    listing, unit = baseline.ask_listing(host, run.terms), systemd.ask_unit(host, run.inventory.etcd.unit)
    monit = [baseline.ask_supervised(host, run.inventory)] if host in run.terms.deephaven_hosts else []
    asked = both(both(listing, unit), every(monit))

    def read(*answers: Result) -> Record:
        (entries, state), on = asked.understand(answers)
        return Record(entries, state.enabled, state.running, next(iter(on), None))

    return Question(asked.commands, read)


def records(run: Run) -> dict[str, Record | None]:
    """What every host was before the run; None where nothing was recorded."""
    return run.ask({host: baseline.ask_record(host, run.terms) for host in run.terms.everyone})


def differences(run: Run, known: Mapping[str, Record]) -> dict[str, Difference]:
    """How every host that has a record differs from it now."""
    now = run.ask({host: baseline.ask_listing(host, run.terms) for host in known})
    return {host: baseline.difference(known[host].entries, listed) for host, listed in now.items()}


def deephaven_is_on(run: Run, hosts: Iterable[str] | None = None) -> dict[str, bool | None]:
    """Whether any process is supervised on these Deephaven hosts, all if not said; None where that is unknown."""
    hosts = run.terms.deephaven_hosts if hosts is None else hosts
    return run.ask({host: baseline.ask_supervised(host, run.inventory) for host in hosts})


def disks(run: Run, paths: Mapping[str, Iterable[str]]) -> dict[str, rollback.Disk]:
    """What would have to move to another disk to be set aside. Shape: host → paths."""
    return run.ask({host: rollback.ask_disk(run.terms, host, found) for host, found in paths.items()})


def restored_ahead(run: Run, hosts: Iterable[str]) -> list[str]:
    """Of these hosts, the new members where this run's directory beside the data is still there."""
    members = [host for host in run.terms.member_hosts if host in hosts]
    found = run.ask({host: ahead.ask(run.terms, host) for host in members})
    return [host for host, one in found.items() if one.left]


def no_command_is_left(run: Run) -> None:
    """Commands of a killed runbook run on until they end; beside one nothing could be proven."""

    def probe(machine: Machine) -> str | None:
        left = machine.ask(baseline.ask_left_running(machine.name))
        return f"still running: {'; '.join(row[:120] for row in left)}" if left else None

    run.prove(
        run.terms.everyone,
        "no command of a run is at work any more",
        probe,
        remedy(
            "let it end, as it does by its own deadline, then run the same again",
            ("systemctl", "stop", SLICE),
            first="let it end, as it does by its own deadline; or end it, as Ctrl-C would have",
        ),
        within=ENDING_SECONDS,
    )
