"""Which cluster some data belongs to: its lineage, how it is told from disk, and which lineages may be restored.

A lineage is a token and a cluster ID. The token stands in `config.yaml`, the cluster ID at the head of every WAL file,
and both can be told from the members that a snapshot itself lists, since etcd derives IDs from peer URLs and the token.
Each run of ours makes a new cluster, so it leaves a birth record on the hosts: from which data, and by how much the
revision was bumped. Pure functions only; `sources` asks the hosts, `choice` decides.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from requorum.command import Result, look
from requorum.hosts.question import Question, plain

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
        known = [plain(self.token or ""), f"{self.cluster_id:x}" if self.cluster_id is not None else ""]
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


# -- on a host ---------------------------------------------------------------------------------------------------


def ask_wal(host: str, data_dir: str, wal_dir: str = "") -> Question[int | None]:
    """The cluster ID at the head of the oldest WAL file; None where there is no WAL or its head is damaged. It never
    changes, so a running etcd does not matter. `wal_dir`: where the log is, "" where it is in the data directory."""
    files = '"$0"/*.wal' if wal_dir else '"$0"/member/wal/*.wal'
    script = f'for file in {files}; do head -c {WAL_HEAD} "$file" | base64 -w 0; break; done'
    command = look(host, "sh", "-c", script, wal_dir or data_dir, why="cluster ID of the data on disk")
    return Question(command, lambda answer: _read_wal(answer.stdout)[1])


def of_member(head: Result) -> int | None:
    """Whose log it is: the member's ID, of the same answer. Two members never have the same one."""
    return _read_wal(head.stdout)[0]


def _read_wal(text: str) -> tuple[int | None, int | None]:
    """The member's and the cluster's ID; None for what is not told.

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
                found = _fields(metadata) if isinstance(metadata, bytes) else {}
                member, cluster = (number if isinstance(number := found.get(n), int) else None for n in (1, 2))
                return member, cluster
            at += 8 + length + padding
    except (ValueError, IndexError):
        pass
    return None, None


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
