"""What there is to restore from: gathered from hosts and disks, and kept for the run. `choice` decides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from requorum.cluster.etcd import MemberConfig
from requorum.cluster.lineage import Lineage
from requorum.cluster.quorum import Installed, Verdict
from requorum.command import Result, look
from requorum.evidence.journal import now
from requorum.hosts import systemd
from requorum.hosts.question import Question, both, every
from requorum.hosts.systemd import ExecStart
from requorum.refusal import Refusal
from requorum.run import facts, held
from requorum.run.history import Birth, Told
from requorum.run.marker import ON_DISK, SALVAGE, Marker
from requorum.run.run import Run
from requorum.snapshots import disks, emptiness, files, on_host, ondisk, opened, survivors
from requorum.snapshots.disks import Disk
from requorum.snapshots.emptiness import Place
from requorum.snapshots.family import Family, family_of
from requorum.snapshots.loss import Loss
from requorum.snapshots.on_host import Origin, Unread
from requorum.snapshots.ranking import Candidate
from requorum.snapshots.snapshot import SnapshotError, Source
from requorum.snapshots.survivors import Salvaged


@dataclass
class Sources:
    """What is known of the data that can be restored, and which is; each field by the step that its comment names."""

    family: Family = field(default_factory=Family)  # Step 0: which lineage was lost
    birth: Birth | None = None  # Step 0: what this run's new cluster comes from
    living: dict[str, Birth] = field(default_factory=dict)  # Step 0: by token, of runs that never noted that it lives
    disks: tuple[Disk, ...] = ()  # Step 0: what old members' disks hold
    unread: dict[str, str] = field(default_factory=dict)  # Step 0: host → why earlier configurations cannot be read
    told: dict[str, str] = field(default_factory=dict)  # Step 0: host → as `Place.told`
    opened: dict[str, tuple[str, ...]] = field(default_factory=dict)  # Step 0: host → as `Place.opened`, where told
    anew: tuple[str, ...] = ()  # Step 0: hosts of the running cluster that began anew, also of a run that stopped it
    doubts: dict[str, str] = field(default_factory=dict)  # Step 0: host → why its disk is not proven to hold nothing
    given_up: dict[str, str] = field(default_factory=dict)  # Step 0: host → the doubt that `without:HOST` covers
    empty: dict[str, str] = field(default_factory=dict)  # Step 0: host → the doubt that `nothing:HOST` covers
    rows: tuple[Candidate, ...] = ()  # Step 0 and whoever makes a further one: all there are, with verdicts
    source: Source | None = None  # Step 0, or Step 1 for a handover: the one that is restored
    outrun: bool = False  # Step 1, after a handover: members hold more than was saved
    salvaged: Salvaged | None = None  # Step 1; None where the data was decided before
    last_resort: Candidate | None = None  # Step 1, with --skip-hash where salvage failed
    brought: str = ""  # Step 0, 1: SHA-256 of what was brought to the new members
    copied: bool = False  # Step 1: what was chosen was brought there only then
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

    @property
    def lost(self) -> Loss:
        """What is lost with the source that is chosen.

        Where Step 1 weighed nothing, the save of a healthy cluster lacks nothing, since nobody could write after it;
        what anything else lacks was never counted, as of a snapshot that was named while quorum is there.
        """
        source = self.source
        if source is None:
            return Loss(None, None, "no snapshot was chosen", asks=True)
        if self.loss is not None:
            return self.loss
        if source.kind == "handover":
            return Loss(0, 0, "saved after Deephaven was off and no client was connected: nothing is missing")
        why = f"writes acknowledged after the snapshot, whose file is dated {source.taken}, are not in it"
        return Loss(None, None, why, asks=True)

    def fields(self, keys: int | None = None) -> dict[str, object]:
        """Of `summary.json`. `keys`: how many the restored cluster holds, where they were counted."""
        return {
            "snapshot": _snapshot(self.source, keys) if self.source else None,
            "sources": [candidate.row() for candidate in self.rows],
            "data_loss": self.lost.fields(),
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


@dataclass(frozen=True)
class Machines:
    """Old members' machines, by host: what stands there, what its unit starts, None where nobody tells, and what that
    tells of the configuration, as `facts.told` has it."""

    installed: Mapping[str, Installed]
    starts: Mapping[str, ExecStart | None]
    told: Mapping[str, MemberConfig | str | None]


def recall(
    run: Run, sources: Sources, runs: Mapping[str, Told] | None = None, known: Mapping[str, Installed] = facts.NOTHING
) -> Machines:
    """Learns from the hosts which cluster was lost, and what earlier runs have made; keeps it in `sources`. What it has
    learnt of old members' machines is returned. `runs`, `known`: what hosts said of both before, where nothing acted
    since; what is missing is asked."""
    told = facts.runs(run) if runs is None else runs
    server, there = run.terms.configuration_server, _machines(run, known)
    births = held.births({host: one.births for host, one in told.items()}, server) | sources.living
    own = {birth.token for birth in told[server].births} if server in told else set()
    unheld = births.keys() - own - ({run.mark.token} if run.carrying_on else set())
    undone = held.outlived(told, server).rolled_back
    sources.told = {host: one if isinstance(one, str) else "" for host, one in there.told.items() if one is not None}
    sources.disks, sources.unread = _disks(run, there)
    on_disk = {disk.host: disk.lineage for disk in sources.disks if disk.installed}
    sources.family = family_of(on_disk, births, undone, unheld)
    sources.birth = births.get(run.mark.token)
    run.lost = (sources.family.lost.token or "") if sources.family.lost else ""
    return there


def _machines(run: Run, known: Mapping[str, Installed]) -> Machines:
    hosts = [member.host for member in run.terms.old_members]
    installed, starts = facts.stand(run, hosts, known), facts.starts(run, hosts)
    return Machines(installed, starts, facts.told(run, starts))


def _disks(run: Run, there: Machines) -> tuple[tuple[Disk, ...], dict[str, str]]:
    """Every cluster's data on every old member, the installed configuration's first; and host → why its earlier
    configurations cannot be read."""
    members = {member.host: member for member in run.terms.old_members}
    path, name = run.inventory.etcd.config, run.inventory.cluster
    earlier = run.ask({host: disks.ask_earlier(host, path, name) for host in members})
    files = facts.readable({host: one.config for host, one in there.installed.items()})
    installed = {h: c if isinstance(c := there.told.get(h), MemberConfig) else config for h, config in files.items()}
    found = run.ask(
        {
            (host, config.data_dir): disks.ask_disk(member, config, config is installed[host])
            for host, member in members.items()
            for config in disks.clusters(installed[host], filter(None, (files[host], *earlier[host].configs)))
        }
    )
    return tuple(found.values()), {host: one.unread for host, one in earlier.items()}


def doubt(run: Run, sources: Sources, there: Machines) -> None:
    """What is not understood of old members' disks; what the operator's word covers is said, and no doubt any more."""
    found, accepted = _doubts(run, sources, there), run.options.accepted
    covered = {kind: [host for host in accepted.hosts(kind) if host in found] for kind in ("without", "nothing")}
    for kind, hosts in covered.items():
        for host in hosts:
            run.warn(f"accepted on your word, {kind}:{host}: {found[host]}")
    sources.given_up = {host: found[host] for host in covered["without"]}
    sources.empty = {host: found[host] for host in covered["nothing"]}
    sources.doubts = {h: why for h, why in found.items() if h not in sources.given_up and h not in sources.empty}


def _doubts(run: Run, sources: Sources, there: Machines) -> dict[str, str]:
    """host → why its disk may hold data of the lost run that is not salvaged from it; of all old members."""
    settings = run.inventory.etcd
    salvageable = disks.salvageable(sources.disks, sources.family, None)
    picked, copied = {d.host for d in salvageable}, disks.copied(salvageable, run.options.accepted.hosts("without"))
    on_host = {m.host: [disk for disk in sources.disks if disk.host == m.host] for m in run.terms.old_members}
    noted = _noted(run, sources.family.lost)
    names = (opened.OPENED, opened.ANEW) if run.carrying_on else ()
    before = run.ask({name: opened.ask(run.terms, name) for name in names})
    sources.anew = sources.anew or tuple(before.get(opened.ANEW, ()))
    places = _places(run, sources, there, on_host, noted, before.get(opened.OPENED, {}))
    sources.opened = {host: place.opened for host, place in places.items() if place.opened}
    found = {
        host: emptiness.doubt(place, on_host[host], host in picked, sources.family, settings)
        for host, place in places.items()
    }
    return {host: why for host, why in found.items() if why} | copied


def _noted(run: Run, lost: Lineage | None) -> dict[str, tuple[str, str, str]]:
    """host → data directory, its file system and the backup, by the last manifest of the lost cluster that tells."""
    rows = [row for row in files.noted(run.inventory) if row.note and lost and row.lineage and row.lineage.agrees(lost)]
    rows.sort(key=lambda row: (row.note.number if row.note else 0, row.taken))
    return {host: (at, on, row.path) for row in rows if row.note for host, at, on in row.note.places}


def _places(
    run: Run,
    sources: Sources,
    there: Machines,
    on_host: Mapping[str, Sequence[Disk]],
    noted: Mapping[str, tuple[str, str, str]],
    before: Mapping[str, tuple[str, ...]],
) -> dict[str, Place]:
    """Every old member's machine: what is known of where its etcd keeps data; `before`: had, when it was stopped."""
    settings, unread, told = run.inventory.etcd, sources.unread, sources.told
    configs = facts.or_why({host: one.config for host, one in there.installed.items()})
    runs = {host: systemd.started(start) for host, start in there.starts.items()}
    known = {
        host: Place(host, one.unit, configs[host], earlier=unread[host], runs=runs[host], told=told.get(host))
        for host, one in there.installed.items()
    }
    places = run.ask({host: emptiness.ask_place(place, settings) for host, place in known.items()})
    root = settings.data_root
    leads = {host: emptiness.ways(place.root, root, on_host[host]) for host, place in places.items()}
    lie = {host: emptiness.strays(place.root, root, on_host[host]) for host, place in places.items()}
    up = {host for host, place in places.items() if place.unit.running}
    databases = {host: [disk.database for disk in of] for host, of in on_host.items()}
    next_to_that = run.ask(
        {
            host: both(
                both(
                    every([emptiness.ask_way(host, directory, link) for directory, link in leads[host].items()]),
                    every([emptiness.ask_stray(host, path) for path in lie[host]]),
                ),
                every([emptiness.ask_opened(host, settings.unit, databases[host])] if host in up else []),
            )
            for host in places
        }
    )
    open_now = {host: of[0] for host, (_, of) in next_to_that.items() if of}
    for host, others in open_now.items():
        if others is None:
            run.note(f"{host}: nobody tells which database its running etcd has open; its configuration is believed")
    return {
        host: replace(
            place,
            opened=before.get(host, open_now.get(host, ())) if open_now.get(host) is None else open_now[host],
            noted=noted.get(host),
            ways=dict(zip(leads[host], next_to_that[host][0][0], strict=True)),
            strays=dict(zip(lie[host], next_to_that[host][0][1], strict=True)),
        )
        for host, place in places.items()
    }


