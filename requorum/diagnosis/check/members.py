"""Checks of the members' machines: room, addresses, versions, and whether etcd runs there."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from requorum.cluster import etcd, settings
from requorum.cluster.etcd import Metrics
from requorum.cluster.sandbox import WAL_BYTES
from requorum.command import MOST_OF_A_LIST, Result, look
from requorum.diagnosis.check import advisories
from requorum.diagnosis.check.check import CLUSTER, Check, Questions, Ruling, Seen, ruled, told
from requorum.diagnosis.check.machines import root_path
from requorum.hosts import system, systemd
from requorum.hosts.question import Question
from requorum.recovery import room
from requorum.run import bulk
from requorum.run.terms import Terms


def new(terms: Terms) -> tuple[str, ...]:
    """The machines of the cluster to build: usually those of the one that runs."""
    return terms.member_hosts


def old(terms: Terms) -> list[str]:
    """The machines of the cluster that runs."""
    return [member.host for member in terms.old_members]


# -- room --------------------------------------------------------------------------------------------------------


def ask_room(seen: Seen, host: str) -> Questions:
    """Directories that are mounted read-only, room at each place, bytes of the database."""
    mounts = look(host, "cat", "/proc/mounts", why="what is mounted read-only", root=False, most=MOST_OF_A_LIST)
    questions: dict[Any, Question[Any]] = {"read-only": Question(mounts, _read_mounts)}
    questions["room"] = bulk.ask_rooms(host, seen.terms)
    return {**questions, **ask_size(seen, host)}


def ask_size(seen: Seen, host: str) -> Questions:
    """Bytes of the database; None where there is none."""
    if host not in seen.configs:
        return {}
    return {"size": etcd.ask_size(host, seen.configs[host])}


def _read_mounts(answer: Result) -> set[str]:
    rows = (row.split() for row in answer.stdout.splitlines())
    return {row[1] for row in rows if "ro" in row[3].split(",")}


def largest(seen: Seen) -> int:
    """Bytes of the largest member's database, or of the newest backup where that is larger."""
    sizes = [seen.known("disk", host).get("size") or 0 for host in seen.configs]
    return max([*sizes, (seen.backup.bytes or 0) if seen.backup else 0])


def judge_room(seen: Seen, host: str) -> Ruling:
    """As for a night on which all disks are left to be salvaged."""
    values, terms, problems, free = seen.values("disk", host), seen.terms, [], {}
    for place, found in room.places(terms, host, values["room"]).items():
        if isinstance(found, str):
            problems.append(f"{place}: {found}")
        elif found.mount in values["read-only"]:
            problems.append(f"{place}: {found.mount} is mounted read-only")
        else:
            free[place] = found
    if problems:
        return ruled(dict.fromkeys(problems), "")
    turns = room.turns(terms, host, largest(seen), _copies(seen), _gathering(seen))
    most = room.needed(turns, room.mounts(free))
    wrong = room.lacking(turns, free)
    good = "; ".join(f"{mount}: {size:,} bytes needed" for mount, (size, _) in most.items())
    if "free_disk_ratio" in terms.inventory.limits.model_fields_set:
        good += f"; {room.NO_RATIO}"
    return ruled([wrong] if wrong else [], f"{min(one.size for one in free.values()):,} bytes free, {good}")


def _copies(seen: Seen) -> dict[str, int]:
    sizes = {host: seen.known("disk", host).get("size") for host in old(seen.terms)}
    return {host: size + WAL_BYTES for host, size in sizes.items() if size}


def _gathering(seen: Seen) -> str:
    copies = _copies(seen)
    told = {host: seen.known("disk", host).get("room") for host in copies}
    rooms = {host: found for host, found in told.items() if found is not None}
    return room.gathering(copies, len(seen.terms.old_members), rooms)


def judge_quota(seen: Seen, subject: str) -> Ruling:
    """What the new cluster will have, as far as that is known without the generator."""
    size, kept = largest(seen), settings.kept(seen.terms.inventory.etcd.keep_settings, seen.configs)
    if wrong := settings.known_too_small(kept, seen.configs, size):
        return ruled([wrong], "")
    if settings.QUOTA not in kept and settings.too_small((), size):
        return told(f"{size:,} bytes of data, more than etcd's own quota: the generator must write a larger one")
    most = settings.quota(kept.items())
    return ruled([], f"{'no quota' if most is None else f'{most:,}'}, {size:,} bytes of data")


# -- who it is ---------------------------------------------------------------------------------------------------


def ask_addresses(seen: Seen, host: str) -> Questions:
    return {"addresses": system.ask_addresses(host)}


def judge_address(seen: Seen, host: str) -> Ruling:
    """The inventory's address is there; what is configured is a name and an address that the inventory gives it."""
    member = seen.terms.member_on(host)
    found = seen.values("address", host)["addresses"]
    problems = [] if member.ip in found else [f"{member.ip} is none of {', '.join(found) or 'no address'}"]
    config = seen.configs.get(host)
    if config is not None:
        given = [m for m in (*seen.terms.inventory.members, *seen.terms.old_members) if m.host == host]
        if config.name not in {m.name for m in given}:
            problems.append(f"etcd calls itself {config.name}, the inventory {given[0].name}")
        peer = etcd.address(config.peer_url).host
        if peer not in {m.ip for m in given}:
            problems.append(f"etcd is configured for {peer}")
    return ruled(problems, f"{member.name} at {member.ip}")


