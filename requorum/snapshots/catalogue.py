"""Every source of data there is, gathered: files on this machine, what the hosts say, saves and salvage as they come.

`ranking` decides, `sources` hands the decision to the stages; here facts are asked for and the table is kept up to
date in `Sources`. Whoever has made a further source (a save, a salvage) calls `offer`, or `failed` when it could
not be made.
"""

from __future__ import annotations

import getpass
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from requorum.cluster import lineage
from requorum.cluster.lineage import Lineage
from requorum.inventory import Inventory
from requorum.refusal import Refusal
from requorum.run import facts, history
from requorum.run.history import Birth
from requorum.run.marker import ON_DISK, SALVAGE, Marker
from requorum.run.run import Run
from requorum.snapshots import bolt, disks, emptiness, layout, manifest, ranking, snapshot
from requorum.snapshots.disks import Disk
from requorum.snapshots.emptiness import Place, Way
from requorum.snapshots.family import Family, family_of, of_members
from requorum.snapshots.layout import Layout
from requorum.snapshots.loss import Loss
from requorum.snapshots.manifest import Manifest, ManifestError
from requorum.snapshots.ranking import BY_YOU, IN_INVENTORY, Candidate
from requorum.snapshots.snapshot import SUFFIXES, SnapshotError, Source
from requorum.snapshots.survivors import Salvaged


@dataclass
class Sources:
    """What is known of the data that can be restored, and which is; each field by the step that its comment names."""

    family: Family = field(default_factory=Family)  # Step 0: which lineage was lost
    birth: Birth | None = None  # Step 0: what this run's new cluster comes from
    disks: tuple[Disk, ...] = ()  # Step 0: what old members' disks hold
    doubts: dict[str, str] = field(default_factory=dict)  # Step 0: host → why its disk is not proven to hold nothing
    rows: tuple[Candidate, ...] = ()  # Step 0 and whoever makes a further one: all there are, with verdicts
    source: Source | None = None  # Step 0, or Step 1 for a handover: the one that is restored
    salvaged: Salvaged | None = None  # Step 1; None where the data was decided before
    last_resort: Candidate | None = None  # Step 1, with --skip-hash where salvage failed
    copied: bool = False  # Step 1: other data than Step 0's was chosen, and brought to the new members
    loss: Loss | None = None  # Step 1; None where the data was decided before

    @property
    def chosen(self) -> Source:
        if self.source is None:
            raise Refusal("the runbook", "no snapshot was chosen", "run the runbook from its start")
        return self.source

    def birth_of(self, mark: Marker, source: Source | None, bump: int) -> Birth | None:
        """From which data the cluster of a run with this mark comes; None until that is chosen.

        `source`: what is chosen now, if it is; `bump`: by how much its restore raises revisions.
        """
        birth, family = self.birth, self.family
        if source is not None and (birth is None or birth.sha256 != source.sha256):
            parent = source.lineage or family.lost
            bumped = source.bumps if source.lineage else family.bump(parent)
            return Birth(mark.token, mark.run, mark.phase, source.sha256, parent, bumped + bump)
        return replace(birth, phase=max(birth.phase, mark.phase)) if birth is not None else None

    def data_loss(self) -> dict[str, object]:
        """`certain` and `possible` as numbers, None where not known; `why`."""
        source = self.source
        if source is None:
            return {"certain": None, "possible": None, "why": "no snapshot was chosen"}
        if source.kind == "handover":
            why = "saved after Deephaven was off and no client was connected: nothing is missing"
            return {"certain": 0, "possible": 0, "why": why}
        if self.loss is not None:
            return asdict(self.loss)
        why = f"writes acknowledged after the snapshot, whose file is dated {source.taken}, are not in it"
        return {"certain": None, "possible": None, "why": why}

    def fields(self, keys: int | None = None) -> dict[str, object]:
        """Of `summary.json`. `keys`: how many the restored cluster holds, where they were counted."""
        return {
            "snapshot": _snapshot(self.source, keys) if self.source else None,
            "sources": [candidate.row() for candidate in self.rows],
            "data_loss": self.data_loss(),
        }


