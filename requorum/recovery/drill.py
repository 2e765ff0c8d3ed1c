"""The drill: which backup is tried, and what of Step 5's proofs can be given when its passwords are not known here.

The machines are the lab's; how they come to be is `runbook/drill/lab.py`'s business. What was proven and what cannot be
is kept apart, since a drill that is silent about the difference would be believed too much.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from requorum.command import Command, act
from requorum.inventory import Expect, Inventory
from requorum.run import marker
from requorum.run.terms import Options, Terms
from requorum.snapshots import bolt, files, manifest
from requorum.snapshots.family import Family
from requorum.snapshots.manifest import ManifestError
from requorum.snapshots.ranking import BY_YOU, Candidate
from requorum.snapshots.snapshot import SnapshotError, Source


@dataclass
class Drill:
    """One drill. `cluster` and `etcd` (version) are the manifest's words, None without one; `login`: the lab's
    passwords open the restored data. `unproven` are sentences for the report; `ended`: they are all."""

    source: Source
    contents: bolt.Contents
    cluster: str | None
    etcd: str | None
    skipped: tuple[Candidate, ...] = ()
    made: bool = True
    login: bool = False
    unproven: list[str] = field(default_factory=list)
    ended: bool = False

    def fields(self) -> dict[str, object]:
        """Of `summary.json`. What is not proven counts once the drill has come to its end."""
        return {"unproven": list(self.unproven) if self.ended else []}


def choose(named: str | None, inventory: Inventory | None) -> Drill:
    """`--snapshot`, else the newest good backup of the inventory's directory, whatever its lineage and age.

    Raises `SnapshotError` for a file that is bad, or where there is none.
    """
    if named:
        found = [files.of_file(Path(named), Family(), BY_YOU)]
    elif inventory:
        found = files.of_files(inventory, None, Family())
    else:
        found = []
    good = [candidate for candidate in found if candidate.source]
    if not good:
        directory = inventory.snapshot.directory if inventory else None
        where = found[0].path if found else directory or "no snapshot"
        what = found[0].problem if found else "holds no backup" if directory else "the inventory names no directory"
        raise SnapshotError(where, what or "cannot be used", "name another one with --snapshot=FILE")
    best = max(good, key=lambda candidate: (candidate.taken, candidate.revision or 0))
    assert best.source is not None
    path = Path(best.path)
    try:
        note = manifest.read(path)
    except ManifestError:
        note = None
    skipped = tuple(candidate for candidate in found if not candidate.source)
    cluster, etcd = (note.cluster, note.etcd) if note else (None, None)
    return Drill(best.source, bolt.read(path), cluster, etcd, skipped)


def inventory_of(lab: Inventory, exercise: Drill, named: Inventory | None) -> Inventory:
    """The lab's machines, with what is expected of the data where production's inventory says it."""
    expect = named.expect if named else Expect()
    snapshot = lab.snapshot.model_copy(update={"file": exercise.source.path, "directory": None})
    return lab.model_copy(update={"expect": expect, "snapshot": snapshot})


def places(terms: Terms) -> list[Command]:
    """The drill's own directory on every machine of the lab. No mark: nobody is to carry a drill on."""
    directories = (marker.BASE, marker.directory(terms.inventory.cluster), terms.place())
    why = "a place for this drill, for root only"
    return [act(host, "install", "-d", "-m", "700", *directories, why=why) for host in terms.everyone]


def options(given: Options, exercise: Drill) -> Options:
    """The operator's words for the lab: this snapshot by name, and a rebuild although the lab is healthy."""
    return replace(given, snapshot=exercise.source.path, rebuild=True, gone=())