# -- versions ----------------------------------------------------------------------------------------------------


def ask_version(seen: Seen, host: str) -> Questions:
    return {"tools": etcd.ask_tools(host, root_path(seen, host))}


def judge_version(seen: Seen, host: str) -> Ruling:
    tools = seen.values("version", host)["tools"]
    known = {other: seen.known("version", other).get("tools") for other in new(seen.terms)}
    others = [f"{t.version} on {other}" for other, t in known.items() if t and t.version != tools.version]
    problems = [f"etcd {tools.version}, but {', '.join(others)}"] if others else []
    bumps = "bumps revisions" if tools.bumps else "bumps no revision"
    return ruled(problems, f"etcd {tools.version}; {tools.restorer} restores, {bumps}")


def judge_advisories(seen: Seen, host: str) -> Ruling:
    """Told: a distribution mends a version without changing its number. Where data may differ it fails."""
    version = seen.values("version", host)["tools"].version
    found = advisories.of(version)
    grave = [advisories.told(a) for a in found if a.data]
    if grave:
        return ruled(grave, "")
    as_of, old = f" (as of {max(a.seen for a in advisories.ADVISORIES)})", advisories.old(datetime.now(UTC).date())
    names = ", ".join(a.name for a in found) + as_of if found else f"none is known{as_of}"
    said = "; ".join(filter(None, (f"etcd {version}: {names}", old)))
    return told(said) if found or old else ruled([], said)


# -- whether etcd runs -------------------------------------------------------------------------------------------


def ask_etcd(seen: Seen, host: str) -> Questions:
    questions: dict[Any, Question[Any]] = {
        "unit": systemd.ask_unit(host, seen.terms.inventory.etcd.unit),
        "listens": Question(look(host, "ss", "-Htln", why="who listens", root=False), _read_sockets),
    }
    if host in seen.configs:
        questions["metrics"] = etcd.ask_metrics(host, seen.configs[host])
    return questions


def _read_sockets(answer: Result) -> set[str]:
    """The local addresses, each with its port."""
    rows = [line.split() for line in answer.stdout.splitlines()]
    return {row[3] for row in rows if len(row) > 3}


def sees_leader(seen: Seen, host: str) -> bool | None:
    """The member's own word; None where it gives none."""
    return metrics(seen, host).has_leader


def metrics(seen: Seen, host: str) -> Metrics:
    found: Metrics = seen.known("etcd", host).get("metrics", Metrics())
    return found


def judge_etcd(seen: Seen, host: str) -> Ruling:
    settings = seen.terms.inventory.etcd
    member = next(m for m in seen.terms.old_members if m.host == host)
    values = seen.values("etcd", host)
    problems = [] if values["unit"].active == "active" else [f"{settings.unit} is {values['unit']}"]
    for port in (settings.client_port, settings.peer_port):
        names = {f"{ip}:{port}" for ip in (member.ip, f"[{member.ip}]", "0.0.0.0", "*", "[::]")}
        if not names & values["listens"]:
            problems.append(f"nobody listens on {member.ip}:{port}")
    leader = sees_leader(seen, host)
    if not leader:
        problems.append("it sees no leader" if leader is False else "it does not say whether there is a leader")
    return ruled(problems, "active, sees a leader")


def ask_drop_ins(seen: Seen, host: str) -> Questions:
    return {"said": systemd.ask_drop_ins(host, seen.terms.inventory.etcd.unit)}


def judge_drop_ins(seen: Seen, host: str) -> Ruling:
    """As Step 0 judges them."""
    why = systemd.started_otherwise(seen.values("drop-ins", host)["said"], seen.terms.inventory.etcd.config)
    return ruled([f"they {why}"] if why else [], "none, or none that says what is started")


CHECKS = (
    Check(
        "disk",
        "each file system has the room that a recovery needs",
        "make room there",
        new,
        judge_room,
        ask_room,
    ),
    Check(
        "quota",
        "etcd's quota in a new cluster is larger than the data",
        settings.REMEDY,
        lambda terms: (CLUSTER,),
        judge_quota,
    ),
    Check(
        "address",
        "its name and address are the inventory's",
        "correct ip under members in the inventory, or the machine's network",
        new,
        judge_address,
        ask_addresses,
    ),
    Check(
        "version",
        "it has the same etcd as every other member, and a tool that restores",
        "install one and the same etcd on all members",
        new,
        judge_version,
        ask_version,
        round=2,
    ),
    Check(
        "advisories",
        "no advisory of its etcd is known",
        "install a later etcd of the same series: no snapshot of this one can be relied on",
        new,
        judge_advisories,
    ),
    Check(
        "etcd",
        "{i.etcd.unit} runs, listens on both its ports and sees a leader",
        "read `journalctl --no-pager -u {i.etcd.unit}` there; if quorum is lost: pytest runbook --hosts=NAME",
        old,
        judge_etcd,
        ask_etcd,
    ),
    Check(
        "drop-ins",
        "no drop-in of {i.etcd.unit} has a new cluster's unit start anything but etcd with {i.etcd.config}",
        systemd.OTHERWISE,
        new,
        judge_drop_ins,
        ask_drop_ins,
    ),
)
