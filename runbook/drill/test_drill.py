"""A real backup restored into the lab by the runbook's own steps, and proven as far as its passwords are known."""

from __future__ import annotations

from requorum.cluster import etcd, settings
from requorum.recovery import drill, plan
from requorum.recovery.drill import Drill
from requorum.recovery.progress import Progress
from requorum.recovery.proofs import cluster, machines
from requorum.run import facts
from requorum.run.run import Run
from runbook.test_step_2_generate import TestStep2Generate as Step2
from runbook.test_step_3_distribute import TestStep3Distribute as Step3
from runbook.test_step_4_restore import TestStep4Restore as Step4


class TestDrill:
    """Drill. Restore a real backup into the lab, prove it, say what cannot be proven there.

    No machine of production is touched. The lab's own data is set aside; a lab that was made for this is taken down.
    """

    def test_given_a_lab_is_there(self, run: Run, progress: Progress, exercise: Drill) -> None:
        """Made for this drill where none was up; of the etcd version that the backup was taken with, if it has it."""
        machines.every_host_answers(run)
        progress.tools = facts.tools(run, facts.root_paths(run, run.terms.member_hosts))
        version = next(iter(progress.tools.values())).version
        run.note(f"{'a new lab' if exercise.made else 'the lab that is up'}, etcd {version}")
        if exercise.etcd and exercise.etcd != version:
            exercise.unproven.append(f"that it restores with etcd {exercise.etcd}: the lab has {version}")

    def test_given_the_snapshot_is_whole(self, run: Run, progress: Progress, exercise: Drill) -> None:
        """Size, SHA-256, manifest; it is the newest good one unless it was named."""
        progress.sources.source = exercise.source
        for said in exercise.off_site:
            run.note(said)
        for bad in exercise.skipped:
            run.note(f"skipped: {bad.path} {bad.problem}")
        source = exercise.source
        run.note(f"{source.path}, {source.bytes:,} bytes, taken {source.taken}, of the cluster {source.lineage}")

    def test_given_there_is_room(self, run: Run, progress: Progress) -> None:
        """As in Step 0."""
        machines.there_is_room(run, progress.bytes)
        progress.settings = settings.for_copies(progress.bytes)

    def test_when_the_cluster_of_the_lab_is_taken_away(self, run: Run) -> None:
        """As in Step 1: Deephaven off, etcd stopped, its unit set aside."""
        run.do([*drill.places(run.terms), *plan.turn_deephaven_off(run.terms)])
        terms, unit = run.terms, run.inventory.etcd.unit
        units = facts.units(run, terms.etcd_hosts)
        files = facts.files(run, {h: etcd.unit_files(unit, u) for h, u in units.items()})
        run.do(plan.stop_etcd(terms, units, files, facts.configs(run, terms.etcd_hosts)))

    def test_then_no_etcd_runs(self, run: Run) -> None:
        """Nor any Deephaven process."""
        machines.deephaven_is_off(run)
        machines.old_etcd_is_gone(run)

    def test_when_the_snapshot_is_copied_to_every_member(self, run: Run, progress: Progress) -> None:
        """As in Step 0: streamed, and proven by its SHA-256 where it arrives."""
        run.do(plan.copy_snapshot(run.terms, progress.sources.chosen, facts.staged(run)))

    def test_then_etcd_reads_the_same_revision(self, run: Run, progress: Progress, exercise: Drill) -> None:
        """`snapshot status`, by each member's tools, and what this machine read from the file itself."""
        revision = machines.every_copy_is_readable(run, progress.tools)
        drill.the_copies_are_at(run, exercise.contents.revision, revision)
        run.note(f"revision {revision:,}")

    def test_when_a_configuration_is_generated_and_installed(self, run: Run, progress: Progress) -> None:
        """Steps 2 and 3, with the lab's own passwords in it."""
        second, third = Step2(), Step3()
        second.test_when_the_old_passwords_are_backed_up(run, progress)
        second.test_then_every_host_holds_the_same_passwords(run, progress)
        second.test_when_the_new_configuration_is_generated(run)
        second.test_when_the_old_passwords_are_put_into_the_archives(run, progress)
        third.test_when_both_archives_are_copied(run)
        third.test_when_the_server_configuration_is_installed(run)
        third.test_when_the_client_configuration_is_installed(run)

    def test_then_the_configuration_is_right(self, run: Run, progress: Progress) -> None:
        """The proofs of Steps 2 and 3."""
        second, third = Step2(), Step3()
        second.test_then_every_server_number_is_present(run, progress)
        second.test_then_the_certificates_chain_and_name_the_addresses(run)
        third.test_then_every_member_has_its_configuration(run, progress)
        third.test_then_every_client_points_to_the_new_members(run)

    def test_when_the_snapshot_is_restored_and_started(self, run: Run, progress: Progress) -> None:
        """Step 4, by its own stages."""
        fourth = Step4()
        fourth.test_given_no_data_is_in_the_way(run, progress)
        fourth.test_when_the_snapshot_is_restored_on_every_member(run, progress)
        fourth.test_then_every_member_holds_restored_data(run)
        fourth.test_when_all_members_are_started(run, progress)

    def test_then_every_member_is_healthy_at_one_revision(self, run: Run, exercise: Drill) -> None:
        """`/health` and `/metrics`, which need no login: one leader, and nothing of the backup is missing."""
        cluster.every_member_sees_a_leader(run)
        drill.every_member_is_up_to_date(run, exercise.contents.revision)

    def test_then_all_members_hold_the_same_data(self, run: Run, exercise: Drill) -> None:
        """hashkv, without a login where this etcd allows it."""
        drill.hashes_are_equal_without_login(run, exercise)

    def test_then_as_much_as_the_passwords_allow_is_proven(self, run: Run, progress: Progress, exercise: Drill) -> None:
        """Where the lab's passwords log in, all proofs of Step 5 about data and users; else what is missing is said."""
        drill.login_is_tried(run, exercise)
        if exercise.login:
            cluster.every_member_is_healthy(run, progress.new_configs)
            cluster.it_is_one_cluster(run, progress)
            cluster.hashes_are_equal(run, progress)
            cluster.keys_are_there(run, progress)
            cluster.old_passwords_log_in(run, progress.roles, exercise.authentication)
            cluster.wrong_password_is_refused(run, progress.roles, exercise.authentication)
            cluster.writes_reach_everyone(run, progress.new_configs)
        exercise.unproven.append("that production's Deephaven works on it")
        exercise.ended = True
        run.last_words.append(f"Drilled: {exercise.source.path} restores.")
        run.last_words += [f"Not proven: {sentence}." for sentence in exercise.unproven]
        if not exercise.made:
            run.last_words.append("The lab holds the drilled data now; `python -m compose.lab down` ends it.")
