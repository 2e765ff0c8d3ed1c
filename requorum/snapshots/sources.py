"""Choosing the data to restore: all sources there are, in one table, and which of them it is."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path

from requorum.cluster.quorum import Kind, State, Verdict
from requorum.command import Result, look
from requorum.evidence.journal import now
from requorum.hosts.question import Question
from requorum.inventory import Inventory
from requorum.refusal import Refusal
from requorum.run import facts, history
from requorum.run.history import Birth
from requorum.run.marker import ON_DISK, SALVAGE, Marker
from requorum.run.run import Run
from requorum.snapshots import choice, disks, emptiness, files, on_host, ondisk, ranking, snapshot, survivors
from requorum.snapshots.choice import Decision, Loss
from requorum.snapshots.disks import Disk
from requorum.snapshots.emptiness import Place
from requorum.snapshots.family import Family, family_of
from requorum.snapshots.files import _rfc3339, of_files
from requorum.snapshots.on_host import Origin, Unread
from requorum.snapshots.ranking import Candidate
from requorum.snapshots.snapshot import SnapshotError, Source
from requorum.snapshots.survivors import Salvaged


def is_handover(run: Run, verdict: Verdict | None) -> bool:
    """Whether a healthy cluster is being rebuilt from itself: it is saved anew on every run until it is stopped."""
    return verdict is not None and verdict.kind is Kind.INTACT and not run.options.names_data


def from_files(run: Run, sources: Sources, verdict: Verdict | None) -> Source | None:
    """The verified file to restore; None in a handover, where the healthy cluster itself will be saved.

    A run that is carried on keeps to its data once that could be restored somewhere, or when it is a healthy cluster's
    save, which cannot be made again; before that the choice is made anew. Raises `SnapshotError` when there is none.
    """
    recall(run, sources)
    if is_handover(run, verdict):
        return None
    if run.mark.snapshot and verdict is None:
        return _of_this_run(run)
    if run.mark.origin == "handover":
        _refuse_a_save_that_may_be_old(run, verdict)
        return _of_this_run(run)
    refused = disks.refusal(sources.disks, sources.family, run.options.salvage, run.options.skip_hash)
    if refused:
        raise SnapshotError(*refused)
    _doubt(run, sources)
    chosen = choose_file(run, sources)
    _refuse_what_is_not_understood(run, sources)
    alive = (State.LEADERLESS, State.HEALTHY)
    lets_save = verdict is not None and any(f.state in alive for f in verdict.members)
    if not lets_save and not _on_disks(run, sources, verdict):
        if chosen is None:
            raise _nothing(sources)
        refuse_an_old_file(run, _row(sources, chosen))
    return chosen


def _doubt(run: Run, sources: Sources) -> None:
    """What is not understood of old members' disks; what the operator's word covers is said, and no doubt any more."""
    found, accepted = doubts(run, sources), run.options.accepted
    covered = {kind: [host for host in accepted.hosts(kind) if host in found] for kind in ("without", "nothing")}
    for kind, hosts in covered.items():
        for host in hosts:
            run.note(f"accepted on your word, {kind}:{host}: {found[host]}")
    sources.given_up = {host: found[host] for host in covered["without"]}
    sources.empty = {host: found[host] for host in covered["nothing"]}
    sources.doubts = {h: why for h, why in found.items() if h not in sources.given_up and h not in sources.empty}


def _refuse_what_is_not_understood(run: Run, sources: Sources) -> None:
    """Before anything is touched: a disk may hold newer data that no salvage will find."""
    options = run.options
    whole = {disk.host for disk in salvageable(run, sources)}
    members, doubts = len(run.inventory.old_members), tuple(sources.doubts.items())
    salvaged = Salvaged(None, members=members, could_not=doubts)
    stop = choice.refusal(_found(run, sources, salvaged))
    if stop and 2 * len(whole) <= members and not options.names_data:
        raise stop


def _row(sources: Sources, source: Source | None) -> Candidate | None:
    """Its row in the table."""
    rows = [row for row in sources.rows if row.source and source]
    return next((row for row in rows if source and row.source and row.source.path == source.path), None)


def _refuse_a_save_that_may_be_old(run: Run, verdict: Verdict | None) -> None:
    """A handover's save holds only if nobody wrote after it: every old member was set aside, or its disk can tell."""
    members = verdict.members if verdict else ()
    unsure = [f.member.host for f in members if not f.has_data and (f.gone or (f.unit and f.unit.installed))]
    if unsure:
        raise SnapshotError(
            ", ".join(unsure),
            f"may have been written to after run {run.mark.run} saved the run at {run.mark.taken}",
            "give that run up (docs/night.md#giving-a-run-up), and run the same command again: what the stopped "
            "members' disks hold is salvaged then, and where that fails the run stops with the choices",
        )


