"""How things stand on the hosts when a run has ended: Deephaven, etcd, data, whose run is under way. One look."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from requorum.cluster import deephaven, etcd
from requorum.cluster.etcd import MemberConfig
from requorum.command import Result, look
from requorum.evidence.journal import now
from requorum.hosts import system, systemd
from requorum.hosts.fleet import Fleet
from requorum.hosts.question import NAME, Question, both, complete, plain
from requorum.inventory import Inventory
from requorum.refusal import Refusal
from requorum.run import marker
from requorum.run.marker import Marker, Phase
from requorum.run.terms import Terms

SECONDS = 10  # for each of two rounds: nobody waits for the end of a run as for its stages


@dataclass(frozen=True)
class Member:
    """What an etcd machine says. `leads`: whether it sees a leader, None where it does not say; `token`: of its
    installed configuration; `data`: the directories below the data root in which a database is, None where it does not
    say; `aside`: whether the run has set an old unit aside there."""

    runs: bool
    leads: bool | None = None
    token: str | None = None
    data: tuple[str, ...] | None = None
    aside: bool = False


@dataclass(frozen=True)
class Deephaven:
    """How many of a host's processes are up, and how many are not off, `of` all that monit knows. `running`: what of
    its accounts runs, whatever monit knows, None where that is not known."""

    up: int
    on: int
    of: int = 0
    running: tuple[str, ...] | None = None

    @property
    def off(self) -> bool:
        """As Step 1 proves it: monit supervises none, and none runs."""
        return self.on == 0 and self.running == ()


@dataclass(frozen=True)
class Seen:
    """By host; a text in place of what it is: why it is not known. `mark`: the configuration server's; `root`: below
    which data was looked for."""

    at: str
    deephaven: Mapping[str, Deephaven | str] = field(default_factory=dict)
    etcd: Mapping[str, Member | str] = field(default_factory=dict)
    mark: Marker | None = None
    root: str = ""

    def fields(self) -> dict[str, object]:
        """Of `summary.json`."""

        def shown(found: Mapping[str, Deephaven | str] | Mapping[str, Member | str]) -> dict[str, object]:
            return {host: one if isinstance(one, str) else asdict(one) for host, one in found.items()}

        return {"at": self.at, "deephaven": shown(self.deephaven), "etcd": shown(self.etcd)}


def seen(fleet: Fleet, terms: Terms, silent: Sequence[str] = (), seconds: float = SECONDS) -> Seen:
    """What all hosts say now. `silent`: those that did not answer the run and are not asked again."""
    inventory = terms.inventory
    processes = {host: deephaven.ask_processes(inventory, host) for host in terms.deephaven_hosts}
    accounts = {host: ask_running(inventory, host) for host in terms.deephaven_hosts}
    units = {host: systemd.ask_unit(host, inventory.etcd.unit) for host in terms.etcd_hosts}
    configs = {host: etcd.ask_config(host, inventory.etcd.config) for host in terms.etcd_hosts}
    data = {host: ask_data(host, inventory.etcd.data_root) for host in terms.etcd_hosts}
    begun = terms.etcd_hosts if terms.mark.phase > Phase.OPEN else ()
    aside = {host: ask_aside(host, systemd.kept(terms.aside, inventory.etcd.unit)) for host in begun}
    server = terms.configuration_server
    mark = {server: ask_mark(server, inventory.cluster)}
    first = Round(fleet, terms.everyone, silent, seconds)
    first.put(processes, accounts, units, configs, data, aside, mark)
    told = {host: first.understood(question) for host, question in units.items()}
    running = {host: unit.running for host, unit in told.items() if not isinstance(unit, str) and unit.load}
    known = {h: config for h in running if isinstance(config := first.understood(configs[h]), MemberConfig)}
    leaders = {h: etcd.ask_leader(h, config) for h, config in known.items() if running[h]}
    second = Round(fleet, leaders, silent, seconds)
    second.put(leaders)

    def member(host: str) -> Member | str:
        if host not in running:
            return first.why(host) or ("did not answer" if host in silent else "its systemd does not tell")
        found, config = first.understood(data[host]), known.get(host)
        leads = second.understood(leaders[host]) if host in leaders else None
        tokens = found if isinstance(found, tuple) else None
        return Member(
            running[host],
            leads if isinstance(leads, bool) else None,
            config.token if config else None,
            tokens,
            host in aside and first.understood(aside[host]) is True,
        )

    own = first.understood(mark[server])
    return Seen(
        now(),
        {h: _deephaven(first.understood(processes[h]), first.understood(accounts[h])) for h in processes},
        {host: member(host) for host in terms.etcd_hosts},
        own if isinstance(own, Marker) else None,
        inventory.etcd.data_root,
    )


def _deephaven(found: dict[str, str] | str, running: tuple[str, ...] | str) -> Deephaven | str:
    if isinstance(found, str):
        return found
    known = running if isinstance(running, tuple) else None
    return Deephaven(len(deephaven.up(found)), len(deephaven.not_off(found)), len(found), known)


def ask_running(inventory: Inventory, host: str) -> Question[tuple[str, ...]]:
    """What Deephaven's accounts run, as Step 1 asks. Raises where a tool does not say."""
    accounts = system.ask_processes(host, inventory.deephaven.admin_user, inventory.deephaven.accounts)
    asked = both(accounts, system.ask_connections(host, inventory.etcd.client_port))

    def read(*answers: Result) -> tuple[str, ...]:
        if silent := [answer for answer in answers if answer.stderr.strip()]:
            raise Refusal(host, f"does not tell what runs: {plain(silent[0].words)}", "look at it by hand")
        return tuple(str(process) for process in deephaven.still_running(*asked.understand(answers)))

    return Question(asked.commands, read)


