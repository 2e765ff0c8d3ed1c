"""Asks all the questions of the checks, of all hosts at the same time and in few trips; decides nothing.

A host that does not answer, or whose sudo refuses, is part of what is found. Nothing is changed on any host.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from requorum.cluster import etcd
from requorum.command import Command, Result, look
from requorum.diagnosis.check.check import Case, Seen
from requorum.hosts import clock
from requorum.hosts.clock import Reading
from requorum.hosts.fleet import Machine
from requorum.refusal import Refusal
from requorum.run.run import Run
from requorum.snapshots.files import newest_backup

SAMPLES = 3  # of each clock; the one with the shortest way there and back counts


def take(run: Run, cases: Sequence[Case]) -> Seen:
    """Everything that the cases need: clocks, configurations, then the questions in their rounds."""
    seen = Seen(run.terms, datetime.now(UTC))
    backup, no_backup = newest_backup(run.inventory, run.options.snapshot)
    seen = _configs(run, _clocks(run, replace(seen, backup=backup, no_backup=no_backup)))
    for number in sorted({case.check.round for case in cases}):
        seen = _ask(run, seen, [case for case in cases if case.check.round == number])
    return seen


def _clocks(run: Run, seen: Seen) -> Seen:
    found = run.fleet.each(seen.everyone(), _clock)
    silent = {host: _why(outcome) for host, outcome in found.items() if isinstance(outcome, Exception)}
    return replace(seen, silent=silent, clocks={h: c for h, c in found.items() if isinstance(c, Reading)})


def _clock(machine: Machine) -> Reading:
    """The best of some samples; the first pays for the connection."""
    samples = []
    for _ in range(SAMPLES):
        began = time.time()
        answer = machine.look(clock.ask(machine.name))
        reading = clock.parse(answer, began + answer.seconds)
        if reading is not None:
            samples.append(reading)
    if not samples:
        raise Refusal(machine.name, f"date says: {answer.words}", "look at it by hand")
    return min(samples, key=lambda reading: reading.margin)


def _configs(run: Run, seen: Seen) -> Seen:
    """Whether sudo lets us in, and the members' configurations, which further questions need."""
    path = run.inventory.etcd.config
    questions = [look(host, "true", why="sudo works without a password") for host in seen.everyone()]
    questions += [look(host, "cat", path, why=f"read {path}") for host in run.terms.etcd_hosts]
    seen, answers = _gather(run, seen, questions)
    locked = {r.command.host: f"sudo refused: {r.words}" for r in answers if r.command.argv == ("true",) and r.code}
    configs, broken = {}, {}
    for answer in answers:
        host = answer.command.host
        if answer.command.argv[0] == "cat" and answer.code == 0:
            try:
                configs[host] = etcd.parse_config(answer.stdout, path)
            except etcd.EtcdError as error:
                broken[host] = f"{error.where} {error.what}"
    return replace(seen, locked=locked, configs=configs, broken_configs=broken)


def _ask(run: Run, seen: Seen, cases: Iterable[Case]) -> Seen:
    """One trip a host for all cases; each answer goes back to the case that asked."""
    asked = [(case, command) for case in cases for command in case.check.ask(seen, case.subject)]
    seen, results = _gather(run, seen, [command for _, command in asked])
    answers: dict[tuple[str, str], list[Result]] = {}
    owners: dict[str, list[Case]] = {}
    for case, command in asked:
        owners.setdefault(command.host, []).append(case)
    for result in results:  # each host's in the order in which it was asked
        case = owners[result.command.host].pop(0)
        answers.setdefault((case.check.name, case.subject), []).append(result)
    return replace(seen, answers={**seen.answers, **answers})


def _gather(run: Run, seen: Seen, questions: Sequence[Command]) -> tuple[Seen, list[Result]]:
    """Asks those who have answered so far; who falls silent now is silent from here on."""
    changing = [question for question in questions if question.changes]
    assert not changing, f"a check must not change anything: {changing}"
    outcomes = run.fleet.gather([q for q in questions if q.host not in seen.silent])
    silent = {host: _why(outcome) for host, outcome in outcomes.items() if isinstance(outcome, Exception)}
    results = [result for outcome in outcomes.values() if isinstance(outcome, list) for result in outcome]
    return replace(seen, silent={**seen.silent, **silent}), results


def _why(outcome: Exception) -> str:
    """What stands in the way of a host. An error that nobody foresaw is raised."""
    if not isinstance(outcome, Refusal):
        raise outcome
    return outcome.what
