"""Carrying a salvage out, at the end of Step 1: what `disks`, `survivors` and `attempts` plan is run, step by step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from requorum.cluster import sandbox
from requorum.cluster.quorum import Kind, Verdict
from requorum.command import look
from requorum.evidence.journal import now
from requorum.hosts.fleet import FleetError, Unreachable
from requorum.hosts.meeting import last_line
from requorum.hosts.question import Question
from requorum.refusal import Refusal
from requorum.run import bulk, facts
from requorum.run.accepted import Accepted, option
from requorum.run.run import Run
from requorum.snapshots import anew, attempts, loss, on_host, survivors
from requorum.snapshots.attempts import Copies, Tried
from requorum.snapshots.disks import Disk
from requorum.snapshots.loss import Loss
from requorum.snapshots.on_host import Origin, Unread
from requorum.snapshots.ranking import Candidate
from requorum.snapshots.snapshot import Fingerprint
from requorum.snapshots.sources import Sources, salvageable
from requorum.snapshots.survivors import Salvaged, Survivor


def is_decided(run: Run, sources: Sources, verdict: Verdict | None) -> bool:
    """Whether the data is settled before Step 1 ends: by the run that is carried on, or since the healthy cluster or a
    snapshot that you named is to be restored."""
    source = sources.source
    if sources.outrun:
        return False
    intact = verdict is not None and verdict.kind is Kind.INTACT and not run.options.from_disk
    return verdict is None or intact or (source is not None and source.kind == "handover")


def may_replace(run: Run, sources: Sources, verdict: Verdict | None) -> bool:
    """Whether Step 1 may restore other data than Step 0 holds: then nothing of that goes to members before it is
    chosen. Where no disk can be salvaged, and no other data is chosen by the operator's word, it is what is restored.
    """
    options = run.options
    if is_decided(run, sources, verdict) or options.snapshot:
        return False
    return bool(salvageable(run, sources) or options.skip_hash)


def recall(run: Run) -> Loss | None:
    """What the run that is carried on found to be lost stays true."""
    run.note("decided by the run that is carried on")
    (noted,) = run.ask({"loss": loss.ask_loss(run.terms)}).values()
    return noted


def hold(run: Run, sources: Sources) -> Salvaged:
    """Salvages what disks hold of the lost cluster, or of the one that was named. A failure is an outcome, not an
    error, as long as the hosts answer: `choice.in_step_1` says what follows from it. Raises `Unreachable` for one that
    does not."""
    picked = salvageable(run, sources)
    empty = Salvaged(
        None,
        members=len(run.inventory.old_members),
        could_not=tuple(sources.doubts.items()),
        given_up=(
            *((m.host, "--gone") for m in run.inventory.old_members if m.host in run.terms.gone),
            *((host, option(f"without:{host}")) for host in sources.given_up),
        ),
    )
    if not picked:
        return empty
    line = max((disk.lineage for disk in picked), key=lambda lineage: lineage.cluster_id is not None)
    hosts = tuple(disk.host for disk in picked)
    seen = tuple(disk.member.name for disk in picked if disk.host in sources.anew)
    nothing = replace(empty, hosts=hosts, lineage=line, bumps=sources.family.bump(line), anew=seen)
    accepted = run.options.accepted
    outcome = _without(accepted, _tried(run, sources.rows, picked, nothing))
    others = [disk for disk in picked if disk.host not in accepted.hosts("without")]
    if outcome.failed and others and len(others) < len(picked):
        away = tuple(disk.host for disk in picked if disk not in others)
        run.note(f"{_left_behind(run, replace(outcome, hosts=away))}: tried again without what you gave up")
        left = replace(nothing, could_not=(*nothing.could_not, *((d.host, outcome.failed) for d in picked)))
        left = replace(_without(accepted, left), hosts=tuple(disk.host for disk in others), could_not=nothing.could_not)
        first, outcome = outcome, _without(accepted, _tried(run, sources.rows, others, left, again=True))
        known = dict(first.databases) | dict(outcome.databases)  # also of what was given up: the loss is told by it
        outcome = replace(outcome, databases=tuple(known.items()))
    if not outcome.failed:  # its boot came to its end, and so did all before it
        run.do(survivors.remove(run.terms, outcome.hosts))
        return outcome
    return _with_what_was_saved(run, outcome)


def _left_behind(run: Run, outcome: Salvaged) -> str:
    """Why it failed, and where saves stay, where no later try clears: all copies may have been gathered there. What
    such a host says of a disk that is given up stops nothing."""
    try:
        return _with_what_was_saved(run, outcome).failed
    except Refusal as error:
        run.note(f"copies may still be in {survivors.scratch(run.terms)}: {error.where}: {error.what}")
        return outcome.failed


def _without(accepted: Accepted, outcome: Salvaged) -> Salvaged:
    """What could not be taken from a disk that the operator gave up is no doubt any more."""
    words = accepted.hosts("without")
    doubted = tuple(one for one in outcome.could_not if one[0] not in words)
    left = dict.fromkeys(host for host, _ in outcome.could_not if host in words)
    given_up = tuple((host, option(f"without:{host}")) for host in left)
    return replace(outcome, could_not=doubted, given_up=(*outcome.given_up, *given_up))


def _tried(
    run: Run, rows: tuple[Candidate, ...], picked: Sequence[Disk], nothing: Salvaged, again: bool = False
) -> Salvaged:
    """A salvage; what stands in its way is an outcome too. `again`: one was tried before."""
    try:
        _set_saves_aside(run, nothing.hosts)  # of this run, where it was cut: gathering begins with a clean scratch
        uncleared = {}
        if again or run.carrying_on:  # before room is measured: what copies of before take is no lack of it
            uncleared = run.attempt(survivors.clear(run.terms, nothing.hosts))
        found = run.ask({d.host: survivors.ask_survivor(n, d, run.terms) for n, d in enumerate(picked, 1)})
        return _salvage(run, rows, list(found.values()), nothing, uncleared)
    except Unreachable:
        raise
    except Refusal as error:
        failed = f"{error.where}: {error.brief or error.what}"
        return replace(nothing, failed=failed, mend=error.remedy, said=error.said)


def _set_saves_aside(run: Run, hosts: Sequence[str]) -> None:
    """A finished save that is still in the scratch gets a name beside it."""
    for host, there in facts.files(run, dict.fromkeys(hosts, (survivors.made(run.terms),))).items():
        if there:
            run.do(survivors.keep_unproven(run.terms, host))


def _with_what_was_saved(run: Run, outcome: Salvaged) -> Salvaged:
    """Says where finished saves stay that could not be proven, and clears the scratch, but never with a save in it."""
    terms = run.terms
    try:
        _set_saves_aside(run, outcome.hosts)
        kept = facts.files(run, dict.fromkeys(outcome.hosts, (survivors.unproven(terms),)))
        run.do(survivors.clear(terms, outcome.hosts))
    except Unreachable:
        raise
    except FleetError as error:
        run.note(f"what was saved, if anything, is still in {survivors.scratch(terms)}: {error.where}: {error.what}")
        return outcome
    places = ", ".join(f"{host}:{path}" for host, there in kept.items() for path in there)
    return replace(outcome, failed=f"{outcome.failed}; what was saved stays at {places}") if places else outcome


def _salvage(
    run: Run,
    rows: tuple[Candidate, ...],
    found: list[Survivor],
    nothing: Salvaged,
    uncleared: Mapping[str, Refusal],
) -> Salvaged:
    """`uncleared`: hosts whose scratch of before stays, and takes no copy."""
    terms, configured = run.terms, dict(reversed(found[0].config.peers))
    roomy = [one for one in found if one.free >= one.size]
    gathers = survivors.gathering_host(roomy or found, len(configured))  # before anything is copied
    failed = dict(uncleared)
    for one in found:
        if one.odd:
            failed[one.host] = survivors.SalvageError(one.host, one.odd, attempts.MEND)
        elif one not in roomy:
            failed[one.host] = survivors.no_room(one)
    cloned = gathers if survivors.may_be_cloned(terms, gathers) and gathers.host not in failed else None
    copied = (
        survivors.clone(terms, one) if one is cloned else survivors.copy(terms, one)
        for one in found
        if one.host not in failed
    )
    failed |= run.attempt([command for commands in copied for command in commands])
    left = [one for one in found if one.host not in failed]
    apart = tuple((host, f"{survivors.UNCOPIED}: {_reason(error)}") for host, error in failed.items())
    nothing = replace(nothing, could_not=(*nothing.could_not, *apart), said=_said(failed))
    if not left:
        return replace(nothing, failed=survivors.listed(apart), mend=next(iter(failed.values())).remedy)
    for host, error in failed.items():
        why = last_line(error.said) if error.said.strip() else error.what
        run.note(f"{host}: {survivors.UNCOPIED}: {why}")
    return _booted(run, rows, left, configured, nothing, cloned if cloned in left else None)


def _reason(error: Refusal) -> str:
    """In a few words: the command line is in the evidence, and what the host said stands beside it."""
    return error.brief.rpartition(": ")[2] or error.what


def _said(failed: Mapping[str, Refusal]) -> str:
    said = {host: error.said.strip() for host, error in failed.items() if error.said.strip()}
    return next(iter(said.values())) if len(said) == 1 else "\n".join(f"{host}: {text}" for host, text in said.items())


def _booted(
    run: Run,
    rows: tuple[Candidate, ...],
    found: list[Survivor],
    configured: dict[str, str],
    nothing: Salvaged,
    cloned: Survivor | None = None,
) -> Salvaged:
    """What comes of the copies that could be made. `cloned`: the one that is where all are gathered, in the room."""
    terms, accepted = run.terms, run.options.accepted
    chosen = cloned or survivors.gathering_host(found, len(configured))
    host, apart, clones = chosen.host, chosen.apart, cloned is not None
    names = ", ".join(survivor.name for survivor in found)
    run.note(f"copies of {names} are started together on {host}, unseen by anybody")
    run.do(survivors.gather(terms, found, host, clones))
    run.do(survivors.unpack(terms, host, found, apart, clones, first=True))
    copies, nothing = _judged(run, rows, host, found, nothing)
    told = copies.expected
    tried: list[Tried] = []
    hidden = run.ask({host: sandbox.ask_unseen(host, run.inventory, *bulk.seen_from(terms, apart))})[host]
    while (attempt := attempts.following(copies, configured, tried, accepted.hosts("forced"))) is not None:
        if attempt.why:
            run.note(attempt.why)
        # Nobody has changed the first ones: what looked at them only read.
        fresh = survivors.unpack(terms, host, attempt.survivors, apart, clones) if tried else ()
        answer = run.do(attempts.boot(terms, host, attempt, told.revision if told else None, hidden, fresh))[-1]
        boots = attempts.boots(terms, attempt)
        tried.append((attempt, sandbox.parse(answer.stdout, answer.words, boots, host)))
        if tried[-1][1].saved and attempts.failure(*tried[-1], told):
            run.do(survivors.keep_unproven(terms, host))
    outcome = attempts.outcome(nothing, copies, tried)
    if outcome.failed:
        return outcome
    origin, made = Origin(survivors.KIND, nothing.lineage, nothing.bumps, now()), survivors.made(terms)
    source = run.ask({host: on_host.ask_source(origin, host, made, named=survivors.kept(terms))})[host]
    if isinstance(source, Unread):
        mend = attempts.MEND if source.hindered else ""
        return replace(outcome, failed=f"what was saved {source.why}", mend=mend)
    measured = attempts.measured(outcome, source)
    if measured.source:
        run.do(survivors.keep(terms, host))
    return measured


def _judged(
    run: Run, rows: tuple[Candidate, ...], host: str, found: list[Survivor], nothing: Salvaged
) -> tuple[Copies, Salvaged]:
    """Which of the copies on `host` hang together, and count."""
    told = _expected(run, rows, host, nothing)
    databases = run.ask({one.host: on_host.ask_status(host, survivors.database(run.terms, one)) for one in found})
    copies = attempts.judge(found, databases, told)
    if run.options.salvage or run.options.accepted.has(anew.WORD):
        nothing = replace(nothing, anew=())
    else:
        copies, behind = attempts.without_anew(copies, rows, nothing)
        for name in behind:
            seen = "was seen to have begun anew while it ran" if name in nothing.anew else "is behind the newest backup"
            run.warn(f"the disk of {name} {seen} of its cluster, as one that began anew: it counts for nothing")
        nothing = replace(nothing, anew=behind)
    for _, line in copies.damage:
        run.warn(line)
    return copies, nothing


def _expected(run: Run, rows: tuple[Candidate, ...], host: str, nothing: Salvaged) -> Fingerprint | None:
    """What the newest backup says of the data. Data that was named is taken as it is."""
    if run.options.salvage or nothing.lineage is None:
        return None
    version = look(host, "etcd", "--version", why="whether it hashes as the backup's did", root=False)
    said = run.ask({host: Question(version, lambda answer: answer.stdout)})[host]
    return attempts.expected(rows, nothing.lineage, said)
