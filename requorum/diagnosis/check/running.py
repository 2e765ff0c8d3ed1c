"""Checks of what runs: Deephaven's processes, the cluster as a whole, an unfinished run of ours, the newest backup."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from requorum.cluster import deephaven, etcdctl, quorum
from requorum.cluster.etcd import Address, address
from requorum.cluster.etcdctl import Status
from requorum.cluster.lineage import Lineage
from requorum.cluster.quorum import Installed, MemberFacts, Running
from requorum.diagnosis.check.check import (
    CLUSTER,
    HERE,
    Check,
    Questions,
    Ruling,
    Seen,
    Verdict,
    ruled,
    told,
    unknown,
)
from requorum.diagnosis.check.logins import PATIENT, root_is_refused
from requorum.diagnosis.check.members import ask_addresses, ask_size, metrics, old, sees_leader
from requorum.run import held, history, marker
from requorum.run.run import Run
from requorum.run.terms import Terms
from requorum.snapshots import anew
from requorum.snapshots.vault import Vault, name_a_directory

NOBODY = "no member answers an authenticated user"
_FIRST = "make one: pytest runbook/backup --hosts=NAME, and every night (docs/backup-and-drill.md#as-a-service)"
_MONIT = (
    "correct deephaven.commands.monit_status in the inventory, until that line prints monit's table there as root "
    "(docs/inventory.md#which-account-runs-a-line)"
)


def cluster(terms: Terms) -> tuple[str]:
    return (CLUSTER,)


def here(terms: Terms) -> tuple[str]:
    return (HERE,)


# -- Deephaven ---------------------------------------------------------------------------------------------------


def ask_monit(seen: Seen, host: str) -> Questions:
    return {"processes": deephaven.ask_processes(seen.terms.inventory, host)}


def judge_monit(seen: Seen, host: str) -> Ruling:
    """An etcd that monit brings back fails; processes that are expected up and are not are told."""
    processes = seen.values("monit", host)["processes"]
    if isinstance(processes, str):
        return Ruling(Verdict.FAILS, processes, _MONIT if host in seen.terms.inventory.deephaven.hosts else "")
    wanted = deephaven.expected(processes, seen.last_up.get(host), seen.terms.inventory.expect.off)
    etcds, down = deephaven.supervised_etcd(processes), deephaven.not_up(wanted)
    if etcds:
        return Ruling(Verdict.FAILS, f"monit watches {', '.join(etcds)}")
    if down:
        return told(f"not up: {', '.join(down)}; name in expect.off of the inventory what is off on purpose")
    off = deephaven.not_up({name: status for name, status in processes.items() if name not in wanted})
    words = [f"{', '.join(wanted)} up"] if wanted else []
    words += [f"off as expected: {', '.join(off)}"] if off else []
    return ruled([], "; ".join(words) or ("no process is expected up" if processes else "no monit"))


def keep_what_is_up(run: Run, seen: Seen) -> None:
    """On this machine, for the night: what must be up again. Nothing where there is no directory for backups."""
    directory = run.inventory.snapshot.directory
    up = {host: seen.known("monit", host).get("processes") for host in seen.terms.deephaven_hosts}
    named = {host: tuple(deephaven.up(found)) for host, found in up.items() if isinstance(found, dict)}
    if directory and Path(directory).is_dir():
        Vault(run.inventory).keep_processes({host: names for host, names in named.items() if names})


# -- a run of ours -----------------------------------------------------------------------------------------------


def ask_marks(seen: Seen, subject: str) -> Questions:
    return {host: history.ask_runs(host, seen.terms.inventory.cluster) for host in seen.terms.everyone}


def judge_marks(seen: Seen, subject: str) -> Ruling:
    told = seen.values("unfinished run", subject)
    terms = seen.terms
    if unread := held.unread(told, terms.inventory):
        raise unread
    known = held.hold(told, terms.configuration_server)
    if refusal := held.refusal(known, terms.inventory):
        raise refusal
    mark = marker.to_carry_on(known.marks, outlived=known.outlived)
    found = f"run {mark.run} of {mark.by} got to: {mark.phase.name.lower().replace('_', ' ')}" if mark else ""
    return ruled([found] if mark else [], "none")


# -- the cluster as a whole --------------------------------------------------------------------------------------


def ask_quorum(seen: Seen, subject: str) -> Questions:
    """Of old members that are none any more: the others are asked for other checks."""
    hosts = [host for host in old(seen.terms) if host not in seen.terms.member_hosts]
    asked = {host: {**ask_addresses(seen, host), **ask_size(seen, host)} for host in hosts}
    return {(host, key): question for host, questions in asked.items() for key, question in questions.items()}


def judge_quorum(seen: Seen, subject: str) -> Ruling:
    """Told: what it means is for whoever reads it. One look, where a recovery watches for three elections."""
    verdict = quorum.decide([_sheet(seen, member.host) for member in seen.terms.inventory.old_members])
    return told("; ".join([verdict.kind.value, *(f"{host}: {found}" for host, found in verdict.found().items())]))


def _sheet(seen: Seen, host: str) -> MemberFacts:
    """Of a host whose unit or addresses are not understood nothing may be concluded."""
    member = next(m for m in seen.terms.inventory.old_members if m.host == host)
    known = {**seen.known("etcd", host), **seen.known("disk", host), **seen.known("address", host)}
    known |= {key: value for (at, key), value in seen.known("quorum", CLUSTER).items() if at == host}
    if not {"unit", "addresses"} <= known.keys() or host in seen.locked or host in seen.terms.gone:
        return quorum.sheet(member, "", gone=host in seen.terms.gone)
    installed = Installed(known["unit"], seen.configs.get(host), known["addresses"])
    return quorum.sheet(member, installed, Running(known.get("size"), sees_leader(seen, host)))


def ask_health(seen: Seen, subject: str) -> Questions:
    """Of every member of the running cluster, as Deephaven's root; its own word would not name one that is lost."""
    endpoints, inventory = _endpoints(seen), seen.terms.inventory
    up = [endpoint for endpoint, host in endpoints.items() if sees_leader(seen, host)]
    down = [endpoint for endpoint in endpoints if endpoint not in up]
    patient = {"up": etcdctl.ask_health(inventory, ",".join(up), *PATIENT)} if up else {}
    return patient | ({"down": etcdctl.ask_health(inventory, ",".join(down))} if down else {})


