"""What can be wrong with a cluster short of losing it for good, each a small type with inject and heal.

The causes that `pytest runbook/troubleshoot/diagnose` knows, made for real: `cause` is what it must name first. Same
shape as `faults`, where the ways to destroy quorum are; every one of these is undone by `heal`, so one lab lives
through them all. They act as root through the engine.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from compose import cluster, faults, poll
from compose.ailment_scripts import CLOCK, DATA, DRAIN, FILL, FORGE, RESTART, SPLIT, START, UNFORGE, UNSPLIT
from compose.errors import FaultError
from compose.faults import CONFIG, UNIT
from compose.nodes import Node, Nodes, on_each

ETCDCTL = f"{cluster.VENDOR}/etcdctl.sh"


class Ailment(Protocol):
    """One thing that is wrong."""

    @property
    def name(self) -> str:
        """What a test calls it."""
        ...

    @property
    def cause(self) -> str:
        """What a diagnosis must name first."""
        ...

    def inject(self, nodes: Nodes) -> None:
        """Make it so, and return when it shows."""
        ...

    def heal(self, nodes: Nodes) -> None:
        """Undo it; the members may still have to find each other."""
        ...


def _shell(nodes: Sequence[Node], script: str, *arguments: str) -> None:
    on_each(nodes, lambda node: node.run(["bash", "-ec", script, "sh", *arguments]))


def _last(nodes: Nodes) -> tuple[Node]:
    return (nodes.members[-1],)


@dataclass(frozen=True)
class Scripts:
    """The plain kind: a script that makes it and one that undoes it, on the last member or on a majority."""

    name: str
    cause: str
    make: str
    undo: str
    majority: bool = False

    def inject(self, nodes: Nodes) -> None:
        _shell(self._targets(nodes), self.make, UNIT)
        faults.await_members_down(nodes, self._targets(nodes))

    def heal(self, nodes: Nodes) -> None:
        _shell(self._targets(nodes), self.undo, UNIT)

    def _targets(self, nodes: Nodes) -> tuple[Node, ...]:
        return faults.majority(nodes) if self.majority else _last(nodes)


@dataclass(frozen=True)
class Quiet(Scripts):
    """Members go on serving: nothing to wait for."""

    def inject(self, nodes: Nodes) -> None:
        _shell(self._targets(nodes), self.make, UNIT)


@dataclass(frozen=True)
class Forged:
    """The last member's peer certificate is another one; `trusted` by its own CA file, to be out of date only."""

    name: str
    cause: str
    begins: str
    ends: str
    trusted: str

    def inject(self, nodes: Nodes) -> None:
        _shell(_last(nodes), FORGE, UNIT, self.begins, self.ends, self.trusted)
        faults.await_members_down(nodes, _last(nodes))

    def heal(self, nodes: Nodes) -> None:
        _shell(_last(nodes), UNFORGE, UNIT)


@dataclass(frozen=True)
class OtherAddress:
    """The last member's machine has another address on the etcd network."""

    name: str = "address"
    cause: str = "address changed"

    def inject(self, nodes: Nodes) -> None:
        (node,) = _last(nodes)
        self._move(node, node.ip, self._other(node.ip))
        faults.await_members_down(nodes, (node,))

    def heal(self, nodes: Nodes) -> None:
        (node,) = _last(nodes)
        self._move(node, self._other(node.ip), node.ip)

    @staticmethod
    def _other(ip: str) -> str:
        return f"{ip.rsplit('.', 1)[0]}.{int(ip.rsplit('.', 1)[1]) + 100}"

    @staticmethod
    def _move(node: Node, old: str, new: str) -> None:
        script = 'dev=$(ip -o addr show to "$1" | cut -d" " -f 2); ip addr del "$1/24" dev "$dev"; '
        node.run(["bash", "-ec", f'{script}ip addr add "$2/24" dev "$dev"; {RESTART}', "sh", old, new])


