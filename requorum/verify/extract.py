"""One prefix of a backup as a file, and how it differs from the running cluster. Nothing of that is changed."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from requorum.cluster.lineage import Lineage
from requorum.hosts import line, packed
from requorum.inventory import Inventory
from requorum.refusal import Refusal
from requorum.run.run import Run
from requorum.snapshots import bolt, movement
from requorum.snapshots.bolt import Entry
from requorum.snapshots.movement import Keys
from requorum.snapshots.ranking import Candidate
from requorum.snapshots.unpacked import Nameless, opener
from requorum.verify.live import Live

FOLDER = "extracted"  # below the directory of backups, which is for its owner alone
LONGEST = 500  # characters of a prefix
SAME, CHANGED, GONE, UNKNOWN = "same", "changed", "deleted", "not known"
BACK = "Nothing was changed; to put one back: Deephaven's own tools, or the vendor's etcdctl put"


def check(prefix: str) -> None:
    """Raises `Refusal` for what is no prefix: it stands in a command line."""
    if not prefix or len(prefix) > LONGEST or not prefix.isprintable() or prefix.startswith("-"):
        what = f"is no prefix of keys: printable, not longer than {LONGEST} characters, and no option"
        raise Refusal(f"--extract={prefix[:80]!r}", what, "name one as /main/config/schema/")


@dataclass
class Counted:
    """How many keys are as in the backup, were changed or deleted since, and are new. `why`: nothing was compared."""

    same: int = 0
    changed: int = 0
    deleted: int = 0
    new: int = 0
    why: str = ""

    @property
    def words(self) -> str:
        if self.why:
            return f"{self.same:,} keys; they could not be compared with the running cluster: {self.why}"
        total = self.same + self.changed + self.deleted
        return (
            f"{total:,} keys: {self.deleted:,} were deleted since, {self.changed:,} were changed, {self.same:,} are "
            f"the same; {self.new:,} more are in the running cluster alone"
        )


def now_of(entry: Entry, now: Keys | str) -> str:
    """What became of it. The revision that wrote a key is kept by a restore, so the same one means the same value."""
    if isinstance(now, str):
        return UNKNOWN
    held = now.held.get(entry.key)
    return GONE if held is None else SAME if held[0] == entry.modified else CHANGED


def row(entry: Entry, state: str) -> str:
    """As JSON on a line; what is no text in base64, under a name that says so."""
    told: dict[str, object] = {}
    for name, data in (("key", entry.key), ("value", entry.value)):
        try:
            told[name] = data.decode()
        except UnicodeDecodeError:
            told[f"{name}_base64"] = base64.b64encode(data).decode()
    told |= {"mod_revision": entry.modified, "version": entry.version, "lease": entry.lease, "now": state}
    return json.dumps(told, ensure_ascii=True)


def written(file: BinaryIO, path: Path, prefix: str, now: Keys | str, into: Path) -> Counted:
    """Each key's newest value to `into`, which must not be there; memory stays at the keys."""
    counts, found = {SAME: 0, CHANGED: 0, GONE: 0, UNKNOWN: 0}, 0
    descriptor = os.open(into, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as out:
            for entry in bolt.entries(file, path, prefix.encode()):
                state = now_of(entry, now)
                counts[state] += 1
                found += 1
                out.write(f"{row(entry, state)}\n")
            out.flush()
            os.fsync(out.fileno())
    except BaseException:  # half of it would pass for all
        into.unlink(missing_ok=True)
        raise
    if isinstance(now, str):
        return Counted(same=found, why=now)
    there = counts[SAME] + counts[CHANGED]
    return Counted(counts[SAME], counts[CHANGED], counts[GONE], len(now.held) - there)


@contextmanager
def opened(inventory: Inventory, backup: Candidate) -> Iterator[BinaryIO]:
    """The plain database: the file itself; a compressed one without a name; an encrypted one in memory alone."""
    path = Path(backup.path)
    kind = packed.kind(path)
    if not kind:
        with path.open("rb") as file:
            yield file
    elif kind != packed.ENC:
        with Nameless(path, (path.parent,)) as plain:
            for block in packed.blocks(path, kind):
                plain.write(block)
            assert plain.file
            yield plain.file
    else:
        size = backup.bytes or 0
        if size > _free_memory() / 2:
            what = f"is encrypted, and its {size:,} bytes do not fit into half of this machine's free memory"
            raise Refusal(str(path), what, "extract from a backup that lies here in clear, or on a larger machine")
        with open(os.memfd_create("requorum"), "w+b") as file:
            for block in line.blocks(opener(inventory.snapshot.decrypt or "", size), path):
                file.write(block)
            file.flush()
            yield file


def _free_memory() -> int:
    rows: Mapping[str, str] = dict(
        text.split(":", 1) for text in Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    )
    return int(rows["MemAvailable"].split()[0]) * 1024


def apart(lineage: Lineage | None, live: Live | str) -> str:
    """Why nothing is compared; "" where the running cluster is proven to be the backup's: revisions of another one may
    be equal and mean nothing."""
    if isinstance(live, str):
        return live
    if lineage is None:
        return "nothing tells which cluster the backup is of"
    return "" if lineage.agrees(live.lineage) else f"another cluster runs now ({live.lineage})"


def extract(run: Run, backup: Candidate, live: Live | str, prefix: str) -> None:
    """Raises `Refusal` where the file cannot be written."""
    now: Keys | str = apart(backup.lineage, live) or _now(run, prefix)
    place = Path(run.inventory.snapshot.directory or "", FOLDER)
    into = place / f"{Path(backup.path).name.split('.snap')[0]}-{run.mark.run}.jsonl"
    run.touched.append("this machine")
    try:
        place.mkdir(mode=0o700, exist_ok=True)
        with opened(run.inventory, backup) as file:
            counted = written(file, Path(backup.path), prefix, now, into)
    except OSError as error:
        raise Refusal(str(into), f"cannot be written: {error.strerror}", "mend that, or its owner") from None
    except (bolt.BoltError, line.LineError) as error:
        raise Refusal(backup.path, str(error), "extract from another one: --snapshot=FILE") from None
    run.note(f"{into}: {counted.words}")
    run.last_words.append(f"Extracted {prefix} of the backup of {backup.taken} to {into}: {counted.words}. {BACK}.")


def _now(run: Run, prefix: str) -> Keys | str:
    try:
        return run.ask({"keys": movement.ask_keys(run.inventory, prefix=prefix)})["keys"]
    except movement.UNTOLD as error:
        return error.what
