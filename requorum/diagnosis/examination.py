"""Looks at everything and changes nothing: fills the `Sheet` that `causes` reads, from hosts that may be broken.

A host that does not answer, a file that cannot be parsed, a tool that fails are findings here, not the end.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from requorum.cluster import deephaven, etcd, quorum
from requorum.cluster.etcd import MemberConfig, address
from requorum.cluster.quorum import Installed, MemberFacts, Running
from requorum.diagnosis import questions, rounds
from requorum.diagnosis.causes import refused
from requorum.diagnosis.sheet import EtcdSheet, Sheet
from requorum.hosts import certificates, probe, system, systemd
from requorum.hosts.clock import Reading
from requorum.hosts.fleet import Unreachable
from requorum.hosts.probe import Probed
from requorum.hosts.question import Question
from requorum.hosts.system import Reach
from requorum.inventory import Inventory, Member
from requorum.refusal import Refusal
from requorum.run import facts, held, history, likeness
from requorum.run.held import Held
from requorum.run.history import Told
from requorum.run.marker import MarkerError
from requorum.run.run import Run
from requorum.snapshots import files, processes

Found = dict[str, EtcdSheet]  # by host


def reach(run: Run) -> tuple[dict[str, str], dict[str, Reading]]:
    """Who does not take commands as root, and why; everybody else's clock. What is odd about them is a note."""

    become = run.inventory.transport.as_root
    answers = run.fleet.each(run.terms.everyone, lambda machine: machine.ask(probe.ask_host(machine.name, become)))
    silent = {h: a.what if isinstance(a, Refusal) else str(a) for h, a in answers.items() if isinstance(a, Exception)}
    found = {host: probed for host, probed in answers.items() if isinstance(probed, Probed)}
    silent |= {host: probed.sudo.hinders for host, probed in found.items() if probed.sudo.hinders}
    found = {host: probed for host, probed in found.items() if host not in silent}
    likeness.keep(run, found)
    return silent, {host: probed.clock for host, probed in found.items() if isinstance(probed.clock, Reading)}


@dataclass
class _Asking:
    """Rounds of questions to whoever answers, and what could not be looked at, as sentences."""

    run: Run
    silent: dict[str, str]
    unseen: list[str] = field(default_factory=list)

    def ask(self, **kinds: Mapping[Any, Question[Any]]) -> dict[str, dict[Any, Any]]:
        """One trip to every host for several kinds of questions. What is not understood is unseen, and left out."""
        found = rounds.kinds(self.run.fleet, self.silent, **kinds)
        for kind, values in found.items():
            self.unseen += [f"{kind}: {v.where} {v.what}" for v in values.values() if isinstance(v, Refusal)]
        return {k: {key: v for key, v in vs.items() if not isinstance(v, Refusal)} for k, vs in found.items()}


def sheet(run: Run, silent: dict[str, str], clocks: dict[str, Reading]) -> Sheet:
    """Everything that can be told of the cluster now, in four trips. The last two are what `reach` found."""
    inventory, terms, asking = run.inventory, run.terms, _Asking(run, silent)
    client, last_up = inventory.deephaven.client_config, processes.last_up(inventory)
    first = asking.ask(
        unit={host: systemd.ask_unit(host, inventory.etcd.unit) for host in terms.etcd_hosts},
        configuration={host: questions.ask_config(host, inventory.etcd.config) for host in terms.etcd_hosts},
        addresses={host: system.ask_addresses(host) for host in terms.etcd_hosts},
        journal={host: questions.ask_last_words(host, inventory.etcd.unit) for host in terms.etcd_hosts},
        runs={host: history.ask_runs(host, inventory.cluster) for host in terms.everyone},
        passwords={host: deephaven.ask_passwords(host, client) for host in terms.deephaven_hosts},
        monit={host: questions.ask_down(inventory, host, last_up.get(host)) for host in terms.deephaven_hosts},
    )
    with contextlib.suppress(Unreachable):  # it fell silent meanwhile: then what its file says stands
        bare = [host for host, config in first["configuration"].items() if not isinstance(config, MemberConfig)]
        told = facts.told(run, facts.starts(run, bare))
        first["configuration"] |= {host: config for host, config in told.items() if isinstance(config, MemberConfig)}
    configs = {host: config for host, config in first["configuration"].items() if isinstance(config, MemberConfig)}
    members = installed_members(inventory, configs.values())
    found, reach, stale = _second(asking, first, configs, members)
    _third(asking, found)
    roles = sorted(first["passwords"].get(terms.configuration_server, ()))
    alarms, logins = _fourth(asking, found, roles)
    known = _known(asking, first["runs"])
    cut_off = _cut_off(members, found, reach, inventory.etcd.peer_port)
    return Sheet(
        inventory,
        run.options.hosts,
        members,
        quorum.decide(_member_facts(run, members, found, silent, cut_off)),
        silent,
        found,
        clocks,
        dict(known.marks),
        stale,
        tuple(sorted(alarms)),
        logins,
        tuple(deephaven.disagreements(first["passwords"])),
        {host: down for host, down in first["monit"].items() if down},
        tuple(asking.unseen),
        known.outlived,
        files.noted(inventory),
    )


