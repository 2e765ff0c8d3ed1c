"""Looks at everything and changes nothing: fills the `Sheet` that `causes` reads, from hosts that may be broken.

A host that does not answer, a file that cannot be parsed, a tool that fails are findings here, not the end. Questions
and parsers are `etcd`'s, `quorum`'s, `clock`'s and `certificates`'; each round is one trip to every host at once.
"""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from requorum import certificates, clock, deephaven, etcd, facts, marker, quorum
from requorum.clock import Reading
from requorum.cluster import Cluster
from requorum.command import LONG, Command, Result, look
from requorum.etcd import MemberConfig
from requorum.fleet import Machine, Unreachable
from requorum.inventory import Inventory, Member
from requorum.marker import Marker
from requorum.quorum import MemberFacts
from requorum.refusal import Refusal
from requorum.sheet import DataHash, Disk, EtcdSheet, Sheet

SAID = 80  # lines of a unit's journal: what it said when it last failed to start
LOGIN_SECONDS = 5  # for etcdctl: a login is a consensus operation, and hangs without quorum


def reach(cluster: Cluster) -> tuple[dict[str, str], dict[str, Reading]]:
    """Who does not take commands as root, and why; everybody else's clock."""

    def ask(machine: Machine) -> str | Reading | None:
        allowed = machine.ask(look(machine.name, "true", why="sudo works without a password"))
        if allowed.code:
            return f"sudo refused: {allowed.words}"
        result = machine.ask(clock.ask(machine.name))
        return clock.parse(result, time.time())

    answers = cluster.fleet.each(cluster.terms.everyone, ask)
    silent = {h: a.what if isinstance(a, Refusal) else str(a) for h, a in answers.items() if isinstance(a, Exception)}
    silent |= {host: answer for host, answer in answers.items() if isinstance(answer, str)}
    return silent, {host: answer for host, answer in answers.items() if isinstance(answer, Reading)}


def sheet(cluster: Cluster, silent: dict[str, str], clocks: dict[str, Reading]) -> Sheet:
    """Everything that can be told of the cluster now. The first two are what `reach` found."""
    asking = _Asking(cluster, silent)
    machines = [host for host in cluster.terms.etcd_hosts if host not in silent]
    found = _machines(asking, machines)
    members = installed_members(cluster.inventory, [s.config for s in found.values() if s.config])
    found = _members(asking, found, members)
    verdict = quorum.decide(_member_facts(cluster, members, found, silent, _reachable(asking, members, found)))
    found = _hashes(asking, _pages(asking, found))
    alarms, logins = _as_users(asking, found)
    return Sheet(
        cluster.inventory, cluster.options.hosts, members, verdict, silent, found, clocks, _marks(asking),
        _stale(asking, members), alarms, logins, tuple(_password_differences(asking)), _deephaven_down(asking),
        tuple(asking.unseen),
    )  # fmt: skip


class _Asking:
    """Questions to whoever answers; who falls silent on the way joins the silent, and what failed is remembered."""

    def __init__(self, cluster: Cluster, silent: dict[str, str]) -> None:
        self.cluster = cluster
        self.silent = silent
        self.unseen: list[str] = []

    def __call__(self, commands: Iterable[Command]) -> dict[str, list[Result]]:
        wanted = [command for command in commands if command.host not in self.silent]
        answers = self.cluster.fleet.answers(wanted)
        for host, answer in answers.items():
            if isinstance(answer, Exception):
                self.silent[host] = answer.what if isinstance(answer, Refusal) else str(answer)
        return {host: answer for host, answer in answers.items() if not isinstance(answer, Exception)}


# -- machines of etcd --------------------------------------------------------------------------------------------


def _machines(asking: _Asking, hosts: Sequence[str]) -> dict[str, EtcdSheet]:
    """What can be asked before it is known how a machine is configured."""
    settings = asking.cluster.inventory.etcd
    journal = ("journalctl", "--no-pager", "-q", "-o", "cat", "-n", str(SAID), "-u", settings.unit)
    answers = asking(
        question
        for host in hosts
        for question in (
            etcd.ask_unit(host, settings.unit),
            look(host, "cat", settings.config, why=f"read {settings.config}"),
            quorum.ask_addresses(host),
            look(host, *journal, why="what etcd said last"),
        )
    )
    return {host: _machine(f"{host}:{settings.config}", *results) for host, results in answers.items()}


