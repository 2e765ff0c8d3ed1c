"""Holding the trial, at the end of Step 2: what `trial` plans is run here, and its answers are judged."""

from __future__ import annotations

from requorum.cluster import sandbox
from requorum.hosts import system
from requorum.recovery import trial
from requorum.recovery.progress import Progress
from requorum.recovery.trial import Trial
from requorum.refusal import Refusal
from requorum.run.marker import BASE
from requorum.run.run import Run
from requorum.snapshots import anew, files


class TrialError(Refusal):
    """The snapshot is not good enough to be restored."""


def hold(run: Run, progress: Progress) -> Trial:
    """Restores and boots the snapshot in isolation, or takes the word of this run's own good trial of it.

    Raises what `fleet` raises where a restore fails. Whether the trial is good is for `trial_is_good`.
    """
    terms, configs, source = run.terms, progress.new_configs, progress.sources.chosen
    wanted, server = trial.prefixes(terms), terms.configuration_server
    held = run.ask({server: trial.ask_note(terms, source.sha256, wanted)})[server]
    if held is not None:
        return held
    host = terms.member_hosts[0]
    _there_is_room(run, host, source.bytes)
    run.do(trial.restore(terms, progress.tools, configs))
    run.do(trial.gather(terms, host, progress.roles))
    boots = trial.boots(terms, configs)
    scratch = trial.scratch(terms)
    restored = None if source.revision is None else source.revision + progress.bump(run)
    plan = sandbox.boot(host, trial.KIND, terms.mark.run, scratch, run.inventory, boots, wanted, restored, source.bytes)
    answer = run.do(plan)[-1]
    run.do(trial.clear(terms, terms.member_hosts))
    answers = sandbox.parse(answer.stdout, answer.words, boots)
    found = trial.result(source.sha256, wanted, answers, len(terms.member_hosts))
    if not found.problem:
        run.do([trial.note(terms, server, found)])
    return found


_REMEDY = (
    "nothing was committed yet. Where a password is refused, it does not belong to this snapshot: put the right one "
    "into {backup}/ROLE/password on every Deephaven host that has that role, from the vendor's vault or an older "
    "client.before, or name another snapshot with --snapshot=FILE, then run again"
)


def _there_is_room(run: Run, host: str, size: int) -> None:
    members = len(run.terms.member_hosts)
    findings: dict[str, str | Exception | None] = {}
    for member, free in run.ask({h: system.ask_free(h, BASE) for h in run.terms.member_hosts}).items():
        needed = trial.bytes_needed(size, members, member == host)
        if isinstance(free, str):
            findings[member] = free
        else:
            findings[member] = None if free.size >= needed else f"{free.size:,} of {needed:,} bytes"
    run.settle(f"has room for the trial below {BASE}", findings, "make room there, then run again")


def trial_is_good(run: Run, progress: Progress) -> None:
    """Every old password logged in, all members hold the same data, with as many keys as the inventory expects. Without
    authentication only where the newest backup had none either."""
    found, roles = progress.trial, progress.roles
    if found is None:
        raise TrialError("the trial", "was not held", "run the runbook from its start")
    host = run.terms.member_hosts[0]
    unusual = found.authentication.words
    if unusual:
        run.note(unusual)
    data = progress.sources
    lineage, rows = data.chosen.lineage or data.family.lost, files.noted(run.inventory)
    if not found.problem:
        anew.refuse_left_open(run, "the trial", found.authentication.on, lineage, rows)
    claim = f"restored and booted in isolation, the snapshot lets every role in: {', '.join(roles)}"
    run.settle(claim, {host: found.problem or None}, _REMEDY.format(backup=run.terms.client_backup))
    expect = run.inventory.expect
    wrong = [] if found.counts[""] >= expect.min_keys else [f"{found.counts['']} keys in all"]
    for prefix, span in expect.prefixes.items():
        count = found.counts[prefix]
        if count < span.min or (span.max is not None and count > span.max):
            wrong.append(f"{count} keys under {prefix}")
    run.note(f"revision {found.revision:,}, hash {found.hash}, {found.counts['']:,} keys")
    run.note(f"users {', '.join(found.users)}; roles {', '.join(found.roles)}")
    run.settle(
        "the trial has as many keys as the inventory expects",
        {host: "; ".join(wrong) or None},
        "is this the right snapshot? Name another one with --snapshot=FILE, or correct expect in the inventory",
    )
