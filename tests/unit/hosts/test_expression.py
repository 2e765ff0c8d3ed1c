"""A host's own patterns: they mean what they mean to sudo, and none holds the operator's machine."""

from __future__ import annotations

import fnmatch
import random
import re
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from requorum.hosts import expression
from requorum.hosts.expression import MOST_WORK, Expression, Glob, UnreadError

TEXTS = [
    "",
    "a",
    "b",
    "ab",
    "aab",
    "abab",
    "aaaa",
    "-k 5 60 true",
    "-k 5 900 cat /x/y",
    "a\nb",
    "]",
    "-",
    "^a",
    "a*",
    "[a]",
]


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "a",
            "a*",
            "a+b?",
            "(a|b)*",
            "(a|a)*",
            "(a+)+",
            "(a*)*b",
            "(ab){2}",
            "a{0}",
            "a{2,}",
            "a{1,3}",
            "a{0,2}b",
        ),
        *("-k 5 (60|900|7200) .*", ".*", "[ab]+", "[^a]*", "[]a]", "[a-c-]*", "[[:alpha:]]+", "()", "(|a)b", r"a\*"),
        *("(a?){3}b", "((a|b)(a|b)){2}", "x|", "(.*a){2}.*", "(a{2}){2}", r"\[a\]", "[[:digit:] a-z/-]*"),
    ],
)
def test_an_expression_fits_what_pythons_own_does(text: str) -> None:
    classes = {"[:alpha:]": "A-Za-z", "[:digit:]": "0-9"}
    spelled = text.replace("[]a]", r"[\]a]")
    for name, inside in classes.items():
        spelled = spelled.replace(name, inside)
    found, known = Expression(text), re.compile(spelled, re.S)
    assert {word for word in TEXTS if found.matches(word)} == {word for word in TEXTS if known.fullmatch(word)}


places = st.text("ab*?[]!^-\\", max_size=8)


@given(places, st.text("ab!^-", max_size=8))
@example("*a*?b", "xaab")
@example("[!a]*", "b")
def test_a_glob_fits_what_the_c_librarys_does(text: str, word: str) -> None:
    """Python's own knows no backslash: those are left out here."""
    if "\\" in text or "[^" in text:
        return
    try:
        found = Glob(text).matches(word)
    except UnreadError:
        assert "[" in text
        return
    assert found == fnmatch.fnmatchcase(word, text)


def test_a_glob_takes_what_is_behind_a_backslash_as_it_is() -> None:
    assert Glob(r"a\*\,\\*").matches("a*,\\x") and not Glob(r"a\*").matches("ab")
    assert Glob("[^a]").matches("b") and not Glob("[^a]").matches("a")
    assert Glob("").matches("") and not Glob("").matches("a") and Glob("*").matches("")


@pytest.mark.parametrize(
    "text",
    [
        *(
            ")",
            "(",
            "[",
            "[]",
            "[^]",
            "a**",
            "+",
            "a{300}",
            "a{3,2}",
            r"\d",
            r"(a)\1",
            "a^b",
            "a$b",
            "[[:word:]]",
            "[z-a]",
        ),
        *(
            "[[.a.]]",
            "[[=a=]]",
            r"[\d]",
            "(?P<a>x)",
            "(?=a)",
            "a{,3}",
            "{2}",
            "\\",
            "(" * 9999,
            "a" * 501,
            "(a{255}){255}",
        ),
        "(((((a{99}){99}){99}){99}){99}){99}",
    ],
)
def test_what_is_none_or_is_not_read_here_is_said(text: str) -> None:
    with pytest.raises(UnreadError):
        Expression(text)


@pytest.mark.parametrize("text", ["[", "[]", "[[:foo:]]", "[z-a]", r"[\]]", "[a]" * 65, "a" * 8193])
def test_a_glob_that_is_none_or_is_not_read_here_is_said(text: str) -> None:
    with pytest.raises(UnreadError):
        Glob(text)


LONG = "a" * 100_000 + "!"


@pytest.mark.parametrize(
    "text", ["(a+)+", "(a|a)*", "(.*a){20}", "(a*)*", "(a|aa)+", "(a?){60}a{60}", "(.*)(.*)(.*)(.*)(.*)b", "(x+x+)+y"]
)
def test_what_would_hold_another_matcher_for_ever_takes_steps_that_grow_with_the_text(text: str) -> None:
    """Steps are counted, not seconds: of the automaton while it is made, then one for each character."""
    found = Expression(text)
    found.matches(LONG)
    assert found._work <= MOST_WORK and len(found._steps) < 2000


def test_one_whose_states_are_too_many_is_given_up_after_so_many_steps() -> None:
    """The place of an `a` twenty characters before the end: a million states."""
    found = Expression(f"[ab]*a{'[ab]' * 20}")
    word = "".join(random.Random(1).choices("ab", k=200_000))
    with pytest.raises(UnreadError):
        found.matches(word)
    assert found._work <= MOST_WORK + expression.MOST_PLACES


class Counting:
    """In place of compiled pieces of a glob: how many characters they were held against."""

    def __init__(self, piece: re.Pattern[str]) -> None:
        self.piece, self.seen = piece, 0

    def _counted(
        self, text: str, at: int = 0, end: int | None = None, ask: Callable[..., object] | None = None
    ) -> object:
        assert ask is not None
        found = ask(text, at, len(text) if end is None else end)
        self.seen += (found.end() if isinstance(found, re.Match) else len(text)) - at
        return found

    def match(self, text: str) -> object:
        return self._counted(text, ask=self.piece.match)

    def fullmatch(self, text: str, at: int = 0) -> object:
        return self._counted(text, at, ask=self.piece.fullmatch)

    def search(self, text: str, at: int, end: int) -> object:
        return self._counted(text, at, end, self.piece.search)


def test_a_glob_of_many_stars_looks_at_each_character_but_a_few_times() -> None:
    for text in ("*a" * 2000 + "b", "*a*" * 1000 + "!", "*a" * 2000, "*" * 8000):
        found = Glob(text)
        pieces = [Counting(piece) for piece in found._pieces]
        found._pieces = pieces  # type: ignore[assignment]
        found.matches(LONG)
        assert sum(piece.seen for piece in pieces) <= 3 * len(LONG)
