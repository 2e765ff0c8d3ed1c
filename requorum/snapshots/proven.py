"""The note beside a backup that was booted and proven, `NAME.snap.proof.json`: when, where, with what."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from requorum.hosts.packed import PACKED

SCHEMA = 1


@dataclass(frozen=True)
class Proven:
    """`sha256` of the plain snapshot that was proven, `at` RFC 3339 in UTC, `host` that booted it, `etcd` its version,
    `run` whose evidence has the proof, `uncompared`: proofs that could not be given."""

    sha256: str
    at: str
    host: str
    etcd: str
    run: str
    uncompared: tuple[str, ...] = ()

    def text(self) -> str:
        return json.dumps({"schema": SCHEMA, **asdict(self)}, indent=2) + "\n"


def path_of(snapshot: Path) -> Path:
    """Of a file that may have been packed since: the note has kept the plain name, as the manifest has."""
    plain = snapshot.with_suffix("") if snapshot.suffix.lower() in PACKED else snapshot
    return plain.with_name(f"{plain.name}.proof.json")


def read(snapshot: Path, sha256: str | None = None) -> Proven | None:
    """None where there is none, or none that can be read, or it is of other bytes than `sha256`."""
    try:
        data = json.loads(path_of(snapshot).read_text(encoding="utf-8"))
        if data.pop("schema") != SCHEMA or datetime.fromisoformat(data["at"]).tzinfo is None:
            return None
        found = Proven(**{**data, "uncompared": tuple(data.get("uncompared", ()))})
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return found if sha256 is None or found.sha256 == sha256 else None


def last(snapshots: Iterable[Path]) -> Proven | None:
    """The newest of all."""
    found = [note for path in snapshots if (note := read(path))]
    return max(found, key=lambda note: datetime.fromisoformat(note.at), default=None)
