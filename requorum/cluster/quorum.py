"""Is quorum lost? The one decision that everything else waits for, as a pure function over facts.

Facts come from each old member's own host: unit, configuration, data, addresses, and whether the member sees a
leader. A host that could not be asked is unknown, and unknown is never lost: it could be the healthy half.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
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
    def loops(self) -> bool:
        """Whether its etcd ends as soon as it has started: systemd starts it already, and nobody else has to."""
        return self.restarts or (self.unit is not None and self.unit.sub == "auto-restart")

    @property
    def masked(self) -> bool:
        return self.unit is not None and "masked" in (self.unit.load, self.unit.enabled)

    @property
    def words(self) -> str:
        """Its state, as it is said of its host."""
        if self.state is State.UNKNOWN and self.reached:
            return "the machine answers, its etcd does not"
        loops = self.loops and self.state in (State.STARTABLE, State.LOST)
        return f"its etcd starts and ends again and again; {self.state.value}" if loops else self.state.value

    @property
    def state(self) -> State:
        if self.gone:
            return State.GONE
        if not self.reached:
            return State.UNKNOWN
        if self.has_leader:  # etcd's own word: somewhere there is a quorum
            return State.HEALTHY
        if self.unit and self.unit.running and self.has_leader is None and not self.loops:
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
        parts = [self.words]
        if self.state is State.UNKNOWN and self.reached:
            none = self.unread or f"{self.member.host} has no configuration"
            parts.append(f"unit {self.unit}, but {'/metrics gives no answer' if self.config else none}")
        if self.state in (State.STARTABLE, State.LOST):
            parts.append(f"unit {self.unit}")
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


def refusal(
    verdict: Verdict, rebuild: bool, unit: str, stopping: bool = False, taking_part: Collection[str] = ()
) -> Refusal | None:
    """Why the cluster must not be rebuilt, and what to do instead; None where the runbook may go on.

    `stopping`: an unfinished run has begun to stop members itself, so that they could be started proves nothing;
    `taking_part`: hosts that the cluster to build needs, which nobody may call gone.
    """
    if verdict.kind is Kind.UNKNOWN:
        return _unknown(verdict, unit, taking_part)
    healthy = [facts.member.host for facts in verdict.members if facts.state is State.HEALTHY]
    if verdict.kind is Kind.INTACT and len(healthy) <= len(verdict.members) // 2:
        return Disproved(
            "what is said of the old members agrees",
            verdict.found(),
            f"on {', '.join(healthy)}, see of how many members its cluster is: it sees a leader, so a majority of the "
            "old cluster lives somewhere, or it was forced alone. Look at the members that are said to be down too: "
            "perhaps their /metrics does not answer, or old_members in the inventory is wrong (it defaults to "
            "members), or --gone names a machine that lives",
        )
    if rebuild or verdict.kind is Kind.LOST or (stopping and verdict.kind is Kind.RESTARTABLE):
        return None
    if verdict.kind is Kind.INTACT:
        return _intact(verdict, unit)
    startable = [facts for facts in verdict.members if facts.state is State.STARTABLE]
    stopped = [facts for facts in startable if not facts.loops]
    leaderless = [facts for facts in verdict.members if facts.state is State.LEADERLESS]
    enough = len(leaderless) + len(stopped) > len(verdict.members) // 2
    return _startable(verdict, stopped, unit) if enough else _looping(verdict, startable, unit)


def _unknown(verdict: Verdict, unit: str, taking_part: Collection[str]) -> Disproved:
    """A machine that answers is not gone; neither is one that the new cluster needs."""
    unsure = [facts for facts in verdict.members if facts.state is State.UNKNOWN]
    mute = tuple(facts.member.host for facts in unsure if facts.reached)
    silent = tuple(facts.member.host for facts in unsure if not facts.reached)
    needed = ", ".join(host for host in silent if host in taking_part)
    away = ", ".join(host for host in silent if host not in taking_part)
    ways = [f"make {', '.join(silent)} answer"] if silent else []
    ways += [f"on {', '.join(mute)}, see what etcd does: the last lines of {unit}'s journal"] if mute else []
    ways += ["unknown is not lost, it could be the healthy half"]
    ways += [f"for {needed}, which the new cluster needs, a replacement can stand in the inventory"] if needed else []
    if away:
        ways.append(
            f"only where {away} does not answer since it is fenced or destroyed for good: --gone=HOST, and what only "
            "its disk holds is given up with it"
        )
    told = remedy("; ".join(ways), *(() if silent else (systemd.journal(unit),)))
    unknown = Disproved("a majority of the old members is known to be down or without a leader", verdict.found(), told)
    unknown.hosts = (*mute, *silent)
    return unknown


def _intact(verdict: Verdict, unit: str) -> Disproved:
    """Good news: and what of it can be started."""
    leading = [f.member.host for f in verdict.members if f.state is State.HEALTHY]
    down = {f.member.host: f for f in verdict.members if f.state not in (State.HEALTHY, State.GONE)}
    stopped = [facts for facts in down.values() if facts.state is State.STARTABLE and not facts.loops]
    rest = remedy(
        "nothing to rebuild: quorum is intact. To move a healthy cluster: docs/night.md#moving-a-healthy-cluster",
        *(_starting(unit) if stopped else ()),
        first=_start(stopped, unit, "the others go on meanwhile") if stopped else _spare(verdict),
    )
    refused = Disproved("quorum is lost", verdict.found(), rest)
    others = "; ".join(f"{host}: {facts.words}" for host, facts in down.items())
    intact = f"quorum is intact, {', '.join(leading)} see{'s' if len(leading) == 1 else ''} a leader"
    whole = f"{intact}. Nothing is to be rebuilt: whatever is wrong, it is something else"
    refused.news, refused.hosts = f"etcd works: {intact}. {others}" if others else whole, _hosts(stopped)
    return refused


def _spare(verdict: Verdict) -> str:
    """How many members more may fail, where nobody can just be started."""
    away = [f.member.host for f in verdict.members if f.state is not State.HEALTHY]
    spare = (len(verdict.members) - 1) // 2 - len(away)
    if not away:
        return "find out what is wrong, by the line below: a quota, a password, a certificate, a member apart"
    left = f"{spare} more may fail" if spare else "with one more that fails it stops"
    return f"leave the others as they are: {left}. Mend or replace {', '.join(away)} by day"


def _startable(verdict: Verdict, stopped: Sequence[MemberFacts], unit: str) -> Disproved:
    """Good news: who stands still has all that a start needs."""
    hosts, several = _hosts(stopped), len(stopped) > 1
    where = ", ".join(hosts)
    tried = "If that was tried and failed, run again with --rebuild"
    refused = Disproved(
        "quorum is lost for good",
        verdict.found(),
        remedy(
            f"a majority has its data and address in place and only needs starting. {_masked(stopped, unit)}"
            f"On {where}: systemctl start --no-block {unit}. {tried}",
            *_starting(unit),
            first=f"{_start(stopped, unit, 'all of them: none gets ready alone' if several else '')}. {tried}",
        ),
    )
    have, need = ("have their", "need") if several else ("has its", "needs")
    news = f"nothing needs to be rebuilt: {where} {have} data and address in place, and only {need} starting"
    refused.news, refused.hosts = news, hosts
    return refused


def _looping(verdict: Verdict, startable: Sequence[MemberFacts], unit: str) -> Disproved:
    """No good news: systemd starts them already, and they end."""
    looping = _hosts([facts for facts in startable if facts.loops])
    others = ", ".join(_hosts([facts for facts in startable if not facts.loops]))
    told = Disproved(
        "a majority is known to be lost, and not only to end whenever it is started",
        verdict.found(),
        remedy(
            f"mend what etcd says on {', '.join(looping)} when it ends: a start alone does not help. The last lines of "
            f"its journal there say it{f'. Then start it on {others} too' if others else ''}. Only where nothing "
            "mends it, run again with --rebuild, which recovers from the data on these disks",
            systemd.journal(unit),
            first=f"read why etcd ends on {', '.join(looping)}, as its journal says, and mend that: no start helps"
            + (f". Then start it on {others} too" if others else "")
            + ". Only where nothing mends it, run again with --rebuild, which recovers from the data on these disks",
        ),
    )
    told.hosts = looping
    return told


def _start(stopped: Sequence[MemberFacts], unit: str, beside: str) -> str:
    asked = _masked(stopped, unit)
    return f"{asked}{'Then start' if asked else 'start'} etcd on {', '.join(_hosts(stopped))}{beside and f'; {beside}'}"


def _masked(stopped: Sequence[MemberFacts], unit: str) -> str:
    """Somebody masked a unit for a reason: a member that is gone must never come back."""
    where = ", ".join(_hosts([facts for facts in stopped if facts.masked]))
    ask = f"ask who masked it there, and why; only where nothing speaks against it, as root: systemctl unmask {unit}. "
    return f"{unit} is masked on {where}: {ask}" if where else ""


def _starting(unit: str) -> list[tuple[str, ...]]:
    return [("systemctl", "start", "--no-block", unit)]


def _hosts(members: Sequence[MemberFacts]) -> tuple[str, ...]:
    return tuple(facts.member.host for facts in members)


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
