"""What a diagnosis asks each host, and how the answers are read: pure functions, one pair for each round of questions.

`of_…` gives the questions, its neighbour reads their answers. `examination` asks them in their order.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from requorum.cluster import deephaven, etcd, quorum
from requorum.cluster.etcd import MemberConfig
from requorum.command import LONG, Command, Result, look
from requorum.diagnosis.sheet import Disk, EtcdSheet
from requorum.hosts import certificates, system, systemd
from requorum.inventory import Inventory, Member
from requorum.refusal import Refusal
from requorum.run.terms import Terms

SAID = 80  # lines of a unit's journal: what it said when it last failed to start
LOGIN_SECONDS = 15  # for etcdctl: a login is a consensus operation, and takes seconds on a machine that is overloaded


Answers = dict[str, list[Result]]  # by host, in the order of the questions


def of_a_machine(inventory: Inventory, host: str) -> list[Command]:
    """What can be asked before it is known how a machine is configured."""
    settings = inventory.etcd
    journal = ("journalctl", "--no-pager", "-q", "-o", "cat", "-n", str(SAID), "-u", settings.unit)
    return [
        *systemd.ask_unit(host, settings.unit).commands,
        look(host, "cat", settings.config, why=f"read {settings.config}"),
        *system.ask_addresses(host).commands,
        look(host, *journal, why="what etcd said last"),
    ]


def machine(where: str, unit: Result, config: Result, addresses: Result, journal: Result) -> EtcdSheet:
    found, problem = None, "" if config.code == 0 else config.words
    if not problem:
        try:
            found = etcd.parse_config(config.stdout, where)
        except Refusal as refusal:
            problem = refusal.what
    host = unit.command.host
    known = system.ask_addresses(host).understand([addresses])
    state = systemd.ask_unit(host, "etcd's unit").understand([unit])
    return EtcdSheet(state, found, problem, known, said=tuple(journal.stdout.splitlines()))


def of_members(inventory: Inventory, members: tuple[Member, ...], found: Mapping[str, EtcdSheet]) -> list[Command]:
    """What can be asked of a machine with a configuration."""
    configured = ((member.host, found[member.host].config) for member in members if member.host in found)
    return [question for host, config in configured if config for question in _questions(inventory, host, config)]


def member(on: EtcdSheet, said: list[Result]) -> EtcdSheet:
    """With the answers to `_questions`."""
    assert on.config
    disk, data, owners, metrics, *checks = said
    revision = re.search(r"^etcd_debugging_mvcc_current_revision (\S+)", metrics.stdout, re.M)
    checked = zip(on.config.certificates, checks, strict=True)
    return replace(
        on,
        disk=parse_disk(disk.stdout),
        has_data=data.code == 0,
        foreign=tuple(owners.stdout.splitlines()),
        has_leader=etcd.parse_leader(metrics.stdout),
        revision=int(float(revision[1])) if revision else None,
        certificates=tuple(certificates.ask_certificate(r.command.host, c, "").understand([r]) for c, r in checked),
    )


# df's figures of the deepest directory that exists, and how that is mounted.
_DISK = (
    'at=$1; while [ ! -d "$at" ]; do at=$(dirname "$at"); done; df -P -B1 "$at"; df -P -i "$at" | tail -n 1; '
    'grep " $(df -P "$at" | tail -n 1 | tr -s " " | cut -d " " -f 6) " /proc/mounts | tail -n 1'
)
# At most ten files that etcd cannot use: what is not its own, keys and configuration that it may not read.
_FOREIGN = (
    'find "$2" ! -user "$1" 2>/dev/null | head -n 10; shift 2; '
    'for file; do runuser -u "$0" -- test -r "$file" || echo "$file"; done'
)


def _questions(inventory: Inventory, host: str, config: MemberConfig) -> list[Command]:
    ip = config.peer_url.split("//")[-1].rsplit(":", 1)[0].strip("[]")
    user = inventory.etcd.user
    return [
        look(host, "sh", "-c", _DISK, "sh", config.data_dir, why="room where the data lies"),
        look(host, "test", "-s", f"{config.data_dir}/member/snap/db", why="whether the data is there"),
        look(
            host,
            "sh",
            "-c",
            _FOREIGN,
            user,
            user,
            config.data_dir,
            inventory.etcd.config,
            *config.keys,
            why=f"files that {user} cannot use",
        ),
        etcd.ask_leader(host, config),
        *(command for c in config.certificates for command in certificates.ask_certificate(host, c, ip).commands),
    ]


def parse_disk(text: str) -> Disk | None:
    """df's answer in bytes, df's answer in inodes (0 in all: not counted), and the mount's line."""
    lines = [line.split() for line in text.splitlines()]
    if len(lines) < 3 or len(lines[1]) < 6:
        return None
    files = int(lines[2][3]) if len(lines[2]) > 5 and lines[2][1].isdigit() and int(lines[2][1]) else None
    options = lines[3][3].split(",") if len(lines) > 3 and len(lines[3]) > 3 else []
    return Disk(lines[1][5], int(lines[1][3]), files, "ro" in options)