# -- machines of etcd --------------------------------------------------------------------------------------------


def _second(
    asking: _Asking, first: dict[str, dict[Any, Any]], configs: dict[str, MemberConfig], members: tuple[Member, ...]
) -> tuple[Found, dict[tuple[str, str], Reach], dict[str, tuple[str, ...]]]:
    """The machines of etcd; whether (host, address) is a way; old addresses with the hosts that they accept.

    A machine whose unit or addresses are not understood has no sheet: nothing may be concluded of it.
    """
    inventory, terms = asking.run.inventory, asking.run.terms
    there = {host: first["addresses"][host] for host in first["unit"] if host in first["addresses"]}
    ours = {member.host: configs[member.host] for member in members if member.host in configs}
    named = [(host, n, c) for host, config in ours.items() for n, c in enumerate(config.certificates)]
    own = {host: address(config.peer_url).host for host, config in ours.items()}
    up = [member for member in members if member.ip in there.get(member.host, ())]
    ways = [(a.host, b.ip) for a in up for b in up if a is not b]
    current = {member.ip for member in members}
    old = [m.ip for m in inventory.old_members if m.ip not in current] if members == inventory.members else []
    doors = [(ip, host) for host in terms.deephaven_hosts for ip in old]
    second = asking.ask(
        disk={host: questions.ask_disk(host, config) for host, config in ours.items()},
        data={host: questions.ask_data(host, config) for host, config in ours.items()},
        owners={host: questions.ask_unusable(host, inventory, config) for host, config in ours.items()},
        metrics={host: etcd.ask_metrics(host, config) for host, config in ours.items()},
        certificate={(host, n): certificates.ask_certificate(host, c, own[host]) for host, n, c in named},
        reach={(host, ip): system.ask_reach(host, ip, inventory.etcd.peer_port) for host, ip in ways},
        stale={(ip, host): system.ask_open(host, ip, inventory.etcd.client_port) for ip, host in doors},
    )
    found = {}
    for host, addresses in there.items():
        config = first["configuration"].get(host, "is not understood")
        metrics = second["metrics"].get(host, etcd.Metrics())
        found[host] = EtcdSheet(
            unit=first["unit"][host],
            config=configs.get(host),
            config_problem=config if isinstance(config, str) else "",
            addresses=addresses,
            has_data=second["data"].get(host, False),
            disk=second["disk"].get(host),
            foreign=second["owners"].get(host, ()),
            certificates=tuple(checked for (at, _), checked in second["certificate"].items() if at == host),
            has_leader=metrics.has_leader,
            revision=metrics.revision,
            said=first["journal"].get(host, ()),
        )
    accepted = {ip: tuple(h for (at, h), yes in second["stale"].items() if at == ip and yes) for ip in old}
    return found, second["reach"], {ip: hosts for ip, hosts in accepted.items() if hosts}


def _third(asking: _Asking, found: Found) -> None:
    """What members say of themselves, and to which cluster they belong; only of those that answer, since one that hangs
    costs a time-out for each question."""
    up = {host: on.config for host, on in found.items() if on.config and on.has_leader is not None}
    third = asking.ask(
        health={host: questions.ask_health(host, config) for host, config in up.items()},
        cluster={host: questions.ask_cluster_id(host, config) for host, config in up.items()},
    )
    for host in up:
        health, number = third["health"].get(host, ""), third["cluster"].get(host)
        found[host] = replace(found[host], health=health, cluster_id=number)


