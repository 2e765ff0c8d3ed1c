"""Choosing the data to restore: the one place where Step 0 and the handover decide about snapshots.

`snapshot` finds and verifies files on the operator's machine, `plan` says how to save and copy; here their results are
put together. `catalogue` holds all sources and has them ranked.
"""

from __future__ import annotations

from pathlib import Path

from requorum import catalogue, choice, deephaven, facts, plan, snapshot
from requorum.cluster import Cluster
from requorum.command import HUGE, Result, look
from requorum.etcd import parse_snapshot_status
from requorum.journal import now
from requorum.quorum import Kind, State
from requorum.snapshot import SnapshotError, Source


def is_handover(cluster: Cluster) -> bool:
    """Whether a healthy cluster is being rebuilt from itself: it is saved anew on every run until it is stopped."""
    verdict = cluster.known.verdict
    return verdict is not None and verdict.kind is Kind.INTACT and not cluster.options.snapshot


def from_files(cluster: Cluster) -> Source | None:
    """The verified file to restore; None in a handover, where the healthy cluster itself will be saved.

    A run that is carried on keeps to its data once that could be restored somewhere, or when it is a healthy cluster's
    save, which cannot be made again; before that the choice is made anew. Raises `SnapshotError` when there is none.
    """
    catalogue.recall(cluster)
    if is_handover(cluster):
        return None
    if cluster.mark.snapshot and cluster.known.verdict is None:
        return _of_this_run(cluster)
    if cluster.mark.origin == "handover":
        _refuse_a_save_that_may_be_old(cluster)
        return _of_this_run(cluster)
    chosen = catalogue.choose_file(cluster)
    if chosen is not None:
        return chosen
    verdict = cluster.known.verdict
    alive = (State.LEADERLESS, State.HEALTHY)
    if verdict is not None and not any(f.state in alive or f.has_data for f in verdict.members):
        raise _nothing()
    return None


def _refuse_a_save_that_may_be_old(cluster: Cluster) -> None:
    """A handover's save holds only if nobody wrote after it: every old member was set aside, or its disk can tell."""
    verdict = cluster.known.verdict
    members = verdict.members if verdict else ()
    unsure = [f.member.host for f in members if not f.has_data and (f.gone or (f.unit and f.unit.installed))]
    if unsure:
        raise SnapshotError(
            ", ".join(unsure),
            f"may have been written to after run {cluster.mark.run} saved the cluster at {cluster.mark.taken}",
            "give that run up (README), and name the newest backup with --snapshot=FILE",
        )


def _of_this_run(cluster: Cluster) -> Source:
    """What the unfinished run restores, found again by its SHA-256: staged on a host, or the operator's file."""
    mark, terms = cluster.mark, cluster.terms
    if cluster.options.snapshot:
        named = snapshot.verify(Path(cluster.options.snapshot))
        if named.sha256 != mark.snapshot:
            raise SnapshotError(
                named.path,
                f"is not the snapshot that the unfinished run {mark.run} restores",
                "leave --snapshot out to carry that run on",
            )
        return named
    staged = facts.digests(cluster, dict.fromkeys(terms.member_hosts, terms.snapshot_path))
    for host, digest in staged.items():
        if digest == mark.snapshot:
            size = cluster.ask([look(host, "stat", "-c", "%s", terms.snapshot_path, why="its size")])
            taken = mark.taken
            return Source(mark.origin, host, terms.snapshot_path, digest, int(size[0].stdout), taken)
    salvaged = choice.of_this_run(cluster)
    if salvaged is not None:
        return salvaged
    source = catalogue.by_sha256(cluster.inventory, mark.snapshot)
    if source is not None:
        return source
    raise SnapshotError(
        "the hosts",
        f"hold no whole copy of the snapshot that the unfinished run {mark.run} restores",
        "name the same file again with --snapshot=FILE",
    )


def better(cluster: Cluster, saves: list[Result]) -> Source | None:
    """The newest save from a survivor, where it is newer than what is held. Raises where there is nothing at all."""
    saved = [_saved(cluster, result, "survivor") for result in saves if result.code == 0]
    for result in saves:
        if result.code != 0:
            why = f"could not be saved: {result.words}"
            catalogue.failed(cluster, "survivor", result.command.host, result.command.argv[-1], why)
    held, handover = cluster.known.source, is_handover(cluster)
    if not saved:
        if held is None and not handover and not _salvageable(cluster):
            raise _nothing()
        return None
    best = catalogue.offer(cluster, saved)
    return best if best is not None and (held is None or best.sha256 != held.sha256) else None


def _salvageable(cluster: Cluster) -> bool:
    """Whether an old member's disk may hold what Step 1 can salvage; a run that is carried on finds out there."""
    verdict = cluster.known.verdict
    return verdict is None or any(facts.has_data for facts in verdict.members)


def _nothing() -> SnapshotError:
    return SnapshotError(
        "no snapshot",
        "neither --snapshot, nor snapshot.file, nor a backup in snapshot.directory, and no surviving "
        "member lets anybody log in",
        "name a backup with --snapshot=FILE",
    )


def _saved(cluster: Cluster, result: Result, kind: str) -> Source:
    """A snapshot that was just saved on the configuration server; its revision by the vendor's own etcdctl."""
    host, path = result.command.host, result.command.argv[-1]
    status = deephaven.etcdctl(
        cluster.inventory, "snapshot", "status", path, "-w", "json", why="its revision", deadline=HUGE
    )
    digest, size, answer = cluster.ask(
        [
            look(host, "sha256sum", path, why="SHA-256 of the save", accept=(0,), deadline=HUGE),
            look(host, "stat", "-c", "%s", path, why="its size", accept=(0,)),
            status,
        ]
    )
    revision, keys = parse_snapshot_status(answer.stdout) if answer.code == 0 else (None, None)
    sha256 = digest.stdout.split(" ")[0]
    return Source(kind, host, path, sha256, int(size.stdout), now(), revision, keys)


def save_healthy_cluster(cluster: Cluster) -> Source:
    """The handover's save: from the first healthy member, while nobody writes. Raises when it fails."""
    verdict = cluster.known.verdict
    assert verdict is not None
    endpoints = [f.config.client_urls[0] for f in verdict.members if f.has_leader and f.config]
    (result,) = cluster.do([plan.save(cluster.terms, endpoints[0], "live.snap", patience=10)])
    if result.code != 0:
        raise SnapshotError(endpoints[0], f"could not be saved: {result.words}", "Deephaven is off; run again")
    return _saved(cluster, result, "handover")
