"""Whether a rollback or a retry would give writes up, and what a rollback gives up is saved first."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

from requorum.cluster.etcd import EtcdError
from requorum.command import HUGE, Fetch
from requorum.recovery import written
from requorum.recovery.undo import rollback
from requorum.run import facts
from requorum.run.marker import Phase, Undone
from requorum.run.run import Run
from requorum.snapshots import backup, beginning, movement, on_host
from requorum.snapshots.backup import Tonight
from requorum.snapshots.loss import Loss
from requorum.snapshots.vault import Vault


def who_wrote(run: Run) -> str | None:
    """What the running cluster of this run holds beyond the data that it was made from, although its mark says that
    Deephaven was never turned on; None where nobody wrote, and where it does not run or answer.

    What cannot be compared any more counts as written.
    """
    terms, hosts, inventory = run.terms, run.terms.member_hosts, run.inventory
    running = rollback.runs_the_new_cluster(terms, facts.units(run, hosts), facts.old_configs(run, hosts))
    if run.mark.phase >= Phase.POWERING_ON or 2 * len(running) <= len(hosts):
        return None
    (began,) = run.ask({"began": beginning.ask(terms)}).values()
    try:
        (now,) = run.ask({"now": movement.ask_keys(inventory)}).values()
    except EtcdError:
        return None
    if began is None:
        return "nobody knows any more at which revision it began"
    return written.since(run, terms, began, now)


def save_what_is_discarded(run: Run) -> Loss | None:
    """Saves the new cluster, proves the save, keeps it on the configuration server and on this machine. Returns what is
    lost with it, None in a plan.

    Done again as long as the new cluster runs; once it was taken away the earlier save is the last word. A plan ends
    where the save would arrive here: it locks nothing and writes nothing on this machine either.
    """
    terms, hosts = run.terms, run.terms.member_hosts
    running = rollback.runs_the_new_cluster(terms, facts.units(run, hosts), facts.configs(run, hosts))
    saved = run.mark.undone >= Undone.SAVED
    if not running or (saved and 2 * len(running) <= len(hosts)):  # Deephaven is off, and a minority takes no write
        if not saved:
            raise rollback.nothing_to_save(run.mark, run.options.hosts)
        run.note("saved before, by this rollback")
        return rollback.loss(f"{run.inventory.snapshot.directory}/discarded")
    vault = Vault(run.inventory, "discarded")
    with vault.locked() if run.acts else nullcontext():
        tonight = Tonight(vault)
        (tonight.member,) = run.ask({"etcd": backup.ask_healthiest(run.inventory)}).values()
        kept = terms.place("discarded.snap")
        (result,) = run.do([on_host.save(terms, tonight.member.endpoint, kept)])
        if result.code != 0:
            raise rollback.cannot_be_saved(tonight.member.endpoint, result.words)
        tonight.note = backup.describe(run, tonight.member, kept)
        backup.the_save_is_up_to_date(run, tonight)
        if run.acts:
            backup.there_is_room_here(run, tonight)
        part = str(vault.part(tonight.note.taken if run.acts else "‹time›"))
        why = "the save of the cluster that is discarded to this machine"
        run.do([Fetch(terms.configuration_server, kept, part, why, tonight.note.sha256, deadline=HUGE)])
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
