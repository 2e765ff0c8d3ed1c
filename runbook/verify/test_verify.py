"""The newest backup booted unseen on a machine of production's own, with its own passwords; nothing stays there."""

from __future__ import annotations

from requorum.run.run import Run
from requorum.verify import night as nights
from requorum.verify import proof
from requorum.verify.night import Night


class TestVerify:
    """Verify. Boot the newest backup where nobody can see it, prove it, say what a recovery from it would be.

    It lies in memory where it fits, else in one directory that is removed again; the cluster is only asked.
    """

    def test_given_nothing_else_is_under_way(self, run: Run, night: Night) -> None:
        """Neither a backup nor a recovery: else this night is passed over, with the age of the last proof."""
        nights.nothing_else_is_under_way(run, night)

    def test_given_the_newest_backup_is_good(self, run: Run, night: Night) -> None:
        """Of the running cluster: whole by its SHA-256, and as its manifest says. If not, which one is."""
        nights.the_newest_is_good(run, night)

    def test_when_a_prefix_of_it_is_extracted(self, run: Run, night: Night) -> None:
        """With --extract: its keys and values to a file beside the backups, compared with the running cluster."""
        nights.extract_prefix(run, night)

    def test_given_a_machine_can_boot_it(self, run: Run, night: Night) -> None:
        """`verify.host`, else the configuration server: with etcd, root's program of the proof, and memory, or a
        disk that takes it. No member's that is not named."""
        nights.a_host_can_boot_it(run, night)

    def test_when_the_machine_is_made_ready(self, run: Run, night: Night) -> None:
        """What a proof that was cut off left there ends, and goes."""
        nights.make_ready(run, night)

    def test_when_it_is_booted_as_it_is(self, run: Run, night: Night) -> None:
        """Brought there, held to `verify.rate`, and proven by its SHA-256; with it every role's password. One member
        under a token of its own, in isolation, without bump or compaction mark."""
        nights.boot_as_it_is(run, night)

    def test_then_it_starts(self, run: Run, night: Night) -> None:
        """At the manifest's revision."""
        nights.holds(run, night, proof.BOOTS)

    def test_then_it_is_the_data_that_was_backed_up(self, run: Run, night: Night) -> None:
        """etcd's own hash of all data, where it can be compared; no alarm that makes it nobody's data."""
        nights.holds(run, night, proof.DATA, proof.ASKED, proof.ALARMS, proof.LEASES)

    def test_then_every_password_logs_in(self, run: Run, night: Night) -> None:
        """Every role's, as it is on the configuration server now; a wrong one is refused."""
        nights.holds(run, night, proof.LOGIN, proof.WRONG, remedy=nights.PASSWORDS)

    def test_then_the_keys_are_there(self, run: Run, night: Night) -> None:
        """As many as the inventory expects, in all and by prefix."""
        nights.holds(run, night, proof.KEYS)

    def test_when_it_is_booted_as_a_recovery_would(self, run: Run, night: Night) -> None:
        """Restored once more with the recovery's own flags; in passing, how long that takes."""
        nights.boot_as_recovered(run, night)

    def test_then_that_starts_too(self, run: Run, night: Night) -> None:
        """At the bumped revision."""
        nights.holds(run, night, proof.AS_RECOVERED)

    def test_then_it_is_told_where_passwords_lie(self, run: Run, night: Night) -> None:
        """Role by role: whether the loss of one machine would lock everybody out."""
        nights.where_passwords_are(run, night)

    def test_when_the_host_is_cleared(self, run: Run, night: Night) -> None:
        """Where that was not gone with its unit already."""
        nights.clear(run, night)

    def test_then_nothing_is_left_on_it(self, run: Run, night: Night) -> None:
        """Nothing of it runs there, and no file of it lies there."""
        nights.nothing_is_left(run, night)

    def test_then_it_is_not_too_old(self, run: Run, night: Night) -> None:
        """`snapshot.max_age_hours`: an older one a recovery would not take by itself."""
        nights.it_is_not_old(run, night)

    def test_when_the_proof_is_noted(self, run: Run, night: Night) -> None:
        """Beside the backup's manifest, when and by which run."""
        nights.note_it(run, night)
