"""Before another try: the data that a run restored is taken away on all members, before it is restored on any."""

from __future__ import annotations

from dataclasses import replace

from requorum import facts, locking, marker, retry, undoing
from requorum.cluster import Cluster
from requorum.marker import Phase
from requorum.proofs import hosts, undone


class TestRetry:
    """Retry. Set aside the data of a failed restore or start on every member, so that it can be tried again.

    A member that starts from other data than its peers must not exist: so all stop, then all data goes, and only then
    the steps carry the run on. They prove again what they had established, restore, start, prove, and power on.
    """

    def test_given_every_host_answers(self, cluster: Cluster) -> None:
        """As in Step 0."""
        hosts.every_host_answers(cluster)

    def test_when_the_cluster_is_locked(self, cluster: Cluster) -> None:
        """One operator at a time; what a run that was cut off left running ends: a restore, a salvage, a trial."""
        locking.take(cluster)

    def test_given_a_run_got_to_step_4(self, cluster: Cluster) -> None:
        """Unfinished, its new configuration is on every member, and Deephaven was never turned on."""
        marks, outlived = facts.marks(cluster)
        mark = marker.to_carry_on(marks, cluster.options.hosts, outlived)
        refusal = retry.refusal(mark, cluster.options.snapshot, cluster.options.hosts)
        if refusal:
            raise refusal
        assert mark is not None
        cluster.carry_on(mark, "trying again")
        configs = facts.configs(cluster, cluster.terms.member_hosts)
        refusal = retry.not_installed(cluster.terms, configs, cluster.options.hosts)
        if refusal:
            raise refusal

    def test_given_there_is_room_for_what_is_set_aside(self, cluster: Cluster) -> None:
        """Where data lies on another disk than the run's directory it must move there."""
        undone.there_is_room_aside(cluster, retry.data_of(cluster.terms, facts.new_configs(cluster)))

    def test_then_no_command_of_a_run_is_left(self, cluster: Cluster) -> None:
        """A killed runbook's commands run on until they end."""
        undoing.no_command_is_left(cluster)

    def test_when_the_new_etcd_is_stopped(self, cluster: Cluster) -> None:
        """On every member."""
        cluster.do(retry.stop_etcd(cluster.terms, facts.units(cluster, cluster.terms.member_hosts)))

    def test_then_no_etcd_runs(self, cluster: Cluster) -> None:
        """Nor listens on its ports."""
        undone.no_new_etcd_runs(cluster, cluster.terms.member_hosts)

    def test_when_the_data_is_set_aside_on_every_member(self, cluster: Cluster) -> None:
        """Into the run's own directory, below `tried`."""
        wanted = retry.data_of(cluster.terms, facts.new_configs(cluster))
        cluster.do(retry.set_aside(cluster.terms, facts.files(cluster, wanted)))

    def test_then_no_member_holds_data_of_the_run(self, cluster: Cluster) -> None:
        """Nowhere, also where only a part of it was restored."""
        undone.no_data_is_left(cluster, retry.data_of(cluster.terms, facts.new_configs(cluster)))

    def test_when_the_mark_is_set_back(self, cluster: Cluster) -> None:
        """Only now it says that nothing was started yet, which lets the steps restore again."""
        cluster.remark(replace(cluster.mark, phase=Phase.STOPPING))