def _peer_page(host: str, config: MemberConfig, page: str, body: str = "{}") -> Command:
    """A page that members give each other, asked by the member itself: no login, no consensus. HTTP/1.1, since over 2
    curl gets no whole answer (etcd 3.5.16)."""
    own = next(iter(config.certificates), None)
    login = ("--cert", own.cert, "--key", own.key) if own else ()
    return look(
        host,
        "curl",
        "-sSik",
        "--http1.1",
        "--max-time",
        "30",
        *login,
        "-X",
        "GET",
        "-H",
        "Content-Type: application/json",
        "-d",
        body,
        f"{config.peer_url}/{page}",
        why=f"/{page} as the member gives it to its peers",
    )


def of_pages(found: Mapping[str, EtcdSheet]) -> list[Command]:
    """What a member says of itself, and to which cluster it belongs; only of those that answer, since one that hangs
    costs a time-out for each question."""
    up = [(host, on.config) for host, on in found.items() if on.config and on.has_leader is not None]
    pages = [(etcd.ask_page(host, config, "health"), _peer_page(host, config, "members")) for host, config in up]
    return [question for pair in pages for question in pair]


def paged(on: EtcdSheet, health: Result, peers: Result) -> EtcdSheet:
    number = re.search(r"(?im)^x-etcd-cluster-id: *([0-9a-f]+)", peers.stdout)
    return replace(on, health=health.stdout.strip(), cluster_id=number[1] if number else None)


def of_hashes(found: Mapping[str, EtcdSheet]) -> list[Command]:
    """Every member's hash at the lowest revision that any of its cluster has: without a login."""
    lowest: dict[str, int] = {}
    for on in found.values():
        if on.cluster_id and on.revision:
            lowest[on.cluster_id] = min(lowest.get(on.cluster_id, on.revision), on.revision)
    return [
        replace(
            _peer_page(h, on.config, "members/hashkv", json.dumps({"revision": lowest[on.cluster_id]})), deadline=LONG
        )
        for h, on in found.items()
        if on.config and on.cluster_id in lowest
    ]


# -- quorum ------------------------------------------------------------------------------------------------------


def of_the_way(members: tuple[Member, ...], found: Mapping[str, EtcdSheet], port: int) -> list[Command]:
    """Whether members reach each other, of those that are there under their address."""
    there = [m for m in members if m.host in found and m.ip in found[m.host].addresses]
    return [c for a in there for b in there if a is not b for c in system.ask_reach(a.host, b.ip, port).commands]


def cut_off(
    members: tuple[Member, ...], found: Mapping[str, EtcdSheet], answers: Answers, port: int
) -> dict[str, tuple[str, ...]]:
    """host → members' hosts that it cannot reach."""
    names = {member.ip: member.host for member in members}
    open_there = {
        member.ip
        for member in members
        if (on := found.get(member.host)) and quorum.listens(on.config, on.has_leader, member.ip, port)
    }
    cut = {
        host: [
            names[ip]
            for r in said
            if quorum.is_cut_off(
                system.ask_reach(host, (ip := r.command.argv[-2]), port).understand([r]), ip in open_there
            )
        ]
        for host, said in answers.items()
    }
    return {host: tuple(hosts) for host, hosts in cut.items()}


def of_users(inventory: Inventory, roles: Sequence[str]) -> list[Command]:
    """Alarms, and whether each role's own password logs in, from the configuration server."""
    client, limit = inventory.deephaven.client_config, f"--command-timeout={LOGIN_SECONDS}s"
    return [
        deephaven.etcdctl(inventory, limit, "alarm", "list", why="alarms of the cluster"),
        *(
            deephaven.etcdctl_as(inventory, f"{client}/{role}", limit, "get", "/requorum", why=f"{role} logs in")
            for role in roles
        ),
    ]


def login(answer: Result) -> str | None:
    """None for somebody who was let in, be it only to be told that this key is not for them."""
    return None if answer.code == 0 or "permission denied" in answer.stderr.lower() else answer.words


def of_old_members(terms: Terms, members: tuple[Member, ...]) -> list[Command]:
    """Whether addresses of old members that are none now still accept clients, asked from every Deephaven host."""
    inventory = terms.inventory
    current = {member.ip for member in members}
    old = [m.ip for m in inventory.old_members if m.ip not in current] if members == inventory.members else []
    return [
        look(
            host,
            "timeout",
            "2",
            "bash",
            "-c",
            'exec 3<>"/dev/tcp/$0/$1"',
            ip,
            str(inventory.etcd.client_port),
            why=f"whether the old {ip} still answers",
            root=False,
        )
        for host in terms.deephaven_hosts
        for ip in old
    ]


def open_to(answers: Answers) -> dict[str, tuple[str, ...]]:
    """Old address → hosts that it accepts."""
    pairs = [(r.command.argv[-2], host) for host, results in answers.items() for r in results if r.code == 0]
    return {ip: tuple(host for address, host in pairs if address == ip) for ip, _ in pairs}


def down(answers: Answers) -> dict[str, tuple[str, ...]]:
    """host → Deephaven processes that are not up."""
    down: dict[str, tuple[str, ...]] = {}
    for host, (said,) in answers.items():
        processes = deephaven.parse_monit(said.stdout)
        left = tuple(deephaven.not_up(processes)) if processes else (f"monit names no process: {said.words}",)
        down |= {host: left} if left else {}
    return down