def _endpoints(seen: Seen) -> dict[str, str]:
    """Client URL → host, of the members of the running cluster."""
    found = {}
    for member in seen.terms.old_members:
        config = seen.configs.get(member.host)
        scheme = address(config.client_urls[0]).scheme if config else "https"
        found[Address(scheme, member.ip, seen.terms.inventory.etcd.client_port).url] = member.host
    return found


def judge_health(seen: Seen, subject: str) -> Ruling:
    said = _said(seen)
    if not healthy(seen) and root_is_refused(seen):
        return unknown("etcd refuses root's password")
    if not healthy(seen) and (wrong := _no_root(seen)):
        return wrong
    if not said:
        return Ruling(Verdict.FAILS, f"{NOBODY}: {'; '.join(seen.refused('health', subject).values())}")
    sick = {host: said.get(endpoint, "no answer") for endpoint, host in _endpoints(seen).items()}
    return ruled([f"{host}: {error}" for host, error in sick.items() if error], ", ".join(sick))


def _no_root(seen: Seen) -> Ruling | None:
    """Where the machine that asks etcd as root cannot: then nothing is known of the members, whatever etcdctl says."""
    dh = seen.terms.inventory.deephaven
    server = dh.configuration_server
    told = {host: seen.known("client files", host).get("passwords") for host in seen.terms.deephaven_hosts}
    roles = told.get(server)
    if roles is None or "root" in roles:
        return None
    others = [host for host, roles in told.items() if roles and "root" in roles]
    has = f", {', '.join(others)} has" if others else ""
    remedy = "correct deephaven.configuration_server in the inventory" + (f": {others[0]}" if others else "")
    words = f"{server} has no role root below {dh.client_config}{has}: is deephaven.configuration_server right?"
    return Ruling(Verdict.FAILS, words, remedy if others else f"{remedy}, or deephaven.client_config")


