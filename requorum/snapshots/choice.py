"""Which data is restored: chosen in Step 0 from what can be had by then, and for good in Step 1, once the old etcd is
proven stopped: the salvage, a snapshot, or the last resort. `ranking` orders, `sources` gathers."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from requorum.cluster import etcd
from requorum.cluster.quorum import Installed, Kind, State, Verdict
from requorum.command import Result
from requorum.evidence.journal import now
from requorum.run import facts
from requorum.run.accepted import Accepted, option
from requorum.run.history import Told
from requorum.run.marker import ON_DISK, SALVAGE, Phase
from requorum.run.run import Run
from requorum.snapshots import age, anew, disks, files, price, ranking
from requorum.snapshots.disks import Disk
from requorum.snapshots.emptiness import UNNAMED
from requorum.snapshots.family import Family
from requorum.snapshots.loss import Loss, loss_of, why_lost
from requorum.snapshots.ranking import BY_YOU, DIRECTORY, NAME_SALVAGE, Candidate
from requorum.snapshots.snapshot import SnapshotError, Source
from requorum.snapshots.sources import Sources, doubt, of_this_run, recall, salvageable, saved, show
from requorum.snapshots.survivors import UNCOPIED, Salvaged, listed

# -- by stages -------------------------------------------------------------------------------------------------


def is_handover(run: Run, verdict: Verdict | None) -> bool:
    """Whether a healthy cluster is being rebuilt from itself: it is saved anew on every run until it is stopped."""
    return verdict is not None and verdict.kind is Kind.INTACT and not run.options.names_data


def in_step_0(
    run: Run,
    sources: Sources,
    verdict: Verdict | None,
    runs: Mapping[str, Told] | None = None,
    known: Mapping[str, Installed] = facts.NOTHING,
) -> Source | None:
    """The verified file to restore; None in a handover, where the healthy cluster itself will be saved. `runs`, `known`
    as `sources.recall` takes them.

    A run that is carried on keeps to its data once that could be restored somewhere, or when it is a healthy cluster's
    save, which cannot be made again; before that the choice is made anew. Raises `SnapshotError` when there is none.
    """
    there = recall(run, sources, runs, known)
    if is_handover(run, verdict):
        return None
    if run.mark.snapshot and verdict is None:
        return of_this_run(run)
    if run.mark.origin == "handover":
        _refuse_a_save_that_may_be_old(run, verdict)
        return of_this_run(run)
    refused = disks.refusal(sources.disks, sources.family, run.options.salvage, run.options.skip_hash)
    if refused:
        raise SnapshotError(*refused)
    doubt(run, sources, there)
    chosen = _choose_file(run, sources)
    _refuse_what_is_not_understood(run, sources)
    alive = (State.LEADERLESS, State.HEALTHY)
    lets_save = verdict is not None and any(f.state in alive for f in verdict.members)
    if not lets_save and not _on_disks(run, sources, verdict):
        if chosen is None:
            raise _nothing_at_all(sources)
        refuse_an_old_file(run, _row(sources, chosen))
    return chosen


def _refuse_what_is_not_understood(run: Run, sources: Sources) -> None:
    """Before anything is touched: a disk may hold newer data that no salvage will find."""
    options = run.options
    whole = {disk.host for disk in salvageable(run, sources)}
    members, doubts = len(run.inventory.old_members), tuple(sources.doubts.items())
    salvaged = Salvaged(None, members=members, could_not=doubts)
    stop = refusal(_found(run, sources, salvaged))
    if stop and 2 * len(whole) <= members and not options.names_data:
        raise stop


def _refuse_a_save_that_may_be_old(run: Run, verdict: Verdict | None) -> None:
    """A handover's save holds only if nobody wrote after it: every old member was set aside, or its disk can tell; or a
    majority was or can, without which no write is acknowledged."""
    members = verdict.members if verdict else ()
    unsure = [f.member.host for f in members if not f.has_data and (f.gone or (f.unit and f.unit.installed))]
    if 2 * (len(members) - len(unsure)) <= len(members) and unsure:
        raise SnapshotError(
            ", ".join(unsure),
            f"may have been written to after run {run.mark.run} saved the run at {run.mark.taken}",
            f"give that run up: {run.mark.rollback(run.options.hosts)}; and run the same command again: what the "
            "stopped members' disks hold is salvaged then, and where that fails the run stops with the choices",
        )


def after_saves(run: Run, sources: Sources, verdict: Verdict | None, saves: list[Result]) -> Source | None:
    """The newest save from a survivor, where it is newer than what is held. Raises where there is nothing at all."""
    whole = []
    for save in saves:
        found = saved(run, save, "survivor")
        if isinstance(found, Source):
            whole.append(found)
        else:
            path = ", ".join(save.command.makes)
            row = Candidate("survivor", save.command.host, path, now(), problem=found.why)
            _rank(run, sources, [row, *sources.rows])
    held, last = sources.source, not is_handover(run, verdict) and not _on_disks(run, sources, verdict)
    if not whole and last and held is None:
        raise _nothing_at_all(sources)
    best = _offer(run, sources, whole) if whole else held
    if last:
        refuse_an_old_file(run, _row(sources, best))
    return best if best is not None and (held is None or best.sha256 != held.sha256) else None


def _on_disks(run: Run, sources: Sources, verdict: Verdict | None) -> bool:
    """Whether Step 1 may find data on old members' disks; a run that is carried on finds out there."""
    if verdict is None or run.options.skip_hash:
        return True
    return bool(salvageable(run, sources))


