"""What is wrong, in order of likelihood, and what to do next. It changes nothing."""

from __future__ import annotations

from requorum import causes, examination
from requorum.cluster import Cluster
from requorum.proofs import collected
from runbook.troubleshoot.diagnose.conftest import Diagnosis

HEALTHY = "Healthy: nothing is wrong."


class TestDiagnose:
    """Diagnose. Look at everything, say what is wrong, the likeliest root first, and which command is next.

    A host that does not answer is a finding like any other. The exit code is 0 when it could look, whatever it found.
    """

    def test_given_somebody_answers(self, cluster: Cluster, diagnosis: Diagnosis) -> None:
        """Some hosts may be silent, that is a finding; all of them say more of this machine than of the cluster."""
        diagnosis.silent, diagnosis.clocks = examination.reach(cluster)
        collected.somebody_answers(cluster, diagnosis.silent)

    def test_when_everything_is_looked_at(self, cluster: Cluster, diagnosis: Diagnosis) -> None:
        """Units, configuration, disks, certificates, data, peers, logins, marks of a run: on all hosts at once."""
        sheet = diagnosis.sheet = examination.sheet(cluster, diagnosis.silent, diagnosis.clocks)
        cluster.touched += [host for host in cluster.terms.everyone if host not in sheet.silent]
        for host, found in sheet.verdict.found().items():
            cluster.note(f"{host}: {found}")
        cluster.note(f"verdict: {sheet.verdict.kind.value}")
        for what in sheet.unseen:
            cluster.note(f"not looked at: {what}")

    def test_then_the_causes_are_named(self, cluster: Cluster, diagnosis: Diagnosis) -> None:
        """What makes other things fail stands before what it makes fail."""
        assert diagnosis.sheet
        cluster.known.causes = causes.named(diagnosis.sheet)
        for number, cause in enumerate(cluster.known.causes, start=1):
            cluster.last_words += cause.lines(number)
            cluster.note(f"{number}. {cause.name}: {cause.what}")
        if not cluster.known.causes:
            unseen = "; ".join(diagnosis.sheet.unseen)
            words = f"No cause was found, but not all could be looked at: {unseen}" if unseen else HEALTHY
            cluster.note(words)
            cluster.last_words.append(words)
