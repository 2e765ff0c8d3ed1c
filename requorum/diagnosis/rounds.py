"""All members are asked in rounds."""

from __future__ import annotations

from collections.abc import Iterable

from requorum.command import Command
from requorum.diagnosis import questions
from requorum.refusal import Refusal
from requorum.run.run import Run


class _Asking:
    """Questions to whoever answers; who falls silent on the way joins the silent, and what failed is remembered."""

    def __init__(self, run: Run, silent: dict[str, str]) -> None:
        self.run = run
        self.silent = silent
        self.unseen: list[str] = []

    def round(self, **kinds: Iterable[Command]) -> dict[str, questions.Answers]:
        """One trip to every host for several kinds of questions. Gives kind → host → results."""
        asked = [(kind, c) for kind, commands in kinds.items() for c in commands if c.host not in self.silent]
        answers = self.run.fleet.gather([command for _, command in asked])
        left = {}
        for host, answer in answers.items():
            if isinstance(answer, Exception):
                self.silent[host] = answer.what if isinstance(answer, Refusal) else str(answer)
            else:
                left[host] = iter(answer)
        found: dict[str, questions.Answers] = {kind: {} for kind in kinds}
        for kind, command in asked:
            if command.host in left:
                found[kind].setdefault(command.host, []).append(next(left[command.host]))
        return found