def _of_this_run(run: Run) -> Source:
    """What the unfinished run restores, found again by its SHA-256: staged on a host, or the operator's file."""
    mark, terms = run.mark, run.terms
    if run.options.snapshot:
        named = snapshot.verify(Path(run.options.snapshot))
        if named.sha256 != mark.snapshot:
            raise SnapshotError(
                named.path,
                f"is not the snapshot that the unfinished run {mark.run} restores",
                "leave --snapshot out to carry that run on",
            )
        return named
    staged = facts.digests(run, dict.fromkeys(terms.member_hosts, terms.snapshot_path))
    made = _whole(run, staged, terms.snapshot_path) or _made_by_this_run(run)
    if made is not None:
        return made
    source = files.by_sha256(run.inventory, mark.snapshot)
    if source is not None:
        return source
    raise SnapshotError(
        "the hosts",
        f"hold no whole copy of the snapshot that the unfinished run {mark.run} restores",
        "name the same file again with --snapshot=FILE",
    )


def _made_by_this_run(run: Run) -> Source | None:
    """The salvage, or the copied database, that the run which is carried on chose; found on the host that made it."""
    mark, places = run.mark, {SALVAGE: survivors.kept, ON_DISK: ondisk.kept}
    if mark.origin not in places:
        return None
    path = places[mark.origin](run.terms)
    return _whole(run, facts.digests(run, dict.fromkeys(run.terms.etcd_hosts, path)), path)


def _whole(run: Run, digests: Mapping[str, str], path: str) -> Source | None:
    """What the run that is carried on restores, on the first host whose file has its SHA-256."""
    mark, host = run.mark, next((host for host, digest in digests.items() if digest == run.mark.snapshot), None)
    if host is None:
        return None
    size = Question(look(host, "stat", "-c", "%s", path, why="its size", accept=(0,)), lambda said: int(said.stdout))
    return Source(mark.origin, host, path, mark.snapshot, run.ask({host: size})[host], mark.taken)


def better(run: Run, sources: Sources, verdict: Verdict | None, saves: list[Result]) -> Source | None:
    """The newest save from a survivor, where it is newer than what is held. Raises where there is nothing at all."""
    saved = []
    for save in saves:
        found = _saved(run, save, "survivor")
        if isinstance(found, Source):
            saved.append(found)
        else:
            failed(run, sources, "survivor", save.command.host, ", ".join(save.command.makes), found.why)
    held, last = sources.source, not is_handover(run, verdict) and not _on_disks(run, sources, verdict)
    if not saved and last and held is None:
        raise _nothing(sources)
    best = offer(run, sources, saved) if saved else held
    if last:
        refuse_an_old_file(run, _row(sources, best))
    return best if best is not None and (held is None or best.sha256 != held.sha256) else None


def _on_disks(run: Run, sources: Sources, verdict: Verdict | None) -> bool:
    """Whether Step 1 may find data on old members' disks; a run that is carried on finds out there."""
    if verdict is None or run.options.skip_hash:
        return True
    return bool(salvageable(run, sources))


def salvageable(run: Run, sources: Sources) -> list[Disk]:
    """Whose data Step 1 salvages: not of a disk that is in doubt, or that the operator's word covers."""
    left = {**sources.doubts, **sources.given_up, **sources.empty}
    return disks.salvageable(sources.disks, sources.family, run.options.salvage, left)


def _nothing(sources: Sources) -> SnapshotError:
    return choice.nothing(
        "neither --snapshot, nor snapshot.file, nor a backup in snapshot.directory, no surviving member lets anybody "
        "log in, and no old member's disk holds a whole log and database of the lost cluster",
        sources.rows,
    )


def decide(run: Run, sources: Sources, salvaged: Salvaged) -> Decision:
    """What is restored, out of all that was found. Raises `SnapshotError` where there is nothing, or only a backup
    that is too old, or where the disks may hold more and nobody named other data."""
    found = _found(run, sources, salvaged)
    chosen, rows = choice.table(found)
    show(run, sources, rows)
    stop = choice.refusal(found)
    if stop and not run.options.snapshot and not choice.obeys(found, chosen):
        raise stop
    if chosen is not None:
        refuse_an_old_file(run, chosen, choice.why_lost(chosen, salvaged))
    return choice.decide(found)


def _found(run: Run, sources: Sources, salvaged: Salvaged) -> choice.Found:
    return choice.Found(
        sources.rows,
        sources.disks,
        sources.family,
        sources.source,
        salvaged,
        run.options.salvage,
        sources.last_resort,
        run.options.accepted,
    )


def _saved(run: Run, save: Result, kind: str) -> Source | Unread:
    """A snapshot that was just saved on the configuration server."""
    if save.code != 0:
        return Unread(f"could not be saved: {save.words}")
    origin, vendor = Origin(kind, None, 0, now()), on_host.etcdctl(run.terms)
    asked = {p: on_host.ask_source(origin, save.command.host, p, vendor=vendor) for p in save.command.makes}
    (found,) = run.ask(asked).values()
    return found


