"""A plan that a second person approved: what it rests on, and whether that is still so before the lock is taken."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from requorum import version
from requorum.cluster import quorum
from requorum.cluster.etcd import Tools
from requorum.cluster.quorum import Verdict
from requorum.refusal import NotApproved, Refusal
from requorum.run import facts
from requorum.run.dryrun import Planning, seal
from requorum.run.run import Run
from requorum.run.terms import Options
from requorum.snapshots import directory, files, sources
from requorum.snapshots.disks import Disk
from requorum.snapshots.family import Family
from requorum.snapshots.ranking import Candidate
from requorum.snapshots.sources import Sources

VALID = timedelta(hours=24)
AHEAD = timedelta(minutes=5)  # by which the clock of the machine that made it may be before this one's
_ANEW = "make the plan anew (--plan), and have that approved"


@dataclass(frozen=True)
class Approved:
    """`made`: RFC 3339; `basis`: what the plan rests on, by name; `sha256`: of the file, by which people name it."""

    cluster: str
    made: datetime
    basis: Mapping[str, str]
    sha256: str = ""


def read(path: Path) -> Approved:
    """A `plan.json`. Raises `Refusal` for what is none, or rests on nothing."""
    where = f"--approved={path}"
    try:
        data = path.read_bytes()
        told = json.loads(data)
        is_sealed = told["seal"] == seal(told)
        basis = {str(name): str(value) for name, value in told["basis"].items()}
        made = datetime.fromisoformat(told["made"])
        made = made if made.tzinfo else made.replace(tzinfo=UTC)
        approved = Approved(str(told["cluster"]), made, basis, hashlib.sha256(data).hexdigest())
    except OSError as error:
        raise Refusal(where, f"cannot be read: {error.strerror}", f"name a plan.json; or {_ANEW}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Refusal(where, f"is no plan.json of --plan: {error!r}"[:300], f"name one; or {_ANEW}") from None
    if not is_sealed:
        raise Refusal(where, "is not as --plan wrote it: its seal does not fit what it says", _ANEW)
    if not basis:
        raise Refusal(where, "says not what it rests on, since that could not be looked at", _ANEW)
    return approved


def check(path: Path, cluster: str, now: datetime) -> None:
    """What can be seen before any host is asked. Raises `Refusal` for another cluster's plan, and for one too old."""
    approved, where = read(path), f"--approved={path}"
    if approved.cluster != cluster:
        raise Refusal(where, f"is a plan for the cluster {approved.cluster}, not {cluster}", "name this cluster's")
    age = now - approved.made
    if age > VALID:
        hours = age.total_seconds() / 3600
        raise Refusal(where, f"was made {hours:.0f} hours ago, and counts for 24", _ANEW)
    if age < -AHEAD:
        raise Refusal(
            where, f"was made at {approved.made.isoformat()}, which is to come", f"set this machine's clock, or {_ANEW}"
        )
    for what, told in (("it was made by", approved.basis.get("version", "no version")), ("this is", version.told())):
        if not version.is_known(told):
            raise Refusal(
                where, f"nobody can tell of which commit: {what} {told}", f"use a checkout or a bundle; {_ANEW}"
            )


def at_the_lock(run: Run) -> None:
    """A plan keeps what it rests on; a run with --approved proves it, or raises `Disproved` that names what is not."""
    if isinstance(run, Planning):
        try:
            run.basis = basis(run)
        except Refusal as refusal:
            run.journal.record("note", text=f"the plan cannot be approved: {refusal}")
            if run.options.approved is not None:
                raise
    if run.options.approved is None:
        return
    approved, claim = read(run.options.approved), "what the approved plan rests on is so"
    wrong = differences(approved.basis, run.basis if isinstance(run, Planning) else basis(run))
    run.journal.assertion("this machine", claim, "; ".join(f"{name}: {found}" for name, found in wrong.items()) or None)
    if wrong:
        carried_on = "; a run that is carried on needs no plan: leave --approved out" if run.carrying_on else ""
        raise NotApproved(claim, wrong, f"{_ANEW}{carried_on}")
    run.approved = {"path": str(run.options.approved), "made": approved.made.isoformat(), "sha256": approved.sha256}
    run.note(f"{claim}: {run.options.approved}, of {approved.made:%Y-%m-%d %H:%M} UTC, SHA-256 {approved.sha256}")


