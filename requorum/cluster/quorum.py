"""Is quorum lost? The one decision that everything else waits for, as a pure function over facts.

Facts come from each old member's own host: unit, configuration, data, addresses, and whether the member sees a
leader. A host that could not be asked is unknown, and unknown is never lost: it could be the healthy half.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from requorum.cluster import etcd
from requorum.cluster.etcd import EtcdError, MemberConfig, address
from requorum.hosts import system, systemd
from requorum.hosts.question import Question
from requorum.hosts.system import Reach
from requorum.hosts.systemd import Unit
from requorum.inventory import Etcd, Member
from requorum.refusal import Disproved, Refusal, remedy


class State(Enum):
    """What is known of one old member."""

    HEALTHY = "up, and sees a leader"
    LEADERLESS = "up, without a leader"
    STARTABLE = "down, with its data and its address in place"
    LOST = "down, and cannot come back as it was"
    GONE = "gone, by the operator's word"
    UNKNOWN = "could not be asked"


@dataclass(frozen=True)
class MemberFacts:
    """What one old member's host says. `reached` False makes all other facts meaningless; `silence`: why it was not."""

    member: Member
    gone: bool = False
    reached: bool = True
    unit: Unit | None = None
    config: MemberConfig | None = None
    has_data: bool = False
    data_bytes: int = 0
    addresses: tuple[str, ...] = ()
    has_leader: bool | None = None
    cut_off_from: tuple[str, ...] = ()
    silence: str = ""
    restarts: bool = False  # its unit was seen to start again by itself, without an answer in between
    unread: str = ""  # why its configuration cannot be read, where there is one

    @property
    def address_in_place(self) -> bool:
        return self.member.ip in self.addresses

    @property
    def state(self) -> State:
        if self.gone:
            return State.GONE
        if not self.reached:
            return State.UNKNOWN
        if self.has_leader:  # etcd's own word: somewhere there is a quorum
            return State.HEALTHY
        loops = self.restarts or (self.unit is not None and self.unit.sub == "auto-restart")
        if self.unit and self.unit.running and self.has_leader is None and not loops:
            return State.UNKNOWN
        if self.has_leader is False and self.address_in_place:
            return State.LEADERLESS
        startable = self.unit and self.unit.installed and self.config
        if startable and self.has_data and self.address_in_place:
            return State.STARTABLE
        return State.LOST

    @property
    def _data(self) -> str:
        if self.unread or self.config is None:
            return f"of its data nothing is known: {self.unread or 'no configuration says where it is'}"
        return "data present" if self.has_data else "no data"

    def __str__(self) -> str:
        """For the operator: the state and what it was read from."""
        parts = [self.state.value]
        if self.state is State.UNKNOWN and self.reached:
            none = self.unread or f"{self.member.host} has no configuration"
            parts.append(f"unit {self.unit}, but {'/metrics gives no answer' if self.config else none}")
        if self.state in (State.STARTABLE, State.LOST):
            parts.append(f"unit {self.unit}{', which starts again and again' if self.restarts else ''}")
            parts.append(self._data)
            if not self.address_in_place:
                parts.append(f"{self.member.ip} is not an address of this host any more")
        if self.cut_off_from:
            parts.append(f"cannot reach {', '.join(self.cut_off_from)}")
        return "; ".join(parts)


@dataclass(frozen=True)
class Installed:
    """What stands on a member's host, whether etcd runs or not. `config`: None where there is none, or why not."""

    unit: Unit
    config: MemberConfig | EtcdError | None
    addresses: tuple[str, ...]


@dataclass(frozen=True)
class Running:
    """What only its configuration leads to: bytes of its data, None where there is none; whether it sees a leader."""

    size: int | None = None
    has_leader: bool | None = None


