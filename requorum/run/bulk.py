"""Where a run puts what it throws away again: what takes room lies on the file system of the data. Pure.

All of it has its path in the run's own directory, where root alone comes. What takes room (a `room` that etcd will see,
`packed` copies) is behind a link there where that is another file system than the data's: then it lies in a
directory of this run's own beside `data_root`, so that a small /var is not filled. Not where `data_root` is a mount of
its own, since nothing beside it is on the data's file system, nor where there is none, nor where another account than
root may write beside it.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from requorum.cluster import sandbox
from requorum.command import MOST_OF_A_LIST, Command, Result, act, act_long, look
from requorum.hosts import system
from requorum.hosts.question import Question, in_time, or_refusal
from requorum.hosts.system import Free
from requorum.inventory import Inventory
from requorum.refusal import Refusal
from requorum.run import marker
from requorum.run.marker import BASE, RUN, SALVAGE
from requorum.run.terms import Terms

PACKED = "packed"  # copies as archives, for root alone
ROOM = "room"  # what an isolated boot sees of its scratch
TRIAL = "trial"
WHOSE = "%u %a %F"  # of stat


@dataclass(frozen=True)
class Rooms:
    """On one host: room at the run's own directory, where data lies or will lie, and for scratch; why it cannot be told
    where df does not tell. `apart`: what takes room lies beside the data."""

    base: Free | str
    data: Free | str
    apart: bool = False

    @property
    def scratch(self) -> Free | str:
        return self.data if self.apart else self.base

    def freed(self, terms: Terms, left: Sequence[Left]) -> Rooms:
        """Once this run's own scratch among it is gone; of what lies beside the data only where that is known to be
        room for more scratch."""
        sizes = {one.path: one.bytes for one in left}
        below = sum(sizes.get(terms.place(kind), 0) for kind in (SALVAGE, TRIAL))
        more = sizes.get(beside(terms), 0) if self.apart else 0
        if not self.apart and _system(self.base) == _system(self.data):
            more = below
        return replace(self, base=_with(self.base, below), data=_with(self.data, more))


def _system(room: Free | str) -> str:
    return room.system if isinstance(room, Free) else ""


def _with(room: Free | str, size: int) -> Free | str:
    return replace(room, size=room.size + size) if isinstance(room, Free) else room


def beside(terms: Terms) -> str:
    """On the data's own file system, where that is another one."""
    return posixpath.join(posixpath.dirname(terms.inventory.etcd.data_root), f"requorum-{terms.mark.run}.scratch")


def ask_rooms(host: str, terms: Terms, cleared: bool = False) -> Question[Rooms]:
    """`cleared`: as it will be once this run's own scratch of before is gone, as far as it is told what that takes."""
    root = terms.inventory.etcd.data_root
    themselves = ((f"{path}/.",) for path in (root, posixpath.dirname(root).rstrip("/")))
    dfs = system.ask_free_of(host, system.with_parents(BASE), system.with_parents(root), *themselves)
    left = or_refusal(ask_left(host, terms.inventory))
    held = _ask_held(host, posixpath.dirname(root))

    def read(by: Result, df: Result, *answers: Result) -> Rooms:
        free = dfs.understand([df])
        mounts = [one.mount if isinstance(one, Free) else None for one in free]
        apart = all(mounts) and mounts[1] == mounts[2] == mounts[3] and _system(free[0]) != _system(free[1])
        found = Rooms(free[0], free[1], apart and held.understand([by]))
        told = left.understand(answers) if cleared else []
        return found.freed(terms, [] if isinstance(told, Refusal) else told)

    return Question((*held.commands, *dfs.commands, *(left.commands if cleared else ())), read)


def _ask_held(host: str, directory: str) -> Question[bool]:
    """Whether root alone can put anything into a directory, or another in its place: root would follow what any other
    account puts there. No link on the way, and as the login sees it; what is not told is not so."""
    ways = [directory, *(str(above) for above in PurePosixPath(directory).parents)]

    def read(answer: Result) -> bool:
        rows = [row.split(" ", 2) for row in answer.stdout.splitlines()]
        return not answer.code and [_is_roots(row) for row in rows] == [True] * len(ways)

    return Question(look(host, "stat", "-c", WHOSE, *ways, why="who may write beside the data", root=False), read)


