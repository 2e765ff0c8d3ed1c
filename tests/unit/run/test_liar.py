"""One machine of the inventory lies, in all its answers or in any one: other hosts get the commands that they would get
without the lie, or the run stops and names the liar."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from itertools import cycle
from pathlib import Path

import pytest

from requorum.command import Action, Command, Copy, Result
from requorum.inventory import Inventory
from requorum.recovery.progress import Progress
from requorum.refusal import Refusal
from requorum.run.forecast import Unforeseen
from requorum.run.run import Run
from tests.unit import build
from tests.unit.run.test_dryrun import Hosts, planning, stages

LIES = {
    "a path": "../../etc\n",
    "a shell word": "$(touch x)\n",
    "a line of YAML": "a: b\nname: etcd-1\ninitial-cluster-token: x\n",
    "escape sequences": build.OBEYED,
    "a letter": "a" * (1 << 20),
}
# Whether its running etcd wants a login: where it says neither, a save from it is tried, and does no harm.
LOGIN = '{"key":"AA==","serializable":true}'
MARKS = ("../../etc", "touch x", "\x1b[2J", "\\x1b[2J", "a" * 80, "initial-cluster-token: x")  # of each
Asked = tuple[str, ...]


_LAST = re.compile(r"[A-Za-z0-9_.-]+(?=[\n\0]|$)")


class Liar(Hosts):
    """`about`: the one question that it lies about, None for all. `within`: only in the last word of that line."""

    def __init__(self, host: str, lie: str, about: Asked | None, within: int | None) -> None:
        super().__init__()
        self.host, self.lie, self.about, self.within = host, lie, about, within
        self.told = False

    def run(self, actions: Sequence[Action]) -> list[Result]:
        return [self._bent(result) for result in super().run(actions)]

    def _bent(self, result: Result) -> Result:
        command = result.command
        if command.host != self.host or self.about not in (None, command.argv):
            return result
        self.told = True
        if self.within is None:
            return Result(command, 0, self.lie, "", 0.0)
        lines = re.split(r"(?<=[\n\0])", result.stdout)
        at = min(self.within, len(lines) - 1)
        lines[at] = _LAST.sub(lambda found: self.lie.rstrip("\n"), lines[at])
        return Result(command, result.code, "".join(lines), "", 0.0)


@pytest.fixture(autouse=True)
def _no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Run, "wait", lambda run, look, *limits, **more: look())
    monkeypatch.setattr(os, "fdatasync", lambda file: None)


def planned(place: Path, hosts: Hosts, inventory: Inventory, gone: tuple[str, ...]) -> tuple[list[Action], str]:
    """What would be done, and why the run would stop; "" where it would not."""
    run, stopped = planning(place, hosts, inventory, gone=gone), ""
    for nodeid, call in stages(run, Progress.begin(run)):
        run.begin(nodeid)
        try:
            call()
        except Refusal as error:
            stopped = stopped or ("" if isinstance(error, Unforeseen) else str(error))
            if not run.pardons(error):
                break
        run.end(nodeid, "passed", 0.0, "")
    return [action for stage in run.stages for action in stage.actions], stopped


def of_others(actions: Sequence[Action], liar: str) -> list[str]:
    """Lines of commands for other hosts; what is fed to them counts too."""
    told = []
    for action in actions:
        if isinstance(action, Command) and action.host != liar:
            told.append(f"{action.host}: {action.line()} {action.stdin!r}")
        elif isinstance(action, Copy):
            told.append(action.shown())
    return [re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "now", line) for line in told]


def without_data(lines: Sequence[str]) -> list[str]:
    """Without what salvages the disks, or saves from a survivor that is up: who gives what to it is its own word."""
    kept = [line for line in lines if not re.search("/salvage|live-etcd|/loss.json", line)]
    return [re.sub("salvage[.]snap|live-etcd-2[.]snap|salvage|survivor", "data", line) for line in kept]


REPLACED = build.replaced()


@pytest.mark.parametrize(
    ("liar", "inventory", "gone"),
    [
        ("etcd-2", build.inventory(), ()),
        ("query-1", build.inventory(), ()),
        ("etcd-4", REPLACED, ("etcd-3",)),
    ],
    ids=["a survivor", "a Deephaven host", "a new member"],
)
def test_who_lies_changes_nothing_on_another_host_or_stops_the_run_and_is_named(
    tmp_path: Path, liar: str, inventory: Inventory, gone: tuple[str, ...]
) -> None:
    honest = Hosts()
    actions, stopped = planned(tmp_path / "honest", honest, inventory, gone)
    wanted, lies = of_others(actions, liar), cycle(LIES.values())
    assert wanted and not stopped
    questions = list(dict.fromkeys(c.argv for c in honest.asked if c.host == liar))
    assert len(questions) > 8
    cases: list[tuple[Asked | None, int | None, str]] = [(None, None, lie) for lie in LIES.values()]
    cases += [(question, within, next(lies)) for question in questions for within in (None, 0)]
    configurations = [question for question in questions if question[-1].endswith("config.yaml")]
    cases += [(question, line, lie) for question in configurations for line in range(6) for lie in LIES.values()]
    data = 0
    for number, (about, within, lie) in enumerate(cases):
        hosts = Liar(liar, lie, about, within)
        actions, stopped = planned(tmp_path / str(number), hosts, inventory, gone)
        found = of_others(actions, liar)
        assert hosts.told
        assert not [line for line in found if any(word in line for word in MARKS)], (about, within, lie[:20])
        if stopped:
            assert liar in stopped, (about, within, lie[:20], stopped)
            assert not set(without_data(found)) - set(without_data(wanted)), (about, within, lie[:20])
        elif not (about and LOGIN in about):
            assert without_data(found) == without_data(wanted), (about, within, lie[:20])
            data += found != wanted
    assert bool(data) == (liar == "etcd-2"), "a survivor speaks for its own disk, and for no more"
