"""Numbers for node_exporter's textfile collector: what the backups are like, and how each procedure ended last."""

from __future__ import annotations

import fcntl
import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import cast

from requorum.inventory import Inventory
from requorum.snapshots import files, offsite, proven
from requorum.snapshots.ranking import Candidate

MOST = 1 << 20  # bytes of an earlier file that are looked at
TURN = 5  # seconds that a writer waits for another one
PREFIX = "requorum_"
HELP = {
    "backup_last_good_timestamp_seconds": "When the newest backup that is all there was taken.",
    "backup_age_seconds": "How old that was when this file was written.",
    "backup_bytes": "Its size.",
    "backup_revision": "Its revision.",
    "backup_keys": "Its number of keys.",
    "backup_last_proven_timestamp_seconds": "When a backup was last booted and proven.",
    "backup_last_offsite_timestamp_seconds": "When a backup was last sent off-site and read back.",
    "run_success": "Whether the last run of this procedure ended with 0.",
    "run_finished_timestamp_seconds": "When it ended.",
    "run_seconds": "How long it took.",
    "check_findings": "Of the last check, by what they say.",
}
OF_RUNS = ("run_success", "run_finished_timestamp_seconds", "run_seconds")
FINDINGS = "check_findings"
VERDICTS = ("holds", "fails", "told", "unknown")
_LINE = re.compile(rf'{PREFIX}([a-z_]+)\{{((?:[a-z]+="[A-Za-z0-9._/-]*",?)*)\}} (-?[0-9]+(?:\.[0-9]+)?)')


@dataclass(frozen=True)
class Sample:
    name: str
    labels: tuple[tuple[str, str], ...]
    value: float

    def text(self) -> str:
        labels = ",".join(f'{name}="{value}"' for name, value in self.labels)
        return f"{PREFIX}{self.name}{{{labels}}} {self.value:.15g}"


@dataclass(frozen=True)
class Ended:
    """How a run of `procedure` ended. `findings`: verdict → how many, of a check."""

    procedure: str
    success: bool
    finished: datetime
    seconds: float
    findings: Mapping[str, int] = field(default_factory=dict)


def of_backups(inventory: Inventory, rows: Sequence[Candidate], now: datetime) -> list[Sample]:
    """`rows`: as the manifests say. One whose file is of another size counts as none, nor does one of a time to come:
    no alarm on its age would sound before that."""
    of = (("cluster", inventory.cluster),)
    ours = [row for row in rows if row.note and row.note.cluster == inventory.cluster and not row.note.another]
    until = now + offsite.AHEAD
    made = [row for row in ours if datetime.fromisoformat(row.taken) <= until]
    good = max((row for row in made if _is_there(row)), key=_order, default=None)
    found: dict[str, float | None] = {}
    if good:
        taken = datetime.fromisoformat(good.taken)
        found = {
            "backup_last_good_timestamp_seconds": taken.timestamp(),
            "backup_age_seconds": (now - taken).total_seconds(),
            "backup_bytes": good.bytes,
            "backup_revision": good.revision,
            "backup_keys": good.keys,
        }
    paths = [Path(row.path) for row in ours]
    told = {"proven": proven.last(paths), "offsite": max(filter(None, map(offsite.sent, paths)), key=_at, default=None)}
    found |= {f"backup_last_{name}_timestamp_seconds": _at(note) for name, note in told.items() if note}
    return [Sample(name, of, value) for name, value in found.items() if value is not None]


def _is_there(row: Candidate) -> bool:
    path = Path(row.path)
    sealed = row.note.sealed if row.note else None
    try:
        size = path.stat().st_size
    except OSError:
        return False
    if sealed and sealed.name == path.name:
        return size == sealed.bytes
    return size == row.bytes if path.name.endswith(".snap") else size > 0


def _order(row: Candidate) -> tuple[int, str]:
    return (row.note.number if row.note else 0, row.taken)


def _at(note: proven.Proven | offsite.Sent) -> float:
    with suppress(ValueError):
        return datetime.fromisoformat(note.at).timestamp()
    return 0


