"""What the stages of one check share: all that was seen, and what it means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

import pytest

from requorum.diagnosis.check import running
from requorum.diagnosis.check.check import Finding, Seen, Verdict, counted
from requorum.run import estimate, measured
from requorum.run.run import Run, Section


@dataclass
class Inspection:
    """`seen`: what the hosts said, None until they were asked; `findings`: what that means, case by case."""

    seen: Seen | None = None
    findings: list[Finding] = field(default_factory=list)

    def fields(self) -> dict[str, object]:
        """Of `summary.json`."""
        return {"findings": [asdict(finding) for finding in self.findings]}


@pytest.fixture(scope="session")
def inspection(_run: Run, pytestconfig: pytest.Config) -> Inspection:
    """Handed in for the summary and to the reporter, which draws the tables when the run has ended."""
    inspection = Inspection()

    def closing() -> Sequence[str]:
        findings, seen = inspection.findings, inspection.seen
        good = {Verdict.HOLDS.value, Verdict.TOLD.value}
        if seen is not None and findings and {finding.verdict for finding in findings} <= good:
            running.keep_what_is_up(_run, seen)
        if not findings:
            return []
        size = (seen.backup.bytes if seen is not None and seen.backup is not None else None) or 0
        place = _run.journal.directory
        told = estimate.whole(size, len(_run.inventory.members), measured.known(place.parent, place)).told
        return [f"Checked in {_run.seconds:.1f} s. {counted(findings)}.", f"A recovery from the newest backup: {told}."]

    _run.hand_in(Section(inspection.fields, closing))
    reporter = pytestconfig.pluginmanager.getplugin("terminalreporter")
    if hasattr(reporter, "findings"):  # a check's; a plain one, as with `--collect-only`, draws none
        reporter.findings = inspection.findings
    return inspection
