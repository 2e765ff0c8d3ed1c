"""The one shape of an error: a sentence for the operator.

Every foreseeable condition ends in a `Refusal` or in one of its children, and the front door prints its text
without a traceback. What it says: where, what was found, what was expected, what to do next.
"""


class Refusal(Exception):  # noqa: N818 - it is what the runbook does, not what went wrong in it
    """A condition that was foreseen. `where` is a host, a file or a field; `remedy` is the next thing to do."""

    def __init__(self, where: str, what: str, remedy: str) -> None:
        self.where = where
        self.what = what
        self.remedy = remedy
        super().__init__(f"{where}: {what}\n    → {remedy}")


class NothingToDo(Refusal):
    """There is nothing to undo or to try again: the same command would say the same."""


class Disproved(Refusal):
    """A Given or a Then that does not hold, on one host or on several."""

    def __init__(self, claim: str, findings: dict[str, str], remedy: str) -> None:
        self.claim = claim
        self.findings = findings
        self.remedy = remedy
        lines = [f"expected: {claim}"]
        lines += [f"    {host}: found {found}" for host, found in sorted(findings.items())]
        lines.append(f"    → {remedy}")
        Exception.__init__(self, "\n".join(lines))
