"""The run's mark on every host: which run, which token, how far. It lets the same command carry on.

The marker says what was meant, never that it holds: every stage proves its part again from the host itself. It lies
in `/var/lib/requorum/<cluster>/run.json`, beside it a directory a run with all that was staged and set aside.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from enum import IntEnum

from requorum.command import Command
from requorum.hosts import kept
from requorum.hosts.kept import File, Lock, Places
from requorum.hosts.question import NAME, checked, plain
from requorum.refusal import Refusal

BASE = "/var/lib/requorum"
PROGRAMS = "/usr/libexec/requorum"  # what root keeps of ours on a host, beyond any run
RUN = re.compile(r"[0-9]{8}t[0-9]{6}z-[0-9a-f]{1,32}")  # a run's name: its UTC start, then random digits
SHA256 = re.compile(r"[0-9a-f]{0,64}")
_WORDS = re.compile(r"[A-Za-z0-9 .:/=_-]*")  # the members as `run` spells them, a kind of data, a time


class MarkerError(Refusal):
    """The hosts carry marks of another run, or of several."""


class Phase(IntEnum):
    """How far a run was meant to get when the marker was written."""

    OPEN = 0  # diagnosed; nothing changed but staging
    STOPPING = 1  # Deephaven and the old etcd are being taken away
    STARTED = 2  # every member was restored, the new etcd may run: from here nothing is restored any more
    POWERING_ON = 3  # everything was proven; from here Deephaven may have written
    DONE = 4


class Undone(IntEnum):
    """How far a rollback of the run got. Beside the phase, which stays what it was: it says what may be lost."""

    NO = 0
    BEGUN = 1  # from here the run can not be carried on, only undone
    SAVED = 2  # past the point of no return: the new cluster was saved, and may be taken away
    ROLLED_BACK = 3  # every host was proven to be as before the run: the next run starts anew


def began(run: str) -> datetime:
    """A run's name begins with its UTC start."""
    return datetime.strptime(run.partition("-")[0], "%Y%m%dt%H%M%Sz").replace(tzinfo=UTC)


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
    undone: Undone = Undone.NO

    @property
    def began(self) -> datetime:
        return began(self.run)

    @property
    def finished(self) -> bool:
        return self.phase is Phase.DONE

    @property
    def closed(self) -> bool:
        """Nothing of it is to be carried on: it came to its end, or was undone whole."""
        return self.undone is Undone.ROLLED_BACK or (self.finished and self.undone is Undone.NO)

    def rollback(self, hosts: str) -> str:
        """The command that goes back, to be pasted. `hosts`: what `--hosts` was."""
        discard = " --discard-new-writes" if self.phase >= Phase.POWERING_ON else ""
        return f"pytest runbook/rollback --hosts={hosts}{discard}"


@dataclass(frozen=True)
class Outlived:
    """What the hosts know of runs whose marks a later run has overwritten, from those runs' own directories.

    `reached`: run → how far, of those that may have turned Deephaven on: no retry takes that back. `undone`: host → the
    runs that were rolled back on it. A machine that comes back with an old mark is judged by these too. `own`: the run
    that the configuration server's mark says is under way, whatever other runs are called; "" where it says none.
    """

    reached: Mapping[str, Phase] = field(default_factory=dict)
    undone: Mapping[str, frozenset[str]] = field(default_factory=dict)
    own: str = ""

    @property
    def rolled_back(self) -> frozenset[str]:
        return frozenset().union(*self.undone.values())


NOTHING = Outlived()


def directory(cluster: str, run: str = "") -> str:
    return f"{BASE}/{cluster}/{run}".rstrip("/")


def path(cluster: str) -> str:
    return f"{directory(cluster)}/run.json"


def places(cluster: str, run: str) -> Places:
    """A run's own directory, and those above it that are ours."""
    return Places(BASE, directory(cluster), directory(cluster, run))