def _machine(where: str, unit: Result, config: Result, addresses: Result, journal: Result) -> EtcdSheet:
    found, problem = None, "" if config.code == 0 else config.words
    if not problem:
        try:
            found = etcd.parse_config(config.stdout, where)
        except Refusal as refusal:
            problem = refusal.what
    known = quorum.parse_addresses(addresses.stdout)
    return EtcdSheet(etcd.parse_unit(unit.stdout), found, problem, known, said=tuple(journal.stdout.splitlines()))


def installed_members(inventory: Inventory, configs: Iterable[MemberConfig]) -> tuple[Member, ...]:
    """`members` or `old_members`: whose addresses the installed configurations name. In doubt the first.

    Before a recovery to other addresses or machines the old ones are in place, after it the new ones.
    """
    named = [set(re.findall(r"//\[?([0-9A-Fa-f.:]+?)\]?:\d+", config.initial_cluster)) for config in configs]

    def fit(members: tuple[Member, ...]) -> int:
        ips = {member.ip for member in members}
        return sum(len(addresses & ips) for addresses in named)

    return max((inventory.members, inventory.old_members), key=fit)


def _members(
    asking: _Asking, found: Mapping[str, EtcdSheet], members: tuple[Member, ...]
) -> dict[str, EtcdSheet]:  # fmt: skip
    """What can be asked of a machine with a configuration; the others stay as they are."""
    inventory = asking.cluster.inventory
    configured = {m.host: s.config for m in members if (s := found.get(m.host)) and s.config}
    questions = {host: _questions(inventory, host, config) for host, config in configured.items()}
    answers = asking(question for asked in questions.values() for question in asked)
    result = dict(found)
    for host, said in answers.items():
        config = configured[host]
        disk, data, owners, metrics, *checks = said
        count = re.search(r"^etcd_debugging_mvcc_current_revision (\S+)", metrics.stdout, re.M)
        checked = zip(config.certificates, checks, strict=True)
        result[host] = replace(
            found[host],
            disk=parse_disk(disk.stdout), has_data=data.code == 0, foreign=tuple(owners.stdout.splitlines()),
            has_leader=etcd.parse_leader(metrics.stdout), revision=int(float(count[1])) if count else None,
            certificates=tuple(certificates.parse(c.cert, r.stdout, r.stderr) for c, r in checked),
        )  # fmt: skip
    return result


# df's figures of the deepest directory that exists, and how that is mounted.
_DISK = """
at=$1
while [ ! -d "$at" ]; do at=$(dirname "$at"); done
df -P -B1 "$at" && df -P -i "$at" | tail -n 1 && grep " $(df -P "$at" | awk 'END {print $6}') " /proc/mounts | tail -n 1
"""
# At most ten files that etcd cannot use: what is not its own, keys and configuration that it may not read.
_FOREIGN = """
find "$2" ! -user "$1" 2>/dev/null | head -n 10
shift 2
for file; do runuser -u "$0" -- test -r "$file" || echo "$file"; done
"""


def _questions(inventory: Inventory, host: str, config: MemberConfig) -> list[Command]:
    ip = config.peer_url.split("//")[-1].rsplit(":", 1)[0].strip("[]")
    user = inventory.etcd.user
    return [
        look(host, "sh", "-c", _DISK, "sh", config.data_dir, why="room where the data lies"),
        look(host, "test", "-s", f"{config.data_dir}/member/snap/db", why="whether the data is there"),
        look(host, "sh", "-c", _FOREIGN, user, user, config.data_dir, inventory.etcd.config, *config.keys,
             why=f"files that {user} cannot use"),
        etcd.ask_leader(host, config),
        *(certificates.ask(host, certificate, ip) for certificate in config.certificates),
    ]  # fmt: skip


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
        host, "curl", "-sSik", "--http1.1", "--max-time", "30", *login, "-X", "GET",
        "-H", "Content-Type: application/json", "-d", body, f"{config.peer_url}/{page}",
        why=f"/{page} as the member gives it to its peers",
    )  # fmt: skip


