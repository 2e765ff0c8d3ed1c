"""The one door for what a host says: what is asked of it, and how its answer becomes a typed value, in one place."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Generic, TypeVar

from requorum.command import Command, Result
from requorum.refusal import Refusal

T = TypeVar("T")
U = TypeVar("U")

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")  # of a member, a run, a role, a unit, a token
PATH = re.compile(r"(/[A-Za-z0-9._+@:,=~-]+)+/?|/")  # absolute, without a word that a shell or a listing would misread
OWNER = re.compile(r"[^\s:/-][^:/\x00-\x1f\x7f]*:[^\s:/-][^:/\x00-\x1f\x7f]*")  # user:group, by name or number
FORESEEN = re.compile(r"‹[A-Za-z0-9._-]+›")  # what a plan puts for a word that nobody knows yet
_planned = ContextVar("planned", default=False)  # whether the answer that is being read is a dry run's


def is_foreseen(text: str) -> bool:
    """Whether it is a plan's placeholder, in a plan's own answer: a real host's is none."""
    return _planned.get() and FORESEEN.fullmatch(text) is not None


def parts(where: str, what: str, text: str, pattern: re.Pattern[str]) -> tuple[str, ...]:
    """The groups of a strict pattern. Raises `Refusal` where it does not fit."""
    found = pattern.fullmatch(checked(where, what, text, pattern))
    assert found is not None
    return found.groups()


def checked(host: str, what: str, text: str, pattern: re.Pattern[str]) -> str:
    """A host's own word, held against a strict pattern. Raises `Refusal`; `..` never passes."""
    foreseen = _planned.get() and pattern.fullmatch(FORESEEN.sub("x", text))
    if (pattern.fullmatch(text) or foreseen or is_foreseen(text)) and ".." not in text.split("/"):
        return text
    raise Refusal(host, f"its {what} is {text[:200]!r}, which is no {what} that can be used", "look at that host")


def in_time(answer: Result) -> Result:
    """An answer that no deadline cut short: one that came too late says neither yes nor no. Raises `Refusal`."""
    if not answer.late:
        return answer
    raise Refusal(
        answer.command.host,
        f"could not be asked in time: {answer.command.why} ({answer.words})",
        "run again when that host is less busy, or with a higher --timeout-scale",
    )


NOT_THERE = ("No such file or directory", "Not a directory")
# A tool's own complaint; beside it stand words of sudo, or of a login.
_COMPLAINT = re.compile(r"(\S*/)?(base64|bash|cat|dash|find|head|ls|sh|sha256sum|stat): .*")


def complete(answer: Result) -> Result:
    """An answer that is all there is: in time, and of a tool that complained of nothing but what is not there. What an
    ill disk did not give is not what is not there. Raises `Refusal`."""
    said = [line.strip() for line in in_time(answer).stderr.splitlines()]
    ill = [line for line in said if _COMPLAINT.fullmatch(line) and not line.endswith(NOT_THERE)]
    if not ill and not answer.hindered:
        return answer
    words = "(output withheld)" if answer.command.secret else plain(ill[0] if ill else answer.words)
    what = f"could not be asked: {answer.command.why} ({words[:200]})"
    raise Refusal(answer.command.host, what, "look at that host, then run again")


def plain(text: str) -> str:
    """A host's own words that are only shown and compared: nothing that a terminal would act on."""
    return "".join(char if char.isprintable() else "?" for char in text)


@dataclass(frozen=True)
class Question(Generic[T]):
    """One command of one host, or a few whose answers are one fact.

    `read` takes a `Result` for each, in their order, and holds them against a strict pattern or the inventory. It
    raises a `Refusal` that names the host for what it does not trust. `at_once`: none waits for another.
    """

    command: Command | tuple[Command, ...]
    read: Callable[..., T]
    at_once: bool = False

    @property
    def commands(self) -> tuple[Command, ...]:
        return (self.command,) if isinstance(self.command, Command) else self.command

    @property
    def host(self) -> str:
        return self.commands[0].host

    def understand(self, answers: Sequence[Result]) -> T:
        """The value. Raises `Refusal` also for what its reader did not foresee: no answer ends in a traceback."""
        outer = _planned.set(any(answer.planned for answer in answers))
        try:
            return self.read(*answers)
        except (Refusal, AssertionError):
            raise
        except Exception as error:
            line = "; ".join(shlex.join(command.argv) for command in self.commands)
            why = f"{type(error).__name__}: {error}"
            raise Refusal(
                self.host,
                f"gave an answer that is not understood ({why[:200]!r}) to: {self.commands[0].why}",
                f"look at what it prints: {line[:400]}",
            ) from error
        finally:
            _planned.reset(outer)


def every(questions: Sequence[Question[T]], at_once: bool = False) -> Question[list[T]]:
    """Several questions of one host as one, so that they go there together; each is read by its own reader."""

    def read(*answers: Result) -> list[T]:
        left = iter(answers)
        return [question.understand([next(left) for _ in question.commands]) for question in questions]

    return Question(tuple(command for question in questions for command in question.commands), read, at_once)


def both(one: Question[T], other: Question[U]) -> Question[tuple[T, U]]:
    """The same of two whose answers are of different kinds."""
    first = len(one.commands)
    return Question(
        (*one.commands, *other.commands),
        lambda *answers: (one.understand(answers[:first]), other.understand(answers[first:])),
    )


def or_refusal(question: Question[T]) -> Question[T | Refusal]:
    """The same question, where one whose answer is refused is no reason to learn nothing of those beside it."""

    def read(*answers: Result) -> T | Refusal:
        try:
            return question.understand(answers)
        except Refusal as refusal:
            return refusal

    return Question(question.command, read)