def _fourth(asking: _Asking, found: Found, roles: Sequence[str]) -> tuple[set[str], dict[str, str | None]]:
    """Every member's hash at the lowest revision that any of its cluster has; alarms; role → None, or etcd's words."""
    inventory, led = asking.run.inventory, any(on.has_leader for on in found.values())
    lowest: dict[str, int] = {}
    for on in found.values():
        if on.cluster_id and on.revision:
            lowest[on.cluster_id] = min(lowest.get(on.cluster_id, on.revision), on.revision)
    fourth = asking.ask(
        hash={
            host: questions.ask_hash(host, on.config, lowest[on.cluster_id])
            for host, on in found.items()
            if on.config and on.cluster_id in lowest
        },
        alarms={"": questions.ask_alarms(inventory)} if led else {},
        login={role: questions.ask_login(inventory, role) for role in roles} if led else {},
    )
    for host, digest in fourth["hash"].items():
        found[host] = replace(found[host], hash=digest)
    ill = {f"{host}: {on.health}" for host, on in found.items() if "ALARM" in on.health}
    if not led or inventory.deephaven.configuration_server in asking.silent:
        asking.unseen.append("alarms and logins: no member sees a leader, or the configuration server is silent")
        return ill, {}
    alarms = fourth["alarms"].get("", ())
    if isinstance(alarms, str):
        asking.unseen.append(f"alarms: {alarms}")
    if not roles:
        asking.unseen.append("logins: the configuration server holds no role's password")
    asking.unseen += [
        f"login of {role}: {said}" for role, said in fourth["login"].items() if said and not refused(said)
    ]
    return ill | (set() if isinstance(alarms, str) else set(alarms)), fourth["login"]


def installed_members(inventory: Inventory, configs: Iterable[MemberConfig]) -> tuple[Member, ...]:
    """`members` or `old_members`: whose addresses the installed configurations name. In doubt the first.

    Before a recovery to other addresses or machines the old ones are in place, after it the new ones.
    """
    named = [{address(url).host for _, url in config.peers} for config in configs]

    def fit(members: tuple[Member, ...]) -> int:
        ips = {member.ip for member in members}
        return sum(len(addresses & ips) for addresses in named)

    return max((inventory.members, inventory.old_members), key=fit)


def _cut_off(
    members: tuple[Member, ...], found: Mapping[str, EtcdSheet], reach: Mapping[tuple[str, str], Reach], port: int
) -> dict[str, tuple[str, ...]]:
    """host → members' hosts that it cannot reach."""
    names = {member.ip: member.host for member in members}
    listening = {
        member.ip
        for member in members
        if (on := found.get(member.host)) and quorum.listens(on.config, on.has_leader, member.ip, port)
    }
    cut: dict[str, tuple[str, ...]] = {}
    for (host, ip), way in reach.items():
        if quorum.is_cut_off(way, ip in listening):
            cut[host] = (*cut.get(host, ()), names[ip])
    return cut


def _member_facts(
    run: Run,
    members: tuple[Member, ...],
    found: Mapping[str, EtcdSheet],
    silent: Mapping[str, str],
    cut_off: Mapping[str, tuple[str, ...]],
) -> list[MemberFacts]:
    """As the recovery sees them; watched for three election timeouts where a majority sees no leader."""

    now = []
    for member in members:
        on = None if member.host in silent else found.get(member.host)
        installed = Installed(on.unit, on.config, on.addresses) if on else ""
        running = Running(0 if on.has_data else None, on.has_leader) if on else None
        gone, cut = member.host in run.terms.gone, cut_off.get(member.host, ())
        now.append(quorum.sheet(member, installed, running, gone, cut))
    leaders = {host: found[host].has_leader for host in found}
    up = {h: s.config for h, s in found.items() if s.config and s.has_leader is not None and h not in silent}
    led = sum(bool(leaders.get(member.host)) for member in members)
    if quorum.majority_is_down(now) or 2 * led > len(members) or not up:
        return now
    with contextlib.suppress(Unreachable):  # it fell silent meanwhile: what was seen before stands
        return quorum.with_leaders(now, facts.watch_leaders(run, up, {host: leaders[host] for host in up}))
    return now


def _known(asking: _Asking, runs: Mapping[str, Told]) -> Held:
    inventory = asking.run.inventory
    broken = {host: told.mark for host, told in runs.items() if isinstance(told.mark, MarkerError)}
    asking.unseen += [f"whether a run is unfinished on {host}: {error.what}" for host, error in broken.items()]
    found = held.hold(
        {h: told for h, told in runs.items() if h not in broken}, inventory.deephaven.configuration_server
    )
    refusal = held.refusal(found, inventory)
    asking.unseen += [f"which run is unfinished: {refusal.where}: {refusal.what}"] if refusal else []
    return found
