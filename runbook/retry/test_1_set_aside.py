"""Before another try: the data that a run restored is taken away on all members, before it is restored on any."""

from __future__ import annotations

from dataclasses import replace

from requorum.recovery import ahead, written
from requorum.recovery.proofs import machines
from requorum.recovery.undo import equality, retry, state
from requorum.run import facts, marker
from requorum.run.marker import Phase
from requorum.run.run import Run, take_lock
from requorum.troubleshoot import sudoers


class TestRetry:
    """Retry. Set aside the data of a failed restore or start on every member, so that it can be tried again.

    A member that starts from other data than its peers must not exist: so all stop, then all data goes, and only then
    the steps carry the run on. They prove again what they had established, restore, start, prove, and power on.
    """

    def test_given_every_host_answers(self, run: Run) -> None:
        """As in Step 0, and sudo allows what the steps will run: it is no time to find out once the data is aside."""
        machines.every_host_answers(run)
        sudoers.what_is_run_is_allowed(run)

    def test_when_the_cluster_is_locked(self, run: Run) -> None:
        """One operator at a time; what a run that was cut off left running ends: a restore, a salvage, a trial."""
        take_lock(run)

    def test_given_a_run_got_to_step_4(self, run: Run) -> None:
        """Unfinished, its new configuration is on every member, and Deephaven was never turned on,
        and nobody wrote into it."""
        held = facts.marks(run)
        mark = marker.to_carry_on(held.marks, run.options.hosts, held.outlived)
        refusal = retry.refusal(mark, run.options.snapshot, run.options.hosts)
        if refusal:
            raise refusal
        assert mark is not None
        run.carry_on(mark, "trying again")
        configs = facts.configs(run, run.terms.member_hosts)
        refusal = retry.not_installed(run.terms, configs, run.options.hosts)
        if refusal:
            raise refusal
        wrote = written.who_wrote(run)
        if wrote:
            raise retry.written(mark, wrote, run.options.hosts)

    def test_given_there_is_room_for_what_is_set_aside(self, run: Run) -> None:
        """Where data lies on another disk than the run's directory it must move there."""
        equality.there_is_room_aside(run, retry.data_of(run.terms, facts.new_configs(run)))

    def test_then_no_command_of_a_run_is_left(self, run: Run) -> None:
        """A killed runbook's commands run on until they end."""
        state.no_command_is_left(run)

    def test_when_the_new_etcd_is_stopped(self, run: Run) -> None:
        """On every member, once Deephaven is proven off and nobody has written meanwhile."""
        machines.no_deephaven_process_runs(run)
        wrote = written.who_wrote_since(run)
        if wrote:
            raise retry.written(run.mark, wrote, run.options.hosts)
        run.do(retry.stop_etcd(run.terms, facts.units(run, run.terms.member_hosts)))

    def test_then_no_etcd_runs(self, run: Run) -> None:
        """Nor listens on its ports."""
        equality.no_new_etcd_runs(run, run.terms.member_hosts)

    def test_when_the_data_is_set_aside_on_every_member(self, run: Run) -> None:
        """Into the run's own directory, below `tried`; what was restored and never got its place is removed."""
        wanted = retry.data_of(run.terms, facts.new_configs(run))
        made = state.restored_ahead(run, run.terms.member_hosts)
        run.do([*retry.set_aside(run.terms, facts.files(run, wanted)), *ahead.forget(run.terms, made)])

    def test_then_no_member_holds_data_of_the_run(self, run: Run) -> None:
        """Nowhere, also where only a part of it was restored."""
        equality.no_data_is_left(run, retry.places_of(run.terms, facts.new_configs(run)))

    def test_when_the_mark_is_set_back(self, run: Run) -> None:
        """Only now it says that nothing was started yet, which lets the steps restore again."""
        run.remark(replace(run.mark, phase=Phase.STOPPING))
