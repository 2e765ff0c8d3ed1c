"""What hosts say of runs, held against the configuration server: its mark is the run's mark. Pure functions only.

Something is known where the configuration server says it, or a majority of the hosts. A mark that is written there
first is nowhere further on; one that a host has alone is followed by nobody.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from requorum.inventory import Inventory
from requorum.run import history, lock, marker
from requorum.run.accepted import RUN, Accepted
from requorum.run.history import Birth, Told
from requorum.run.marker import Marker, MarkerError, Outlived, Phase, Undone

T = TypeVar("T", bound=Hashable)


@dataclass(frozen=True)
class Held:
    """`marks`: every host's, as far as it may be followed; of the run itself what the configuration server says, up to
    the host's own phase. `old`: host → its mark of a run that is over, or that changed nothing; `foreign`: host → one
    that nobody may follow unasked. `newest`: the name of the last run that is known, "" where there is none."""

    marks: dict[str, Marker | None]
    outlived: Outlived
    old: dict[str, Marker]
    foreign: dict[str, Marker]
    newest: str
    told: Mapping[str, Told] = field(default_factory=dict)  # what hosts said, of which all of this was made

    def notes(self) -> list[str]:
        return [f"{h}: its mark of run {m.run} ({_got(m)}) is old, and is ignored" for h, m in self.old.items()]


NO_WORD = Accepted()


def hold(told: Mapping[str, Told], server: str, accepted: Accepted = NO_WORD) -> Held:
    """`server`: the configuration server; where that is silent, what most hosts say has its place, to be shown. Raises
    `MarkerError` where a mark is not understood."""
    marks, lived, over = history.marks(told), outlived(told, server), _known(told, server, _over)
    own, there = _own(marks, server), [mark.run for mark in marks.values() if mark]
    if server not in told and there:
        own = _agreed(marks, Counter(there).most_common(1)[0][0])
    named = [run for run in accepted.hosts(RUN) if run in there and not (own and own.run == run)]
    own = _agreed(marks, named[0]) if named else own
    mine = {own.run} if own else set()
    moved_on = own is not None and not named and server in told
    past = over | (_kept(told[server]) - mine if moved_on else set())
    latest = max(over, default="")
    kept: dict[str, Marker | None] = {}
    old: dict[str, Marker] = {}
    foreign: dict[str, Marker] = {}
    for host, mark in marks.items():
        kept[host] = None
        if mark is None:
            continue
        if own and mark.run == own.run:
            kept[host] = replace(own, phase=min(mark.phase, own.phase), undone=min(mark.undone, own.undone))
            if not named and not _follows(mark, own):
                (old if own.phase is Phase.OPEN or own.closed or own.run in over else foreign)[host] = mark
        elif mark.run in past or mark.run < latest or _says_nothing(mark) or mark.closed:
            kept[host] = mark if mark.run in lived.rolled_back else None  # a rollback may still owe this host
            if not _says_nothing(mark) and not mark.closed:
                old[host] = mark
        else:
            foreign[host] = mark
    newest = max(_known(told, server, _all), default="")
    if own and own.phase > Phase.OPEN and not own.closed and own.run not in over:
        kept = {host: mark if mark and mark.run == own.run else None for host, mark in kept.items()}
        lived = replace(lived, own=own.run)
    return Held(kept, lived, old, foreign, newest, told)


def refusal(held: Held, inventory: Inventory, accepted: Accepted = NO_WORD) -> MarkerError | None:
    """Why nothing may go on while a host has such a mark; None where none has."""
    if not held.foreign:
        return None
    server = inventory.deephaven.configuration_server
    named = "; ".join(
        f"{host} says that {m.by} began run {m.run} on {m.began:%Y-%m-%d}, and that {_DID[m.phase]}{_rolled_back(m)}"
        for host, m in held.foreign.items()
    )
    own = held.marks.get(server)
    knows = f"says run {own.run}, {_got(own)}" if own else "knows of no run that is unfinished"
    asked = ", ".join(dict.fromkeys(_who(mark) for mark in held.foreign.values()))
    away = "; ".join(_away(inventory, host, mark.run) for host, mark in held.foreign.items())
    followed = {mark.run for mark in held.marks.values() if mark}
    runs = [mark.run for mark in held.foreign.values() if mark.run not in followed]
    word = accepted.option(f"{RUN}:{runs[0]}") if runs else ""
    lost = f"; where {server} was replaced or its mark is lost, and that run is to be followed: {word}" if runs else ""
    return MarkerError(
        ", ".join(held.foreign),
        f"the mark of a run there is not what {server} says, whose mark is the run's: {named}; {server} {knows}",
        f"ask {asked} whether that was begun; where nobody began it, move the mark away: {away}{lost}",
    )


_DID = {
    Phase.OPEN: "it had changed nothing yet",
    Phase.STOPPING: "it had begun to stop things",
    Phase.STARTED: "it had started the new etcd",
    Phase.POWERING_ON: "it had begun to turn Deephaven on",
    Phase.DONE: "it came to its end",
}


def _who(mark: Marker) -> str:
    """Of whom to ask. A mark's words are anybody's: they become no line of a remedy."""
    return mark.by if re.fullmatch(r"[\w.@-]+", mark.by) else "whoever works on this cluster"


NO_OTHER = "; no other host has the mark of a run"


def unread(told: Mapping[str, Told], inventory: Inventory, accepted: Accepted = NO_WORD) -> MarkerError | None:
    """Why nothing may go on while a mark says nothing, and what moves it aside; None where all can be read."""
    broken = {host: one.mark for host, one in told.items() if isinstance(one.mark, MarkerError)}
    if not broken:
        return None
    whose = word = ""
    if (server := inventory.deephaven.configuration_server) in broken:
        said = {host: one.mark for host, one in told.items() if isinstance(one.mark, Marker)}
        others = ", ".join(f"run {mark.run} of {mark.by} ({host}: {_got(mark)})" for host, mark in said.items())
        whose = f"; what {server} says is the run's, and it may be of {others}" if others else NO_OTHER
        begun = Counter(mark.run for mark in said.values() if not _says_nothing(mark) and not mark.closed)
        word = accepted.option(f"{RUN}:{max(begun, key=lambda run: begun[run])}") if begun else ""
    away = "; ".join(_away(inventory, host, "unread") for host in broken)
    return MarkerError(
        ", ".join(broken),
        "; ".join(dict.fromkeys(error.what for error in broken.values())) + whose,
        f"move it aside, where nothing is deleted: {away}; "
        + (f"then follow that run with {word}" if word else "then run the same command again"),
    )


def births(told: Mapping[str, Iterable[Birth]], server: str) -> dict[str, Birth]:
    """token → its birth, at the furthest phase: what the configuration server or a majority has noted. One that a host
    has alone could set the lost cluster's data aside; its bump is in the manifests of its backups too."""
    whole = {host: tuple(of) for host, of in told.items()}
    content = _known(whole, server, lambda of: {replace(birth, phase=Phase.OPEN) for birth in of})
    got = _known(whole, server, lambda of: {(birth.token, p) for birth in of for p in Phase if birth.phase >= p})
    own = {replace(birth, phase=Phase.OPEN) for birth in whole.get(server, ())}
    ordered = sorted(content, key=lambda birth: birth in own)  # what the server has itself comes last, and holds
    return {b.token: replace(b, phase=max(p for token, p in got if token == b.token)) for b in ordered}