def _nothing_at_all(sources: Sources) -> SnapshotError:
    return nothing(
        "neither --snapshot, nor snapshot.file, nor a backup in snapshot.directory, no surviving member lets anybody "
        "log in, and no old member's disk holds a whole log and database of the lost cluster",
        sources.rows,
    )


def outrun(run: Run, sources: Sources) -> None:
    """After a handover whose members hold more than was saved: the disks decide, the save is one source of others."""
    sources.outrun = True
    _offer(run, sources, [sources.chosen])


def in_step_1(run: Run, sources: Sources, salvaged: Salvaged) -> Decision:
    """What is restored, out of all that was found. Raises `SnapshotError` where there is nothing, or only a backup
    that is too old, or where the disks may hold more and nobody named other data."""
    found = _found(run, sources, salvaged)
    chosen, rows = table(found)
    show(run, sources, rows)
    stop = refusal(found)
    if stop and not run.options.snapshot and not obeys(found, chosen):
        raise stop
    if chosen is not None:
        refuse_an_old_file(run, chosen, why_lost(chosen, salvaged))
    return decide(found)


def _found(run: Run, sources: Sources, salvaged: Salvaged) -> Found:
    return Found(
        sources.rows,
        sources.disks,
        sources.family,
        sources.source,
        salvaged,
        run.options.salvage,
        sources.last_resort,
        run.options.accepted,
        run.mark.rollback(run.options.hosts) if run.mark.phase > Phase.OPEN else "",
        run.mark.began if run.carrying_on else datetime.now(UTC),
    )


def _another_file(run: Run, family: Family, bad: Candidate) -> str:
    """Which backup could be named instead of one that is bad; without one nothing needs to be named."""
    others = [row for row in files.of_files(run.inventory, None, family) if row.path != bad.path]
    best, _ = ranking.rank(others, family)
    return f"use another snapshot: {_named(best)}" if best else "leave --snapshot out: what the disks hold is salvaged"


