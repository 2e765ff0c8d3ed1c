"""A verified snapshot of the running cluster, kept on this machine. It changes nothing of the cluster."""

from __future__ import annotations

from requorum import backup
from requorum.backup import Tonight
from requorum.cluster import Cluster
from requorum.proofs import backups


class TestBackup:
    """Backup. Save the cluster from its healthiest member, prove the file, keep it on this machine.

    The only thing written on any host is the save itself, in a directory of its own, which is removed again.
    """

    def test_when_half_files_are_removed(self, cluster: Cluster, tonight: Tonight) -> None:
        """Of an interrupted backup; nobody else is backing up."""
        for path in tonight.vault.clear_parts():
            cluster.note(f"removed {path}, left by an interrupted backup")

    def test_given_the_configuration_server_answers(self, cluster: Cluster) -> None:
        """Reached, root without a password, the vendor's etcdctl there. No other host is needed."""
        backups.the_configuration_server_answers(cluster)

    def test_given_a_member_is_healthy(self, cluster: Cluster, tonight: Tonight) -> None:
        """Healthy for an authenticated user; of these the one with the highest revision is saved."""
        health, status = cluster.ask(backup.ask_health(cluster.inventory))
        tonight.member = backup.healthiest(*backup.read_health(health, status))
        cluster.note(f"{tonight.member.endpoint}: healthy, revision {tonight.member.revision:,}")

    def test_when_a_snapshot_is_saved(self, cluster: Cluster, tonight: Tonight) -> None:
        """By the vendor's etcdctl, from that one member."""
        cluster.do(backup.save(cluster.terms, tonight.saved_from.endpoint))

    def test_then_etcd_can_read_it(self, cluster: Cluster, tonight: Tonight) -> None:
        """`snapshot status`; its revision is not below the one that the member had before the save."""
        tonight.note = backup.describe(cluster, tonight.saved_from)
        backups.the_save_is_up_to_date(cluster, tonight)
        cluster.note(f"revision {tonight.kept.revision:,}, {tonight.kept.keys:,} keys, {tonight.kept.bytes:,} bytes")

    def test_when_it_is_fetched(self, cluster: Cluster, tonight: Tonight) -> None:
        """Streamed beside its final name; that it gets only after its own SHA-256 has been found right here."""
        backups.there_is_room_here(cluster, tonight)
        cluster.do(backup.fetch(cluster.terms, tonight))
        backups.the_part_is_whole(cluster, tonight)
        tonight.path = tonight.vault.keep(tonight.kept)
        cluster.note(str(tonight.path))

    def test_then_the_backup_is_whole(self, cluster: Cluster, tonight: Tonight) -> None:
        """Read back: as its manifest says, for its owner only."""
        cluster.known.source = backups.the_backup_is_whole(cluster, tonight)

    def test_when_old_backups_are_rotated(self, cluster: Cluster, tonight: Tonight) -> None:
        """By the inventory's count and age; the newest good one always stays."""
        cluster.touched.append("this machine")
        for path in tonight.vault.rotate(backup.utc_now()):
            cluster.note(f"removed {path.name}, past snapshot.keep")

    def test_then_good_backups_are_left(self, cluster: Cluster, tonight: Tonight) -> None:
        """Tonight's among them, and no half file."""
        backups.good_backups_are_left(cluster, tonight)

    def test_when_the_host_is_cleared(self, cluster: Cluster, tonight: Tonight) -> None:
        """The save on the configuration server is removed."""
        cluster.do(backup.clear(cluster.terms))
        tonight.cleared = True

    def test_then_nothing_is_left_on_the_host(self, cluster: Cluster, tonight: Tonight) -> None:
        """Neither the save nor its directory."""
        backups.nothing_is_left(cluster)
        cluster.last_words.append(f"Backed up: {tonight.path}, revision {tonight.kept.revision:,}.")
