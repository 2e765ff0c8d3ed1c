"""Known bad signs over lines that etcd 3.4 and 3.5 really wrote; an ordinary day shows none."""

from __future__ import annotations

from pathlib import Path

import pytest

from requorum.diagnosis.logs import signs

WORDS = Path(__file__).with_name("etcd-words.txt").read_text(encoding="utf-8").splitlines()
LINES = [tuple(line.split("\t", 1)) for line in WORDS if not line.startswith("#")]


@pytest.mark.parametrize(("name", "line"), LINES)
def test_a_line_shows_its_sign_and_no_other(name: str, line: str) -> None:
    assert [sign.name for sign in signs.in_line(line)] == ([] if name == "nothing" else [name])


def test_each_sign_of_a_single_line_has_a_real_one() -> None:
    assert {name for name, _ in LINES} == {sign.name for sign in signs.SIGNS if sign.words} | {"nothing"}


def test_every_sign_has_a_meaning_and_words_in_lower_case() -> None:
    assert len({sign.name for sign in signs.SIGNS}) == len(signs.SIGNS)
    for sign in signs.SIGNS:
        assert sign.meaning.endswith(".")
        assert all(word == word.lower() for word in sign.words)
        assert sign.words or sign is signs.TERM_JUMP


def jumps(*terms: tuple[float, int]) -> list[int]:
    lines = [(seconds, f"8e9e05c52164694d became candidate at term {term}") for seconds, term in terms]
    found = signs.mark(lines)
    return [term for (_, term), (_, _, shown) in zip(terms, found, strict=True) if signs.TERM_JUMP in shown]


class TestTermJumps:
    def test_an_election_now_and_then_is_none(self) -> None:
        assert jumps((0, 2), (1000, 3), (2000, 4), (3000, 5)) == []

    def test_elections_in_a_row_are(self) -> None:
        assert jumps((0, 2), (5, 3), (10, 4), (15, 5), (15.1, 5), (1000, 6)) == [5]

    def test_a_leap_after_a_long_quiet_time_is(self) -> None:
        assert jumps((0, 2), (9000, 9)) == [9]

    @pytest.mark.parametrize(("theirs", "jump"), [(3, False), (5, True)])
    def test_a_peer_with_a_much_higher_term_is(self, theirs: int, jump: bool) -> None:
        line = f"INFO: 2b82b [term: 2] received a MsgHeartbeat message with higher term from 45ac1 [term: {theirs}]"
        assert [signs.TERM_JUMP in shown for _, _, shown in signs.mark([(0.0, line)])] == [jump]

    @pytest.mark.parametrize("number", ["9" * 5000, "9" * 30, "\u0669", "\u00b2", "-1", ""])
    def test_what_is_no_term_is_none(self, number: str) -> None:
        higher = f"[term: 2] received a MsgApp message with higher term from 45ac1 [term: {number}]"
        for line in (f"became follower at term {number}", f'"raft-term": {number}', higher):
            assert [signs.TERM_JUMP in shown for _, _, shown in signs.mark([(0.0, line), (1.0, line)])] == [False] * 2