def _choose_file(run: Run, sources: Sources) -> Source | None:
    """The file to restore, out of all on this machine; None where none may be chosen by itself.

    Its age is judged by `refuse_an_old_file`, once nothing can take its place any more. Raises `SnapshotError` for a
    named file that is bad.
    """
    family, options = sources.family, run.options
    found = files.of_files(run.inventory, options.snapshot, family)
    for candidate in found:
        if candidate.named and candidate.problem:
            raise SnapshotError(candidate.path, candidate.problem, _another_file(run, family, candidate))
    on_disks = disks.listed(sources.disks, family, options.salvage)
    found = files.without_older(found, ranking.rank([*found, *on_disks], family)[0])
    chosen = _rank(run, sources, [*found, *on_disks])
    for note in files.skipped(found):
        run.note(note)
    if chosen is None:
        return None
    if chosen.named and family.line and not _of_family(chosen, family):
        run.note(f"{chosen.path} is of another cluster ({chosen.lineage}), used because you named it")
    return chosen.source


def _offer(run: Run, sources: Sources, made: list[Source]) -> Source | None:
    """Adds what was just made to the table, and chooses again. Returns the chosen one, None where there is none.

    A source without a lineage is the lost cluster's own: it was taken from its members.
    """
    lost = sources.family.lost
    owned = [replace(s, lineage=lost, bumps=sources.family.bump(lost)) if s.lineage is None else s for s in made]
    chosen = _rank(run, sources, [*map(ranking.of, owned), *sources.rows])
    return chosen.source if chosen else None


def _rank(run: Run, sources: Sources, candidates: list[Candidate]) -> Candidate | None:
    chosen, rows = ranking.rank(candidates, sources.family)
    show(run, sources, rows)
    return chosen


def _row(sources: Sources, source: Source | None) -> Candidate | None:
    """Its row in the table."""
    rows = [row for row in sources.rows if row.source and source]
    return next((row for row in rows if source and row.source and row.source.path == source.path), None)


def _of_family(candidate: Candidate, family: Family) -> bool:
    return candidate.lineage is not None and family.generation(candidate.lineage) is not None


def refuse_an_old_file(run: Run, chosen: Candidate | None, without: str = "") -> None:
    """Raises `SnapshotError` where a backup that nobody named would be restored, and is too old. `without`: why it is
    not the salvage, where that was tried: etcd is stopped then, and the same command carries the run on.

    A run that is carried on goes by the age that the backup had when that run began: nobody wrote since.
    """
    source = chosen.source if chosen else None
    if source and source.authentication:
        anew.refuse_left_open(run, source.path, source.authentication.on, source.lineage, files.noted(run.inventory))
    if chosen and (odd := age.of_the_future(chosen, datetime.now(UTC))):
        run.warn(odd)
    old = age.too_old(run.inventory, chosen, run.mark.began if run.carrying_on else datetime.now(UTC))
    if chosen is None or old is None or run.options.accepted.has("backup"):
        return
    accept = f"--snapshot={shlex.quote(chosen.path)}"
    if not without:
        raise SnapshotError(chosen.path, old, f"find a newer one, or accept its age with {accept}")
    raise SnapshotError(
        chosen.path,
        f"{without}; {old}",
        f"the run stays as it is, and the same command carries it on once salvage can succeed or a newer backup is in "
        f"its place; or accept its age with {accept}",
    )


# -- the decision of Step 1, a pure function over what was found --------------------------------------------------


@dataclass(frozen=True)
class Decision:
    """The source to restore, the table, what is lost with it, and lines for the operator. `new`: it is another one than
    Step 0 held, or that held none. `less`: it is not the whole salvage of every disk that may hold something, or
    something is known to be lost."""

    source: Source
    rows: tuple[Candidate, ...]
    loss: Loss
    notes: tuple[str, ...]
    new: bool
    less: bool


@dataclass(frozen=True)
class Found:
    """All that the decision is made from. `rows`: the table of Step 0; `held`: the source that Step 0 chose; `named`:
    the token that the operator wants salvaged; `resort`: the last resort, where it was asked for and taken;
    `accepted`: the losses that the operator's word covers; `back`: the command that goes back, once that is one; `at`:
    when the run began, for the hours that a choice costs."""

    rows: tuple[Candidate, ...]
    disks: tuple[Disk, ...]
    family: Family
    held: Source | None
    salvaged: Salvaged
    named: str | None = None
    resort: Candidate | None = None
    accepted: Accepted = field(default_factory=Accepted)
    back: str = ""
    at: datetime | None = None


