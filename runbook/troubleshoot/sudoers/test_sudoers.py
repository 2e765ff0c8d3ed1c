"""With restricted sudo: is every command that the runbook needs allowed as it is spelled?"""

from __future__ import annotations

from requorum.run.run import Run
from requorum.troubleshoot import sudoers


class TestSudoers:
    """Sudoers. Hold what `sudo -l` says of this login against every command that the runbook runs as root.

    Nothing is changed. The lines that are missing are printed at the end.
    """

    def test_given_the_login_works(self, run: Run) -> None:
        """On every host, without sudo."""
        sudoers.the_login_answers(run)

    def test_then_every_command_is_allowed(self, run: Run) -> None:
        """Word for word, and without a password."""
        sudoers.every_command_is_allowed(run, sudoers.lacking(run))
