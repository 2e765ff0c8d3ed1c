"""Whether a rollback or a retry would give writes up, and what a rollback gives up is saved first."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

from requorum.cluster.etcdctl import Status
from requorum.command import Fetch
from requorum.recovery.undo import rollback
from requorum.run import facts
from requorum.run.marker import Undone
from requorum.run.run import Run
from requorum.snapshots import backup, on_host
from requorum.snapshots.backup import NoneHealthyError, Tonight
from requorum.snapshots.loss import Loss
from requorum.snapshots.vault import Vault


def save_what_is_discarded(run: Run, beyond: int | None = None) -> Loss | None:
    """Saves the new cluster, proves the save, keeps it on the configuration server and on this machine. Returns what is
    lost with it, None in a plan. One that has no quorum is not saved: its data is set aside, like all that the run
    brought. `beyond`: by how many revisions at least that is further on than what the run itself wrote.

    Done again as long as the new cluster runs; once it was taken away the earlier save is the last word. A plan ends
    where the save would arrive here: it locks nothing and writes nothing on this machine either.
    """
    terms, hosts = run.terms, run.terms.member_hosts
    running = rollback.runs_the_new_cluster(terms, facts.units(run, hosts), facts.configs(run, hosts))
    kept = terms.place("discarded.snap")
    member = _to_save_from(run) if 2 * len(running) > len(hosts) else None
    if member is None:  # Deephaven is off, and without quorum no write is taken
        earlier = _saved_before(run, kept)
        if earlier:
            run.note(f"saved before, by this rollback: {earlier}")
            return rollback.loss(str(earlier))
        run.note(f"the new cluster has no quorum: it is not saved, its data goes to {terms.brought} on each member")
        return rollback.loss_aside(terms, beyond)
    vault = Vault(run.inventory, "discarded")
    with vault.locked() if run.acts else nullcontext():
        tonight = Tonight(vault, member)
        (result,) = run.do([on_host.save(terms, member.endpoint, kept)])
        if result.code != 0:
            raise rollback.cannot_be_saved(member.endpoint, result.words)
        tonight.note = backup.describe(run, member, kept)
        backup.the_save_is_up_to_date(run, tonight)
        if run.acts:
            backup.there_is_room_here(run, tonight)
        part = str(vault.part(tonight.note.taken if run.acts else "‹time›"))
        why = "the save of the cluster that is discarded to this machine"
        run.do([Fetch(terms.configuration_server, kept, part, why, tonight.note.sha256, tonight.note.bytes)])
        if not run.acts:
            return None
        backup.the_part_is_whole(run, tonight)
        tonight.path = vault.keep(tonight.note)
        backup.the_backup_is_whole(run, tonight)
    _say(run, tonight.path, kept, tonight.note.revision)
    return rollback.loss(str(tonight.path))


def _to_save_from(run: Run) -> Status | None:
    """None where units run, but their members have no quorum: those that start again and again, or wait for peers."""
    found: list[Status] = []

    def look() -> str | None:
        try:
            found.extend(run.ask({"etcd": backup.ask_healthiest(run.inventory)}).values())
        except NoneHealthyError as error:
            return error.what
        return None

    words = run.wait(look, run.health_seconds)
    if words is None:
        return found[0]
    if facts.has_quorum(run, run.inventory.members):
        raise rollback.cannot_be_saved("etcd", words)
    run.note(words)
    return None


def _saved_before(run: Run, kept: str) -> Path | None:
    """Where this rollback has kept the save on this machine; one that never arrived here is none."""
    server = run.terms.configuration_server
    if run.mark.undone < Undone.SAVED or not run.inventory.snapshot.directory:
        return None
    (digest,) = facts.digests(run, {server: kept}).values()
    return Vault(run.inventory, "discarded").holding(digest) if digest else None


def _say(run: Run, path: Path, kept: str, revision: int) -> None:
    run.note(f"{path}, revision {revision:,}; on {run.terms.configuration_server}: {kept}")
    run.last_words.append(f"The discarded cluster: {path}, revision {revision:,}. It is used only when named.")
