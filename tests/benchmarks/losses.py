"""What each way of taking a survivor's data loses: `python -m tests.benchmarks.losses --losses 20 [--restored] …`.

Eight writers log every acknowledged write while all members are killed with SIGKILL. One of them is the only survivor;
its data directory is taken in four ways, each from the same copy, and what came of it is read back key by key. What
counts is an acknowledged write that the survivor's disk holds: a write that only the others had, nobody can restore.
Afterwards the members are started again, and the next loss follows. Copies are booted by the product's own planners.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from compose import faults, lab, load, rehearse, state
from compose.errors import LabError
from compose.nodes import Node, Nodes, on_each
from requorum import inventory as inventories
from requorum.cluster import etcd, lineage, sandbox
from requorum.cluster.lineage import Lineage
from requorum.evidence.journal import Journal
from requorum.hosts.fleet import Fleet
from requorum.inventory import Inventory
from requorum.refusal import Refusal
from requorum.run.marker import Marker, Phase
from requorum.run.terms import Terms
from requorum.snapshots import survivors
from requorum.snapshots.disks import Disk
from tests.benchmarks import bench
from tests.lab.writers import PREFIX, on_disk, writing

READ_BACK = Path(__file__).with_name("read_back.sh")
MARK = Marker(run="bench", token="bench", phase=Phase.OPEN, by="bench")
AT_ONCE_SECONDS = 3  # ahead of us: so long it may take to tell every machine when
KEYS_A_SECOND = 100_000  # more than anybody writes: keys are numbered from the time, so that no loss counts another's
LEADS = "curl -s http://127.0.0.1:2381/metrics | grep -q '^etcd_server_is_leader 1'"
# Members that die one after the other have time to write what they hold: they die at one moment of the shared clock.
AT_ONCE = """
systemctl --quiet mask "$1"
members=$(pidof etcd)
while [ "$(date +%s%3N)" -lt "$2" ]; do sleep 0.01; done
kill -KILL $members
"""


class BenchError(LabError):
    """A way came to no result, so there is nothing to compare."""


@dataclass(frozen=True)
class Loss:
    """One loss. `acknowledged`: writes; `on_disk`: how many of them the survivor's disk holds; `lost`: way → how many
    of those are not in what it gave."""

    survivor: str
    led: bool
    acknowledged: int
    on_disk: int
    lost: dict[str, int]


class Bench:
    """The copies of one survivor, on its own machine, and the ways to take them."""

    def __init__(self, survivor: Node, fleet: Fleet, terms: Terms) -> None:
        self.node, self._fleet, self._terms = survivor, fleet, terms
        inventory = terms.inventory
        config = etcd.parse_config(survivor.get(inventory.etcd.config).decode(), survivor.name)
        member = next(m for m in inventory.old_members if m.host == survivor.name)
        wal = lineage.ask_wal(survivor.name, config.data_dir, config.wal_dir)
        disk = Disk(member, config, Lineage(config.token, wal.understand(fleet.run(wal.commands))), installed=True)
        question = survivors.ask_survivor(1, disk, terms)
        self._survivor = question.understand(fleet.run(question.commands))
        if not self._survivor.size:
            raise BenchError(f"{survivor.name}: has no data on its disk")
        self.data_dir = config.data_dir
        self._place = survivors.scratch(terms)

    def gather(self) -> None:
        client = self._terms.inventory.deephaven.client_config
        self._fleet.run(survivors.copy(self._terms, self._survivor))
        self._fleet.run(survivors.gather(self._terms, [self._survivor], self.node.name))
        self.node.run(["mkdir", f"{self._place}/login"])  # to read back with
        for name in ("user", "password"):
            login = Nodes.read().configuration_server.get(f"{client}/root/{name}")
            self.node.put(f"{self._place}/login/{name}", login)

    def clear(self) -> None:
        self._fleet.run(survivors.clear(self._terms, [self.node.name]))

    def on_disk_db(self) -> str:
        """The guide's last resort: the database as it lies there, without a hash."""
        self._fleet.run(survivors.unpack(self._terms, self.node.name, [self._survivor]))
        return survivors.database(self._terms, self._survivor)

    def forced(self) -> str:
        """`--force-new-cluster` on a copy, alone."""
        return self._booted(force=True)

    def salvaged(self) -> str:
        """The copy as it is, with the empty stand-ins that quorum lacks, which begin the cluster ahead of it."""
        if not survivors.may_begin_ahead([self._survivor], dict(self._survivor.config.peers)):
            raise BenchError(f"{self.node.name}: the lab's cluster is not as it began")
        return self._booted(ahead=True)

    def joined(self) -> str:
        """The same with stand-ins that join it, as in a cluster whose members changed."""
        return self._booted()

    def _booted(self, force: bool = False, ahead: bool = False) -> str:
        terms, host, old = self._terms, self.node.name, self._terms.inventory.old_members
        self._fleet.run(survivors.unpack(terms, host, [self._survivor]))
        members = dict(self._survivor.config.peers)
        boots = survivors.boots([self._survivor], members, old, force, ahead)
        plan = sandbox.boot(host, survivors.KIND, terms.mark.run, self._place, terms.inventory, boots)
        result = self._fleet.run(plan)[-1]
        answers = sandbox.parse(result.stdout, result.words, boots)
        if answers.failed or not answers.saved:
            raise BenchError(f"{host}: nothing was saved: {answers.failed}")
        return f"{self._place}/salvage.snap"

    def read(self, snapshot: str) -> set[str]:
        """The writers' keys in what a way gave."""
        arguments = [snapshot, f"{self._place}/read-back", f"{self._place}/login", PREFIX]
        answer = self.node.run(["sh", "-c", READ_BACK.read_text(encoding="utf-8"), "sh", *arguments], timeout=180)
        return set(answer.stdout.split())


