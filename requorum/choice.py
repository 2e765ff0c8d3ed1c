"""Choosing between salvage and a backup, once the old etcd is proven stopped: the one place that decides it.

`salvage` says what is run; here it is run, its answers are read, and the choice is made. Salvage beats a backup unless
it failed; a failed one falls back to the backup, and the reason is kept for the report.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from requorum import facts, isolation, plan, salvage, snapshot
from requorum.cluster import Cluster
from requorum.command import look
from requorum.etcd import EtcdError, parse_snapshot_status
from requorum.fleet import FleetError, Unreachable
from requorum.isolation import Answers
from requorum.journal import now
from requorum.marker import BASE, Phase
from requorum.proofs import hosts
from requorum.quorum import Kind
from requorum.salvage import Salvaged, SalvageError, Survivor
from requorum.snapshot import Source


def survivors(cluster: Cluster) -> list[Survivor]:
    """Old members with data of the lost cluster on their disks; [] where the run decided about them already."""
    mark, verdict, source = cluster.mark, cluster.known.verdict, cluster.known.source
    if verdict is not None and verdict.kind is Kind.INTACT:
        return []
    if mark.phase >= Phase.POWERING_ON or (source is not None and source.kind in (salvage.KIND, "handover")):
        _recall(cluster)
        return []
    members = {m.host: m for m in cluster.terms.old_members}
    configs = facts.configs(cluster, members)
    if any(plan.is_new(cluster.terms, config) for config in configs.values()):
        _recall(cluster)
        return []
    found = {h: c for h, c in configs.items() if c is not None}
    questions = [q for h, c in found.items() for q in salvage.ask_disk(h, c.data_dir, BASE)]
    answers = cluster.ask_by_host(questions)
    disks = {h: salvage.parse_disk(*(r.stdout for r in results)) for h, results in answers.items()}
    return [Survivor(members[h], found[h], *disk) for h, disk in disks.items() if disk is not None]


def _recall(cluster: Cluster) -> None:
    """Decided already by the run that is carried on: what it found to be lost stays true."""
    cluster.note("decided by the run that is carried on")
    question = salvage.ask_loss(cluster.terms)
    cluster.known.loss = salvage.parse_loss(facts.by_host(cluster, [question])[question.host].stdout)


def salvage_survivors(cluster: Cluster) -> Salvaged | None:
    """Carries the salvage out; None where no survivor has data. A failure is an outcome, not an error, as long as the
    hosts answer: then the backup is used. Raises `Unreachable` for one that does not."""
    found = survivors(cluster)
    if not found:
        return None
    try:
        same, others = salvage.lineage(found)
        if others:
            cluster.note(f"left out: {others}")
        return _salvage(cluster, same)
    except Unreachable:
        raise
    except (SalvageError, FleetError, EtcdError, isolation.IsolationError) as error:
        _tidy(cluster, found)
        return Salvaged(None, members=len(cluster.inventory.old_members), failed=f"{error.where}: {error.what}")


def _tidy(cluster: Cluster, found: Sequence[Survivor]) -> None:
    cluster.do(salvage.clear(cluster.terms, [s.host for s in found]))


def _salvage(cluster: Cluster, found: list[Survivor]) -> Salvaged:
    members = salvage.membership(found[0].config.initial_cluster)
    host = salvage.gathering_host(found, len(members)).host
    cluster.note(f"copies of {', '.join(s.name for s in found)} are started together on {host}, unseen by anybody")
    cluster.do(salvage.gather(cluster.terms, found, host, _client(cluster)))
    cluster.do(salvage.unpack(cluster.terms, host, [s.name for s in found]))
    sound, on_disk, damage = _sound(cluster, host, found)
    outcome = Salvaged(None, members=len(members), on_disk=on_disk)
    if not sound:
        _tidy(cluster, found)
        return replace(outcome, failed=damage)
    outcome = _together(cluster, host, sound, members, outcome)
    if outcome.failed and not _hopeless(outcome.failed):
        cluster.note(f"together it failed: {outcome.failed}; one copy is forced into a cluster of its own")
        outcome = _alone(cluster, host, sound[0], members, outcome)
    if not outcome.failed:
        cluster.do(salvage.keep(cluster.terms, host))
        outcome = _measured(cluster, host, outcome)
    _tidy(cluster, found)
    return outcome if not damage or outcome.source else replace(outcome, failed=f"{damage}; {outcome.failed}")


def _client(cluster: Cluster) -> str:
    """Where the old passwords are: the run's backup of Step 2 once it exists, else the live client configuration."""
    backup, server = cluster.terms.client_backup, cluster.terms.configuration_server
    there = facts.files(cluster, {server: (backup,)})[server]
    return backup if there else cluster.inventory.deephaven.client_config


def _sound(cluster: Cluster, host: str, found: list[Survivor]) -> tuple[list[Survivor], int | None, str]:
    """Survivors whose database hangs together, most advanced first; the highest revision; what is wrong elsewhere."""
    answers = cluster.ask(salvage.ask_databases(cluster.terms, host, [s.name for s in found]))
    revisions: dict[str, int] = {}
    damage = []
    for survivor, answer in zip(found, answers, strict=True):
        try:
            if answer.code != 0:
                raise EtcdError(survivor.name, answer.words, "")
            revisions[survivor.name] = parse_snapshot_status(answer.stdout)[0]
        except EtcdError as error:
            damage.append(f"the database of {survivor.name} is damaged: {error.what}")
    for line in damage:
        cluster.note(line)
    sound = sorted((s for s in found if s.name in revisions), key=lambda s: -revisions[s.name])
    return sound, max(revisions.values(), default=None), "; ".join(damage)