def ask_data(host: str, data_root: str) -> Question[tuple[str, ...]]:
    """The names of the directories below the data root that hold a database. Raises where not all could be seen."""
    database = re.compile(rf"\s{re.escape(data_root)}/({NAME.pattern})/member/snap/db$", re.M)
    command = look(host, "find", data_root, "-maxdepth", "4", "-ls", why="which data is there")

    def read(answer: Result) -> tuple[str, ...]:
        return tuple(sorted(set(database.findall(complete(answer).stdout))))

    return Question(command, read)


def ask_aside(host: str, kept: Sequence[str]) -> Question[bool]:
    """Whether a unit's file lies in one of these places."""
    command = look(host, "ls", "-d", *kept, why="whether its old unit is set aside")
    return Question(command, lambda answer: bool(set(complete(answer).stdout.splitlines()) & set(kept)))


def ask_mark(host: str, cluster: str) -> Question[Marker | None]:
    """None where there is none, or one that is not understood."""

    def read(answer: Result) -> Marker | None:
        found = marker.read_mark(host, complete(answer).stdout)
        return found if isinstance(found, Marker) else None

    return Question(look(host, "cat", marker.path(cluster), why="mark of a run"), read)


class Round:
    """Some questions to each host, all at the same time, for so many seconds; who is late has not answered."""

    def __init__(self, fleet: Fleet, hosts: Iterable[str], silent: Sequence[str], seconds: float) -> None:
        self._fleet, self._seconds = fleet, seconds
        self._hosts = [host for host in hosts if host not in silent]
        self._said: dict[int, list[Result]] = {}
        self._why: dict[str, str] = {}

    def put(self, *questions: Mapping[str, Question[Any]]) -> None:
        asked = {host: [of[host] for of in questions if host in of] for host in self._hosts}
        commands = [command for of in asked.values() for question in of for command in question.commands]
        for host, answer in self._fleet.glance(commands, self._seconds).items():
            if isinstance(answer, list):
                left = iter(answer)
                for question in asked[host]:
                    self._said[id(question)] = [result for _, result in zip(question.commands, left, strict=False)]
            else:
                self._why[host] = answer.what if isinstance(answer, Refusal) else "did not answer in time"

    def why(self, host: str) -> str:
        return self._why.get(host, "")

    def understood(self, question: Question[Any]) -> Any:
        """Its value, or why it is not known."""
        said = self._said.get(id(question))
        if said is None or len(said) != len(question.commands):
            return self.why(question.host) or "did not answer"
        try:
            return question.understand(said)
        except Refusal as refusal:
            return refusal.what
