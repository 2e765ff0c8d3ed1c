"""What outlives a run's mark: which runs backed the passwords up, which got to power on, which were rolled back.

The old passwords are backed up once for each incident, not for each run. Pure functions only.

A run that was given up by hand after the vendor's generator may have left new passwords in the live configuration. The
next run of the same incident takes over what the first one backed up. A wrong guess is harmless: the trial refuses a
password that does not log in, before anything is committed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from requorum.cluster.lineage import Lineage
from requorum.command import Command, Result, act, look
from requorum.run import marker
from requorum.run.marker import Outlived, Phase

BACKUP = "client.before"
UNDONE = "rolled-back"  # an empty file in a run's directory: what it changed is as before


def ask_runs(host: str, cluster: str) -> Command:
    """Which runs have a backup of the passwords on this host, and which were rolled back."""
    return look(
        host,
        "find",
        marker.directory(cluster),
        "-mindepth",
        "2",
        "-maxdepth",
        "2",
        "(",
        "-name",
        BACKUP,
        "-o",
        "-name",
        UNDONE,
        ")",
        "-printf",
        r"%P\n",
        why="which passwords earlier runs kept",
    )


def parse_runs(text: str) -> tuple[frozenset[str], frozenset[str]]:
    """`ask_runs`' answer: runs with a backup, runs that were rolled back."""
    rows = [line.partition("/") for line in text.splitlines()]
    kept, undone = (frozenset(run for run, _, name in rows if name == wanted) for wanted in (BACKUP, UNDONE))
    return kept, undone


def ask_outlived(host: str, cluster: str) -> list[Command]:
    return [ask_runs(host, cluster), ask_births(host, cluster)]


def outlived(answers: Iterable[Result], cluster: str) -> Outlived:
    """What `ask_outlived` was told, wherever among other answers it stands."""
    reached: dict[str, Phase] = {}
    undone: dict[str, frozenset[str]] = {}
    for answer in answers:
        host = answer.command.host
        if answer.command == ask_runs(host, cluster):
            undone[host] = parse_runs(answer.stdout)[1]
        elif answer.command == ask_births(host, cluster):
            for birth in parse_births(answer.stdout):
                if birth.alive:
                    reached[birth.run] = max(birth.phase, reached.get(birth.run, birth.phase))
    return Outlived(reached, undone)


def first_backup(run: str, kept: Iterable[str], undone: Iterable[str], births: Iterable[Birth]) -> str | None:
    """The run whose backup `run` takes over on this host: the first one that has any since the last run that came to
    power on, and was not rolled back; None where there is none. A run's name begins with its UTC start."""
    over = max((birth.run for birth in births if birth.alive), default="")
    return min((other for other in set(kept) - set(undone) if over < other < run), default=None)


@dataclass(frozen=True)
class Birth:
    """A cluster that a run of ours made: its token, from whose data, `bumps` of its revision by us, all of them added.

    `phase` tells how far the run got: only from `POWERING_ON` on may Deephaven have written into it.
    """

    token: str
    run: str
    phase: Phase
    sha256: str
    parent: Lineage | None
    bumps: int

    @property
    def alive(self) -> bool:
        return self.phase >= Phase.POWERING_ON


def write_birth(host: str, cluster: str, birth: Birth) -> list[Command]:
    """Notes the birth in the run's own directory, in one step; it stays there when the run is long over."""
    final = f"{marker.directory(cluster, birth.run)}/birth.json"
    content = json.dumps({**asdict(birth), "phase": birth.phase.name}) + "\n"
    return [
        Command(
            host,
            ("dd", f"of={final}.part", "conv=fsync", "status=none"),
            "note from which data the new cluster comes",
            stdin=content.encode(),
        ),
        act(host, "mv", "-fT", f"{final}.part", final, why="the note takes effect"),
    ]


def ask_births(host: str, cluster: str) -> Command:
    """Every run's birth record, one line each."""
    directory = marker.directory(cluster)
    script = 'for file in "$0"/*/birth.json; do [ ! -f "$file" ] || cat "$file"; done'
    return look(host, "sh", "-c", script, directory, why="clusters that earlier runs made")


def parse_births(text: str) -> list[Birth]:
    """One birth a line; a line that cannot be read is as good as none."""
    found = []
    for line in text.splitlines():
        try:
            data = json.loads(line)
            parent = data["parent"]
            born = {**data, "phase": Phase[data["phase"]], "parent": Lineage(**parent) if parent else None}
            found.append(Birth(**born))
        except (ValueError, KeyError, TypeError):
            continue
    return found


def furthest(births: Iterable[Birth]) -> dict[str, Birth]:
    """token → its birth, at the furthest phase that any host knows."""
    found: dict[str, Birth] = {}
    for birth in births:
        if birth.token not in found or birth.phase > found[birth.token].phase:
            found[birth.token] = birth
    return found
