"""Real screens at 80 columns, for people who never saw them: `python -m tests.benchmarks.screens DIRECTORY`.

Each state is made in one lab, the runbook is started as on duty, what it leaves on the terminal is saved as
`NN-name.txt` (with --svg as a picture too), and the state is undone. The states are those of a list, and others drawn
by a seed from all that the lab can break. Who judges gets the screens and nothing else.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

import yaml

from compose import ailments, disks, etcd_client, faults, lab, load, state
from compose.ailment_scripts import RESTART
from compose.errors import LabError
from compose.faults import CONFIG
from compose.nodes import Node
from tests.benchmarks import shown
from tests.lab import test_began_anew
from tests.lab.rehearsal import Rehearsal
from tests.lab.test_backup import back_up, into
from tests.lab.writers import data_dir
from tests.terminal import Terminal

COLUMNS = 80
SECONDS = 900  # for one run
PYTEST = (".venv/bin/pytest",)
OPERATORS = "/opt/requorum"  # where the checkout lies on a screen
PROMPTS = ("Type the cluster's name to go on (lab): ", "Type lab to go on: ")
AT_WORK = "\x1b[1A"  # a line is drawn once more
ALL = ("etcd-1", "etcd-2", "etcd-3")
Change = Callable[[dict[str, Any]], None]


@dataclass
class Scene:
    """How the runbook is called in a state. `words`: options; `change`: of the inventory; `heals`: whether the state is
    undone, where the run does not end it."""

    words: tuple[str, ...] = ()
    change: Change | None = None
    procedure: str = "runbook"
    heals: bool = False


Maker = Callable[[Rehearsal], AbstractContextManager[Scene]]


@dataclass(frozen=True)
class World:
    """A state: its `name` in a file's, how it is made and undone, and what the lab must be for it."""

    name: str
    make: Maker
    shape: dict[str, Any] = field(default_factory=dict)


# -- states of ../shared/CASES.md ----------------------------------------------------------------------------------


@contextmanager
def lost(rehearsal: Rehearsal) -> Iterator[Scene]:
    """Two members' disks are gone, whatever else the lab is like."""
    rehearsal.lose("wipe")
    yield Scene()


ELSEWHERE = "s#^listen-peer-urls:.*#listen-peer-urls: https://192.0.2.1:2380#"  # no address of that machine


@contextmanager
def crash_loop(rehearsal: Rehearsal) -> Iterator[Scene]:
    """On a majority etcd ends whenever systemd starts it."""
    hosts = faults.majority(rehearsal.nodes)
    for node in hosts:
        _shell(node, f"cp -a {CONFIG} {CONFIG}.was; sed -i '{ELSEWHERE}' {CONFIG}; {RESTART}")
    faults.await_members_down(rehearsal.nodes, hosts)
    yield Scene(heals=True)
    for node in hosts:
        _shell(node, f"mv -f {CONFIG}.was {CONFIG}; {RESTART}")


@contextmanager
def bad_disk(rehearsal: Rehearsal) -> Iterator[Scene]:
    """One of two survivors' disks has an I/O error."""
    etcd_client.put(rehearsal.nodes, "/status/late", "written after the backup")
    rehearsal.lose("stop", ALL)
    rehearsal.lose("wipe", ("etcd-3",))
    with disks.unreadable(rehearsal.nodes.by_name("etcd-2")):
        yield Scene(("--rebuild",))


@contextmanager
def began_anew(rehearsal: Rehearsal) -> Iterator[Scene]:
    """A majority lost its disks and systemd made an empty cluster of them."""
    directory = rehearsal.scratch / f"nightly-{time.time_ns()}"
    if back_up(rehearsal, directory).code != 0:
        raise LabError("no nightly backup was made")
    test_began_anew.begin_anew(rehearsal)
    yield Scene(change=into(directory))


@contextmanager
def strangers_etcd(rehearsal: Rehearsal) -> Iterator[Scene]:
    """Another etcd runs on two machines, of another unit at other ports; and quorum is lost."""
    hosts = rehearsal.nodes.members[:2]
    for node in hosts:
        urls = [f"--{kind}=http://127.0.0.1:{port}" for kind, port in OTHER_PORTS.items()]
        start = ["systemd-run", "--quiet", "--unit=payments-etcd", "etcd", "--data-dir=/var/lib/payments-etcd", *urls]
        node.run([*start, "--initial-cluster=default=http://127.0.0.1:12380"])
    rehearsal.lose("wipe")
    yield Scene()
    for node in hosts:
        _shell(node, "systemctl stop payments-etcd")


