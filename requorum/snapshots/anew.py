"""Whether data began anew: disks lost, and the old configuration made an empty cluster of the same token and IDs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from requorum.cluster import etcd
from requorum.cluster import lineage as lineages
from requorum.cluster.lineage import Lineage
from requorum.cluster.quorum import Kind, Verdict
from requorum.refusal import Refusal
from requorum.run.accepted import option
from requorum.run.run import Run
from requorum.snapshots import files, ranking
from requorum.snapshots.manifest import Manifest
from requorum.snapshots.ranking import Candidate

WORD = "history"  # of `--accept`


@dataclass(frozen=True)
class Anew:
    """Data at this revision, and the `backup` of its lineage that it does not reach. `marked`: the last backup, where
    that is marked as another history already: then the revision may have grown past `backup` since. `hosts`: of the
    members that follow its leader, where it runs: whatever they write later, their data is of that history."""

    revision: int
    backup: Candidate
    marked: Candidate | None = None
    hosts: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.marked and self.revision >= (self.backup.revision or 0):
            return (
                f"is at revision {self.revision:,}, and had begun anew before that: the last backup {self.marked.path} "
                f"is marked as another history than {self.backup.path}"
            )
        return (
            f"is at revision {self.revision:,}, and by its manifest the backup {self.backup.path}, taken "
            f"{self.backup.taken}, was at {self.backup.revision or 0:,} under the same IDs: the data began anew"
        )


def began_anew(revision: int, lineage: Lineage, rows: Iterable[Candidate]) -> Anew | None:
    """What shows that data of this lineage at `revision` is another history than its backups'; None where it is theirs.
    Once its backup was marked so, no revision shows the contrary any more."""
    ours = _noted(rows, lineage)
    newest, marked = ranking.newest(ours, lineage), last_is_another(ours, lineage)
    if marked or is_behind(revision, lineage, ours):
        return Anew(revision, newest or ours[0], marked)
    return None


def is_behind(revision: int, lineage: Lineage, rows: Iterable[Candidate]) -> bool:
    """Whether it is below the newest manifest of this lineage: what was backed up once is missing in that data.

    Both revisions have the same bumps of ours, those of the lineage, so that they stand for what is without them.
    """
    newest = ranking.newest(_noted(rows, lineage), lineage)
    return newest is not None and revision < (newest.revision or 0)


def _noted(rows: Iterable[Candidate], lineage: Lineage) -> list[Candidate]:
    return [row for row in rows if row.note and row.lineage and row.lineage.agrees(lineage)]


def last_is_another(rows: Iterable[Candidate], lineage: Lineage) -> Candidate | None:
    """The last backup that was made of a cluster, where it is marked as another history."""
    last = max(_noted(rows, lineage), key=lambda row: (row.note.number if row.note else 0, row.taken), default=None)
    return last if last and last.note and last.note.another else None


def left_open(on: bool, lineage: Lineage | None, rows: Iterable[Candidate]) -> str | None:
    """What shows that data without authentication is another history: the newest backup of its lineage that tells had
    it on. None where it is the same history, as far as anybody knows."""
    told = [row for row in rows if row.note and row.note.authentication is not None]
    newest = None if on or lineage is None else ranking.newest(told, lineage)
    if newest is None or newest.note is None or not newest.note.authentication:
        return None
    return (
        f"authentication is off in it, and by its manifest the backup {newest.path}, taken {newest.taken}, had it on: "
        "it is another history"
    )


def refuse_left_open(run: Run, where: str, on: bool, lineage: Lineage | None, rows: Iterable[Candidate]) -> None:
    """Raises for data of another history, unless it was named or the operator's word was given. `where` it lies."""
    found, accepted = left_open(on, lineage, rows), run.options.accepted
    if found is None:
        return
    if accepted.has(WORD) or run.options.names_data:
        run.warn(f"{where}: {found}; taken on your word")
        return
    raise Refusal(
        where,
        found,
        f"name the data to restore (--snapshot=FILE); or if it was turned off on purpose since, the same command with "
        f"{accepted.option(WORD)}",
    )


