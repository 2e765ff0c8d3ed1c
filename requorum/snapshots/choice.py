"""Choosing what is restored, once the old etcd is proven stopped: salvage, a snapshot, or the last resort.

One pure decision over what the stages have found, with `ranking`'s order; what follows from it for the table, for the
operator's terminal and for the report's data loss is said here too. Nothing is asked and nothing is run.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace

from requorum.command import Command, look
from requorum.hosts.question import Question
from requorum.run.accepted import Accepted, option
from requorum.run.marker import ON_DISK, SALVAGE
from requorum.run.terms import Terms
from requorum.snapshots import disks, ranking
from requorum.snapshots.disks import Disk
from requorum.snapshots.family import Family
from requorum.snapshots.ranking import BY_YOU, DIRECTORY, NAME_SALVAGE, Candidate
from requorum.snapshots.snapshot import SnapshotError, Source
from requorum.snapshots.survivors import Salvaged, listed


@dataclass(frozen=True)
class Decision:
    """The source to restore, the table, what is lost with it, and lines for the operator. `new`: the members do not
    hold it yet, since Step 0 brought them another one, or none."""

    source: Source
    rows: tuple[Candidate, ...]
    loss: Loss
    notes: tuple[str, ...]
    new: bool


@dataclass(frozen=True)
class Found:
    """All that the decision is made from. `rows`: the table of Step 0; `held`: the source that Step 0 chose; `named`:
    the token that the operator wants salvaged; `resort`: the last resort, where it was asked for and taken;
    `accepted`: the losses that the operator's word covers."""

    rows: tuple[Candidate, ...]
    disks: tuple[Disk, ...]
    family: Family
    held: Source | None
    salvaged: Salvaged
    named: str | None = None
    resort: Candidate | None = None
    accepted: Accepted = field(default_factory=Accepted)


def decide(found: Found) -> Decision:
    """Raises `SnapshotError` where nothing can be restored, naming what could be done about it."""
    chosen, rows = table(found)
    if chosen is None or chosen.source is None:
        raise _nothing(found)
    new = found.held is None or found.held.sha256 != chosen.source.sha256
    source = chosen.source if new or found.held is None else found.held  # as Step 0 knows it: with its keys
    return Decision(source, rows, loss_of(chosen, found.salvaged), tuple(_notes(found, chosen)), new)


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
        return SnapshotError("salvage", what, choices(found, salvaged.mend))
    if found.named:
        return None
    if salvaged.could_not and not (salvaged.has_a_majority and (chosen is None or chosen.kind == SALVAGE)):
        hosts = ", ".join(dict.fromkeys(host for host, _ in salvaged.could_not))
        what = f"may hold newer data than all that can be restored: {listed(salvaged.could_not)}"
        return SnapshotError(hosts, what, choices(found, "make it readable there"))
    return _behind_a_manifest(found, chosen)


def _behind_a_manifest(found: Found, chosen: Candidate | None) -> SnapshotError | None:
    """What is restored must reach every revision that a backup of its own lineage is known to have had, also where that
    file itself is not whole any more."""
    if chosen is None or chosen.named or found.accepted.has("history") or chosen.lineage is None:
        return None
    generation = found.family.generation(chosen.lineage)
    if generation is None:
        return None
    ours = [row for row in found.rows if row.lineage and found.family.generation(row.lineage) == generation]
    newest = max((row for row in ours if row.kind == "file"), key=lambda row: row.own_revision, default=None)
    if newest is None or newest.own_revision <= chosen.own_revision:
        return None
    what = (
        f"by its manifest the backup {newest.path} was at revision {newest.revision or 0:,}, and all that can be "
        f"restored ends at {chosen.revision or 0:,}: that backup {newest.problem or 'was left out'}"
    )
    accept = f"go on without what it held: {found.accepted.option('history')}"
    return SnapshotError(
        newest.path, what, f"find that backup again, whole, and run the same command again; or {accept}"
    )


