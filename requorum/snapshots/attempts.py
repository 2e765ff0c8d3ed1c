"""Which survivors' copies are started next, and what came of all of it: how a salvage goes on from what was answered.

All copies together, without those that do not start, then one alone; each attempt only where the one before failed, and
none after one that was hindered: slow, refused or out of room says nothing of the data. Before all that, where the
cluster has the members that it began with, one with stand-ins that need not join: if it fails for any reason, it was
only the time.
Pure functions over what was tried so far; `survivors` says how an attempt is booted, `salvage` runs it.
"""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from requorum.cluster import sandbox
from requorum.cluster.lineage import Lineage
from requorum.cluster.sandbox import FIRST_PORT, Answers, Boot
from requorum.command import Command
from requorum.run.terms import Terms
from requorum.snapshots import ranking, survivors
from requorum.snapshots.anew import is_behind
from requorum.snapshots.on_host import Unread
from requorum.snapshots.ranking import NAME_SALVAGE, Candidate
from requorum.snapshots.snapshot import Fingerprint, Source
from requorum.snapshots.survivors import Salvaged, Survivor

MEND = "mend that on the host where the copies are started, or let it be less busy, then run again"


@dataclass(frozen=True)
class Attempt:
    """One boot: these survivors' copies as part of a cluster of `members` (name → peer URL). `force`: the one copy
    becomes a cluster of its own. `ahead`: the stand-ins start first, as new members of it. `why`: what led to it,
    for the operator."""

    survivors: tuple[Survivor, ...]
    members: dict[str, str]
    force: bool = False
    why: str = ""
    ahead: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(survivor.name for survivor in self.survivors)


Tried = tuple[Attempt, Answers]


@dataclass(frozen=True)
class Copies:
    """The gathered copies: the `sound` ones, most advanced first; (host, revision) that their databases show; (host,
    what is wrong) with the others. `expected`: what a backup says of the data that they must hold too. `hindered`: a
    sentence for each that could not be looked at, which says nothing of the data."""

    sound: tuple[Survivor, ...]
    databases: tuple[tuple[str, int], ...]
    damage: tuple[tuple[str, str], ...]
    expected: Fingerprint | None = None
    hindered: tuple[str, ...] = ()


def expected(rows: Sequence[Candidate], lineage: Lineage, version: str) -> Fingerprint | None:
    """What the newest backup of this lineage says of the data; None where none does, or of another etcd.

    `version`: what `etcd --version` prints where the copies are started.
    """
    newest = ranking.newest((row for row in rows if row.source and row.source.fingerprint), lineage)
    told = newest.source.fingerprint if newest and newest.source else None
    return told if told and f"etcd Version: {told.etcd}" in version.splitlines() else None


def judge(
    found: Sequence[Survivor], databases: Mapping[str, tuple[int, int] | Unread], told: Fingerprint | None = None
) -> Copies:
    """Which copies' databases hang together. `databases`: host → what `on_host.ask_status` tells of its copy."""
    revisions: dict[str, int] = {}
    damage, hindered = [], []
    for survivor in found:
        status = databases[survivor.host]
        if not isinstance(status, Unread):
            revisions[survivor.host] = status[0]
        elif status.hindered:
            hindered.append(f"the database of {survivor.name} could not be looked at: {status.why}")
        else:
            damage.append((survivor.host, f"the database of {survivor.name} is damaged: {status.why}"))
    sound = sorted((s for s in found if s.host in revisions), key=lambda s: -revisions[s.host])
    return Copies(tuple(sound), tuple(revisions.items()), tuple(damage), told, tuple(hindered))


def without_anew(copies: Copies, rows: Sequence[Candidate], nothing: Salvaged) -> tuple[Copies, tuple[str, ...]]:
    """Without the copies of disks that began anew, where there are others, since they could outvote those, and may
    reach further by now; and the names of their members. All are kept where all began anew. `nothing.anew`: what was
    seen while they ran."""
    revisions, line, known = dict(copies.databases), nothing.lineage, nothing.anew
    behind = [s for s in copies.sound if s.name in known or (line and is_behind(revisions[s.host], line, rows))]
    others = tuple(s for s in copies.sound if s not in behind)
    if not others:
        return copies, tuple(survivor.name for survivor in behind)
    shown = tuple(one for one in copies.databases if one[0] not in {survivor.host for survivor in behind})
    return replace(copies, sound=others, databases=shown), tuple(survivor.name for survivor in behind)


