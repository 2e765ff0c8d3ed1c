"""One member's etcd without its unit: some of what it says is lost otherwise."""

from __future__ import annotations

import shlex

from requorum.run.run import Run, take_lock
from requorum.troubleshoot import restarts, run_directly
from runbook.troubleshoot.run_directly.conftest import DirectRun


class TestRunDirectly:
    """Run directly. Stop the member's unit, run its own command line as the etcd account, start the unit again.

    All that etcd says is kept. systemd on the member starts the unit again whatever happens here; one that was
    stopped before stays so.
    """

    def test_when_the_cluster_is_locked(self, run: Run) -> None:
        """One operator at a time, against a recovery too."""
        take_lock(run, ends=False)

    def test_when_an_earlier_direct_run_is_ended(self, run: Run) -> None:
        """One that was interrupted may have left it; it starts the unit again by itself."""
        (member,) = restarts.choose(run.inventory, run.options.members).members
        run_directly.end_earlier_run(run, member.host)

    def test_given_the_member_can_be_taken_away(self, run: Run, direct_run: DirectRun) -> None:
        """It answers, its unit is installed, its data is there, and the others keep quorum meanwhile."""
        chosen = restarts.choose(run.inventory, run.options.members)
        (member,) = chosen.members
        unit = run.inventory.etcd.unit
        sheets = restarts.standing(run, chosen.cluster)
        restarts.refuse_silent(sheets, [member.host], unit, running=False)
        restarts.refuse_without_data(run, next(sheet for sheet in sheets if sheet.member is member))
        restarts.refuse_to_cost_quorum(run, sheets, [member.host])
        (direct_run.sheet,) = (sheet for sheet in sheets if sheet.member is member)
        direct_run.invocation = restarts.invocation(run, member.host)

    def test_given_its_command_line_is_known(self, run: Run, direct_run: DirectRun) -> None:
        """As systemd itself understands the installed unit; and the account is there."""
        host = direct_run.before.member.host
        run.note(shlex.join(run_directly.command_of(run, host).words))
        run_directly.the_account_is_there(run, host)

    def test_when_etcd_is_run_directly(self, run: Run, direct_run: DirectRun) -> None:
        """For --seconds; one transient unit on the host stops the installed one and starts it again."""
        host, settings = direct_run.before.member.host, run.inventory.etcd
        where = run_directly.place(run.inventory.cluster, run.mark.run)
        what, seconds = run_directly.command_of(run, host), run.options.seconds
        plan = run_directly.run(host, where, settings.unit, settings.user, what, seconds, direct_run.was_running)
        direct_run.result = run.do(plan)[-1]
        run.do(run_directly.forget(host, where), bookkeeping=True)

    def test_then_all_that_it_said_is_kept(self, run: Run, direct_run: DirectRun) -> None:
        """In the evidence, in a file of its own."""
        host, where = direct_run.before.member.host, run_directly.place(run.inventory.cluster, run.mark.run)
        run_directly.it_ran(run, direct_run.ended)
        run_directly.keep_the_output(run, host, where)

    def test_then_the_unit_is_as_before(self, run: Run, direct_run: DirectRun) -> None:
        """Running, and healthy if it was; stopped if it was stopped."""
        if direct_run.was_running:
            before = direct_run.before
            restarts.is_back(run, before, direct_run.invocation, restarts.as_before(before))
        else:
            run_directly.it_is_as_before(run, direct_run.before.member.host)
