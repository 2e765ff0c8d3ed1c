"""Carrying a salvage out, at the end of Step 1: what `disks`, `salvage` and `attempts` plan is run, step by step."""

from __future__ import annotations

from dataclasses import replace

from requorum import attempts, disks, facts, isolation, loss, salvage, staged
from requorum.attempts import Tried
from requorum.cluster import Cluster
from requorum.command import look
from requorum.fleet import FleetError, Unreachable
from requorum.journal import now
from requorum.marker import BASE
from requorum.quorum import Kind
from requorum.refusal import Refusal
from requorum.salvage import Salvaged, Survivor
from requorum.snapshot import Fingerprint
from requorum.staged import Origin


def is_decided(cluster: Cluster) -> bool:
    """Whether the data is settled before Step 1 ends: by the run that is carried on, or since the healthy cluster or a
    snapshot that you named is to be restored."""
    verdict, source = cluster.known.verdict, cluster.known.source
    intact = verdict is not None and verdict.kind is Kind.INTACT and not cluster.options.from_disk
    return verdict is None or intact or (source is not None and source.kind == "handover")


def recall(cluster: Cluster) -> None:
    """What the run that is carried on found to be lost stays true."""
    if cluster.known.verdict is None:
        cluster.note("decided by the run that is carried on")
        question = loss.ask(cluster.terms)
        cluster.known.loss = loss.parse(facts.by_host(cluster, [question])[question.host].stdout)


def hold(cluster: Cluster) -> Salvaged:
    """Salvages what disks hold of the lost cluster, or of the one that was named. A failure is an outcome, not an
    error, as long as the hosts answer: `sources.decide` says what follows from it. Raises `Unreachable` for one that
    does not."""
    known = cluster.known
    picked = disks.salvageable(known.disks, known.family, cluster.options.salvage)
    empty = Salvaged(
        None,
        members=len(cluster.inventory.old_members),
        could_not=tuple(known.doubts.items()),
        given_up=tuple(m.host for m in cluster.inventory.old_members if m.host in cluster.terms.gone),
    )
    if not picked:
        return empty
    line = max((disk.lineage for disk in picked), key=lambda lineage: lineage.cluster_id is not None)
    hosts = tuple(disk.host for disk in picked)
    nothing = replace(empty, hosts=hosts, lineage=line, bumps=known.family.bump(line))
    sizes = cluster.ask_by_host([question for disk in picked for question in salvage.ask_size(disk, BASE)])
    found = [salvage.survivor(disk, *(answer.stdout for answer in sizes[disk.host])) for disk in picked]
    try:
        outcome = _salvage(cluster, found, nothing)
    except Unreachable:
        raise
    except Refusal as error:
        outcome = replace(nothing, failed=f"{error.where}: {error.what}", mend=error.remedy)
    if outcome.failed:
        outcome = _with_what_was_saved(cluster, outcome)
    _clear(cluster, outcome)
    return outcome


def _with_what_was_saved(cluster: Cluster, outcome: Salvaged) -> Salvaged:
    """Says where finished saves stay that could not be proven; one that is still in the scratch is set aside first."""
    terms = cluster.terms
    try:
        for host, there in facts.files(cluster, dict.fromkeys(outcome.hosts, (salvage.made(terms),))).items():
            if there:
                cluster.do(salvage.keep_unproven(terms, host))
        kept = facts.files(cluster, dict.fromkeys(outcome.hosts, (salvage.unproven(terms),)))
    except Unreachable:
        raise
    except FleetError as error:
        return replace(outcome, failed=f"{outcome.failed}; what was saved is still in the scratch: {error.what}")
    places = [f"{host}:{path}" for host, there in kept.items() for path in there]
    return replace(
        outcome, failed=f"{outcome.failed}; what was saved stays at {', '.join(places)}" if places else outcome.failed
    )


def _clear(cluster: Cluster, outcome: Salvaged) -> None:
    """Takes the scratch away. Where the salvage failed, that it cannot be must not hide why."""
    try:
        cluster.do(salvage.clear(cluster.terms, outcome.hosts))
    except Unreachable:
        raise
    except FleetError as error:
        if not outcome.failed:
            raise
        cluster.note(f"the next try clears what is left: {error.where}: {error.what}")


def _salvage(cluster: Cluster, found: list[Survivor], nothing: Salvaged) -> Salvaged:
    terms, names = cluster.terms, [survivor.name for survivor in found]
    configured = salvage.membership(found[0].config.initial_cluster)
    host = salvage.gathering_host(found, len(configured)).host
    cluster.note(f"copies of {', '.join(names)} are started together on {host}, unseen by anybody")
    cluster.do(salvage.gather(terms, found, host, _client(cluster)))
    cluster.do(salvage.unpack(terms, host, names))
    told = _expected(cluster, host, nothing)
    copies = attempts.judge(found, cluster.ask(salvage.ask_databases(terms, host, names)), told)
    for _, line in copies.damage:
        cluster.note(line)
    tried: list[Tried] = []
    while (attempt := attempts.following(copies, configured, tried)) is not None:
        if attempt.why:
            cluster.note(attempt.why)
        answer = cluster.do(attempts.boot(terms, host, attempt, told.revision if told else None))[-1]
        tried.append((attempt, isolation.parse(answer.stdout, answer.words)))
        if tried[-1][1].saved and attempts.failure(*tried[-1], told):
            cluster.do(salvage.keep_unproven(terms, host))
    outcome = attempts.outcome(nothing, copies, tried)
    if outcome.failed:
        return outcome
    cluster.do(salvage.keep(terms, host))
    path, origin = salvage.kept(terms), Origin(salvage.KIND, nothing.lineage, nothing.bumps, now())
    answers = cluster.ask(staged.ask(host, path))
    made = staged.parse(origin, host, path, answers)
    if isinstance(made, str):
        mend = attempts.MEND if any(answer.hindered for answer in answers) else ""
        return replace(outcome, failed=f"what was saved {made}; it stays at {host}:{path}", mend=mend)
    return attempts.measured(outcome, made)


def _expected(cluster: Cluster, host: str, nothing: Salvaged) -> Fingerprint | None:
    """What the newest backup says of the data. Data that was named is taken as it is."""
    if cluster.options.salvage or nothing.lineage is None:
        return None
    (version,) = cluster.ask([look(host, "etcd", "--version", why="whether it hashes as the backup's did", root=False)])
    return attempts.expected(cluster.known.sources, nothing.lineage, version.stdout)


def _client(cluster: Cluster) -> str:
    """Where the old passwords are: the run's backup of Step 2 once it exists, else that of an earlier run of the
    incident, whose generator may have changed the live ones, else the live client configuration."""
    backup, server = cluster.terms.client_backup, cluster.terms.configuration_server
    there = facts.files(cluster, {server: (backup,)})[server]
    return backup if there else facts.earlier_backups(cluster).get(server, cluster.inventory.deephaven.client_config)
