"""What whole runs lose unasked: `python -m tests.benchmarks.unasked --losses 2 [--json FILE] [--only NIGHT]`.

On each of these nights eight writers log every acknowledged write while all members are killed at one moment; one disk
or two are left, and the runbook is started without a word that gives anything up. Either it recovers, and what it
brought back is read key by key, or it stops and has restored nothing. What counts is an acknowledged write that a disk
which can be read still holds.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from compose import disks, etcd_client, lab, layouts
from compose.errors import LabError
from compose.nodes import Node, on_each
from tests.benchmarks.losses import AT_ONCE, AT_ONCE_SECONDS, KEYS_A_SECOND
from tests.lab.rehearsal import Rehearsal
from tests.lab.writers import PREFIX, writing

ALL = ("etcd-1", "etcd-2", "etcd-3")
HELD = f'{layouts.PLACES} grep -rhaoE "{PREFIX}[0-9]+/[0-9]+[.]" "$data" $wal | sort -u'


class BenchError(LabError):
    """A run ended in a way that tells nothing."""


@dataclass(frozen=True)
class Night:
    """`shape`: of the lab; `wiped`: members; `before`: done while the writers write; `ill`: host and what is wrong with
    its disk, which counts for nothing then; `words`: of the run."""

    shape: dict[str, Any] = field(default_factory=dict)
    wiped: tuple[str, ...] = ALL[1:]
    before: Callable[[Rehearsal], None] = lambda _: None
    ill: tuple[str, Callable[[Node], AbstractContextManager[None]]] = ("", lambda _: nullcontext())
    words: tuple[str, ...] = ()


def raise_alarm(rehearsal: Rehearsal) -> None:
    with etcd_client.connect(rehearsal.nodes) as client:
        client.raise_alarm()


NIGHTS = {
    "alarm": Night(before=raise_alarm),
    "one unreadable of two": Night(wiped=ALL[2:], ill=("etcd-2", disks.unreadable), words=("--rebuild",)),
    "wal-dir": Night({"layout": "wal-dir"}),
    "leases": Night({"leases": 40, "presence": True}),
}


@dataclass(frozen=True)
class Ended:
    """One night. `acknowledged`: writes; `on_disk`: how many of them a readable disk holds; `recovered`: or it stopped;
    `lost`: of those on disk, by what was restored."""

    night: str
    acknowledged: int
    on_disk: int
    recovered: bool
    lost: int


def measure(name: str, rehearsal: Rehearsal) -> Ended:
    """Raises BenchError for an end that is neither."""
    night = NIGHTS[name]
    rehearsal.prepare()
    nodes = rehearsal.nodes
    with writing(nodes, first=int(time.time()) * KEYS_A_SECOND) as writers:
        night.before(rehearsal)
        at = str(int((time.time() + AT_ONCE_SECONDS) * 1000))
        on_each(nodes.members, lambda node: node.run(["sh", "-c", AT_ONCE, "sh", layouts.UNIT, at]))
        rehearsal.lose("kill", ALL)
    rehearsal.lose("wipe", night.wiped)
    ill, fault = night.ill
    acknowledged = set(writers.acknowledged)
    there = [node for node in nodes.members if node.name not in (*night.wiped, ill)]
    held = set().union(*(_held(node) for node in there)) & acknowledged
    with fault(nodes.by_name(ill)) if ill else nullcontext():
        run = rehearsal.run(rehearsal.inventory(), *night.words)
    if not run.recovered and (run.code, run.summary.get("outcome")) not in ((1, "stopped"), (1, "refused")):
        raise BenchError(f"{name}: the run ended with {run.code}: {run.output[-2000:]}")
    back = {key.decode() for key in etcd_client.read_all(nodes, PREFIX)} if run.recovered else held
    return Ended(name, len(acknowledged), len(held), run.recovered, len(held - back))


def _held(node: Node) -> set[str]:
    return set(node.run(["sh", "-c", HELD]).stdout.split())


# -- reporting ---------------------------------------------------------------------------------------------------


def table(ended: Sequence[Ended]) -> Table:
    """A row for each kind of night."""
    shown = Table(
        title=f"Acknowledged writes on disks that can be read, and lost unasked, {len(ended)} losses by SIGKILL"
    )
    for column in ("night", "losses", "acknowledged", "on disk", "recovered", "stopped and asked", "lost unasked"):
        shown.add_column(column, justify="left" if column == "night" else "right")
    for name in dict.fromkeys(one.night for one in ended):
        these = [one for one in ended if one.night == name]
        went = sum(one.recovered for one in these)
        sums = [sum(getattr(one, field) for one in these) for field in ("acknowledged", "on_disk", "lost")]
        shown.add_row(name, str(len(these)), *map(str, (*sums[:2], went, len(these) - went, sums[2])))
    return shown


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; 1 where anything was lost unasked or not every loss was measured."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.unasked", description=__doc__)
    parser.add_argument("--losses", type=int, default=2, help="of each night")
    parser.add_argument("--only", choices=NIGHTS, help="this night alone")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep every measurement there")
    given = parser.parse_args(arguments)
    if given.losses < 1:
        parser.error("--losses must be at least 1")
    names = [given.only] if given.only else list(NIGHTS)
    ended: list[Ended] = []
    try:
        for name in names:
            lab.down()
            with tempfile.TemporaryDirectory(prefix="requorum-bench-") as scratch:
                rehearsal = Rehearsal(Path(scratch), spares=0, **NIGHTS[name].shape)
                for _ in range(given.losses):
                    ended.append(measure(name, rehearsal))
                    lab.say(f"{len(ended)} of {len(names) * given.losses}: {ended[-1]}")
                    if given.json:
                        given.json.write_text(json.dumps([asdict(one) for one in ended], indent=2) + "\n", "utf-8")
        lab.down()
    except LabError as error:
        print(f"bench: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("bench: interrupted", file=sys.stderr)
    if ended:
        Console(width=110).print(table(ended))
    whole = len(ended) == len(names) * given.losses
    return 0 if whole and not any(one.lost for one in ended) else 1


if __name__ == "__main__":
    os.umask(0o077)
    sys.exit(main())
