"""The one door: a value under its own key, and a host's name on whatever is not understood."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from requorum.command import Command, Result, look
from requorum.hosts.question import NAME, PATH, Question, both, checked, every
from requorum.refusal import Refusal
from requorum.run.run import Run


def number(host: str, word: str) -> Question[int]:
    return Question(look(host, "echo", word, why="a number"), lambda result: int(result.stdout))


class Echoes(Run):
    """Hosts that say the last word of each question, in the order of hosts, as a fleet's answers come."""

    def __init__(self) -> None:
        pass

    def look(self, commands: Sequence[Command]) -> list[Result]:
        by_host = sorted(commands, key=lambda command: command.host)  # stable: a host's own stay in their order
        return [Result(command, 0, command.argv[-1], "", 0.0) for command in by_host]


def test_each_value_stands_under_its_own_key_however_the_answers_come() -> None:
    asked = {"x": number("b", "1"), "y": number("a", "2"), "z": number("b", "3")}
    assert Echoes().ask(asked) == {"x": 1, "y": 2, "z": 3}


def test_a_fact_of_several_commands_gets_their_answers_and_no_others() -> None:
    commands = tuple(look("b", "echo", word, why="w") for word in "123")
    three: Question[str] = Question(commands, lambda *results: "".join(result.stdout for result in results))
    four: Question[str] = Question(look("b", "echo", "4", why="w"), lambda result: str(result.stdout))
    assert Echoes().ask({3: three, 4: four}) == {3: "123", 4: "4"}


def test_questions_that_go_together_are_each_read_by_their_own_reader() -> None:
    words: Question[str] = Question(
        tuple(look("b", "echo", word, why="w") for word in "12"), lambda *results: "".join(r.stdout for r in results)
    )
    assert Echoes().ask({"x": both(words, number("b", "3"))}) == {"x": ("12", 3)}
    assert Echoes().ask({"x": every([number("b", word) for word in "123"])}) == {"x": [1, 2, 3]}


@pytest.mark.parametrize("together", [every, lambda questions: both(*questions)])
def test_of_questions_that_go_together_the_one_that_is_not_understood_is_named(
    together: Callable[[Sequence[Question[object]]], Question[object]],
) -> None:
    question = together([answered(""), answered("")])
    said = [
        Result(command, 0, text, "", 0.0) for command, text in zip(question.commands, ('{"a": 1}', "?"), strict=True)
    ]
    with pytest.raises(Refusal, match=r"gave an answer that is not understood .* to: what it says\n"):
        question.understand(said)


def answered(text: str) -> Question[object]:
    return Question(look("etcd-1", "cat", "/x", why="what it says"), lambda result: json.loads(result.stdout)["a"])


@given(st.text().filter(lambda text: not text.strip().startswith("{")))
def test_what_is_not_understood_is_a_refusal_that_names_the_host_and_no_traceback(text: str) -> None:
    question = answered(text)
    said = Result(cast(Command, question.command), 0, text, "", 0.0)
    with pytest.raises(Refusal, match=r"etcd-1: gave an answer that is not understood .* to: what it says") as refused:
        question.understand([said])
    assert "\x1b" not in str(refused.value)


def test_a_plans_placeholder_is_a_word_in_a_plans_answer_alone() -> None:
    question = Question(look("a", "x", why="a"), lambda result: checked("a", "run", result.stdout, PATH))
    real = Result(question.commands[0], 0, "/base/‹run›/x", "", 0.0)
    assert question.understand([replace(real, planned=True)]) == "/base/‹run›/x"
    for text in ("/base/‹run›/x", "‹run›"):
        with pytest.raises(Refusal, match="a: its run is"):
            question.understand([replace(real, stdout=text)])


@pytest.mark.parametrize("text", ["../x", "a b", "a\nb", "", "-rf", "a;b", "$(x)", "\x1b[2J", "a" * 129, "a/b", "é"])
def test_a_word_that_could_lead_elsewhere_is_no_name(text: str) -> None:
    with pytest.raises(Refusal, match="etcd-1: its token is"):
        checked("etcd-1", "token", text, NAME)


@pytest.mark.parametrize("text", ["/a/../b", "a", "/a b", "/a\n/b", "//", "/a/$x", "/a/`b`", "", "/é", "/a/.."])
def test_a_word_that_could_lead_elsewhere_is_no_path(text: str) -> None:
    with pytest.raises(Refusal, match="etcd-1: its data-dir is"):
        checked("etcd-1", "data-dir", text, PATH)


@pytest.mark.parametrize("text", ["etcd-1", "lab-20261126t175028z-0a1b2c", "cd01a0636", "A.b_c"])
def test_names_as_they_are_out_there_pass(text: str) -> None:
    assert checked("etcd-1", "token", text, NAME) == text
    assert checked("etcd-1", "data-dir", f"/var/lib/etcd/dh/{text}", PATH).endswith(text)