def _snapshot(source: Source, keys: int | None) -> dict[str, object]:
    return {
        "source": source.kind if source.kind in ("file", SALVAGE, ON_DISK) else "live",
        "host": source.host,
        "revision": source.revision,
        "sha256": source.sha256,
        "bytes": source.bytes,
        "keys": keys,
        "taken": source.taken,
    }


def recall(run: Run, sources: Sources) -> None:
    """Learns from the hosts which cluster was lost, and what earlier runs have made; keeps it in `sources`."""
    births = history.furthest(
        birth
        for result in run.ask([history.ask_births(h, run.inventory.cluster) for h in run.terms.everyone])
        for birth in history.parse_births(result.stdout)
    )
    sources.disks = _disks(run)
    sources.family = family_of({disk.host: disk.lineage for disk in sources.disks if disk.installed}, births)
    sources.birth = births.get(run.mark.token)


def _disks(run: Run) -> tuple[Disk, ...]:
    """Every cluster's data on every old member, the installed configuration's first."""
    members = {member.host: member for member in run.terms.old_members}
    path, name = run.inventory.etcd.config, run.inventory.cluster
    installed = facts.old_configs(run, members)
    earlier = facts.by_host(run, [disks.ask_earlier(host, path, name) for host in members])
    there = [
        (host, config)
        for host in members
        for config in disks.clusters(installed[host], disks.parse_earlier(host, earlier[host].stdout))
    ]
    heads = run.ask([lineage.ask_wal(host, config.data_dir) for host, config in there])
    data = run.ask([disks.ask_data(host, config.data_dir) for host, config in there])
    layouts = run.ask([layout.ask(host, config.data_dir) for host, config in there])
    return tuple(
        disks.parse_data(
            members[host],
            config,
            Lineage(config.token, lineage.parse_wal(head.stdout)),
            config is installed[host],
            found.stdout,
            layout.parse(config.data_dir, lies),
        )
        for (host, config), head, found, lies in zip(there, heads, data, layouts, strict=True)
    )


def doubts(run: Run, sources: Sources) -> dict[str, str]:
    """host → why its disk may hold data of the lost run that is not salvaged from it; of all old members."""
    settings = run.inventory.etcd
    picked = {disk.host for disk in disks.salvageable(sources.disks, sources.family, None)}
    hosts = [member.host for member in run.terms.old_members]
    found = {}
    for place in _places(run, sources.disks, hosts):
        on_host = [disk for disk in sources.disks if disk.host == place.host]
        found[place.host] = emptiness.doubt(place, on_host, place.host in picked, sources.family, settings)
    return {host: why for host, why in found.items() if why}


def _places(run: Run, known: Sequence[Disk], hosts: Sequence[str]) -> list[Place]:
    """Every old member's machine: what is known of where its etcd keeps data."""
    settings = run.inventory.etcd
    units, configs = facts.units(run, hosts), facts.configs_or_why(run, hosts)
    said = run.ask_by_host([question for host in hosts for question in emptiness.ask(host, settings.unit)])
    before = facts.by_host(run, [disks.ask_earlier(host, settings.config, run.inventory.cluster) for host in hosts])
    roots = facts.by_host(run, [layout.ask(host, settings.data_root, 1) for host in hosts])
    return [
        Place(
            host,
            units[host],
            configs[host],
            "" if before[host].code == 0 else f"earlier configurations cannot be read: {before[host].words}",
            emptiness.runs(host, settings.unit, said[host][0]),
            emptiness.processes(said[host][1]),
            root := layout.parse(settings.data_root, roots[host], 1),
            emptiness.unmounted(*said[host][2:]),
            _ways(run, host, {settings.data_root, *(d.config.data_dir for d in known if d.host == host)}),
            _strays(run, host, emptiness.strays(root, settings.data_root, [d for d in known if d.host == host])),
        )
        for host in hosts
    ]


def _ways(run: Run, host: str, directories: Iterable[str]) -> dict[str, Way]:
    asked = sorted(directories)
    answers = run.ask([emptiness.ask_way(host, directory) for directory in asked])
    return {directory: emptiness.way(directory, found) for directory, found in zip(asked, answers, strict=True)}


