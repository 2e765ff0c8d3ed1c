"""Holding the trial, at the end of Step 2: what `trial` and `ahead` plan is run here, and its answers are judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from requorum.cluster import etcdctl, sandbox
from requorum.cluster.etcdctl import Database
from requorum.cluster.sandbox import Boot
from requorum.command import Command, Result
from requorum.hosts.failure import raise_all
from requorum.hosts.question import Question
from requorum.hosts.system import Free
from requorum.recovery import ahead, room, trial
from requorum.recovery.progress import Progress
from requorum.recovery.trial import Trial
from requorum.refusal import Refusal
from requorum.run import bulk, facts
from requorum.run.bulk import Rooms
from requorum.run.run import Run
from requorum.snapshots import anew, files


class TrialError(Refusal):
    """The snapshot is not good enough to be restored."""


def hold(run: Run, progress: Progress) -> Trial:
    """Restores and boots the snapshot in isolation, or takes the word of this run's own good trial of it; beside it
    every new member that can does its real restore, where that does not lie whole there already.

    Raises what `fleet` raises where the trial gives no answer. Whether it is good is for `trial_is_good`, and what
    members' own restores that failed mean for `restored_alike`: neither hides the other.
    """
    terms, configs, tools, source = run.terms, progress.new_configs, progress.tools, progress.sources.chosen
    wanted, server, host = trial.prefixes(terms), terms.configuration_server, terms.member_hosts[0]
    how = trial.how(terms, tools[host])
    held = run.ask({server: trial.ask_note(terms, source.sha256, wanted, how)})[server]
    restores = _to_restore(run, progress)
    tries = () if held else (host,)
    rooms = run.ask({each: bulk.ask_rooms(each, terms) for each in dict.fromkeys((*tries, *restores))})
    _there_is_room(run, source.bytes, tries, restores, rooms)
    plan: list[Command] = []
    if held is None:
        boots = [trial.boot(terms, configs[host])]
        restored = None if source.revision is None else source.revision + progress.bump(run)
        apart = rooms[host].apart
        plan += trial.prepare(terms, host, apart, again=run.carrying_on)
        plan += trial.restore(terms, host, tools[host], configs[host])
        hidden = run.ask({host: sandbox.ask_unseen(host, run.inventory, *bulk.seen_from(terms, apart))})[host]
        place, of = trial.scratch(terms), (boots, wanted, restored, source.bytes, hidden)
        roles = progress.roles
        plan += sandbox.boot(
            host, trial.KIND, terms.mark.run, place, run.inventory, *of, roles=roles, logins=trial.logins(terms, roles)
        )
        plan = [replace(command, lane=trial.KIND) for command in plan]
    told = {member: _ask_database(run, progress, member) for member in restores}
    for member, asked in told.items():
        plan += [*ahead.restore(terms, member, tools[member], configs[member], source.sha256), *asked.commands]
    try:
        done, progress.unrestored = run.severally(plan)
        progress.restored = _told(told, done)
        answer = trial.said(terms, done)
        if held is None and answer is None:
            raise_all([*progress.unrestored.values()])
    except Refusal:
        with suppress(Refusal):  # what was raised is told; a rerun clears what is left
            run.attempt(trial.forget(terms, (server, host)))
        raise
    with suppress(Refusal):  # it may have filled the disk; a rerun restores anew
        run.attempt(ahead.forget(terms, [*progress.unrestored]))
    if held is not None:
        return held
    assert answer is not None
    return _found(run, answer, boots, source.sha256, how)


def _found(run: Run, answer: Result, boots: Sequence[Boot], snapshot: str, how: str) -> Trial:
    """What a boot's answer says of the snapshot, noted where it is good; its scratch goes whatever it says."""
    terms, cleared = run.terms, trial.tidy(run.terms, answer.command.host, answer)
    try:
        answers = sandbox.parse(answer.stdout, answer.words, boots, answer.command.host)
        found = trial.result(snapshot, trial.prefixes(terms), answers, how)
    except Refusal:
        run.do(cleared)
        raise
    run.do([*cleared, *([] if found.problem else [trial.note(terms, terms.configuration_server, found)])])
    return found


def _to_restore(run: Run, progress: Progress) -> list[str]:
    """New members that restore now, what they hold of an earlier try removed; keeps in `progress` which then hold
    their data ahead. Once the new configuration is installed anywhere Step 4 does it."""
    if facts.new_configuration_is_installed(run):
        return []
    terms, configs, tools = run.terms, progress.new_configs, progress.tools
    found = run.ask({host: ahead.ask(terms, host, configs[host]) for host in terms.member_hosts})
    noted = ahead.is_there(terms, tools, configs, found, progress.sources.chosen.sha256)
    told = _databases(run, progress, [host for host in terms.member_hosts if host in noted])
    alike = len({value for value in told.values() if not isinstance(value, str)}) == 1
    whole = {host for host, value in told.items() if alike and not isinstance(value, str)}
    progress.ahead = tuple(host for host in terms.member_hosts if found[host].movable)
    restores = [host for host in progress.ahead if host not in whole]
    run.do(ahead.forget(terms, [host for host in restores if found[host].left]))
    return restores


