"""Every host as it was before the run: what the run brought is set aside everywhere, then what was there comes back."""

from __future__ import annotations

from dataclasses import replace

from requorum.recovery import ahead, trial, written
from requorum.recovery.proofs import machines
from requorum.recovery.undo import discard, equality, rollback, state
from requorum.run import facts, marker
from requorum.run.marker import Phase, Undone
from requorum.run.run import Run, take_lock
from runbook.rollback.conftest import Past


class TestRollback:
    """Rollback. Take the new cluster away everywhere, then put back exactly what was there before the run.

    What was there may have been a dead cluster: equality is proven, not health. Nothing is deleted, old data was never
    touched. Run the same command again after any interruption.
    """

    def test_given_every_host_answers(self, run: Run) -> None:
        """Every machine takes commands as root, without a password; --gone exempts machines that no longer exist."""
        machines.every_host_answers(run)

    def test_when_the_cluster_is_locked(self, run: Run) -> None:
        """One operator at a time; what a run that was cut off left running ends: a restore, a salvage, a trial."""
        take_lock(run)

    def test_given_a_run_may_be_rolled_back(self, run: Run, past: Past) -> None:
        """The run under way, else the newest; once Deephaven, or anybody, wrote only with --discard-new-writes."""
        held = facts.marks(run)
        mark = marker.to_roll_back(held.marks, held.outlived)
        unfinished, left = marker.left_behind(held.marks, held.outlived)
        mark = unfinished or mark
        if mark is None:
            raise rollback.no_run(run.options.hosts)
        refusal = rollback.refusal(mark, run.options.discard, run.options.hosts)
        refusal = refusal or rollback.too_many_left(run.terms, mark, left)
        if refusal:
            raise refusal
        run.carry_on(mark, "rolling back")
        wrote = written.who_wrote(run)
        if wrote:  # the mark says less than what is: as past the point of no return
            past.beyond = wrote.beyond
            run.terms = replace(run.terms, mark=replace(mark, phase=Phase.POWERING_ON))
            refusal = rollback.refusal(run.mark, run.options.discard, run.options.hosts, wrote)
            if refusal:
                raise refusal
        past.hosts = left or run.terms.everyone
        if left:
            run.note(f"the others were rolled back while these were gone: {', '.join(left)}")

    def test_given_what_was_before_is_recorded(self, run: Run, past: Past) -> None:
        """On every host, by the run itself before it changed anything; a run that never did needs none."""
        found = {host: record for host, record in state.records(run).items() if host in past.hosts}
        equality.every_host_has_a_record(run, found)
        past.records = {host: record for host, record in found.items() if record is not None}

    def test_given_there_is_room_for_what_is_set_aside(self, run: Run, past: Past) -> None:
        """Where data lies on another disk than the run's directory it must move there."""
        brought = {host: found.brought for host, found in state.differences(run, past.records).items()}
        equality.there_is_room_aside(run, brought)

    def test_when_the_run_is_marked(self, run: Run, past: Past) -> None:
        """From here it can only be undone; old logins that a trial of it left unpacked are removed."""
        run.remark(replace(run.mark, undone=max(run.mark.undone, Undone.BEGUN)), past.hosts)
        run.do(trial.forget(run.terms, past.hosts))

    def test_then_no_command_of_a_run_is_left(self, run: Run) -> None:
        """A killed runbook's commands run on until they end."""
        state.no_command_is_left(run)

    def test_when_deephaven_is_turned_off(self, run: Run, past: Past) -> None:
        """So that nobody writes into a cluster that is taken away; not where no host has changed. Who did until then is
        looked at once more."""
        found = state.differences(run, past.records)
        hosts = [host for host in run.terms.deephaven_hosts if host in past.hosts]
        run.do(rollback.turn_deephaven_off(run.terms, found, hosts))
        if any(found.values()):
            machines.no_deephaven_process_runs(run, hosts)
            wrote = written.who_wrote_since(run)
            if wrote:
                run.terms = replace(run.terms, mark=replace(run.mark, phase=Phase.POWERING_ON))
                if not run.options.discard:
                    raise rollback.written_meanwhile(run.mark, wrote, run.options.hosts)

    def test_when_the_new_cluster_is_saved(self, run: Run, past: Past) -> None:
        """Only past the point of no return: by the vendor's etcdctl, proven whole, kept there and on this machine."""
        if run.mark.phase >= Phase.POWERING_ON:
            past.loss = discard.save_what_is_discarded(run, past.beyond)
            run.remark(replace(run.mark, undone=max(run.mark.undone, Undone.SAVED)), past.hosts)

    def test_when_the_new_etcd_is_stopped(self, run: Run, past: Past) -> None:
        """On every host that is not as it was; an old etcd that the run never touched goes on."""
        found, units = state.differences(run, past.records), facts.units(run, past.records)
        run.do(rollback.stop_etcd(run.inventory, units, found))
        equality.no_new_etcd_runs(run, [host for host, difference in found.items() if difference])

    def test_when_what_the_run_brought_is_set_aside(self, run: Run, past: Past) -> None:
        """Unit, configuration, links, data and archives, on all hosts before anything is put back on any. What was
        restored and never got its place is removed."""
        away = rollback.set_aside(run.terms, state.differences(run, past.records))
        run.do([*away, *ahead.forget(run.terms, state.restored_ahead(run, past.hosts))])

    def test_then_nothing_of_it_is_left_in_place(self, run: Run, past: Past) -> None:
        """It is in the run's own directory now, below `brought`."""
        equality.nothing_brought_is_left(run, past.records)
        equality.nothing_restored_is_left(run, past.hosts)

    def test_when_what_was_there_before_is_put_back(self, run: Run, past: Past) -> None:
        """From the run's own copy: units, links, configuration, passwords, archives."""
        run.do(rollback.put_back(run.terms, state.differences(run, past.records), past.records))

    def test_then_every_host_is_as_before(self, run: Run, past: Past) -> None:
        """Paths, modes, owners, links and contents are equal to the listing made before the run; units as enabled."""
        equality.every_host_is_as_before(run, past.records)

    def test_when_etcd_is_started_where_it_ran(self, run: Run, past: Past) -> None:
        """Without waiting: a member that had no quorum will not get ready now either."""
        units = facts.units(run, past.records)
        run.do(rollback.start_etcd(run.inventory, units, past.records))

    def test_then_etcd_runs_where_it_ran(self, run: Run, past: Past) -> None:
        """And nowhere else."""
        equality.etcd_is_as_before(run, past.records)

    def test_when_deephaven_is_turned_on_where_it_was_on(self, run: Run, past: Past) -> None:
        """The configuration server first. Its processes may find a dead etcd, as they did before the run."""
        on = state.deephaven_is_on(run)
        run.do(rollback.turn_deephaven_back(run.terms, on, past.records))

    def test_then_deephaven_is_on_where_it_was_on(self, run: Run, past: Past) -> None:
        """Where that was known."""
        equality.deephaven_is_as_before(run, past.records)

    def test_when_the_run_is_closed(self, run: Run, past: Past) -> None:
        """Its mark says that it was rolled back: the next recovery is a run of its own."""
        past.loss = past.loss or rollback.loss(None)
        run.do(rollback.close(run.terms, past.hosts))
        run.remark(replace(run.mark, undone=Undone.ROLLED_BACK), past.hosts)
        whole = past.hosts == run.terms.everyone
        which = "every host" if whole else f"{', '.join(past.hosts)}, gone until now,"
        run.last_words.append(f"Rolled back run {run.mark.run}: {which} is as it was before.")
        run.last_words.append(f"What it brought is in {run.terms.brought} there, in case it is needed.")