def decide(found: Found) -> Decision:
    """Raises `SnapshotError` where nothing can be restored, naming what could be done about it."""
    chosen, rows = table(found)
    if chosen is None or chosen.source is None:
        raise _nothing(found)
    new = found.held is None or found.held.sha256 != chosen.source.sha256
    source = chosen.source if new or found.held is None else found.held  # as Step 0 knows it
    lost = loss_of(chosen, found.salvaged, found.rows)
    less = source.kind != SALVAGE or lost.asks or bool(lost.certain or found.salvaged.could_not)
    return Decision(source, rows, lost, tuple(_notes(found, chosen)), new, less)


def refusal(found: Found) -> SnapshotError | None:
    """Why nothing may be restored without the operator's word, and what the word could be; None where the disks hold
    nothing that would be missing, or the word was given."""
    return None if found.accepted.has("backup") else _stop(found)


def _stop(found: Found) -> SnapshotError | None:
    """What disks hold is whole in the salvage where it did not fail, and where all of them are in it, or a majority:
    then every acknowledged write is. A backup takes its place only where no disk is in doubt."""
    salvaged, (chosen, _) = found.salvaged, _ranked(found, _from_disks(found))
    if salvaged.failed:
        what = f"{salvaged.absence}; what the disks hold may be newer than any backup"
        stop = SnapshotError("salvage", what, choices(found, salvaged.mend))
        stop.said, stop.hosts = salvaged.said, salvaged.hosts
        return stop
    if found.named:
        return None
    if salvaged.could_not and not (salvaged.has_a_majority and (chosen is None or chosen.kind == SALVAGE)):
        hosts = ", ".join(dict.fromkeys(host for host, _ in salvaged.could_not))
        what = f"may hold newer data than all that can be restored: {listed(salvaged.could_not)}"
        stop = SnapshotError(hosts, what, choices(found, _readable(salvaged)))
        whys = dict.fromkeys(why for _, why in salvaged.could_not)
        stop.brief, stop.said = next(iter(whys)) if len(whys) == 1 else listed(salvaged.could_not), salvaged.said
        return stop
    return _behind_a_manifest(found, chosen)


def _behind_a_manifest(found: Found, chosen: Candidate | None) -> SnapshotError | None:
    """What is restored must reach every revision that a backup of its own lineage is known to have had, also where that
    file itself is not whole any more."""
    if chosen is None or chosen.named or found.accepted.has("history") or chosen.lineage is None:
        return None
    generation = found.family.generation(chosen.lineage)
    if generation is None:
        return None
    line = found.family.line[generation]
    newest, marked = ranking.newest(found.rows, line), anew.last_is_another(found.rows, line)
    if marked and chosen.kind == SALVAGE and not found.salvaged.anew:
        what = "is marked as another history than the backups before it, and the disks' data may be of that one"
        way = f"go on with the disks' data nevertheless: {found.accepted.option(anew.WORD)}"
        return SnapshotError(marked.path, what, "; or ".join([*_with_a_backup(found), way, *_back(found)]))
    if newest is None or newest.own_revision <= chosen.own_revision or chosen.kind != SALVAGE:
        return None  # what a backup holds less than one that is damaged is said as lost: nothing holds it any more
    what = (
        f"by its manifest the backup {newest.path} was at revision {newest.revision or 0:,}, and all that can be "
        f"restored ends at {chosen.revision or 0:,}: that backup {newest.problem or 'was left out'}"
    )
    beyond = newest.own_revision - chosen.own_revision
    accept = f"go on without what it held (price: {beyond:,} revisions): {found.accepted.option('history')}"
    ways = ["find that backup again, whole, and run the same command again", accept, *_back(found)]
    return SnapshotError(newest.path, what, "; or ".join(ways))