def write(host: str, cluster: str, marker: Marker, also: File | None = None, placed: bool = False) -> Command:
    """Writes the mark and, behind it, what is noted `also`; the run's own directory too, unless it is `placed`."""
    where = None if placed else places(cluster, marker.run)
    return kept.write(host, _file(cluster, marker), _why(marker, also), also, where)


def write_first(host: str, cluster: str, marker: Marker, lock: Lock | None, also: File | None = None) -> Command:
    """The same on the configuration server, which is on disk before any other host is told: after a loss of power it is
    not the one before. `lock`: what this run holds there."""
    why = f"{_why(marker, also)}; on disk{', if the lock is still held' if lock else ''}"
    return kept.write_flushed(host, _file(cluster, marker), why, also, places(cluster, marker.run), lock)


def _why(marker: Marker, also: File | None) -> str:
    noted = ", and note from which data the new cluster comes" if also else ""
    return f"mark the host: {marker.phase.name.lower().replace('_', ' ')}{noted}"


def _file(cluster: str, marker: Marker) -> File:
    content = {**asdict(marker), "phase": marker.phase.name, "undone": marker.undone.name}
    return File(path(cluster), json.dumps(content) + "\n")


def run_name(host: str, text: str) -> str:
    """The name of a run of ours, which becomes a path. Raises `Refusal` or `ValueError` for any other word."""
    if checked(host, "run", text, RUN)[0] != "‹":
        began(text)
    return text


def read_mark(host: str, text: str) -> Marker | MarkerError | None:
    """None where there is no mark. One that is not understood is why: it stops whoever must know, and nobody else."""
    if not text.strip():
        return None
    try:
        data = {"undone": "NO", **json.loads(text)}
        mark = Marker(**{**data, "phase": Phase[data["phase"]], "undone": Undone[data["undone"]]})
        run_name(host, mark.run)
        checked(host, "token", mark.token, NAME)
        checked(host, "snapshot", mark.snapshot, SHA256)
        for name in ("origin", "taken", "members"):
            checked(host, name, getattr(mark, name), _WORDS)
        return replace(mark, by=plain(mark.by)[:200])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, Refusal) as error:
        return unread(host, f"cannot be read{f': {error.what}' if isinstance(error, Refusal) else ''}")


def unread(host: str, why: str) -> MarkerError:
    return MarkerError(host, f"the mark of a run at {BASE}/…/run.json {why}", f"move it aside on {host} alone")


def to_carry_on(marks: dict[str, Marker | None], hosts: str = "NAME", outlived: Outlived = NOTHING) -> Marker | None:
    """The one run that is under way, at the furthest phase that any host knows; None when there is none.

    Left behind are runs that changed nothing, runs that any host knows to be finished or undone, and all that are older
    than one of these (a run's name begins with its UTC start). Raises `MarkerError` when several remain, and for a run
    whose rollback has begun: `hosts`, what `--hosts` was, is for the command that finishes it.
    """
    mark = _under_way(marks, outlived)
    if mark is not None and mark.undone is not Undone.NO:
        raise MarkerError(
            "the hosts",
            f"run {mark.run} of {mark.by} is being rolled back, and that is not finished",
            f"finish it first: {mark.rollback(hosts)}",
        )
    return mark


def to_roll_back(marks: dict[str, Marker | None], outlived: Outlived = NOTHING) -> Marker | None:
    """The run that a rollback undoes: the one under way, else the newest that any host knows; None without any mark."""
    runs = known_runs(marks, outlived)
    return _under_way(marks, outlived) or (runs[max(runs)] if runs else None)


def left_behind(marks: dict[str, Marker | None], outlived: Outlived) -> tuple[Marker | None, tuple[str, ...]]:
    """The newest run that was rolled back while hosts that it had changed were gone, and those hosts.

    Its save, if it needed one, was made then. None, and no hosts, where there is no such run, or where a later one has
    changed the cluster and was not rolled back.
    """
    runs = known_runs(marks, outlived)
    standing = {r for r, m in runs.items() if (m.phase > Phase.OPEN or m.undone) and m.undone is not Undone.ROLLED_BACK}
    newest = max(standing | (set(outlived.reached) - outlived.rolled_back), default="")
    for run in sorted((run for run in runs if run > newest), reverse=True):
        hosts = tuple(h for h, mark in marks.items() if mark and mark.run == run and _is_left(h, mark, outlived))
        if hosts and runs[run].undone is Undone.ROLLED_BACK:
            return replace(runs[run], undone=Undone.SAVED), hosts
    return None, ()