def healthy(seen: Seen) -> list[str]:
    """Endpoints of the members that answer an authenticated user."""
    said = _said(seen)
    return [endpoint for endpoint in _endpoints(seen) if endpoint in said and said[endpoint] is None]


def _said(seen: Seen) -> dict[str, str | None]:
    """Endpoint → None when healthy, else its error; without those of which etcdctl said nothing."""
    values = seen.known("health", CLUSTER).values()
    return {endpoint: error for said in values for endpoint, error in said.items()}


def ask_status(seen: Seen, subject: str) -> Questions:
    """One call each: a token of one member may come too early to another, which then knows no such token."""
    return {endpoint: etcdctl.ask_member(seen.terms.inventory, endpoint, *PATIENT) for endpoint in healthy(seen)}


def statuses(seen: Seen) -> dict[str, Status]:
    """Endpoint → status, of the members that gave one."""
    return dict(seen.known("one cluster", CLUSTER))


def judge_one_cluster(seen: Seen, subject: str) -> Ruling:
    if not healthy(seen):
        return unknown(NOBODY)
    hosts = _endpoints(seen)
    problems = [f"{hosts[endpoint]}: {words}" for endpoint, words in seen.refused("one cluster", subject).items()]
    found = {hosts[endpoint]: status for endpoint, status in statuses(seen).items()}
    if len({status.cluster_id for status in found.values()}) > 1:
        problems.append("they are several clusters")
    if len({status.leader for status in found.values()}) > 1:
        problems.append("they name several leaders")
    versions = {status.version for status in found.values()}
    if len(versions) > 1:
        problems.append(", ".join(f"{host} runs {status.version}" for host, status in found.items()))
    problems += [f"{host}: {error}" for host, status in found.items() for error in status.errors]
    leader = next((host for host, s in found.items() if s.member_id == s.leader), "another member")
    return ruled(problems, f"{len(found)} members of etcd {', '.join(versions)}, led by {leader}")


def judge_history(seen: Seen, subject: str) -> Ruling:
    """What `/metrics` and the manifests say needs no login."""
    said = {host: metrics(seen, host) for host in old(seen.terms)}
    revisions = {host: one.revision for host, one in said.items() if one.has_leader and one.revision is not None}
    if not seen.backups:
        return told("no manifest of a backup to hold it against")
    if not revisions:
        return unknown("no member that sees a leader says its revision")
    host = max(revisions, key=lambda host: revisions[host])
    lineage = Lineage(seen.configs[host].token, next((s.cluster_id for s in statuses(seen).values()), None))
    found = anew.began_anew(revisions[host], lineage, seen.backups)
    return ruled([f"the cluster {found}"] if found else [], f"at revision {revisions[host]:,}, behind no manifest")


def ask_hashes(seen: Seen, subject: str) -> Questions:
    """At the lowest revision that the members had, since Deephaven writes on; one call each, as for the status."""
    found = statuses(seen)
    revision = min((status.revision for status in found.values()), default=0)
    inventory = seen.terms.inventory
    return {endpoint: etcdctl.ask_hash(inventory, endpoint, revision, *etcdctl.HASHING) for endpoint in found}


def judge_hashes(seen: Seen, subject: str) -> Ruling:
    hashes, hosts = seen.known("hashkv", subject), _endpoints(seen)
    problems = [f"{hosts[endpoint]}: {words}" for endpoint, words in seen.refused("hashkv", subject).items()]
    if not hashes and not problems:
        return unknown(NOBODY)
    if len(set(hashes.values())) > 1:
        problems += [f"{hosts[endpoint]}: {digest}" for endpoint, digest in sorted(hashes.items())]
    revision = min((status.revision for status in statuses(seen).values()), default=0)
    return ruled(problems, f"{next(iter(hashes.values()), '')} on {len(hashes)} members at revision {revision:,}")


def _ranges(seen: Seen) -> dict[str, tuple[int, int | None]]:
    expect = seen.terms.inventory.expect
    return {"": (expect.min_keys, None), **{prefix: (span.min, span.max) for prefix, span in expect.prefixes.items()}}