def put_down(run: Run) -> dict[str, frozenset[str]]:
    """Host → what a run that is carried on has put down there already, and needs no room for again."""
    if not run.carrying_on:
        return {}
    terms, path = run.terms, run.terms.snapshot_path
    staged = facts.files(run, dict.fromkeys(terms.member_hosts, (path,)))
    beside = run.ask({host: ahead.ask(terms, host) for host in terms.member_hosts})
    return {
        host: frozenset((room.SNAPSHOT,) * (path in staged[host]) + (room.RESTORED,) * beside[host].left)
        for host in terms.member_hosts
    }


def _ask_database(run: Run, progress: Progress, host: str) -> Question[Database | str]:
    """What a host's own etcd, as the account that it will run as, reads of what was restored there."""
    path, account = ahead.database(run.terms), run.inventory.etcd.user
    return etcdctl.ask_database(host, progress.tools[host].restorer, account, path)


def _databases(run: Run, progress: Progress, hosts: Sequence[str]) -> dict[str, Database | str]:
    return run.ask({host: _ask_database(run, progress, host) for host in hosts})


def _told(asked: Mapping[str, Question[Database | str]], done: Sequence[Result]) -> dict[str, Database | str]:
    """What hosts told behind their restore; who did not tell in time is asked again where all are compared."""
    found: dict[str, Database | str] = {}
    for result in done:
        if host := _whose(result, asked):
            with suppress(Refusal):
                found[host] = asked[host].understand([result])
    return found


def _whose(result: Result, told: Mapping[str, Question[Database | str]]) -> str:
    """The host whose restored data an answer tells of, "" where it is another answer."""
    asked, host = told.get(result.command.host), result.command.host
    return host if asked and result.command.why == asked.commands[0].why else ""


def _there_is_room(
    run: Run, size: int, tries: Sequence[str], restores: Sequence[str], rooms: Mapping[str, Rooms]
) -> None:
    """`rooms`: of these hosts. Step 0 asked for a margin too."""
    if not rooms:
        return
    findings: dict[str, str | Exception | None] = {}
    for host, told in rooms.items():
        asked = room.places(run.terms, host, told)
        turn = room.before_the_commit(run.terms, size, host in tries, host in restores)
        untold = next((one for place, one in asked.items() if place in turn.uses and isinstance(one, str)), None)
        free = {place: one for place, one in asked.items() if isinstance(one, Free)}
        findings[host] = untold or room.lacking([turn], free, spares=False)
    run.settle("has room for the trial and its restored data", findings, "make room there, then run again")


_REMEDY = (
    "nothing was committed yet. Where a password is refused, it does not belong to this snapshot: put the right one "
    "into {backup}/ROLE/password on every Deephaven host that has that role, from the vendor's vault or an older "
    "client.before, or name another snapshot with --snapshot=FILE, then run again"
)


def trial_is_good(run: Run, progress: Progress) -> None:
    """Every old password logged in, with as many keys as the inventory expects. Without authentication only where the
    newest backup had none either."""
    found, roles = progress.trial, progress.roles
    if found is None:
        raise TrialError("the trial", "was not held", "run the runbook from its start")
    for member, error in progress.unrestored.items():
        run.note(f"{member}: its own restore failed: {error.brief or error.what}")
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


def restored_alike(run: Run, progress: Progress) -> None:
    """What lies beside the members' places is one and the same: hash, revision and entries, as each host's own
    etcd reads it right behind its restore, as the account that etcd will run as. Raises what failed where one could not
    restore."""
    raise_all([*progress.unrestored.values()])
    if not progress.ahead:
        return
    asked = _databases(run, progress, [host for host in progress.ahead if host not in progress.restored])
    found = {host: asked.get(host) or progress.restored[host] for host in progress.ahead}
    told = {value for value in found.values() if not isinstance(value, str)}
    run.settle(
        "the data that this member restored is the same as every other's, by its own etcd",
        {
            host: value if isinstance(value, str) else (None if len(told) == 1 else str(value))
            for host, value in found.items()
        },
        "nothing was committed yet. Where one host alone differs, look at its disk and its etcd, and run again: it "
        "restores anew; else run again with another snapshot: --snapshot=FILE",
    )
    for value in told:
        run.note(f"restored on {', '.join(progress.ahead)}, alike: {value}; Step 4 only moves it")