def _pages(asking: _Asking, found: dict[str, EtcdSheet]) -> dict[str, EtcdSheet]:
    """What a member says of itself, and to which cluster it belongs; only of those that answer, since one that hangs
    costs a time-out for each question."""
    up = {host: s.config for host, s in found.items() if s.config and s.has_leader is not None}
    pages = [(etcd.ask_page(h, config, "health"), _peer_page(h, config, "members")) for h, config in up.items()]
    result = dict(found)
    for host, (health, peers) in asking(question for pair in pages for question in pair).items():
        number = re.search(r"(?im)^x-etcd-cluster-id: *([0-9a-f]+)", peers.stdout)
        result[host] = replace(
            found[host], health=health.stdout.strip(), cluster_id=number[1] if number else None
        )  # fmt: skip
    return result


def _hashes(asking: _Asking, found: dict[str, EtcdSheet]) -> dict[str, EtcdSheet]:
    """Every member's hash at the lowest revision that any of its cluster has: without a login."""
    lowest: dict[str, int] = {}
    for found_on in found.values():
        if found_on.cluster_id and found_on.revision:
            lowest[found_on.cluster_id] = min(lowest.get(found_on.cluster_id, found_on.revision), found_on.revision)
    answers = asking(
        replace(
            _peer_page(h, s.config, "members/hashkv", json.dumps({"revision": lowest[s.cluster_id]})), deadline=LONG
        )
        for h, s in found.items()
        if s.config and s.cluster_id in lowest
    )
    hashes = {
        host: parse_hash(result.stdout, lowest[found[host].cluster_id or ""]) for host, (result,) in answers.items()
    }
    return {host: replace(s, hash=hashes.get(host)) for host, s in found.items()}


def parse_hash(text: str, revision: int) -> DataHash | None:
    """`/members/hashkv` with its headers; None for anything but a hash, as where that revision was compacted."""
    try:
        body = json.loads(text[text.index("\n{") :])
        return DataHash(revision, int(body["compact_revision"]), int(body["hash"]))
    except (ValueError, KeyError, TypeError):
        return None


# -- quorum ------------------------------------------------------------------------------------------------------


def _reachable(
    asking: _Asking, members: tuple[Member, ...], found: Mapping[str, EtcdSheet]
) -> dict[str, tuple[str, ...]]:  # fmt: skip
    """host → members' hosts that it cannot reach, though each is there under its address."""
    port = asking.cluster.inventory.etcd.peer_port
    there = [m for m in members if m.host in found and m.ip in found[m.host].addresses]
    answers = asking(quorum.ask_reach(a.host, b.ip, port) for a in there for b in there if a is not b)
    names = {member.ip: member.host for member in there}
    return {
        host: tuple(names[r.command.argv[-2]] for r in results if not quorum.reached(r.code, r.stderr))
        for host, results in answers.items()
    }


def _member_facts(
    cluster: Cluster,
    members: tuple[Member, ...],
    found: Mapping[str, EtcdSheet],
    silent: Mapping[str, str],
    cut_off: Mapping[str, tuple[str, ...]],
) -> list[MemberFacts]:
    """As the recovery sees them; watched for three election timeouts where a majority sees no leader."""

    def sheets(leaders: Mapping[str, bool | None]) -> list[MemberFacts]:
        return [
            MemberFacts(member, gone=True)
            if member.host in cluster.terms.gone
            else MemberFacts(member, reached=False)
            if member.host in silent or (on := found.get(member.host)) is None
            else MemberFacts(
                member, unit=on.unit, config=on.config, has_data=on.has_data, addresses=on.addresses,
                has_leader=leaders.get(member.host), cut_off_from=cut_off.get(member.host, ()),
            )
            for member in members
        ]  # fmt: skip

    leaders = {host: found[host].has_leader for host in found}
    now = sheets(leaders)
    up = {h: s.config for h, s in found.items() if s.config and s.has_leader is not None and h not in silent}
    led = sum(bool(leaders.get(member.host)) for member in members)
    if quorum.majority_is_down(now) or 2 * led > len(members) or not up:
        return now
    with contextlib.suppress(Unreachable):  # it fell silent meanwhile: what was seen before stands
        return sheets(leaders | facts.watch_leaders(cluster, up, {host: leaders[host] for host in up}))
    return now


