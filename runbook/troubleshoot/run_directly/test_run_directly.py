"""One member's etcd without its unit: some of what it says is lost otherwise."""

from __future__ import annotations

import shlex

from requorum import direct, locking, restarts, selection
from requorum.cluster import Cluster
from requorum.proofs import directly
from runbook.troubleshoot.run_directly.conftest import DirectRun


class TestRunDirectly:
    """Run directly. Stop the member's unit, run its own command line as the etcd account, start the unit again.

    All that etcd says is kept. systemd on the member starts the unit again whatever happens here; one that was
    stopped before stays so.
    """

    def test_when_the_cluster_is_locked(self, cluster: Cluster) -> None:
        """One operator at a time, against a recovery too."""
        locking.take(cluster, ends=False)

    def test_when_an_earlier_direct_run_is_ended(self, cluster: Cluster) -> None:
        """One that was interrupted may have left it; it starts the unit again by itself."""
        (member,) = selection.choose(cluster.inventory, cluster.options.members).members
        directly.end_earlier_run(cluster, member.host)

    def test_given_the_member_can_be_taken_away(self, cluster: Cluster, direct_run: DirectRun) -> None:
        """It answers, its unit is installed, its data is there, and the others keep quorum meanwhile."""
        chosen = selection.choose(cluster.inventory, cluster.options.members)
        (member,) = chosen.members
        unit = cluster.inventory.etcd.unit
        sheets = restarts.standing(cluster, chosen.cluster)
        restarts.refuse_silent(sheets, [member.host], unit, running=False)
        restarts.refuse_without_data(cluster, next(sheet for sheet in sheets if sheet.member is member))
        restarts.refuse_to_cost_quorum(cluster, sheets, [member.host])
        (direct_run.sheet,) = (sheet for sheet in sheets if sheet.member is member)
        direct_run.invocation = restarts.invocation(cluster, member.host)

    def test_given_its_command_line_is_known(self, cluster: Cluster, direct_run: DirectRun) -> None:
        """As systemd itself understands the installed unit; and the account is there."""
        host = direct_run.before.member.host
        cluster.note(shlex.join(directly.command_of(cluster, host).argv))
        directly.the_account_is_there(cluster, host)

    def test_when_etcd_is_run_directly(self, cluster: Cluster, direct_run: DirectRun) -> None:
        """For --seconds; one transient unit on the host stops the installed one and starts it again."""
        host, settings = direct_run.before.member.host, cluster.inventory.etcd
        where = direct.place(cluster.inventory.cluster, cluster.mark.run)
        what, seconds = directly.command_of(cluster, host), cluster.options.seconds
        plan = direct.run(host, where, settings.unit, settings.user, what, seconds, direct_run.was_running)
        direct_run.result = cluster.do(plan)[-1]
        cluster.do(direct.forget(host, where), bookkeeping=True)

    def test_then_all_that_it_said_is_kept(self, cluster: Cluster, direct_run: DirectRun) -> None:
        """In the evidence, in a file of its own."""
        host, where = direct_run.before.member.host, direct.place(cluster.inventory.cluster, cluster.mark.run)
        directly.it_ran(cluster, direct_run.ended)
        directly.keep_the_output(cluster, host, where)

    def test_then_the_unit_is_as_before(self, cluster: Cluster, direct_run: DirectRun) -> None:
        """Running, and healthy if it was; stopped if it was stopped."""
        if direct_run.was_running:
            before = direct_run.before
            restarts.is_back(cluster, before, direct_run.invocation, restarts.as_before(before))
        else:
            directly.it_is_as_before(cluster, direct_run.before.member.host)
