"""Everything that can be asserted without changing anything, before a change: `pytest runbook --hosts=NAME --check`."""

from __future__ import annotations

import pytest

from requorum.diagnosis.check import survey
from requorum.diagnosis.check.check import Case, Finding, Verdict, judge
from requorum.refusal import Disproved, Refusal
from requorum.run.run import Run
from runbook.check.conftest import Inspection


class TestCheck:
    """Check. Look at everything that a change or a recovery relies on; nothing is changed on any host.

    No lock, no confirmation, no mark and no line in a syslog. Every finding counts, not only the first.
    """

    def test_given_every_host_is_asked(self, run: Run, inspection: Inspection, checked: list[Case]) -> None:
        """All questions of all checks, all hosts at the same time. Who does not answer is a finding, not an end."""
        inspection.seen = survey.take(run, checked)

    def test_then_it_holds(self, run: Run, inspection: Inspection, case: Case) -> None:
        """One check of one host. What could not be asked is skipped: what stands in its way is a finding of its own."""
        if inspection.seen is None:
            raise Refusal("the check", "the hosts were not asked", "see above why")
        finding = judge(case, inspection.seen)
        inspection.findings.append(finding)
        _report(run, finding)


def _report(run: Run, finding: Finding) -> None:
    """As a proof in the journal, and as a case of junit."""
    run.note(f"{finding.host}, {finding.check}: {finding.found}")
    if finding.verdict == Verdict.UNKNOWN.value:
        pytest.skip(finding.found)
    if finding.verdict != Verdict.TOLD.value:
        failed = finding.verdict == Verdict.FAILS.value
        run.journal.assertion(finding.host, finding.expected, finding.found if failed else None)
        if failed:
            raise Disproved(finding.expected, {finding.host: finding.found}, finding.remedy)
