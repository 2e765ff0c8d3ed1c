"""What outlives a run's mark: which runs backed the passwords up, which got to power on, which were rolled back.

The old passwords are backed up once for each incident, not for each run. Pure functions only.

A run that was given up by hand after the vendor's generator may have left new passwords in the live configuration. The
next run of the same incident takes over what the first one backed up. A wrong guess is harmless: the trial refuses a
password that does not log in, before anything is committed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Any

from requorum.cluster.etcd import is_not_there
from requorum.cluster.lineage import Lineage
from requorum.command import Command, Result, look
from requorum.hosts import kept
from requorum.hosts.kept import File
from requorum.hosts.question import NAME, Question, checked, complete, in_time
from requorum.refusal import Refusal
from requorum.run import marker
from requorum.run.marker import SHA256, Marker, MarkerError, Outlived, Phase

BACKUP = "client.before"
UNDONE = "rolled-back"  # an empty file in a run's directory: what it changed is as before


@dataclass(frozen=True)
class Told:
    """What one host says of runs: its mark, None where it has none or was not asked for it, the runs with a backup of
    the passwords on it, those that were rolled back on it, and the clusters that were made."""

    mark: Marker | MarkerError | None
    kept: frozenset[str]
    undone: frozenset[str]
    births: tuple[Birth, ...]


def ask_runs(host: str, cluster: str) -> Question[Told]:
    mark = look(host, "cat", marker.path(cluster), why="mark of a run")
    left = look(host, "sh", "-c", _LEFT, marker.directory(cluster), why="what earlier runs kept, undid and made")
    return Question((mark, left), lambda said, left: replace(_read_left(left, cluster), mark=_read_mark(said)))


# What a note says stands behind the first `=`, and is no name.
_BIRTHS = 'for file in "$0"/*/birth.json; do [ ! -f "$file" ] || cat "$file"; done'
_LEFT = f"""find "$0" -mindepth 2 -maxdepth 2 '(' -name {BACKUP} -o -name {UNDONE} ')'; echo =; {_BIRTHS}"""


def _read_left(answer: Result, cluster: str) -> Told:
    host = answer.command.host
    names, _, births = f"\n{complete(answer).stdout}".partition("\n=\n")
    rows = [line.removeprefix(f"{marker.directory(cluster)}/").partition("/") for line in names.splitlines()]
    backed_up, undone = (
        frozenset(run for run, _, name in rows if name == wanted and _is_run(host, run)) for wanted in (BACKUP, UNDONE)
    )
    return Told(None, backed_up, undone, _births(host, births))


def _read_mark(answer: Result) -> Marker | MarkerError | None:
    """None only where there is no such file; a plan knows of none."""
    host = in_time(answer).command.host
    if answer.code:
        return (
            None
            if (answer.planned and not answer.stderr) or is_not_there(answer)
            else marker.unread(host, f"cannot be read: {answer.words}")
        )
    if not answer.stdout.strip():
        return marker.unread(host, "is empty")
    return marker.read_mark(host, answer.stdout)


def _is_run(host: str, name: str) -> bool:
    try:
        return bool(marker.run_name(host, name))
    except (Refusal, ValueError):
        return False


def with_births(known: Outlived, births: Iterable[Birth]) -> Outlived:
    """The same, and what these tell of how far runs got."""
    reached = dict(known.reached)
    for birth in (birth for birth in births if birth.alive):
        reached[birth.run] = max(birth.phase, reached.get(birth.run, birth.phase))
    return replace(known, reached=reached)


def marks(told: Mapping[str, Told]) -> dict[str, Marker | None]:
    """Every host's mark. Raises `MarkerError` where one is not understood."""
    broken = [on_host.mark for on_host in told.values() if isinstance(on_host.mark, MarkerError)]
    if broken:
        where, what = ", ".join(error.where for error in broken), "; ".join(error.what for error in broken)
        raise MarkerError(where, what, broken[0].remedy)
    return {host: on_host.mark for host, on_host in told.items() if not isinstance(on_host.mark, MarkerError)}


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


def as_it_is(birth: Birth, revision: int, bump: int) -> Birth:
    """As its data, at `revision`, tells: a revision below all bumps lacks this run's, since people restored the data
    themselves; with that subtracted all the same it would be behind whatever was lost before."""
    return replace(birth, bumps=max(birth.bumps - bump, 0)) if revision < birth.bumps else birth


def birth_file(cluster: str, birth: Birth) -> File:
    """Its note in the run's own directory; it stays there when the run is long over."""
    line = json.dumps({**asdict(birth), "phase": birth.phase.name}) + "\n"
    return File(f"{marker.directory(cluster, birth.run)}/birth.json", line)


def write_birth(host: str, cluster: str, birth: Birth) -> Command:
    """Notes it apart from any mark, on a host that may not know its run."""
    why, places = "note from which data the new cluster comes", marker.places(cluster, birth.run)
    return kept.write(host, birth_file(cluster, birth), why, places=places)


def ask_births(host: str, cluster: str) -> Question[tuple[Birth, ...]]:
    """Every run's birth record, one line each; a line that cannot be read is as good as none."""
    question = look(host, "sh", "-c", _BIRTHS, marker.directory(cluster), why="clusters that earlier runs made")
    return Question(question, lambda answer: _births(host, complete(answer).stdout))


def _births(host: str, text: str) -> tuple[Birth, ...]:
    found = []
    for line in filter(None, text.splitlines()):
        with suppress(ValueError, KeyError, TypeError, AttributeError, RecursionError, Refusal):
            found.append(_birth(host, json.loads(line)))
    return tuple(found)


def _birth(host: str, data: dict[str, Any]) -> Birth:
    """The parent is somebody else's cluster: its token is only compared and shown."""
    token, cluster_id = (data["parent"] or {}).get("token"), (data["parent"] or {}).get("cluster_id")
    if not (isinstance(token, str | None) and isinstance(cluster_id, int | None) and isinstance(data["bumps"], int)):
        raise ValueError(data)
    parent = Lineage(token, cluster_id) if data["parent"] else None
    birth = Birth(**{**data, "phase": Phase[data["phase"]], "parent": parent})
    marker.run_name(host, birth.run)
    checked(host, "token", birth.token, NAME)
    checked(host, "SHA-256", birth.sha256, SHA256)
    return birth


def furthest(births: Iterable[Birth]) -> dict[str, Birth]:
    """token → its birth, at the furthest phase that any host knows."""
    found: dict[str, Birth] = {}
    for birth in births:
        if birth.token not in found or birth.phase > found[birth.token].phase:
            found[birth.token] = birth
    return found