def of_this_run(run: Run) -> Source:
    """What the unfinished run restores, found again by its SHA-256: staged on a host, or the operator's file."""
    mark, terms = run.mark, run.terms
    if run.options.snapshot:
        named = files.whole(run.inventory, Path(run.options.snapshot))
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


def saved(run: Run, save: Result, kind: str) -> Source | Unread:
    """A snapshot that was just saved on the configuration server."""
    if save.code != 0:
        return Unread(f"could not be saved: {save.words}")
    origin, vendor = Origin(kind, None, 0, now()), on_host.reader(run.terms)
    asked = {p: on_host.ask_source(origin, save.command.host, p, vendor=vendor) for p in save.command.makes}
    (found,) = run.ask(asked).values()
    return found


def save_healthy_cluster(run: Run, verdict: Verdict | None) -> Source:
    """The handover's save: from the first healthy member, while nobody writes. Raises when it fails."""
    assert verdict is not None
    endpoints = [f.config.client_urls[0] for f in verdict.members if f.has_leader and f.config]
    (save,) = run.do([on_host.save(run.terms, endpoints[0], run.terms.place("live.snap"))])
    found = saved(run, save, "handover")
    if isinstance(found, Unread):
        raise SnapshotError(endpoints[0], found.why, "Deephaven is off; run again")
    return found


def show(run: Run, sources: Sources, rows: tuple[Candidate, ...]) -> None:
    """All of them as they are now: in the journal, kept for `summary.json`; the operator is told what is used."""
    sources.rows = rows
    run.sources = [row.row() for row in rows]
    run.journal.record("sources", lost=str(sources.family.lost or "unknown"), sources=run.sources)


def outlook(sources: Sources) -> list[str]:
    """For the operator: what may take the place of what Step 0 holds."""
    later = [row.host for row in sources.rows if row.problem == disks.IN_STEP_1]
    return [f"the data on the disk of {host} may be newer: it is {disks.IN_STEP_1}" for host in later]


def salvageable(run: Run, sources: Sources) -> list[Disk]:
    """Whose data Step 1 salvages: not of a disk that is in doubt, or that the operator's word covers."""
    left = {**sources.doubts, **sources.given_up, **sources.empty}
    return disks.salvageable(sources.disks, sources.family, run.options.salvage, left)
