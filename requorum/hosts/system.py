"""What any Linux says of its files, addresses and room."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass

from requorum.command import Command, look
from requorum.refusal import Refusal


def parse_files(text: str) -> tuple[str, ...]:
    """`ask_files`' answer; of two names of the same file the first counts (/lib is a link where /usr is merged)."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        inode, _, path = line.partition(" ")
        found.setdefault(inode, path)
    return tuple(found.values())


def ask_files(host: str, *paths: str) -> Command:
    """Which of these paths exist, links not followed: one line each."""
    return look(
        host,
        "find",
        *dict.fromkeys(paths),
        "-maxdepth",
        "0",
        "-printf",
        r"%D:%i %p\n",
        why="which of these files exist",
    )


def ask_addresses(host: str) -> Command:
    return look(host, "ip", "-o", "addr", "show", why="addresses of the host", root=False)


def parse_addresses(text: str) -> tuple[str, ...]:
    return tuple(re.findall(r"\binet6? ([0-9a-fA-F.:]+)", text))


def ask_reach(host: str, ip: str, port: int) -> Command:
    """Whether an address can be reached at all; a refused connection is an answer too."""
    return look(
        host,
        "env",
        "LC_ALL=C",
        "timeout",
        "3",
        "bash",
        "-c",
        'exec 3<>"/dev/tcp/$0/$1"',
        ip,
        str(port),
        why=f"reach {ip}:{port}",
        root=False,
    )


def reached(code: int, stderr: str) -> bool:
    """Reads `ask_reach`: connected, or refused by a host that is there."""
    return code == 0 or "refused" in stderr.lower()


def with_parents(path: str) -> list[str]:
    """A path after all its parents: df's last answer is for the deepest one that exists."""
    return list(dict.fromkeys(path.rsplit("/", n)[0] or "/" for n in range(path.count("/"), -1, -1)))


def ask_free(host: str, place: str) -> Command:
    return look(host, "df", "-P", "-B1", *with_parents(place), why="free disk")


def parse_free(text: str) -> tuple[int, str] | None:
    """(free bytes, the directory that it is mounted on) of the deepest that exists; None where df said nothing."""
    rows = [line.split() for line in text.splitlines()[1:] if line.strip()]
    return (int(rows[-1][3]), rows[-1][5]) if rows else None


class RecordError(Refusal):
    """What a host was before the run cannot be told."""


@dataclass(frozen=True)
class Entry:
    """One path. `kind` is find's letter (f, d, l, …), `mode` octal, `owner` user:group, `target` where a link points,
    `sha256` of a file's content; "" where it was not read."""

    path: str
    kind: str
    mode: str
    owner: str
    target: str = ""
    sha256: str = ""


# $0: the data root, listed one level deep; $1: the unit, whose links in /etc count; then the places. The answer has
# "kind mode owner", path and target of each, and "SHA-256  path" of each file, all ended by NUL.
_LIST = r"""
unit=$1; shift
entry='%y %m %u:%g\0%p\0%l\0'
real() { parent=$(realpath "$(dirname "$1")") || exit 1; place=${parent%/}/$(basename "$1"); }
there() { [ -e "$1" ] || [ -L "$1" ]; }
if there "$0"; then find -H "$0" -maxdepth 1 -printf "$entry" || exit 1; fi
for path in "$@" /etc/systemd/system/*/"$unit"; do
    there "$path" || continue
    real "$path"
    find "$place" -printf "$entry" -type f -exec sha256sum -z {} + || exit 1
done
"""
_STAT = re.compile(r"^(?P<kind>\S) (?P<mode>[0-7]+) (?P<owner>\S+:\S+)$")
_SUM = re.compile(r"^(?P<sum>[0-9a-f]{64}) [ *](?P<path>/.*)$", re.S)


def is_listing(question: Command) -> bool:
    return question.argv[:3] == ("sh", "-c", _LIST)


def without(text: str, gone: Callable[[str], bool]) -> str:
    """A listing without the paths that will be gone by then, for a plan."""
    words = []
    for entry in parse_listing(text):
        if not gone(entry.path):
            words += [f"{entry.kind} {entry.mode or '777'} {entry.owner}", entry.path, entry.target]
            words += [f"{entry.sha256}  {entry.path}"] if entry.sha256 else []
    return "".join(f"{word}\0" for word in words)


def parse_listing(text: str, host: str = "the listing of a host") -> tuple[Entry, ...]:
    """Entries by path; of a place that was listed twice, by two of its names, one."""
    words = iter(text.split("\0"))
    found: dict[str, Entry] = {}
    sums: dict[str, str] = {}
    for word in words:
        stat, digest = _STAT.match(word), _SUM.match(word)
        if stat:
            path, target = next(words), next(words)
            found[path] = Entry(path, stat["kind"], stat["mode"] if stat["kind"] != "l" else "", stat["owner"], target)
        elif digest:
            sums[digest["path"]] = digest["sum"]
        elif word:
            raise RecordError(host, f"has a line in its listing that is none of it: {word[:60]!r}", "run again")
    whole = {path: Entry(**{**asdict(e), "sha256": sums.get(path, "")}) for path, e in found.items()}
    return tuple(whole[path] for path in sorted(whole))


def topmost(paths: Iterable[str]) -> list[str]:
    """These paths without those that lie below another of them."""
    kept: list[str] = []
    for path in sorted(paths, key=lambda p: p.split("/")):
        if not kept or not path.startswith(f"{kept[-1]}/"):
            kept.append(path)
    return kept
