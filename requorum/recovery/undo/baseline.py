"""What every host was before a run changed it, and how it differs from that now. Pure functions only.

Recorded at the start of Step 1 into the run's own directory, on the host: a listing of exactly the places that the
runbook or the vendor's commands may touch, the unit's state, whether Deephaven was on, and a copy of all that is small.
Old data is only listed, never read: a new token has a new directory. `rollback` makes a host equal to it again.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import PurePosixPath

from pydantic import TypeAdapter

from requorum.cluster import deephaven, etcd
from requorum.command import MOST_OF_A_LIST, Command, Result, look
from requorum.hosts import kept, system
from requorum.hosts.question import OWNER, Question, complete
from requorum.hosts.system import Entry, RecordError, topmost
from requorum.inventory import Inventory, is_of_the_system
from requorum.run.terms import Terms


@dataclass(frozen=True)
class Record:
    """One host before the run. `deephaven`: whether any of its processes was supervised; None where that is unknown."""

    entries: tuple[Entry, ...]
    enabled: str
    running: bool
    deephaven: bool | None


# -- which places ------------------------------------------------------------------------------------------------


def roots(terms: Terms) -> tuple[str, ...]:
    """What may be touched on any host, whole; the same list everywhere, since what is not there is a fact too."""
    settings, vendor = terms.inventory.etcd, terms.inventory.deephaven
    made = vendor.client_archive.format(cluster_id=terms.mark.token)
    parent = made.rsplit("/", 1)[0]
    units = (f"{lib}/systemd/system/{settings.unit}" for lib in ("/etc", *etcd.LIBS))
    own = parent if terms.mark.token in parent else made  # the generator's directory is this run's alone, or it is /tmp
    return (configurations(terms.inventory), vendor.client_config, vendor.server_archive, own, *units)


def configurations(inventory: Inventory) -> str:
    """The directory of all tokens' configurations with the `latest` link; the link alone where that would be too much:
    a directory of the system's, one right below the root, or one with data in it; else the file alone."""
    config, data = PurePosixPath(inventory.etcd.config), PurePosixPath(inventory.etcd.data_root)
    for directory in (config.parent.parent, config.parent):
        shared = len(directory.parts) < 3 or is_of_the_system(str(directory))
        if not shared and directory != data and directory not in data.parents:
            return str(directory)
    return str(config)


def ask_listing(host: str, terms: Terms) -> Question[tuple[Entry, ...]]:
    """All that may be touched."""
    settings = terms.inventory.etcd
    labels = host in terms.labels
    listing = system.ask_listing(host, settings.data_root, settings.unit, roots(terms), labels)
    return Question(listing.command, lambda result: _held(host, terms, listing.understand([result])))


_MODE = re.compile(r"[0-7]{0,4}")
_LABEL = re.compile(r"([A-Za-z0-9_.-]+(:[A-Za-z0-9_.,-]+){2,4})?")


def _held(host: str, terms: Terms, entries: tuple[Entry, ...]) -> tuple[Entry, ...]:
    """Entries whose paths a rollback may move and copy as root: they lie in the places that were asked for.

    A place behind a link is listed by where it really lies: then its own name must be the place's. So must the name of
    a link in /etc that starts the unit.
    """
    unit, known = terms.inventory.etcd.unit, {*map(PurePosixPath, (terms.inventory.etcd.data_root, *roots(terms)))}
    top = {PurePosixPath(path) for path in topmost(entry.path for entry in entries)}
    here = {path for path in top if known & {path, *path.parents}}
    behind_a_link = {unit, *(path.name for path in known - here)}
    foreign = [str(path) for path in top - here if path.name not in behind_a_link]
    foreign += [e.path for e in entries if not e.path.startswith("/") or ".." in e.path.split("/")]
    foreign += [f"{e.mode} {e.owner}" for e in entries if not (_MODE.fullmatch(e.mode) and OWNER.fullmatch(e.owner))]
    foreign += [e.label for e in entries if not _LABEL.fullmatch(e.label)]
    if foreign:
        what = f"lists {min(foreign)[:200]!r}, which is no place that a run of this inventory touches"
        raise RecordError(host, what, "look at that host, and go back there by hand")
    return entries


# -- recording ---------------------------------------------------------------------------------------------------


def place(terms: Terms, name: str = "") -> str:
    return terms.place(f"before/{name}".rstrip("/"))


def copy_of(terms: Terms, path: str) -> str:
    """Where the copy of a path is kept."""
    return place(terms, f"tree{path}")


