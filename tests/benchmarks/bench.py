"""The runbook beside a recovery by hand: `python -m tests.benchmarks.bench --pairs 5 [--size 1g] [--hosts 9] …`.

Both recover the same lab from the same loss, in interleaved pairs whose order is swapped from pair to pair, because
disks and neighbours are noisy. Each must bring back every key, or there is no benchmark; how long either takes is
reported and never judged. What by hand means is in `by_hand.sh`, what runs between the two in `compose/rehearse.py`.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

from rich.console import Console
from rich.table import Table

from compose import bulk, lab, line, load, rehearse, state
from compose.errors import LabError
from compose.nodes import Nodes, on_each

T = TypeVar("T")

ROOT = Path(__file__).resolve().parents[2]
BY_HAND = Path(__file__).with_name("by_hand.sh")
MANY = 40  # Deephaven hosts
MEMORY_MIB, TOGETHER_MIB = 150, 600  # what the controller may take: a process, and all of them

# Each recovery leaves the data of the cluster before it behind, some hundred MiB on every member.
FORGET = """
current=$(sed -n 's/^data-dir: *//p' /etc/etcd/dh/latest/config.yaml)
[ -d "$current" ]
find /var/lib/etcd/dh -mindepth 1 -maxdepth 1 ! -path "$current" -exec rm -rf {} +
"""


class BenchError(LabError):
    """A recovery failed or did not bring everything back: its time means nothing."""


@dataclass(frozen=True)
class Row:
    """What is recovered: `size` bytes of large values beside the lab's keys, with so many Deephaven hosts besides the
    configuration server, after the loss of all members' data or of a majority's; `line`: how thin the operator's is."""

    size: int = 0
    hosts: int = 1
    loses_all: bool = False
    line: str = ""

    def __str__(self) -> str:
        size = f"{load.KEYS:,} keys" + (f" and {self.size / 1e9:.1f} GB" if self.size else "")
        lost = f"{'all data' if self.loses_all else 'a majority'} lost"
        return f"{size}, {3 + 1 + self.hosts} machines, {lost}{self.line and f', by a line of {self.line}'}"

    @property
    def bcrypt_cost(self) -> int:
        """As out there; where two cores have to serve the logins of that many machines, the lab's own."""
        return 10 if self.hosts < MANY else state.CHEAP


@dataclass(frozen=True)
class Took:
    """What one command took: seconds, MiB of its largest process, and of all of them together."""

    seconds: float
    peak_mib: float
    together_mib: float


@dataclass(frozen=True)
class Runbook:
    """One recovery by the runbook. `took` is seen from outside, the rest is from its own evidence. `carried`: bytes in
    and out of the operator's machine, as so many times the snapshot's.

    `command_seconds` adds up what ran at the same time on several hosts. What testinfra asks is in no count.
    """

    took: Took
    recovery_seconds: float
    action_seconds: float
    proof_seconds: float
    assertions: int
    commands: int
    command_seconds: float
    carried: float
    carried_bytes: int
    estimated: float | None
    stages: dict[str, float]

    @property
    def estimate_ratio(self) -> float | None:
        """None where it could not be estimated, as the first of them."""
        return self.estimated / self.recovery_seconds if self.estimated else None


@dataclass(frozen=True)
class Pair:
    """Both ways on the same lab, one after the other."""

    first: str
    by_hand: Took
    runbook: Runbook

    @property
    def ratio(self) -> float:
        """Below 1 where the runbook was faster, with all its proofs."""
        return self.runbook.took.seconds / self.by_hand.seconds


# -- measuring ---------------------------------------------------------------------------------------------------


def measure_pair(number: int, row: Row, evidence: Path) -> Pair:
    """Pair `number`, from 0: odd ones begin with the runbook. `evidence`: of all pairs, which estimates rest on."""
    by_hand_first, by_runbook = number % 2 == 0, partial(runbook, evidence=evidence)
    if by_hand_first:
        hand, book = recover(by_hand, row), recover(by_runbook, row)
    else:
        book, hand = recover(by_runbook, row), recover(by_hand, row)
    return Pair("by hand" if by_hand_first else "runbook", hand, book)