def _is_left(host: str, mark: Marker, outlived: Outlived) -> bool:
    """Whether its run changed this host, and was not rolled back on it."""
    undone = mark.undone is Undone.ROLLED_BACK or mark.run in outlived.undone.get(host, ())
    return mark.phase > Phase.OPEN and not undone


def _under_way(marks: dict[str, Marker | None], outlived: Outlived) -> Marker | None:
    runs = known_runs(marks, outlived)
    unmarked = {run for run, phase in outlived.reached.items() if phase is Phase.DONE and run not in runs}
    closed = max({run for run, mark in runs.items() if mark.closed} | unmarked | outlived.rolled_back, default="")
    later = [mark for mark in runs.values() if mark.run > closed or (mark.run == outlived.own and not mark.closed)]
    begun = [mark for mark in later if mark.phase > Phase.OPEN or mark.undone]
    if len(begun) > 1:
        names = {mark.run for mark in begun}
        told = sorted(
            (host, m) for host, m in marks.items() if m is not None and m.run in names and m.phase > Phase.OPEN
        )
        named = "; ".join(f"{host}: run {m.run} by {m.by}" for host, m in told)
        raise MarkerError(
            "the hosts",
            f"carry marks of several unfinished runs: {named}",
            f"decide which run holds, then move the others' {BASE}/…/run.json away on their hosts",
        )
    return begun[0] if begun else None


def known_runs(marks: dict[str, Marker | None], outlived: Outlived) -> dict[str, Marker]:
    """Each run that any host knows, at the furthest phase, and at the furthest that its rollback got."""
    found: dict[str, Marker] = {}
    for mark in filter(None, marks.values()):
        known = found.get(mark.run, mark)
        furthest = max(known, mark, key=lambda m: m.phase)
        found[mark.run] = replace(furthest, undone=max(known.undone, mark.undone))
    return {run: _raised(mark, outlived) for run, mark in found.items()}


def _raised(mark: Marker, outlived: Outlived) -> Marker:
    undone = Undone.ROLLED_BACK if mark.run in outlived.rolled_back else mark.undone
    return replace(mark, phase=max(mark.phase, outlived.reached.get(mark.run, mark.phase)), undone=undone)


def refuse_forgotten_old_members(marks: dict[str, Marker | None], wanted: str, outlived: Outlived = NOTHING) -> None:
    """Raises `MarkerError` where Deephaven was turned on already with the very members that are to be built: quorum
    and data would be looked for on the machines from before. `wanted`: the members, as a mark spells them."""
    runs = known_runs(marks, outlived).values()
    built = [m for m in runs if m.phase >= Phase.POWERING_ON and m.undone is Undone.NO]
    newest = max(built, key=lambda mark: mark.run, default=None)
    if newest is not None and newest.members == wanted:
        raise MarkerError(
            "the inventory",
            f"old_members is what was before run {newest.run}; the cluster is what members says now",
            "remove old_members from the inventory and --gone from the command, then run again",
        )


def refuse_others(
    marks: dict[str, Marker | None], mine: Marker, hosts: str = "NAME", outlived: Outlived = NOTHING
) -> None:
    """Right before anything is changed: raises `MarkerError` if somebody else began to in the meantime."""
    other = to_carry_on(marks, hosts, outlived)
    if other is not None and other.run != mine.run:
        raise MarkerError(
            "the hosts",
            f"run {other.run} of {other.by} has begun in the meantime",
            "let that one finish; how it stands is told, and nothing changed, by pytest "
            f"runbook/troubleshoot/diagnose --hosts={hosts}",
        )


SALVAGE = "salvage"
ON_DISK = "on-disk"
