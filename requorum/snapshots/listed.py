"""Every backup of an inventory with what is known of it, what a recovery would say to it, what a rotation will do."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path

from requorum.cluster.lineage import Lineage
from requorum.inventory import Inventory
from requorum.snapshots import age, files, offsite, proven, ranking, rotation
from requorum.snapshots.directory import UNUSED
from requorum.snapshots.family import Family
from requorum.snapshots.ranking import DIRECTORY, Candidate
from requorum.snapshots.vault import BackupError, Vault, pin_of


@dataclass(frozen=True)
class Listed:
    """One file. `tonight`: what a recovery of the cluster that was backed up last would say to it; `rotation`: why it
    stays or that it goes, "" where that is no business of ours; `proven` None: never booted; `off_site`: when it
    was sent and read back, None: never, as far as is known here."""

    file: str
    taken: str
    hours: float | None
    bytes: int | None
    revision: int | None
    keys: int | None
    lineage: str
    good: bool
    tonight: str
    rotation: str
    proven: str | None
    proven_on: str | None
    off_site: str | None
    pinned: bool


def of(inventory: Inventory, now: datetime) -> list[Listed]:
    """The best first, each verified. Raises `BackupError` where the inventory names no directory."""
    vault = Vault(inventory)
    found = files.of_files(inventory, None, family(files.noted(inventory)))
    chosen, rows = ranking.rank(found, family(found))
    old = age.too_old(inventory, chosen, now)
    if chosen and old:
        rows = (replace(chosen, verdict=f"{chosen.verdict}, on your word alone: {old}"), *rows[1:])
    known = {row.path: row for row in found}
    backups = vault.backups(known)
    keep, going = inventory.snapshot.keep, vault.rotation(backups, now)
    stays = rotation.kept(backups, keep.most_recent, vault.periods)
    fates = {b.name: _fate(b, stays, going) for b in backups}
    backed_up = [row for row in rows if row.kind != DIRECTORY and not (row.problem or "").startswith(UNUSED)]
    return [_row(row, now, fates.get(Path(row.path).name, "")) for row in backed_up]


def family(rows: Sequence[Candidate]) -> Family:
    """That of the cluster which was backed up last: whose data is wanted no host was asked."""
    noted = [row for row in rows if row.note]
    last = max(noted, key=lambda row: (row.note.number if row.note else 0, row.taken), default=None)
    return Family((last.lineage,)) if last and last.lineage and last.lineage != Lineage() else Family()


def _fate(backup: rotation.Backup, stays: dict[str, str], going: rotation.Rotation) -> str:
    if backup.name in going.removed:
        return "goes with the next backup"
    if backup.name in stays:
        return f"stays: {stays[backup.name]}"
    if backup.another:
        return "stays for now: of another history"
    if not backup.good:
        return "stays: pinned" if backup.pinned else "stays: bad, kept as evidence"
    return f"would go, but {going.paused}" if going.paused else "goes with one of the next backups"


def _row(row: Candidate, now: datetime, fate: str) -> Listed:
    path, note = Path(row.path), row.note
    told = proven.read(path, row.source.sha256 if row.source else note.sha256 if note else None)
    away = offsite.sent(path)
    hours = round((now - datetime.fromisoformat(row.taken)).total_seconds() / 3600, 2) if row.taken else None
    return Listed(
        row.path,
        row.taken,
        hours,
        row.bytes,
        row.revision,
        row.keys,
        str(row.lineage) if row.lineage else "unknown",
        row.source is not None,
        row.verdict or "not chosen",
        fate,
        told.at if told else None,
        told.host if told else None,
        away.at if away else None,
        pin_of(path).exists(),
    )


def text(inventory: Inventory, now: datetime, as_json: bool) -> str:
    rows = of(inventory, now)
    if as_json:
        content = {"schema": 1, "cluster": inventory.cluster, "backups": [asdict(row) for row in rows]}
        return json.dumps(content, indent=2, ensure_ascii=False)
    if not rows:
        return f"{inventory.snapshot.directory}: no backup"
    return "\n".join(line for row in rows for line in _lines(row))


def _lines(row: Listed) -> list[str]:
    age = "age not known" if row.hours is None else f"{row.hours:.1f} h old"
    numbers = [(row.bytes, "bytes"), (row.revision, "revision"), (row.keys, "keys")]
    known = [f"{n:,} {word}" if word != "revision" else f"{word} {n:,}" for n, word in numbers if n is not None]
    known += ["keys not counted"] if row.keys is None else []
    seen = f"proven {row.proven} on {row.proven_on}" if row.proven else "never proven"
    away = f"off-site since {row.off_site}" if row.off_site else "not off-site"
    pinned = ["pinned"] if row.pinned else []
    return [
        f"{row.file}: {', '.join((age, *known))}, lineage {row.lineage}",
        f"    tonight: {row.tonight}",
        f"    {'; '.join((seen, away, *pinned, *([row.rotation] if row.rotation else [])))}",
    ]


def pin(inventory: Inventory, name: str, keep: bool) -> str:
    """Pins a backup of the directory, or lets it go again. Raises `BackupError` for a name that is none."""
    directory = Vault(inventory).directory
    path = directory / name
    if path.name != name or not path.is_file():
        raise BackupError(
            str(directory),
            f"holds no backup {name!r}",
            "name one that is listed: python -m requorum backups list --hosts=NAME",
        )
    if keep:
        pin_of(path).touch(mode=0o600)
        return f"{path}: pinned, no rotation removes it"
    pin_of(path).unlink(missing_ok=True)
    return f"{path}: not pinned"
