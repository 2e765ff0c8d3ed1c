"""Every source of data there is, gathered: files on this machine, what the hosts say, saves and salvage as they come.

`ranking` decides, `sources` hands the decision to the stages; here facts are asked for and the table is kept up to
date in `cluster.known`. Whoever has made a further source (a save, a salvage) calls `offer`, or `failed` when it could
not be made.
"""

from __future__ import annotations

import getpass
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from requorum import bolt, disks, emptiness, facts, layout, lineage, manifest, ranking, snapshot
from requorum.cluster import Run
from requorum.disks import Disk
from requorum.inventory import Inventory
from requorum.layout import Layout
from requorum.lineage import Family, Lineage
from requorum.manifest import Manifest, ManifestError
from requorum.ranking import BY_YOU, IN_INVENTORY, Candidate
from requorum.snapshot import SUFFIXES, SnapshotError, Source

DEPTH = 3  # from a data directory to member/snap/db and member/wal/*.wal


def recall(run: Run) -> None:
    """Learns from the hosts which cluster was lost, and what earlier runs have made; keeps it in `cluster.known`."""
    known = run.known
    births = lineage.furthest(
        birth
        for result in run.ask([lineage.ask_births(h, run.inventory.cluster) for h in run.terms.everyone])
        for birth in lineage.parse_births(result.stdout)
    )
    known.disks = _disks(run)
    known.family = lineage.family({disk.host: disk.lineage for disk in known.disks if disk.installed}, births)
    known.birth = births.get(run.mark.token)


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
    layouts = run.ask([layout.ask(host, config.data_dir, DEPTH) for host, config in there])
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


def doubts(run: Run) -> dict[str, str]:
    """host → why it is not proven that its disk holds nothing; of old members of which nothing is salvaged."""
    known, options, settings = run.known, run.options, run.inventory.etcd
    salvaged = {disk.host for disk in disks.salvageable(known.disks, known.family, options.salvage)}
    hosts = [member.host for member in run.terms.old_members if member.host not in salvaged]
    units, configs = facts.units(run, hosts), facts.configs_or_why(run, hosts)
    said = run.ask_by_host([question for host in hosts for question in emptiness.ask(host, settings.unit)])
    roots = facts.by_host(run, [layout.ask(host, settings.data_root, 1) for host in hosts])
    found = {}
    for host in hosts:
        runs, processes, wanted, mounted = said[host]
        on_host = [disk for disk in known.disks if disk.host == host]
        root = layout.parse(settings.data_root, roots[host])
        place = emptiness.Place(
            host,
            units[host],
            configs[host],
            emptiness.runs(host, settings.unit, runs),
            emptiness.processes(processes),
            root,
            emptiness.unmounted(wanted, mounted),
            _strays(run, host, emptiness.strays(root, settings.data_root, on_host)),
        )
        found[host] = emptiness.doubt(place, on_host, known.family, settings)
    return {host: why for host, why in found.items() if why}


def _strays(run: Run, host: str, paths: list[str]) -> dict[str, tuple[Layout, Lineage]]:
    """What lies in directories that no configuration names, and by its log, which cluster's it is."""
    lies = run.ask([layout.ask(host, path, DEPTH) for path in paths])
    heads = run.ask([lineage.ask_wal(host, path) for path in paths])
    return {
        path: (layout.parse(path, found), Lineage(None, lineage.parse_wal(head.stdout)))
        for path, found, head in zip(paths, lies, heads, strict=True)
    }


def choose_file(run: Run) -> Source | None:
    """The file to restore, out of all on this machine; None where none may be chosen by itself.

    Its age is judged by `refuse_an_old_file`, once nothing can take its place any more. Raises `SnapshotError` for a
    named file that is bad, or a directory that is not there.
    """
    known, options = run.known, run.options
    found = of_files(run.inventory, options.snapshot, known.family)
    for candidate in found:
        if candidate.named and candidate.problem:
            raise SnapshotError(candidate.path, candidate.problem, "use another snapshot: --snapshot=FILE")
    chosen = _rank(run, [*found, *disks.listed(known.disks, known.family, options.salvage)])
    if chosen is None:
        return None
    for candidate in found:
        if candidate.problem:
            run.note(f"skipped: {candidate.path} {candidate.problem}")
    if chosen.named and known.family.line and not _of_family(chosen, known.family):
        run.note(f"{chosen.path} is of another lineage ({chosen.lineage}), used because it was named")
    return chosen.source


def offer(run: Run, sources: list[Source]) -> Source | None:
    """Adds what was just made to the table, and chooses again. Returns the chosen one, None where there is none.

    A source without a lineage is the lost cluster's own: it was taken from its members.
    """
    lost = run.known.family.lost
    owned = [replace(s, lineage=lost, bumps=run.known.family.bump(lost)) if s.lineage is None else s for s in sources]
    chosen = _rank(run, [*map(ranking.of, owned), *run.known.sources])
    return chosen.source if chosen else None


def failed(run: Run, kind: str, host: str | None, path: str, why: str) -> None:
    """Adds a source that could have been and is not, with the reason."""
    taken = _rfc3339(datetime.now(UTC).timestamp())
    _rank(run, [Candidate(kind, host, path, taken, problem=why), *run.known.sources])


def by_sha256(inventory: Inventory, sha256: str) -> Source | None:
    """The file on this machine that has this SHA-256, whole; for a run that is carried on."""
    for candidate in of_files(inventory, None, Family()):
        if candidate.source and candidate.source.sha256 == sha256:
            return candidate.source
    return None


def _rank(run: Run, candidates: list[Candidate]) -> Candidate | None:
    chosen, rows = ranking.rank(candidates, run.known.family)
    show(run, rows)
    return chosen


def show(run: Run, rows: tuple[Candidate, ...]) -> None:
    """The table as it is now: below the stage, in the journal, and kept for `summary.json`."""
    run.known.sources = rows
    run.table = [row.row() for row in rows]
    run.journal.record("sources", lost=str(run.known.family.lost or "unknown"), sources=run.table)


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
    derived = lineage.of_members(contents.members, (*family.line, *family.unborn))
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
