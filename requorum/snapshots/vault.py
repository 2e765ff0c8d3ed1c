"""The backup directory on the operator's machine: how a file gets its final name there, and how old ones leave.

It changes this machine only, one backup at a time, and never shows half a file under a final name.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from requorum.hosts.packed import ENC
from requorum.inventory import Inventory, Snapshot
from requorum.refusal import Refusal
from requorum.snapshots import files, manifest, processes, proven
from requorum.snapshots.family import Family
from requorum.snapshots.manifest import Manifest, ManifestError
from requorum.snapshots.ranking import Candidate
from requorum.snapshots.rotation import Backup, Periods, Rotation, rotation

NAMES = "{cluster}-{stamp}.snap"
ALSO = ".also.enc"
DRAFT = ".offsite-"  # what is only here for a while begins so: nothing takes it for a backup
STAMP = r"\d{4}-\d\d-\d\dT\d{6,}(?:Z|[+-]\d{4})"  # RFC 3339 without colons and points


NOTHING: Mapping[str, Candidate] = {}


def pin_of(snapshot: Path) -> Path:
    """The file, empty, by which somebody keeps a backup for good."""
    return snapshot.with_name(f"{snapshot.name}.pin")


def also_of(snapshot: Path) -> Path:
    """The encrypted archive of `backup.also` beside it."""
    return snapshot.with_name(f"{snapshot.name}{ALSO}")


def sent_of(snapshot: Path) -> Path:
    """The note beside a backup that was sent away and read back."""
    return snapshot.with_name(f"{snapshot.name.removesuffix(f'.{ENC}')}.offsite.json")


class BackupError(Refusal):
    """There is no backup tonight."""


class UnderWayError(BackupError):
    """Another backup, or a proof of one, has the directory."""


def name_a_directory(inventory: Inventory, file: str = "the inventory") -> str:
    """What an inventory without `snapshot.directory` needs: the line, or the field where `snapshot` stands there."""
    field = f"directory: ../backups/{inventory.cluster}"
    has_others = inventory.snapshot.model_dump() != Snapshot().model_dump()
    add = f"add to snapshot in {file} {field}" if has_others else f"add to {file} the line snapshot: {{{field}}}"
    return f"{add} (relative to that file), then pytest runbook/backup --hosts=NAME"


class Vault:
    """The inventory's backup directory, or `below` it, where nothing is ever chosen by itself or rotated. Made 0700
    where it is not there; files are 0600; a lock keeps a second backup out."""

    def __init__(self, inventory: Inventory, below: str = "") -> None:
        if not inventory.snapshot.directory:
            raise BackupError("snapshot.directory", "is not set", name_a_directory(inventory))
        self.inventory = inventory
        self.directory = Path(inventory.snapshot.directory, below)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """One backup at a time. Raises `BackupError` when another is under way or the directory cannot be used."""
        try:
            with suppress(FileExistsError):  # one that was there is somebody's: its mode stays as it is
                self.directory.mkdir(parents=True, mode=0o700)
            lock = os.open(self.directory / ".lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise BackupError(
                str(self.directory), f"cannot be used: {error.strerror}", "mend that, or its owner"
            ) from None
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                where = str(self.directory)
                raise UnderWayError(
                    where,
                    "another backup is under way, or one is being verified",
                    "wait for it (lslocks here shows its process), then run again",
                ) from None
            except OSError as error:  # NFS without its lock daemon, CIFS with nobrl, …
                what = f"cannot be locked, and two backups at once would spoil each other: {error.strerror}"
                remedy = "let the backup lie on a disk of this machine, and copy it to that share afterwards"
                raise BackupError(str(self.directory), what, remedy) from None
            yield
        finally:
            os.close(lock)

    @property
    def has_modes(self) -> bool:
        """Not on every share: there the lock, made 0600, is something else."""
        return stat.S_IMODE((self.directory / ".lock").stat().st_mode) == 0o600

    def free_bytes(self) -> int:
        found = os.statvfs(self.directory)
        return found.f_bavail * found.f_frsize

    def part(self, taken: str) -> Path:
        """Where the backup arrives."""
        return self._final(taken).with_name(f"{self._final(taken).name}.part")

    def _final(self, taken: str) -> Path:
        stamp = re.sub(r"[:.]", "", taken)
        return self.directory / NAMES.format(cluster=self.inventory.cluster, stamp=stamp)

    def _ours(self, name: str) -> bool:
        """Whether a file's name is this cluster's and a time, and not that of `prod-eu` for `prod`."""
        whole = NAMES.format(cluster=re.escape(self.inventory.cluster), stamp=STAMP).replace(".snap", r"\.snap")
        return re.fullmatch(rf"{whole}(?:(?:\.proof|\.offsite)?\.json|(?:\.also)?\.enc)?(?:\.part)?", name) is not None

    def parts(self) -> list[Path]:
        """Half files of this cluster's backups."""
        return sorted(path for path in self.directory.glob("*.part") if self._ours(path.name))

    def clear_parts(self) -> list[Path]:
        """Removes what an interrupted backup left, half files and manifests whose snapshot never got its name, and what
        an interrupted rotation left of a backup that is gone."""
        there = [path.name for path in self.directory.rglob("*") if not path.name.endswith((".json", ".part", ALSO))]
        alone = (  # a snapshot that was compressed since, or moved into a folder, has not lost its manifest
            path
            for path in (*self.directory.glob("*.snap.*json"), *self.directory.glob(f"*.snap{ALSO}"))
            if not any(name.startswith(f"{path.name.partition('.snap.')[0]}.snap") for name in there)
        )
        left = sorted([*self.parts(), *(path for path in alone if self._ours(path.name))])
        for path in left:
            path.unlink()
        for room in self.directory.glob(f"{DRAFT}*"):  # of a run that was killed while it brought something
            shutil.rmtree(room, ignore_errors=True)
        return left

    def keep(self, note: Manifest) -> Path:
        """Gives the verified part its final name, its manifest first, both on the disk before they show."""
        final, part = self._final(note.taken), self.part(note.taken)
        with part.open("rb") as file:
            os.fsync(file.fileno())
        self._write(manifest.path_of(final), note.text())
        part.replace(final)
        self._sync()
        return final

    def keep_note(self, snapshot: Path, note: Manifest) -> Path:
        """The manifest once more, where something was added to it."""
        path = manifest.path_of(snapshot)
        self._write(path, note.text())
        self._sync()
        return path

    def keep_sent(self, snapshot: Path, text: str) -> None:
        """The note that this backup lies off-site too."""
        self._write(sent_of(snapshot), text)
        self._sync()

    def keep_proof(self, snapshot: Path, proof: proven.Proven) -> Path:
        """The note that this backup was booted and proven, beside its manifest; an earlier one is replaced."""
        path = proven.path_of(snapshot)
        self._write(path, proof.text())
        self._sync()
        return path

    def keep_processes(self, up: Mapping[str, tuple[str, ...]]) -> None:
        """Host → those that are up now; a host that is not among them keeps what was kept of it before."""
        path = processes.path_of(self.inventory)
        assert path is not None
        self._write(path, processes.text({**processes.last_up(self.inventory), **up}))
        self._sync()

    def _write(self, path: Path, text: str) -> None:
        """Gives the text its name once it is on the disk."""
        draft = path.with_name(f"{path.name}.part")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)

    def numbered(self, note: Manifest) -> Manifest:
        """The note with the next number of this directory."""
        return replace(note, number=1 + max((n.number for n in self._notes()), default=0))

    def holding(self, sha256: str) -> Path | None:
        """Where the save with this SHA-256 was kept; None where it never got its final name here."""
        found = (self._final(note.taken) for note in self._notes() if note.sha256 == sha256)
        return next((path for path in found if path.exists()), None)

    def _notes(self) -> Iterator[Manifest]:
        for path in self.directory.glob("*.snap.json"):
            with suppress(ManifestError):
                note = manifest.read(path.with_suffix("")) if self._ours(path.name) else None
                if note:
                    yield note

    def rotate(self, now: datetime) -> Rotation:
        """Removes what `rotation` lets go. Only this cluster's own backups are looked at."""
        found, removed = self.rotation(self.backups(), now), []
        for name in found.removed:
            if pin_of(self.directory / name).exists():  # since it was looked at
                continue
            # The snapshot first: one without its manifest is still told by its contents, never the other way round.
            (self.directory / name).unlink()
            manifest.path_of(self.directory / name).unlink(missing_ok=True)
            proven.path_of(self.directory / name).unlink(missing_ok=True)
            sent_of(self.directory / name).unlink(missing_ok=True)
            also_of(self.directory / name).unlink(missing_ok=True)
            removed.append(name)
        self._sync()
        return replace(found, removed=tuple(removed))

    def rotation(self, backups: Iterable[Backup], now: datetime) -> Rotation:
        """What would be removed."""
        keep = self.inventory.snapshot.keep
        return rotation(backups, now, keep.most_recent, keep.days, self.periods)

    @property
    def periods(self) -> Periods:
        keep = self.inventory.snapshot.keep
        return Periods(keep.daily, keep.weekly, keep.monthly)

    def backups(self, known: Mapping[str, Candidate] = NOTHING) -> list[Backup]:
        """Every backup under a final name that this procedure made, verified. Files without a manifest are others'.
        `known`: path → what was found of it already."""
        found = []
        for path in sorted(self.directory.glob("*.snap")):
            if not self._ours(path.name):
                continue
            try:
                note = manifest.read(path)
                if note is None or note.cluster != self.inventory.cluster:
                    continue
            except ManifestError:
                note = None  # known by its name alone
            candidate = known.get(str(path)) or files.of_file(path, Family())
            told = note.taken if note else candidate.taken
            taken = datetime.fromisoformat(told or datetime.now(UTC).isoformat())
            good = candidate.source is not None
            is_proven = good and note is not None and proven.read(path, note.sha256) is not None
            found.append(Backup(path.name, taken, good, note, is_proven, pin_of(path).exists()))
        return found

    def _sync(self) -> None:
        descriptor = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
