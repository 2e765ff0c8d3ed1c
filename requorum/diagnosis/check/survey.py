"""Asks all the questions of the checks, of all hosts at the same time and in few trips; decides nothing.

A host that does not answer, or whose sudo refuses, is part of what is found. Nothing is changed on any host.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from requorum import inventory as inventories
from requorum.cluster import etcd
from requorum.cluster.etcd import MemberConfig
from requorum.diagnosis import rounds
from requorum.diagnosis.check.check import Case, Seen
from requorum.hosts import clock, system
from requorum.hosts.clock import Reading
from requorum.hosts.fleet import Machine, Unreachable
from requorum.inventory import InventoryError
from requorum.refusal import Refusal
from requorum.run import facts
from requorum.run.run import Run
from requorum.snapshots import processes
from requorum.snapshots.files import newest_backup, noted
from requorum.snapshots.offsite import OffsiteError, Store, There

ROOT = Path(__file__).parents[3]
SAMPLES = 3  # of each clock; the one with the shortest way there and back counts


def take(run: Run, cases: Sequence[Case]) -> Seen:
    """Everything that the cases need: clocks, configurations, then the questions in their rounds."""
    hosts = run.options.hosts
    seen = Seen(run.terms, datetime.now(UTC), scale=run.options.timeout_scale, hosts=hosts, file=_file(hosts))
    backup, no_backup = newest_backup(run.inventory, run.options.snapshot)
    seen = replace(seen, backups=noted(run.inventory), last_up=processes.last_up(run.inventory))
    seen = replace(seen, off_site=_off_site(run))
    seen = _configs(run, _clocks(run, replace(seen, backup=backup, no_backup=no_backup)))
    for number in sorted({case.check.round for case in cases}):
        seen = _ask(run, seen, [case for case in cases if case.check.round == number])
    return seen


def _file(hosts: str) -> str:
    with contextlib.suppress(InventoryError):
        return str(inventories.find(hosts, ROOT))
    return Seen.file


def _off_site(run: Run) -> There | str | None:
    if not run.inventory.offsite.list:
        return None
    try:
        return Store(run.inventory, run.options.timeout_scale).listed()
    except OffsiteError as error:
        return f"{error.where} {error.what}"


def _clocks(run: Run, seen: Seen) -> Seen:
    found = run.fleet.each(seen.everyone(), _clock)
    silent = {host: _why(outcome) for host, outcome in found.items() if isinstance(outcome, Exception)}
    logins = {host: odd for host, login in run.fleet.logins.items() if (odd := str(login))}
    return replace(
        seen, silent=silent, logins=logins, clocks={h: c for h, c in found.items() if isinstance(c, Reading)}
    )


def _clock(machine: Machine) -> Reading:
    """The best of some samples; the first pays for the connection."""
    said = [machine.ask(clock.ask_clock(machine.name)) for _ in range(SAMPLES)]
    samples = [reading for reading in said if isinstance(reading, Reading)]
    if not samples:
        raise Refusal(machine.name, str(said[-1]), "look at it by hand")
    return min(samples, key=lambda reading: reading.margin)


def _configs(run: Run, seen: Seen) -> Seen:
    """Whether sudo lets us in, and the members' configurations, which further questions need."""
    path, silent = run.inventory.etcd.config, dict(seen.silent)
    become = run.inventory.transport.as_root
    found = rounds.kinds(
        run.fleet,
        silent,
        sudo={host: system.ask_root(host, become) for host in seen.everyone()},
        config={host: etcd.ask_config(host, path) for host in run.terms.etcd_hosts},
    )
    locked = {host: str(value) for host, value in found["sudo"].items() if value is not None}
    read = found["config"]
    bare = [host for host, config in read.items() if not isinstance(config, MemberConfig) and host not in locked]
    told: dict[str, MemberConfig] = {}
    with contextlib.suppress(Unreachable):  # it fell silent meanwhile: then what its file says stands
        told = {
            host: one for host, one in facts.told(run, facts.starts(run, bare)).items() if isinstance(one, MemberConfig)
        }
    read |= told
    return replace(
        seen,
        silent=silent,
        locked=locked,
        configs={host: value for host, value in read.items() if isinstance(value, MemberConfig)},
        broken_configs={host: f"{why.where} {why.what}" for host, why in read.items() if isinstance(why, Refusal)},
        without_file=frozenset(told),
    )


def _ask(run: Run, seen: Seen, cases: Sequence[Case]) -> Seen:
    """One trip a host for all cases; each value goes back to the case that asked."""
    silent = dict(seen.silent)
    asked = {(case, key): q for case in cases for key, q in case.check.ask(seen, case.subject).items()}
    answers: dict[tuple[str, str], dict[Any, Any]] = {}
    for (case, key), value in rounds.ask(run.fleet, silent, asked).items():
        answers.setdefault((case.check.name, case.subject), {})[key] = value
    return replace(seen, silent=silent, answers={**seen.answers, **answers})


def _why(outcome: Exception) -> str:
    """What stands in the way of a host. An error that nobody foresaw is raised."""
    if not isinstance(outcome, Refusal):
        raise outcome
    return outcome.what
