"""Step 1 of the guide: Deephaven off everywhere, and the old etcd service away."""

from __future__ import annotations

from dataclasses import replace

from requorum import before, etcd, facts, loss, marker, ondisk, plan, salvages, sources, staged, undoing
from requorum.cluster import Cluster
from requorum.marker import Phase
from requorum.proofs import hosts


class TestStep1Stop:
    """Step 1. Turn Deephaven off everywhere and take the old etcd service away.

    Nothing may write while the data changes places, and nothing may bring the old cluster back. The old unit is
    moved aside, not deleted.
    """

    def test_when_deephaven_is_turned_off(self, cluster: Cluster) -> None:
        """What every host is now is recorded for a rollback; then the vendor's monit command, until all has ended."""
        marks, outlived = facts.marks(cluster)
        marker.refuse_others(marks, cluster.mark, cluster.options.hosts, outlived)
        cluster.do(before.record(cluster.terms, undoing.as_it_is(cluster)))
        cluster.advance(Phase.STOPPING)
        cluster.do(plan.turn_deephaven_off(cluster.terms))

    def test_then_no_deephaven_process_runs(self, cluster: Cluster) -> None:
        """monit supervises none, and the admin account runs none."""
        hosts.deephaven_is_off(cluster)

    def test_then_monit_brings_no_etcd_back(self, cluster: Cluster) -> None:
        """A monit that supervises etcd would restart what is stopped next."""
        hosts.monit_supervises_no_etcd(cluster)

    def test_then_only_known_machines_are_connected(self, cluster: Cluster) -> None:
        """Whoever still talks to etcd belongs to the inventory; in a handover nobody does."""
        hosts.only_known_machines_are_connected(cluster)

    def test_when_a_healthy_cluster_is_saved(self, cluster: Cluster) -> None:
        """Only with --rebuild on a cluster that has quorum: with nobody writing, the save is the whole truth."""
        if not sources.is_handover(cluster):
            return
        cluster.known.source = sources.save_healthy_cluster(cluster)
        held = facts.staged(cluster)
        cluster.do(plan.copy_snapshot(cluster.terms, cluster.known.source, held))
        revision, keys = hosts.every_copy_is_readable(cluster)
        cluster.known.source = replace(cluster.known.source, revision=revision, keys=keys)
        cluster.note(f"saved at revision {revision:,}")
        cluster.advance(source=cluster.known.source)

    def test_when_etcd_is_stopped_and_its_unit_set_aside(self, cluster: Cluster) -> None:
        """On every old and new member."""
        terms, unit = cluster.terms, cluster.inventory.etcd.unit
        units = facts.units(cluster, terms.etcd_hosts)
        files = facts.files(cluster, {h: etcd.unit_files(unit, u) for h, u in units.items()})
        configs = facts.old_configs(cluster, terms.etcd_hosts)
        cluster.do(plan.stop_etcd(terms, units, files, configs))

    def test_then_no_etcd_runs_and_its_ports_are_closed(self, cluster: Cluster) -> None:
        """No process, no unit that could start, nobody listening on the client and peer ports."""
        hosts.old_etcd_is_gone(cluster)

    def test_then_no_member_went_past_the_saved_revision(self, cluster: Cluster) -> None:
        """After a handover: what the stopped members hold on disk is not newer than the save."""
        hosts.no_member_went_past_the_save(cluster)

    def test_when_survivors_are_salvaged(self, cluster: Cluster) -> None:
        """Copies of their data start together on one of them, unseen by anybody; Raft says what was committed."""
        if salvages.is_decided(cluster):
            salvages.recall(cluster)
        else:
            cluster.known.salvaged = salvages.hold(cluster)

    def test_when_a_database_without_a_hash_is_copied(self, cluster: Cluster) -> None:
        """The last resort: only where salvage failed, and only from the member that you named with --skip-hash."""
        known, terms = cluster.known, cluster.terms
        disk = ondisk.wanted(known.disks, known.family, cluster.options.skip_hash, known.salvaged)
        if disk:
            cluster.do(ondisk.copy(terms, disk))
            answers = cluster.ask(staged.ask(disk.host, ondisk.kept(terms)))
            known.last_resort = ondisk.candidate(terms, disk, known.family.bump(disk.lineage), answers)

    def test_when_the_best_data_is_chosen_and_copied(self, cluster: Cluster) -> None:
        """The salvage, or a backup that is further on; a salvage that failed stops here, with the choices."""
        if cluster.known.salvaged is None:
            return
        decision = sources.decide(cluster, cluster.known.salvaged)
        for line in decision.notes:
            cluster.note(line)
        cluster.known.source, cluster.known.loss = decision.source, decision.loss
        cluster.do([loss.note(cluster.terms, decision.loss)], bookkeeping=True)
        if decision.new:
            cluster.advance(source=decision.source)  # before it is copied: a run that is cut here finds it by this mark
            hosts.there_is_room(cluster)
            cluster.do(plan.copy_snapshot(cluster.terms, decision.source, facts.staged(cluster)))
        cluster.known.copied = decision.new

    def test_then_the_best_data_is_on_every_new_member(self, cluster: Cluster) -> None:
        """`snapshot status` gives the same revision on every new member."""
        if cluster.known.copied:
            hosts.every_copy_is_readable(cluster)
