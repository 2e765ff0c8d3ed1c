"""Which cluster some data belongs to: its lineage, how it is told from disk, and which lineages may be restored.

A lineage is a token and a cluster ID. The token stands in `config.yaml`, the cluster ID at the head of every WAL file,
and both can be told from the members that a snapshot itself lists, since etcd derives IDs from peer URLs and the token.
Each run of ours makes a new cluster, so it leaves a birth record on the hosts: from which data, and by how much the
revision was bumped. Pure functions only; `catalogue` asks the hosts, `ranking` chooses.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

from requorum.command import Command, act, look
from requorum.run import marker
from requorum.run.marker import Phase
from requorum.snapshots.bolt import Member

WAL_HEAD = 512  # bytes that surely hold the metadata record


@dataclass(frozen=True)
class Lineage:
    """`token` None or `cluster_id` None: that part is not known."""

    token: str | None = None
    cluster_id: int | None = None

    def agrees(self, other: Lineage) -> bool:
        """Whether both mean one cluster: they share a known part and contradict each other in none."""
        pairs = [(self.token, other.token), (self.cluster_id, other.cluster_id)]
        known = [(a, b) for a, b in pairs if a is not None and b is not None]
        return bool(known) and all(a == b for a, b in known)

    def with_parts_of(self, other: Lineage) -> Lineage:
        """What is not known here, taken from `other`."""
        return Lineage(
            self.token if self.token is not None else other.token,
            self.cluster_id if self.cluster_id is not None else other.cluster_id,
        )

    def __str__(self) -> str:
        known = [self.token or "", f"{self.cluster_id:x}" if self.cluster_id is not None else ""]
        return " ".join(part for part in known if part) or "unknown"


# -- etcd's own arithmetic (server/etcdserver/api/membership: computeMemberId, genID) ----------------------------


def member_id(peer_urls: Iterable[str], token: str) -> int:
    """The ID of a member that the cluster was formed with; one that was added later has another."""
    joined = "".join(sorted(peer_urls)) + token
    return int.from_bytes(hashlib.sha1(joined.encode()).digest()[:8], "big")


def cluster_id(member_ids: Iterable[int]) -> int:
    """The ID of a cluster that was formed by these members."""
    joined = b"".join(number.to_bytes(8, "big") for number in sorted(member_ids))
    return int.from_bytes(hashlib.sha1(joined).digest()[:8], "big")


def of_members(members: Sequence[Member], known: Iterable[Lineage]) -> Lineage | None:
    """The lineage of a snapshot by the members in it; None where it lists none.

    One of `known` whose token gives the ID of any member is proven. Else it is the cluster ID that these members have
    if they formed the cluster, which is another one's, or cannot be told any more after changes of membership.
    """
    if not members:
        return None
    for lineage in known:
        if lineage.token and any(member_id(m.peer_urls, lineage.token) == m.id for m in members):
            return lineage
    return Lineage(None, cluster_id(m.id for m in members))


# -- on a host ---------------------------------------------------------------------------------------------------


def ask_wal(host: str, data_dir: str) -> Command:
    """The first bytes of the oldest WAL file; they never change, so a running etcd does not matter."""
    script = f'for file in "$0"/member/wal/*.wal; do head -c {WAL_HEAD} "$file" | base64 -w 0; break; done'
    return look(host, "sh", "-c", script, data_dir, why="cluster ID of the data on disk")


def parse_wal(text: str) -> int | None:
    """The cluster ID in the answer to `ask_wal`; None where there is no WAL or its head is damaged.

    A record is 8 bytes of length, of which the low 56 bits count and the top byte tells the padding, then a protocol
    buffer (type, checksum, data), padded to 8 bytes. Record type 1 is metadata: node ID, cluster ID.
    """
    try:
        data = base64.b64decode(text.strip(), validate=True)
        at = 0
        while at + 8 <= len(data):
            length = int.from_bytes(data[at : at + 7], "little")
            padding = data[at + 7] & 0x07 if data[at + 7] & 0x80 else 0
            record = _fields(data[at + 8 : at + 8 + length])
            if record.get(1) == 1:
                metadata = record.get(3)
                found = _fields(metadata).get(2) if isinstance(metadata, bytes) else None
                return found if isinstance(found, int) else None
            at += 8 + length + padding
    except (ValueError, IndexError):
        return None
    return None


def _fields(data: bytes) -> dict[int, int | bytes]:
    """The fields of a protocol buffer message with numbers and byte strings only."""
    found: dict[int, int | bytes] = {}
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        value, at = _varint(data, at)
        if key & 7 == 2:
            if at + value > len(data):
                raise ValueError("cut off")
            found[key >> 3] = data[at : at + value]
            at += value
        elif key & 7 == 0:
            found[key >> 3] = value
        else:
            raise ValueError(f"wire type {key & 7}")
    return found


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
    raise ValueError("a number without end")


# -- births: the clusters that our own runs made -----------------------------------------------------------------


@dataclass(frozen=True)
class Birth:
    """A cluster that a run of ours made: its token, from whose data, `bumps` of its revision by us, all of them added.

    `phase` tells how far the run got: only from `POWERING_ON` on may Deephaven have written into it.
    """

    token: str
    run: str
    phase: Phase
    sha256: str
    parent: Lineage | None
    bumps: int

    @property
    def alive(self) -> bool:
        return self.phase >= Phase.POWERING_ON


def write_birth(host: str, cluster: str, birth: Birth) -> list[Command]:
    """Notes the birth in the run's own directory, in one step; it stays there when the run is long over."""
    final = f"{marker.directory(cluster, birth.run)}/birth.json"
    content = json.dumps({**asdict(birth), "phase": birth.phase.name}) + "\n"
    return [
        Command(
            host,
            ("dd", f"of={final}.part", "conv=fsync", "status=none"),
            "note from which data the new cluster comes",
            stdin=content.encode(),
        ),
        act(host, "mv", "-fT", f"{final}.part", final, why="the note takes effect"),
    ]