def choices(found: Found, mend: str) -> str:
    """What ends the incident, the way that loses nothing first; each option as it is pasted."""
    mend = re.sub(r"[,;]? *(then|and) run (it )?again$", "", mend or "mend what is said here")
    return "; or ".join(
        [
            f"{mend}, and run the same command again: it salvages anew",
            *_with_the_others(found),
            *_forced(found),
            _with_a_backup(found),
            *_without_a_hash(found),
        ]
    )


def _with_the_others(found: Found) -> list[str]:
    """The whole disks' data as it is, where only other disks are in doubt."""
    salvaged = found.salvaged
    doubted = tuple(dict.fromkeys((*(host for host, _ in salvaged.could_not), *salvaged.outvoting)))
    whole = disks.salvageable(found.disks, found.family, found.named, doubted)
    names = ", ".join(dict.fromkeys(disk.host for disk in whole if disk.host not in doubted))
    if not names or not doubted or (salvaged.failed and not salvaged.outvoting):
        return []
    accept = found.accepted.option(*(f"without:{host}" for host in doubted))
    return [f"go on with what {names} holds, and without what those disks hold: {accept}"]


def _forced(found: Found) -> list[str]:
    """One copy as a cluster of its own, where an etcd ended for what is in the data."""
    host = found.salvaged.could_be_forced
    if not host:
        return []
    accept = found.accepted.option(f"forced:{host}")
    return [f"force the copy of {host}, which drops what it had not heard to be committed: {accept}"]


def _with_a_backup(found: Found) -> str:
    """The backup that would be restored if there were no disks."""
    best, _ = _ranked(found, [])
    if best is None:
        return "go on with a backup, without what the disks hold: --snapshot=FILE"
    there = f"the backup taken {best.taken} ({best.path})"
    return f"go on with {there}, without what the disks hold: {found.accepted.option('backup')}"


