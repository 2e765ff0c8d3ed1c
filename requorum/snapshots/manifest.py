"""The note beside a backup, `NAME.snap.json`: what it is, so that a night later nobody has to guess.

It never makes a bad file good: `snapshot.verify` and the file's own contents come first, and a manifest that
contradicts them is a finding. Written before the backup gets its name, so that no backup stands there without one.
"""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from requorum.cluster.lineage import Lineage
from requorum.hosts.packed import PACKED
from requorum.refusal import Refusal
from requorum.snapshots.snapshot import Fingerprint

SCHEMA = 1
_FILE, _SHA256 = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,250}"), re.compile(r"[0-9a-f]{64}")
MOST = (1 << 63) - 1  # of etcd's revisions
MOST_BYTES = 1 << 20


class ManifestError(Refusal):
    """A manifest is there and cannot be read."""


@dataclass(frozen=True)
class Sealed:
    """What was made of the verified file to be sent away: its name there, encrypted where that ends so, and its own
    SHA-256 and size. That it arrived, `NAME.snap.offsite.json` says."""

    name: str
    sha256: str
    bytes: int


@dataclass(frozen=True)
class Manifest:
    """One backup. `bytes` and `sha256` of the whole file, `taken` RFC 3339 in UTC, `keys` as the member counted them at
    `revision`, None where it did not, as in older manifests; `entries`: what `snapshot status` of `etcd` calls keys, in
    3.4 and 3.5 all revisions of each, and what is none. `member` the endpoint that it was saved from, `bumps` what our
    own runs added to `revision`.
    `fingerprint`: what that member said of its data at that revision; None where it did not say. `number`: the how
    many-th backup of its directory, an order that no clock can change; 0 in manifests from before there was one.
    `another`: its data began anew, so it is of another history than the backups of its lineage before it. `history`:
    how many such ones the operator's word had made the lineage's own by then. `lived`: it is of a cluster whose run was
    never closed, and somebody else had written into it; `alone`: of such a one, and nobody had. `authentication`:
    whether it was on; None where it is not told, as in older manifests. `places`: (host, data directory, where its file
    system is mounted) of each member that told; none in older manifests. `sealed`: what was made of it to be sent
    away; None where nothing was. `also`: the encrypted archive of `backup.also` that belongs to it."""

    cluster: str
    sha256: str
    bytes: int
    lineage: Lineage
    bumps: int
    revision: int
    keys: int | None
    etcd: str
    taken: str
    member: str
    fingerprint: Fingerprint | None = None
    number: int = 0
    history: int = 0
    another: bool = False
    lived: bool = False
    alone: bool = False
    authentication: bool | None = None
    places: tuple[tuple[str, str, str], ...] = ()
    sealed: Sealed | None = None
    also: Sealed | None = None
    entries: int = 0

    def text(self) -> str:
        told = {name: value for name, value in asdict(self).items() if name not in ("sealed", "also") or value}
        return json.dumps({"schema": SCHEMA, **told}, indent=2) + "\n"


def path_of(snapshot: Path) -> Path:
    return snapshot.with_name(f"{snapshot.name}.json")


def of_file(snapshot: Path) -> Manifest | None:
    """The same of a file that may have been packed since: then its manifest has kept its name."""
    note = read(snapshot)
    return read(snapshot.with_suffix("")) if note is None and snapshot.suffix.lower() in PACKED else note


def read(snapshot: Path) -> Manifest | None:
    """The manifest of a snapshot; None where there is none. Raises `ManifestError` for one that cannot be read."""
    path = path_of(snapshot)
    try:
        if not stat.S_ISREG((status := path.stat()).st_mode) or status.st_size > MOST_BYTES:
            raise ValueError("it is not a regular file of a manifest's size")
        data = json.loads(path.read_text(encoding="utf-8"))
        schema = data.pop("schema")
        if schema != SCHEMA:
            raise ValueError(f"schema {schema}")
        told = data.get("fingerprint")  # younger than the rest: many a backup has none
        fingerprint = Fingerprint(**told) if told else None
        number = int(data.get("number", 0))
        lineage = _lineage(**data["lineage"])
        if datetime.fromisoformat(data["taken"]).tzinfo is None:
            raise ValueError(f"taken {data['taken']}, without a time zone")
        if "entries" not in data:  # of before keys were counted: what was called so
            data["entries"], data["keys"] = data["keys"], None
        named = ("bytes", "bumps", "revision", "entries", *(() if data["keys"] is None else ("keys",)))
        counts = (*(data[name] for name in named), data.get("history", 0), number)
        if not all(type(count) is int and 0 <= count <= MOST for count in counts) or (
            not all(isinstance(data[name], str) for name in ("cluster", "sha256", "etcd", "member"))
            or any(type(data.get(name, False)) is not bool for name in ("another", "lived", "alone"))
            or data.get("authentication") not in (None, True, False)
        ):
            raise ValueError("a value that is none")
        places = tuple(_place(of) for of in data.get("places", ()))
        sealed = _sealed(data["sealed"]) if data.get("sealed") else None
        also = _sealed(data["also"]) if data.get("also") else None
        known = {"lineage": lineage, "fingerprint": fingerprint, "number": number, "places": places}
        return Manifest(**{**data, **known, "sealed": sealed, "also": also})
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ManifestError(
            str(path),
            f"cannot be read: {error}",
            "give that manifest another name: the snapshot beside it can still be verified without it",
        ) from None


def _sealed(of: dict[str, object]) -> Sealed:
    found = Sealed(**of)  # type: ignore[arg-type]
    if not _FILE.fullmatch(found.name) or not _SHA256.fullmatch(found.sha256) or type(found.bytes) is not int:
        raise ValueError("what was sealed is none")
    return found


def _lineage(token: object = None, cluster_id: object = None) -> Lineage:
    if isinstance(token, str | None) and (
        cluster_id is None or (type(cluster_id) is int and 0 <= cluster_id < 1 << 64)
    ):
        return Lineage(token, cluster_id)
    raise ValueError("a lineage that is none")


def _place(of: Sequence[str]) -> tuple[str, str, str]:
    host, directory, mount = of
    if not all(isinstance(word, str) and word.isprintable() for word in of):
        raise ValueError("a place that is none")
    return host, directory, mount
