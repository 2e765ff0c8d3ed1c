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
    """Everything that can be told of the cluster now, in four trips. The last two are what `reach` found."""
    inventory, terms = cluster.inventory, cluster.terms
    asking = _Asking(cluster, silent)
    client = inventory.deephaven.client_config
    first = asking.round(
        machines=[question for host in terms.etcd_hosts for question in _of_a_machine(inventory, host)],
        marks=[marker.ask(host, inventory.cluster) for host in terms.everyone],
        passwords=[deephaven.ask_passwords(host, client) for host in terms.deephaven_hosts],
        monit=[deephaven.ask_monit(inventory, host) for host in terms.deephaven_hosts],
    )
    found = {host: _machine(f"{host}:{inventory.etcd.config}", *said) for host, said in first["machines"].items()}
    members = installed_members(inventory, [on.config for on in found.values() if on.config])
    second = asking.round(
        members=_of_members(inventory, members, found),
        reach=_of_the_way(members, found, inventory.etcd.peer_port),
        stale=_of_old_members(cluster, members),
    )
    found |= {host: _member(found[host], said) for host, said in second["members"].items()}
    third = asking.round(pages=_of_pages(found))
    found |= {host: _paged(found[host], *said) for host, said in third["pages"].items()}
    passwords = {host: deephaven.parse_passwords(said.stdout) for host, (said,) in first["passwords"].items()}
    roles = sorted(passwords.get(terms.configuration_server, ()))
    led = any(on.has_leader for on in found.values())
    fourth = asking.round(hashes=_of_hashes(found), logins=_of_users(inventory, roles) if led else [])
    found |= {host: replace(found[host], hash=parse_hash(said)) for host, (said,) in fourth["hashes"].items()}
    alarms, logins = _users(asking, roles, fourth["logins"].get(terms.configuration_server, []))
    alarms |= {f"{host}: {on.health}" for host, on in found.items() if "ALARM" in on.health}
    verdict = quorum.decide(_member_facts(cluster, members, found, silent, _cut_off(members, second["reach"])))
    return Sheet(
        inventory, cluster.options.hosts, members, verdict, silent, found, clocks, _marks(asking, first["marks"]),
        _open_to(second["stale"]), tuple(sorted(alarms)), logins, tuple(deephaven.disagreements(passwords)),
        _down(first["monit"]), tuple(asking.unseen),
    )  # fmt: skip


Answers = dict[str, list[Result]]  # by host, in the order of the questions


class _Asking:
    """Questions to whoever answers; who falls silent on the way joins the silent, and what failed is remembered."""

    def __init__(self, cluster: Cluster, silent: dict[str, str]) -> None:
        self.cluster = cluster
        self.silent = silent
        self.unseen: list[str] = []

    def round(self, **questions: Iterable[Command]) -> dict[str, Answers]:
        """One trip to every host for several kinds of questions. Gives kind → host → results."""
        asked = [(kind, c) for kind, commands in questions.items() for c in commands if c.host not in self.silent]
        answers = self.cluster.fleet.answers([command for _, command in asked])
        left = {}
        for host, answer in answers.items():
            if isinstance(answer, Exception):
                self.silent[host] = answer.what if isinstance(answer, Refusal) else str(answer)
            else:
                left[host] = iter(answer)
        found: dict[str, Answers] = {kind: {} for kind in questions}
        for kind, command in asked:
            if command.host in left:
                found[kind].setdefault(command.host, []).append(next(left[command.host]))
        return found


# -- machines of etcd --------------------------------------------------------------------------------------------


def _of_a_machine(inventory: Inventory, host: str) -> list[Command]:
    """What can be asked before it is known how a machine is configured."""
    settings = inventory.etcd
    journal = ("journalctl", "--no-pager", "-q", "-o", "cat", "-n", str(SAID), "-u", settings.unit)
    return [
        etcd.ask_unit(host, settings.unit),
        look(host, "cat", settings.config, why=f"read {settings.config}"),
        quorum.ask_addresses(host),
        look(host, *journal, why="what etcd said last"),
    ]


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


def _of_members(
    inventory: Inventory, members: tuple[Member, ...], found: Mapping[str, EtcdSheet]
) -> list[Command]:  # fmt: skip
    """What can be asked of a machine with a configuration."""
    configured = ((member.host, found[member.host].config) for member in members if member.host in found)
    return [question for host, config in configured if config for question in _questions(inventory, host, config)]


def _member(on: EtcdSheet, said: list[Result]) -> EtcdSheet:
    """With the answers to `_questions`."""
    assert on.config
    disk, data, owners, metrics, *checks = said
    revision = re.search(r"^etcd_debugging_mvcc_current_revision (\S+)", metrics.stdout, re.M)
    checked = zip(on.config.certificates, checks, strict=True)
    return replace(
        on, disk=parse_disk(disk.stdout), has_data=data.code == 0, foreign=tuple(owners.stdout.splitlines()),
        has_leader=etcd.parse_leader(metrics.stdout), revision=int(float(revision[1])) if revision else None,
        certificates=tuple(certificates.parse(c.cert, r.stdout, r.stderr) for c, r in checked),
    )  # fmt: skip


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


