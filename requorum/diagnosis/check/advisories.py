"""What is publicly known to be wrong with versions of etcd: a small table with its sources, and how it is read.

Not a feed: each row was looked up on the day that it says, and they are what matters to a cluster with authentication,
as Deephaven's is. A
version tells less than it seems, since distributions mend an old version without changing its number; so an advisory
is told and never judged, but for those that let members' data differ: with them no snapshot can be relied on.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date

Release = tuple[int, ...]
LOOKED_UP = date(2026, 11, 23)
OLD_DAYS = 180


@dataclass(frozen=True)
class Advisory:
    """`fixed`: the first good release of each minor series; an older series than all of them was never mended.

    `since`: the first bad release of a series, where the series was not bad from its start. `data`: it lets the data of
    members differ. `source` is where this row can be read, `seen` when it was.
    """

    name: str
    what: str
    fixed: tuple[Release, ...]
    source: str
    since: tuple[Release, ...] = ()
    data: bool = False
    seen: date = LOOKED_UP

    def concerns(self, version: Release) -> bool:
        """Whether `version` has it. A series that is newer than all that were mended came out without it."""
        first = next((start for start in self.since if start[:2] == version[:2]), None)
        if self.since and (first is None or version < first):
            return False
        mended = next((release for release in self.fixed if release[:2] == version[:2]), None)
        return version < mended if mended else version < min(self.fixed)


GHSA = "github.com/etcd-io/etcd/security/advisories"

ADVISORIES = (
    Advisory(
        "etcd-io/etcd#13766",
        "a crash under load lets members' data differ",
        ((3, 5, 3),),
        "github.com/etcd-io/etcd, Documentation/postmortems/v3.5-data-inconsistency.md",
        ((3, 5, 0),),
        data=True,
    ),
    Advisory(
        "etcd crash in defragmentation",
        "a crash while it defragments lets members' data differ",
        ((3, 5, 6),),
        "etcd's announcement, quoted in github.com/kubernetes/kubernetes/pull/114064",
        ((3, 5, 0),),
        data=True,
    ),
    Advisory(
        "etcd-io/etcd#14571",
        "with authentication on, a new member's data differs",
        ((3, 4, 22), (3, 5, 6)),
        "github.com/etcd-io/etcd/issues/14571, github.com/kubernetes/kubernetes/pull/114064",
        ((3, 4, 20), (3, 5, 5)),
        data=True,
    ),
    Advisory(
        "CVE-2021-28235",
        "the debug handler gives credentials away",
        ((3, 4, 25), (3, 5, 8)),
        "github.com/etcd-io/etcd/pull/15648",
    ),
    Advisory(
        "CVE-2023-32082",
        "names of keys are read without permission, by their lease",
        ((3, 4, 26), (3, 5, 9)),
        "osv.dev/vulnerability/BIT-etcd-2023-32082",
    ),
    Advisory(
        "CVE-2026-33413",
        "maintenance, lease and member calls without a login",
        ((3, 4, 42), (3, 5, 28), (3, 6, 9)),
        f"{GHSA}/GHSA-q8m4-xhhv-38mg",
    ),
    Advisory(
        "CVE-2026-33343",
        "a nested transaction passes by all permissions",
        ((3, 4, 42), (3, 5, 28), (3, 6, 9)),
        f"{GHSA}/GHSA-rfx7-8w68-q57q",
    ),
    Advisory(
        "CVE-2026-44283",
        "a put in a transaction reads without permission",
        ((3, 4, 44), (3, 5, 30), (3, 6, 11)),
        f"{GHSA}/GHSA-x35m-3gp4-4fh5",
    ),
    Advisory(
        "CVE-2026-73499",
        "a watch from one permitted key sees all behind it",
        ((3, 5, 33), (3, 6, 14), (3, 7, 1)),
        f"{GHSA}/GHSA-xg4h-6gfc-h4m8",
    ),
)


def release(version: str) -> Release | None:
    """`3.5.16` or `3.6.0-rc.1` as numbers; None for what is no version."""
    found = re.match(r"v?(\d+)\.(\d+)\.(\d+)", version)
    return tuple(map(int, found.groups())) if found else None


def of(version: str) -> tuple[Advisory, ...]:
    """The advisories of an etcd version, oldest first."""
    numbers = release(version)
    return tuple(a for a in ADVISORIES if a.concerns(numbers)) if numbers else ()


def told(advisory: Advisory) -> str:
    """The row in a line."""
    return f"{advisory.name}: {advisory.what} ({advisory.source}, looked up {advisory.seen})"


def old(today: date) -> str:
    """What is to be said of a table that nobody has looked up for long; "" while it is young."""
    last = max(advisory.seen for advisory in ADVISORIES)
    days = (today - last).days
    said = f"the table of advisories was last looked up {last}, {days} days ago: take a newer Requorum"
    return said if days > OLD_DAYS else ""
