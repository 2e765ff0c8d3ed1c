"""The direct run: what must hold before, what became of it, that the unit is back."""

from __future__ import annotations

from collections import deque

from requorum.command import HUGE, Collect, Collected, Result, look
from requorum.hosts import systemd
from requorum.hosts.fleet import Machine
from requorum.hosts.systemd import ExecStart
from requorum.run.run import Run, until_holds
from requorum.troubleshoot import run_directly

SHOWN = 8  # lines of etcd's output that stand in the run's own
MOST_BYTES = 10_000_000_000  # of that output in the evidence


def end_earlier_run(run: Run, host: str) -> None:
    """Ends the direct run that an interrupted one left, and waits until it has started the unit again."""
    (answer,) = run.ask([systemd.ask_unit(host, run_directly.UNIT)])
    if not systemd.parse_unit(answer.stdout).running:
        return
    run.note("an earlier direct run is still under way, and is ended")
    run.do(run_directly.end_earlier(host))
    unit = run.inventory.etcd.unit

    def is_back() -> str | None:
        (state,) = run.ask([systemd.ask_unit(host, unit)])
        return None if systemd.parse_unit(state.stdout).running else "not yet"

    until_holds(is_back, within=5)  # where it was stopped before that run it stays so


def command_of(run: Run, host: str) -> ExecStart:
    """What the installed unit runs. Raises `UnitError` where it has no ExecStart."""
    unit = run.inventory.etcd.unit
    (answer,) = run.ask([systemd.ask(host, unit)])
    return systemd.parse(answer.stdout + answer.stderr if answer.code else answer.stdout, host, unit)


def the_account_is_there(run: Run, host: str) -> None:
    account = run.inventory.etcd.user

    def probe(machine: Machine) -> str | None:
        answer = machine.ask(look(machine.name, "id", "-u", account, why="etcd's account", root=False))
        return None if answer.code == 0 else answer.words

    run.prove((host,), f"the account {account} is there", probe, "correct etcd.user in the inventory")


def it_ran(run: Run, result: Result) -> None:
    """systemd says that it ran, and how it ended."""
    ended = run_directly.ending(result.stderr + result.stdout)
    host = result.command.host
    remedy = "look at the host's journal: journalctl -u " + run_directly.UNIT
    run.settle("etcd was run directly", {host: None if ended else f"it never ran: {result.words}"}, remedy)
    words = {"timeout": "it ran until its time was up", "success": "it ended by itself"}
    run.note(words.get(str(ended), f"it ended by itself, before its time was up: {ended}"))


def keep_the_output(run: Run, host: str, where: run_directly.Place) -> None:
    """All that etcd said, streamed into the evidence without what looks like a secret; the host keeps its copy."""
    if not run.acts:  # a plan has no output
        return
    target = run.journal.directory / f"{host}.log"
    said = look(host, "cat", where.log, why="all that etcd said", deadline=HUGE)
    (answer,) = run.fleet.collect([Collect(said, str(target), MOST_BYTES)]).values()
    if isinstance(answer, Exception):
        raise answer
    (found,) = answer
    run.settle(
        "etcd said something, and all of it is kept",
        {host: _lacking(found)},
        f"look at it on the host: {where.log}; and at its journal: journalctl -u {run_directly.UNIT}",
    )
    with target.open(encoding="utf-8", errors="replace") as lines:
        last = deque(enumerate(lines, start=1), SHOWN)
    run.note(f"{last[-1][0]} lines: {target}")
    for _, line in last:
        run.note(line.rstrip()[:200])


def _lacking(found: Collected) -> str | None:
    if found.code:
        return f"it could not be read: {found.said}"
    if found.cut:
        return f"more than {MOST_BYTES:,} bytes, the rest of which was left out here"
    return None if found.bytes else "no output"


def it_is_as_before(run: Run, host: str) -> None:
    """For a unit that did not run before: it does not now, and nothing of the direct run is left."""

    def probe(machine: Machine) -> str | None:
        for unit in (run.inventory.etcd.unit, run_directly.UNIT):
            found = systemd.parse_unit(machine.ask(systemd.ask_unit(machine.name, unit)).stdout)
            if found.running:
                return f"{unit} is {found}"
        return None

    run.prove((host,), "etcd is stopped, as it was before", probe, "stop it there", within=run_directly.STOP_SECONDS)