def of_run(cluster: str, ended: Ended) -> list[Sample]:
    of = (("cluster", cluster), ("procedure", ended.procedure))
    values = (float(ended.success), ended.finished.timestamp(), round(ended.seconds, 3))
    found = [Sample(name, of, value) for name, value in zip(OF_RUNS, values, strict=True)]
    if ended.findings:
        found += [
            Sample(FINDINGS, (("cluster", cluster), ("verdict", verdict)), ended.findings.get(verdict, 0))
            for verdict in VERDICTS
        ]
    return found


def read(text: str, cluster: str) -> list[Sample]:
    """What an earlier file of ours says of this cluster's runs, and all of other clusters, whose inventories name the
    same file; of any other line nothing."""
    found = []
    for row in text.splitlines():
        if line := _LINE.fullmatch(row):
            labels = tuple((name, value) for name, value in re.findall(r'([a-z]+)="([^"]*)"', line[2]))
            of = dict(labels).get("cluster")
            if line[1] in HELP and of and (of != cluster or line[1] in (*OF_RUNS, FINDINGS)):
                found.append(Sample(line[1], labels, float(line[3])))
    return found


def text(samples: Iterable[Sample]) -> str:
    """Each name once with its help; of samples with the same labels the last counts."""
    known = {(sample.name, sample.labels): sample for sample in samples}
    lines = []
    for name, says in HELP.items():
        if rows := [sample.text() for sample in known.values() if sample.name == name]:
            lines += [f"# HELP {PREFIX}{name} {says}", f"# TYPE {PREFIX}{name} gauge", *sorted(rows)]
    return "\n".join(lines) + "\n"


@contextmanager
def _in_turn(directory: Path) -> Iterator[None]:
    """Timers of several inventories end together, and each keeps the others' lines. Where no turn comes in time, or the
    place knows no locks, it writes all the same."""
    at = None
    try:
        with suppress(OSError):
            at, until = os.open(directory, os.O_RDONLY | os.O_DIRECTORY), time.monotonic() + TURN
            while not _has(at) and time.monotonic() < until:
                time.sleep(0.02)
        yield
    finally:
        if at is not None:
            os.close(at)


def _has(at: int) -> bool:
    try:
        fcntl.flock(at, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def write(inventory: Inventory, ended: Ended, now: datetime) -> None:
    """The file anew, for everybody to read; what it says of other procedures stays. Raises `OSError`."""
    path, rows = Path(inventory.metrics or ""), files.noted(inventory)
    with _in_turn(path.parent):
        _write(path, inventory, rows, ended, now)


def _write(path: Path, inventory: Inventory, rows: Sequence[Candidate], ended: Ended, now: datetime) -> None:
    before = ""
    with suppress(OSError), path.open("rb") as file:
        before = file.read(MOST).decode(errors="replace")
    stays = read(before, inventory.cluster)
    if ended.procedure == "check":  # one that found nothing out leaves nothing of what an earlier one found
        own = ("cluster", inventory.cluster)
        stays = [sample for sample in stays if sample.name != FINDINGS or own not in sample.labels]
    samples = [*stays, *of_run(inventory.cluster, ended), *of_backups(inventory, rows, now)]
    with NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}.", delete=False) as draft:
        try:
            draft.write(text(samples))
            draft.flush()
            os.fchmod(draft.fileno(), 0o644)
            os.fsync(draft.fileno())
            Path(draft.name).replace(path)
        except OSError:
            Path(draft.name).unlink(missing_ok=True)
            raise


def ended(procedure: str, success: bool, now: datetime, seconds: float, summary: Mapping[str, object]) -> Ended:
    """`summary`: as it stands in the evidence."""
    found = cast("list[dict[str, str]]", summary.get("findings") or [])
    counts: dict[str, int] = {}
    for finding in found if procedure == "check" else ():
        counts[finding["verdict"]] = counts.get(finding["verdict"], 0) + 1
    return Ended(procedure, success, now, seconds, counts)