WAYS: dict[str, Callable[[Bench], str]] = {
    "on-disk db": Bench.on_disk_db,
    "force-new-cluster": Bench.forced,
    "salvage": Bench.salvaged,
    "salvage, stand-ins join": Bench.joined,
}
SALVAGES = ("salvage", "salvage, stand-ins join")


# -- measuring ---------------------------------------------------------------------------------------------------


def measure(number: int) -> Loss:
    """Loss `number`, from 0: the members survive in turn. Raises BenchError or Refusal where a way gives nothing."""
    nodes, inventory = Nodes.read(), inventories.load(state.INVENTORY)
    faults.await_quorum(nodes)
    survivor = nodes.members[number % len(nodes.members)]
    led = survivor.run(["sh", "-c", LEADS], check=False).rc == 0
    names = ",".join(node.name for node in nodes.members)
    with writing(nodes, first=int(time.time()) * KEYS_A_SECOND) as writers:
        at = str(int((time.time() + AT_ONCE_SECONDS) * 1000))
        on_each(nodes.members, lambda node: node.run(["sh", "-c", AT_ONCE, "sh", inventory.etcd.unit, at]))
        lab.break_lab("kill", names)
    try:
        return _compare(inventory, survivor, led, set(writers.acknowledged))
    finally:
        faults.by_name("kill").heal(nodes, nodes.members)


def restore() -> None:
    """Makes the lab's cluster one that was restored, by hand: its keys are in no log."""
    nodes = Nodes.read()
    snapshot = rehearse.back_up(nodes)
    try:
        with tempfile.TemporaryDirectory(prefix="requorum-bench-") as scratch:
            bench.by_hand(nodes, snapshot, Path(scratch))
    finally:
        snapshot.unlink()


def _compare(inventory: Inventory, survivor: Node, led: bool, acknowledged: set[str]) -> Loss:
    with (
        tempfile.TemporaryDirectory(prefix="requorum-bench-") as scratch,
        Fleet(inventory, Journal(Path(scratch) / "evidence")) as fleet,
    ):
        bench = Bench(survivor, fleet, Terms(inventory, MARK))
        held = on_disk(survivor, bench.data_dir) & acknowledged
        try:
            bench.gather()
            lost = {name: len(held - bench.read(way(bench))) for name, way in WAYS.items()}
        finally:
            bench.clear()
    return Loss(survivor.name, led, len(acknowledged), len(held), lost)


# -- reporting ---------------------------------------------------------------------------------------------------


def table(losses: Sequence[Loss]) -> Table:
    """A row for each loss, and one for all of them."""
    shown = Table(title=f"Acknowledged writes on the survivor's disk that are lost, {len(losses)} losses by SIGKILL")
    for name in ("survivor", "acknowledged", "on its disk", *WAYS):
        shown.add_column(name, justify="left" if name == "survivor" else "right")
    for loss in losses:
        who = f"{loss.survivor}{', led' if loss.led else ''}"
        shown.add_row(who, str(loss.acknowledged), str(loss.on_disk), *(str(loss.lost[name]) for name in WAYS))
    every = [[loss.lost[name] for loss in losses] for name in WAYS]
    shown.add_section()
    acknowledged, held = sum(loss.acknowledged for loss in losses), sum(loss.on_disk for loss in losses)
    shown.add_row("all", str(acknowledged), str(held), *(str(sum(lost)) for lost in every))
    hurt = [sum(number > 0 for number in lost) for lost in every]
    shown.add_row("losses that lost any", "", "", *(f"{number} of {len(losses)}" for number in hurt))
    shown.add_row("most in one", "", "", *(str(max(lost)) for lost in every))
    return shown


def read_json(path: Path, etcd_version: str) -> list[Loss]:
    """What an interrupted benchmark has measured already. Raises BenchError for one of another etcd."""
    content = json.loads(path.read_text(encoding="utf-8"))
    if content["etcd"] != etcd_version:
        raise BenchError(f"{path} was measured with etcd {content['etcd']}: name another file")
    return [Loss(**loss) for loss in content["losses"]]


def write_json(path: Path, losses: Sequence[Loss], etcd_version: str) -> None:
    content = {"schema": 1, "keys": load.KEYS, "etcd": etcd_version, "losses": [asdict(loss) for loss in losses]}
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; 0 whatever the other ways lose, 1 when salvage lost anything or not every loss was measured."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.losses", description=__doc__)
    parser.add_argument("--losses", type=int, default=20, help="how often all members are killed")
    parser.add_argument("--etcd", default="3.5", help="as of the lab's `up`")
    parser.add_argument("--restored", action="store_true", help="of a cluster that was restored")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep every measurement there, and count those in it")
    given = parser.parse_args(arguments)
    if given.losses < 1:
        parser.error("--losses must be at least 1")
    losses: list[Loss] = []
    try:
        if given.json and given.json.exists():
            losses = read_json(given.json, given.etcd)
        lab.up(etcd=given.etcd)
        lab.say(lab.load_keys(load.KEYS))
        if given.restored:
            restore()
        while len(losses) < given.losses:
            losses.append(measure(len(losses)))
            lab.say(f"loss {len(losses)} of {given.losses}: {losses[-1]}")
            if given.json:
                write_json(given.json, losses, given.etcd)
    except (LabError, Refusal) as error:
        print(f"bench: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("bench: interrupted", file=sys.stderr)
    if losses:
        Console(width=110).print(table(losses))
    whole = len(losses) >= given.losses
    return 0 if whole and not any(loss.lost[way] for loss in losses for way in SALVAGES) else 1


if __name__ == "__main__":
    os.umask(0o077)
    sys.exit(main())
