"""The ways a cluster of the lab is broken, each a small type: name, whether it can, inject, undo.

A fault acts as root through the engine, never by ssh, and `break_quorum` ends only when the
members show that it took. `heal` undoes what leaves data intact; what `wipe` and `readdress` did
is for the runbook to recover. Phases are named in errors: before, inject, after.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import docker
import docker.errors
import requests

from compose import cluster, lab_inventory, layouts, poll, provision
from compose.errors import FaultError
from compose.nodes import Node, Nodes, on_each
from compose.state import PROJECT, LabState

UNIT = layouts.UNIT
CONFIG = layouts.CONFIG
LOST_SECONDS = 60

MASK = 'systemctl --quiet mask "$1"'
UNMASK = 'systemctl --quiet unmask "$1"; systemctl reset-failed "$1" 2>/dev/null || true'
KILL = 'systemctl kill --kill-whom=all --signal=KILL "$1" 2>/dev/null || true'
WIPE = f"""
set -eu
systemctl --quiet disable --now "$1"
{layouts.PLACES}
case $data in /var/lib/etcd/dh/?*) ;; *) echo "neither {CONFIG} nor the unit names a data-dir" >&2; exit 1 ;; esac
[ ! -d "$data" ] || find "$data/" -mindepth 1 -delete
[ ! -d {layouts.ELSEWHERE} ] || find {layouts.ELSEWHERE} ! -type d -delete
"""


class Fault(Protocol):
    """One way to break `targets`, some of the members of the lab."""

    @property
    def name(self) -> str:
        """What `break --how` calls it."""
        ...

    def unavailable(self, nodes: Nodes) -> str:
        """Why this fault cannot be injected here; "" where it can."""
        ...

    def inject(self, nodes: Nodes, targets: Sequence[Node]) -> None:
        """Break the targets. Doing it twice is doing it once."""
        ...

    def heal(self, nodes: Nodes, targets: Sequence[Node]) -> None:
        """Undo it; raises FaultError where that is the runbook's work."""
        ...


@dataclass(frozen=True)
class Stop:
    """The members stop in order and cannot be started by themselves; their data is intact."""

    name: str = "stop"

    def unavailable(self, nodes: Nodes) -> str:
        return _without_unit(nodes)

    def inject(self, nodes: Nodes, targets: Sequence[Node]) -> None:
        _shell(targets, MASK)
        _shell(targets, 'systemctl stop "$1" 2>/dev/null || true')

    def heal(self, nodes: Nodes, targets: Sequence[Node]) -> None:
        _shell(targets, UNMASK)
        _shell(targets, 'systemctl start --no-block "$1"')


@dataclass(frozen=True)
class Kill(Stop):
    """As `Stop`, with SIGKILL: the log ends wherever it was."""

    name: str = "kill"

    def inject(self, nodes: Nodes, targets: Sequence[Node]) -> None:
        _shell(targets, MASK)
        _shell(targets, KILL)


@dataclass(frozen=True)
class Wipe:
    """The data of the members is gone; unit and configuration stay."""

    name: str = "wipe"

    def unavailable(self, nodes: Nodes) -> str:
        return _without_unit(nodes)

    def inject(self, nodes: Nodes, targets: Sequence[Node]) -> None:
        _shell(targets, UNMASK)
        _shell(targets, WIPE)

    def heal(self, nodes: Nodes, targets: Sequence[Node]) -> None:
        raise FaultError("heal wipe: the data is gone; recover the cluster with the runbook")


@dataclass(frozen=True)
class Partition:
    """Each member is cut from every other on the etcd network, also from each other."""

    name: str = "partition"

    def unavailable(self, nodes: Nodes) -> str:
        return "" if len(nodes.members) > 1 else "a single member has no peer to be cut from"

    def inject(self, nodes: Nodes, targets: Sequence[Node]) -> None:
        self._routes("replace", nodes, targets)

    def heal(self, nodes: Nodes, targets: Sequence[Node]) -> None:
        self._routes("delete", nodes, targets)

    @staticmethod
    def _routes(action: str, nodes: Nodes, targets: Sequence[Node]) -> None:
        script = 'action=$1; shift; for peer; do ip route "$action" blackhole "$peer/32"; done'
        forgiving = script if action == "replace" else f"{{ {script}; }} 2>/dev/null || true"

        def cut(node: Node) -> None:
            peers = [peer.ip for peer in nodes.members if peer.name != node.name]
            node.run(["sh", "-ec", forgiving, "sh", action, *peers])

        on_each(targets, cut)


@dataclass(frozen=True)
class Readdress:
    """The members get another address on the etcd network, as after a move; data is intact.

    A member that was moved and not recovered since stays where it is.
    """

    name: str = "readdress"

    def unavailable(self, nodes: Nodes) -> str:
        return ""

    def inject(self, nodes: Nodes, targets: Sequence[Node]) -> None:
        lab = LabState.read()
        client = docker.from_env()
        try:
            for node in filter(_uses_its_address, nodes.members):
                machine = next(m for m in lab.machines if m.name == node.name)
                moved = replace(machine, old_ip=None)
                if node in targets:
                    moved = replace(machine, ip=provision.readdressed(machine.ip), old_ip=machine.ip)
                    _move(client, node, moved.ip)
                lab = lab.with_machine(moved)
                lab.write()
        except (docker.errors.DockerException, requests.RequestException) as error:
            raise FaultError(f"readdress, inject: the engine refused: {error}") from error
        finally:
            client.close()
        lab_inventory.write(lab)

    def heal(self, nodes: Nodes, targets: Sequence[Node]) -> None:
        raise FaultError("heal readdress: the addresses stay; recover the cluster with the runbook")