def sheet(
    member: Member,
    installed: Installed | str,
    running: Running | None = None,
    gone: bool = False,
    cut_off_from: tuple[str, ...] = (),
) -> MemberFacts:
    """The one maker of a fact sheet. `installed`: or why its host could not be asked."""
    if gone or isinstance(installed, str):
        return MemberFacts(member, gone, reached=gone, silence=installed if isinstance(installed, str) else "")
    config, running = installed.config, running or Running()
    return MemberFacts(
        member,
        unit=installed.unit,
        config=config if isinstance(config, MemberConfig) else None,
        unread=f"{config.where} {config.what}" if isinstance(config, EtcdError) else "",
        has_data=running.size is not None,
        data_bytes=running.size or 0,
        addresses=installed.addresses,
        has_leader=running.has_leader,
        cut_off_from=cut_off_from,
    )


def as_told(installed: Installed, told: MemberConfig | str | None) -> Installed:
    """The same where its unit gives etcd the configuration by flags and environment, or a part of it."""
    if isinstance(told, str):
        return replace(installed, config=EtcdError("by its unit:", told, "give etcd a configuration file"))
    return installed if told is None else replace(installed, config=told)


def with_leaders(sheets: Sequence[MemberFacts], leaders: Mapping[str, bool | None]) -> list[MemberFacts]:
    """As one knows it who looked for longer. Shape of `leaders`: host → whether it sees one."""
    return [replace(facts, has_leader=leaders.get(facts.member.host, facts.has_leader)) for facts in sheets]


class Kind(Enum):
    INTACT = "quorum is intact"
    RESTARTABLE = "quorum only needs members to be started"
    UNKNOWN = "it is unknown whether quorum is lost"
    LOST = "quorum is lost"


@dataclass(frozen=True)
class Verdict:
    """The decision and what it rests on. `start` are the members whose start would bring quorum back."""

    kind: Kind
    members: tuple[MemberFacts, ...]
    start: tuple[str, ...] = ()

    def found(self) -> dict[str, str]:
        return {facts.member.host: str(facts) for facts in self.members}


def decide(members: Sequence[MemberFacts]) -> Verdict:
    """Lost = a majority is positively down, or up and leaderless. Shape: one fact sheet for each old member.

    One member that sees a leader is enough to say that quorum is intact, whatever is thought of the others.
    """
    majority = len(members) // 2 + 1
    states = [facts.state for facts in members]
    healthy = states.count(State.HEALTHY)
    leaderless = states.count(State.LEADERLESS)
    startable = [facts for facts in members if facts.state is State.STARTABLE]
    dead = states.count(State.LOST) + states.count(State.GONE) + len(startable)
    everyone = tuple(members)
    if healthy:
        return Verdict(Kind.INTACT, everyone)
    if dead + leaderless < majority:
        return Verdict(Kind.UNKNOWN, everyone)
    alive = healthy + leaderless
    if startable and alive + len(startable) >= majority:
        return Verdict(Kind.RESTARTABLE, everyone, tuple(f.member.host for f in startable))
    return Verdict(Kind.LOST, everyone)


def majority_is_down(members: Sequence[MemberFacts]) -> bool:
    """A majority is positively down and nobody claims to see a leader: watching longer cannot change the verdict."""
    if any(facts.state is State.HEALTHY for facts in members):  # it may just not have noticed the loss yet
        return False
    down = [facts for facts in members if facts.state in (State.LOST, State.GONE, State.STARTABLE)]
    return len(down) >= len(members) // 2 + 1


def refusal(verdict: Verdict, rebuild: bool, unit: str, stopping: bool = False) -> Refusal | None:
    """Why the cluster must not be rebuilt, and what to do instead; None where the runbook may go on.

    `stopping`: an unfinished run has begun to stop members itself, so that they could be started proves nothing.
    """
    if verdict.kind is Kind.UNKNOWN:
        unknown = Disproved(
            "a majority of the old members is known to be down or without a leader",
            verdict.found(),
            "make those machines answer first: unknown is not lost, it could be the healthy half. Only where a machine "
            "does not answer since it is fenced or destroyed for good: --gone=HOST, and what only its disk holds is "
            "given up with it",
        )
        unknown.hosts = tuple(f.member.host for f in verdict.members if f.state is State.UNKNOWN)
        return unknown
    healthy = [facts for facts in verdict.members if facts.state is State.HEALTHY]
    if verdict.kind is Kind.INTACT and len(healthy) <= len(verdict.members) // 2:
        return Disproved(
            "what is said of the old members agrees",
            verdict.found(),
            f"{', '.join(f.member.host for f in healthy)} sees a leader, so a majority of the old cluster lives "
            "somewhere: look at the members that are said to be down. Perhaps their /metrics does not answer, or "
            "old_members in the inventory is wrong (it defaults to members), or --gone names a machine that lives",
        )
    if rebuild or verdict.kind is Kind.LOST or (stopping and verdict.kind is Kind.RESTARTABLE):
        return None
    return _intact(verdict, unit) if verdict.kind is Kind.INTACT else _startable(verdict, unit)


