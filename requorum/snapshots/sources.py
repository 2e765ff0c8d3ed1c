"""Choosing the data to restore: the one place where Step 0 and the handover decide about snapshots.

`snapshot` finds and verifies files on the operator's machine, `plan` says how to save and copy; here their results are
put together. `catalogue` holds all sources and has them ranked.
"""

from __future__ import annotations

from pathlib import Path

from requorum.cluster import deephaven
from requorum.cluster.etcdctl import parse_snapshot_status
from requorum.cluster.quorum import Kind, State, Verdict
from requorum.command import HUGE, Result, look
from requorum.evidence.journal import now
from requorum.recovery import plan
from requorum.run import facts
from requorum.run.marker import ON_DISK, SALVAGE
from requorum.run.run import Run
from requorum.snapshots import catalogue, choice, disks, loss, ondisk, snapshot, survivors
from requorum.snapshots.catalogue import Sources
from requorum.snapshots.choice import Decision
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
    catalogue.recall(run, sources)
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
    sources.doubts = catalogue.doubts(run, sources)
    chosen = catalogue.choose_file(run, sources)
    _refuse_what_is_not_understood(run, sources)
    alive = (State.LEADERLESS, State.HEALTHY)
    lets_save = verdict is not None and any(f.state in alive for f in verdict.members)
    if not lets_save and not _on_disks(run, sources, verdict):
        if chosen is None:
            raise _nothing(sources)
        catalogue.refuse_an_old_file(run, _row(sources, chosen))
    return chosen


def _refuse_what_is_not_understood(run: Run, sources: Sources) -> None:
    """Before anything is touched: a disk may hold newer data that no salvage will find."""
    options = run.options
    whole = {disk.host for disk in disks.salvageable(sources.disks, sources.family, options.salvage, sources.doubts)}
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
    for host, digest in staged.items():
        if digest == mark.snapshot:
            size = run.ask([look(host, "stat", "-c", "%s", terms.snapshot_path, why="its size")])
            taken = mark.taken
            return Source(mark.origin, host, terms.snapshot_path, digest, int(size[0].stdout), taken)
    made = _made_by_this_run(run)
    if made is not None:
        return made
    source = catalogue.by_sha256(run.inventory, mark.snapshot)
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
    for host, digest in facts.digests(run, dict.fromkeys(run.terms.etcd_hosts, path)).items():
        if digest == mark.snapshot:
            (size,) = run.ask([look(host, "stat", "-c", "%s", path, why="its size", accept=(0,))])
            return Source(mark.origin, host, path, digest, int(size.stdout), mark.taken)
    return None


def better(run: Run, sources: Sources, verdict: Verdict | None, saves: list[Result]) -> Source | None:
    """The newest save from a survivor, where it is newer than what is held. Raises where there is nothing at all."""
    saved = [_saved(run, result, "survivor") for result in saves if result.code == 0]
    for result in saves:
        if result.code != 0:
            why = f"could not be saved: {result.words}"
            catalogue.failed(run, sources, "survivor", result.command.host, result.command.argv[-1], why)
    held, last = sources.source, not is_handover(run, verdict) and not _on_disks(run, sources, verdict)
    if not saved and last and held is None:
        raise _nothing(sources)
    best = catalogue.offer(run, sources, saved) if saved else held
    if last:
        catalogue.refuse_an_old_file(run, _row(sources, best))
    return best if best is not None and (held is None or best.sha256 != held.sha256) else None


def _on_disks(run: Run, sources: Sources, verdict: Verdict | None) -> bool:
    """Whether Step 1 may find data on old members' disks; a run that is carried on finds out there."""
    if verdict is None or run.options.skip_hash:
        return True
    return bool(disks.salvageable(sources.disks, sources.family, run.options.salvage, sources.doubts))


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
    catalogue.show(run, sources, rows)
    stop = choice.refusal(found)
    if stop and not run.options.snapshot and not choice.obeys(found, chosen):
        raise stop
    if chosen is not None:
        catalogue.refuse_an_old_file(run, chosen, loss.reason(chosen, salvaged))
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
    )


def _saved(run: Run, result: Result, kind: str) -> Source:
    """A snapshot that was just saved on the configuration server; its revision by the vendor's own etcdctl."""
    host, path = result.command.host, result.command.argv[-1]
    status = deephaven.etcdctl(
        run.inventory, "snapshot", "status", path, "-w", "json", why="its revision", deadline=HUGE
    )
    digest, size, answer = run.ask(
        [
            look(host, "sha256sum", path, why="SHA-256 of the save", accept=(0,), deadline=HUGE),
            look(host, "stat", "-c", "%s", path, why="its size", accept=(0,)),
            status,
        ]
    )
    revision, keys = parse_snapshot_status(answer.stdout) if answer.code == 0 else (None, None)
    sha256 = digest.stdout.split(" ")[0]
    return Source(kind, host, path, sha256, int(size.stdout), now(), revision, keys)


def save_healthy_cluster(run: Run, verdict: Verdict | None) -> Source:
    """The handover's save: from the first healthy member, while nobody writes. Raises when it fails."""
    assert verdict is not None
    endpoints = [f.config.client_urls[0] for f in verdict.members if f.has_leader and f.config]
    (result,) = run.do([plan.save(run.terms, endpoints[0], "live.snap", patience=10)])
    if result.code != 0:
        raise SnapshotError(endpoints[0], f"could not be saved: {result.words}", "Deephaven is off; run again")
    return _saved(run, result, "handover")
