"""Step 2 of the guide: new certificates and configuration, with the old passwords in them."""

from __future__ import annotations

from requorum.recovery import plan, trials
from requorum.recovery.progress import Progress
from requorum.recovery.proofs import configuration
from requorum.run import facts
from requorum.run.run import Run


class TestStep2Generate:
    """Step 2. Generate the new cluster's configuration, and put the old passwords into it.

    Users and passwords live in the snapshot, so after a restore only the old passwords work. The generator invents
    new ones: they are backed up once before it runs, and put back after it.
    """

    def test_when_the_old_passwords_are_backed_up(self, run: Run, progress: Progress) -> None:
        """Once per incident, on each Deephaven host; what an earlier run of it backed up there is taken over."""
        wanted = (run.inventory.deephaven.client_config, run.terms.client_backup)
        there = facts.files(run, dict.fromkeys(run.terms.deephaven_hosts, wanted))
        earlier = facts.earlier_backups(run, progress.runs)
        run.do(plan.back_up_passwords(run.terms, there, earlier))
        for path in dict.fromkeys(earlier.values()):
            run.note(f"taken over from a run that did not come to its end: {path}")

    def test_then_every_host_holds_the_same_passwords(self, run: Run, progress: Progress) -> None:
        """Role by role; a host that differs would lock its processes out."""
        progress.roles = configuration.passwords_agree(run)

    def test_when_the_new_configuration_is_generated(self, run: Run) -> None:
        """The vendor's generator on the configuration server; both archives go into this run's own directory."""
        run.do(plan.generate(run.terms, facts.staging(run)))

    def test_when_the_old_passwords_are_put_into_the_archives(self, run: Run, progress: Progress) -> None:
        """Unpacked, patched and packed again on the configuration server; so are settings that the inventory keeps."""
        terms = run.terms
        server, query = facts.listings(run, facts.archives_to_read(run))
        roles = progress.roles
        configuration.every_role_has_an_old_password(run, roles, server + query)
        uninstalled = not facts.new_configuration_is_installed(run)
        run.do(plan.put_old_passwords(terms, roles, server, query, facts.staging(run), uninstalled))
        run.do(plan.put_live_passwords(terms, roles))
        if progress.settings:
            run.do(plan.keep_settings(terms, facts.archived_texts(run), progress.settings, server))

    def test_then_every_server_number_is_present(self, run: Run, progress: Progress) -> None:
        """One configuration for each new member, with its address, a token never used before, and room in its quota."""
        progress.new_configs = configuration.every_server_number_is_present(run)
        size = progress.bytes if progress.verdict else None  # of a run whose configuration is not installed yet
        configuration.settings_are_kept(run, progress.new_configs, progress.settings, size)

    def test_then_the_certificates_chain_and_name_the_addresses(self, run: Run) -> None:
        """openssl verifies each against its CA for the member's address."""
        configuration.certificates_are_right(run)

    def test_then_every_password_in_the_archives_is_the_old_one(self, run: Run) -> None:
        """Read back from the packed archives, compared with the backup."""
        configuration.archives_hold_the_old_passwords(run)

    def test_when_the_snapshot_is_tried(self, run: Run, progress: Progress) -> None:
        """Restored on one host as a member alone, and booted where nobody sees it. Meanwhile every new member does its
        own restore beside its place, with the very flags of Step 4, which moves it."""
        progress.trial = trials.hold(run, progress)

    def test_then_every_old_password_logs_in_to_the_trial(self, run: Run, progress: Progress) -> None:
        """With the keys to expect; what is found here, Step 5 must find again. And every member restored the same, by
        its own etcd's word."""
        trials.trial_is_good(run, progress)
        trials.restored_alike(run, progress)
