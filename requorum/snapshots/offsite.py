"""Where backups lie besides this machine, by the inventory's lines: what is there, one file there, one file back.

Everything that comes from there is held against what its manifest says before it gets a name here. Nothing is ever
deleted there.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from requorum.cluster.quorum import Verdict
from requorum.deadlines import LINE_RATE, SHORT, by_bytes
from requorum.hosts import line
from requorum.hosts.line import Line, LineError
from requorum.hosts.packed import ENC, LOCKED
from requorum.hosts.question import plain
from requorum.inventory import Inventory
from requorum.refusal import Refusal
from requorum.run.marker import Phase
from requorum.run.run import Run
from requorum.snapshots import choice, files, manifest, rotation
from requorum.snapshots.manifest import Manifest, ManifestError
from requorum.snapshots.rotation import Backup
from requorum.snapshots.unpacked import SPARE_BYTES
from requorum.snapshots.vault import DRAFT, STAMP, Vault, sent_of

PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,250}")
MOST_LISTED = 4 << 20  # bytes that a list may have
MOST_NOTE = 1 << 20  # bytes of a manifest
MOST_SAID = 1 << 20  # bytes that a line may say which gives nothing
STALLED = 300  # seconds without a byte: slow is not bad, and a link that is dead is not waited for by the hour
AHEAD = timedelta(hours=1)
TRIED = 3  # backups that are brought, the newest first, until one is as its manifest says
LATER = "says that it was made later than now: a clock is wrong"
WORKS = "see that this line works as this account, or correct it in the inventory"


class OffsiteError(Refusal):
    """What lies off-site cannot be had, or is not what was put there."""


class LateError(OffsiteError):
    """It did not come in time: that says nothing of what lies there, and the next one would be waited for as long."""


@dataclass(frozen=True)
class There:
    """The backups of one cluster by the names of their snapshots, the newest first, each with its manifest; `bare`:
    those without one. `odd`: how many lines are no plain names, `others` how many are."""

    names: tuple[str, ...]
    bare: tuple[str, ...] = ()
    odd: int = 0
    others: int = 0


def read(text: str, cluster: str) -> There:
    """A list that was given, one name a line."""
    ours = re.compile(rf"{re.escape(cluster)}-({STAMP})\.snap(?:\.{ENC})?")
    lines = [row for row in text.splitlines() if row.strip()]
    plains = {row for row in lines if PLAIN.fullmatch(row)}
    found = sorted((name for name in plains if ours.fullmatch(name) and _is_a_time(name)), key=_stamp, reverse=True)
    noted = tuple(name for name in found if note_of(name) in plains)
    own = {*found, *map(note_of, found)}
    odd = sum(not PLAIN.fullmatch(row) for row in lines)
    return There(noted, tuple(name for name in found if name not in noted), odd, len(plains - own))


def note_of(name: str) -> str:
    """The manifest's name."""
    return f"{name.removesuffix(f'.{ENC}')}.json"


def _stamp(name: str) -> str:
    found = re.search(STAMP, name)
    assert found
    return found[0]


def taken(name: str) -> datetime:
    """To the second, by its name."""
    return datetime.strptime(_stamp(name)[:17], "%Y-%m-%dT%H%M%S").replace(tzinfo=UTC)


