"""A host's own patterns, matched in a time that grows with the text alone: sudo's regular expressions and its globs.

What is not read here is raised as `UnreadError`, never guessed.
"""

from __future__ import annotations

import re

MOST_PLACES = 500  # of one expression: characters that may match, repeats written out
MOST_WORK = 200_000  # steps of one expression, whatever it is held against
_DEEPEST = 50
_QUANTIFIER = re.compile(r"[*+?]|\{(\d{1,3})(,(\d{1,3})?)?\}")
_CLASSES = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "digit": "0-9",
    "lower": "a-z",
    "space": r"\s",
    "upper": "A-Z",
    "xdigit": "0-9A-Fa-f",
}
_SET = re.compile(r"\[([!^]?)(\]?(?:\[:[a-z]+:\]|[^]\\[])*)\]")  # without what `[` and a backslash mean in some
_OF_A_SET = re.compile(r"\[:([a-z]+):\]|(.)-([^]])|(.)", re.S)


class UnreadError(ValueError):
    """A pattern that is not read here: it is none, or it means something of its own, or would take too long."""


def _set(found: re.Match[str]) -> re.Pattern[str]:
    """One character of a set: its classes, ranges and characters as Python spells them."""
    parts = []
    for name, first, last, one in _OF_A_SET.findall(found[2]):
        if name and name not in _CLASSES:
            raise UnreadError(found[0])
        if first > last and not one and not name:
            raise UnreadError(found[0])
        escaped = f"{re.escape(first)}-{re.escape(last)}" if first else re.escape(one)
        parts.append(_CLASSES[name] if name else escaped)
    return re.compile(f"[{'^' * bool(found[1])}{''.join(parts)}]", re.S)


# -- globs -------------------------------------------------------------------------------------------------------

MOST_OF_A_GLOB, MOST_SETS = 8192, 64


class Glob:
    """As sudoers takes words: `*` spans anything, `?` is one character, a backslash takes the next one as it is."""

    def __init__(self, text: str) -> None:
        if len(text) > MOST_OF_A_GLOB:
            raise UnreadError(text[:80])
        pieces: list[list[str]] = [[]]  # between stars; each is of one length, so that the first fit is as good as any
        sizes, sets, at = [0], 0, 0
        while at < len(text):
            if text[at] == "*":
                pieces.append([])
                sizes.append(0)
                at += 1
                continue
            if text[at] == "[":
                found = _SET.match(text, at)
                sets += 1
                if found is None or not found[2] or sets > MOST_SETS:
                    raise UnreadError(text[:80])
                pieces[-1].append(_set(found).pattern)
                step, count = len(found[0]), 1
            elif text[at] == "?":
                count = step = len(re.compile(r"\?+").match(text, at)[0])  # type: ignore[index]  # it begins with one
                pieces[-1].append(f".{{{count}}}")
            else:
                step = 1 + (text[at] == "\\" and at + 1 < len(text))
                pieces[-1].append(re.escape(text[at + step - 1]))
                count = 1
            sizes[-1] += count
            at += step
        self._pieces = [re.compile("".join(piece), re.S) for piece in pieces]
        self._sizes, self._least = sizes, sum(sizes)

    def matches(self, text: str) -> bool:
        first, last = self._pieces[0], self._pieces[-1]
        if len(self._pieces) == 1:
            return first.fullmatch(text) is not None
        end = len(text) - self._sizes[-1]
        if len(text) < self._least or not first.match(text) or not last.fullmatch(text, end):
            return False
        at = self._sizes[0]
        for piece in self._pieces[1:-1]:
            found = piece.search(text, at, end)
            if found is None:
                return False
            at = found.end()
        return at <= end


# -- regular expressions -----------------------------------------------------------------------------------------


class _Part:
    """Of an expression: whether it fits nothing, and which places it may begin and end with, as bits."""

    def __init__(self, empty: bool, first: int, last: int) -> None:
        self.empty, self.first, self.last = empty, first, last


