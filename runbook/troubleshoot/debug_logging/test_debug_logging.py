"""The guide's debug logging: on for the named members, and off again with --off."""

from __future__ import annotations

from requorum.run.run import Run, take_lock
from requorum.troubleshoot import debug_logging, restarts


class TestDebugLogging:
    """Debug logging. Turn it on for the named members, or with --off off again, one member at a time.

    Each restart waits until the member is back; a healthy cluster keeps its quorum throughout. The original
    configuration is kept on each host, and after --off it is there again to the byte.
    """

    def test_given_the_members_answer(self, run: Run) -> None:
        """Their unit is installed and, to turn it on, runs."""
        chosen = restarts.choose(run.inventory, run.options.members)
        hosts, off = [member.host for member in chosen.members], run.options.off
        sheets = restarts.standing(run, chosen.members)
        restarts.refuse_silent(sheets, hosts, run.inventory.etcd.unit, running=not off)

    def test_when_the_cluster_is_locked(self, run: Run) -> None:
        """One operator at a time, against a recovery too."""
        take_lock(run, ends=False)

    def test_given_their_configuration_can_be_edited(self, run: Run) -> None:
        """By one line, and back to the byte; tried here for all members before any is touched."""
        hosts = [member.host for member in restarts.choose(run.inventory, run.options.members).members]
        for host, config in debug_logging.configurations(run, hosts).items():
            changes = debug_logging.wanted_text(config, run.options.off) != config.text
            wanted = debug_logging.setting(config.version)
            run.note(
                f"{host}: etcd {config.version}, {wanted.key}: {wanted.written}, "
                f"{'to be changed' if changes else 'as wanted already'}"
            )

    def test_given_the_cluster_keeps_its_quorum(self, run: Run) -> None:
        """The others have it while one of the named members is away."""
        chosen = restarts.choose(run.inventory, run.options.members)
        sheets = restarts.standing(run, chosen.cluster)
        restarts.refuse_to_cost_quorum(run, sheets, [member.host for member in chosen.members])

    def test_when_it_is_switched_one_member_at_a_time(self, run: Run) -> None:
        """Edit, restart, wait until it is back; the next one only then."""
        chosen = restarts.choose(run.inventory, run.options.members)
        name, unit, off = run.inventory.cluster, run.inventory.etcd.unit, run.options.off
        for member in chosen.members:
            config = debug_logging.configurations(run, [member.host])[member.host]
            sheets = restarts.standing(run, chosen.cluster)
            (own,) = (sheet for sheet in sheets if sheet.member is member)
            running = own.unit is not None and own.unit.running
            plan = debug_logging.switch(name, unit, config, off, running)
            if not plan:
                continue
            restarts.refuse_to_cost_quorum(run, sheets, [member.host])
            before = restarts.invocation(run, member.host)
            run.do(plan)
            if running:
                restarts.is_back(run, own, before, restarts.as_before(own))
            run.do(debug_logging.settle(name, config), bookkeeping=True)

    def test_then_the_journal_shows_it(self, run: Run) -> None:
        """Debug lines since the restart; after --off none."""
        chosen = restarts.choose(run.inventory, run.options.members)
        sheets = restarts.standing(run, chosen.members)
        debug_logging.the_journal_shows_it(run, sheets, run.options.off)

    def test_then_the_configuration_is_right(self, run: Run) -> None:
        """One line differs from the original; after --off none does."""
        hosts = [member.host for member in restarts.choose(run.inventory, run.options.members).members]
        debug_logging.the_configuration_is_right(run, hosts, run.options.off)