def choices(found: Found, mend: str) -> str:
    """What ends the incident, the way that loses nothing first; each option as it is pasted."""
    mend = re.sub(r"[,;]? *(then|and) run (it )?again$", "", mend)
    again = f"{mend}, and run the same command again: it salvages anew"
    return "; or ".join(
        [
            *([again] if mend else []),  # what is in the data itself nobody mends
            *_copies(found),
            *_with_the_others(found),
            *_forced(found),
            *_with_a_backup(found),
            *_without_a_hash(found),
            *_back(found),
        ]
    )


def _copies(found: Found) -> list[str]:
    """One of several disks of one member goes, and the other is salvaged."""
    odd = [(host, why) for host, why in found.salvaged.could_not if disks.COPIED in why]
    away = [host for host, _ in found.salvaged.could_not if host not in dict(odd)]
    if away or not odd:
        return []
    return [
        f"give up the disk of {host} where that is the copy (price: what only it may hold): "
        + found.accepted.option(f"without:{host}")
        for host, _ in odd
    ]


_NOWHERE = re.compile(r"is a link that leads (?:to no directory|nowhere)")
_UNUSABLE = re.compile(r"is no etcd configuration|is not YAML|holds no etcd configuration|: lacks |\.ya?ml lacks ")


def _readable(salvaged: Salvaged) -> str:
    """What is to be mended where disks are in doubt. A neighbour's configuration is the one that lies nearest."""
    aside = ", ".join(dict.fromkeys(host for host, why in salvaged.could_not if UNNAMED in why))
    if aside and all(UNNAMED in why for _, why in salvaged.could_not):
        return (
            f"ask who set that directory aside on {aside}, and why: where it is that member's own data, whoever did it "
            "puts it back in its place"
        )
    if salvaged.could_not and all(etcd.RELATIVE in why for _, why in salvaged.could_not):
        return "write the whole path into that configuration, as WorkingDirectory= of its unit has it"
    if salvaged.could_not and all(disks.COPIED in why for _, why in salvaged.could_not):
        return "ask who copied a disk, and put back what that member had"
    if salvaged.could_not and all(_NOWHERE.search(why) for _, why in salvaged.could_not):
        return "mount, or put back, what that link leads to"
    hosts = ", ".join(dict.fromkeys(host for host, why in salvaged.could_not if _UNUSABLE.search(why)))
    if not hosts:
        return "make it readable there"
    return f"restore the configuration of {hosts} from a backup of that very machine, not another member's"


def _with_the_others(found: Found) -> list[str]:
    """The whole disks' data as it is, where only other disks are in doubt."""
    salvaged = found.salvaged
    odd = [host for host, _ in salvaged.could_not]
    ahead = max(salvaged.databases, key=lambda shown: shown[1], default=("", 0))[0]
    doubted = tuple(dict.fromkeys((*odd, *(() if ahead in odd else salvaged.outvoting))))
    whole = disks.salvageable(found.disks, found.family, found.named, doubted)
    kept = list(dict.fromkeys(disk.host for disk in whole if disk.host not in doubted))
    names = ", ".join(kept)
    if not names or not doubted or (salvaged.failed and not salvaged.outvoting):
        return []
    accept = found.accepted.option(*(f"without:{host}" for host in doubted))
    cost = price.of_disks(doubted, kept, salvaged)
    return [f"go on with the data of {names}, and without that of {', '.join(doubted)} {cost}: {accept}"]


def _forced(found: Found) -> list[str]:
    """One copy as a cluster of its own, where an etcd ended for what is in the data."""
    host = found.salvaged.could_be_forced
    if not host:
        return []
    accept = found.accepted.option(f"forced:{host}")
    cost = price.of_database(host, found.salvaged, found.rows, price.FORCED)
    return [f"force the copy of {host} into a cluster of its own {cost}: {accept}"]