def refuse_open_cluster(run: Run, verdict: Verdict) -> None:
    """Before a handover: a running cluster that asks nobody who they are, though its newest backup had them asked."""
    up = {f.member.host: f.config for f in verdict.members if f.has_leader and f.config}
    asked = run.ask({host: etcd.ask_authentication(host, config) for host, config in up.items()})
    for host, is_on in asked.items():
        if is_on is False:
            lineage, rows = Lineage(up[host].token), files.noted(run.inventory)
            refuse_left_open(run, f"the running cluster ({host})", False, lineage, rows)


def placed(note: Manifest, rows: Sequence[Candidate], accepted: bool) -> tuple[Manifest, Anew | None]:
    """The manifest with the history that its backup belongs to: marked as another one until the operator's word makes
    that the cluster's own. `rows`: the backups before it."""
    found = began_anew(note.revision, note.lineage, rows)
    history = max((row.note.history for row in _noted(rows, note.lineage) if row.note), default=0)
    if found and accepted:
        return replace(note, history=history + 1), found
    return replace(note, history=history, another=found is not None), found


def ways(hosts: str, found: Anew | None = None) -> str:
    """Both ways out, ready to paste, with their prices. `hosts`: as `--hosts` is pasted; `found`: where it is known."""
    written = f", up to revision {found.revision:,}" if found else ""
    backup = found.backup if found else None
    beyond = (backup.revision or 0) - found.revision if found and backup else 0
    counted = f", at least {beyond:,} revisions" if beyond > 0 else ""
    kept = f"the backup of {backup.taken}" if backup else "the backups"
    return (
        "start no stopped etcd and delete nothing before this is decided: a stopped member's disk may hold what is "
        "lost; either, to recover what was lost, from disks that reach further or else from the newest backup, the "
        f"running cluster counting for nothing (price: all that was written since it began anew{written}, and "
        f"Deephaven is off meanwhile): pytest runbook --hosts={hosts} --rebuild; or to keep the cluster as it is, "
        f"and its history from now on (price: all that {kept} has and it has not{counted}): "
        f"pytest runbook/backup --hosts={hosts} {option(WORD)}"
    )


# -- in Step 0 ---------------------------------------------------------------------------------------------------


def of_the_running(run: Run, verdict: Verdict) -> Anew | None:
    """Whether the cluster that has quorum began anew: what its members say without a login, against the manifests."""
    up = {f.member.host: f.config for f in verdict.members if f.has_leader and f.config}
    if verdict.kind is not Kind.INTACT or not (rows := files.noted(run.inventory)):
        return None
    heads = run.ask({host: lineages.ask_wal(host, config.data_dir) for host, config in up.items()})
    told = run.ask({host: etcd.ask_metrics(host, config) for host, config in up.items()})
    revisions = {host: metrics.revision for host, metrics in told.items() if metrics.revision is not None}
    if not revisions:
        run.warn("no member says its revision: whether its data began anew is not known")
        return None
    furthest = max(revisions, key=lambda host: revisions[host])
    found = began_anew(revisions[furthest], Lineage(up[furthest].token, heads[furthest]), rows)
    if found and run.options.accepted.has(WORD):
        run.warn(f"accepted on your word, {WORD}: the running cluster {found}")
        return None
    return replace(found, hosts=tuple(up)) if found else None


def counted(run: Run, verdict: Verdict, found: Anew | None) -> Verdict:
    """The verdict by which the run goes on: a cluster that began anew counts for nothing, as if quorum were lost.

    Raises where nobody said which of the two histories is wanted.
    """
    if found is None:
        return verdict
    if not run.options.rebuild:
        raise Refusal(
            run.inventory.cluster,
            f"quorum is intact, but the running cluster {found}. Members lost their disks, and etcd started empty",
            ways(run.options.hosts, found),
        )
    run.warn(f"the running cluster {found}; it counts for nothing, and is set aside")
    return replace(verdict, kind=Kind.LOST, members=tuple(replace(f, has_leader=None) for f in verdict.members))
