"""What is ours on a host, written by one command: a reader sees the old or the new, never half of it.

The command is a fixed text of `sh`. Nothing in it is a pattern to sudoers, and no word is quoted: paths are our own and
have no blanks, and the lock's words are compared while nothing is split.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from requorum.command import Command, act, act_long

# `read` fails where the last line has no end: then the connection was cut in it, and every file keeps its content.
_ONE = "dd of=$0.part conv=fsync status=none && read -r whole <$0.part && mv -fT $0.part $0"
_TWO = (
    "sed -n -e 1w$0.part -e 2w$N.part && read -r whole <$N.part && sync $0.part $N.part && "
    "mv -fT $0.part $0 && mv -fT $N.part $N"
)
_MAKE = "install -d -m 700 $1 $2 $3 && "
_FLUSH = " && sync $0 $(dirname $0)"  # its name too: after a loss of power it is not the file before
_HELD = (
    "set -f; IFS=; test $(readlink $4) = $5 || { echo this run does not hold the lock any more >&2; exit 1; }; "
    "set +f; unset IFS; "
)
_ROOTS_OWN = "umask 077; "


class Texts(NamedTuple):
    """What writes one file, or two behind each other."""

    one: str
    two: str


def _texts(before: str, words: int, behind: str = "") -> Texts:
    """`words`: how many stand between the two paths."""
    two = _TWO.replace("$N", f"${words + 1}")
    return Texts(*(f"{_ROOTS_OWN}{before}{text}{behind}" for text in (_ONE, two)))


# A directory with copies, each at its own path below `tree`, and a record, whose last byte ends its line: what was cut
# off on its way gets no name. Not `cp --parents`: coreutils 9.1 fails on a second absolute path. Nothing is split or
# taken for a pattern, so a path may be any.
RECORD = "record.json"
TREE = (
    "set -f; IFS=; to=$1; rm -rf $0 && install -d -m 700 $0 $0/tree && shift || exit; "
    "for path; do mkdir -p $0/tree$(dirname $path) && cp -a -T $path $0/tree$path || exit; done; "
    f"dd of=$0/{RECORD} conv=fsync status=none && test $(tail -c 1 $0/{RECORD} | wc -l) = 1 && mv -T $0 $to"
)
# A directory as it is, under another name.
WHOLE = "rm -rf $0 && cp -a $2 $0 && mv -T $0 $1"

PLAIN, PLACED = _texts("", 0), _texts(_MAKE, 3)
FLUSHED, GUARDED = _texts(_MAKE, 3, _FLUSH), _texts(_HELD + _MAKE, 5, _FLUSH)
_BETWEEN = {text: words for texts, words in ((PLAIN, 0), (PLACED, 3), (FLUSHED, 3), (GUARDED, 5)) for text in texts}
TEXTS = tuple(_BETWEEN)


class File(NamedTuple):
    """`line`: its content, one line and its end."""

    path: str
    line: str


class Places(NamedTuple):
    """Directories that are made where they are missing, each in the one before."""

    base: str
    cluster: str
    own: str


class Lock(NamedTuple):
    """A link whose target must be these words, or nothing is written."""

    path: str
    words: str


def write(host: str, file: File, why: str, also: File | None = None, places: Places | None = None) -> Command:
    """Beside its place, flushed, moved there; `also`: another one after it, where both have arrived whole."""
    return _command(host, PLACED if places else PLAIN, places or (), file, also, why)


def write_flushed(
    host: str, file: File, why: str, also: File | None, places: Places, lock: Lock | None = None
) -> Command:
    """The same, and the first one's name is on disk too when the command ends. `lock`: what this run must hold."""
    assert lock is None or lock.words, "an empty word would be none"
    return _command(host, GUARDED if lock else FLUSHED, (*places, *(lock or ())), file, also, why)


def tree(host: str, place: str, paths: Sequence[str], record: str, why: str) -> Command:
    """A directory with copies of these paths and `record.json`, whole or not there; `place` must not be there. What an
    interrupted command left is cleared. `record`: one line and its end."""
    assert record.endswith("\n") and record.count("\n") == 1, "what is cut off must show"
    return replace(act_long(host, "sh", "-c", TREE, f"{place}.part", place, *paths, why=why), stdin=record.encode())


def whole(host: str, source: str, place: str, why: str) -> Command:
    """A directory's copy, whole or not there, likewise."""
    return act(host, "sh", "-c", WHOLE, f"{place}.part", place, source, why=why)


def place_of(argv: Sequence[str]) -> str:
    """The directory that such a command makes; "" where it is another command."""
    return argv[4] if tuple(argv[:2]) == ("sh", "-c") and argv[2] in (TREE, WHOLE) else ""


def copied(argv: Sequence[str]) -> dict[str, str]:
    """What such a command copies: source → where it will lie."""
    return {path: f"{argv[4]}/tree{path}" if argv[2] == TREE else argv[4] for path in argv[5:]}


def _command(host: str, texts: Texts, words: Sequence[str], file: File, also: File | None, why: str) -> Command:
    files = (file, also) if also else (file,)
    assert all(one.line.endswith("\n") and one.line.count("\n") == 1 for one in files), "what is cut off must show"
    argv = ("sh", "-c", texts.two if also else texts.one, file.path, *words, *((also.path,) if also else ()))
    return Command(host, argv, why, stdin="".join(one.line for one in files).encode())


def targets(argv: Sequence[str]) -> tuple[str, ...]:
    """The files that such a command writes, in the order of their lines; none where it is another command."""
    between = _BETWEEN.get(argv[2]) if tuple(argv[:2]) == ("sh", "-c") else None
    return () if between is None else (argv[3], *argv[4 + between :])


def places(argv: Sequence[str]) -> tuple[str, ...]:
    """The directories that such a command makes."""
    return tuple(argv[4:7]) if _MAKE in argv[2] else ()
