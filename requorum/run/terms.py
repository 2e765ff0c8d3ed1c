"""What a plan is made from besides facts: the inventory, the run's mark, and who takes part. No host is touched."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from requorum.inventory import Inventory, Member
from requorum.run import history, marker
from requorum.run.marker import Marker
from requorum.snapshots.ranking import ON_DISK


@dataclass(frozen=True)
class Terms:
    """`gone` are hosts that no longer exist, by the operator's word; they are left out of every list here."""

    inventory: Inventory
    mark: Marker
    gone: tuple[str, ...] = ()

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