def _together(
    cluster: Cluster, host: str, sound: list[Survivor], members: dict[str, str], outcome: Salvaged
) -> Salvaged:
    """All copies with the stand-ins that quorum lacks. A copy that does not start is left out and the rest tried again;
    where the data knows other members than the configuration says, the data is right."""
    left, told = list(sound), False
    while True:
        answers = _boot(cluster, host, left, members, force=False)
        actual = salvage.told(answers.members, members)
        if answers.failed and actual != members and not told:
            cluster.note(f"the data knows other members than the configuration: {', '.join(actual.values())}")
            members, told = actual, True
            continue
        if answers.died and len(left) > 1 and answers.died[0] in {s.name for s in left}:
            cluster.note(f"{answers.failed}; it is left out")
            left = [s for s in left if s.name != answers.died[0]]
            continue
        break
    failed = answers.failed or _differ(answers)
    return replace(outcome, how="together", survivors=tuple(s.name for s in left), members=len(members), failed=failed)


def _alone(cluster: Cluster, host: str, survivor: Survivor, members: dict[str, str], outcome: Salvaged) -> Salvaged:
    answers = _boot(cluster, host, [survivor], members, force=True)
    failed = f"{outcome.failed}; alone: {answers.failed}" if answers.failed else ""
    return replace(outcome, how="alone", survivors=(survivor.name,), failed=failed)


def _boot(cluster: Cluster, host: str, left: list[Survivor], members: dict[str, str], force: bool) -> Answers:
    terms = cluster.terms
    boots = salvage.boots(left, members, cluster.inventory.old_members, force)
    scratch, account = salvage.scratch(terms), cluster.inventory.etcd.user
    cluster.do(salvage.unpack(terms, host, [s.name for s in left]))
    result = cluster.do(isolation.boot(host, salvage.KIND, terms.mark.run, scratch, account, boots))[-1]
    return isolation.parse(result.stdout, result.words)


def _differ(answers: Answers) -> str:
    return "" if len(set(answers.hashes.values())) == 1 else f"the copies hold different data: {answers.hashes}"


def _hopeless(failed: str) -> bool:
    """Whether forcing one copy would fail the same way, or would pick blindly among copies that differ."""
    return "different data" in failed or "authentication failed" in failed


def _measured(cluster: Cluster, host: str, outcome: Salvaged) -> Salvaged:
    digest, size, status = cluster.ask(salvage.ask_kept(cluster.terms, host))
    if status.code != 0:
        return replace(outcome, failed=f"what was saved cannot be read: {status.words}")
    revision, keys = parse_snapshot_status(status.stdout)
    sha256 = digest.stdout.split(" ")[0]
    path = salvage.kept(cluster.terms)
    return replace(outcome, source=Source(salvage.KIND, host, path, sha256, int(size.stdout), now(), revision, keys))


# -- the choice --------------------------------------------------------------------------------------------------


def older_than(backup: Source | None, salvaged: Salvaged) -> Salvaged:
    """A salvage that ends before the backup misses what was committed when that was taken: it counts as failed.

    So it is where only a member survives that had been away for long. Pure.
    """
    source = salvaged.source
    if source is None or backup is None or backup.revision is None or (source.revision or 0) >= backup.revision:
        return salvaged
    why = f"the survivors' data ends at revision {source.revision:,}, before the backup at {backup.revision:,}"
    return replace(salvaged, source=None, failed=why)


def choose(cluster: Cluster, salvaged: Salvaged) -> None:
    """Sets the run's source, marks it, and brings it to every new member. Raises where there is nothing at all."""
    backup, named = cluster.known.source, cluster.options.snapshot is not None
    if not named:
        salvaged = older_than(backup, salvaged)
    source = salvaged.source
    chosen = backup if named or source is None else source
    if chosen is None:
        raise snapshot.SnapshotError(
            "no data",
            f"there is no backup, and salvage failed: {salvaged.failed}",
            "name a backup with --snapshot=FILE",
        )
    cluster.known.loss = salvage.loss(chosen, salvaged)
    cluster.do([salvage.note_loss(cluster.terms, cluster.known.loss)], bookkeeping=True)
    if source is None:
        cluster.note(f"salvage failed: {salvaged.failed}")
        cluster.note(f"the snapshot taken {chosen.taken} is restored instead")
    elif chosen is not source and (source.revision or 0) > (chosen.revision or 0):
        cluster.note(
            f"salvage is newer: revision {source.revision:,} against {chosen.revision or 0:,} of the snapshot that you "
            f"named; it stays at {source.host}:{source.path}"
        )
    elif chosen is source:
        cluster.note(f"salvaged at revision {source.revision:,}" + _beside(backup))
        # Marked before it is copied: a run that is cut here finds it again by this mark.
        cluster.known.source = source
        cluster.advance(source=source)
        hosts.there_is_room(cluster)
        cluster.do(plan.copy_snapshot(cluster.terms, source, facts.staged(cluster)))
        hosts.every_copy_is_readable(cluster)


def _beside(backup: Source | None) -> str:
    return f", the backup is at {backup.revision:,}" if backup and backup.revision is not None else ""


def of_this_run(cluster: Cluster) -> Source | None:
    """The salvage that the run which is carried on chose, found again by its SHA-256 on the host that made it."""
    mark, path = cluster.mark, salvage.kept(cluster.terms)
    if mark.origin != salvage.KIND:
        return None
    for host, digest in facts.digests(cluster, dict.fromkeys(cluster.terms.etcd_hosts, path)).items():
        if digest == mark.snapshot:
            (size,) = cluster.ask([look(host, "stat", "-c", "%s", path, why="its size", accept=(0,))])
            return Source(salvage.KIND, host, path, digest, int(size.stdout), mark.taken)
    return None
