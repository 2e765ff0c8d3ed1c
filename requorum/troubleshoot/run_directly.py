"""etcd run without its unit, for a while: the plan of it, and how its end is read. Pure.

One transient systemd unit does everything on the host: it stops the installed unit, runs that unit's own command line
as the etcd account, ends it in time, and starts the installed unit again however it ended. So nothing is owed to the
machine that asked for it: not after Ctrl-C, not after a lost connection, not after a kill.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass

from requorum.command import Collect, Collected, Command, Result, act, look
from requorum.deadlines import HUGE, LONG, wait
from requorum.hosts import system, systemd
from requorum.hosts.fleet import Machine
from requorum.hosts.systemd import ExecStart
from requorum.run import marker
from requorum.run.run import Run

UNIT = "requorum-run-directly.service"
SYSTEMCTL = "/bin/systemctl"  # systemd wants a whole path; this one is there whether /usr is merged or not
STOP = ("systemctl", "stop", "--no-block", UNIT)
_SPECIAL, _ESCAPED = re.compile(r'(["$`\\])'), r"\\\1"
STOP_SECONDS = 30  # how long etcd may take to end before it is killed


@dataclass(frozen=True)
class Place:
    """Where one direct run keeps things on its host, for root only."""

    directory: str
    run: str

    @property
    def log(self) -> str:
        return f"{self.directory}/{self.run}.log"

    @property
    def environment(self) -> str:
        return f"{self.directory}/{self.run}.env"


def place(cluster: str, run: str) -> Place:
    return Place(f"{marker.directory(cluster)}/run_directly", run)


def end_earlier(host: str) -> list[Command]:
    """Ends a direct run that an interrupted one left; it starts the installed unit again by itself."""
    return [Command(host, ("systemctl", "stop", UNIT), "end an earlier direct run", deadline=LONG, accept=(0, 5))]


def forget(host: str, where: Place) -> list[Command]:
    """Removes the environment that was noted for a direct run, which may hold secrets; what etcd said stays."""
    why = "the noted environment is not needed any more"
    return [act(host, "find", where.directory, "-name", "*.env", "-delete", why=why)]


def _properties(where: Place, unit: str, what: ExecStart, seconds: int, again: bool) -> list[str]:
    """Of the transient unit, in systemd's words."""
    return [
        f"RuntimeMaxSec={seconds}",
        wait(LONG, "TimeoutStartSec={}"),
        wait(STOP_SECONDS, "TimeoutStopSec={}"),
        f"StandardOutput=file:{where.log}",
        "StandardError=inherit",
        f"ExecStartPre={SYSTEMCTL} stop {unit}",
        *([f"ExecStopPost={SYSTEMCTL} start --no-block {unit}"] if again else []),
        f"LimitNOFILE={what.files}",
        *([f"WorkingDirectory={what.directory}"] if what.directory else []),
        f"EnvironmentFile={where.environment}",  # before the unit's own files, which win over its Environment=
        *(f"EnvironmentFile={path}" for path in what.environment_files),
    ]


def run(host: str, where: Place, unit: str, account: str, what: ExecStart, seconds: int, again: bool) -> list[Command]:
    """Stops `unit`, runs `what` as `account` for at most `seconds`, all it says in `where.log`; `again`: starts `unit`
    afterwards. The unit's environment goes by a file, since it may hold what must not be seen in a process list."""
    places = (marker.BASE, where.directory.rsplit("/", 1)[0], where.directory)
    return [
        act(host, "install", "-d", "-m", "700", *places, why="a place for what etcd says, for root only"),
        *forget(host, where),
        act(host, "install", "-m", "600", "/dev/null", where.log, why="for all that etcd says"),
        act(host, "install", "-m", "600", "/dev/null", where.environment, why="for the unit's environment"),
        Command(
            host,
            ("dd", f"of={where.environment}", "conv=fsync", "status=none"),
            "the unit's environment",
            stdin=environment_file(what).encode(errors="surrogateescape"),
        ),
        Command(
            host,
            (
                "systemd-run",
                "--wait",
                "--collect",
                f"--unit={UNIT}",
                *(f"--property={words}" for words in _properties(where, unit, what, seconds, again)),
                "runuser",
                "-u",
                account,
                "--",
                *what.words,
            ),
            f"run etcd directly as {account} for {seconds} s",
            deadline=LONG,
            accept=None,
            stop=STOP,
        ),
    ]


def environment_file(what: ExecStart) -> str:
    """NAME="VALUE" lines as systemd reads them: within quotes only a quote, a dollar, a backtick and a backslash
    mean something."""
    pairs = (entry.partition("=") for entry in what.environment)
    return "".join(f'{name}="{_SPECIAL.sub(_ESCAPED, value)}"\n' for name, _, value in pairs)


def ending(said: str) -> str | None:
    """systemd's word for how the run ended, such as "timeout" (its time was up) or "exit-code"; None: it never ran."""
    found = re.search(r"Finished with result: (\S+)", said)
    return found[1] if found else None


SHOWN = 8  # lines of etcd's output that stand in the run's own
MOST_BYTES = 10_000_000_000  # of that output in the evidence


def end_earlier_run(run: Run, host: str) -> None:
    """Ends the direct run that an interrupted one left, and waits until it has started the unit again."""
    if not _runs(run, host, UNIT):
        return
    run.note("an earlier direct run is still under way, and is ended")
    run.do(end_earlier(host))
    unit = run.inventory.etcd.unit

    # Where it was stopped before that run it stays so.
    run.wait(lambda: None if _runs(run, host, unit) else "not yet", within=5)


def _runs(run: Run, host: str, unit: str) -> bool:
    return run.ask({host: systemd.ask_unit(host, unit)})[host].running


def command_of(run: Run, host: str) -> ExecStart:
    """What the installed unit runs. Raises `UnitError` where it has no ExecStart."""
    return run.ask({host: systemd.ask_exec(host, run.inventory.etcd.unit)})[host]


def the_account_is_there(run: Run, host: str) -> None:
    account = run.inventory.etcd.user

    def probe(machine: Machine) -> str | None:
        return "no such user" if machine.ask(system.ask_uid(machine.name, account)) is None else None

    run.prove((host,), f"the account {account} is there", probe, "correct etcd.user in the inventory")


def it_ran(run: Run, result: Result) -> None:
    """systemd says that it ran, and how it ended."""
    ended = ending(result.stderr + result.stdout)
    host = result.command.host
    remedy = "look at the host's journal: journalctl -u " + UNIT
    run.settle("etcd was run directly", {host: None if ended else f"it never ran: {result.words}"}, remedy)
    words = {"timeout": "it ran until its time was up", "success": "it ended by itself"}
    run.note(words.get(str(ended), f"it ended by itself, before its time was up: {ended}"))


def keep_the_output(run: Run, host: str, where: Place) -> None:
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
        f"look at it on the host: {where.log}; and at its journal: journalctl -u {UNIT}",
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
        for unit in (run.inventory.etcd.unit, UNIT):
            found = machine.ask(systemd.ask_unit(machine.name, unit))
            if found.running:
                return f"{unit} is {found}"
        return None

    run.prove((host,), "etcd is stopped, as it was before", probe, "stop it there", within=STOP_SECONDS)
