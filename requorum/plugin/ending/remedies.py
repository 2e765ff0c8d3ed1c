"""A remedy on the screen: sentences, and each command on a line of its own, complete wherever it is pasted."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from requorum.inventory import Inventory
from requorum.plugin.ending.ways import Said, Way
from requorum.run import lock

ROOT = Path(__file__).parents[3]
MANY = 3  # hosts for which a command is spelled out
_AGAIN = re.compile(r"[,;]?\s*(?:(?:then|and)\s+)?run (?:it |the same |the same command )?again\.?$", re.I)
_SEGMENT = re.compile(r"; (?=(?:[^`]*`[^`]*`)*[^`]*$)")  # not within backticks
# Not --gone and --rebuild: they are typed by who knows, and pasted by nobody. Nor one whose value is to be filled in.
_OPTION = re.compile(r"(?::|with|by) ('?--(?:accept|snapshot|salvage|skip-hash|concurrency|timeout-scale)=.*)$")
_BLANK = re.compile(r"\b[A-Z]{4,}\b")
_OURS = re.compile(
    r"`?(?:\.venv/bin/)?(pytest runbook[\w/]*(?: --[a-z][\w-]*(?:=[^\s;,]+)?)*|python -m [\w.]+(?: [\w./=-]+)*)`?"
)
_PAGE = re.compile(r"(?<![\w/.])docs/(?=[\w-]+\.md)")
_THERE = re.compile(r"`([^`]+)`")
_BY_HAND = re.compile(r"(?:^|: )((?:ssh|docker exec|podman exec|sudo -n|[\w./-]+(?: [\w./-]+)* timeout -k 5) .+)$")


@dataclass(frozen=True)
class Piece:
    """A sentence, or a line to paste."""

    text: str
    paste: bool = False


def pieces(text: str, said: Said, inventory: Inventory | None, hosts: Sequence[str]) -> list[Piece]:
    """What a remedy says, in its order. `hosts`: at fault, where a command `there` is run."""
    found: list[Piece] = []
    text = _PAGE.sub(lambda _: f"{ROOT}/docs/", text.strip())
    for segment in _SEGMENT.split(_AGAIN.sub("", text)):
        mine = [piece for piece in _of(segment.strip(), said, inventory, hosts) if piece.text.strip()]
        if found and mine and not (found[-1].paste or mine[0].paste or mine[0].text.startswith(("or ", "either, "))):
            mine[0] = Piece(f"{found.pop().text}; {mine[0].text}")
        found += mine
    return [piece if piece.paste else Piece(_sentence(piece.text)) for piece in found]


def _of(segment: str, said: Said, inventory: Inventory | None, hosts: Sequence[str]) -> Iterator[Piece]:
    if by_hand := _BY_HAND.search(segment):
        yield Piece(segment[: by_hand.start()])
        yield Piece(by_hand[1], paste=True)
    elif (option := _OPTION.search(segment)) and len(words := _words(option[1])) == 1 and not _BLANK.search(words[0]):
        yield Piece(segment[: option.start()])
        yield Piece(said.line(Way.AGAIN, *words), paste=True)
    elif (ours := _OURS.search(segment)) and _words(ours[1]):
        yield Piece(segment[: ours.start()].rstrip(" :"))
        yield Piece(_ours(ours[1], said), paste=True)
        yield Piece(segment[ours.end() :].lstrip(" :;,."))
    elif (there := _there(segment)) and inventory and hosts and "NAME" not in " ".join(there):
        yield Piece(_THERE.sub("what this says", segment, count=1))
        yield from by_hand_lines([there], inventory, hosts)
    else:
        yield Piece(segment)


def rules(said: Said, inventory: Inventory) -> Piece:
    """What prints sudo's rules for the login that the runbook uses. Where ssh's own configuration names it, LOGIN."""
    names = shlex.join((said.hosts or "NAME", inventory.transport.user or "LOGIN"))
    return Piece(_ours(f"python -m requorum.sudoers {names}", said), paste=True)


def _there(segment: str) -> tuple[str, ...]:
    """The words of a command in backticks; () where a host's own word in it keeps it from being one."""
    found = _THERE.search(segment)
    return tuple(_words(found[1])) if found else ()


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:
        return []


def _ours(line: str, said: Said) -> str:
    program, *words = shlex.split(line)
    if program == "python":
        python = said.program.removesuffix(" -m pytest") if said.program.endswith(" -m pytest") else _beside(said)
        words = [f"--hosts={said.hosts or 'NAME'}" if word.startswith("--hosts=") else word for word in words]
        return f"cd {shlex.quote(str(ROOT))} && {python} {shlex.join(words)}"
    directory, *options = words
    return said.line(directory, *(word for word in options if not word.startswith("--hosts")))


def _beside(said: Said) -> str:
    return shlex.quote(str(Path(said.place, shlex.split(said.program)[0]).with_name("python")))


def by_hand_lines(argvs: Iterable[tuple[str, ...]], inventory: Inventory, hosts: Sequence[str]) -> Iterator[Piece]:
    """Commands as root on hosts, host by host."""
    known = [host for host in hosts if host in inventory.hosts]
    argvs = list(argvs)
    for host in known[:MANY]:
        yield from (Piece(lock.by_hand(inventory, host, *argv), paste=True) for argv in argvs)
    if len(known) > MANY and argvs:
        yield Piece(f"and the same on {', '.join(known[MANY:])}")


def _sentence(text: str) -> str:
    return re.sub(r"^(?:and|or|else),? ", "or, ", text.strip().rstrip(".:"))