def _without_a_hash(found: Found) -> list[str]:
    """The last resort: databases that can be read."""
    revisions = dict(found.salvaged.databases)
    hosts = dict.fromkeys(disk.host for disk in found.disks)
    return [
        f"as the last resort, with the database on {host}"
        + (f" at revision {revisions[host]:,}" if host in revisions else "")
        + f", without a hash: {found.accepted.option(f'on-disk:{host}')}"
        for host in hosts
        if host not in found.salvaged.damaged and disks.last_resort(found.disks, found.family, host)
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
        beside = f", the backup is at {found.held.revision:,}" if found.held and found.held.revision is not None else ""
        return [f"salvaged at revision {chosen.revision or 0:,}{beside}"]
    notes = []
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
        return [*notes, f"the database of {chosen.host} is restored without a hash, at revision {chosen.revision:,}"]
    notes.append(f"the snapshot taken {chosen.taken} is restored instead")
    ahead = [(revision - salvaged.bumps - chosen.own_revision, host) for host, revision in salvaged.databases]
    if ahead and max(ahead)[0] > 0:
        notes.append(
            "the database of {1} shows {0:,} revisions more; without its hash it can be restored, ".format(*max(ahead))
            + f"as the last resort: Ctrl-C before Step 3, and run again with --skip-hash={max(ahead)[1]}"
        )
    return notes


def _nothing(found: Found) -> SnapshotError:
    failed = found.salvaged.absence
    if found.named:
        there = f"{NAME_SALVAGE}{found.named}"
        return SnapshotError(there, failed, "leave it out, or name a backup with --snapshot=FILE")
    if found.resort:
        why = f"{found.resort.problem}; and {failed}"
        return SnapshotError(f"{found.resort.host}:{found.resort.path}", why, "name a backup with --snapshot=FILE")
    return nothing(f"there is no backup, and {failed}", found.rows)


def nothing(what: str, rows: Sequence[Candidate]) -> SnapshotError:
    """There is nothing to restore by itself; what in the table could be named is."""
    what = "; ".join([what, *(f"{row.path}: {row.problem}" for row in rows if row.kind == DIRECTORY)])
    remedy = ["name a backup with --snapshot=FILE"]
    if any(row.kind == SALVAGE and NAME_SALVAGE in (row.problem or "") for row in rows):
        remedy.append(f"or have another cluster's data in the table above salvaged: {NAME_SALVAGE}TOKEN")
    hosts = [row.host for row in rows if row.kind == ON_DISK]
    remedy += [
        f"or, as the last resort, have the database on {host} restored without a hash: --skip-hash={host}"
        for host in hosts[:1]
    ]
    return SnapshotError("no data", what, "; ".join(remedy))


@dataclass(frozen=True)
class Loss:
    """Acknowledged revisions: `certain` are known to be missing, `possible` may be; None where nobody can know."""

    certain: int | None
    possible: int | None
    why: str


def note_loss(terms: Terms, found: Loss) -> Command:
    """Kept on the configuration server for the report of a run that is carried on."""
    content = json.dumps(asdict(found)) + "\n"
    return Command(
        terms.configuration_server,
        ("dd", f"of={terms.place('loss.json')}", "status=none"),
        "note what is lost",
        stdin=content.encode(),
    )


def ask_loss(terms: Terms) -> Question[Loss | None]:
    """None where nothing was noted, or what is no such note."""
    question = look(terms.configuration_server, "cat", terms.place("loss.json"), why="what the run found to be lost")
    return Question(question, lambda answer: _read_loss(answer.stdout))


def _read_loss(text: str) -> Loss | None:
    try:
        loss = Loss(**json.loads(text))
    except (ValueError, TypeError):
        return None
    numbers = all(value is None or type(value) is int for value in (loss.certain, loss.possible))
    return loss if numbers and isinstance(loss.why, str) and loss.why.isprintable() else None


def loss_of(chosen: Candidate, salvaged: Salvaged) -> Loss:
    """What is lost when `chosen` is restored."""
    if chosen.kind == SALVAGE:
        found = _of_salvage(salvaged)
        if chosen.named == BY_YOU:  # nobody knows how that cluster's data relates to what was lost
            return Loss(None, None, f"the data of {chosen.lineage} was named: {found.why}")
        return found
    if chosen.kind == ON_DISK:
        why = (
            f"{why_lost(chosen, salvaged)}; the database on the disk of {chosen.host} was restored without a hash, so "
            "nothing tells whether it is whole, and writes that were only in its log are missing (1 to 78 "
            "acknowledged ones in 13 of 13 trials)"
        )
        return Loss(None, None, why)
    newest = salvaged.source.revision if salvaged.source else salvaged.on_disk
    certain = None
    if newest is not None and chosen.revision is not None:
        certain = max(newest - salvaged.bumps - chosen.own_revision, 0)
    why = f"{why_lost(chosen, salvaged)}; writes acknowledged after {chosen.taken} are not in the snapshot"
    return Loss(certain, None, why)


def _of_salvage(salvaged: Salvaged) -> Loss:
    held, members = len(salvaged.survivors), salvaged.members
    if salvaged.how == "alone":
        why = (
            "salvaged by forcing one survivor into a cluster of its own: entries past its commit index "
            "are dropped (1 to 5 in 4 of 13 trials)"
        )
        return Loss(None, None, why)
    shown = salvaged.on_disk
    if shown is None or salvaged.source is None or (salvaged.source.revision or 0) < shown:
        why = f"salvaged from {held} of {members} members; it was not compared with what their databases show"
        return Loss(None, None, why)
    if held > members // 2:
        why = f"nothing is missing: salvaged from {held} of {members} members, so all acknowledged writes are there"
        return Loss(0, 0, why)
    why = (
        f"salvaged from {held} of {members} members ({', '.join(salvaged.survivors)}): all on their disks "
        "is back; a write that only the others had on disk when they were lost is missing, nobody can count it"
    )
    return Loss(None, None, why)


def why_lost(chosen: Candidate, salvaged: Salvaged) -> str:
    """Why it is not the salvage."""
    if salvaged.source:
        newest = salvaged.source.revision or 0
        if chosen.named == BY_YOU:
            return f"a snapshot was named, and the salvage at revision {newest:,} was not used"
        return f"the salvage ends at revision {newest:,}, before this snapshot"
    return salvaged.absence