def _with_a_backup(found: Found) -> list[str]:
    """The backup that would be restored if there were no disks, else one that must be named, where there is one."""
    best, rows = _ranked(found, [])
    if best is not None:
        there = f"the backup taken {best.taken} ({best.path})"
        cost = price.of_snapshot(best, found.salvaged, found.rows, found.at)
        return [f"go on with {there}, without what the disks hold {cost}: {found.accepted.option('backup')}"]
    return [
        "go on with a backup that must be named, without what the disks hold "
        f"{price.of_snapshot(row, found.salvaged, found.rows, found.at)}: {_named(row)}"
        for row in _nameable_row(rows)
    ]


def _nameable(rows: Sequence[Candidate]) -> list[str]:
    """The option for the best file that is whole and not taken by itself; none where there is none."""
    return [_named(row) for row in _nameable_row(rows)]


def _nameable_row(rows: Sequence[Candidate]) -> list[Candidate]:
    whole = [row for row in rows if row.kind == "file" and row.source]
    return [max(whole, key=lambda row: (row.own_revision, row.taken))] if whole else []


def _named(file: Candidate) -> str:
    return shlex.quote(f"--snapshot={file.path}")


def _back(found: Found) -> list[str]:
    return [f"put back what was before: {found.back}"] if found.back else []


def _without_a_hash(found: Found) -> list[str]:
    """The last resort: databases that can be read."""
    revisions = dict(found.salvaged.databases)
    unread = {host for host, why in found.salvaged.could_not if UNCOPIED in why}
    there = dict.fromkeys(disk.host for disk in found.disks if disk.host not in unread)
    hosts = [
        host
        for host in there
        if host not in found.salvaged.damaged and disks.last_resort(found.disks, found.family, host)
    ]
    if any(host in revisions for host in hosts):  # of several the one that shows most
        hosts = [max(hosts, key=lambda host: revisions.get(host, -1))]
    return [
        f"as the last resort, with the database on {host}"
        + (f" at revision {revisions[host]:,}" if host in revisions else "")
        + ", without a hash, so nobody can tell whether it is whole "
        + f"{price.of_database(host, found.salvaged, found.rows, price.LOG)}: "
        + found.accepted.option(f"on-disk:{host}")
        for host in hosts
    ]


def obeys(found: Found, chosen: Candidate | None) -> bool:
    """Whether what would be restored is what the operator asked for with --skip-hash: that database, or a whole source
    that holds as much."""
    resort = found.resort
    if resort is None or resort.source is None or chosen is None:
        return False
    return chosen is resort or chosen.kind == ON_DISK or chosen.own_revision >= resort.own_revision


def table(found: Found) -> tuple[Candidate | None, tuple[Candidate, ...]]:
    """What is restored, None where nothing can be, and every source with its verdict."""
    from_disks = _from_disks(found)
    if found.accepted.has("backup") and _stop(found):
        why = f"given up, {option('backup')}"
        from_disks = [replace(row, problem=f"{row.problem}; {why}" if row.problem else why) for row in from_disks]
    return _ranked(found, from_disks)


def _ranked(found: Found, from_disks: Sequence[Candidate]) -> tuple[Candidate | None, tuple[Candidate, ...]]:
    others = [row for row in found.rows if row.kind not in (SALVAGE, ON_DISK)]
    return ranking.rank([*others, *from_disks], found.family)


def _from_disks(found: Found) -> list[Candidate]:
    """The rows of Step 0 about disks, with what came of them."""
    salvaged, revisions = found.salvaged, dict(found.salvaged.databases)
    named = BY_YOU if found.named else ""
    rows = []
    for row in disks.listed(found.disks, found.family, found.named):
        ours = salvaged.lineage is not None and row.lineage is not None and salvaged.lineage.agrees(row.lineage)
        if row.kind == ON_DISK and found.resort and found.resort.host == row.host:
            rows.append(found.resort)
        elif row.kind == ON_DISK:
            rows.append(replace(row, revision=revisions.get(row.host or "") if ours else None))
        elif ours and salvaged.source:
            rows.append(ranking.of(salvaged.source, named))
        elif ours:
            rows.append(replace(row, bumps=salvaged.bumps, problem=f"failed: {salvaged.failed}", named=named))
        else:
            rows.append(row)
    return rows


