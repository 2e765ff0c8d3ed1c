"""The traces of an etcd that was run as the wrong user: found, given back, and the service starts again."""

from __future__ import annotations

from requorum.run.run import Run, take_lock
from requorum.troubleshoot import permissions, restarts
from runbook.troubleshoot.permissions.conftest import Repair


class TestPermissions:
    """Permissions. Find what the etcd account does not own or cannot use, give it back, prove that etcd starts.

    Only owners, groups and modes are changed, no content; how to undo it is noted on each host before.
    """

    def test_given_the_members_answer(self, run: Run) -> None:
        """Their unit is installed; it need not run, and does not try to without data."""
        chosen = restarts.choose(run.inventory, run.options.members)
        sheets = restarts.standing(run, chosen.members)
        hosts = [member.host for member in chosen.members]
        restarts.refuse_silent(sheets, hosts, run.inventory.etcd.unit, running=False)
        permissions.nothing_waits_to_begin_an_empty_cluster(run, sheets, hosts)

    def test_when_the_cluster_is_locked(self, run: Run) -> None:
        """One operator at a time, against a recovery too."""
        take_lock(run, ends=False)

    def test_given_no_other_account_runs_etcd(self, run: Run) -> None:
        """It would go on making files of its own."""
        hosts = [member.host for member in restarts.choose(run.inventory, run.options.members).members]
        permissions.no_other_account_runs_etcd(run, hosts)

    def test_given_it_is_known_what_is_wrong(self, run: Run) -> None:
        """Every path with its owner and mode as they are now."""
        hosts = [member.host for member in restarts.choose(run.inventory, run.options.members).members]
        permissions.show(run, permissions.findings_on_hosts(run, hosts))

    def test_when_it_is_given_back(self, run: Run, repair: Repair) -> None:
        """Data to the etcd account; of the configuration what it must read, to its group."""
        hosts = [member.host for member in restarts.choose(run.inventory, run.options.members).members]
        plan = permissions.give_back(run.inventory.cluster, run.mark.run, permissions.findings_on_hosts(run, hosts))
        repair.mended = {command.host for command in plan}
        run.do(plan)
        for host in sorted(repair.mended):
            place = permissions.place(run.inventory.cluster)
            run.note(f"{host}: to undo it, as root: sh {place}/{run.mark.run}.sh")

    def test_then_etcd_can_use_everything(self, run: Run) -> None:
        """Asked again; what was left for people to judge is named here."""
        hosts = [member.host for member in restarts.choose(run.inventory, run.options.members).members]
        permissions.everything_is_usable(run, hosts)

    def test_when_the_service_is_started(self, run: Run, repair: Repair) -> None:
        """One member at a time, each back before the next: those that were mended, and those that should run and do
        not; none without data."""
        chosen = restarts.choose(run.inventory, run.options.members)
        for member in chosen.members:
            sheets = restarts.standing(run, chosen.cluster)
            if permissions.start_member(run, sheets, member.host, member.host in repair.mended):
                repair.started.append(member.host)

    def test_then_the_service_runs(self, run: Run, repair: Repair) -> None:
        """Still, on every member where it was started."""
        permissions.it_runs(run, repair.started)
