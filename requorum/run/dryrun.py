"""`--plan`: the stages as they are, on hosts that are only looked at.

`Planning` stands in for `Run`: facts are asked for, until a planned command changes what they are about; from then
on `forecast` says what they will be. `do` writes down instead of acting, `prove` leaves the looking to the run.
What the run executes is what the same stages hand to the same `do`, so the plan is the run's own.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

from rich.text import Text

from requorum import procedures
from requorum.cluster.lineage import Birth
from requorum.command import Action, Command, Result
from requorum.evidence import outline, syslog
from requorum.evidence.journal import Journal
from requorum.evidence.redaction import redact
from requorum.hosts.fleet import Fleet, Machine
from requorum.inventory import Inventory
from requorum.refusal import Disproved
from requorum.run import drawing, forecast
from requorum.run.aftermath import is_own
from requorum.run.drawing import NO_RETURN, Stage
from requorum.run.forecast import Forecast, Unforeseen
from requorum.run.marker import Marker, Phase
from requorum.run.run import Options, Run


class Planning(Run):
    """A run, planned: it takes no lock and no confirmation, and changes nothing on any host."""

    def __init__(self, inventory: Inventory, options: Options, journal: Journal, fleet: Fleet) -> None:
        super().__init__(inventory, options, journal, fleet)
        self.acts = False
        self.terms = replace(self.terms, mark=replace(self.mark, run=forecast.RUN, token=forecast.TOKEN))
        self.forecast = Forecast(inventory, lambda: self.mark.token)
        self.fleet = cast("Fleet", Looking(self, fleet))
        self.stages: list[Stage] = []
        self.suppose: Callable[[], None] = lambda: None  # as if it held: a procedure's part of `pardons`

    @property
    def looks(self) -> bool:
        """Whether a stage proves on the hosts as they are: a Given, as long as only things of our own are planned."""
        theirs = (action for stage in self.stages for action in stage.actions if not is_own(action))
        return self.stages[-1].word == "Given" and next(theirs, None) is None

    # -- stages ----------------------------------------------------------------------------------------------

    def begin(self, nodeid: str) -> None:
        self.stages.append(Stage(nodeid))
        super().begin(nodeid)
        if procedures.commits(nodeid) and not any(stage.line for stage in self.stages):
            self.stages[-1].line = drawing.COMMIT
        self.stages[-1].looked = self.looks

    def end(self, nodeid: str, outcome: str, seconds: float, why: str) -> None:
        self.stages[-1].notes = list(self.notes)
        super().end(nodeid, outcome, seconds, why)

    def describe(self, step: str | None, stage: str | None) -> list[Text]:
        """The stage as it is drawn, with the operator's text of its step and its own; [] where it was a real look."""
        at = self.stages[-1]
        at.step, at.doc = ((text or "").strip().partition("\n")[0] for text in (step, stage))
        return [] if at.looked and not at.refusal else drawing.stage(at)

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

    def ask(self, commands: Sequence[Command]) -> list[Result]:
        foreseen = [self.forecast.foresee(command) for command in commands]
        told = super().ask([answer[0] for answer in foreseen if isinstance(answer, tuple)])
        # A fleet answers host by host, so the answers are put in the order of the questions again by their command.
        answers = {id(result.command): result for result in told}
        return [
            answer if isinstance(answer, Result) else replace(answer[1](answers[id(answer[0])]), command=command)
            for command, answer in zip(commands, foreseen, strict=True)
        ]

    def _carry_out(self, plan: Sequence[Action], bookkeeping: bool = False) -> list[Result]:
        self.journal.planned(plan)
        return self._note(plan, bookkeeping)

    def _note(self, plan: Sequence[Action], bookkeeping: bool) -> list[Result]:
        if plan:
            self.stages[-1].plans.append((plan, bookkeeping))
        said = [self.forecast.note(action) for action in plan]
        return [result for result in said if result is not None]

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
            return [f"No plan could be made. Evidence: {self.journal.directory}"]
        commands = [command for stage in self.stages for command in stage.commands()]
        changing, hosts = [c for c in commands if c.changes], {c.host for c in commands}
        total = f"{len(commands)} commands on {len(hosts)} hosts, {len(changing)} change something"
        lines = [f"At the end, on every host: {drawing.spelled(commands[-1])}"] if commands else []
        lines.append(f"Nothing was changed. Planned: {total}.")
        for stage in self.stages:
            if stage.refusal:
                lines.append(f"Today the runbook would stop at “{stage.word} {stage.text}”, and do none of this.")
        return [*lines, f"Evidence: {self.journal.directory}, to be read: plan.txt"]

    def close(self, outcome: str, stopped_at: str | None, started: str) -> Path:
        _write(self.journal.directory / "plan.json", json.dumps(self.rows(), indent=1, ensure_ascii=False))
        _write(self.journal.directory / "plan.txt", "\n".join([*drawing.plan(self.stages), "", *self.closing(outcome)]))
        return super().close(outcome, stopped_at, started)

    def rows(self) -> list[dict[str, object]]:
        """The plan for machines: a row a command, in the order of each host. `copy`: the copy that it is a part of."""
        return [
            {
                "stage": stage.nodeid,
                "host": command.host,
                "line": redact(command.shown()),
                "why": command.why,
                "changes": command.changes,
                "copy": copy.shown() if copy else None,
            }
            for stage in self.stages
            for copy, wave in stage.waves()
            for command, _ in wave
        ]


class Looking:
    """A fleet that acts for nobody, whichever way it is reached: what changes a host is written into the plan."""

    def __init__(self, planning: Planning, fleet: Fleet) -> None:
        self._planning = planning
        self._fleet = fleet
        self.each, self.journal = fleet.each, fleet.journal

    def run(self, actions: Sequence[Action]) -> list[Result]:
        if all(isinstance(action, Command) and not action.changes for action in actions):
            return self._fleet.run(actions)
        return self._planning.do(actions, bookkeeping=True)


def _write(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(f"{text}\n", encoding="utf-8")
