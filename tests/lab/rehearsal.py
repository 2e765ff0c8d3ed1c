"""A lab for tests: brought to a healthy, loaded state, broken, recovered by the real runbook, compared key by key."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from compose import cluster, faults, lab, lab_inventory, load, poll, rehearse
from compose.errors import LabError
from compose.nodes import Nodes
from compose.state import REPOSITORY, LabState
from tests.lab import launch

KEYS = 7_200  # a third of what `make rehearse` loads and compares: reading them all costs a test a second each time


@dataclass(frozen=True)
class Run:
    """What one call of the runbook gave. `summary` is {} where it ended before any host was asked."""

    code: int
    output: str
    summary: dict[str, Any]

    @property
    def recovered(self) -> bool:
        return self.code == 0 and self.summary.get("outcome") == "recovered"


@dataclass
class Rehearsal:
    """The shared lab of the test session. `spoilt` means that only a new lab is a clean one."""

    scratch: Path
    etcd: str = "3.5"
    spares: int = 2
    members: int = 3
    presence: bool = False
    accounts: bool = False
    certificates: bool = False
    leases: int = 0
    layout: str = "vendor"
    hosts_like: str = "debian"
    spoilt: bool = False
    _number: int = 0

    # -- a clean start ---------------------------------------------------------------------------------------

    def prepare(self) -> None:
        """A healthy loaded cluster and a fresh backup of it; a new lab where the last test left a broken one."""
        if self.spoilt:
            lab.down()
        try:
            self._fill()
        except LabError:
            lab.down()
            self._fill()
        self.spoilt = True  # until the test has ended well

    def _fill(self) -> None:
        nodes = lab.up(
            members=self.members,
            spares=self.spares,
            etcd=self.etcd,
            presence=self.presence,
            accounts=self.accounts,
            certificates=self.certificates,
            layout=self.layout,
            hosts_like=self.hosts_like,
        )
        lab.load_keys(KEYS, self.leases)
        poll.until(
            lambda: all(member.healthy for member in cluster.state(nodes).members),
            seconds=30,
            what="every member is healthy",
            why_not=lambda: "; ".join(str(m) for m in cluster.state(nodes).members if not m.healthy),
        )
        self.snapshot = rehearse.back_up(nodes, self.scratch / "backups")

    @property
    def nodes(self) -> Nodes:
        return Nodes.read()

    # -- the runbook -----------------------------------------------------------------------------------------

    def inventory(self, change: Callable[[dict[str, Any]], None] | None = None) -> Path:
        """An inventory of the lab as it is now, with the backups of this session, and with `change` made to it."""
        content = lab_inventory.content(LabState.read(), self.scratch)
        content["snapshot"]["directory"] = str(self.scratch / "backups")
        if change:
            change(content)
        self._number += 1
        path = self.scratch / f"inventory-{self._number}.yaml"
        path.write_text(yaml.safe_dump(content, sort_keys=False))
        return path

    def start(
        self, inventory: Path, *arguments: str, procedure: str = "runbook", checkout: Path = REPOSITORY
    ) -> tuple[launch.Process, Path]:
        """Starts the runbook in a process of its own, as an operator does. Returns it and its evidence directory."""
        evidence = Path(tempfile.mkdtemp(prefix="evidence-", dir=self.scratch))
        process = launch.start(
            evidence, procedure, f"--hosts={inventory}", "--confirm=lab", *arguments, checkout=checkout
        )
        return process, evidence / "lab"

    def finish(self, process: launch.Process, evidence: Path) -> Run:
        output = launch.output(process, evidence.parent)
        summaries = sorted(evidence.glob("2*/summary.json"))
        summary = json.loads(summaries[-1].read_text()) if summaries else {}
        return Run(process.returncode, output, summary)

    def run(self, inventory: Path, *arguments: str) -> Run:
        return self.finish(*self.start(inventory, *arguments))

    # -- what must hold afterwards ---------------------------------------------------------------------------

    def lose(self, how: str, members: tuple[str, ...] = ("etcd-2", "etcd-3")) -> None:
        lab.break_lab(how, ",".join(members))

    def assert_recovered(self, run: Run) -> None:
        """The runbook says so, every key and value is as loaded, and Deephaven's processes work."""
        assert run.recovered, run.output
        self.forget_old_addresses()
        self.assert_data_is_back()
        self.assert_deephaven_works()
        self.spoilt = False

    def forget_old_addresses(self) -> None:
        """What an operator does after a recovery: what was before goes from the inventory."""
        found = LabState.read()
        for machine in found.machines:
            found = found.with_machine(replace(machine, old_ip=None))
        found.write()

    def assert_data_is_back(self) -> None:
        difference = load.check(self.nodes, KEYS)
        assert not difference.missing and not difference.altered and not difference.extra, difference

    def assert_deephaven_works(self) -> None:
        poll.until(
            lambda: all(process.works for process in cluster.state(self.nodes).processes),
            seconds=15,
            what="Deephaven's processes write their heartbeats",
        )

    def assert_untouched(self, run: Run) -> None:
        """A refusal: exit code 1 or 4, and the cluster as healthy as before."""
        assert run.code in (1, 4), run.output
        assert "Traceback" not in run.output, run.output
        self.assert_deephaven_works()
        self.assert_data_is_back()
        self.spoilt = False


# A healthy, loaded, backed-up lab of the shape that is given by fields of `Rehearsal`.
Own = Callable[..., Rehearsal]


def heal(rehearsal: Rehearsal, how: str, names: tuple[str, ...]) -> None:
    """Undoes a fault that the lab can undo."""
    nodes = rehearsal.nodes
    faults.by_name(how).heal(nodes, [nodes.by_name(name) for name in names])
    faults.await_quorum(nodes)