def save_healthy_cluster(run: Run, verdict: Verdict | None) -> Source:
    """The handover's save: from the first healthy member, while nobody writes. Raises when it fails."""
    assert verdict is not None
    endpoints = [f.config.client_urls[0] for f in verdict.members if f.has_leader and f.config]
    (save,) = run.do([on_host.save(run.terms, endpoints[0], run.terms.place("live.snap"))])
    found = _saved(run, save, "handover")
    if isinstance(found, Unread):
        raise SnapshotError(endpoints[0], found.why, "Deephaven is off; run again")
    return found


@dataclass
class Sources:
    """What is known of the data that can be restored, and which is; each field by the step that its comment names."""

    family: Family = field(default_factory=Family)  # Step 0: which lineage was lost
    birth: Birth | None = None  # Step 0: what this run's new cluster comes from
    disks: tuple[Disk, ...] = ()  # Step 0: what old members' disks hold
    unread: dict[str, str] = field(default_factory=dict)  # Step 0: host → why earlier configurations cannot be read
    doubts: dict[str, str] = field(default_factory=dict)  # Step 0: host → why its disk is not proven to hold nothing
    given_up: dict[str, str] = field(default_factory=dict)  # Step 0: host → the doubt that `without:HOST` covers
    empty: dict[str, str] = field(default_factory=dict)  # Step 0: host → the doubt that `nothing:HOST` covers
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
    told = run.ask({host: history.ask_births(host, run.inventory.cluster) for host in run.terms.everyone})
    births = history.furthest(chain.from_iterable(told.values()))
    sources.disks, sources.unread = _disks(run)
    sources.family = family_of({disk.host: disk.lineage for disk in sources.disks if disk.installed}, births)
    sources.birth = births.get(run.mark.token)


def _disks(run: Run) -> tuple[tuple[Disk, ...], dict[str, str]]:
    """Every cluster's data on every old member, the installed configuration's first; and host → why its earlier
    configurations cannot be read."""
    members = {member.host: member for member in run.terms.old_members}
    path, name = run.inventory.etcd.config, run.inventory.cluster
    installed = facts.old_configs(run, members)
    earlier = run.ask({host: disks.ask_earlier(host, path, name) for host in members})
    found = run.ask(
        {
            (host, config.data_dir): disks.ask_disk(member, config, config is installed[host])
            for host, member in members.items()
            for config in disks.clusters(installed[host], earlier[host].configs)
        }
    )
    return tuple(found.values()), {host: there.unread for host, there in earlier.items()}


def doubts(run: Run, sources: Sources) -> dict[str, str]:
    """host → why its disk may hold data of the lost run that is not salvaged from it; of all old members."""
    settings = run.inventory.etcd
    picked = {disk.host for disk in disks.salvageable(sources.disks, sources.family, None)}
    on_host = {m.host: [disk for disk in sources.disks if disk.host == m.host] for m in run.terms.old_members}
    found = {
        host: emptiness.doubt(place, on_host[host], host in picked, sources.family, settings)
        for host, place in _places(run, sources.unread, on_host).items()
    }
    return {host: why for host, why in found.items() if why}


def _places(run: Run, unread: Mapping[str, str], on_host: Mapping[str, Sequence[Disk]]) -> dict[str, Place]:
    """Every old member's machine: what is known of where its etcd keeps data."""
    settings, aside = run.inventory.etcd, run.terms.aside
    units, configs = facts.units(run, on_host), facts.configs_or_why(run, on_host)
    known = {host: Place(host, units[host], configs[host], earlier=unread[host]) for host in on_host}
    places = run.ask({host: emptiness.ask_place(place, settings, aside) for host, place in known.items()})
    root = settings.data_root
    ways = run.ask(
        {
            (host, directory): emptiness.ask_way(host, directory, link)
            for host, place in places.items()
            for directory, link in emptiness.ways(place.root, root, on_host[host]).items()
        }
    )
    strays = run.ask(
        {
            (host, path): emptiness.ask_stray(host, path)
            for host, place in places.items()
            for path in emptiness.strays(place.root, root, on_host[host])
        }
    )
    return {
        host: replace(
            place,
            ways={path: way for (where, path), way in ways.items() if where == host},
            strays={path: stray for (where, path), stray in strays.items() if where == host},
        )
        for host, place in places.items()
    }


def choose_file(run: Run, sources: Sources) -> Source | None:
    """The file to restore, out of all on this machine; None where none may be chosen by itself.

    Its age is judged by `refuse_an_old_file`, once nothing can take its place any more. Raises `SnapshotError` for a
    named file that is bad.
    """
    family, options = sources.family, run.options
    found = of_files(run.inventory, options.snapshot, family)
    for candidate in found:
        if candidate.named and candidate.problem:
            raise SnapshotError(candidate.path, candidate.problem, "use another snapshot: --snapshot=FILE")
    chosen = _rank(run, sources, [*found, *disks.listed(sources.disks, family, options.salvage)])
    for candidate in found:
        if candidate.problem:
            run.note(f"skipped: {candidate.path} {candidate.problem}")
    if chosen is None:
        return None
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
    if chosen is None or age is None or run.options.accepted.has("backup"):
        return
    accept = f"--snapshot={shlex.quote(chosen.path)}"
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