class Expression:
    """A POSIX extended regular expression, between sudo's ^ and $: an automaton whose states are sets of places."""

    def __init__(self, text: str) -> None:
        self._text, self._at, self._work = text, 0, 0
        self._takes: list[re.Pattern[str] | str] = []  # by place: a set, or a character
        self._follows: list[int] = []
        self._whole = self._choice(0)
        if self._at < len(text):
            raise UnreadError(text[:80])
        self._fitting: dict[str, int] = {}
        self._steps: dict[tuple[int, str], int] = {}

    def matches(self, text: str) -> bool:
        """Raises `UnreadError` where all that it was held against took too many steps."""
        if not text:
            return self._whole.empty
        state = self._whole.first & self._fits(text[0])
        for character in text[1:]:
            if not state:
                return False
            step = self._steps.get((state, character))
            if step is None:
                step = self._steps[state, character] = self._after(state) & self._fits(character)
            state = step
        return bool(state & self._whole.last)

    def _fits(self, character: str) -> int:
        """The places that take a character."""
        found = self._fitting.get(character)
        if found is None:
            self._spend(len(self._takes))
            takes = enumerate(self._takes)
            found = self._fitting[character] = sum(
                1 << place
                for place, one in takes
                if (one == character if isinstance(one, str) else one.match(character))
            )
        return found

    def _after(self, state: int) -> int:
        found = 0
        while state:
            self._spend(1)
            place = state & -state
            found |= self._follows[place.bit_length() - 1]
            state ^= place
        return found

    def _spend(self, steps: int) -> None:
        self._work += steps
        if self._work > MOST_WORK:
            raise UnreadError(self._text[:80])

    # -- reading it

    def _choice(self, depth: int) -> _Part:
        part = self._sequence(depth)
        while self._text.startswith("|", self._at):
            self._at += 1
            other = self._sequence(depth)
            part = _Part(part.empty or other.empty, part.first | other.first, part.last | other.last)
        return part

    def _sequence(self, depth: int) -> _Part:
        part = _Part(True, 0, 0)
        while self._at < len(self._text) and self._text[self._at] not in "|)":
            part = self._then(part, self._piece(depth))
        return part

    def _then(self, one: _Part, other: _Part) -> _Part:
        self._join(one.last, other.first)
        first = one.first | (other.first if one.empty else 0)
        last = other.last | (one.last if other.empty else 0)
        return _Part(one.empty and other.empty, first, last)

    def _join(self, ends: int, begins: int) -> None:
        while ends:
            self._spend(1)
            place = ends & -ends
            self._follows[place.bit_length() - 1] |= begins
            ends ^= place

    def _piece(self, depth: int) -> _Part:
        start = self._at
        part = self._atom(depth)
        found = _QUANTIFIER.match(self._text, self._at)
        if found is None:
            return part
        least, most = _times(found)
        whole = _Part(True, 0, 0)
        for number in range(max(least, most or 1) if most != 0 else 0):
            if number:
                self._at = start
                part = self._atom(depth)
            if most is None and number >= least - 1:
                self._join(part.last, part.first)
            whole = self._then(whole, _Part(part.empty or number >= least, part.first, part.last))
        self._at = found.end()
        if _QUANTIFIER.match(self._text, self._at):
            raise UnreadError(self._text[:80])
        return whole

    def _atom(self, depth: int) -> _Part:
        self._spend(1)
        character = self._text[self._at]
        if character == "(":
            if depth == _DEEPEST:
                raise UnreadError(self._text[:80])
            self._at += 1
            part = self._choice(depth + 1)
            if not self._text.startswith(")", self._at):
                raise UnreadError(self._text[:80])
            self._at += 1
            return part
        takes: re.Pattern[str] | str = character
        length = 1
        if character == "[":
            found = _SET.match(self._text, self._at)
            if found is None or not found[2] or found[1] == "!":
                raise UnreadError(self._text[:80])
            takes, length = _set(found), len(found[0])
        elif character == ".":
            takes = re.compile(".", re.S)
        elif character == "\\":
            takes, length = self._text[self._at + 1 : self._at + 2], 2
            if not takes or takes.isalnum() or takes in "<>`'":
                raise UnreadError(self._text[:80])
        elif character in "^$*+?{":
            raise UnreadError(self._text[:80])
        self._at += length
        if len(self._takes) == MOST_PLACES:
            raise UnreadError(self._text[:80])
        self._takes.append(takes)
        self._follows.append(0)
        place = 1 << (len(self._takes) - 1)
        return _Part(False, place, place)


def _times(found: re.Match[str]) -> tuple[int, int | None]:
    """How often at least and at most, None: without end."""
    if found[0] in "*+?":
        return {"*": (0, None), "+": (1, None), "?": (0, 1)}[found[0]]
    least = int(found[1])
    most = least if not found[2] else int(found[3]) if found[3] else None
    if max(least, most or 0) > 255 or (most is not None and most < least):
        raise UnreadError(found[0])
    return least, most
