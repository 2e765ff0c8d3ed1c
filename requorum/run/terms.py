"""What a plan is made from besides facts: the inventory, the run's mark, and who takes part. No host is touched."""

from __future__ import annotations

import platform
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import version
from pathlib import Path

from requorum import version as requorum_version
from requorum.cluster import deephaven
from requorum.command import Command
from requorum.deadlines import LONG
from requorum.inventory import Inventory, Member
from requorum.run import history, marker
from requorum.run.accepted import Accepted
from requorum.run.marker import ON_DISK, Marker


@dataclass(frozen=True)
class Terms:
    """`gone` are hosts that no longer exist, by the operator's word; they are left out of every list here. `labels`:
    those whose files have SELinux's."""

    inventory: Inventory
    mark: Marker
    gone: tuple[str, ...] = ()
    labels: frozenset[str] = frozenset()

    @cached_property
    def old_members(self) -> tuple[Member, ...]:
        return tuple(m for m in self.inventory.old_members if m.host not in self.gone)

    @cached_property
    def member_hosts(self) -> tuple[str, ...]:
        return tuple(member.host for member in self.inventory.members)

    @cached_property
    def etcd_hosts(self) -> tuple[str, ...]:
        """Old and new members' machines."""
        old = (member.host for member in self.old_members)
        return tuple(dict.fromkeys((*self.member_hosts, *old)))

    @cached_property
    def deephaven_hosts(self) -> tuple[str, ...]:
        return tuple(h for h in self.inventory.deephaven.hosts if h not in self.gone)

    @property
    def configuration_server(self) -> str:
        return self.inventory.deephaven.configuration_server

    @cached_property
    def everyone(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self.etcd_hosts, *self.deephaven_hosts)))

    @cached_property
    def new_ips(self) -> tuple[str, ...]:
        return tuple(member.ip for member in self.inventory.members)

    def member_on(self, host: str) -> Member:
        return next(member for member in self.inventory.members if member.host == host)

    def place(self, name: str = "") -> str:
        """A path in the run's own directory, the same on every host."""
        return f"{marker.directory(self.inventory.cluster, self.mark.run)}/{name}".rstrip("/")

    @property
    def snapshot_path(self) -> str:
        return self.place("snapshot.db")

    @property
    def skips_hash(self) -> bool:
        """Whether what this run restores carries no hash: a database from a member's disk, the last resort."""
        return self.mark.origin == ON_DISK

    @property
    def aside(self) -> str:
        return self.place("aside")

    @property
    def brought(self) -> str:
        """Where a rollback keeps what the run brought."""
        return self.place("brought")

    @property
    def client_backup(self) -> str:
        return self.place(history.BACKUP)


@dataclass(frozen=True)
class Options:
    """The operator's words on the command line."""

    snapshot: str | None = None
    salvage: str | None = None  # a token
    skip_hash: str | None = None  # a host
    rebuild: bool = False
    gone: tuple[str, ...] = ()
    accepted: Accepted = field(default_factory=Accepted)
    since: str = ""
    evidence: Path = Path("evidence")
    concurrency: int | None = None
    timeout_scale: float = 1.0
    members: str = ""
    off: bool = False
    seconds: int = 0
    operator: str = "unknown"
    hosts: str = "NAME"  # what --hosts was, for commands to paste
    discard: bool = False
    looks: bool = False  # a procedure that only looks: the hosts' syslogs hear nothing of it either
    confirm: str | None = None
    approved: Path | None = None  # the plan.json that a second person approved
    offsite: bool = False
    extract: str = ""  # a prefix of keys
    inventory_sha256: str = ""  # of its file, as it was read

    @property
    def names_data(self) -> bool:
        """Whether the operator says which data is restored, so that a healthy cluster's own is not."""
        return bool(self.snapshot or self.from_disk)

    @property
    def from_disk(self) -> bool:
        """Whether that data is found in Step 1, on members' disks."""
        return bool(self.salvage or self.skip_hash)


# With the distribution's name, as pip knows it.
SHOWN = {"pytest": "pytest", "testinfra": "pytest-testinfra"}


def retire(terms: Terms) -> list[Command]:
    """For each machine that is gone by the operator's word, what takes it out of service should it ever come back.

    Never run from here: nobody can reach it. An old member could still serve clients that know its address.
    """
    inventory = terms.inventory
    members = {member.host for member in inventory.old_members}
    plan: list[Command] = []
    for host in terms.gone:
        if host in inventory.deephaven.hosts:
            plan.append(deephaven.monit(inventory, host, up=False))
        if host in members:
            disable = ("systemctl", "disable", "--now", inventory.etcd.unit)
            plan.append(Command(host, disable, "the old member must not serve old configuration", deadline=LONG))
    return plan


def versions() -> dict[str, str]:
    """Of what runs here; the hosts' own are in the summary."""
    own = {"requorum": requorum_version.told(), "Python": platform.python_version()}
    return {**own, **{name: version(package) for name, package in SHOWN.items()}}


def opening(terms: Terms, operator: str) -> dict[str, object]:
    """The fields of the `run` record."""
    become = terms.inventory.transport.as_root
    return {
        "cluster": terms.inventory.cluster,
        "run": terms.mark.run,
        "operator": operator,
        "versions": versions(),
        "retire": [{"host": c.host, "command": c.for_root(become).line(), "why": c.why} for c in retire(terms)],
    }