def in_order(names: Sequence[str], at: datetime) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The newest first, and behind all others those that by their names were made later than this moment; and these
    alone. A clock was wrong, then or now: one of a night that was a year ahead is not the newest for a year."""
    ahead = tuple(name for name in names if taken(name) > at + AHEAD)
    return (*(name for name in names if name not in ahead), *ahead), ahead


def _is_a_time(name: str) -> bool:
    try:
        taken(name)
    except ValueError:  # a month 13: whoever put it there, it keeps nobody from the others
        return False
    return True


def beyond(names: Iterable[str], keep: Callable[[Sequence[Backup]], Iterable[str]]) -> list[str]:
    """Those that a rotation would let go if they lay here, the first made first."""
    backups = [Backup(name, taken(name), good=True) for name in names]
    stays = set(keep(backups))
    return sorted((backup.name for backup in backups if backup.name not in stays), key=_stamp)


class Store:
    """One inventory's `offsite`. `scale`: of every deadline."""

    def __init__(self, inventory: Inventory, scale: float = 1.0) -> None:
        self.inventory, self.lines, self.scale = inventory, inventory.offsite, scale
        self.directory = Path(inventory.snapshot.directory or "")

    def listed(self) -> There:
        said = self._run("list", self.lines.list, SHORT, MOST_LISTED)
        return read(said.decode(errors="replace"), self.inventory.cluster)

    def put(self, file: Path, name: str) -> None:
        seconds = by_bytes(file.stat().st_size, rate=LINE_RATE)
        self._run("put", self.lines.put, seconds, MOST_SAID, file=str(file), name=name)

    def get(self, name: str, into: Path, most: int) -> tuple[str, int]:
        """Its SHA-256 and size; `into` is on the disk then, for its owner alone, and never more than `most` bytes."""
        where, text = f"offsite.get {name}", self.lines.get or ""
        grows = into.parent if "{file}" in text else None
        words = line.words(text, name=name, file=str(into))
        still = 0 if grows else STALLED * self.scale  # a program of its own may give a file its whole size first
        asked = Line(words, by_bytes(most, rate=LINE_RATE) * self.scale, most, grows, still)
        try:
            into.touch(mode=0o600)
            with into.open("r+b") as file, closing(line.blocks(asked)) as blocks:
                for block in blocks:
                    if not grows:
                        file.write(block)
                file.flush()
            with into.open("rb") as file:
                os.fsync(file.fileno())
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            into.chmod(0o600)
            return digest, into.stat().st_size
        except LineError as error:
            raise (LateError if error.late else OffsiteError)(where, str(error), WORKS) from None
        except OSError as error:
            raise OffsiteError(where, f"cannot be kept in {into.parent}: {error.strerror}", "mend that") from None

    def note(self, name: str, into: Path) -> Manifest:
        """The manifest of this snapshot, which must be its own."""
        path = into / note_of(name)
        self.get(path.name, path, MOST_NOTE)
        try:
            found = manifest.read(path.with_suffix(""))
        except ManifestError as error:
            raise OffsiteError(f"offsite.get {path.name}", error.what, "see what lies there") from None
        if found is None or found.cluster != self.inventory.cluster or re.sub("[:.]", "", found.taken) != _stamp(name):
            raise OffsiteError(f"offsite.get {path.name}", f"is not the manifest of {name}", "see what lies there")
        return found

    def snapshot(self, name: str, note: Manifest, into: Path) -> Path:
        """The file, as its manifest says that it was sent."""
        sealed, path = note.sealed, into / name
        if sealed is None or sealed.name != name:
            what = f"its manifest does not say that {name} was made of it, so nothing proves what lies there"
            raise OffsiteError(f"offsite.get {name}", what, "see what lies there")
        room = os.statvfs(into)
        if room.f_bavail * room.f_frsize < sealed.bytes + SPARE_BYTES:
            what = f"needs {sealed.bytes + SPARE_BYTES:,} bytes free in {self.directory}"
            raise OffsiteError(f"offsite.get {name}", what, "make room there")
        digest, size = self.get(name, path, sealed.bytes)
        if (digest, size) != (sealed.sha256, sealed.bytes):
            what = f"gives {size:,} bytes, SHA-256 {digest}; its manifest says {sealed.bytes:,}, {sealed.sha256}"
            raise OffsiteError(f"offsite.get {name}", what, "do not rely on that one: it was altered or cut off")
        return path

    @contextmanager
    def draft(self) -> Iterator[Path]:
        """A directory for a while, on the disk where backups lie."""
        try:
            with suppress(FileExistsError):
                self.directory.mkdir(parents=True, mode=0o700)
            room = tempfile.TemporaryDirectory(prefix=DRAFT, dir=self.directory)
        except OSError as error:
            raise OffsiteError(str(self.directory), f"cannot be used: {error.strerror}", "mend that") from None
        with room as place:
            yield Path(place)

    def _run(self, what: str, text: str | None, seconds: int, most: int, **filled: str) -> bytes:
        if not text:
            raise OffsiteError(f"offsite.{what}", "is not in the inventory", "say there how that is done")
        try:
            return line.run(Line(line.words(text, **filled), seconds * self.scale, most))
        except LineError as error:
            raise OffsiteError(f"offsite.{what}", str(error), WORKS) from None


# -- brought here ------------------------------------------------------------------------------------------------


