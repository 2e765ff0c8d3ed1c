"""Hosts that may be broken are asked in rounds, each one trip to every host at once."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Mapping
from typing import Any, TypeVar

from requorum.command import Result
from requorum.hosts.fleet import Fleet
from requorum.hosts.question import Question
from requorum.refusal import Refusal

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


def ask(fleet: Fleet, silent: dict[str, str], questions: Mapping[K, Question[T]]) -> dict[K, T | Refusal]:
    """Each question's value under its own key, of those who are not `silent`; who falls silent on the way joins them.

    An answer that is not understood is a `Refusal` in its place. An error that nobody foresaw is raised.
    """
    asked = {key: question for key, question in questions.items() if question.host not in silent}
    commands = [command for question in asked.values() for command in question.commands]
    assert not [command for command in commands if command.changes], "a question must not change anything"
    queues: dict[str, deque[Result]] = {}
    for host, outcome in fleet.gather(commands).items():
        if isinstance(outcome, list):
            queues[host] = deque(outcome)
        elif isinstance(outcome, Refusal):
            silent[host] = outcome.what
        else:
            raise outcome
    found: dict[K, T | Refusal] = {}
    for key, question in asked.items():
        if question.host in queues:
            value = understood(question, [queues[question.host].popleft() for _ in question.commands])
            found[key] = value
    return found


def kinds(fleet: Fleet, silent: dict[str, str], **asked: Mapping[Any, Question[Any]]) -> dict[str, dict[Any, Any]]:
    """The same for several kinds of questions in one trip: kind → key → value."""
    found: dict[str, dict[Any, Any]] = {kind: {} for kind in asked}
    together = {(kind, key): question for kind, questions in asked.items() for key, question in questions.items()}
    for (kind, key), value in ask(fleet, silent, together).items():
        found[kind][key] = value
    return found


def understood(question: Question[T], answers: list[Result]) -> T | Refusal:
    try:
        return question.understand(answers)
    except Refusal as refusal:
        return refusal
