"""Step 5 of the guide: prove the new cluster, then turn Deephaven back on."""

from __future__ import annotations

from requorum import plan
from requorum.cluster import Cluster
from requorum.marker import Phase
from requorum.proofs import data
from requorum.proofs import trial as tried


class TestStep5PowerOn:
    """Step 5. Prove that everything is back, then turn Deephaven on, the configuration server first.

    Until Deephaven writes, going back loses nothing. So every proof about the data comes before it is turned on.
    """

    def test_then_every_member_is_healthy(self, cluster: Cluster) -> None:
        """Asked through the vendor's etcdctl as an authenticated user."""
        data.every_member_is_healthy(cluster)

    def test_then_it_is_one_cluster_with_one_leader(self, cluster: Cluster) -> None:
        """One cluster ID, one leader, one revision, one version, no alarm."""
        data.it_is_one_cluster(cluster)

    def test_then_all_members_hold_the_same_data(self, cluster: Cluster) -> None:
        """hashkv is equal on all members at one revision."""
        data.hashes_are_equal(cluster)

    def test_then_the_keys_are_there(self, cluster: Cluster) -> None:
        """As many as the inventory expects, in all and by prefix."""
        data.keys_are_there(cluster)

    def test_then_it_is_what_the_trial_found(self, cluster: Cluster) -> None:
        """The same hash at the trial's revision, the same numbers of keys, the same users and roles."""
        tried.it_is_what_the_trial_found(cluster)

    def test_then_every_old_password_logs_in(self, cluster: Cluster) -> None:
        """Every role; and none of them reads what it must not."""
        data.old_passwords_log_in(cluster)

    def test_then_a_wrong_password_does_not(self, cluster: Cluster) -> None:
        """Authentication is on."""
        data.wrong_password_is_refused(cluster)

    def test_then_a_write_through_each_member_is_read_from_all(self, cluster: Cluster) -> None:
        """The probe's keys are removed again."""
        data.writes_reach_everyone(cluster)

    def test_then_no_old_member_serves_clients(self, cluster: Cluster) -> None:
        """A stale member cannot join, but it could serve clients that still know its address."""
        data.no_old_member_answers(cluster)

    def test_when_deephaven_is_turned_on_at_the_configuration_server(self, cluster: Cluster) -> None:
        """The point of no return: from here Deephaven writes into the new cluster."""
        cluster.advance(Phase.POWERING_ON)
        cluster.do(plan.turn_deephaven_on(cluster.terms, [cluster.terms.configuration_server]))

    def test_then_the_configuration_server_runs(self, cluster: Cluster) -> None:
        """Everything else needs it."""
        data.deephaven_is_up(cluster, (cluster.terms.configuration_server,))

    def test_when_deephaven_is_turned_on_everywhere(self, cluster: Cluster) -> None:
        """All other Deephaven hosts, in parallel."""
        first = cluster.terms.configuration_server
        rest = [host for host in cluster.terms.deephaven_hosts if host != first]
        cluster.do(plan.turn_deephaven_on(cluster.terms, rest))

    def test_then_deephaven_runs_and_talks_to_etcd(self, cluster: Cluster) -> None:
        """Every process is up, and every Deephaven host is connected to a new member."""
        data.deephaven_is_up(cluster, cluster.terms.deephaven_hosts)
        data.deephaven_talks_to_etcd(cluster)

    def test_when_the_run_is_closed(self, cluster: Cluster) -> None:
        """Scratch with copies of secrets is removed, and the mark says that the run is done."""
        cluster.do(plan.tidy(cluster.terms))
        cluster.advance(Phase.DONE)