def differences(approved: Mapping[str, str], now: Mapping[str, str]) -> dict[str, str]:
    """By name, each thing that is not as approved, in words."""
    names = dict.fromkeys((*approved, *now))
    pairs = {name: (now.get(name, "nothing"), approved.get(name, "nothing")) for name in names}
    return {name: f"“{is_now}”, approved was “{was}”" for name, (is_now, was) in pairs.items() if is_now != was}


def basis(run: Run) -> dict[str, str]:
    """By name, what must be the same. Nothing that is measured: no bytes, times, room, tokens to come."""
    tools = facts.tools(run, facts.root_paths(run, run.terms.member_hosts))
    known = facts.stand(run, [member.host for member in run.terms.old_members])
    verdict, data = quorum.decide(facts.diagnose(run, known)), Sources()
    sources.recall(run, data, known=known)
    return {
        **of_command(run.options),
        **of_hosts(verdict, data.disks, tools),
        **of_files(run),
    }


def of_command(options: Options) -> dict[str, str]:
    """Inventory, version and the operator's words, those alone that change what a run does."""
    words = {
        "--snapshot": options.snapshot,
        "--salvage": options.salvage,
        "--skip-hash": options.skip_hash,
        "--rebuild": "given" if options.rebuild else None,
        "--gone": ",".join(sorted(options.gone)),
        "--accept": ",".join(sorted(options.accepted.words)),
    }
    given = {name: str(value) for name, value in words.items() if value}
    return {
        "inventory, SHA-256": options.inventory_sha256,
        "version": version.told(),
        "code, SHA-256": version.contents(),
        **given,
    }


def of_hosts(verdict: Verdict, disks: tuple[Disk, ...], tools: Mapping[str, Tools]) -> dict[str, str]:
    """Per host: its part in quorum, whose data its disk holds and in which state, the tools' versions."""
    found = {"quorum": verdict.kind.value}
    for member in verdict.members:
        place = "" if member.address_in_place or member.gone else "; its address is not in place"
        found[f"etcd on {member.member.host}"] = member.state.value + place
    for disk in disks:
        state = disk.problem or ("whole" if disk.whole else "no data")
        installed = "" if disk.installed else ", of an earlier configuration"
        found[f"{disk.config.data_dir} on {disk.host}"] = f"{disk.lineage}, {state}{installed}"
    for host, tool in tools.items():
        found[f"tools on {host}"] = f"etcd {tool.version}, {tool.restorer}"
    return found


def of_files(run: Run) -> dict[str, str]:
    """The named file and every backup on this machine, by lineage, revision and SHA-256 as their manifests say."""
    inventory = run.inventory
    named = run.options.snapshot or inventory.snapshot.file
    rows = list(files.noted(inventory))
    rows += [files.of_file(Path(named), Family(), decrypt=inventory.snapshot.decrypt)] if named else []
    found = {row.path: _row(row) for row in rows}
    if inventory.snapshot.directory:
        there = directory.contents(Path(inventory.snapshot.directory)).backups
        found |= {str(p): f"no manifest, of {directory.modified(p)}" for p in there if str(p) not in found}
    return {f"source {path}": words for path, words in found.items()}


def _row(row: Candidate) -> str:
    revision = "unknown" if row.revision is None else f"{row.revision:,}"
    sha256 = row.source.sha256 if row.source else row.note.sha256 if row.note else "unknown"
    return f"lineage {row.lineage or 'unknown'}, revision {revision}, SHA-256 {sha256}"
