"""What is lost with the data that is restored, in numbers where they are known, and its note for a run carried on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from requorum.command import Command, look
from requorum.hosts import kept
from requorum.hosts.kept import File
from requorum.hosts.question import Question, complete
from requorum.run.marker import ON_DISK, SALVAGE
from requorum.run.terms import Options, Terms
from requorum.snapshots import anew, ranking
from requorum.snapshots.ranking import BY_YOU, Candidate
from requorum.snapshots.snapshot import Source
from requorum.snapshots.survivors import Salvaged


@dataclass(frozen=True)
class Loss:
    """Acknowledged revisions: `certain` are known to be missing, `possible` may be; None where nobody can know.

    `asks`: for the operator's word. A run goes on by itself where nothing is known to be missing, and the salvage was
    held against every database that can be read, or no disk held anything: what the others had, nobody can count.
    `history`: a backup shows more than the salvage of the same cluster, or that this is another history.
    """

    certain: int | None
    possible: int | None
    why: str
    asks: bool = False
    history: bool = False

    def fields(self) -> dict[str, object]:
        """Of `summary.json`."""
        return {"certain": self.certain, "possible": self.possible, "why": self.why}


def words(
    lost: Loss, source: Source, salvaged: Salvaged | None, old_members: Sequence[str], options: Options
) -> tuple[str, ...]:
    """The words of `--accept` that say what is lost with this source, where something is. `old_members`: hosts."""
    if source.kind == ON_DISK:
        return (f"on-disk:{source.host}",)
    if source.kind != SALVAGE or salvaged is None:
        return ("backup",)
    if options.salvage:
        return (anew.WORD,)
    if lost.history:
        apart = replace(lost, history=False)
        others = words(apart, source, salvaged, old_members, options) if _of_salvage(salvaged).asks else ()
        return (anew.WORD, *others)
    if salvaged.how == "alone":
        return tuple(f"forced:{host}" for host in salvaged.taken)
    lacking = [host for host in old_members if host not in salvaged.taken]
    return tuple(f"without:{host}" for host in lacking or old_members)


def note_loss(terms: Terms, found: Loss) -> Command:
    """Kept on the configuration server for the report of a run that is carried on."""
    file = File(terms.place("loss.json"), json.dumps(asdict(found)) + "\n")
    return kept.write(terms.configuration_server, file, "note what is lost")


def ask_loss(terms: Terms) -> Question[Loss | None]:
    """None where nothing was noted, or what is no such note."""
    question = look(terms.configuration_server, "cat", terms.place("loss.json"), why="what the run found to be lost")
    return Question(question, lambda answer: _read_loss(complete(answer).stdout))


def _read_loss(text: str) -> Loss | None:
    try:
        loss = Loss(**json.loads(text))
    except (ValueError, TypeError):
        return None
    numbers = all(value is None or type(value) is int for value in (loss.certain, loss.possible))
    sound = numbers and type(loss.asks) is type(loss.history) is bool and isinstance(loss.why, str)
    return loss if sound and loss.why.isprintable() else None


def loss_of(chosen: Candidate, salvaged: Salvaged, rows: Sequence[Candidate] = ()) -> Loss:
    """What is lost when `chosen` is restored. `rows`: of the table, with backups that are not whole any more."""
    if chosen.kind == SALVAGE:
        found = _held_against(rows, chosen, salvaged)
        if chosen.named == BY_YOU:  # nobody knows how that cluster's data relates to what was lost
            return Loss(None, None, f"the data of {chosen.lineage} was named: {found.why}", asks=True)
        return found
    if chosen.kind == ON_DISK:
        why = (
            f"{why_lost(chosen, salvaged)}; the database on the disk of {chosen.host} was restored without a hash, so "
            "nothing tells whether it is whole, and writes that were only in its log are missing (1 to 78 "
            "acknowledged ones in 13 of 13 trials)"
        )
        return Loss(None, None, why, asks=True)
    reached = (salvaged.source.revision if salvaged.source else None) or 0
    newest = max(reached, salvaged.on_disk or 0) or None  # a disk that was given up may show more than was salvaged
    if chosen.named and newest and not _is_of_the_salvage(chosen, salvaged):
        why = (
            f"{why_lost(chosen, salvaged)}; the named snapshot is not known to be of the cluster whose data disks hold"
        )
        return Loss(None, None, why, asks=True)  # revisions of two clusters do not compare
    if salvaged.anew and not salvaged.counted:
        newest = None  # how far the lost members were nobody can tell
    certain = None
    if newest is not None and chosen.revision is not None:
        certain = max(newest - salvaged.bumps - chosen.own_revision, 0)
    told = ranking.newest(rows, chosen.lineage) if chosen.lineage else None
    if told and told.own_revision > chosen.own_revision:
        certain = max(certain or 0, told.own_revision - chosen.own_revision)  # of one that is not whole any more
    shown = f"; a disk shows revision {newest:,}" if newest and newest > reached else ""
    why = f"{why_lost(chosen, salvaged)}{shown}; writes acknowledged after {chosen.taken} are not in the snapshot"
    empty = newest is None and not (salvaged.failed or salvaged.could_not or salvaged.anew)
    return Loss(certain, None, why, asks=bool(certain) or (certain is None and not empty))


def _is_of_the_salvage(chosen: Candidate, salvaged: Salvaged) -> bool:
    return bool(chosen.lineage and salvaged.lineage and chosen.lineage.agrees(salvaged.lineage))


def _of_salvage(salvaged: Salvaged) -> Loss:
    held, members = len(salvaged.counted), salvaged.members
    if salvaged.anew and not held:
        why = f"salvaged from disks that began anew ({', '.join(salvaged.survivors)}): what they held before is missing"
        return Loss(None, None, why, asks=True)
    if salvaged.how == "alone":
        why = (
            "salvaged by forcing one survivor into a cluster of its own: entries past its commit index "
            "are dropped (1 to 5 in 4 of 13 trials)"
        )
        return Loss(None, None, why, asks=True)
    shown = salvaged.on_disk
    reached = (salvaged.source.revision or 0) if salvaged.source else 0
    given_up = {host for host, _ in salvaged.given_up}
    if shown is not None and shown > reached and max(salvaged.databases, key=lambda one: one[1])[0] in given_up:
        why = f"the database of a disk that was given up shows {shown - reached:,} revisions more than was salvaged"
        return Loss(shown - reached, None, why, asks=True)
    if shown is None or salvaged.source is None or reached < shown:
        why = f"salvaged from {held} of {members} members; it was not compared with what their databases show"
        return Loss(None, None, why, asks=True)
    if salvaged.has_a_majority:
        why = f"nothing is missing: salvaged from {held} of {members} members, so all acknowledged writes are there"
        return Loss(0, 0, why)
    disks = "its disk" if held == 1 else "their disks"
    why = (
        f"salvaged from {held} of {members} members ({', '.join(salvaged.survivors)}): all on {disks} "
        "is back; a write that only the others had on disk when they were lost is missing, nobody can count it"
    )
    return Loss(None, None, why)


def _held_against(rows: Sequence[Candidate], chosen: Candidate, salvaged: Salvaged) -> Loss:
    """The loss of a salvage, with what the backups of its cluster show: how much more than it was there, at least."""
    found = _of_salvage(salvaged)
    if chosen.lineage is None:
        return found
    told, marked = ranking.newest(rows, chosen.lineage), anew.last_is_another(rows, chosen.lineage)
    beside = f"; {found.why}" if found.asks else ""
    if told and told.own_revision > chosen.own_revision:
        shown = f"the backup {told.path}, taken {told.taken}, was at revision {told.revision or 0:,} by its manifest"
        why = f"{shown}, and what was salvaged ends at {chosen.revision or 0:,}{beside}"
        certain = max(told.own_revision - chosen.own_revision, found.certain or 0)
        return Loss(certain, None, why, asks=True, history=True)
    if marked and not salvaged.anew:
        why = f"the last backup {marked.path} is marked as another history, and what was salvaged may be of that one"
        return Loss(found.certain or None, None, f"{why}{beside}", asks=True, history=True)
    return found


def why_lost(chosen: Candidate, salvaged: Salvaged) -> str:
    """Why it is not the salvage."""
    if salvaged.source:
        newest = salvaged.source.revision or 0
        if chosen.named == BY_YOU:
            return f"a snapshot was named, and the salvage at revision {newest:,} was not used"
        return f"the salvage ends at revision {newest:,}, before this snapshot"
    return salvaged.absence
