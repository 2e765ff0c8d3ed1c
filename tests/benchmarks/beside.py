"""What a proof on a member's machine costs the cluster: `python -m tests.benchmarks.beside --pairs 3 [--bytes 1g]`.

One writer puts at a steady pace and notes how long each took: with nothing else going on, then while `runbook/verify`
boots a backup on a follower's machine, on the file system of its log. The pairs are interleaved. The budget is twice
the p99 without it and no other leader; a busy machine measures itself, so the load is told beside the numbers.
"""

import argparse
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles

from compose import bulk, etcd_client, lab, provision
from compose.errors import LabError
from compose.nodes import Nodes
from requorum import inventory as inventories
from requorum.verify import program
from tests.lab import procedures
from tests.lab.rehearsal import Rehearsal
from tests.lab.test_verify import leader

PACE = 0.02  # seconds from one put to the next
ALONE = 15  # seconds that are measured without it
KEY = b"/status/beside"
BUDGET = 2


class BenchError(LabError):
    """A backup or a proof failed, so there is nothing to measure."""


@dataclass(frozen=True)
class Measured:
    """p50 and p99 of the puts in milliseconds, how many, and whether another member leads since."""

    p50: float
    p99: float
    puts: int
    moved: bool

    def __str__(self) -> str:
        return f"p50 {self.p50:.1f} ms, p99 {self.p99:.1f} ms of {self.puts} puts{', another leader' * self.moved}"


@contextmanager
def putting(nodes: Nodes) -> Iterator[list[float]]:
    """Seconds that each put took."""
    took: list[float] = []
    over = threading.Event()

    def put() -> None:
        with etcd_client.connect(nodes) as client:
            while not over.is_set():
                began = time.monotonic()
                client.put(KEY, b"x" * 200)
                took.append(time.monotonic() - began)
                over.wait(max(PACE - took[-1], 0))

    thread = threading.Thread(target=put, daemon=True)
    thread.start()
    try:
        yield took
    finally:
        over.set()
        thread.join(timeout=60)


def measured(took: Sequence[float], before: str, nodes: Nodes) -> Measured:
    if len(took) < 100:
        raise BenchError(f"only {len(took)} puts: that is no p99")
    cuts = quantiles([1000 * seconds for seconds in took], n=100)
    return Measured(cuts[49], cuts[98], len(took), leader(nodes) != before)


def pair(rehearsal: Rehearsal, inventory: Path) -> tuple[Measured, Measured]:
    """Without and with a proof beside it."""
    nodes, first = rehearsal.nodes, leader(rehearsal.nodes)
    with putting(nodes) as alone:
        time.sleep(ALONE)
    without = measured(alone, first, nodes)
    with putting(nodes) as beside:
        run = procedures.run(rehearsal.scratch, "verify", f"--hosts={inventory}")
    if run.code:
        raise BenchError(f"the proof failed: {run.output[-2000:]}")
    return without, measured(beside, first, nodes)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.beside")
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--bytes", type=bulk.parse, default=0, metavar="1g", help="so many bytes of large values more")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="beside-") as scratch:
        rehearsal = Rehearsal(Path(scratch))
        rehearsal.prepare()
        if given.bytes:
            print(lab.load_keys(7_200, size=given.bytes), flush=True)
        follower = next(node.name for node in rehearsal.nodes.members if node.name != leader(rehearsal.nodes))
        inventory = rehearsal.inventory(lambda content: content.update(verify={"host": follower, "disk": "shared"}))
        of = inventories.load(inventory)
        provision.give_program(rehearsal.nodes, (follower,), program.path(of), program.text(of))
        if procedures.run(rehearsal.scratch, "backup", f"--hosts={inventory}").code:
            raise BenchError("no backup could be made")
        ratios = []
        for number in range(given.pairs):
            without, beside = pair(rehearsal, inventory)
            ratios.append(beside.p99 / without.p99)
            print(f"pair {number + 1}: without: {without}; beside a proof on {follower}: {beside}", flush=True)
        ratios.sort()
        load = "{:.1f} {:.1f} {:.1f}".format(*os.getloadavg())
        print(f"p99 beside it is {ratios[len(ratios) // 2]:.2f} times that without (budget {BUDGET}); load {load}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except LabError as error:
        sys.exit(f"bench: {error}")