@dataclass(frozen=True)
class NoSpace:
    """The last member's database is past its quota, and somebody writes through it."""

    name: str = "nospace"
    cause: str = "NOSPACE alarm"

    def inject(self, nodes: Nodes) -> None:
        (node,) = _last(nodes)
        _shell((node,), f"cp -a {CONFIG} {CONFIG}.was; echo 'quota-backend-bytes: 1048576' >>{CONFIG}; {RESTART}")
        write = [ETCDCTL, f"--endpoints=https://{node.ip}:2379", "--command-timeout=2s", "put", "/status/probe", "x"]
        poll.until(
            lambda: "space exceeded" in nodes.configuration_server.run(write, check=False).stderr,
            seconds=30,
            every=0.2,
            what="a write is refused for want of space",
            error=FaultError,
        )

    def heal(self, nodes: Nodes) -> None:
        _shell(_last(nodes), f"mv -f {CONFIG}.was {CONFIG}; {RESTART}")
        cure = f"{ETCDCTL} --command-timeout=2s alarm disarm && {ETCDCTL} --command-timeout=2s del /status/probe"
        poll.until(
            lambda: nodes.configuration_server.run(["sh", "-c", cure], check=False).rc == 0,
            seconds=30,
            every=0.2,
            what="the alarm is disarmed",
            error=FaultError,
        )


@dataclass(frozen=True)
class Altered:
    """A value in the last member's database is another one than the others have; nobody notices by himself."""

    name: str = "altered"
    cause: str = "corrupt member"
    key: str = "/status/requorum-needle"

    def inject(self, nodes: Nodes) -> None:
        nodes.configuration_server.run([ETCDCTL, "put", self.key, "needle-in-the-haystack"])
        self._swap(nodes, "needle-in-the-haystack", "NEEDLE-IN-THE-HAYSTACK")

    def heal(self, nodes: Nodes) -> None:
        self._swap(nodes, "NEEDLE-IN-THE-HAYSTACK", "needle-in-the-haystack")
        nodes.configuration_server.run([ETCDCTL, "del", self.key])

    @staticmethod
    def _swap(nodes: Nodes, old: str, new: str) -> None:
        script = f'{DATA}systemctl stop {UNIT}; LC_ALL=C sed -i "s/$1/$2/g" "$data/member/snap/db"; '
        script += f'chown etcd:etcd "$data/member/snap/db"; systemctl start --no-block {UNIT}'
        _shell(_last(nodes), script, old, new)
        faults.await_quorum(nodes)


@dataclass(frozen=True)
class StaleMember:
    """A machine that was a member once runs etcd again; `inventory` makes it an old member of the inventory."""

    name: str = "stale"
    cause: str = "stale old member"

    def inject(self, nodes: Nodes) -> None:
        node = nodes.spares[0]
        client, peer = f"http://{node.ip}:2379", f"http://{node.ip}:2380"
        node.run(
            [
                "systemd-run",
                "--quiet",
                f"--unit={UNIT}",
                "--uid=etcd",
                "etcd",
                "--name=etcd-3",
                "--data-dir=/var/lib/etcd/dh/stale",
                f"--initial-cluster=etcd-3={peer}",
                f"--listen-client-urls={client}",
                f"--advertise-client-urls={client}",
                f"--listen-peer-urls={peer}",
                f"--initial-advertise-peer-urls={peer}",
            ]
        )
        connect = ["bash", "-c", f"exec 3<>/dev/tcp/{node.ip}/2379"]
        poll.until(
            lambda: nodes.configuration_server.run(connect, check=False).rc == 0,
            seconds=30,
            every=0.2,
            what="the old member accepts clients",
            error=FaultError,
        )

    def heal(self, nodes: Nodes) -> None:
        _shell(nodes.spares[:1], f"systemctl stop {UNIT}; rm -rf /var/lib/etcd/dh/stale; systemctl daemon-reload")


@dataclass(frozen=True)
class WrongPasswords:
    """Every role's password on the Deephaven hosts is a new one, which the data does not know."""

    name: str = "passwords"
    cause: str = "passwords do not match"

    def inject(self, nodes: Nodes) -> None:
        each = f"for file in {cluster.CLIENT_ROOT}/*/password; do"
        _shell(nodes.deephaven, f'{each} cp -a "$file" "$file.was"; echo not-the-password >"$file"; done')

    def heal(self, nodes: Nodes) -> None:
        _shell(nodes.deephaven, f'for file in {cluster.CLIENT_ROOT}/*/password; do mv -f "$file.was" "$file"; done')