# -- what needs more than one member, or Deephaven's side --------------------------------------------------------


def _as_users(asking: _Asking, found: Mapping[str, EtcdSheet]) -> tuple[tuple[str, ...], dict[str, str | None]]:
    """Alarms, and whether each role's own password logs in, from the configuration server; nothing without a leader."""
    inventory, host = asking.cluster.inventory, asking.cluster.terms.configuration_server
    alarms = {f"{h}: {s.health}" for h, s in found.items() if "ALARM" in s.health}
    if not any(s.serves for s in found.values()) or host in asking.silent:
        asking.unseen.append(
            "alarms and passwords: no member that sees a leader, or no configuration server to ask from"
        )
        return tuple(sorted(alarms)), {}
    client, limit = inventory.deephaven.client_config, f"--command-timeout={LOGIN_SECONDS}s"
    (roles,) = asking([deephaven.ask_passwords(host, client)]).get(host, [None])
    names = sorted(deephaven.parse_passwords(roles.stdout)) if roles else []
    answers = asking(
        [
            deephaven.etcdctl(inventory, limit, "alarm", "list", why="alarms of the cluster"),
            *(
                deephaven.etcdctl_as(inventory, f"{client}/{role}", limit, "get", "/requorum", why=f"{role} logs in")
                for role in names
            ),
        ]
    ).get(host, [])
    if not answers or answers[0].code:
        asking.unseen.append(f"alarms: {answers[0].words if answers else 'no answer'}")
    elif answers[0].stdout.strip():
        alarms |= {line.strip() for line in answers[0].stdout.splitlines()}
    return tuple(sorted(alarms)), {role: _login(answer) for role, answer in zip(names, answers[1:], strict=False)}


def _login(answer: Result) -> str | None:
    """None for somebody who was let in, be it only to be told that this key is not for them."""
    return None if answer.code == 0 or "permission denied" in answer.stderr.lower() else answer.words


def _password_differences(asking: _Asking) -> list[str]:
    client = asking.cluster.inventory.deephaven.client_config
    answers = asking(deephaven.ask_passwords(host, client) for host in asking.cluster.terms.deephaven_hosts)
    return deephaven.disagreements({h: deephaven.parse_passwords(result.stdout) for h, (result,) in answers.items()})


def _marks(asking: _Asking) -> dict[str, Marker | None]:
    terms = asking.cluster.terms
    marks: dict[str, Marker | None] = {}
    for host, (result,) in asking(marker.ask(h, asking.cluster.inventory.cluster) for h in terms.everyone).items():
        try:
            marks[host] = marker.parse(host, result.stdout)
        except Refusal as refusal:
            asking.unseen.append(f"whether a run is unfinished on {host}: {refusal.what}")
    return marks


def _stale(asking: _Asking, members: tuple[Member, ...]) -> dict[str, tuple[str, ...]]:
    """Addresses of old members that are none now → Deephaven hosts that get an answer there."""
    inventory = asking.cluster.inventory
    current = {member.ip for member in members}
    old = [m.ip for m in inventory.old_members if m.ip not in current] if members == inventory.members else []
    answers = asking(
        look(host, "timeout", "2", "bash", "-c", 'exec 3<>"/dev/tcp/$0/$1"', ip, str(inventory.etcd.client_port),
             why=f"whether the old {ip} still answers", root=False)
        for host in asking.cluster.terms.deephaven_hosts for ip in old
    )  # fmt: skip
    open_to: dict[str, tuple[str, ...]] = {}
    for host, results in answers.items():
        for result in results:
            if result.code == 0:
                open_to[result.command.argv[-2]] = (*open_to.get(result.command.argv[-2], ()), host)
    return open_to


def _deephaven_down(asking: _Asking) -> dict[str, tuple[str, ...]]:
    terms = asking.cluster.terms
    answers = asking(deephaven.ask_monit(asking.cluster.inventory, host) for host in terms.deephaven_hosts)
    down: dict[str, tuple[str, ...]] = {}
    for host, (result,) in answers.items():
        processes = deephaven.parse_monit(result.stdout)
        left = tuple(deephaven.not_up(processes)) if processes else (f"monit names no process: {result.words}",)
        down |= {host: left} if left else {}
    return down
