"""What a diagnosis rests on: everything that was found on the hosts, in one value.

`examination` fills it, `causes` reads it. Whatever could not be asked is None or absent, never a guess: a cause may
only rest on what was seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from requorum.cluster.etcd import MemberConfig
from requorum.cluster.peers import DataHash
from requorum.cluster.quorum import MemberFacts, Verdict
from requorum.hosts.certificates import Checked
from requorum.hosts.clock import Reading
from requorum.hosts.systemd import Unit
from requorum.inventory import Inventory, Member
from requorum.run import marker
from requorum.run.marker import Marker, Outlived
from requorum.snapshots.ranking import Candidate


@dataclass(frozen=True)
class Disk:
    """Where the data lies: bytes and files that can still be made there."""

    mount: str
    free: int
    free_files: int | None
    read_only: bool = False


@dataclass(frozen=True)
class EtcdSheet:
    """One machine that is, was or should be a member. `said`: the last lines of its unit's journal."""

    unit: Unit
    config: MemberConfig | None = None
    config_problem: str = ""
    addresses: tuple[str, ...] = ()
    has_data: bool = False
    disk: Disk | None = None
    foreign: tuple[str, ...] = ()
    certificates: tuple[Checked, ...] = ()
    has_leader: bool | None = None
    revision: int | None = None
    health: str = ""
    cluster_id: str | None = None
    hash: DataHash | None = None
    said: tuple[str, ...] = ()

    @property
    def serves(self) -> bool:
        return bool(self.has_leader)


@dataclass(frozen=True)
class Sheet:
    """`silent`: host → why it could not be asked. `members` are those of the cluster that is installed now, `stale`
    old ones that are none of them any more, by address the hosts that still get an answer there. `logins`: role → None
    if it logs in, else etcd's words. `unseen`: what could not be looked at, as sentences. `backups`: as their manifests
    say."""

    inventory: Inventory
    name: str
    members: tuple[Member, ...]
    verdict: Verdict
    silent: Mapping[str, str] = field(default_factory=dict)
    etcd: Mapping[str, EtcdSheet] = field(default_factory=dict)
    clocks: Mapping[str, Reading] = field(default_factory=dict)
    marks: Mapping[str, Marker | None] = field(default_factory=dict)
    stale: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    alarms: tuple[str, ...] = ()
    logins: Mapping[str, str | None] = field(default_factory=dict)
    password_differences: tuple[str, ...] = ()
    deephaven_down: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    unseen: tuple[str, ...] = ()
    outlived: Outlived = marker.NOTHING
    backups: tuple[Candidate, ...] = ()

    @cached_property
    def facts(self) -> Mapping[str, MemberFacts]:
        """By host, the fact sheet that the verdict was made from."""
        return {facts.member.host: facts for facts in self.verdict.members}

    @cached_property
    def installed(self) -> dict[str, EtcdSheet]:
        """The sheets of the members' machines that answered."""
        return {m.host: self.etcd[m.host] for m in self.members if m.host in self.etcd}

    @property
    def unit(self) -> str:
        return self.inventory.etcd.unit
