"""Checks of what runs: Deephaven's processes, the cluster as a whole, an unfinished run of ours, the newest backup."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime

from requorum.cluster import deephaven, etcd, etcdctl, quorum
from requorum.cluster.etcdctl import Status
from requorum.cluster.quorum import MemberFacts
from requorum.command import LONG, SHORT, Command, Result
from requorum.diagnosis.check.check import CLUSTER, HERE, Check, Ruling, Seen, Verdict, ruled, told, unknown
from requorum.diagnosis.check.members import sees_leader
from requorum.hosts import system, systemd
from requorum.run import history, marker
from requorum.run.terms import Terms

# A login takes a bcrypt of etcd's own, which on a busy machine takes longer than etcdctl's 2 s.
PATIENT = ("--dial-timeout=20s", "--command-timeout=20s")
NOBODY = "no member answers an authenticated user"


def cluster(terms: Terms) -> tuple[str]:
    return (CLUSTER,)


def here(terms: Terms) -> tuple[str]:
    return (HERE,)


# -- Deephaven ---------------------------------------------------------------------------------------------------


def ask_monit(seen: Seen, host: str) -> list[Command]:
    if host in seen.terms.deephaven_hosts:
        return [deephaven.ask_monit(seen.terms.inventory, host)]
    return [deephaven.ask_etcd_in_monit(host)]


def judge_monit(seen: Seen, host: str) -> Ruling:
    """An etcd that monit brings back fails; processes that are not up are told: they may be off on purpose."""
    (answer,) = seen.answers_of("monit", host)
    text = answer.stdout + answer.stderr
    if deephaven.silent(answer.code, text) if host in seen.terms.deephaven_hosts else answer.code != 0:
        return Ruling(Verdict.FAILS, f"monit cannot be understood: {answer.words}")
    processes = deephaven.parse_monit(answer.stdout)
    etcds, off = deephaven.supervised_etcd(processes), deephaven.not_up(processes)
    if etcds:
        return Ruling(Verdict.FAILS, f"monit watches {', '.join(etcds)}")
    if off:
        return told(f"not up: {', '.join(off)}")
    return ruled([], f"{', '.join(processes)} up" if processes else "no monit")


# -- a run of ours -----------------------------------------------------------------------------------------------


def ask_marks(seen: Seen, subject: str) -> list[Command]:
    name, hosts = seen.terms.inventory.cluster, seen.terms.everyone
    return [command for host in hosts for command in history.ask_runs(host, name).commands]


def judge_marks(seen: Seen, subject: str) -> Ruling:
    said: dict[str, list[Result]] = {}
    for answer in seen.answers_of("unfinished run", subject):
        said.setdefault(answer.command.host, []).append(answer)
    name = seen.terms.inventory.cluster
    told = {host: history.ask_runs(host, name).understand(answers) for host, answers in said.items()}
    mark = marker.to_carry_on(history.marks(told), outlived=history.outlived(told))
    found = f"run {mark.run} of {mark.by} got to: {mark.phase.name.lower().replace('_', ' ')}" if mark else ""
    return ruled([found] if mark else [], "none")


# -- the cluster as a whole --------------------------------------------------------------------------------------


def judge_quorum(seen: Seen, subject: str) -> Ruling:
    """Told: what it means is for whoever reads it. One look, where a recovery watches for three elections."""
    verdict = quorum.decide([_sheet(seen, member.host) for member in seen.terms.inventory.old_members])
    return told("; ".join([verdict.kind.value, *(f"{host}: {found}" for host, found in verdict.found().items())]))


def _sheet(seen: Seen, host: str) -> MemberFacts:
    member = next(m for m in seen.terms.inventory.old_members if m.host == host)
    answers = seen.answers_of("etcd", host)
    if not answers or host in seen.locked or host in seen.terms.gone:
        return MemberFacts(member, gone=host in seen.terms.gone, reached=False)
    sizes = [a for a in seen.answers_of("disk", host) if a.command.argv[0] == "stat" and a.code == 0]
    addresses = seen.answers_of("address", host)
    return MemberFacts(
        member,
        unit=systemd.ask_unit(host, seen.terms.inventory.etcd.unit).understand(answers[:1]),
        config=seen.configs.get(host),
        has_data=bool(sizes),
        addresses=system.ask_addresses(host).understand(addresses) if addresses else (),
        has_leader=sees_leader(seen, host),
    )


def ask_health(seen: Seen, subject: str) -> list[Command]:
    """Of every member of the running cluster, as Deephaven's root; its own word would not name one that is lost."""
    endpoints = _endpoints(seen)
    up = [endpoint for endpoint, host in endpoints.items() if sees_leader(seen, host)]
    down = [endpoint for endpoint in endpoints if endpoint not in up]
    patient, quick = _of_members(seen, up, "health", *PATIENT), _of_members(seen, down, "health")
    return [*([patient] if up else []), *([quick] if down else [])]


def _of_members(seen: Seen, endpoints: list[str], *question: str, deadline: int = SHORT) -> Command:
    words = (f"--endpoints={','.join(endpoints)}", "endpoint", *question, "-w", "json")
    why = f"{question[0]} of {', '.join(endpoints)}"
    return deephaven.etcdctl(seen.terms.inventory, *words, why=why, deadline=deadline)


def _endpoints(seen: Seen) -> dict[str, str]:
    """Client URL → host, of the members of the running cluster."""
    found = {}
    for member in seen.terms.old_members:
        config = seen.configs.get(member.host)
        scheme = config.client_urls[0].split(":")[0] if config else "https"
        ip = f"[{member.ip}]" if ":" in member.ip else member.ip
        found[f"{scheme}://{ip}:{seen.terms.inventory.etcd.client_port}"] = member.host
    return found