def _of_pages(found: Mapping[str, EtcdSheet]) -> list[Command]:
    """What a member says of itself, and to which cluster it belongs; only of those that answer, since one that hangs
    costs a time-out for each question."""
    up = [(host, on.config) for host, on in found.items() if on.config and on.has_leader is not None]
    pages = [(etcd.ask_page(host, config, "health"), _peer_page(host, config, "members")) for host, config in up]
    return [question for pair in pages for question in pair]


def _paged(on: EtcdSheet, health: Result, peers: Result) -> EtcdSheet:
    number = re.search(r"(?im)^x-etcd-cluster-id: *([0-9a-f]+)", peers.stdout)
    return replace(on, health=health.stdout.strip(), cluster_id=number[1] if number else None)


def _of_hashes(found: Mapping[str, EtcdSheet]) -> list[Command]:
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


def parse_hash(result: Result) -> DataHash | None:
    """`/members/hashkv` with its headers; None for anything but a hash, as where that revision was compacted."""
    try:
        asked = json.loads(result.command.argv[-2])
        body = json.loads(result.stdout[result.stdout.index("\n{") :])
        return DataHash(int(asked["revision"]), int(body["compact_revision"]), int(body["hash"]))
    except (ValueError, KeyError, TypeError):
        return None


# -- quorum ------------------------------------------------------------------------------------------------------


def _of_the_way(members: tuple[Member, ...], found: Mapping[str, EtcdSheet], port: int) -> list[Command]:
    """Whether members reach each other, of those that are there under their address."""
    there = [m for m in members if m.host in found and m.ip in found[m.host].addresses]
    return [quorum.ask_reach(a.host, b.ip, port) for a in there for b in there if a is not b]


def _cut_off(members: tuple[Member, ...], answers: Answers) -> dict[str, tuple[str, ...]]:
    """host → members' hosts that it cannot reach."""
    names = {member.ip: member.host for member in members}
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


def _of_users(inventory: Inventory, roles: Sequence[str]) -> list[Command]:
    """Alarms, and whether each role's own password logs in, from the configuration server."""
    client, limit = inventory.deephaven.client_config, f"--command-timeout={LOGIN_SECONDS}s"
    return [
        deephaven.etcdctl(inventory, limit, "alarm", "list", why="alarms of the cluster"),
        *(
            deephaven.etcdctl_as(inventory, f"{client}/{role}", limit, "get", "/requorum", why=f"{role} logs in")
            for role in roles
        ),
    ]


def _users(asking: _Asking, roles: Sequence[str], answers: list[Result]) -> tuple[set[str], dict[str, str | None]]:
    """What `_of_users` found: alarms; role → None, or etcd's words."""
    if not answers:
        asking.unseen.append("alarms and logins: no member sees a leader, or the configuration server is silent")
        return set(), {}
    if answers[0].code:
        asking.unseen.append(f"alarms: {answers[0].words}")
    alarms = {line.strip() for line in answers[0].stdout.splitlines() if line.strip()} if not answers[0].code else set()
    return alarms, {role: _login(answer) for role, answer in zip(roles, answers[1:], strict=True)}


def _login(answer: Result) -> str | None:
    """None for somebody who was let in, be it only to be told that this key is not for them."""
    return None if answer.code == 0 or "permission denied" in answer.stderr.lower() else answer.words


def _marks(asking: _Asking, answers: Answers) -> dict[str, Marker | None]:
    marks: dict[str, Marker | None] = {}
    for host, (said,) in answers.items():
        try:
            marks[host] = marker.parse(host, said.stdout)
        except Refusal as refusal:
            asking.unseen.append(f"whether a run is unfinished on {host}: {refusal.what}")
    return marks


def _of_old_members(cluster: Cluster, members: tuple[Member, ...]) -> list[Command]:
    """Whether addresses of old members that are none now still accept clients, asked from every Deephaven host."""
    inventory = cluster.inventory
    current = {member.ip for member in members}
    old = [m.ip for m in inventory.old_members if m.ip not in current] if members == inventory.members else []
    return [
        look(host, "timeout", "2", "bash", "-c", 'exec 3<>"/dev/tcp/$0/$1"', ip, str(inventory.etcd.client_port),
             why=f"whether the old {ip} still answers", root=False)
        for host in cluster.terms.deephaven_hosts for ip in old
    ]  # fmt: skip


def _open_to(answers: Answers) -> dict[str, tuple[str, ...]]:
    """Old address → hosts that it accepts."""
    pairs = [(r.command.argv[-2], host) for host, results in answers.items() for r in results if r.code == 0]
    return {ip: tuple(host for address, host in pairs if address == ip) for ip, _ in pairs}


def _down(answers: Answers) -> dict[str, tuple[str, ...]]:
    """host → Deephaven processes that are not up."""
    down: dict[str, tuple[str, ...]] = {}
    for host, (said,) in answers.items():
        processes = deephaven.parse_monit(said.stdout)
        left = tuple(deephaven.not_up(processes)) if processes else (f"monit names no process: {said.words}",)
        down |= {host: left} if left else {}
    return down
