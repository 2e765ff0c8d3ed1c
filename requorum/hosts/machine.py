"""One host, as the fleet hands it to whoever asks it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from testinfra.host import Host as Seen

from requorum.command import Command, Result
from requorum.hosts.lanes import at_once, once
from requorum.hosts.question import Question

T = TypeVar("T")


@dataclass(frozen=True)
class Machine:
    """One host. `see` is testinfra's view of it; `look` runs commands that change nothing, in one trip."""

    name: str
    prefix: tuple[str, ...]
    see: Seen
    lock: threading.Lock
    look: Callable[[Sequence[Command]], list[Result]]
    lanes: bool = True  # several trips may go at once; not where each gives a password, and would try a wrong one

    def ask(self, question: Question[T]) -> T:
        return question.understand((at_once if question.at_once and self.lanes else once)(self.look, question.commands))
