"""The lab's command line: `python -m compose.lab up|load|break|status|down`.

Each command is idempotent, prints what it did, and on failure ends non-zero with one line that
says what to do. The work is done next door: `provision` (machines), `cluster` (etcd on them),
`load`, `faults`; what the lab is, is kept in `state`.
"""

import argparse
import fcntl
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from compose import (
    bulk,
    cluster,
    engine,
    etcd_client,
    faults,
    image,
    lab_inventory,
    layouts,
    line,
    load,
    other_hosts,
    provision,
    state,
)
from compose.errors import LabError, StateError
from compose.image import EtcdChoice
from compose.nodes import Nodes
from compose.state import LabState, Role
from requorum import inventory as inventories
from requorum.troubleshoot import sudoers
from requorum.verify import program


def say(line: str) -> None:
    """Progress, on standard error: standard output is for answers."""
    print(f"lab: {line}", file=sys.stderr, flush=True)


def up(
    *,
    members: int = 3,
    spares: int = 0,
    hosts: int = 1,
    etcd: str = "3.5",
    presence: bool = False,
    accounts: bool = False,
    certificates: bool = False,
    layout: str = "vendor",
    hosts_like: str = "debian",
    thin: str = "",
    bcrypt_cost: int = state.CHEAP,
) -> Nodes:
    """The lab with a running, secured cluster and Deephaven on it, made or found.

    `hosts` counts further Deephaven hosts, `spares` empty machines; with `presence` each Deephaven
    process keeps a leased key, with `accounts` three accounts run them, with `certificates`
    nobody has a password; `layout` is one of `layouts.LAYOUTS`, `hosts_like` one of
    `other_hosts.KINDS`; `thin` is what `line` holds the operator's line to. Raises LabError when
    a lab of another shape is up.
    """
    if layout not in layouts.LAYOUTS:
        raise LabError(f"no layout {layout!r}; there are {', '.join(layouts.LAYOUTS)}")
    choice = EtcdChoice.parse(etcd)
    began = time.monotonic()
    say(engine.start())
    with _lock():
        with _locked(state.MAKING, "another lab is being made; waiting for it"):
            shape = (members, spares, hosts, choice, presence, accounts, layout, certificates, hosts_like)
            lab = _planned(*shape, thin, bcrypt_cost)
            lab.write()
            nodes = Nodes.of(lab)
            provision.start(lab)
        provision.give_access(lab, nodes)
        say(f"{len(nodes.all)} machines after {time.monotonic() - began:.1f} s")
        cluster.bootstrap(
            nodes,
            presence=presence,
            accounts=accounts,
            certificates=certificates,
            layout=layout,
            bcrypt_cost=bcrypt_cost,
        )
        lab_inventory.write(lab)
        inventory = inventories.load(state.INVENTORY)
        provision.give_limited_access(nodes, sudoers.file(inventory, "limited"))
        provision.give_program(nodes, program.hosts(inventory), program.path(inventory), program.text(inventory))
        other_hosts.make(nodes, hosts_like)
        line.hold(lab, nodes)
    say(f"up after {time.monotonic() - began:.1f} s: etcd {choice.name}, {state.INVENTORY.name}")
    return nodes


def _planned(
    members: int,
    spares: int,
    hosts: int,
    choice: EtcdChoice,
    presence: bool,
    accounts: bool,
    layout: str,
    certificates: bool = False,
    hosts_like: str = "debian",
    thin: str = "",
    bcrypt_cost: int = state.CHEAP,
) -> LabState:
    """The lab to have: the one that is up if it has this shape, else a new one."""
    try:
        lab = LabState.read()
    except StateError:
        if state.STATE_FILE.exists():
            raise
        tag = image.ensure(choice, say)
        provision.remove()  # a lab whose state was lost cannot be reached any more
        subnet = provision.free_subnet()
        machines = provision.machines(members, spares, hosts, subnet)
        made = LabState(choice.name, tag, subnet, machines, presence=presence, accounts=accounts, layout=layout)
        return replace(made, certificates=certificates, hosts_like=hosts_like, line=thin, bcrypt_cost=bcrypt_cost)
    switches = _switches(presence, certificates, accounts)
    asked = (members, spares, hosts, choice.name, layout, hosts_like, *switches, thin or "any", bcrypt_cost)
    counts = (len(lab.of(role)) for role in (Role.MEMBER, Role.SPARE, Role.QUERY))
    switches = _switches(lab.presence, lab.certificates, lab.accounts)
    there = (*counts, lab.etcd, lab.layout, lab.hosts_like, *switches, lab.line or "any", lab.bcrypt_cost)
    if asked != there:
        raise LabError(
            "a lab of another shape is up: it has {} members, {} spares, {} hosts, etcd {}, layout {}, hosts like {}, "
            "{}, {} and {}, line {}, bcrypt cost {}; run `python -m compose.lab down` first".format(*there)
        )
    return lab


