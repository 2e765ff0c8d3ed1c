"""`--plan`: the stages as they are, on hosts that are only looked at.

`Planning` stands in for `Run`: facts are asked for, until a planned command changes what they are about; from then
on `forecast` says what they will be. `do` writes down instead of acting, `prove` leaves the looking to the run.
What the run executes is what the same stages hand to the same `do`, so the plan is the run's own.
"""

from __future__ import annotations

import hashlib
import json
import re
import shlex
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import cast

from rich.text import Text

from requorum import procedures
from requorum.command import REDACTED, Action, Command, Copy, Fetch, Result
from requorum.evidence import outline, syslog
from requorum.evidence.journal import Journal, now
from requorum.evidence.redaction import redact, redacted
from requorum.hosts.fleet import Fleet, FleetError, Machine
from requorum.inventory import Inventory
from requorum.refusal import Disproved
from requorum.run import forecast
from requorum.run.aftermath import is_own
from requorum.run.forecast import Forecast, Unforeseen
from requorum.run.history import Birth
from requorum.run.marker import Marker, Phase
from requorum.run.run import Run
from requorum.run.terms import Options


class Planning(Run):
    """A run, planned: it takes no lock and no confirmation, and changes nothing on any host."""

    def __init__(self, inventory: Inventory, options: Options, journal: Journal, fleet: Fleet) -> None:
        super().__init__(inventory, options, journal, fleet)
        self.acts = False
        self.made = now()
        self.terms = replace(self.terms, mark=replace(self.mark, run=forecast.RUN, token=forecast.TOKEN))
        self.forecast = Forecast(inventory, lambda: self.mark.token)
        self.fleet = cast("Fleet", Looking(self, fleet))
        self.stages: list[Stage] = []
        self.basis: Mapping[str, str] = {}  # what the plan rests on, where it was looked at
        self.suppose: Callable[[], None] = lambda: None  # as if it held: a procedure's part of `pardons`

    @property
    def looks(self) -> bool:
        """Whether a stage proves on the hosts as they are: a Given, as long as only things of our own are planned."""
        theirs = (action for stage in self.stages for action in stage.actions if not is_own(action))
        return self.stages[-1].word == "Given" and next(theirs, None) is None

    @property
    def would_change(self) -> bool:
        """Whether the run would change something that is not its own: not where today it would stop before."""
        stops = any(stage.refusal for stage in self.stages)
        return not stops and any(not is_own(action) for stage in self.stages for action in stage.actions)

    # -- stages ----------------------------------------------------------------------------------------------

    def begin(self, nodeid: str) -> None:
        self.stages.append(Stage(nodeid))
        super().begin(nodeid)
        if procedures.commits(nodeid) and not any(stage.line for stage in self.stages):
            self.stages[-1].line = COMMIT
        self.stages[-1].looked = self.looks

    def end(self, nodeid: str, outcome: str, seconds: float, why: str) -> None:
        self.stages[-1].notes = list(self.notes)
        super().end(nodeid, outcome, seconds, why)

    def describe(self, step: str | None, stage: str | None) -> list[Text]:
        """The stage as it is drawn, with the operator's text of its step and its own; [] where it was a real look."""
        at = self.stages[-1]
        at.step, at.doc = ((text or "").strip().partition("\n")[0] for text in (step, stage))
        return [] if at.looked and not at.refusal else drawn(at)

    def anchor(self) -> None:
        if self.steps:
            short, title = outline.step_name(self.steps[-1].name)
            step = (short or title).lower().replace(" ", "-")
            told = f"journal ‹journal› of {self.inventory.cluster}: ‹records-by-{step}› records, ‹head-by-{step}›"
            self._note(syslog.tell(self.terms.everyone, told), bookkeeping=True)

    def pardons(self, error: BaseException) -> bool:
        """Whether the plan goes on after what a stage raised.

        What does not hold today is shown, and the plan made as if it did; a proof that cannot be foreseen is left to
        the run. Anything else ends it: what followed would not be the plan.
        """
        stage = self.stages[-1]
        if isinstance(error, Unforeseen) and stage.word != "When":
            stage.unforeseen = str(error)
        elif isinstance(error, Disproved) and stage.looked and len(self.stages) > 1:  # the first: hosts can be asked
            stage.refusal = str(error)
            self.suppose()
        else:
            return False
        self.journal.record("note", text=str(error))
        return True

    def advance(self, mark: Marker, birth: Birth | None = None) -> None:
        if mark.phase is Phase.POWERING_ON and self.mark.phase < mark.phase:
            self.stages[-1].line = NO_RETURN
        super().advance(mark, birth)

    # -- the three verbs -------------------------------------------------------------------------------------

    def note(self, text: str) -> None:
        super().note(forecast.shown(text))

    def look(self, commands: Sequence[Command]) -> list[Result]:
        foreseen = [self.forecast.foresee(command) for command in commands]
        answers: dict[str, deque[Result]] = {}  # a fleet answers host by host, each in the order of its questions
        for result in super().look([answer[0] for answer in foreseen if isinstance(answer, tuple)]):
            answers.setdefault(result.command.host, deque()).append(result)
        said = [a if isinstance(a, Result) else a[1](answers[a[0].host].popleft()) for a in foreseen]
        pairs = zip(commands, said, strict=True)
        return [replace(answer, command=command, planned=True) for command, answer in pairs]

    def severally(self, plan: Sequence[Command]) -> tuple[list[Result], dict[str, FleetError]]:
        return self._carry_out(plan), {}

    def _carry_out(self, plan: Sequence[Action], bookkeeping: bool = False) -> list[Result]:
        self.journal.planned(self.stretched(plan))
        return self._note(plan, bookkeeping)

    def _note(self, plan: Sequence[Action], bookkeeping: bool) -> list[Result]:
        if plan:
            self.stages[-1].plans.append((self.stretched(plan), bookkeeping))
        said = [self.forecast.note(action) for action in plan]
        return [replace(result, planned=True) for result in said if result is not None]

    def prove(
        self,
        hosts: Iterable[str],
        claim: str,
        probe: Callable[[Machine], str | None],
        remedy: str,
        within: float = 0,
    ) -> None:
        if self.stages[-1].looked:
            super().prove(hosts, claim, probe, remedy, within)

    def settle(self, claim: str, outcomes: Mapping[str, str | Exception | None], remedy: str) -> None:
        if self.stages[-1].looked:
            super().settle(claim, outcomes, remedy)

    # -- evidence --------------------------------------------------------------------------------------------

    def summary(self, outcome: str, stopped_at: str | None, started: str) -> dict[str, object]:
        why = "nothing was done: this is a plan"
        content = super().summary(outcome, stopped_at, started)
        rows = cast("list[dict[str, object]]", content["sources"])
        there = [row for row in rows if row["revision"] != forecast.REVISION]
        return {
            **content,
            "snapshot": None,
            "sources": there,
            "data_loss": {"certain": None, "possible": None, "why": why},
        }

    def closing(self, outcome: str) -> list[str]:
        if outcome != "planned":
            return ["No plan could be made."]
        commands = [command for stage in self.stages for command in stage.commands()]
        changing, hosts = [c for c in commands if c.changes], {c.host for c in commands}
        total = f"{len(commands)} commands on {len(hosts)} hosts, {len(changing)} change something"
        lines = [f"At the end, on every host: {spelled(commands[-1])}"] if commands else []
        lines.append(f"Nothing was changed. Planned: {total}.")
        for stage in self.stages:
            if stage.refusal:
                lines.append(f"Today the runbook would stop at “{stage.word} {stage.text}”, and do none of this.")
        if self.basis and self.options.approved is None:
            told = hashlib.sha256(f"{self._kept(outcome)}\n".encode()).hexdigest()
            lines.append(f"A second person may approve it (docs/programs.md#a-plan-that-was-approved): SHA-256 {told}")
        return lines

    @property
    def page(self) -> Path:
        return (self.journal.directory / "plan.txt").absolute()

    def close(self, outcome: str, stopped_at: str | None, started: str) -> Path:
        self.journal.keep("plan.json", self._kept(outcome))
        self.journal.keep("plan.txt", "\n".join([*plan(self.stages), "", *self.closing(outcome)]))
        return super().close(outcome, stopped_at, started)

    def _kept(self, outcome: str) -> str:
        """The text of plan.json, once the last stage has ended."""
        told = {"schema": 1, "cluster": self.inventory.cluster, "made": self.made, "outcome": outcome}
        told |= {"basis": redacted(dict(self.basis)) if outcome == "planned" else {}, "commands": self.rows()}
        return json.dumps({**told, "seal": seal(told)}, indent=1, ensure_ascii=False)

    def rows(self) -> list[dict[str, object]]:
        """The plan for machines: a row a command, in the order of each host; none waits for another `lane` of its host.
        `copy`: the copy that it is a part of."""
        return [
            {
                "stage": stage.nodeid,
                "host": command.host,
                "line": redact(command.shown()),
                "why": command.why,
                "changes": command.changes,
                "lane": command.lane,
                "copy": copy.shown() if copy else None,
            }
            for stage in self.stages
            for copy, wave in stage.waves()
            for command, _ in wave
        ]


