"""The one shape of an error: a sentence for the operator.

Every foreseeable condition ends in a `Refusal` or in one of its children, and the front door prints its text
without a traceback. What it says: where, what was found, what was expected, what to do next.
"""

from __future__ import annotations


class Remedy(str):
    """What to do next. `first`: the same in a few words, for the last lines of a run; `by_hand`: what is run as root
    on every host at fault."""

    __slots__ = ("by_hand", "first")
    first: str
    by_hand: tuple[tuple[str, ...], ...]


def remedy(text: str, *by_hand: tuple[str, ...], first: str = "") -> Remedy:
    made = Remedy(text)
    made.first, made.by_hand = first, by_hand
    return made


class Refusal(Exception):  # noqa: N818 - it is what the runbook does, not what went wrong in it
    """A condition that was foreseen. `where` is a host, a file or a field; `remedy` is the next thing to do."""

    brief = ""  # `what` without a command line and without what the host said
    said = ""  # the host's own words, whole
    news = ""  # where a refusal is good news: that, in a sentence
    hosts: tuple[str, ...] = ()  # at fault, where `where` or the findings name others too
    parts: tuple[Refusal, ...] = ()  # of an error that joins several

    def __init__(self, where: str, what: str, remedy: str) -> None:
        self.where = where
        self.what = what
        self.remedy = remedy
        super().__init__(f"{where}: {what}\n    → {remedy}")


class NothingToDo(Refusal):
    """There is nothing to undo or to try again: the same command would say the same."""


class Disproved(Refusal):
    """A Given or a Then that does not hold, on one host or on several."""

    anew = True  # whether the same data, restored anew, may be right
    asked = False  # whether the host of a finding was only asked: those at fault are named in its words

    def __init__(self, claim: str, findings: dict[str, str], remedy: str) -> None:
        self.where = ", ".join(sorted(findings))
        self.what = claim
        self.claim = claim
        self.findings = findings
        self.remedy = remedy
        lines = [f"expected: {claim}"]
        lines += [f"    {host}: found {found}" for host, found in sorted(findings.items())]
        lines.append(f"    → {remedy}")
        Exception.__init__(self, "\n".join(lines))


class NotApproved(Disproved):
    """Something is not as it was in the plan that was approved."""