@dataclass(frozen=True)
class UnfinishedRun:
    """Every host carries the mark of a recovery that was begun."""

    name: str = "unfinished"
    cause: str = "unfinished run"
    mark: str = "/var/lib/requorum/lab/run.json"

    def inject(self, nodes: Nodes) -> None:
        run = "29991231t235959z-abcdef"
        content = {"run": run, "token": f"lab-{run}", "phase": "STOPPING", "by": "somebody@elsewhere"}
        script = 'install -d -m 700 "$(dirname "$1")"; [ ! -e "$1" ] || mv -f "$1" "$1.was"; cat >"$1"'
        on_each(
            nodes.all,
            lambda node: node.run(["bash", "-ec", script, "sh", self.mark], stdin=json.dumps(content).encode()),
        )

    def heal(self, nodes: Nodes) -> None:
        _shell(nodes.all, 'rm -f "$1"; [ ! -e "$1.was" ] || mv -f "$1.was" "$1"', self.mark)


@dataclass(frozen=True)
class Dark:
    """A majority of the machines is off: nobody can say whether quorum is lost."""

    name: str = "dark"
    cause: str = "quorum unknown"

    def inject(self, nodes: Nodes) -> None:
        on_each(faults.majority(nodes), faults.power_off)

    def heal(self, nodes: Nodes) -> None:
        on_each(faults.majority(nodes), faults.power_on)


@dataclass(frozen=True)
class Cut:
    """The last member does not reach its peers."""

    name: str = "cut"
    cause: str = "network cut"

    def inject(self, nodes: Nodes) -> None:
        faults.Partition().inject(nodes, _last(nodes))
        faults.await_members_down(nodes, _last(nodes))

    def heal(self, nodes: Nodes) -> None:
        faults.Partition().heal(nodes, _last(nodes))


AILMENTS: tuple[Ailment, ...] = (
    Scripts(
        "lost",
        "quorum lost",
        f'{DATA}systemctl stop "$1"; mv "$data" "$data.away"',
        f'{DATA}mv "$data.away" "$data"; {START}',
        majority=True,
    ),
    Scripts("stopped", "quorum restartable", 'systemctl stop "$1"', START, majority=True),
    Dark(),
    Scripts(
        "owner",
        "wrong owner",
        f'{DATA}chown -R root:root "$data"; {RESTART}',
        f'{DATA}chown -R etcd:etcd "$data"; {RESTART}',
    ),
    Forged("expired", "certificates expired", "20200101000000Z", "20210101000000Z", "trusted"),
    Forged("forged", "certificates mismatched", "20200101000000Z", "20990101000000Z", ""),
    OtherAddress(),
    Scripts("full", "disk full", FILL, DRAIN, majority=True),
    NoSpace(),
    Altered(),
    Scripts(
        "torn",
        "corrupt member",
        f'{DATA}systemctl stop "$1"; cp -a "$data/member/snap/db" /var/lib/etcd/db.was; '
        f'dd if=/dev/zero of="$data/member/snap/db" bs=4096 count=8 conv=notrunc status=none; {RESTART}',
        f'{DATA}systemctl stop "$1"; mv -f /var/lib/etcd/db.was "$data/member/snap/db"; {START}',
    ),
    Quiet("split", "split cluster IDs", SPLIT, UNSPLIT),
    StaleMember(),
    Quiet("clock", "clock difference", CLOCK, "rm /usr/local/bin/date"),
    Scripts("masked", "service masked", faults.MASK + '; systemctl stop "$1"', f"{faults.UNMASK}; {START}"),
    WrongPasswords(),
    UnfinishedRun(),
    Cut(),
)


def by_name(name: str) -> Ailment:
    """The ailment called `name`; raises KeyError."""
    return {ailment.name: ailment for ailment in AILMENTS}[name]
