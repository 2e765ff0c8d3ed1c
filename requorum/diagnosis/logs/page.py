"""The page of collected logs: all members' lines in the order of their time, with the known bad signs marked.

Reads files that may be hundreds of megabytes, line by line, and keeps only what the page shows: of each sign on each
host the first and the last lines, and the newest lines of all. `signs` says what is bad, `collection` what was asked
for, the looks are in `page.html.j2`. `pack` makes the archive: the same files give the same bytes.
"""

from __future__ import annotations

import gzip
import heapq
import re
import tarfile
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import jinja2

from requorum.diagnosis.logs import signs
from requorum.diagnosis.logs.collection import UNIT_JOURNAL, WHOLE_JOURNAL
from requorum.diagnosis.logs.signs import Sign
from requorum.evidence.redaction import shown

EACH = 20  # lines of one sign on one host: so many of the first, and of the last
NEWEST = 1500  # lines that show no sign
LONGEST = 700  # characters of one line on the page
_STAMP = re.compile(r"^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6})\S* \S+ ([^\s:\[]+)")
_OURS = frozenset({"sudo", "sshd", "requorum", "systemd-logind"})  # what only tells of us looking


@dataclass(frozen=True, order=True)
class Line:
    """One line of a host's journal. `stamp` is UTC to the microsecond, as text that sorts."""

    stamp: str
    host: str
    number: int
    text: str = field(compare=False)
    signs: tuple[Sign, ...] = field(compare=False, default=())


@dataclass
class Count:
    """One sign on one host: how often, and the first and last lines of it."""

    times: int = 0
    first: list[Line] = field(default_factory=list)
    last: deque[Line] = field(default_factory=lambda: deque(maxlen=EACH))

    def add(self, line: Line) -> None:
        self.times += 1
        self.first.append(line) if len(self.first) < EACH else self.last.append(line)

    @property
    def begin(self) -> str:
        return self.first[0].stamp

    @property
    def end(self) -> str:
        return (self.last or self.first)[-1].stamp


@dataclass
class Book:
    """What the page shows of all lines there were: `total`."""

    counts: dict[tuple[str, str], Count] = field(default_factory=dict)  # by (sign, host)
    newest: deque[Line] = field(default_factory=lambda: deque(maxlen=NEWEST))
    total: int = 0

    def lines(self) -> list[Line]:
        """In the order of their time."""
        marked = {line for count in self.counts.values() for line in (*count.first, *count.last)}
        return sorted(marked | set(self.newest))


def read(place: Path, hosts: Sequence[str]) -> Book:
    """The journals below `place/HOST`, merged by time."""
    book = Book()
    streams = (_of_host(place / host, host) for host in hosts)
    for line in heapq.merge(*streams):
        book.total += 1
        for sign in line.signs:
            book.counts.setdefault((sign.name, line.host), Count()).add(line)
        if not line.signs:
            book.newest.append(line)
    return book


def _of_host(directory: Path, host: str) -> Iterator[Line]:
    """A member's own journal; of the whole one what shows a sign and is not etcd's."""
    number = 0

    def marked(name: str, only_signs: bool) -> Iterator[Line]:
        nonlocal number
        for stamp, text, found in _marked(directory / name):
            ident = match[2] if (match := _STAMP.match(text)) else ""
            if only_signs and (not found or ident.startswith("etcd") or ident in _OURS):
                continue
            number += 1
            yield Line(stamp, host, number, text[match.start(2) :] if match else text, found)

    yield from heapq.merge(marked(UNIT_JOURNAL, False), marked(WHOLE_JOURNAL, True))


def _marked(path: Path) -> Iterator[tuple[str, str, tuple[Sign, ...]]]:
    """(stamp, line, signs). A line without a time of its own belongs to the one before it."""
    if not path.exists():
        return
    stamps: deque[str] = deque()

    def timed() -> Iterator[tuple[float, str]]:
        stamp, seconds = "", 0.0
        with path.open(encoding="utf-8", errors="replace") as file:
            for text in file:
                match = _STAMP.match(text)
                if match:
                    stamp, seconds = match[1], datetime.fromisoformat(match[1]).timestamp()
                stamps.append(stamp)
                yield seconds, text.rstrip("\n")

    for _, text, found in signs.mark(timed()):
        yield stamps.popleft(), text, found


# -- the page ----------------------------------------------------------------------------------------------------


def html(book: Book, about: Mapping[str, Any]) -> str:
    """The page. `about`: cluster, taken, since, hosts, files, silent, clocks."""
    order = {sign.name: sign for sign in signs.SIGNS}
    names = [name for name in order if any(sign == name for sign, _ in book.counts)]
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        finalize=lambda value: type(value)(shown(value)) if isinstance(value, str) else value,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    lines = book.lines()
    return environment.get_template("page.html.j2").render(
        about=about,
        lines=lines,
        total=book.total,
        shown=len(lines),
        longest=LONGEST,
        each=EACH,
        newest=NEWEST,
        signs=[(order[name], {h: c for (s, h), c in book.counts.items() if s == name}) for name in names],
        absent=[sign.name for sign in signs.SIGNS if sign.name not in names],
    )


# -- the archive -------------------------------------------------------------------------------------------------


def pack(place: Path, archive: Path, name: str) -> int:
    """`place` as a gzipped tar of mode 0600, everything in it below `name`; its size. Made beside, then moved there."""
    part = archive.with_name(f"{archive.name}.part")
    part.touch(mode=0o600)
    with (
        part.open("wb") as raw,
        gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as packed,
        tarfile.open(mode="w", fileobj=packed, format=tarfile.PAX_FORMAT) as tar,
    ):
        for path in sorted(p for p in place.rglob("*") if p.is_file()):
            tar.add(path, f"{name}/{path.relative_to(place).as_posix()}", filter=_plain)
    part.replace(archive)
    return archive.stat().st_size


def _plain(info: tarfile.TarInfo) -> tarfile.TarInfo:
    """Nobody's, for its reader only, of no time: so that the same content is the same archive."""
    info.uid = info.gid = info.mtime = 0
    info.uname = info.gname = ""
    info.mode = 0o600
    return info
