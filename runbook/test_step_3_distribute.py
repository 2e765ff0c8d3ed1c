"""Step 3 of the guide: both archives to every machine that needs them."""

from __future__ import annotations

from requorum.recovery import commit, plan
from requorum.recovery.progress import Progress
from requorum.recovery.proofs import configuration
from requorum.run import facts
from requorum.run.run import Run


class TestStep3Distribute:
    """Step 3. Carry the new configuration to every machine and install it.

    The server archive goes to every new member, the query archive to every Deephaven host, the configuration server
    included. They pass through this machine in memory only.
    """

    def test_given_you_confirm_what_was_proven(self, run: Run, progress: Progress) -> None:
        """The commit prompt. No machine has anything new yet but this run's own directory."""
        commit.commit(run, progress)

    def test_when_both_archives_are_copied(self, run: Run) -> None:
        """Streamed; each copy's SHA-256 must be the original's."""
        present = facts.archives(run, made=not run.carrying_on)  # a run of a new name has brought nothing anywhere
        sums = {name: held[run.terms.configuration_server] for name, held in present.items()}
        run.do(plan.distribute(run.terms, sums, present))

    def test_then_every_copy_is_the_same(self, run: Run) -> None:
        """Compared once more where they lie."""
        configuration.every_archive_is_the_same(run)

    def test_when_the_server_configuration_is_installed(self, run: Run) -> None:
        """Each new member by its server number."""
        terms = run.terms
        units, configs, files = facts.installed(run, terms.member_hosts, *plan.latest_link(terms))
        run.do(plan.install_servers(terms, units, facts.whole(configs), files))

    def test_when_the_client_configuration_is_installed(self, run: Run) -> None:
        """On all Deephaven hosts."""
        client, hosts = run.inventory.deephaven.client_config, run.terms.deephaven_hosts
        live = facts.client_files(run, client, hosts) if run.carrying_on else None
        packed = facts.packed_client_files(run) if live else {}
        run.do(plan.install_clients(run.terms, packed, live))

    def test_then_every_member_has_its_configuration(self, run: Run, progress: Progress) -> None:
        """Name, address, token are new, what is kept is there; etcd can read its files, and nobody else the keys."""
        configuration.servers_are_installed(run, progress.settings)

    def test_then_every_client_points_to_the_new_members(self, run: Run) -> None:
        """New endpoints, old passwords, files that only their owner reads."""
        configuration.clients_are_installed(run)
