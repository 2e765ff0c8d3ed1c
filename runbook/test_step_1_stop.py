"""Step 1 of the guide: Deephaven off everywhere, and the old etcd service away."""

from __future__ import annotations

from dataclasses import replace

from requorum.cluster import etcd
from requorum.recovery import plan
from requorum.recovery.progress import Progress
from requorum.recovery.proofs import machines
from requorum.recovery.undo import baseline, state
from requorum.run import facts, marker
from requorum.run.marker import Phase
from requorum.run.run import Run
from requorum.snapshots import choice, loss, ondisk, opened, salvage, sources


class TestStep1Stop:
    """Step 1. Turn Deephaven off everywhere and take the old etcd service away.

    Nothing may write while the data changes places, and nothing may bring the old cluster back. The old unit is
    moved aside, not deleted.
    """

    def test_when_deephaven_is_turned_off(self, run: Run, progress: Progress) -> None:
        """What every host is now is recorded for a rollback; then the vendor's monit command, until all has ended."""
        held = facts.marks(run)
        progress.runs = held.told
        marker.refuse_others(held.marks, run.mark, run.options.hosts, held.outlived)
        run.do(baseline.record(run.terms, state.as_it_is(run)))
        progress.advance(run, Phase.STOPPING)
        run.do(plan.turn_deephaven_off(run.terms))

    def test_then_no_deephaven_process_runs(self, run: Run, progress: Progress) -> None:
        """monit supervises none, and the admin account runs none."""
        progress.supervised = machines.deephaven_is_off(run)

    def test_then_monit_brings_no_etcd_back(self, run: Run, progress: Progress) -> None:
        """A monit that supervises etcd would restart what is stopped next."""
        machines.monit_supervises_no_etcd(run, progress.supervised)

    def test_then_only_known_machines_are_connected(self, run: Run, progress: Progress) -> None:
        """Whoever still talks to etcd belongs to the inventory; in a handover nobody does."""
        machines.only_known_machines_are_connected(run, choice.is_handover(run, progress.verdict))

    def test_when_a_healthy_cluster_is_saved(self, run: Run, progress: Progress) -> None:
        """Only with --rebuild on a cluster that has quorum: with nobody writing, the save is the whole truth."""
        if not choice.is_handover(run, progress.verdict):
            return
        source = progress.sources.source = sources.save_healthy_cluster(run, progress.verdict)
        held = facts.staged(run)
        run.do(plan.copy_snapshot(run.terms, source, held))
        progress.sources.brought = source.sha256
        revision = machines.every_copy_is_readable(run, progress.tools)
        source = progress.sources.source = replace(source, revision=revision)
        run.note(f"saved at revision {revision:,}")
        progress.advance(run, source=source)

    def test_when_etcd_is_stopped_and_its_unit_set_aside(self, run: Run, progress: Progress) -> None:
        """On every old and new member."""
        terms, unit = run.terms, run.inventory.etcd.unit
        told = opened.note(terms, progress.sources.opened, progress.sources.anew)
        run.do(told, bookkeeping=True)  # nobody can be asked once it is stopped
        units, configs, _ = facts.installed(run, terms.etcd_hosts)
        files = facts.files(run, {h: etcd.unit_files(unit, u) for h, u in units.items()})
        run.do(plan.stop_etcd(terms, units, files, facts.readable(configs)))

    def test_then_no_etcd_runs_and_its_ports_are_closed(self, run: Run) -> None:
        """No process, no unit that could start, nobody listening on the client and peer ports."""
        machines.old_etcd_is_gone(run)

    def test_then_every_stopped_member_tells_its_revision(self, run: Run, progress: Progress) -> None:
        """After a handover: where a disk holds more than was saved, all disks are salvaged next."""
        data = progress.sources
        if progress.verdict and machines.went_past_the_save(run, data.source, progress.tools):
            choice.outrun(run, data)

    def test_when_survivors_are_salvaged(self, run: Run, progress: Progress) -> None:
        """Copies of their data start together on one of them, unseen by anybody; Raft says what was committed."""
        data, verdict = progress.sources, progress.verdict
        if not salvage.is_decided(run, data, verdict):
            data.salvaged = salvage.hold(run, data)
        elif verdict is None:
            data.loss = salvage.recall(run)

    def test_when_a_database_without_a_hash_is_copied(self, run: Run, progress: Progress) -> None:
        """The last resort: only where salvage failed, and only from the member that you named with --skip-hash."""
        data, terms = progress.sources, run.terms
        disk = ondisk.wanted(data.disks, data.family, run.options.skip_hash, data.salvaged)
        if disk:
            run.do(ondisk.copy(terms, disk))
            found = run.ask({disk.host: ondisk.ask_copy(terms, disk, data.family.bump(disk.lineage))})
            data.last_resort = ondisk.candidate(disk, found[disk.host])

    def test_when_the_best_data_is_chosen_and_copied(self, run: Run, progress: Progress) -> None:
        """The salvage, or a backup that is further on; a salvage that failed stops here, with the choices."""
        data = progress.sources
        if data.salvaged is None:
            return
        decision = choice.in_step_1(run, data, data.salvaged)
        for line in decision.notes:
            (run.warn if decision.less else run.note)(line)
        data.source, data.loss = decision.source, decision.loss
        run.do([loss.note_loss(run.terms, decision.loss)], bookkeeping=True)
        if decision.new:
            progress.advance(run, source=decision.source)  # before it is copied: a run that is cut here finds it so
            machines.there_is_room(run, decision.source.bytes)
        data.copied = data.brought != decision.source.sha256
        if data.copied:
            run.do(plan.copy_snapshot(run.terms, decision.source, facts.staged(run)))
            data.brought = decision.source.sha256

    def test_then_the_best_data_is_on_every_new_member(self, run: Run, progress: Progress) -> None:
        """`snapshot status`, by each new member's tools, gives one revision: all copies are the same bytes."""
        data = progress.sources
        if data.copied:
            revision = machines.every_copy_is_readable(run, progress.tools, data.chosen)
            data.source = replace(data.chosen, revision=revision)