def _switches(presence: bool, certificates: bool, accounts: bool) -> tuple[str, str, str]:
    return (
        "presence keys" if presence else "no presence keys",
        "certificates" if certificates else "passwords",
        "three accounts" if accounts else "one account",
    )


def load_keys(keys: int, leases: int = 0, size: int = 0, long_log: bool = False) -> str:
    """Write the lab's data, `leases` dead leases and `size` bytes of large values beside it; a line on it."""
    with _lock():
        lab, nodes = LabState.read(), Nodes.read()
        began = time.monotonic()
        loaded = load.load(nodes, keys)
        load.load_leases(nodes, leases)
        if size:
            bulk.fill(nodes, size, long_log)
        lab = replace(lab, keys=keys)
        lab.write()
        lab_inventory.write(lab)
    seconds = time.monotonic() - began
    dead = f", {leases} keys with dead leases" if leases else ""
    large = ""
    if size:
        database, log = bulk.sizes(etcd_client.serving(nodes)[0])
        large = f", {size // bulk.EACH} of {bulk.EACH} bytes: database {database:,} bytes, log {log:,}"
    return f"{keys} keys, {loaded.written} of them written{dead}{large}, in {seconds:.1f} s"


def break_lab(how: str, members: str | None = None) -> str:
    """Break the named members (comma-separated; default: a majority); a line on the outcome."""
    with _lock():
        nodes = Nodes.read()
        fault = faults.by_name(how)
        if members is None:
            targets = faults.majority(nodes)
        else:
            targets = tuple(nodes.by_name(name) for name in dict.fromkeys(members.split(",")))
            strangers = [n.name for n in targets if n.role is not Role.MEMBER]
            if strangers:
                raise LabError(f"break --members: {', '.join(strangers)} is not a member")
        return faults.break_quorum(nodes, fault, targets)


def status() -> str:
    """The lab at a glance: one line per machine with etcd or Deephaven, and quorum."""
    lab, nodes = LabState.read(), Nodes.read()
    now = cluster.state(nodes)
    lines = [f"etcd {lab.etcd}, network {lab.subnet}, {lab.keys} keys loaded"]
    ips = {machine.name: machine.ip for machine in lab.machines}
    for m in now.members:
        health = "healthy" if m.healthy else "not healthy"
        leader = "has a leader" if m.has_leader else "no leader"
        lines.append(
            f"{m.name:9} {ips[m.name]:15} etcd {m.version or '-'} {m.unit}, {health}, {leader}, revision {m.revision}"
        )
    for p in now.processes:
        lines.append(f"{p.host:9} {ips[p.host]:15} {p.name}: {p.said or 'does not run'}")
    listed = {m.name for m in now.members}
    lines += [f"{s.name:9} {s.ip:15} spare" for s in nodes.spares if s.name not in listed]
    lines.append(f"quorum: {'yes' if now.has_quorum else 'LOST'}")
    return "\n".join(lines)


def down() -> str:
    """Remove every trace of the lab but its image; a line on it."""
    with _lock():
        if engine.version() is None:
            if state.STATE_FILE.exists():
                raise LabError(
                    "the engine does not run, so the lab's machines cannot be removed; "
                    "run `python -m compose.engine start`, then down again"
                )
            removed = 0
        else:
            removed = provision.remove()
        lab_inventory.remove()
    shutil.rmtree(state.LAB_DIR, ignore_errors=True)
    shutil.rmtree(state.BACKUPS, ignore_errors=True)  # of a cluster that is no more
    return f"down: {removed} containers and networks removed" if removed else "down: there was none"