def judge_health(seen: Seen, subject: str) -> Ruling:
    said = _said(seen)
    if not said:
        words = "; ".join(answer.words for answer in seen.answers_of("health", subject))
        return Ruling(Verdict.FAILS, f"{NOBODY}: {words}")
    sick = {host: said.get(endpoint, "no answer") for endpoint, host in _endpoints(seen).items()}
    return ruled([f"{host}: {error}" for host, error in sick.items() if error], ", ".join(sick))


def healthy(seen: Seen) -> list[str]:
    """Endpoints of the members that answer an authenticated user."""
    return [endpoint for endpoint, error in _said(seen).items() if error is None]


def _said(seen: Seen) -> dict[str, str | None]:
    """Endpoint → None when healthy, else its error; without those of which etcdctl said nothing."""
    found: dict[str, str | None] = {}
    for answer in seen.answers_of("health", CLUSTER):
        with suppress(etcd.EtcdError):
            found |= etcdctl.parse_health(answer.stdout)
    return found


def ask_status(seen: Seen, subject: str) -> list[Command]:
    """One call each: a token of one member may come too early to another, which then knows no such token."""
    return [_of_members(seen, [endpoint], "status", *PATIENT) for endpoint in healthy(seen)]


def statuses(seen: Seen) -> list[Status]:
    answers = seen.answers_of("one cluster", CLUSTER)
    return [status for answer in answers if answer.code == 0 for status in etcdctl.parse_status(answer.stdout)]


def judge_one_cluster(seen: Seen, subject: str) -> Ruling:
    found, hosts = statuses(seen), _endpoints(seen)
    if not healthy(seen):
        return unknown(NOBODY)
    problems = [answer.words for answer in seen.answers_of("one cluster", subject) if answer.code]
    if len({status.cluster_id for status in found}) > 1:
        problems.append("they are several clusters")
    if len({status.leader for status in found}) > 1:
        problems.append("they name several leaders")
    if len({status.version for status in found}) > 1:
        problems.append(", ".join(f"{hosts.get(s.endpoint, s.endpoint)} runs {s.version}" for s in found))
    problems += [f"{hosts.get(s.endpoint, s.endpoint)}: {error}" for s in found for error in s.errors]
    leader = next((hosts.get(s.endpoint, s.endpoint) for s in found if s.member_id == s.leader), "another member")
    return ruled(problems, f"{len(found)} members of etcd {found[0].version}, led by {leader}" if found else "")


def ask_hashes(seen: Seen, subject: str) -> list[Command]:
    """At the lowest revision that the members had, since Deephaven writes on; one call each, as for the status."""
    found = statuses(seen)
    revision = min((status.revision for status in found), default=0)
    question = ("hashkv", f"--rev={revision}", "--dial-timeout=20s", "--command-timeout=600s")  # it reads all data
    return [_of_members(seen, [status.endpoint], *question, deadline=LONG) for status in found]


def judge_hashes(seen: Seen, subject: str) -> Ruling:
    answers, hosts = seen.answers_of("hashkv", subject), _endpoints(seen)
    if not answers:
        return unknown(NOBODY)
    problems = [answer.words for answer in answers if answer.code]
    hashes = {e: digest for a in answers if a.code == 0 for e, (_, digest) in etcdctl.parse_hashes(a.stdout).items()}
    if len(set(hashes.values())) > 1:
        problems += [f"{hosts.get(endpoint, endpoint)}: {digest}" for endpoint, digest in sorted(hashes.items())]
    revision = min((status.revision for status in statuses(seen)), default=0)
    return ruled(problems, f"{next(iter(hashes.values()), '')} on {len(hashes)} members at revision {revision:,}")


def _ranges(seen: Seen) -> dict[str, tuple[int, int | None]]:
    expect = seen.terms.inventory.expect
    return {"": (expect.min_keys, None), **{prefix: (span.min, span.max) for prefix, span in expect.prefixes.items()}}


def ask_keys(seen: Seen, subject: str) -> list[Command]:
    if not healthy(seen):
        return []
    count = ("--prefix", "--keys-only", "--limit=1", "-w", "json", *PATIENT)
    return [
        deephaven.etcdctl(seen.terms.inventory, "get", prefix, *count, why=f"keys under {prefix or 'everything'}")
        for prefix in _ranges(seen)
    ]


def judge_keys(seen: Seen, subject: str) -> Ruling:
    answers = seen.answers_of("keys", subject)
    if not answers:
        return unknown(NOBODY)
    problems, good = [], []
    for (prefix, (least, most)), answer in zip(_ranges(seen).items(), answers, strict=True):
        where = f"under {prefix}" if prefix else "in all"
        count = etcdctl.parse_count(answer.stdout) if answer.code == 0 else None
        if count is None:
            problems.append(f"{where}: {answer.words}")
        elif count < least or (most is not None and count > most):
            wanted = f"at least {least:,}" if most is None else f"{least:,} to {most:,}"
            problems.append(f"{count:,} {where}, expected {wanted}")
        else:
            good.append(f"{count:,} {where}")
    return ruled(problems, ", ".join(good))


# -- the backup --------------------------------------------------------------------------------------------------


def judge_backup(seen: Seen, subject: str) -> Ruling:
    backup, limit = seen.backup, seen.terms.inventory.snapshot.max_age_hours
    if backup is None:
        return ruled([seen.no_backup], "")
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
        "pytest runbook --hosts=NAME carries it on; or give it up (docs/night.md#giving-a-run-up)",
        cluster,
        judge_marks,
        ask_marks,
    ),
    Check("quorum", "whether there is a quorum", "", cluster, judge_quorum),
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