OTHER_PORTS = {
    "listen-client-urls": 12379,
    "advertise-client-urls": 12379,
    "listen-peer-urls": 12380,
    "initial-advertise-peer-urls": 12380,
}


@contextmanager
def small_quota(rehearsal: Rehearsal) -> Iterator[Scene]:
    """The data is larger than the quota that the inventory wants kept."""
    rehearsal.lose("wipe")
    yield Scene(change=_small_quota)


def _small_quota(content: dict[str, Any]) -> None:
    content.setdefault("etcd", {})["keep_settings"] = ["quota-backend-bytes=2097152"]


@contextmanager
def empty_configuration(rehearsal: Rehearsal) -> Iterator[Scene]:
    """The configuration of a member that does not run is empty."""
    rehearsal.lose("stop", ALL)
    rehearsal.lose("wipe", ("etcd-3",))
    node = rehearsal.nodes.by_name("etcd-2")
    _shell(node, f"cp -a {CONFIG} /root/config.was; : >{CONFIG}")
    yield Scene(("--rebuild",))


RHEL = {"hosts_like": "rhel", "presence": True, "leases": 6, "spares": 0}
NAMED = (
    World("L5-crash-loop", crash_loop),
    World("D2-bad-disk", bad_disk),
    World("D10-began-anew", began_anew),
    World("D18-strangers-etcd", strangers_etcd),
    World("D19-small-quota", small_quota),
    World("D22-empty-configuration", empty_configuration),
    World("L1-L2-L3-L6-L10-D8-like-rhel-with-leases", lost, RHEL),
)


# -- others, to be drawn ---------------------------------------------------------------------------------------------


def ailing(ailment: ailments.Ailment) -> Maker:
    @contextmanager
    def make(rehearsal: Rehearsal) -> Iterator[Scene]:
        ailment.inject(rehearsal.nodes)
        yield Scene(heals=True)
        ailment.heal(rehearsal.nodes)

    return make


def broken(how: str) -> Maker:
    @contextmanager
    def make(rehearsal: Rehearsal) -> Iterator[Scene]:
        rehearsal.lose(how)
        yield Scene(heals=True)
        nodes = rehearsal.nodes
        faults.by_name(how).heal(nodes, faults.majority(nodes))

    return make


def odd_disk(script: str) -> Maker:
    """The last disk but for wiped ones, made so; $0 is its data directory."""

    @contextmanager
    def make(rehearsal: Rehearsal) -> Iterator[Scene]:
        rehearsal.lose("stop", ALL)
        rehearsal.lose("wipe")
        survivor = rehearsal.nodes.by_name("etcd-1")
        survivor.run(["sh", "-ec", script, data_dir(survivor)])
        yield Scene()

    return make


@contextmanager
def sudo_asks(rehearsal: Rehearsal) -> Iterator[Scene]:
    node = rehearsal.nodes.by_name("query-1")
    (rule,) = node.run(["sh", "-c", "grep -rl '^ops' /etc/sudoers.d"]).stdout.split()
    node.run(["mv", rule, "/root/ops.sudoers"])
    try:
        yield Scene(heals=True)
    finally:
        node.run(["mv", "/root/ops.sudoers", rule])


@contextmanager
def no_backup(rehearsal: Rehearsal) -> Iterator[Scene]:
    rehearsal.lose("wipe", ALL)
    yield Scene(change=lambda content: content["snapshot"].update(directory=str(rehearsal.scratch / "nothing")))


@contextmanager
def troubled(rehearsal: Rehearsal) -> Iterator[Scene]:
    """The diagnosis, where a member's files belong to root."""
    ailment = ailments.by_name("owner")
    ailment.inject(rehearsal.nodes)
    yield Scene(procedure="runbook/troubleshoot/diagnose", heals=True)
    ailment.heal(rehearsal.nodes)


LOG_IS_GONE = 'mv "$0/member/wal" /root/wal.$$; ln -s /nowhere "$0/member/wal"'
LINKED = 'mv "$0/member/snap/db" /root/db.$$; ln -s /root/db.$$ "$0/member/snap/db"'
CUT = 'for file in "$0"/member/wal/*.wal; do truncate -s 4096 "$file"; done'
POOL = (
    *(World(f"ailment-{one.name}", ailing(one)) for one in ailments.AILMENTS),
    *(World(f"fault-{how}", broken(how)) for how in ("kill", "stop", "wipe", "partition", "readdress")),
    World("stop-log-is-gone", odd_disk(LOG_IS_GONE)),
    World("stop-database-is-a-link", odd_disk(LINKED)),
    World("stop-log-is-cut", odd_disk(CUT)),
    World("trouble-sudo-asks", sudo_asks),
    World("trouble-no-backup", no_backup),
    World("trouble-diagnose", troubled),
)


