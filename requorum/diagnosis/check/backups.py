"""Checks of the backups themselves: what lies off-site, and which members are in them."""

from __future__ import annotations

from collections.abc import Iterable

from requorum.diagnosis.check.check import CLUSTER, HERE, Check, Questions, Ruling, Seen, ruled, told, unknown
from requorum.run.terms import Terms
from requorum.snapshots import offsite
from requorum.snapshots.offsite import There
from requorum.verify import live, program

SHOWN = 3  # names of several


def ask_members(seen: Seen, subject: str) -> Questions:
    source = seen.backup.source if seen.backup else None
    return {"members": live.ask(seen.terms.inventory)} if source and source.members else {}


def judge_members(seen: Seen, subject: str) -> Ruling:
    """By number: the same name and address may have come back as another member."""
    running = seen.values("zombie members", subject).get("members")
    if seen.backup is None or running is None:
        return told("no backup whose members were read to hold them against")
    found = live.zombies(seen.backup, running)
    if isinstance(found, str):
        return unknown(found)
    say = f"the backup of {seen.backup.taken} has {live.named(found)}: removed since then, or a zombie"
    return ruled([say] if found else [], "each of its members is in the running cluster's list")


def ask_program(seen: Seen, subject: str) -> Questions:
    return {"program": program.ask_installed(subject, seen.terms.inventory)}


def judge_program(seen: Seen, subject: str) -> Ruling:
    """Nobody has to prove backups here; whoever does hears that tonight's proof would refuse."""
    asked = seen.values("proof's program", subject)
    if "program" not in asked:
        return unknown("it was not asked")
    found = asked["program"]
    return (
        told(f"{found}: no proof runs until ./setup hosts {seen.hosts}")
        if found
        else ruled([], "as this version has it")
    )


def has_a_list(terms: Terms) -> Iterable[str]:
    return (HERE,) if terms.inventory.offsite.list else ()


def judge_off_site(seen: Seen, subject: str) -> Ruling:
    there = seen.off_site
    if not isinstance(there, There):
        return ruled([there or "it was not asked"], "")
    if not there.names:
        return ruled(["no backup of this cluster with a manifest lies there"], "")
    names, ahead = offsite.in_order(there.names, seen.now)
    hours = (seen.now - offsite.taken(names[0])).total_seconds() / 3600
    limit = seen.terms.inventory.snapshot.max_age_hours
    problems = [f"the newest there, {names[0]}, is {hours:.0f} h old"] if hours > limit else []
    problems += [f"{_few(ahead)} {offsite.LATER}"] if ahead else []
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
        "zombie members",
        "the newest backup has no member that the running cluster does not know",
        f"if it was removed after that backup, nothing; else {live.MENDS}",
        lambda terms: (CLUSTER,),
        judge_members,
        ask_members,
    ),
    Check(
        "proof's program",
        "root keeps the program of the nightly proof there",
        program.REMEDY,
        lambda terms: program.hosts(terms.inventory),
        judge_program,
        ask_program,
    ),
    Check(
        "off-site",
        "the newest backup off-site is not older than {i.snapshot.max_age_hours:g} h, and none lies there in vain",
        "see what pytest runbook/backup says of sending it; what is beyond snapshot.keep is yours to remove, since "
        "nothing off-site is ever deleted by a run",
        has_a_list,
        judge_off_site,
    ),
)