def _strays(run: Run, host: str, paths: list[str]) -> dict[str, tuple[Layout, Lineage]]:
    """What lies in directories that no configuration names, and by its log, which cluster's it is."""
    lies = run.ask([layout.ask(host, path) for path in paths])
    heads = run.ask([lineage.ask_wal(host, path) for path in paths])
    return {
        path: (layout.parse(path, found), Lineage(None, lineage.parse_wal(head.stdout)))
        for path, found, head in zip(paths, lies, heads, strict=True)
    }


def choose_file(run: Run, sources: Sources) -> Source | None:
    """The file to restore, out of all on this machine; None where none may be chosen by itself.

    Its age is judged by `refuse_an_old_file`, once nothing can take its place any more. Raises `SnapshotError` for a
    named file that is bad, or a directory that is not there.
    """
    family, options = sources.family, run.options
    found = of_files(run.inventory, options.snapshot, family)
    for candidate in found:
        if candidate.named and candidate.problem:
            raise SnapshotError(candidate.path, candidate.problem, "use another snapshot: --snapshot=FILE")
    chosen = _rank(run, sources, [*found, *disks.listed(sources.disks, family, options.salvage)])
    if chosen is None:
        return None
    for candidate in found:
        if candidate.problem:
            run.note(f"skipped: {candidate.path} {candidate.problem}")
    if chosen.named and family.line and not _of_family(chosen, family):
        run.note(f"{chosen.path} is of another lineage ({chosen.lineage}), used because it was named")
    return chosen.source


def offer(run: Run, sources: Sources, made: list[Source]) -> Source | None:
    """Adds what was just made to the table, and chooses again. Returns the chosen one, None where there is none.

    A source without a lineage is the lost cluster's own: it was taken from its members.
    """
    lost = sources.family.lost
    owned = [replace(s, lineage=lost, bumps=sources.family.bump(lost)) if s.lineage is None else s for s in made]
    chosen = _rank(run, sources, [*map(ranking.of, owned), *sources.rows])
    return chosen.source if chosen else None


def failed(run: Run, sources: Sources, kind: str, host: str | None, path: str, why: str) -> None:
    """Adds a source that could have been and is not, with the reason."""
    taken = _rfc3339(datetime.now(UTC).timestamp())
    _rank(run, sources, [Candidate(kind, host, path, taken, problem=why), *sources.rows])


def by_sha256(inventory: Inventory, sha256: str) -> Source | None:
    """The file on this machine that has this SHA-256, whole; for a run that is carried on."""
    for candidate in of_files(inventory, None, Family()):
        if candidate.source and candidate.source.sha256 == sha256:
            return candidate.source
    return None


def _rank(run: Run, sources: Sources, candidates: list[Candidate]) -> Candidate | None:
    chosen, rows = ranking.rank(candidates, sources.family)
    show(run, sources, rows)
    return chosen


def show(run: Run, sources: Sources, rows: tuple[Candidate, ...]) -> None:
    """The table as it is now: below the stage, in the journal, and kept for `summary.json`."""
    sources.rows = rows
    run.table = [row.row() for row in rows]
    run.journal.record("sources", lost=str(sources.family.lost or "unknown"), sources=run.table)


def _of_family(candidate: Candidate, family: Family) -> bool:
    return candidate.lineage is not None and family.generation(candidate.lineage) is not None


def refuse_an_old_file(run: Run, chosen: Candidate | None, without: str = "") -> None:
    """Raises `SnapshotError` where a backup that nobody named would be restored, and is too old. `without`: why it is
    not the salvage, where that was tried: etcd is stopped then, and the same command carries the run on.

    A run that is carried on goes by the age that the backup had when that run began: nobody wrote since.
    """
    age = too_old(run.inventory, chosen, run.mark.began if run.carrying_on else datetime.now(UTC))
    if chosen is None or age is None:
        return
    accept = f"--snapshot={chosen.path}"
    if not without:
        raise SnapshotError(chosen.path, age, f"find a newer one, or accept its age with {accept}")
    raise SnapshotError(
        chosen.path,
        f"{without}; {age}",
        f"the run stays as it is and is carried on by the same command: once salvage can succeed or a newer backup is "
        f"in its place, or with {accept}, which accepts its age",
    )