def _notes(found: Found, chosen: Candidate) -> list[str]:
    """What was chosen and why, in the operator's words."""
    salvaged, source = found.salvaged, found.salvaged.source
    if chosen.kind == SALVAGE:
        using = f"using what was salvaged from {', '.join(salvaged.hosts)}: revision {chosen.revision or 0:,}"
        if found.held is None or found.held.revision is None:
            return [using]
        newer = chosen.own_revision - (found.held.revision - found.held.bumps)
        beside = f"{newer:,} newer than" if newer else "as far as"
        return [f"{using}, {beside} the backup of {found.held.taken}"]
    notes = [f"using {_file_name(chosen)}, taken {chosen.taken}, revision {chosen.revision or 0:,}"]
    if source is not None and chosen.named == BY_YOU:
        if (source.revision or 0) - source.bumps > chosen.own_revision:
            notes.append(
                f"salvage is newer: revision {source.revision:,} against {chosen.revision or 0:,} of the snapshot that "
                f"you named; it stays at {source.host}:{source.path}"
            )
        return notes
    if source is not None:
        notes.append(f"salvage ends at revision {source.revision:,}, before the snapshot: it counts as failed")
    else:
        notes.append(salvaged.absence)
    if chosen.kind == ON_DISK:
        return [*notes, f"the database of {chosen.host} is restored without a hash"]
    ahead = [(revision - salvaged.bumps - chosen.own_revision, host) for host, revision in salvaged.databases]
    if ahead and max(ahead)[0] > 0:
        notes.append(
            "the database of {1} shows {0:,} revisions more; without its hash it can be restored, ".format(*max(ahead))
            + f"as the last resort: Ctrl-C before Step 3, and run again with --skip-hash={max(ahead)[1]}"
        )
    return notes


def _file_name(chosen: Candidate) -> str:
    kind = "the backup" if chosen.kind == "file" else f"what was saved ({chosen.kind})"
    return f"{kind} {chosen.path.rsplit('/', 1)[-1]}" if chosen.kind != ON_DISK else f"the database of {chosen.host}"


def _nothing(found: Found) -> SnapshotError:
    failed = found.salvaged.absence
    instead = [f"name a backup: {one}" for one in _nameable(found.rows)]
    if found.named:
        ways = ["leave it out, and run the same command again", *instead, *_back(found)]
        return SnapshotError(f"{NAME_SALVAGE}{found.named}", failed, "; or ".join(ways))
    if found.resort:
        why = f"{found.resort.problem}; and {failed}"
        ways = [*(instead or ["find a backup, and run the same command again"]), *_back(found)]
        return SnapshotError(f"{found.resort.host}:{found.resort.path}", why, "; or ".join(ways))
    return nothing(f"there is no backup, and {failed}", found.rows, _back(found))


def nothing(what: str, rows: Sequence[Candidate], back: Sequence[str] = ()) -> SnapshotError:
    """There is nothing to restore by itself; what in the table could be named is, and where there is nothing at all,
    that a backup must be found."""
    what = "; ".join([what, *(f"{row.path}: {row.problem}" for row in rows if row.kind == DIRECTORY)])
    ways = [f"name a backup: {one}" for one in _nameable(rows)]
    for row in rows:
        option = re.search(f"{NAME_SALVAGE}.+$", row.problem or "") if row.kind == SALVAGE else None
        ways += [f"have another cluster's data salvaged: {option[0]}"] if option else []
    hosts = [row.host for row in rows if row.kind == ON_DISK]
    ways += [
        f"as the last resort, have the database on {host} restored without a hash: --skip-hash={host}"
        for host in hosts[:1]
    ]
    ways = ways or ["find a backup, wherever one may be, and name it with --snapshot=FILE"]
    return SnapshotError("no data", what, "; or ".join([*ways, *back]))
