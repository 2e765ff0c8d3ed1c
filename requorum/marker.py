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
    POWERING_ON = 2  # everything was proven; from here Deephaven may have written
    DONE = 3


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
    """The unfinished run, if it changed anything: one that only diagnosed is left behind, and a new run is begun."""
    return unfinished({host: mark for host, mark in marks.items() if mark and mark.phase > Phase.OPEN})


def unfinished(marks: dict[str, Marker | None]) -> Marker | None:
    """The one run that is under way, at the furthest phase that any host knows; None when there is none.

    Raises `MarkerError` when the hosts name several unfinished runs. A finished mark of the same run on one host
    and not on another means that the run was cut at its very end: it is still to be carried on.
    """
    found = {host: mark for host, mark in marks.items() if mark is not None}
    runs = {mark.run for mark in found.values() if not mark.finished}
    if not runs:
        return None
    if len(runs) > 1:
        named = "; ".join(f"{host}: run {m.run} by {m.by}" for host, m in sorted(found.items()) if not m.finished)
        raise MarkerError(
            "the hosts",
            f"carry marks of several unfinished runs: {named}",
            f"decide which run holds, then move the others' {BASE}/…/run.json away on their hosts",
        )
    (run,) = runs
    return max((mark for mark in found.values() if mark.run == run), key=lambda mark: mark.phase)
