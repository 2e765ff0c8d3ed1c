"""What the recovery's steps have established, for the steps after them; every rerun establishes it again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from requorum.cluster import settings
from requorum.cluster.authentication import Authentication
from requorum.cluster.etcd import MemberConfig, Tools, address
from requorum.cluster.etcdctl import Database, Status
from requorum.cluster.quorum import Installed, Kind, Verdict
from requorum.cluster.sandbox import WAL_BYTES
from requorum.hosts.failure import FleetError
from requorum.inventory import Inventory
from requorum.recovery.probes import Reached
from requorum.recovery.proofs.machines import Supervised
from requorum.recovery.trial import Asked, Trial
from requorum.run import estimate, facts, measured
from requorum.run.dryrun import Planning
from requorum.run.estimate import Estimate
from requorum.run.history import Told
from requorum.run.marker import Phase
from requorum.run.run import Run, Section
from requorum.snapshots.snapshot import Source
from requorum.snapshots.sources import Sources


@dataclass
class Progress:
    """Each field by the step that its comment names."""

    sources: Sources = field(default_factory=Sources)
    runs: Mapping[str, Told] | None = None  # Step 0, and anew Step 1: what hosts said of runs; None: not asked
    installed: dict[str, Installed] = field(default_factory=dict)  # the same of old members' units and configurations
    verdict: Verdict | None = None  # Step 0; None while an unfinished run is carried on
    tools: dict[str, Tools] = field(default_factory=dict)  # Step 0, by host
    estimate: Estimate | None = None  # Step 0: how long all of it will take
    settings: dict[str, str] = field(default_factory=dict)  # Step 0: of the old configuration, to be kept
    supervised: Supervised = field(default_factory=dict)  # Step 1: with Deephaven off
    new_configs: dict[str, MemberConfig] = field(default_factory=dict)  # Step 2, by host
    roles: tuple[str, ...] = ()  # Step 2
    installed_new: dict[str, MemberConfig] = field(default_factory=dict)  # Step 4, by host: as its Given found them
    trial: Trial | None = None  # Step 2
    ahead: tuple[str, ...] = ()  # Step 2: new members whose data is restored already, beside its place
    restored: dict[str, Database | str] = field(default_factory=dict)  # Step 2: what was restored just now, by host
    unrestored: dict[str, FleetError] = field(default_factory=dict)  # Step 2: why one of them has none, by host
    status: list[Status] = field(default_factory=list)  # Step 5
    beside: list[Status] = field(default_factory=list)  # Step 5: the same, asked with the members' health
    hashes: dict[str, tuple[int, int]] = field(default_factory=dict)  # Step 5: endpoint → (revision, hash)
    keys: int | None = None  # Step 5
    asked: Asked = field(default_factory=Asked)  # Step 5: what the comparison with the trial need not ask again
    compacted: int | None = None  # Step 5: up to which revision, when the data was as the trial's
    reached: Reached | None = None  # Step 5: how far the probe's own writes brought the store

    @classmethod
    def begin(cls, run: Run) -> Progress:
        """Nothing yet; hands its part of the summary in, and what a plan supposes where quorum is not lost."""
        progress = cls()
        run.hand_in(Section(partial(progress.fields, run.inventory), partial(progress.closing, run)))
        if isinstance(run, Planning) and not run.options.rebuild:
            run.suppose = progress.suppose_lost
        return progress

    @property
    def endpoint(self) -> str:
        """A member that answered, and tells of the others."""
        return self.status[0].endpoint if self.status else ""

    @property
    def bytes(self) -> int:
        """How much is to be restored, as far as that is known."""
        if self.sources.source is not None:
            return self.sources.source.bytes
        return max((member.data_bytes for member in self.verdict.members), default=0) if self.verdict else 0

    @property
    def authentication(self) -> Authentication:
        """How the trial found it, so that it must be so in the new cluster."""
        return self.trial.authentication if self.trial else Authentication()

    def outside(self, run: Run) -> dict[str, str | None]:
        """User → a key that is closed to it, as the trial found it; of nobody once Deephaven may have changed users."""
        return self.trial.outside if self.trial and run.mark.phase < Phase.POWERING_ON else {}

    def copies(self, run: Run) -> dict[str, int]:
        """host → about how many bytes of an old member's data will be copied for a salvage."""
        given_up = run.options.accepted.hosts("without")
        if self.verdict is None or self.verdict.kind is Kind.INTACT:
            return {}
        return {
            f.member.host: f.data_bytes + WAL_BYTES
            for f in self.verdict.members
            if f.data_bytes and f.member.host not in given_up
        }

    def keep_settings(self, run: Run) -> dict[str, MemberConfig]:
        """What the inventory wants kept of the old configuration, wherever that is told; returns that, by host."""
        hosts = [member.host for member in run.terms.old_members]
        told = {disk.host: disk.config for disk in self.sources.disks if disk.installed}
        told |= {host: config for host, config in facts.old_configs(run, hosts, self.installed).items() if config}
        self.settings = settings.kept(run.inventory.etcd.keep_settings, told)
        return told

    def foresee(self, run: Run) -> Estimate:
        """How long all of it will take, for the end's comparison too; not of a run that is carried on."""
        found = estimate.whole(self.bytes, len(run.inventory.members), measured.known(*_evidence(run)))
        self.estimate = None if run.carrying_on else found
        return replace(found, told=f"{found.told}; some of it is done already") if run.carrying_on else found

    def rest(self, run: Run) -> Estimate:
        """How long it will take from here on, at the commit prompt."""
        return estimate.rest(self.sources.chosen.bytes, run.seconds, measured.known(*_evidence(run)))

    def closing(self, run: Run) -> list[str]:
        """Of a run that came to its end."""
        done = run.acts and run.mark.phase is Phase.DONE
        return [line for line in (estimate.compared(self.estimate, run.seconds),) if line and done]

    def bump(self, run: Run) -> int:
        """By how much a restore raises revisions: etcd can, or cannot, on all new members."""
        return run.inventory.etcd.revision_bump if all(tools.bumps for tools in self.tools.values()) else 0

    def advance(self, run: Run, phase: Phase | None = None, source: Source | None = None) -> None:
        """Marks on every host how far the run gets from here, and which data it restores where that is chosen now."""
        mark = run.mark
        if phase is not None:
            mark = replace(mark, phase=max(phase, mark.phase))
        if source is not None:
            mark = replace(mark, snapshot=source.sha256, origin=source.kind, taken=source.taken)
        self.sources.birth = self.sources.birth_of(mark, source, self.bump(run))
        run.advance(mark, self.sources.birth)

    def suppose_lost(self) -> None:
        """The rest is planned as if quorum were lost."""
        if self.verdict is not None:
            self.verdict = replace(self.verdict, kind=Kind.LOST)

    def fields(self, inventory: Inventory) -> dict[str, object]:
        """Of `summary.json`."""
        told = self.estimate.fields() if self.estimate else None
        return {**self.sources.fields(self.keys), "members": self._members(inventory), "estimate": told}

    def _members(self, inventory: Inventory) -> list[dict[str, object]]:
        by_ip = {member.ip: member for member in inventory.members}
        rows: list[dict[str, object]] = []
        for status in self.status:
            ip = address(status.endpoint).host
            member = by_ip.get(ip)
            revision, digest = self.hashes.get(status.endpoint, (status.revision, None))
            rows.append(
                {
                    "name": member.name if member else None,
                    "ip": ip,
                    "version": status.version,
                    "revision": revision,
                    "hash": digest,
                }
            )
        order = [member.name for member in inventory.members]
        return sorted(rows, key=lambda row: order.index(str(row["name"])) if row["name"] in order else len(order))


def _evidence(run: Run) -> tuple[Path, Path]:
    """Of all runs of this cluster, and this one's."""
    return run.journal.directory.parent, run.journal.directory