FAULTS: tuple[Fault, ...] = (Kill(), Stop(), Wipe(), Partition(), Readdress())


def by_name(name: str) -> Fault:
    """The fault called `name`; raises FaultError that lists the names there are."""
    for fault in FAULTS:
        if fault.name == name:
            return fault
    raise FaultError(f"no fault {name!r}; there are {', '.join(f.name for f in FAULTS)}")


def majority(nodes: Nodes) -> tuple[Node, ...]:
    """The highest-numbered majority of the members."""
    return nodes.members[-(len(nodes.members) // 2 + 1) :]


def break_quorum(nodes: Nodes, fault: Fault, targets: Sequence[Node]) -> str:
    """Inject `fault` and wait until it shows; a line on what is lost.

    Raises FaultError when it cannot be injected, when the cluster was not healthy before, or when
    a majority of `targets` left quorum in place for `LOST_SECONDS`.
    """
    if reason := fault.unavailable(nodes):
        raise FaultError(f"{fault.name}, before: {reason}")
    names = ", ".join(node.name for node in targets)
    if _quorum_lost(nodes):
        fault.inject(nodes, targets)
        return f"{fault.name} on {names}: quorum was lost before and is lost now"
    fault.inject(nodes, targets)
    left = len(nodes.members) - len(targets)
    if 2 * left > len(nodes.members):
        await_members_down(nodes, targets)
        return f"{fault.name} on {names}: they are lost, a majority is left"
    await_quorum_lost(nodes)
    return f"{fault.name} on {names}: quorum is lost"


def await_quorum_lost(nodes: Nodes, seconds: float = LOST_SECONDS) -> None:
    """Return when no majority of the members is healthy; raises FaultError after `seconds`."""
    poll.until(
        lambda: _quorum_lost(nodes),
        seconds=seconds,
        every=0.2,
        what="quorum is lost (after the fault)",
        why_not=lambda: _healthy(nodes),
        error=FaultError,
    )


def await_members_down(nodes: Nodes, targets: Sequence[Node], seconds: float = LOST_SECONDS) -> None:
    """Return when none of `targets` is healthy; raises FaultError after `seconds`."""
    names = {node.name for node in targets}
    poll.until(
        lambda: not any(m.healthy and m.name in names for m in cluster.state(nodes).members),
        seconds=seconds,
        every=0.2,
        what=f"{', '.join(sorted(names))} is lost (after the fault)",
        why_not=lambda: _healthy(nodes),
        error=FaultError,
    )


def await_quorum(nodes: Nodes, seconds: float = LOST_SECONDS) -> None:
    """Return when every member is healthy; raises FaultError after `seconds`."""
    poll.until(
        lambda: all(member.healthy for member in cluster.state(nodes).members),
        seconds=seconds,
        every=0.2,
        what="every member is healthy again",
        why_not=lambda: _healthy(nodes),
        error=FaultError,
    )


def power_off(node: Node) -> None:
    """The whole machine goes dark, as one that burnt: its container is killed, and kept."""
    _container(node, "kill")


def power_on(node: Node) -> None:
    """The machine that `power_off` took boots again; what it runs comes back with it."""
    _container(node, "start")


def _container(node: Node, action: str) -> None:
    client = docker.from_env(timeout=60)
    try:
        container = client.containers.get(node.container)
        running = container.status == "running"
        if action == "kill" and running:
            container.kill()
        elif action == "start" and not running:
            container.start()
    except (docker.errors.DockerException, requests.RequestException) as error:
        raise FaultError(f"{node.name}: the engine cannot {action} it: {error}") from error
    finally:
        client.close()


def _uses_its_address(node: Node) -> bool:
    """Whether etcd is configured for the address that the machine has: not since a readdress."""
    return node.run(["grep", "-qF", f"//{node.ip}:", CONFIG, layouts.UNIT_FILE], check=False).rc == 0


def _move(client: docker.DockerClient, node: Node, new_ip: str) -> None:
    """Give a running container another address on the etcd network."""
    network = client.networks.get(f"{PROJECT}_etcd")
    network.disconnect(node.container)
    network.connect(node.container, ipv4_address=new_ip)


def _without_unit(nodes: Nodes) -> str:
    """ "" when the cluster was formed; else what is missing."""

    def missing() -> list[str]:
        return [m.name for m in cluster.state(nodes).members if m.unit == "absent"]

    try:  # an engine under load may give an empty answer once: absent is what stays absent
        poll.until(lambda: not missing(), seconds=5, every=0.5, what=f"{UNIT} is on every member", error=FaultError)
    except FaultError:
        return f"{UNIT} is not on {', '.join(missing())}"
    return ""


def _shell(targets: Sequence[Node], script: str, *arguments: str) -> None:
    """Run `script` on all targets with the unit's name as $1 and `arguments` behind it."""
    on_each(targets, lambda node: node.run(["sh", "-c", script, "sh", UNIT, *arguments]))


def _quorum_lost(nodes: Nodes) -> bool:
    """No majority serves: down, or up without a leader. Slow answers alone do not count as lost."""
    members = cluster.state(nodes).members
    return 2 * sum(m.healthy or m.has_leader for m in members) <= len(nodes.members)


def _healthy(nodes: Nodes) -> str:
    """Each member's health in a few words."""
    members = cluster.state(nodes).members
    return ", ".join(f"{m.name} {'healthy' if m.healthy else 'not healthy'}" for m in members)