# -- the show --------------------------------------------------------------------------------------------------------


def _shell(node: Node, script: str) -> None:
    node.run(["bash", "-ec", script])


def watched(scene: Scene, inventory: str, scratch: Path) -> tuple[int, str, str]:
    """Its exit code, all that such a run sent to its terminal, and what it had sent in the middle of Step 4, "" where
    it did not get there. Questions are answered as they come."""
    terminal = Terminal(
        f"--hosts={inventory}", *scene.words, procedure=scene.procedure, columns=COLUMNS, program=PYTEST
    )
    answered, until, during = 0, time.monotonic() + SECONDS, ""
    while terminal.process.poll() is None:
        asked = sum(map(terminal.seen.count, PROMPTS))
        if asked > answered:
            terminal.type("lab")
            answered = asked
        if not during and AT_WORK in terminal.seen.partition("Step 4.")[2]:
            during = terminal.seen
        if time.monotonic() > until:
            terminal.process.terminate()
        time.sleep(0.1)
    code = terminal.end()
    seen, during = (one.replace(str(state.REPOSITORY), OPERATORS) for one in (terminal.seen, during))
    return code, seen.replace(str(scratch), "/srv"), during.replace(str(scratch), "/srv")


def show(world: World, rehearsal: Rehearsal, place: Path, svg: bool) -> None:
    """One screen. The lab is spoilt unless all is as before."""
    rehearsal.scratch = place.parent / "lab" / world.name
    rehearsal.scratch.mkdir(parents=True, exist_ok=True)
    rehearsal.prepare()
    with world.make(rehearsal) as scene:
        content = yaml.safe_load(rehearsal.inventory(scene.change).read_text())
        content["transport"]["ssh_config"] = str(state.SSH_CONFIG)
        state.INVENTORY.write_text(yaml.safe_dump(content, sort_keys=False))
        code, seen, during = watched(scene, "lab", rehearsal.scratch)
        command = f"$ {' '.join((*PYTEST, scene.procedure, '--hosts=lab', *scene.words))}\r\n"
        place.with_suffix(".txt").write_text(shown.plain(command + seen))
        if svg:
            place.with_suffix(".svg").write_text(shown.svg(command + seen, "a recovery", COLUMNS))
            place.with_name(f"{place.name}-running.svg").write_text(shown.svg(command + during, "a recovery", COLUMNS))
    if code and not scene.heals:
        return
    rehearsal.forget_old_addresses()
    faults.await_quorum(rehearsal.nodes)
    rehearsal.spoilt = bool(load.check(rehearsal.nodes).missing)


def chosen(named: Sequence[str], others: int, seed: int) -> list[World]:
    """Those whose names hold one of these words; without any the list, and so many others."""
    if named:
        return [world for world in (*NAMED, *POOL) if any(word in world.name for word in named)]
    return [*NAMED, *random.Random(seed).sample(POOL, others)]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.screens", description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("names", nargs="*", help="only states whose name holds one of these")
    parser.add_argument("--others", type=int, default=12, help="how many are drawn besides the list")
    parser.add_argument("--seed", type=int, default=12)
    parser.add_argument("--svg", action="store_true")
    words = parser.parse_args(arguments)
    words.directory.mkdir(parents=True, exist_ok=True)
    worlds = chosen(words.names, words.others, words.seed)
    lab.down()
    missing = 0
    for shape, alike in groupby(sorted(worlds, key=lambda world: str(world.shape)), key=lambda world: world.shape):
        rehearsal = Rehearsal(words.directory, **{"spares": 1, **shape})
        for world in alike:
            place = words.directory / f"{1 + worlds.index(world):02}-{world.name}"
            try:
                show(world, rehearsal, place, words.svg)
            except (LabError, AssertionError) as error:  # the next one gets a new lab
                print(f"{place.name}: {error}", file=sys.stderr, flush=True)
            missing += not place.with_suffix(".txt").exists()
            print(place.name, flush=True)
        lab.down()
    return int(missing > 0)


if __name__ == "__main__":
    sys.exit(main())
