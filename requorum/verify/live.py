"""The running cluster, asked as Deephaven's root: how far it is, who leads, whether all are well. It may be silent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from requorum.cluster import deephaven, etcdctl
from requorum.cluster.etcd import EtcdError, address
from requorum.cluster.etcdctl import Status
from requorum.cluster.lineage import Lineage
from requorum.command import Result
from requorum.hosts.question import Question, plain
from requorum.inventory import Inventory
from requorum.snapshots.bolt import Member
from requorum.snapshots.manifest import Manifest
from requorum.snapshots.ranking import Candidate

LONGEST = 200  # characters of one member


@dataclass(frozen=True)
class Live:
    """`statuses` of the members that answered; `health`: endpoint → None or what is wrong, of all there are."""

    statuses: tuple[Status, ...]
    health: Mapping[str, str | None]

    @property
    def revision(self) -> int:
        return max(status.revision for status in self.statuses)

    @property
    def lineage(self) -> Lineage:
        return Lineage(None, self.statuses[0].cluster_id)

    @property
    def versions(self) -> tuple[str, ...]:
        return tuple(sorted({status.version for status in self.statuses}))


def ask(inventory: Inventory) -> Question[Live | str]:
    """Why it cannot be told, where nobody answers."""

    def read(health: Result, status: Result) -> Live | str:
        try:
            found = Live(tuple(etcdctl.parse_status(status.stdout)), etcdctl.parse_health(health.stdout))
        except EtcdError:
            return f"no member answers an authenticated user: {health.words}"
        if not found.statuses:
            return "no member answers"
        return found if len({one.cluster_id for one in found.statuses}) == 1 else "its members are of several clusters"

    health, status = (
        deephaven.etcdctl(inventory, "endpoint", question, "--cluster", "-w", "json", why=f"{question} of every member")
        for question in ("health", "status")
    )
    return Question((health, status), read)


def refuse_member(inventory: Inventory, host: str, live: Live | str) -> str | None:
    """Why a backup is not booted on this machine: of members' machines only one that is named, does not lead, and whose
    cluster is whole; None for such a one, and for one that is no member's."""
    mine = {m.ip for m in (*inventory.members, *inventory.old_members) if m.host == host}
    if not mine:
        return None
    if inventory.verify.host != host:
        return "it is a member's machine, and verify.host does not name it"
    if isinstance(live, str):
        return f"it is a member's machine, and whether all members are healthy is not known: {live}"
    ill = [f"{endpoint}: {why}" for endpoint, why in live.health.items() if why]
    told = {address(status.endpoint).host for status in live.statuses}
    ill += [f"{member.name} does not answer" for member in inventory.members if member.ip not in told]
    if ill:
        return f"it is a member's machine, and not all members are healthy: {'; '.join(ill)}"
    leads = any(s.member_id == s.leader and address(s.endpoint).host in mine for s in live.statuses)
    return "its member is the leader now" if leads else None


def is_a_members(inventory: Inventory, host: str) -> bool:
    return host in {member.host for member in (*inventory.members, *inventory.old_members)}


@dataclass(frozen=True)
class Behind:
    """What is between a backup and the running cluster: revisions, None where that is not known, and `why` not."""

    revisions: int | None
    why: str = ""


def behind(note: Manifest, live: Live | str) -> Behind:
    if isinstance(live, str):
        return Behind(None, live)
    if not note.lineage.agrees(live.lineage):
        return Behind(None, f"another cluster runs now ({live.lineage}) than the one of this backup ({note.lineage})")
    return Behind(max(live.revision - note.revision, 0))


# -- members that only the backend knows ---------------------------------------------------------------------------

MENDS = (
    "change nothing in a hurry: the cluster works, but an upgrade from etcd 3.5 to 3.6 fails on these "
    "(etcd-io/etcd#20967). Bring every member to etcd 3.5.26 or newer first, which removes them as it starts; so does "
    "a recovery"
)


def zombies(backup: Candidate | None, live: Live | str) -> tuple[Member, ...] | str:
    """Those in a backup's own bucket that the running cluster's list does not have; why that cannot be told."""
    if isinstance(live, str):
        return live
    members = backup.source.members if backup and backup.source else ()
    if not members:
        return "the members in the newest backup were not read"
    if backup and backup.lineage and not backup.lineage.agrees(live.lineage):
        return "the newest backup is of another cluster"
    told = {status.endpoint for status in live.statuses}
    if silent := sorted(live.health.keys() - told):
        return f"not every member answers: {', '.join(silent)}"
    known = {status.member_id for status in live.statuses}
    return tuple(member for member in members if member.id not in known)


def named(members: Sequence[Member]) -> str:
    """For the operator: what their names and addresses say stands in data, so nothing of it is obeyed."""
    return "; ".join(plain(f"{m.name or f'{m.id:x}'} ({', '.join(m.peer_urls)})")[:LONGEST] for m in members)