def for_a_recovery(run: Run, verdict: Verdict | None) -> None:
    """Only where Step 0 is still to choose, and among backups."""
    inventory = run.inventory
    named = run.options.names_data or inventory.snapshot.file or run.mark.phase > Phase.OPEN
    if not inventory.offsite.list or named or choice.is_handover(run, verdict):
        return
    if run.acts:
        bring(inventory, run.options.timeout_scale, run.note, run.warn)
    else:
        run.note("a backup there that is newer than those on this machine would be brought first")


def bring(
    inventory: Inventory,
    scale: float,
    tell: Callable[[str], None],
    warn: Callable[[str], None],
    at: datetime | None = None,
) -> None:
    """Puts the newest off-site backup into `snapshot.directory` where that has none as new, encrypted as it is.

    What cannot be had is said, and keeps nobody from what there is.
    """
    store = Store(inventory, scale)
    try:
        there, failed = store.listed(), False
        names, ahead = in_order(there.names, at or datetime.now(UTC))
        _say(there, ahead, warn)
        for name in [name for name in names if not _is_here(inventory, name)][:TRIED]:
            if not _is_newer(inventory, name):
                break
            try:
                tell(f"{_placed(store, name)} was brought from off-site: the directory had none as new")
                return
            except OffsiteError as error:
                warn(f"{error.where}: {error.what}")
                failed = True
                if isinstance(error, LateError):
                    break
        none = "nothing was brought" if failed else f"of which none is newer than those in {store.directory}"
        tell(f"off-site: {len(there.names)} backups, {none}")
    except OffsiteError as error:
        warn(f"what lies off-site is not known: {error.where} {error.what}")


def _say(there: There, ahead: Sequence[str], warn: Callable[[str], None]) -> None:
    if ahead:
        warn(f"off-site: {ahead[0]}{', …' * (len(ahead) > 1)} {LATER}, and counts as older than the others")
    if there.odd:
        warn(f"off-site: {there.odd} names are passed over, since they are no plain file names")
    if there.bare:
        warn(f"off-site: {plain(there.bare[0])}{', …' * (len(there.bare) > 1)} has no manifest, and is passed over")


def _is_here(inventory: Inventory, name: str) -> bool:
    first = name.removesuffix(f".{ENC}")
    return any(Path(row.path).name.startswith(first) for row in files.noted(inventory))


def _is_newer(inventory: Inventory, name: str) -> bool:
    own = [row for row in files.noted(inventory) if row.note and row.note.cluster == inventory.cluster]
    return all(datetime.fromisoformat(row.taken) < taken(name) for row in own)


def _placed(store: Store, name: str) -> Path:
    """The file first: a manifest without one is half a backup, which the next backup removes."""
    if name.endswith(f".{ENC}") and not store.inventory.snapshot.decrypt:  # here it would hide those that can be read
        raise OffsiteError(f"offsite.get {name}", f"{LOCKED}, so that it was not brought", "say there how it is opened")
    with store.draft() as room:
        note = store.note(name, room)
        path = store.snapshot(name, note, room)
        final = store.directory / name
        try:
            path.replace(final)
            (room / note_of(name)).replace(manifest.path_of(store.directory / name.removesuffix(f".{ENC}")))
        except OSError as error:  # tonight's backup clears up there, or the disk is gone
            raise OffsiteError(str(final), f"cannot be kept: {error.strerror}", "mend that") from None
        return final


# -- sent away ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sent:
    """The note beside a backup that was sent away and read back: `NAME.snap.offsite.json`."""

    name: str
    sha256: str
    at: str
    run: str

    def text(self) -> str:
        return json.dumps({"schema": 1, **asdict(self)}, indent=2) + "\n"


def sent(snapshot: Path) -> Sent | None:
    """None where it was never read back, or nobody can tell."""
    try:
        data = json.loads(sent_of(snapshot).read_text(encoding="utf-8"))
        return Sent(**data) if data.pop("schema") == 1 else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def sealing(inventory: Inventory, size: int, scale: float) -> Line:
    seconds = by_bytes(size) * scale
    return Line(line.words(inventory.snapshot.encrypt or ""), seconds, 2 * size + MOST_SAID)


def beyond_keep(inventory: Inventory, there: There) -> list[str]:
    """What is beyond `snapshot.keep`, if it lay here."""
    vault = Vault(inventory)
    most = inventory.snapshot.keep.most_recent
    return beyond((*there.names, *there.bare), lambda backups: rotation.kept(backups, most, vault.periods))
