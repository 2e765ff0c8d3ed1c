"""Whether a rollback or a retry would give writes up, and what a rollback gives up is saved first."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

from requorum.command import Fetch
from requorum.recovery.undo import rollback
from requorum.run import facts
from requorum.run.marker import Undone
from requorum.run.run import Run
from requorum.snapshots import backup, on_host
from requorum.snapshots.backup import Tonight
from requorum.snapshots.loss import Loss
from requorum.snapshots.vault import Vault


def save_what_is_discarded(run: Run, beyond: int | None = None) -> Loss | None:
    """Saves the new cluster, proves the save, keeps it on the configuration server and on this machine. Returns what is
    lost with it, None in a plan. One that does not run is not saved: its data is set aside, like all that the run
    brought. `beyond`: by how many revisions at least that is further on than what the run itself wrote.

    Done again as long as the new cluster runs; once it was taken away the earlier save is the last word. A plan ends
    where the save would arrive here: it locks nothing and writes nothing on this machine either.
    """
    terms, hosts = run.terms, run.terms.member_hosts
    running = rollback.runs_the_new_cluster(terms, facts.units(run, hosts), facts.configs(run, hosts))
    kept, server = terms.place("discarded.snap"), terms.configuration_server
    if 2 * len(running) <= len(hosts):  # Deephaven is off, and a minority takes no write
        if run.mark.undone >= Undone.SAVED and facts.files(run, {server: (kept,)})[server]:
            run.note("saved before, by this rollback")
            return rollback.loss(f"{run.inventory.snapshot.directory}/discarded")
        run.note(f"the new cluster does not run: it is not saved, its data goes to {terms.brought} on each member")
        return rollback.loss_aside(terms, beyond)
    vault = Vault(run.inventory, "discarded")
    with vault.locked() if run.acts else nullcontext():
        tonight = Tonight(vault)
        (tonight.member,) = run.ask({"etcd": backup.ask_healthiest(run.inventory)}).values()
        (result,) = run.do([on_host.save(terms, tonight.member.endpoint, kept)])
        if result.code != 0:
            raise rollback.cannot_be_saved(tonight.member.endpoint, result.words)
        tonight.note = backup.describe(run, tonight.member, kept)
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


def _say(run: Run, path: Path, kept: str, revision: int) -> None:
    run.note(f"{path}, revision {revision:,}; on {run.terms.configuration_server}: {kept}")
    run.last_words.append(f"The discarded cluster: {path}, revision {revision:,}. It is used only when named.")