def ask_keys(seen: Seen, subject: str) -> Questions:
    if not healthy(seen):
        return {}
    return {prefix: etcdctl.ask_count(seen.terms.inventory, prefix, *PATIENT) for prefix in _ranges(seen)}


def judge_keys(seen: Seen, subject: str) -> Ruling:
    counts, good = seen.known("keys", subject), []
    refused = seen.refused("keys", subject).items()
    problems = [f"{f'under {prefix}' if prefix else 'in all'}: {words}" for prefix, words in refused]
    if not counts and not problems:
        return unknown(NOBODY)
    for prefix, count in counts.items():
        where, (least, most) = f"under {prefix}" if prefix else "in all", _ranges(seen)[prefix]
        if count < least or (most is not None and count > most):
            wanted = f"at least {least:,}" if most is None else f"{least:,} to {most:,}"
            problems.append(f"{count:,} {where}, expected {wanted}")
        else:
            good.append(f"{count:,} {where}")
    return ruled(problems, ", ".join(good))


# -- the backup --------------------------------------------------------------------------------------------------


def judge_backup(seen: Seen, subject: str) -> Ruling:
    backup, limit = seen.backup, seen.terms.inventory.snapshot.max_age_hours
    if backup is None and not (seen.terms.inventory.snapshot.directory or seen.terms.inventory.snapshot.file):
        return Ruling(Verdict.FAILS, seen.no_backup, name_a_directory(seen.terms.inventory, seen.file))
    if backup is None:
        return Ruling(Verdict.FAILS, seen.no_backup, _FIRST)
    if backup.problem:
        return ruled([f"{backup.path} {backup.problem}"], "")
    hours = (seen.now - datetime.fromisoformat(backup.taken)).total_seconds() / 3600
    name = backup.path.rsplit("/", 1)[-1]
    problems = [f"{name} is {hours:.0f} h old"] if hours > limit else []
    return ruled(problems, f"{name}, {hours:.1f} h old, {backup.bytes or 0:,} bytes, SHA-256 is right")


CHECKS = (
    Check(
        "monit",
        "monit can be understood, and supervises no etcd, which it would bring back",
        "run `monit unmonitor NAME` there, or take its file out of monit's configuration",
        lambda terms: terms.everyone,
        judge_monit,
        ask_monit,
    ),
    Check(
        "unfinished run",
        "no run of the runbook is unfinished",
        "pytest runbook --hosts=NAME carries it on; if people finished it: pytest runbook/close --hosts=NAME; "
        "or give it up (docs/night.md#giving-a-run-up)",
        cluster,
        judge_marks,
        ask_marks,
    ),
    Check("quorum", "whether there is a quorum", "", cluster, judge_quorum, ask_quorum, always=True),
    Check(
        "health",
        "every member is healthy for an authenticated user",
        "read `journalctl --no-pager -u {i.etcd.unit}` on the member; if quorum is lost: pytest runbook --hosts=NAME",
        cluster,
        judge_health,
        ask_health,
        round=2,
    ),
    Check(
        "one cluster",
        "the healthy members are one cluster with one leader, one version and no alarm",
        "change nothing before that is understood",
        cluster,
        judge_one_cluster,
        ask_status,
        round=3,
    ),
    Check(
        "history",
        "the cluster's data did not begin anew after its newest backup",
        "find out which disks were lost (docs/data.md#a-cluster-that-began-anew); " + anew.ways("NAME"),
        cluster,
        judge_history,
        always=True,
    ),
    Check(
        "hashkv",
        "all healthy members hold the same data",
        "change nothing: where members hold different data, a snapshot of one lacks what another has",
        cluster,
        judge_hashes,
        ask_hashes,
        round=4,
    ),
    Check(
        "keys",
        "as many keys as the inventory expects",
        "correct expect in the inventory, or find out who removed them",
        cluster,
        judge_keys,
        ask_keys,
        round=3,
    ),
    Check(
        "backup",
        "the newest backup is whole and not older than {i.snapshot.max_age_hours:g} h",
        "run pytest runbook/backup --hosts=NAME, and see why the nightly one did not",
        here,
        judge_backup,
    ),
)
