"""A plan on the screen and in `plan.txt`: every step, stage, host and command in order. It only draws.

Hosts that do the same are named together; they work at the same time. Plain text is `str` of each line.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import pytest
from rich.text import Text

from requorum.command import REDACTED, Action, Command, Copy, Fetch
from requorum.evidence import outline
from requorum.evidence.redaction import redact
from requorum.plugin.reporter import Reporter

COMMIT = "the commit prompt: from here machines get the new configuration"
NO_RETURN = "the point of no return: from here Deephaven writes into the new cluster"
LEGEND = (
    f"* changes something, the rest only looks. {REDACTED} is standard input: a mark, a note or a secret, never shown.",
    "‹…› is what only the run will know; the same name stands for the same text. Hosts that are named together work",
    "at the same time. Not listed, since they change nothing: the questions whose answers decide, the looks of proofs.",
)


@dataclass
class Stage:
    """One stage of a plan. `looked`: its claims were proven on the hosts as they are. `plans`: what is done one after
    the other, each with whether it is bookkeeping: marks and the like, not the stage's own work.
    `refusal`: why the run would stop here today; `unforeseen`: why a proof was not followed to its end. `line`: what is
    drawn before it. `step`, `doc`: the operator's texts.
    """

    nodeid: str
    looked: bool = False
    plans: list[tuple[Sequence[Action], bool]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    refusal: str = ""
    unforeseen: str = ""
    line: str = ""
    step: str = ""
    doc: str = ""

    @property
    def word(self) -> str:
        return outline.stage_name(self.nodeid)[1]

    @property
    def text(self) -> str:
        return outline.stage_name(self.nodeid)[2]

    @property
    def actions(self) -> list[Action]:
        return [action for plan, _ in self.plans for action in plan]

    def waves(self) -> Iterator[tuple[Copy | Fetch | None, list[tuple[Command, bool]]]]:
        """What hosts do at the same time: commands, each with whether it is bookkeeping, or those of one stream."""
        for plan, bookkeeping in self.plans:
            wave: list[tuple[Command, bool]] = []
            for action in plan:
                if isinstance(action, Command):
                    wave.append((action, bookkeeping))
                else:
                    yield None, wave
                    yield action, [(command, bookkeeping) for command in commands_of(action)]
                    wave = []
            yield None, wave

    def commands(self) -> list[Command]:
        """Every command in its order."""
        return [command for _, wave in self.waves() for command, _ in wave]


def commands_of(copy: Copy | Fetch) -> list[Command]:
    if isinstance(copy, Fetch):
        return [copy.reads()]
    reader = copy.reads()
    return [*copy.opens(), *([reader] if reader else []), *copy.writes(), *copy.checks(), *copy.names()]


def plan(stages: Sequence[Stage]) -> list[str]:
    """The whole plan as plain text."""
    lines = [*LEGEND]
    for step, run in groupby(stages, key=lambda stage: stage.step):
        lines += ["", step]
        lines += [line.plain for each in run for line in stage(each)]
    return lines


def stage(found: Stage) -> list[Text]:
    lines = [Text(f"\n──── {found.line} ────\n", style="bold red")] if found.line else []
    idle = found.word == "When" and not found.actions
    outcome = " · not needed here" if idle else " · holds now" if found.looked and not found.refusal else ""
    lines.append(Text(f"  {found.word:<6}{found.text}{outcome}", style="dim" if idle else "bold"))
    if found.word != "When" and not found.looked:
        lines.append(Text(f"          proves: {found.doc}", style="green"))
    if found.looked or found.word == "When":  # notes of others are about what they find, and it is not there yet
        lines += [Text(f"           {note}", style="dim") for note in found.notes]
    if found.refusal:
        said = redact(found.refusal).replace("\n", "\n          ")
        lines.append(Text(f"          today the runbook would stop here: {said}", style="red"))
    for copy, wave in found.waves():
        if copy is not None:
            lines.append(Text(f"      {redact(copy.why)}: streamed from {_way(copy)}"))
        lines += _blocks(wave, copy.why if copy is not None else "")
    return lines


def _way(copy: Copy | Fetch) -> str:
    if isinstance(copy, Fetch):
        return f"{copy.host} to {copy.target} on this machine"
    return copy.source_host or "this machine"


def _blocks(wave: Sequence[tuple[Command, bool]], known: str) -> Iterator[Text]:
    """The commands of one wave, hosts that do the same together. What they are for, unless it is `known`."""
    by_host: dict[str, list[tuple[str, str, bool, bool]]] = {}
    for command, aside in wave:
        by_host.setdefault(command.host, []).append((spelled(command), command.why, command.changes, aside))
    together: dict[tuple[tuple[str, str, bool, bool], ...], list[str]] = {}
    for host, rows in by_host.items():
        together.setdefault(tuple(rows), []).append(host)
    for same, hosts in together.items():
        yield Text(f"      {', '.join(hosts)}", style="cyan")
        for line, why, changes, aside in same:
            text = Text(f"        {'*' if changes else ' '} ", style="dim" if aside else "")
            text.append(redact(line))
            text.append(f"  # {redact(why)}" if why != known else "", style="dim")
            yield text


def spelled(command: Command) -> str:
    """`Command.shown()`, but a word is not quoted for the placeholders in it."""
    words = shlex.split(command.line())
    line = " ".join(word if _plain(word) else shlex.quote(word) for word in words)
    return line + (f" < {REDACTED}" if command.stdin is not None else "")


def _plain(word: str) -> bool:
    bare = re.sub("‹[^›]*›", "x", word)
    return bare == shlex.quote(bare)


class PlanReporter(Reporter):  # type: ignore[misc]
    """Draws a plan: looks as a run draws them, everything else as what would be done."""

    def pytest_runtest_logstart(self, nodeid: str, location: Any) -> None:
        if not self._step:
            for line in LEGEND:
                self.console.print(Text(line, style="dim"))
        super().pytest_runtest_logstart(nodeid, location)

    def _stage(self, report: pytest.TestReport) -> None:
        self.watch.end()
        lines = dict(report.user_properties).get("plan")
        if report.skipped or report.failed or not isinstance(lines, list) or not lines:
            super()._stage(report)
            return
        for line in lines:
            self.console.print(line, crop=False, overflow="ignore")
