"""The vendor's archives: is it safe to unpack, and does it hold what it must?

Pure functions over what `tar` prints on the configuration server. The layout of the vendor's archives
is not public, so nothing here relies on it: a member's part is the directory of the `config.yaml` that names its
address, a role's part is the directory of a file called `password`.
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass

from requorum.command import MOST_OF_A_LIST, Command, act, act_long, look
from requorum.deadlines import LONG
from requorum.hosts.question import NAME, Question, checked
from requorum.refusal import Refusal

_ENTRY = re.compile(r"^(?P<kind>.)(?P<mode>\S{9})\S? +\S+ +(?P<size>[0-9,]{1,40}) +\S+ +\S+ (?P<name>.*)$")
# Of an archive of configuration and passwords: far more than any has, and far less than fills a disk.
MOST_ENTRIES, MOST_BYTES = 20_000, 1 << 30


_REMEDY = "do not unpack it; generate it again and find out who changed it"


class ArchiveError(Refusal):
    """An archive that must not be unpacked, or that lacks what it must hold."""


@dataclass(frozen=True)
class Entry:
    """One line of `tar -tv`. `kind` is tar's letter, `target` where a link points."""

    kind: str
    name: str
    target: str = ""


def ask_listing(host: str, archive: str) -> Question[list[Entry]]:
    """What an archive holds. Raises `ArchiveError` for a member that would land, or point, outside."""
    argv = ("tar", "--numeric-owner", "--quoting-style=escape", "-tvzf", archive)
    command = look(host, *argv, why=f"what {archive} holds", accept=(0,), most=MOST_OF_A_LIST)
    return Question(command, lambda answer: _read_listing(f"{host}:{archive}", answer.stdout))


def _read_listing(archive: str, text: str) -> list[Entry]:
    entries: list[Entry] = []
    size = 0
    for line in text.splitlines():
        found = _ENTRY.match(line)
        if not found:
            raise ArchiveError(archive, f"tar's line {line!r} cannot be read", "unpack it by hand")
        kind, name, target = found["kind"], found["name"], ""
        arrow = {"l": " -> ", "h": " link to "}.get(kind)
        if arrow:
            if name.count(arrow) != 1:
                raise ArchiveError(archive, f"holds {name}, a link whose target cannot be told", _REMEDY)
            name, target = name.split(arrow)
        if kind in "-h" and set(found["mode"].lower()) & {"s"}:
            raise ArchiveError(archive, f"holds {name}, which gives whoever runs it the rights of its owner", _REMEDY)
        entries.append(Entry(kind, name, target))
        size += int(found["size"]) if found["size"].isdecimal() else 0
    if len(entries) > MOST_ENTRIES or size > MOST_BYTES:
        what = f"holds {len(entries):,} entries of {size:,} bytes: it is no archive of configuration"
        raise ArchiveError(archive, what, _REMEDY)
    for entry in entries:
        _refuse_escape(archive, entry)
    for role, _ in role_directories(entries):
        checked(archive, "role", role, NAME)
    return entries


def _refuse_escape(archive: str, entry: Entry) -> None:
    if entry.kind not in "-dlh":
        raise ArchiveError(archive, f"holds {entry.name}, neither file, directory nor link", _REMEDY)
    if entry.name.startswith("/") or ".." in entry.name.split("/"):
        raise ArchiveError(archive, f"holds {entry.name}, which would land outside", _REMEDY)
    base = posixpath.dirname(entry.name) if entry.kind == "l" else ""
    if entry.target and _points_outside(base, entry.target):
        raise ArchiveError(archive, f"holds {entry.name}, a link that points outside: {entry.target}", _REMEDY)


def _points_outside(base: str, target: str) -> bool:
    """`..` may only stand at a target's beginning: behind a name it could climb out through another link."""
    parts = target.split("/")
    climbs = next((n for n, part in enumerate(parts) if part != ".."), len(parts))
    if target.startswith("/") or ".." in parts[climbs:]:
        return True
    return posixpath.normpath(posixpath.join(base, target)).split("/")[0] == ".."


def top_level(entries: list[Entry]) -> list[str]:
    """The names to give to tar so that a repacked archive spells its members as the first one did."""
    if any(entry.name.startswith("./") or entry.name == "." for entry in entries):
        return ["."]
    return list(dict.fromkeys(entry.name.split("/")[0] for entry in entries))


def role_directories(entries: list[Entry]) -> list[tuple[str, str]]:
    """(role, its directory in the archive); a role may have several."""
    directories = [
        posixpath.dirname(e.name) for e in entries if e.kind == "-" and posixpath.basename(e.name) == "password"
    ]
    return [(posixpath.basename(directory), directory) for directory in directories]


# Complains of the first line of tar's list that is neither file nor directory below $1, or has a mode beyond rwx. That
# tar cannot read all of it shows when it is unpacked.
JUDGE = """
tar --numeric-owner --quoting-style=escape -tvf "$0" |
    grep -Evm 1 "^[-d][rwx-]{9} [0-9]+/[0-9]+ +[0-9]+ [0-9-]+ [0-9:]+ $1(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*/?$" >&2
[ $? -eq 1 ]
"""


def judge(host: str, archive: str, top: str, whose: str) -> Command:
    """Ends badly where an archive that another host packed holds more than files and directories below `top`, which is
    a name, or "." for itself: root would follow a link of that host's making when it unpacks and owns them."""
    argv = ("sh", "-c", JUDGE, archive, top.replace(".", r"\."))
    return Command(host, argv, f"{whose} holds files and directories alone", deadline=LONG)


def unpack(host: str, archive: str, directory: str) -> list[Command]:
    """Unpacks for reading and for changing, in staging; owners and modes as archived."""
    return [
        act(host, "rm", "-rf", directory, why="clear what an interrupted run left unfinished"),
        act(host, "install", "-d", "-m", "700", directory, why="a place that only root reads"),
        act_long(host, "tar", "-xpzf", archive, "-C", directory, why=f"unpack {archive}"),
    ]


def repack(host: str, directory: str, names: list[str], archive: str) -> list[Command]:
    part = f"{archive}.part"
    return [
        act(host, "install", "-m", "600", "/dev/null", part, why="a file that only root reads"),
        act_long(host, "tar", "-czpf", part, "-C", directory, "--", *names, why=f"pack {archive}"),
        act(host, "mv", "-fT", part, archive, why="the archive gets its name"),
    ]
