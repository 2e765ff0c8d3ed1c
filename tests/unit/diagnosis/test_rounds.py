"""A round of questions to hosts that may be broken: values under their keys, whatever one of them says or does not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import pytest

from requorum.command import Command, Result, look
from requorum.diagnosis import rounds
from requorum.hosts.fleet import Fleet
from requorum.hosts.question import Question
from requorum.refusal import Refusal


class Hosts:
    """Each command's answer is its last word; `etcd-2` does not answer."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.asked: list[Command] = []

    def gather(self, commands: Sequence[Command]) -> dict[str, list[Result] | Exception]:
        self.asked += commands
        found: dict[str, list[Result] | Exception] = {}
        for host in dict.fromkeys(command.host for command in commands):
            said = [Result(c, 0, c.argv[-1], "", 0.1) for c in commands if c.host == host]
            found[host] = self.error if host == "etcd-2" else said
        return found


def number(host: str, *words: str) -> Question[int]:
    commands = tuple(look(host, "echo", word, why=f"say {word}") for word in words)
    return Question(commands, lambda *answers: sum(int(answer.stdout) for answer in answers))


QUESTIONS = {
    ("a", 1): number("etcd-1", "1", "2"),
    ("b", 2): number("etcd-2", "9"),
    ("c", 3): number("etcd-1", "x"),
    ("d", 4): number("etcd-1", "5"),
    ("e", 5): number("etcd-3", "7"),
}


def test_each_value_has_its_key_and_what_is_silent_or_not_understood_stops_no_other() -> None:
    hosts, silent = Hosts(Refusal("etcd-2", "did not answer", "look")), {"etcd-3": "no route"}
    found = rounds.ask(cast(Fleet, hosts), silent, QUESTIONS)
    refused = found.pop(("c", 3))
    assert found == {("a", 1): 3, ("d", 4): 5}
    assert isinstance(refused, Refusal) and refused.where == "etcd-1" and "not understood" in refused.what
    assert silent == {"etcd-2": "did not answer", "etcd-3": "no route"}
    assert "etcd-3" not in {command.host for command in hosts.asked}, "who is silent is not asked again"


def test_several_kinds_of_questions_are_one_trip() -> None:
    hosts = Hosts(Refusal("etcd-2", "did not answer", "look"))
    found = rounds.kinds(cast(Fleet, hosts), {}, one={"x": number("etcd-1", "1")}, two={"x": number("etcd-1", "2")})
    assert found == {"one": {"x": 1}, "two": {"x": 2}}


def test_an_error_that_nobody_foresaw_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        rounds.ask(cast(Fleet, Hosts(ZeroDivisionError())), {}, QUESTIONS)
