"""Step 5 of the guide: prove the new cluster, then turn Deephaven back on."""

from __future__ import annotations

from collections.abc import Sequence

from requorum.recovery import plan, trial, written
from requorum.recovery.progress import Progress
from requorum.recovery.proofs import cluster
from requorum.run.marker import Phase
from requorum.run.run import Run


class TestStep5PowerOn:
    """Step 5. Prove that everything is back, then turn Deephaven on, the configuration server first.

    Until Deephaven writes, going back loses nothing. So every proof about the data comes before it is turned on.
    """

    def test_then_every_member_is_healthy(self, run: Run, progress: Progress) -> None:
        """Asked through the vendor's etcdctl as an authenticated user."""
        cluster.every_member_is_healthy(run, progress.new_configs, progress)

    def test_then_it_is_one_cluster_with_one_leader(self, run: Run, progress: Progress) -> None:
        """One cluster ID, one leader, one revision, one version, no alarm."""
        cluster.it_is_one_cluster(run, progress)

    def test_then_all_members_hold_the_same_data(self, run: Run, progress: Progress) -> None:
        """hashkv is equal on all members at one revision."""
        cluster.hashes_are_equal(run, progress)

    def test_then_the_keys_are_there(self, run: Run, progress: Progress) -> None:
        """As many as the inventory expects, in all and by prefix."""
        cluster.keys_are_there(run, progress)

    def test_then_it_is_what_the_trial_found(self, run: Run, progress: Progress) -> None:
        """The same hash at the trial's revision, the same numbers of keys, the same users and roles."""
        progress.compacted = trial.it_is_what_the_trial_found(run, progress.trial, progress.endpoint, progress.asked)

    def test_then_every_old_password_logs_in(self, run: Run, progress: Progress) -> None:
        """Every role; and none of them reads what it must not. Without authentication all are let in, as before."""
        cluster.old_passwords_log_in(run, progress.roles, progress.authentication, progress.outside(run))

    def test_then_a_wrong_password_does_not(self, run: Run, progress: Progress) -> None:
        """Authentication is on, or off as it was in the data."""
        cluster.wrong_password_is_refused(run, progress.roles, progress.authentication)

    def test_then_a_write_through_each_member_is_read_from_all(self, run: Run, progress: Progress) -> None:
        """The probe's keys are removed again."""
        progress.reached = cluster.writes_reach_everyone(run, progress.new_configs)

    def test_when_what_was_proven_is_noted(self, run: Run, progress: Progress) -> None:
        """A run that is carried on may find it compacted: then this note stands for it."""
        told = progress.asked.began
        written.note_what_is_proven(run, progress.trial, progress.compacted, progress.reached, told)

    def test_then_no_old_member_serves_clients(self, run: Run) -> None:
        """A stale member cannot join, but it could serve clients that still know its address."""
        cluster.no_old_member_answers(run)

    def test_when_deephaven_is_turned_on_at_the_configuration_server(self, run: Run, progress: Progress) -> None:
        """The point of no return: from here Deephaven writes into the new cluster."""
        progress.advance(run, Phase.POWERING_ON)
        _turn_on(run, [run.terms.configuration_server])

    def test_then_the_configuration_server_runs(self, run: Run) -> None:
        """Everything else needs it; one process that stays off there hinders no other host."""
        cluster.deephaven_has_begun(run, run.terms.configuration_server)

    def test_when_deephaven_is_turned_on_everywhere(self, run: Run) -> None:
        """All other Deephaven hosts, in parallel."""
        first = run.terms.configuration_server
        rest = [host for host in run.terms.deephaven_hosts if host != first]
        _turn_on(run, rest)

    def test_then_deephaven_runs_and_talks_to_etcd(self, run: Run) -> None:
        """Every process that is expected up is up, and every Deephaven host is connected to a new member."""
        cluster.deephaven_is_up(run)
        cluster.deephaven_talks_to_etcd(run, run.terms.deephaven_hosts)

    def test_when_the_run_is_closed(self, run: Run, progress: Progress) -> None:
        """Scratch with copies of secrets is removed, and the mark says that the run is done."""
        run.do(plan.tidy(run.terms))
        progress.advance(run, Phase.DONE)


def _turn_on(run: Run, hosts: Sequence[str]) -> None:
    for result in run.do(plan.turn_deephaven_on(run.terms, hosts)):
        if result.code:
            run.note(f"{result.command.host}: {result.words}")