@contextmanager
def _lock() -> Iterator[None]:
    """One command at a time changes the lab."""
    state.LAB_DIR.mkdir(mode=0o700, exist_ok=True)
    with _locked(state.LAB_DIR / "lock", "another command works on the lab; waiting for it"):
        yield


@contextmanager
def _locked(path: Path, waiting: str) -> Iterator[None]:
    with path.open("w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(waiting)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _count(*allowed: int) -> Callable[[str], int]:
    """An argparse type: a number out of `allowed`."""

    def parse(text: str) -> int:
        if text.isdecimal() and int(text) in allowed:
            return int(text)
        known = ", ".join(map(str, allowed)) if len(allowed) < 5 else f"0 to {max(allowed)}"
        raise argparse.ArgumentTypeError(f"{text!r} is not one of {known}")

    return parse


def _parser() -> argparse.ArgumentParser:
    """The command line."""
    some = _count(*range(provision.MAX_EACH + 1))
    parser = argparse.ArgumentParser(prog="python -m compose.lab", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    make = commands.add_parser("up", help="build and start the lab; nothing to do if it is up")
    make.add_argument("--members", type=_count(1, 3, 5), default=3)
    make.add_argument("--spares", type=some, default=0, help="empty machines")
    make.add_argument("--etcd", default="3.5", metavar="3.4|3.5|testing|DIR")
    many = _count(*range(provision.MAX_HOSTS + 1))
    make.add_argument("--hosts", type=many, default=1, help="further Deephaven hosts")
    make.add_argument("--line", type=line.parse, metavar="50mbit", help="how thin the operator's line is")
    make.add_argument("--bcrypt-cost", type=int, default=state.CHEAP, help="of etcd's passwords; its own default is 10")
    make.add_argument("--layout", choices=layouts.LAYOUTS, default="vendor", help="how etcd lies on its machines")
    make.add_argument("--hosts-like", choices=other_hosts.KINDS, default="debian", help="what its machines are like")
    make.add_argument("--accounts", action="store_true", help="three accounts run Deephaven, not irisadmin alone")
    make.add_argument("--certificates", action="store_true", help="users have client certificates and no passwords")
    make.add_argument("--presence", action="store_true", help="each Deephaven process keeps a key with a lease")
    fill = commands.add_parser("load", help="write the data")
    fill.add_argument("--keys", type=int, default=load.KEYS)
    fill.add_argument("--leases", type=some, default=0, help="keys with a lease whose holder is dead")
    fill.add_argument(
        "--bytes", type=bulk.parse, default=0, metavar="1g", help="so many bytes of large values beside them"
    )
    fill.add_argument("--long-log", action="store_true", help="etcd's log still holds them all")
    breaking = commands.add_parser("break", help="destroy quorum; ends when it is really lost")
    breaking.add_argument("--how", required=True, choices=[f.name for f in faults.FAULTS])
    breaking.add_argument("--members", metavar="etcd-2,etcd-3", help="default: a majority")
    commands.add_parser("status", help="what runs, and whether there is quorum")
    commands.add_parser("down", help="remove the lab; the image stays")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """The command line; 0, or 1 with one line on standard error."""
    given = _parser().parse_args(arguments)
    try:
        if given.command == "up":
            up(
                members=given.members,
                spares=given.spares,
                hosts=given.hosts,
                etcd=given.etcd,
                presence=given.presence,
                accounts=given.accounts,
                certificates=given.certificates,
                layout=given.layout,
                hosts_like=given.hosts_like,
                thin=given.line or "",
                bcrypt_cost=given.bcrypt_cost,
            )
        elif given.command == "load":
            print(load_keys(given.keys, given.leases, given.bytes, given.long_log))
        elif given.command == "break":
            print(break_lab(given.how, given.members))
        elif given.command == "status":
            print(status())
        else:
            print(down())
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"lab: interrupted; `{given.command}` may be run again", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    os.umask(0o077)
    sys.exit(main())
