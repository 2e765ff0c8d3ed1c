"""Checks of the backups themselves: what lies off-site."""

from __future__ import annotations

from collections.abc import Iterable

from requorum.diagnosis.check.check import HERE, Check, Ruling, Seen, ruled
from requorum.run.terms import Terms
from requorum.snapshots import offsite
from requorum.snapshots.offsite import There

SHOWN = 3  # names of several


def has_a_list(terms: Terms) -> Iterable[str]:
    return (HERE,) if terms.inventory.offsite.list else ()


def judge_off_site(seen: Seen, subject: str) -> Ruling:
    there = seen.off_site
    if not isinstance(there, There):
        return ruled([there or "it was not asked"], "")
    if not there.names:
        return ruled(["no backup of this cluster with a manifest lies there"], "")
    hours = (seen.now - offsite.taken(there.names[0])).total_seconds() / 3600
    limit = seen.terms.inventory.snapshot.max_age_hours
    problems = [f"the newest there, {there.names[0]}, is {hours:.0f} h old"] if hours > limit else []
    going = offsite.beyond_keep(seen.terms.inventory, there)
    problems += [f"{len(going)} lie there beyond snapshot.keep: {_few(going)}"] if going else []
    problems += [f"without a manifest, so that nothing proves them: {_few(there.bare)}"] if there.bare else []
    problems += [f"{there.odd} names there are no plain file names"] if there.odd else []
    return ruled(problems, f"{len(there.names)}, the newest {hours:.1f} h old; their contents were not looked at")


def _few(names: Iterable[str]) -> str:
    found = list(names)
    return f"{', '.join(found[:SHOWN])}{', …' * (len(found) > SHOWN)}"


CHECKS = (
    Check(
        "off-site",
        "the newest backup off-site is not older than {i.snapshot.max_age_hours:g} h, and none lies there in vain",
        "see what pytest runbook/backup says of sending it; what is beyond snapshot.keep is yours to remove, since "
        "nothing off-site is ever deleted by a run",
        has_a_list,
        judge_off_site,
    ),
)