# -- what is known -----------------------------------------------------------------------------------------------


S = TypeVar("S")


def _known(told: Mapping[str, S], server: str, said: Callable[[S], Collection[T]]) -> set[T]:
    """What the configuration server says, and what a majority of all hosts does."""
    count = Counter(fact for of in told.values() for fact in set(said(of)))
    most = {fact for fact, hosts in count.items() if 2 * hosts > len(told)}
    return most | (set(said(told[server])) if server in told else set())


def _over(told: Told) -> set[str]:
    """Runs that a host knows to be over."""
    mark = told.mark if isinstance(told.mark, Marker) else None
    ended = {birth.run for birth in told.births if birth.phase is Phase.DONE}
    return ended | set(told.undone) | ({mark.run} if mark and mark.closed else set())


def _kept(told: Told) -> set[str]:
    """Runs that left something on a host besides its mark."""
    return {birth.run for birth in told.births} | set(told.kept) | set(told.undone)


def _all(told: Told) -> set[str]:
    return _kept(told) | ({told.mark.run} if isinstance(told.mark, Marker) else set())


def outlived(told: Mapping[str, Told], server: str) -> Outlived:
    """What runs' own directories know besides marks."""
    alive = (Phase.POWERING_ON, Phase.DONE)
    got = _known(told, server, lambda one: {(b.run, p) for b in one.births for p in alive if b.phase >= p})
    undone = _known(told, server, lambda one: one.undone)
    reached = {run: max(p for of, p in got if of == run) for run, _ in got}
    return Outlived(reached, {host: frozenset(one.undone & undone) for host, one in told.items()})


# -- whose mark --------------------------------------------------------------------------------------------------


def _own(marks: Mapping[str, Marker | None], server: str) -> Marker | None:
    """The run's mark. Versions that wrote it everywhere at once may have left the configuration server behind, where it
    lost its power: a run that only it takes for one that changed nothing is what the others say."""
    own = marks.get(server)
    if own is None or own.phase is not Phase.OPEN:
        return own
    further = {host: mark for host, mark in marks.items() if mark and mark.run == own.run and mark.phase > own.phase}
    return _agreed(further, own.run) if 2 * len(further) > len(marks) else own


def _agreed(marks: Mapping[str, Marker | None], run: str) -> Marker:
    """What most hosts say that have a mark of this run, at the furthest phase of those."""
    said = [mark for mark in marks.values() if mark and mark.run == run]
    ((token, members), _), *_ = Counter((mark.token, mark.members) for mark in said).most_common(1)
    same = [mark for mark in said if (mark.token, mark.members) == (token, members)]
    return replace(max(same, key=lambda m: (m.phase, m.snapshot)), undone=max(mark.undone for mark in same))


def _follows(mark: Marker, own: Marker) -> bool:
    """Whether a host's mark of the run can be one that it got from a runbook: at most one phase further on, as before
    the configuration server's was written first. That the run is over nobody believes it alone, and it may say so."""
    phase = mark.phase <= own.phase + 1 or mark.phase is Phase.DONE
    undone = mark.undone <= Undone.BEGUN or own.undone >= Undone.BEGUN
    return phase and undone and (mark.token, mark.members) == (own.token, own.members)


def _says_nothing(mark: Marker) -> bool:
    return mark.phase is Phase.OPEN and mark.undone is Undone.NO


def _got(mark: Marker) -> str:
    return f"{mark.phase.name.lower().replace('_', ' ')}{_rolled_back(mark)}"


def _rolled_back(mark: Marker) -> str:
    return "" if mark.undone is Undone.NO else f", rollback {mark.undone.name.lower().replace('_', ' ')}"


def _away(inventory: Inventory, host: str, name: str) -> str:
    path = marker.path(inventory.cluster)
    return lock.by_hand(inventory, host, "mv", "--backup=numbered", "-T", path, f"{path}.{name}")
