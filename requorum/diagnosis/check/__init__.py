"""`--check`: everything that can be asserted without changing anything. The list of checks, and the cases they make.

`check` says what a check is, `machines`, `members`, `leftovers`, `files`, `logins`, `running` and `backups` hold them;
`survey` asks. A further check is one more entry in `CHECKS`.
"""

from __future__ import annotations

from requorum.diagnosis.check import backups, files, leftovers, logins, machines, members, running
from requorum.diagnosis.check.check import CLUSTER, HERE, Case, Check
from requorum.run.terms import Terms

CHECKS: tuple[Check, ...] = (
    *machines.CHECKS,
    *members.CHECKS,
    *leftovers.CHECKS,
    *files.CHECKS,
    *logins.CHECKS,
    *running.CHECKS,
    *backups.CHECKS,
)


def cases(terms: Terms, checks: tuple[Check, ...] = CHECKS) -> list[Case]:
    """Every check of every subject, subject by subject: hosts as the inventory lists them, then cluster and backup."""
    order = [*terms.inventory.hosts, CLUSTER, HERE]
    found = [Case(check, subject) for check in checks for subject in check.subjects(terms)]
    return sorted(found, key=lambda case: order.index(case.subject))