def _is_roots(row: Sequence[str]) -> bool:
    owner, mode, kind = (*row, "", "", "")[:3]
    return (owner, kind) == ("0", "directory") and bool(re.fullmatch(r"[0-7]{1,4}", mode)) and not int(mode, 8) & 0o022


def seen_from(terms: Terms, apart: bool) -> tuple[str, ...]:
    """What an isolated boot must not hide."""
    own = marker.directory(terms.inventory.cluster)
    return (own, posixpath.dirname(beside(terms))) if apart else (own,)


def clear(terms: Terms, host: str, kind: str) -> list[Command]:
    """What an interrupted boot left running ends, and its scratch goes, wherever an earlier run had it."""
    stop = Command(host, sandbox.stop(kind, terms.mark.run), f"end the isolated {kind}, if one runs", accept=(0, 5))
    return [stop, remove(terms, host, kind)]


def remove(terms: Terms, host: str, kind: str) -> Command:
    """The scratch of boots that have ended."""
    return act_long(host, "rm", "-rf", terms.place(kind), beside(terms), why=f"remove the {kind}'s scratch")


def forget(terms: Terms, hosts: Sequence[str]) -> list[Command]:
    """What takes room goes, wherever a salvage that was cut off had it: copies, none of which is the only one of its
    kind. A finished save stays."""
    stop, scratch = sandbox.stop(SALVAGE, terms.mark.run), terms.place(SALVAGE)
    gone = (f"{scratch}/{ROOM}", f"{scratch}/{PACKED}", beside(terms))
    return [
        command
        for host in hosts
        if host in terms.etcd_hosts
        for command in (
            Command(host, stop, "end the isolated salvage, if one runs", accept=(0, 5)),
            act_long(host, "rm", "-rf", *gone, why="remove copies that a run left"),
        )
    ]


def make(terms: Terms, host: str, kind: str, apart: bool, *below: str) -> list[Command]:
    """Scratch for root alone, with these directories, each after the one that it lies in: `PACKED`, a place for
    archives; `ROOM`, which etcd will see once a boot gives it to its account; and what is in them."""
    scratch = terms.place(kind)
    above = (scratch, beside(terms)) if apart else (scratch,)
    places = (*above, *(f"{above[-1]}/{path}" for path in below))
    links = [path for path in below if apart and "/" not in path]
    return [
        act(host, "install", "-d", "-m", "700", *places, why="scratch for root alone"),
        *(_link(host, f"{beside(terms)}/{path}", f"{scratch}/{path}") for path in links),
    ]


def clear_room(terms: Terms, host: str, kind: str, *others: str) -> Command:
    """The room goes with its link, before another is made; and these `others`."""
    paths = (f"{terms.place(kind)}/{ROOM}", f"{beside(terms)}/{ROOM}", *others)
    return act_long(host, "rm", "-rf", *paths, why="clear an attempt before")


def _link(host: str, real: str, place: str) -> Command:
    return act(host, "ln", "-sfT", real, place, why="by which it has its path in the run's own directory")


# -- what is there -----------------------------------------------------------------------------------------------

# $0: the directory that `data_root` lies in, $1: the cluster's own. Links are nobody's scratch.
_LEFT = (
    'for at in "$0"/requorum-* "$1"/*/salvage "$1"/*/trial; do [ ! -d "$at" ] || [ -L "$at" ] || du -s -B1 "$at"; done'
)


@dataclass(frozen=True)
class Left:
    """A run's own directory beside the data, or its scratch, by `du`."""

    path: str
    run: str
    bytes: int


def ask_left(host: str, inventory: Inventory) -> Question[list[Left]]:
    """Of all runs of this cluster."""
    above, runs = posixpath.dirname(inventory.etcd.data_root).rstrip("/"), marker.directory(inventory.cluster)
    listing = look(host, "sh", "-c", _LEFT, above, runs, why="what runs left there", most=MOST_OF_A_LIST)
    ours = re.compile(
        rf"(?P<bytes>[0-9]{{1,19}})\t(?P<path>{re.escape(above)}/requorum-(?P<a>{RUN.pattern})([.]scratch)?|"
        rf"{re.escape(runs)}/(?P<b>{RUN.pattern})/(salvage|trial))"
    )

    def read(answer: Result) -> list[Left]:
        rows = filter(None, (ours.fullmatch(line) for line in in_time(answer).stdout.split("\n")))
        return [Left(row["path"], row["a"] or row["b"], int(row["bytes"])) for row in rows]

    return Question(listing, read)
