"""Step 0 of the guide: know what is broken, and hold a snapshot that is whole, before anything is touched."""

from __future__ import annotations

from dataclasses import replace

from requorum import facts, locking, marker, plan, quorum, sources
from requorum.cluster import Cluster
from requorum.marker import Phase
from requorum.proofs import hosts


class TestStep0Snapshot:
    """Step 0. Find out what is lost, and hold a snapshot that is proven whole on every new member.

    Nothing of the cluster is changed here: the only things written are the lock and this run's own directory.
    """

    def test_given_every_host_answers(self, cluster: Cluster) -> None:
        """Every machine takes commands as root, without a password; --gone exempts machines that no longer exist."""
        hosts.every_host_answers(cluster)

    def test_when_the_cluster_is_locked(self, cluster: Cluster) -> None:
        """One operator at a time; a lock that your own dead run left is taken over, and what it left running ends."""
        locking.take(cluster)

    def test_given_no_other_run_is_under_way(self, cluster: Cluster) -> None:
        """An unfinished run of this cluster is carried on; several of them are a question for people."""
        marks, outlived = facts.marks(cluster)
        unfinished = marker.to_carry_on(marks, cluster.options.hosts, outlived)
        if unfinished and facts.is_still_under_way(cluster, unfinished):
            cluster.carry_on(unfinished)
        elif cluster.inventory.members != cluster.inventory.old_members:
            marker.refuse_forgotten_old_members(marks, cluster.mark.members, outlived)

    def test_given_the_tools_are_there(self, cluster: Cluster) -> None:
        """etcd and its tools on every new member, the vendor's commands where they will be run."""
        cluster.known.tools = facts.tools(cluster)
        hosts.new_members_have_one_etcd(cluster)
        hosts.vendor_commands_are_there(cluster)

    def test_given_quorum_is_lost(self, cluster: Cluster) -> None:
        """A majority is positively down, or up without a leader. Unknown is not lost, startable is not lost."""
        if facts.new_configuration_is_installed(cluster):
            hosts.no_old_member_leads_again(cluster)
            cluster.note("decided by the run that is carried on: its new configuration is installed")
            return
        verdict = quorum.decide(facts.diagnose(cluster))
        cluster.known.verdict = verdict
        for host, found in verdict.found().items():
            cluster.note(f"{host}: {found}")
        hosts.new_members_are_no_cluster_already(cluster, verdict)
        stopping = cluster.mark.phase >= Phase.STOPPING
        refusal = quorum.refusal(verdict, cluster.options.rebuild, cluster.inventory.etcd.unit, stopping)
        if refusal:
            raise refusal
        cluster.note(f"verdict: {verdict.kind.value}")

    def test_given_the_new_members_reach_each_other(self, cluster: Cluster) -> None:
        """A new cluster cannot form either where the network is what failed."""
        hosts.new_members_reach_each_other(cluster)

    def test_given_a_snapshot_is_whole(self, cluster: Cluster) -> None:
        """--snapshot, the inventory's file, or the newest backup: size and SHA-256 are right, its age is allowed."""
        cluster.known.source = sources.from_files(cluster)
        if cluster.known.source:
            found = cluster.known.source
            cluster.note(f"{found.path}, {found.bytes:,} bytes, taken {found.taken}, SHA-256 is right")

    def test_given_there_is_room(self, cluster: Cluster) -> None:
        """Free disk for the snapshot and for the restored data, several times over."""
        hosts.there_is_room(cluster)

    def test_when_the_snapshot_is_copied_to_every_new_member(self, cluster: Cluster) -> None:
        """The mark of this run is set, then the snapshot is streamed into the run's own directory."""
        cluster.advance()
        if cluster.known.source:
            held = facts.staged(cluster)
            cluster.do(plan.copy_snapshot(cluster.terms, cluster.known.source, held))

    def test_then_etcd_can_read_every_copy(self, cluster: Cluster) -> None:
        """`snapshot status` gives the same revision on every new member."""
        if cluster.known.source:
            revision, keys = hosts.every_copy_is_readable(cluster)
            cluster.known.source = replace(cluster.known.source, revision=revision, keys=keys)
            cluster.note(f"the snapshot is at revision {revision:,}")

    def test_when_survivors_are_saved_where_login_works(self, cluster: Cluster) -> None:
        """Without quorum a password cannot log in; a client certificate, or no authentication at all, can."""
        closed = facts.closed_without_quorum(cluster, cluster.known.verdict)
        saves = cluster.do(plan.save_from_survivors(cluster.terms, cluster.known.verdict, closed))
        newer = sources.better(cluster, saves)
        if newer:
            cluster.note(f"{newer.path} on {newer.host} is newer: revision {newer.revision}")
            cluster.known.source = newer
            cluster.do(plan.copy_snapshot(cluster.terms, newer, facts.staged(cluster)))
        if cluster.known.source:
            cluster.advance(source=cluster.known.source)
