"""Step 4 of the guide: restored data on every member, and a start only when all have it."""

from __future__ import annotations

from requorum.recovery import ahead, plan
from requorum.recovery.progress import Progress
from requorum.recovery.proofs import cluster
from requorum.run import facts
from requorum.run.marker import Phase
from requorum.run.run import Run
from requorum.snapshots import beginning


class TestStep4Restore:
    """Step 4. Restore the snapshot on every new member, then start them together.

    A member that starts alone waits for the others; one that starts from other data must not exist. So nothing is
    started before the last restore has succeeded.
    """

    def test_given_no_data_is_in_the_way(self, run: Run, progress: Progress) -> None:
        """The new token's data directory does not exist, or this run restored it from this snapshot."""
        progress.installed_new = cluster.no_data_is_in_the_way(run, progress.sources.chosen)

    def test_when_the_snapshot_is_restored_on_every_member(self, run: Run, progress: Progress) -> None:
        """In parallel, into the new token's directory; what was restored there before the commit is moved in place."""
        terms, configs = run.terms, progress.installed_new
        there = facts.files(run, plan.restore_looks_at(terms, configs))
        made = run.ask({host: ahead.ask(terms, host, c) for host, c in configs.items()})
        run.do(plan.restore(terms, progress.tools, configs, there, progress.sources.chosen.sha256, made))
        if not all(tools.bumps for tools in progress.tools.values()):
            run.warn("this etcd cannot bump revisions: watchers may miss changes until restarted")

    def test_then_every_member_holds_restored_data(self, run: Run) -> None:
        """Whole, owned by the etcd account, read by nobody else."""
        cluster.data_is_restored(run)

    def test_when_all_members_are_started(self, run: Run, progress: Progress) -> None:
        """Without waiting: a unit becomes ready only when its peers are up too."""
        if run.mark.phase < Phase.STARTED:
            server, noted = run.terms.configuration_server, beginning.path(run.terms)
            run.do(beginning.forget(run.terms, bool(facts.files(run, {server: (noted,)})[server])))
        progress.advance(run, Phase.STARTED)
        run.do(plan.start_etcd(run.terms, facts.units(run, run.terms.member_hosts)))

    def test_then_every_member_sees_a_leader(self, run: Run) -> None:
        """Within the inventory's health_seconds."""
        cluster.every_member_sees_a_leader(run)

    def test_when_a_space_alarm_in_the_data_is_disarmed(self, run: Run, progress: Progress) -> None:
        """An alarm lies in the data and comes back with it; where the new quota is too small etcd raises it again."""
        run.do(plan.disarm(run.terms, progress.trial.alarms if progress.trial else ()))