def too_old(inventory: Inventory, chosen: Candidate | None, at: datetime) -> str | None:
    """Whether a backup that was chosen by itself was older than `snapshot.max_age_hours` at that moment, in words."""
    if chosen is None or chosen.kind != "file" or chosen.named:
        return None
    hours, most = (at - datetime.fromisoformat(chosen.taken)).total_seconds() / 3600, inventory.snapshot.max_age_hours
    if hours <= most:
        return None
    return f"the newest backup is {hours:.1f} h old, more than snapshot.max_age_hours {most:g}"


# -- files on this machine ---------------------------------------------------------------------------------------


def of_files(inventory: Inventory, named: str | None, family: Family) -> list[Candidate]:
    """`--snapshot`, else the inventory's file, and every backup in its directory; each is verified.

    Raises `SnapshotError` where the directory does not exist and nothing is named.
    """
    settings = inventory.snapshot
    word = named or settings.file
    first = Path(word) if word else None
    found = [of_file(first, family, BY_YOU if named else IN_INVENTORY)] if first else []
    directory = Path(settings.directory) if settings.directory else None
    if directory is None:
        return found
    try:
        there = sorted(directory.iterdir())
    except OSError as error:
        if first:
            return found
        raise _unreadable(directory, error) from None
    same = first.resolve() if first else None
    backups = [path for path in there if path.suffix in SUFFIXES and path.resolve() != same]
    return found + [of_file(path, family) for path in backups]


def _unreadable(directory: Path, error: OSError) -> SnapshotError:
    what = "the inventory's snapshot.directory"
    if isinstance(error, PermissionError):
        return SnapshotError(
            str(directory),
            f"{what} cannot be read by {getpass.getuser()}",
            "run as the account that makes the backups, or name a snapshot with --snapshot=FILE",
        )
    missing = "does not exist" if isinstance(error, FileNotFoundError) else f"cannot be read: {error.strerror}"
    return SnapshotError(str(directory), f"{what} {missing}", "correct it, or name a snapshot with --snapshot=FILE")


def of_file(path: Path, family: Family, named: str = "") -> Candidate:
    """One file, verified: whole by its own SHA-256, readable, and as its manifest says where it has one."""
    try:
        source = snapshot.verify(path)
        contents = bolt.read(path)
    except (SnapshotError, bolt.BoltError, OSError) as error:
        why = error.what if isinstance(error, SnapshotError) else str(error)
        return Candidate("file", None, str(path), _modified(path), problem=why, hash="bad", named=named)
    try:
        note = manifest.read(path)
    except ManifestError:
        note = None  # the file proves itself; its members tell the lineage
    derived = of_members(contents.members, (*family.line, *family.unborn))
    if note is None:
        source = replace(source, revision=contents.revision, lineage=derived, bumps=family.bump(derived))
        return ranking.of(source, named)
    problem = _contradiction(source, contents, note)
    whose = family.completed(note.lineage, derived)
    source = replace(
        source,
        taken=note.taken,
        revision=note.revision,
        keys=note.keys,
        lineage=whose,
        bumps=family.bump(whose, told=note.bumps),
        fingerprint=note.fingerprint,
    )
    found = ranking.of(source, named)
    return replace(found, problem=problem, hash="bad", source=None) if problem else found


def _contradiction(source: Source, contents: bolt.Contents, note: Manifest) -> str | None:
    """How a whole file differs from the manifest beside it; None where it does not."""
    if source.sha256 != note.sha256:
        return "is not the file that its manifest describes: another SHA-256"
    if contents.revision != note.revision:
        return f"is at revision {contents.revision}, and its manifest says {note.revision}"
    return None


def _modified(path: Path) -> str:
    try:
        return _rfc3339(path.lstat().st_mtime)
    except OSError:
        return ""


def _rfc3339(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