def recover(way: Callable[[Nodes, Path, Path], T], row: Row) -> T:
    """A healthy loaded lab, a backup, data gone, `way` timed, every key compared.

    `way` gets the lab, the backup and a directory of its own. Raises BenchError when a key is not back.
    """
    nodes = lab.up(hosts=row.hosts, thin=row.line, bcrypt_cost=row.bcrypt_cost)
    lab.say(lab.load_keys(load.KEYS, size=row.size))
    snapshot = rehearse.back_up(nodes)
    try:
        lab.say(lab.break_lab("wipe", ",".join(node.name for node in nodes.members) if row.loses_all else None))
        with tempfile.TemporaryDirectory(prefix="requorum-bench-") as scratch:
            outcome = way(nodes, snapshot, Path(scratch))
    finally:
        snapshot.unlink()
    difference = load.check(nodes)
    if difference:
        raise BenchError(f"not recovered: {difference}")
    if row.size and (wrong := bulk.check(nodes, row.size)):
        raise BenchError(f"not recovered: {wrong} of the large values")
    on_each(nodes.members, lambda node: node.run(["sh", "-euc", FORGET]))
    return outcome


def by_hand(nodes: Nodes, snapshot: Path, scratch: Path) -> Took:
    """The guide's commands, one host after another."""
    servers = " ".join(f"{node.name}={node.ip}" for node in nodes.members)
    deephaven = " ".join(node.name for node in nodes.deephaven)
    return timed(["sh", str(BY_HAND), str(state.SSH_CONFIG), str(snapshot), servers, deephaven], scratch)


def runbook(nodes: Nodes, snapshot: Path, scratch: Path, evidence: Path) -> Runbook:
    """`pytest runbook` as the operator types it, which finds the backup by itself."""
    words = ["runbook", f"--hosts={state.INVENTORY}", "--confirm=lab", f"--evidence={evidence}"]
    took = timed([sys.executable, "-m", "pytest", *words], scratch)
    return from_evidence(took, max((evidence / state.CLUSTER).glob("2*")))  # beside a link to the latest


