"""A verified snapshot of the running cluster, kept on this machine. It changes nothing of the cluster."""

from __future__ import annotations

from requorum.run.run import Run
from requorum.snapshots import backup, sending
from requorum.snapshots.backup import Tonight


class TestBackup:
    """Backup. Save the cluster from its healthiest member, prove the file, keep it on this machine.

    The only thing written on any host is the save itself, in a directory of its own, which is removed again.
    """

    def test_when_half_files_are_removed(self, run: Run, tonight: Tonight) -> None:
        """Of an interrupted backup; nobody else is backing up."""
        for path in tonight.vault.clear_parts():
            run.note(f"removed {path}, left by an interrupted backup")

    def test_given_the_configuration_server_answers(self, run: Run) -> None:
        """Reached, root without a password, the vendor's etcdctl there. No other host is needed."""
        backup.the_configuration_server_answers(run)

    def test_given_a_member_is_healthy(self, run: Run, tonight: Tonight) -> None:
        """Healthy for an authenticated user; of these the one with the highest revision is saved."""
        (tonight.member,) = run.ask({"etcd": backup.ask_healthiest(run.inventory)}).values()
        run.note(f"{tonight.member.endpoint}: healthy, revision {tonight.member.revision:,}")
        for alarm in tonight.member.errors:
            run.warn(f"an alarm is on, and lies in this backup too: {alarm}")

    def test_when_a_snapshot_is_saved(self, run: Run, tonight: Tonight) -> None:
        """By the vendor's etcdctl, from that one member."""
        run.do(backup.save(run.terms, tonight.saved_from.endpoint))

    def test_then_etcd_can_read_it(self, run: Run, tonight: Tonight) -> None:
        """`snapshot status`; its revision is not below the one that the member had before the save."""
        backup.place_in_history(run, tonight, backup.describe(run, tonight.saved_from))
        backup.note_whether_it_lives(run, tonight)
        backup.the_save_is_up_to_date(run, tonight)
        keys = "keys not counted" if tonight.kept.keys is None else f"{tonight.kept.keys:,} keys"
        run.note(f"revision {tonight.kept.revision:,}, {keys}, {tonight.kept.bytes:,} bytes")

    def test_when_it_is_fetched(self, run: Run, tonight: Tonight) -> None:
        """Streamed beside its final name; that it gets only after its own SHA-256 has been found right here."""
        backup.there_is_room_here(run, tonight)
        run.do(backup.fetch(run.terms, tonight))
        backup.the_part_is_whole(run, tonight)
        tonight.path = tonight.vault.keep(tonight.kept)
        run.note(str(tonight.path))

    def test_then_the_backup_is_whole(self, run: Run, tonight: Tonight) -> None:
        """Read back: as its manifest says, for its owner only."""
        tonight.source = backup.the_backup_is_whole(run, tonight)

    def test_then_it_is_of_the_history_of_those_before_it(self, run: Run, tonight: Tonight) -> None:
        """A cluster that began anew, empty, must not push the backups of its lost data out: `--accept=history`."""
        backup.it_is_no_other_history(run, tonight)

    def test_when_the_processes_that_are_up_are_noted(self, run: Run, tonight: Tonight) -> None:
        """Deephaven's, host by host: after a recovery the same must be up."""
        run.touched.append("this machine")
        backup.keep_what_is_up(run, tonight)

    def test_when_old_backups_are_rotated(self, run: Run, tonight: Tonight) -> None:
        """Those beyond the inventory's count, three at most; none while the last nights do not agree."""
        run.touched.append("this machine")
        rotation = tonight.vault.rotate(backup.utc_now())
        for name in rotation.removed:
            run.note(f"removed {name}, past snapshot.keep")
        if rotation.paused:
            run.last_words.append(f"No old backup is removed until three nights agree: {rotation.paused}.")

    def test_then_good_backups_are_left(self, run: Run, tonight: Tonight) -> None:
        """Tonight's among them, and no half file."""
        backup.good_backups_are_left(run, tonight)

    def test_when_the_host_is_cleared(self, run: Run, tonight: Tonight) -> None:
        """The save on the configuration server is removed."""
        run.do(backup.clear(run.terms))
        tonight.cleared = True

    def test_then_nothing_is_left_on_the_host(self, run: Run, tonight: Tonight) -> None:
        """Neither the save nor its directory."""
        backup.nothing_is_left(run)
        run.last_words.append(f"Backed up: {tonight.path}, revision {tonight.kept.revision:,}.")

    def test_when_what_else_belongs_to_it_is_archived(self, run: Run, tonight: Tonight) -> None:
        """`backup.also` of the configuration server: encrypted on its way, beside the backup."""
        sending.archive_also(run, tonight)

    def test_when_it_is_sent_away(self, run: Run, tonight: Tonight) -> None:
        """By `offsite.put`, its manifest after it; with `snapshot.encrypt` encrypted, now that it is verified."""
        sending.away(run, tonight)

    def test_then_it_lies_off_site_whole(self, run: Run, tonight: Tonight) -> None:
        """Read back by `offsite.get`, its SHA-256 compared: before that it does not count."""
        sending.it_lies_there(run, tonight)
