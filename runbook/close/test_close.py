"""What people finished by hand is proven healthy; then its run is over, and its cluster counts as alive."""

from __future__ import annotations

from requorum.recovery import close, plan, trial
from requorum.recovery.progress import Progress
from requorum.recovery.proofs import cluster
from requorum.recovery.proofs import machines as hosts
from requorum.run import facts, marker
from requorum.run import run as locking
from requorum.run.run import Run


class TestClose:
    """Close. Prove that the cluster is healthy and that Deephaven uses it, then note that its run is over.

    Nothing of the cluster is changed. Until this is noted, the same run would be carried on at the next loss, and the
    cluster's own data and backups would not count.
    """

    def test_given_every_host_answers(self, run: Run) -> None:
        """Every machine takes commands as root, without a password; --gone exempts machines that no longer exist."""
        hosts.every_host_answers(run)

    def test_when_the_cluster_is_locked(self, run: Run) -> None:
        """One operator at a time; what a run that was cut off left running ends."""
        locking.take_lock(run)

    def test_given_a_run_is_unfinished(self, run: Run) -> None:
        """Of this very cluster, and not being rolled back."""
        held = facts.marks(run)
        mark = marker.to_carry_on(held.marks, run.options.hosts, held.outlived)
        if mark is None:
            raise close.nothing_unfinished(run.options.hosts)
        run.carry_on(mark, "closing")

    def test_given_the_cluster_is_this_runs(self, run: Run) -> None:
        """The configuration that is installed on a majority of the members has the run's token."""
        close.the_cluster_is_this_runs(run)

    def test_given_every_member_is_healthy(self, run: Run) -> None:
        """Asked through the vendor's etcdctl as an authenticated user."""
        cluster.every_member_is_healthy(run, facts.new_configs(run))

    def test_given_it_is_one_cluster_with_one_leader(self, run: Run, progress: Progress) -> None:
        """One cluster ID, one leader, no alarm, exactly the inventory's members."""
        cluster.it_is_one_cluster(run, progress, living=True)

    def test_given_all_members_hold_the_same_data(self, run: Run, progress: Progress) -> None:
        """hashkv is equal on all members at one revision."""
        cluster.hashes_are_equal(run, progress, living=True)

    def test_given_the_keys_are_there(self, run: Run, progress: Progress) -> None:
        """As many as the inventory expects, in all and by prefix."""
        cluster.keys_are_there(run, progress)

    def test_given_every_old_password_logs_in(self, run: Run) -> None:
        """Every role of the client configuration; and none of them reads what it must not."""
        cluster.old_passwords_log_in(run, close.roles(run), close.authentication(run))

    def test_given_no_old_member_serves_clients(self, run: Run) -> None:
        """Nobody is sent to what was before the run."""
        cluster.no_old_member_answers(run)

    def test_given_deephaven_runs_and_talks_to_etcd(self, run: Run) -> None:
        """Every process that is expected up is up, and every Deephaven host is connected to a member."""
        cluster.deephaven_is_up(run)
        cluster.deephaven_talks_to_etcd(run, run.terms.deephaven_hosts)

    def test_when_the_run_is_closed(self, run: Run, progress: Progress) -> None:
        """Scratch with copies of secrets is removed; the mark says done, and the cluster's record that it lives."""
        run.do([*trial.forget(run.terms, run.terms.everyone), *plan.tidy(run.terms)])
        close.close(run, min((status.revision for status in progress.status), default=None))

    def test_then_every_host_knows_it(self, run: Run) -> None:
        """So that the next loss is a run of its own, whichever of them is left by then."""
        close.every_host_knows_it(run)
        run.last_words.append(f"Closed run {run.mark.run}: its cluster is the one that lives.")
