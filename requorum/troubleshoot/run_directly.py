"""etcd run without its unit, for a while: the plan of it, and how its end is read. Pure.

One transient systemd unit does everything on the host: it stops the installed unit, runs that unit's own command line
as the etcd account, ends it in time, and starts the installed unit again however it ended. So nothing is owed to the
machine that asked for it: not after Ctrl-C, not after a lost connection, not after a kill.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from requorum.command import LONG, Command, act
from requorum.hosts.systemd import ExecStart
from requorum.run import marker

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


def run(host: str, where: Place, unit: str, account: str, what: ExecStart, seconds: int, again: bool) -> list[Command]:
    """Stops `unit`, runs `what` as `account` for at most `seconds`, all it says in `where.log`; `again`: starts `unit`
    afterwards. The unit's environment goes by a file, since it may hold what must not be seen in a process list."""
    base = marker.BASE
    properties = [
        f"RuntimeMaxSec={seconds}",
        f"TimeoutStartSec={LONG}",
        f"TimeoutStopSec={STOP_SECONDS}",
        f"StandardOutput=file:{where.log}",
        "StandardError=inherit",
        f"ExecStartPre={SYSTEMCTL} stop {unit}",
        *([f"ExecStopPost={SYSTEMCTL} start --no-block {unit}"] if again else []),
        f"LimitNOFILE={what.files}",
        *([f"WorkingDirectory={what.directory}"] if what.directory else []),
        f"EnvironmentFile={where.environment}",  # before the unit's own files, which win over its Environment=
        *(f"EnvironmentFile={path}" for path in what.environment_files),
    ]
    return [
        act(
            host,
            "install",
            "-d",
            "-m",
            "700",
            base,
            where.directory.rsplit("/", 1)[0],
            where.directory,
            why="a place for what etcd says, for root only",
        ),
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
                *(f"--property={p}" for p in properties),
                "runuser",
                "-u",
                account,
                "--",
                *what.argv,
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
