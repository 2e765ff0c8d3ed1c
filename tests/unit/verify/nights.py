"""Backups with manifests, a running cluster and what a boot says, all as of a good night."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from requorum.cluster.etcdctl import Status
from requorum.cluster.lineage import Lineage
from requorum.cluster.sandbox import Answers
from requorum.snapshots import manifest
from requorum.snapshots.manifest import Manifest
from requorum.snapshots.ranking import Candidate
from requorum.snapshots.snapshot import Fingerprint, Source
from requorum.verify.live import Live

OURS = Lineage("old", 7)
NOTE = Manifest(
    "lab",
    "ab" * 32,
    1000,
    OURS,
    0,
    120,
    21_000,
    "3.5.16",
    "2026-11-27T02:30:00Z",
    "https://10.0.0.11:2379",
    Fingerprint(120, 5, 4711, "3.5.16"),
    number=3,
    authentication=True,
)
ROLES = ("query", "root")
GOOD = Answers(
    revision=120,
    hashes={"https://127.0.0.1:20001": (4711, 5)},
    users=("dh-query", "root"),
    roles=("query", "root"),
    counts=(21_000,),
    leases=2,
    logins={"root": "", "query": ""},
    wrong={"root": "authentication failed", "dh-query": "authentication failed"},
)


def noted(number: int, **fields: Any) -> Manifest:
    """The backup of so manieth night."""
    return replace(NOTE, number=number, revision=100 + number, taken=f"2026-11-{number:02}T02:30:00Z", **fields)


def kept(directory: Path, note: Manifest, name: str = "") -> Path:
    """Its file, which is none that etcd could read, and its manifest."""
    path = directory / (name or f"lab-{note.number}.snap")
    path.write_bytes(b"x")
    manifest.path_of(path).write_text(note.text())
    return path


def good(row: Candidate) -> Candidate:
    """As if it had been looked into, and was whole."""
    source = Source("file", None, row.path, "ab" * 32, row.bytes or 0, row.taken, row.revision, row.keys, row.lineage)
    return replace(row, source=source)


def bad(row: Candidate) -> Candidate:
    return replace(row, problem="does not match the SHA-256 at its end: it was altered or damaged")


def status(number: int, leader: int = 1, **fields: Any) -> Status:
    return replace(
        Status(f"https://10.0.0.{10 + number}:2379", 7, number, leader, 130 + number, "3.5.16", ()), **fields
    )


def live(*statuses: Status, **health: str | None) -> Live:
    found = statuses or tuple(map(status, (1, 2, 3)))
    return Live(found, {one.endpoint: None for one in found} | health)