def _intact(verdict: Verdict, unit: str) -> Disproved:
    """Good news: and what of it can be started."""
    leading = [f.member.host for f in verdict.members if f.state is State.HEALTHY]
    down = {f.member.host: f for f in verdict.members if f.state not in (State.HEALTHY, State.GONE)}
    start = tuple(host for host, facts in down.items() if facts.state is State.STARTABLE)
    rest = remedy(
        "nothing to rebuild: quorum is intact. To move a healthy cluster: docs/night.md#moving-a-healthy-cluster",
        *(_starting(down, start, unit) if start else ()),
        first=f"start etcd on {', '.join(start)}; the others go on meanwhile" if start else "leave etcd as it is",
    )
    refused = Disproved("quorum is lost", verdict.found(), rest)
    others = "; ".join(f"{host} is {facts.state.value}" for host, facts in down.items())
    works = f"etcd works: quorum is intact, {', '.join(leading)} see{'s' if len(leading) == 1 else ''} a leader"
    refused.news, refused.hosts = f"{works}. {others}" if others else works, start
    return refused


def _startable(verdict: Verdict, unit: str) -> Disproved:
    found, where = {f.member.host: f for f in verdict.members}, ", ".join(verdict.start)
    tried = "If that was tried and failed, run again with --rebuild"
    refused = Disproved(
        "quorum is lost for good",
        verdict.found(),
        remedy(
            f"a majority has its data and address in place and only needs starting. On {where}: "
            f"systemctl unmask {unit}; systemctl start --no-block {unit}. {tried}",
            *_starting(found, verdict.start, unit),
            first=f"start etcd on {where}, all of them: none gets ready alone. {tried}",
        ),
    )
    refused.news = f"nothing needs to be rebuilt: {where} have their data and address in place, and only need starting"
    refused.hosts = verdict.start
    return refused


def _starting(found: Mapping[str, MemberFacts], hosts: Sequence[str], unit: str) -> list[tuple[str, ...]]:
    units = (found[host].unit for host in hosts)
    masked = any(u is not None and "masked" in (u.load, u.enabled) for u in units)
    return [*([("systemctl", "unmask", unit)] if masked else []), ("systemctl", "start", "--no-block", unit)]


# -- questions ---------------------------------------------------------------------------------------------------


def ask_installed(host: str, settings: Etcd) -> Question[Installed]:
    unit, addresses = systemd.ask_unit(host, settings.unit), system.ask_addresses(host)
    config = etcd.ask_config(host, settings.config)
    return Question(
        (*unit.commands, *config.commands, *addresses.commands),
        lambda state, text, listed: Installed(unit.read(state), config.read(text), addresses.read(listed)),
    )


def ask_running(host: str, config: MemberConfig) -> Question[Running]:
    size, leader = etcd.ask_size(host, config), etcd.ask_leader(host, config)
    return Question((*size.commands, *leader.commands), lambda a, b: Running(size.read(a), leader.read(b)))


def is_cut_off(reach: Reach, listens: bool) -> bool:
    """Whether a peer port cannot be reached. Where the peer's own etcd `listens` there, it is a filter that refuses."""
    return reach == "silent" or (listens and reach == "refused")


def listens(config: MemberConfig | None, has_leader: bool | None, ip: str, port: int) -> bool:
    """Whether a member's own host proves its peer port open: its etcd answers, and is configured for this address.

    Before a move to other addresses it still listens on the old one alone, and refuses on the new one.
    """
    if config is None or has_leader is None:
        return False
    return address(config.peer_url)[1:] == (ip, port)