def following(
    copies: Copies, configured: dict[str, str], tried: Sequence[Tried], accepted: Collection[str] = ()
) -> Attempt | None:
    """The next attempt; None where there is none left, or none needed. `configured`: name → peer URL; `accepted`: hosts
    whose copy may be forced, by the operator's word.

    A copy that does not start is left out and the rest tried again, and so is one in which a value has rotted; where
    the data knows other members than the configuration says, the data is right, once.
    """
    if copies.hindered:
        return None
    if not tried:
        return _first(copies.sound, configured) if copies.sound else None
    last, answers = tried[-1]
    failed, rotten = failure(last, answers, copies.expected), _rotten(last, answers, copies.expected)
    if not failed or last.force:
        return None
    if last.ahead:  # nothing that went wrong there is held against the data: the originals are as they were
        why = f"{failed}; fresh copies are started, and the stand-ins join them"
        return Attempt(last.survivors, last.members, why=why)
    actual = survivors.told(answers.members, last.members)
    if answers.failed and actual != last.members and last.members == configured:
        why = f"the data knows other members than the configuration: {', '.join(actual.values())}"
        return Attempt(last.survivors, actual, why=why)
    if answers.hindered:
        return None
    if answers.died and len(last.survivors) > 1 and answers.died[0] in last.names:
        left = tuple(s for s in last.survivors if s.name != answers.died[0])
        return Attempt(left, last.members, why=f"{answers.failed}; it is left out")
    if rotten:
        left = tuple(s for s in last.survivors if s.name not in rotten)
        return Attempt(left, last.members, why=f"{failed}: {', '.join(rotten)} is left out") if left else None
    one = next((s for s in last.survivors if s.host in accepted), None)
    if one is None or not _could_be_forced(last, answers):
        return None
    why = f"together it failed: {failed}; one copy is forced into a cluster of its own, as you said"
    return Attempt((one,), last.members, force=True, why=why)


def _first(sound: tuple[Survivor, ...], configured: dict[str, str]) -> Attempt:
    if not survivors.may_begin_ahead(sound, configured):
        return Attempt(sound, configured)
    begun = "was restored with these members" if survivors.was_restored(sound, configured) else "is as it began"
    why = f"the cluster {begun}: its stand-ins start before the copies, and wait for nobody"
    return Attempt(sound, configured, why=why, ahead=True)


TURNED_AWAY = ("validating peerURLs", "member count is unequal")  # etcd's words where the data knows other members


def _could_be_forced(attempt: Attempt, answers: Answers) -> bool:
    """Whether an etcd ended for what is in the data: a copy with a reason of its own, a stand-in that the copies turned
    away. One that was killed, that waited too long for an answer, or that its disk gave no page, says nothing of it: it
    would be passed over."""
    if not answers.died or answers.hindered or attempt.force:
        return False
    name, why = answers.died
    if name in attempt.names:
        return why != sandbox.NO_REASON and "SIGBUS" not in why
    return any(word in why for word in TURNED_AWAY)


def _rotten(attempt: Attempt, answers: Answers, told: Fingerprint | None) -> list[str]:
    """Copies that hold other data than the backup says they held then; those that were compacted since cannot tell."""
    names = {
        f":{FIRST_PORT + n}": name for n, name in enumerate(sorted(attempt.names))
    }  # as `survivors.boots` has them
    return [
        name
        for port, name in names.items()
        for endpoint, (found, compacted) in answers.then.items()
        if told and endpoint.endswith(port) and compacted == told.compacted and found != told.hash
    ]


def failure(attempt: Attempt, answers: Answers, told: Fingerprint | None) -> str:
    """Why an attempt did not give the data; "" where it did."""
    if answers.failed:
        return answers.failed
    if told and (rotten := _rotten(attempt, answers, told)):
        alike = len(rotten) > 1 and len({found for found, _ in answers.then.values() if found != told.hash}) == 1
        return (
            f"a value has rotted on disk: at revision {told.revision:,} the data is not what the backup of then says"
            + alike * "; it is alike on all of these, so that their history may be another one, that began anew"
        )
    if len({compacted for _, compacted in answers.hashes.values()}) != 1:
        return f"the copies cannot be compared, since they are compacted differently: {answers.hashes}"
    if len({digest for digest, _ in answers.hashes.values()}) != 1:
        return f"the copies hold different data: {answers.hashes}"
    if "CORRUPT" in answers.alarms and not _is_confirmed(attempt, answers, told):
        return (
            "etcd had raised the alarm CORRUPT, which says that members held different data, and neither copies of a "
            "majority nor a backup of the same revision tell whose is right"
        )
    return ""


