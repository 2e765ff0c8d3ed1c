"""The run's mark on every host: which run, which token, how far. It lets the same command carry on.

The marker says what was meant, never that it holds: every stage proves its part again from the host itself. It lies
in `/var/lib/requorum/<cluster>/run.json`, beside it a directory a run with all that was staged and set aside.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from enum import IntEnum

from requorum.command import Command, act, look
from requorum.refusal import Refusal

BASE = "/var/lib/requorum"


class MarkerError(Refusal):
    """The hosts carry marks of another run, or of several."""


class Phase(IntEnum):
    """How far a run was meant to get when the marker was written."""

    OPEN = 0  # diagnosed; nothing changed but staging
    STOPPING = 1  # Deephaven and the old etcd are being taken away
    STARTED = 2  # every member was restored, the new etcd may run: from here nothing is restored any more
    POWERING_ON = 3  # everything was proven; from here Deephaven may have written
    DONE = 4


@dataclass(frozen=True)
class Marker:
    """`snapshot` is the SHA-256 of the data that this run restores, "" until it is chosen; `origin` its kind."""

    run: str
    token: str
    phase: Phase
    by: str
    snapshot: str = ""
    origin: str = ""
    taken: str = ""
    members: str = ""

    @property
    def finished(self) -> bool:
        return self.phase is Phase.DONE


def directory(cluster: str, run: str = "") -> str:
    return f"{BASE}/{cluster}/{run}".rstrip("/")


def path(cluster: str) -> str:
    return f"{directory(cluster)}/run.json"


def ask(host: str, cluster: str) -> Command:
    return look(host, "cat", path(cluster), why="mark of a run")


def write(host: str, cluster: str, marker: Marker) -> list[Command]:
    """Writes the mark in one step: a reader sees the old one or the new one, never half of one."""
    part = f"{path(cluster)}.part"
    content = json.dumps({**asdict(marker), "phase": marker.phase.name}) + "\n"
    return [
        act(host, "install", "-d", "-m", "700", BASE, directory(cluster),
            directory(cluster, marker.run), why="a place for this run, for root only"),
        Command(host, ("dd", f"of={part}", "conv=fsync", "status=none"),
                f"mark the host: {marker.phase.name.lower().replace('_', ' ')}", stdin=content.encode()),
        act(host, "mv", "-fT", part, path(cluster), why="the mark takes effect"),
    ]  # fmt: skip


def parse(host: str, text: str) -> Marker | None:
    """None where there is no mark. Raises `MarkerError` for one that cannot be read."""
    if not text.strip():
        return None
    try:
        data = json.loads(text)
        return Marker(**{**data, "phase": Phase[data["phase"]]})
    except (ValueError, KeyError, TypeError):
        raise MarkerError(
            host,
            f"the mark of a run at {BASE}/…/run.json cannot be read",
            "look at it; move it away if no run is unfinished",
        ) from None


def to_carry_on(marks: dict[str, Marker | None]) -> Marker | None:
    """The one run that is under way, at the furthest phase that any host knows; None when there is none.

    Left behind are runs that changed nothing, runs that any host knows to be finished, and all that are older than a
    finished one (a run's name begins with its UTC start). Raises `MarkerError` when several remain.
    """
    found = {host: mark for host, mark in marks.items() if mark is not None}
    finished = max((mark.run for mark in found.values() if mark.finished), default="")
    open_marks = {host: m for host, m in found.items() if m.phase > Phase.OPEN and not m.finished and m.run > finished}
    runs = {mark.run for mark in open_marks.values()}
    if len(runs) > 1:
        named = "; ".join(f"{host}: run {m.run} by {m.by}" for host, m in sorted(open_marks.items()))
        raise MarkerError(
            "the hosts",
            f"carry marks of several unfinished runs: {named}",
            f"decide which run holds, then move the others' {BASE}/…/run.json away on their hosts",
        )
    return max(open_marks.values(), key=lambda mark: mark.phase, default=None)


def refuse_others(marks: dict[str, Marker | None], mine: Marker) -> None:
    """Right before anything is changed: raises `MarkerError` if somebody else began to in the meantime."""
    other = to_carry_on(marks)
    if other is not None and other.run != mine.run:
        raise MarkerError(
            "the hosts",
            f"run {other.run} of {other.by} has begun in the meantime",
            "let that one finish, or end it first; then run again",
        )