def ask_supervised(host: str, inventory: Inventory) -> Question[bool | None]:
    """Whether Deephaven is on, by monit's word: any process of it is not off. None where that cannot be understood."""
    asked = deephaven.ask_processes(inventory, host)

    def read(monit: Result) -> bool | None:
        found = asked.understand([monit])
        return None if isinstance(found, str) else bool(deephaven.not_off(found))

    return Question(asked.command, read)


def traces(terms: Terms) -> tuple[str, ...]:
    """What lies in the run's own directory on a host that it changed, whether or not anything of it bears its token:
    old things set aside, old passwords, and the archives that are unpacked there."""
    made = ("server.generated.tgz", "query.generated.tgz", "server.tgz", "query.tgz")
    return (terms.aside, terms.client_backup, *map(terms.place, made))


def is_touched(found: Record, token: str, traces: Sequence[str]) -> bool:
    """Whether the run of this token has been at the host, so that it is not what it was before. `traces`: which of
    these are there."""
    return bool(traces) or any(token in entry.path or token in entry.target for entry in found.entries)


def record(terms: Terms, records: Mapping[str, Record]) -> list[Command]:
    """Keeps each host's record and a copy of what was listed, data excepted, on that host, once, for root alone."""
    data = terms.inventory.etcd.data_root
    plan: list[Command] = []
    for host, found in records.items():
        paths = topmost(e.path for e in found.entries if not is_data(e.path, data))
        why = f"record what the host is, never to be written again; kept as it is: {', '.join(paths) or 'nothing'}"
        plan.append(kept.tree(host, place(terms), paths, json.dumps(asdict(found)) + "\n", why))
    return plan


def is_data(path: str, data_root: str) -> bool:
    """Whether a path is listed and never copied."""
    return path == data_root or path.startswith(f"{data_root}/")


def ask_record(host: str, terms: Terms) -> Question[Record | None]:
    """None where nothing was recorded. Raises `RecordError` for a record that cannot be read or names other places."""
    argv = ("cat", place(terms, kept.RECORD))
    command = Command(host, argv, "what the host was before the run", changes=False, accept=None, secret=True)
    return Question(command, lambda result: _read_record(host, terms, complete(result).stdout))


_RECORD = TypeAdapter(Record)


def _read_record(host: str, terms: Terms, text: str) -> Record | None:
    if not text.strip():
        return None
    try:
        record = _RECORD.validate_json(text, strict=True)
    except ValueError:
        raise RecordError(host, "the record of what it was before the run cannot be read", "go back by hand") from None
    _held(host, terms, record.entries)
    return record


# -- comparing ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Difference:
    """How a host differs from its record. `brought`: what is there and was not, or was another; `lacking`: what was
    there and is not, or is another; both topmost paths. `retouched`: directories with another mode, owner or
    label, as they were."""

    brought: tuple[str, ...] = ()
    lacking: tuple[str, ...] = ()
    retouched: tuple[Entry, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.brought or self.lacking or self.retouched)

    def __str__(self) -> str:
        said = [
            f"{word} {', '.join(paths)}"
            for word, paths in (("new:", self.brought), ("missing:", self.lacking))
            if paths
        ]
        if self.retouched:
            said.append(f"another mode, owner or label: {', '.join(entry.path for entry in self.retouched)}")
        return "; ".join(said)


def difference(before: Sequence[Entry], now: Sequence[Entry]) -> Difference:
    was, found = {entry.path: entry for entry in before}, {entry.path: entry for entry in now}
    changed = {path for path in was.keys() & found.keys() if not _same(was[path], found[path])}
    retouched = {path for path in changed if was[path].kind == found[path].kind == "d"}
    other = changed - retouched
    return Difference(
        tuple(topmost((found.keys() - was.keys()) | other)),
        tuple(topmost((was.keys() - found.keys()) | other)),
        tuple(was[path] for path in sorted(retouched)),
    )


def _same(one: Entry, other: Entry) -> bool:
    """A record made without labels says nothing of them."""
    return one == (other if one.label and other.label else replace(other, label=one.label))


# -- commands that a run left running ----------------------------------------------------------------------------

_OURS = re.compile(r"\btimeout -k 5 \d+ ")
_QUESTION = ("ps", "-ww", "-eo", "pid=,args=")


def ask_left_running(host: str) -> Question[tuple[str, ...]]:
    """The commands of a killed runbook, told by their deadline, which stands in each; this very question is none."""
    command = look(host, *_QUESTION, why="whether a command of a run still runs", accept=(0,), most=MOST_OF_A_LIST)

    def read(result: Result) -> tuple[str, ...]:
        rows = (line.strip() for line in result.stdout.splitlines())
        return tuple(row for row in rows if _OURS.search(row) and shlex.join(_QUESTION) not in row)

    return Question(command, read)
