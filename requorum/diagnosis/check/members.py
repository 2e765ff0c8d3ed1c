"""Checks of the members' machines: room, addresses, versions, and whether etcd runs there."""

from __future__ import annotations

from requorum.cluster import etcd
from requorum.command import Command, look
from requorum.diagnosis.check import advisories
from requorum.diagnosis.check.check import Check, Ruling, Seen, ruled, told
from requorum.hosts import system, systemd
from requorum.recovery import equipment
from requorum.run.terms import Terms


def new(terms: Terms) -> tuple[str, ...]:
    """The machines of the cluster to build: usually those of the one that runs."""
    return terms.member_hosts


def old(terms: Terms) -> list[str]:
    """The machines of the cluster that runs."""
    return [member.host for member in terms.old_members]


# -- room --------------------------------------------------------------------------------------------------------


def ask_room(seen: Seen, host: str) -> list[Command]:
    questions = [look(host, "cat", "/proc/mounts", why="what is mounted read-only", root=False)]
    for place in equipment.places(seen.terms.inventory):
        questions += system.ask_free(host, *system.with_parents(place)).commands
    return questions + ([ask_size(seen, host)] if host in seen.configs else [])


def ask_size(seen: Seen, host: str) -> Command:
    database = f"{seen.configs[host].data_dir}/member/snap/db"
    return look(host, "stat", "-c", "%s", database, why="size of the database")


def largest(seen: Seen) -> int:
    """Bytes of the largest member's database, or of the newest backup where that is larger."""
    answers = [answer for host in seen.configs for answer in seen.answers_of("disk", host)]
    sizes = [int(a.stdout) for a in answers if a.command.argv[0] == "stat" and a.stdout.strip().isdigit()]
    return max([*sizes, (seen.backup.bytes or 0) if seen.backup else 0])


def judge_room(seen: Seen, host: str) -> Ruling:
    needed, problems, good = equipment.room(seen.terms.inventory, largest(seen)), [], []
    mounts, *answers = seen.answers_of("disk", host)
    read_only = {row.split()[1] for row in mounts.stdout.splitlines() if "ro" in row.split()[3].split(",")}
    for place, answer in zip(equipment.places(seen.terms.inventory), answers, strict=False):
        free = system.ask_free(host, place).understand([answer])
        if isinstance(free, str):
            problems.append(f"{place}: {free}")
        elif free.mount in read_only:
            problems.append(f"{place}: {free.mount} is mounted read-only")
        elif free.size < needed:
            problems.append(f"{place}: {free.size:,} bytes free, {needed:,} needed")
        else:
            good.append(free.size)
    return ruled(problems, f"{min(good, default=0):,} bytes free, {needed:,} needed")


# -- who it is ---------------------------------------------------------------------------------------------------


def ask_addresses(seen: Seen, host: str) -> list[Command]:
    return [*system.ask_addresses(host).commands]


def judge_address(seen: Seen, host: str) -> Ruling:
    """The inventory's address is there; what is configured is a name and an address that the inventory gives it."""
    member = seen.terms.member_on(host)
    found = system.ask_addresses(host).understand(seen.answers_of("address", host))
    problems = [] if member.ip in found else [f"{member.ip} is none of {', '.join(found) or 'no address'}"]
    config = seen.configs.get(host)
    if config is not None:
        given = [m for m in (*seen.terms.inventory.members, *seen.terms.old_members) if m.host == host]
        if config.name not in {m.name for m in given}:
            problems.append(f"etcd calls itself {config.name}, the inventory {given[0].name}")
        peer = config.peer_url.split("//")[-1].rsplit(":", 1)[0].strip("[]")
        if peer not in {m.ip for m in given}:
            problems.append(f"etcd is configured for {peer}")
    return ruled(problems, f"{member.name} at {member.ip}")


# -- versions ----------------------------------------------------------------------------------------------------


def ask_version(seen: Seen, host: str) -> list[Command]:
    return etcd.ask_tools(host)


def _tools(seen: Seen, host: str) -> etcd.Tools:
    version, where, usage = seen.answers_of("version", host)
    return etcd.parse_tools(host, version.stdout, where.stdout, usage.stdout + usage.stderr)


def judge_version(seen: Seen, host: str) -> Ruling:
    tools, others = _tools(seen, host), []
    for other in new(seen.terms):
        answers = seen.answers_of("version", other)
        version = etcd.parse_version(answers[0].stdout) if answers else None
        if version not in (None, tools.version):
            others.append(f"{version} on {other}")
    problems = [f"etcd {tools.version}, but {', '.join(others)}"] if others else []
    bumps = "bumps revisions" if tools.bumps else "bumps no revision"
    return ruled(problems, f"etcd {tools.version}; {tools.restorer} restores, {bumps}")


def judge_advisories(seen: Seen, host: str) -> Ruling:
    """Told: a distribution mends a version without changing its number. Where data may differ it fails."""
    version = _tools(seen, host).version
    found = advisories.of(version)
    grave = [f"{a.name}: {a.what} ({a.source})" for a in found if a.data]
    if grave:
        return ruled(grave, "")
    names = ", ".join(a.name for a in found)
    return told(f"etcd {version}: {names}") if found else ruled([], f"none is known of etcd {version}")


# -- whether etcd runs -------------------------------------------------------------------------------------------


def ask_etcd(seen: Seen, host: str) -> list[Command]:
    unit = systemd.ask_unit(host, seen.terms.inventory.etcd.unit)
    questions = [*unit.commands, look(host, "ss", "-Htln", why="who listens", root=False)]
    return questions + ([etcd.ask_leader(host, seen.configs[host])] if host in seen.configs else [])


def sees_leader(seen: Seen, host: str) -> bool | None:
    """The member's own word; None where it gives none."""
    metrics = seen.answers_of("etcd", host)[2:]
    return etcd.parse_leader(metrics[0].stdout) if metrics and metrics[0].code == 0 else None


def judge_etcd(seen: Seen, host: str) -> Ruling:
    settings = seen.terms.inventory.etcd
    member = next(m for m in seen.terms.old_members if m.host == host)
    unit, sockets, *_ = seen.answers_of("etcd", host)
    state = systemd.ask_unit(host, settings.unit).understand([unit])
    problems = [] if state.active == "active" else [f"{settings.unit} is {state}"]
    local = {line.split()[3] for line in sockets.stdout.splitlines() if len(line.split()) > 3}
    for port in (settings.client_port, settings.peer_port):
        names = {f"{ip}:{port}" for ip in (member.ip, f"[{member.ip}]", "0.0.0.0", "*", "[::]")}
        if not names & local:
            problems.append(f"nobody listens on {member.ip}:{port}")
    leader = sees_leader(seen, host)
    if not leader:
        problems.append("it sees no leader" if leader is False else "it does not say whether there is a leader")
    return ruled(problems, "active, sees a leader")


CHECKS = (
    Check(
        "disk",
        "it has room for the data: {i.limits.free_disk_ratio:g} × the largest database, and a write-ahead log",
        "make room there, or lower limits.free_disk_ratio if you know better",
        new,
        judge_room,
        ask_room,
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
)