def timed(command: Sequence[str], scratch: Path) -> Took:
    """Runs a command to its end; raises BenchError with its last words unless it ends with 0."""
    out, said = scratch / "measured.json", scratch / "output.txt"
    with said.open("wb") as output:
        measured = [sys.executable, "-m", "tests.benchmarks.measured", str(out), *command]
        code = subprocess.call(measured, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    if code != 0:
        words = said.read_text(encoding="utf-8", errors="replace")[-3000:]
        raise BenchError(f"{' '.join(command[:4])} … ended with {code} and said:\n{words}")
    return Took(**json.loads(out.read_text(encoding="utf-8")))


def from_evidence(took: Took, evidence: Path) -> Runbook:
    """What the runbook says of itself in `summary.json` and `journal.jsonl`."""
    summary = json.loads((evidence / "summary.json").read_text(encoding="utf-8"))
    records = [json.loads(line) for line in (evidence / "journal.jsonl").read_text(encoding="utf-8").splitlines()]
    ended = [record for record in records if record["kind"] == "stage ended"]
    recovery, carried = summary["recovery_seconds"], sum(map(_carried, records))
    return Runbook(
        took=took,
        recovery_seconds=recovery["total"],
        action_seconds=recovery["action_seconds"],
        proof_seconds=recovery["proof_seconds"],
        assertions=sum(record["kind"] == "assertion" for record in records),
        commands=sum(record["kind"] == "command" for record in records),
        command_seconds=sum(record["seconds"] for record in records if record["kind"] == "command"),
        carried=carried / summary["snapshot"]["bytes"],
        carried_bytes=carried,
        estimated=(summary.get("estimate") or {}).get("seconds"),
        stages={record["stage"].split("::")[-1]: record["seconds"] for record in ended},
    )


def _carried(record: dict[str, Any]) -> int:
    """Bytes of a copy that went through the operator's machine: in from a host, and out to each other one; compressed
    where they were."""
    if record["kind"] not in ("copy", "fetch"):
        return 0
    if "carried" in record:
        return int(record["carried"])
    source, _, targets = str(record["action"]).removeprefix("copy ").partition(" to ")
    host = source.partition(":")[0]
    out = [target for target in targets.split(", ") if target.partition(":")[0] != host]
    ways = len(out) + (host != "this machine" and bool(out)) if record["kind"] == "copy" else 1
    return ways * int(record.get("bytes", 0))


# -- reporting ---------------------------------------------------------------------------------------------------

ROWS: tuple[tuple[str, str, Callable[[Pair], float | None]], ...] = (
    ("by hand, s", ".1f", lambda pair: pair.by_hand.seconds),
    ("runbook, s", ".1f", lambda pair: pair.runbook.took.seconds),
    ("runbook / by hand", ".2f", lambda pair: pair.ratio),
    ("  runbook: recovery by its own clock, s", ".1f", lambda pair: pair.runbook.recovery_seconds),
    ("  runbook: acting, s", ".1f", lambda pair: pair.runbook.action_seconds),
    ("  runbook: proving, s", ".1f", lambda pair: pair.runbook.proof_seconds),
    ("  runbook: estimated / real", ".2f", lambda pair: pair.runbook.estimate_ratio),
    ("  runbook: assertions", ".0f", lambda pair: pair.runbook.assertions),
    ("  runbook: commands", ".0f", lambda pair: pair.runbook.commands),
    ("  runbook: carried by the operator's machine, snapshots", ".2f", lambda pair: pair.runbook.carried),
    ("  runbook: carried by the operator's machine, MB", ".1f", lambda pair: pair.runbook.carried_bytes / 1e6),
    (f"  runbook: largest process, MiB (limit {MEMORY_MIB})", ".0f", lambda pair: pair.runbook.took.peak_mib),
    (f"  runbook: all processes, MiB (limit {TOGETHER_MIB})", ".0f", lambda pair: pair.runbook.took.together_mib),
)


def table(pairs: Sequence[Pair], row: Row) -> Table:
    """Median and spread of everything that is measured, a row each."""
    shown = Table(title=f"Recovery of {row} in the lab, {len(pairs)} interleaved pairs", title_style="")
    for name in ("", "median", "min", "max"):
        shown.add_column(name, justify="right" if name else "left")
    for name, form, value in ROWS:
        numbers = _spread([value(pair) for pair in pairs])
        shown.add_row(name, *(format(number, form) for number in numbers or ()))
    return shown


def _spread(values: Sequence[float | None]) -> tuple[float, float, float] | None:
    """Median, least and most of what is known."""
    known = [value for value in values if value is not None]
    return (median(known), min(known), max(known)) if known else None


def slowest(pairs: Sequence[Pair], count: int = 10) -> Table:
    """Where the runbook's time goes: its slowest stages by their median."""
    shown = Table(title=f"The runbook's {count} slowest stages, seconds", title_style="")
    for name in ("stage", "median", "min", "max"):
        shown.add_column(name, justify="left" if name == "stage" else "right")
    stages = {name: [pair.runbook.stages.get(name, 0.0) for pair in pairs] for name in pairs[0].runbook.stages}
    for name, values in sorted(stages.items(), key=lambda item: -median(item[1]))[:count]:
        shown.add_row(name, *(f"{number:.2f}" for number in (median(values), min(values), max(values))))
    return shown


def write_json(path: Path, pairs: Sequence[Pair], row: Row) -> None:
    """Every measurement, and the numbers of the table."""
    numbers = {name.strip(): [value(pair) for pair in pairs] for name, _, value in ROWS}
    content = {
        "schema": 1,
        "keys": load.KEYS,
        "row": asdict(row),
        "processors": os.cpu_count(),
        "memory_limit_mib": MEMORY_MIB,
        "summary": {n: dict(zip(("median", "min", "max"), _spread(v) or (), strict=False)) for n, v in numbers.items()},
        "pairs": [{**asdict(pair), "ratio": pair.ratio} for pair in pairs],
    }
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; 0 whatever the times are, 1 when a recovery failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.bench", description=__doc__)
    parser.add_argument("--pairs", type=int, default=5, help="how often each way is run")
    parser.add_argument(
        "--size", type=bulk.parse, default=0, metavar="1g", help="bytes of large values beside the keys"
    )
    parser.add_argument("--hosts", type=int, default=1, help="Deephaven hosts besides the configuration server")
    parser.add_argument("--loss", choices=["majority", "all"], default="majority", help="whose data is gone")
    parser.add_argument("--line", type=line.parse, metavar="50mbit", help="how thin the operator's line is")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every measurement there")
    given = parser.parse_args(arguments)
    if given.pairs < 1:
        parser.error("--pairs must be at least 1")
    row, pairs = Row(given.size, given.hosts, given.loss == "all", given.line or ""), list[Pair]()
    try:
        with tempfile.TemporaryDirectory(prefix="requorum-bench-") as evidence:
            for number in range(given.pairs):
                pairs.append(measure_pair(number, row, Path(evidence)))
                lab.say(f"pair {number + 1} of {given.pairs}: {pairs[-1].ratio:.2f} of the time by hand")
    except LabError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("bench: interrupted; what was measured is not enough", file=sys.stderr)
        return 130
    console = Console()
    console.print(table(pairs, row), slowest(pairs))
    if given.json:
        write_json(given.json, pairs, row)
    return 0


if __name__ == "__main__":
    os.umask(0o077)
    sys.exit(main())
