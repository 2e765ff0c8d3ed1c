"""What is wrong, in order of likelihood, and what to do next. It changes nothing."""

from __future__ import annotations

from requorum.diagnosis import causes, examination
from requorum.diagnosis.logs import collection
from requorum.run.run import Run
from runbook.troubleshoot.diagnose.conftest import Diagnosis

HEALTHY = "Healthy: nothing is wrong."


class TestDiagnose:
    """Diagnose. Look at everything, say what is wrong, the likeliest root first, and which command is next.

    A host that does not answer is a finding like any other. The exit code is 0 when it could look, whatever it found.
    """

    def test_given_somebody_answers(self, run: Run, diagnosis: Diagnosis) -> None:
        """Some hosts may be silent, that is a finding; all of them say more of this machine than of the cluster."""
        diagnosis.silent, diagnosis.clocks = examination.reach(run)
        collection.somebody_answers(run, diagnosis.silent)

    def test_when_everything_is_looked_at(self, run: Run, diagnosis: Diagnosis) -> None:
        """Units, configuration, disks, certificates, data, peers, logins, marks of a run: on all hosts at once."""
        sheet = diagnosis.sheet = examination.sheet(run, diagnosis.silent, diagnosis.clocks)
        run.touched += [host for host in run.terms.everyone if host not in sheet.silent]
        for host, found in sheet.verdict.found().items():
            run.note(f"{host}: {found}")
        run.note(f"verdict: {sheet.verdict.kind.value}")
        for what in sheet.unseen:
            run.note(f"not looked at: {what}")

    def test_then_the_causes_are_named(self, run: Run, diagnosis: Diagnosis) -> None:
        """What makes other things fail stands before what it makes fail."""
        assert diagnosis.sheet
        diagnosis.causes = causes.named(diagnosis.sheet)
        for number, cause in enumerate(diagnosis.causes, start=1):
            run.last_words += cause.lines(number)
            run.note(f"{number}. {cause.name}: {cause.what}")
        if not diagnosis.causes:
            unseen = "; ".join(diagnosis.sheet.unseen)
            words = f"No cause was found, but not all could be looked at: {unseen}" if unseen else HEALTHY
            run.note(words)
            run.last_words.append(words)