def seal(told: Mapping[str, object]) -> str:
    """SHA-256 of a plan.json's contents, whatever its spaces: shows that it was edited, not by whom it was made."""
    rest = {name: value for name, value in told.items() if name != "seal"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


class Looking:
    """A fleet that acts for nobody, whichever way it is reached: what changes a host is written into the plan."""

    def __init__(self, planning: Planning, fleet: Fleet) -> None:
        self._planning = planning
        self._fleet = fleet
        self.each, self.journal, self.logins = fleet.each, fleet.journal, fleet.logins
        self.patience = fleet.patience

    def run(self, actions: Sequence[Action]) -> list[Result]:
        if all(isinstance(action, Command) and not action.changes for action in actions):
            return self._fleet.run(actions)
        return self._planning.do(actions, bookkeeping=True)


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
                    wave += [(command, bookkeeping) for command in (action.fed, action) if command is not None]
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
    return [*copy.opens(), *copy.copies(), *([reader] if reader else []), *copy.writes(), *copy.checks(), *copy.names()]


def plan(stages: Sequence[Stage]) -> list[str]:
    """The whole plan as plain text."""
    lines = [*LEGEND]
    for step, run in groupby(stages, key=lambda stage: stage.step):
        lines += ["", step]
        lines += [line.plain for each in run for line in drawn(each)]
    return lines


def drawn(found: Stage) -> list[Text]:
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
    return (copy.source_host or "this machine") + (copy.packed and ", unpacked")


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
    return line + (f" < {REDACTED}" if command.takes_input else "")


def _plain(word: str) -> bool:
    bare = re.sub("‹[^›]*›", "x", word)
    return bare == shlex.quote(bare)