def _is_confirmed(attempt: Attempt, answers: Answers, told: Fingerprint | None) -> bool:
    """Whether equal hashes are proof enough after that alarm: of a majority's copies, or with the backup's own."""
    if 2 * len(attempt.survivors) > len(attempt.members):
        return True
    return told is not None and bool(answers.then) and set(answers.then.values()) == {(told.hash, told.compacted)}


def _left_out(copies: Copies, tried: Sequence[Tried]) -> list[tuple[str, str]]:
    """(host, why) of every copy that is not in the last attempt: its database is damaged, or it did not go with the
    others."""
    left = list(copies.damage)
    for (attempt, answers), (later, _) in itertools.pairwise(tried):
        why = failure(attempt, answers, copies.expected)
        left += [(s.host, why) for s in attempt.survivors if s.name not in later.names]
    return left


def boots(terms: Terms, attempt: Attempt) -> list[Boot]:
    old = terms.inventory.old_members
    return survivors.boots(attempt.survivors, attempt.members, old, attempt.force, attempt.ahead)


def boot(
    terms: Terms,
    host: str,
    attempt: Attempt,
    revision: int | None = None,
    hidden: Sequence[str] = (),
    unpacked: Sequence[Command] = (),
) -> list[Command]:
    """Copies, started; the last command's output is for `sandbox.parse`. `revision`: of the hash to ask for;
    `unpacked`: what makes them fresh."""
    place, inventory = survivors.scratch(terms), terms.inventory
    size = max(survivor.size for survivor in attempt.survivors)
    return [
        *unpacked,
        *sandbox.boot(
            host, survivors.KIND, terms.mark.run, place, inventory, boots(terms, attempt), (), revision, size, hidden
        ),
    ]


def outcome(nothing: Salvaged, copies: Copies, tried: Sequence[Tried]) -> Salvaged:
    """What came of all attempts. `nothing` holds what was known before them; `source` is still to be measured."""
    left = (*nothing.could_not, *_left_out(copies, tried))
    damaged = tuple(host for host, _ in copies.damage)
    found = replace(nothing, databases=copies.databases, could_not=left, damaged=damaged)
    failures = [failure(attempt, answers, copies.expected) for attempt, answers in tried]
    if not tried or failures[-1]:
        forced = len(tried) > 1 and tried[-1][0].force
        said = [f"alone: {failures[-1]}"] if forced else failures[-1:]
        if tried and _rotten(*tried[-1], copies.expected):
            said.append(f"{NAME_SALVAGE}{shlex.quote(tried[-1][0].survivors[0].config.token)} takes it nevertheless")
        together = failures[-2:-1] if forced else []
        hindered = bool(copies.hindered) or bool(tried and tried[-1][1].hindered)
        why = "; ".join([*(text for _, text in copies.damage), *copies.hindered, *together, *said])
        one = tried[-1][0].survivors[0].host if tried and _could_be_forced(*tried[-1]) else ""
        return replace(found, failed=why, mend=MEND if hindered else "", could_be_forced=one)
    attempt = tried[-1][0]
    how = "alone" if attempt.force else "together"
    members = max(nothing.members, len(attempt.members))  # data that was forced once knows itself alone
    taken = tuple(s.host for s in attempt.survivors if s.name not in nothing.anew)
    return replace(found, how=how, survivors=attempt.names, members=members, taken=taken)


def measured(found: Salvaged, source: Source) -> Salvaged:
    """With what was saved, unless that ends before what a survivor's own database shows as applied: then the copy that
    had got further is not in it."""
    host, most = max(found.databases, key=lambda shown: shown[1])
    if (source.revision or 0) >= most:
        return replace(found, source=source)
    ends = f"what was saved ends at revision {source.revision or 0:,}"
    others = tuple(one for one, revision in found.databases if revision < most)
    return replace(found, failed=f"{ends}, but the database of {host} shows {most:,} as applied", outvoting=others)
