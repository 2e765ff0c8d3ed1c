"""What one check is: its questions under their keys, and a pure judgement of their values."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any

from requorum.cluster.etcd import MemberConfig
from requorum.hosts.clock import Reading
from requorum.hosts.question import Question
from requorum.refusal import Refusal
from requorum.run.terms import Terms
from requorum.snapshots.offsite import There
from requorum.snapshots.ranking import Candidate

CLUSTER = "the cluster"
HERE = "this machine"

Questions = Mapping[Any, Question[Any]]
Values = Mapping[Any, Any]


class Verdict(Enum):
    """`TOLD` is a fact that nobody judges. `UNKNOWN` could not be asked, and whatever is in the way is a FAILS."""

    HOLDS = "holds"
    FAILS = "fails"
    TOLD = "told"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Ruling:
    """What a check says of one subject. `remedy`: in place of the check's."""

    verdict: Verdict
    found: str
    remedy: str = ""


def ruled(problems: Iterable[str], good: str) -> Ruling:
    """Fails with all problems, holds where there is none."""
    found = "; ".join(problems)
    return Ruling(Verdict.FAILS, found) if found else Ruling(Verdict.HOLDS, good)


def told(found: str) -> Ruling:
    return Ruling(Verdict.TOLD, found)


def unknown(found: str) -> Ruling:
    return Ruling(Verdict.UNKNOWN, found)


@dataclass(frozen=True)
class Seen:
    """All that was found. `silent` and `locked`: host → why it does not answer, why sudo refuses;
    `logins`: what is odd of one; `remedies`: what helps a silent one, as the fleet has it.

    `answers`: (check, subject) → its questions' values, or a `Refusal`, without those that never came back.
    `backup` is the newest one, verified; None with `no_backup` saying why; `backups` are all of them as their manifests
    say. `without_file`: hosts whose unit configures etcd by
    flags and environment. `last_up`: Deephaven's processes by host, when all was well. `now` is this machine's clock.
    """

    terms: Terms
    now: datetime
    silent: Mapping[str, str] = field(default_factory=dict)
    locked: Mapping[str, str] = field(default_factory=dict)
    logins: Mapping[str, str] = field(default_factory=dict)
    remedies: Mapping[str, str] = field(default_factory=dict)
    clocks: Mapping[str, Reading] = field(default_factory=dict)
    configs: Mapping[str, MemberConfig] = field(default_factory=dict)
    broken_configs: Mapping[str, str] = field(default_factory=dict)
    without_file: frozenset[str] = frozenset()
    backup: Candidate | None = None
    no_backup: str = ""
    backups: tuple[Candidate, ...] = ()
    last_up: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    off_site: There | str | None = None  # why it is not known; None where there is nothing to ask
    answers: Mapping[tuple[str, str], Values] = field(default_factory=dict)
    scale: float = 1.0  # of every deadline
    hosts: str = "NAME"  # the inventory as it was named
    file: str = "the inventory"  # as it lies on this machine

    def values(self, check: str, subject: str) -> Values:
        """What a check's questions gave, by their keys. Raises the `Refusal` of one that was not understood."""
        found = self.answers.get((check, subject), {})
        for value in found.values():
            if isinstance(value, Refusal):
                raise value
        return found

    def known(self, check: str, subject: str) -> Values:
        """The same without those that were not understood, which the check itself tells."""
        found = self.answers.get((check, subject), {})
        return {key: value for key, value in found.items() if not isinstance(value, Refusal)}

    def refused(self, check: str, subject: str) -> dict[Any, str]:
        """Why the others of them were not, by their keys."""
        found = self.answers.get((check, subject), {})
        return {key: value.what for key, value in found.items() if isinstance(value, Refusal)}

    def everyone(self) -> tuple[str, ...]:
        """Every machine of the inventory, spares included, but those that are gone."""
        return tuple(host for host in self.terms.inventory.hosts if host not in self.terms.gone)


def nothing(seen: Seen, subject: str) -> Questions:
    """The questions of a check that needs none of its own."""
    return {}


@dataclass(frozen=True)
class Check:
    """One thing that must hold of some subjects: hosts, `CLUSTER` or `HERE`.

    `claim` and `remedy` are for the operator; in both, `{i}` is the inventory. `ask` plans its questions once the
    members' configurations are known; in a later `round` they may use the values of those before. `judge` gets the
    subject only when somebody could be asked, but for `always`.
    """

    name: str
    claim: str
    remedy: str
    subjects: Callable[[Terms], Iterable[str]]
    judge: Callable[[Seen, str], Ruling]
    ask: Callable[[Seen, str], Questions] = nothing
    round: int = 1
    always: bool = False


@dataclass(frozen=True)
class Case:
    """One check of one subject: one finding, one case of junit."""

    check: Check
    subject: str

    def __str__(self) -> str:
        return f"{self.check.name} on {self.subject}"


@dataclass(frozen=True)
class Finding:
    """What was found on `host`, a machine, `CLUSTER` or `HERE`. `remedy` is empty but for what fails."""

    host: str
    check: str
    verdict: str
    expected: str
    found: str
    remedy: str = ""


def judge(case: Case, seen: Seen) -> Finding:
    """One finding. A `Refusal` of a reader is what was found, too."""
    check, subject = case.check, case.subject
    remedy = check.remedy.format(i=seen.terms.inventory)
    try:
        ruling = _in_the_way(case, seen) or check.judge(seen, subject)
        remedy = ruling.remedy or remedy
    except Refusal as refusal:
        ruling, remedy = Ruling(Verdict.FAILS, f"{refusal.where}: {refusal.what}"), refusal.remedy
    expected = check.claim.format(i=seen.terms.inventory)
    fails = ruling.verdict is Verdict.FAILS
    remedy = remedy.replace("--hosts=NAME", f"--hosts={shlex.quote(seen.hosts)}") if fails else ""
    return Finding(subject, check.name, ruling.verdict.value, expected, ruling.found, remedy)


WORDS = {  # of one, of several
    "holds": ("holds", "hold"),
    "fails": ("fails", "fail"),
    "told": ("is a fact for you to judge", "are facts for you to judge"),
    "unknown": ("could not be asked", "could not be asked"),
}


def counted(findings: Sequence[Finding]) -> str:
    """`66 findings: 61 hold, 2 fail, 3 are facts for you to judge`."""
    counts = Counter(finding.verdict for finding in findings)
    words = [f"{counts[verdict]} {word[counts[verdict] > 1]}" for verdict, word in WORDS.items() if counts[verdict]]
    return f"{len(findings)} findings: {', '.join(words)}"


def _in_the_way(case: Case, seen: Seen) -> Ruling | None:
    """Why the check cannot be made: nobody whom it asks answers, or lets us in."""
    if case.check.always:
        return None
    if case.subject in seen.silent:
        return unknown("it does not answer")
    commands = [c for question in case.check.ask(seen, case.subject).values() for c in question.commands]
    if commands and all(command.host in seen.silent for command in commands):
        return unknown(f"{commands[0].host} does not answer")
    if any(command.root for command in commands) and all(
        command.host in seen.silent or command.host in seen.locked for command in commands
    ):
        return unknown(f"sudo refuses on {commands[0].host}")
    return None