def ask_births(host: str, cluster: str) -> Command:
    """Every run's birth record, one line each."""
    directory = marker.directory(cluster)
    script = 'for file in "$0"/*/birth.json; do [ ! -f "$file" ] || cat "$file"; done'
    return look(host, "sh", "-c", script, directory, why="clusters that earlier runs made")


def parse_births(text: str) -> list[Birth]:
    """One birth a line; a line that cannot be read is as good as none."""
    found = []
    for line in text.splitlines():
        try:
            data = json.loads(line)
            parent = data["parent"]
            born = {**data, "phase": Phase[data["phase"]], "parent": Lineage(**parent) if parent else None}
            found.append(Birth(**born))
        except (ValueError, KeyError, TypeError):
            continue
    return found


def furthest(births: Iterable[Birth]) -> dict[str, Birth]:
    """token → its birth, at the furthest phase that any host knows."""
    found: dict[str, Birth] = {}
    for birth in births:
        if birth.token not in found or birth.phase > found[birth.token].phase:
            found[birth.token] = birth
    return found


# -- the lost cluster's family -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Family:
    """`line`: the lost cluster's lineage, then that of the cluster whose data it was restored from, and so on; empty
    where no host tells. `unborn`: clusters of runs that failed before Deephaven could write. `bumps` by token.
    """

    line: tuple[Lineage, ...] = ()
    unborn: tuple[Lineage, ...] = ()
    bumps: tuple[tuple[str, int], ...] = ()

    @property
    def lost(self) -> Lineage | None:
        return self.line[0] if self.line else None

    def generation(self, lineage: Lineage) -> int | None:
        """0 for the lost cluster's own data, 1 for what it was restored from, …; None for anything else."""
        return next((n for n, ours in enumerate(self.line) if ours.agrees(lineage)), None)

    def is_unborn(self, lineage: Lineage) -> bool:
        return any(lineage.agrees(other) for other in self.unborn)

    def bump(self, lineage: Lineage | None, told: int = 0) -> int:
        """By how much our own runs bumped the revisions of this lineage, all of them added; `told` where no host knows
        of its birth."""
        return dict(self.bumps).get(lineage.token or "", told) if lineage else told

    def completed(self, told: Lineage, derived: Lineage | None) -> Lineage:
        """What `told` leaves out, from the lineage of ours that it agrees with, else from the one that the members in
        the data prove; unless that contradicts it."""
        ours = next((lineage for lineage in self.line if lineage.agrees(told)), derived)
        if ours is None or ours.token is None or ours.with_parts_of(told) != told.with_parts_of(ours):
            return told
        return told.with_parts_of(ours)


def family(on_disk: Mapping[str, Lineage], births: Mapping[str, Birth]) -> Family:
    """What most old members' disks say, a failed run's cluster counting as the one whose data it was restored from.

    `on_disk`: host → what its configuration and WAL say. Members that contradict each other equally often tell nothing.
    """
    unborn = [Lineage(birth.token) for birth in births.values() if not birth.alive]
    bumps = tuple((birth.token, birth.bumps) for birth in births.values())
    resolved = [_alive(lineage, births) for lineage in on_disk.values()]
    votes = [lineage for lineage in resolved if lineage is not None and lineage != Lineage()]
    # Members that only know a part vote for the fuller answer that they agree with.
    full = [next((o for o in votes if o.agrees(v) and None not in (o.token, o.cluster_id)), v) for v in votes]
    ranked = Counter(full).most_common()
    if not ranked or (len(ranked) > 1 and ranked[0][1] == ranked[1][1]):
        return Family((), tuple(unborn), bumps)
    line = [ranked[0][0]]
    while (birth := births.get(line[-1].token or "")) is not None:
        parent = _alive(birth.parent, births)
        if parent is None or parent in line:
            break
        line.append(parent)
    return Family(tuple(line), tuple(unborn), bumps)


def _alive(lineage: Lineage | None, births: Mapping[str, Birth]) -> Lineage | None:
    """`lineage`, or the nearest ancestor that Deephaven has written into where it is a failed run's."""
    for _ in range(len(births) + 1):
        birth = births.get(lineage.token or "") if lineage else None
        if birth is None or birth.alive:
            return lineage
        lineage = birth.parent
    return None
