"""Restarting single members of a cluster that may be healthy: how everyone stands, what it would cost, the way back.

`standing` asks, `cost` decides (pure), `is_back` proves. A member whose machine is silent counts as
not healthy here: what cannot be seen must not be relied on when another member is taken away.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from requorum.cluster import etcd, quorum
from requorum.cluster.etcd import MemberConfig
from requorum.cluster.quorum import Installed, MemberFacts, Running
from requorum.command import Result, look
from requorum.hosts import systemd
from requorum.hosts.fleet import Machine
from requorum.hosts.question import Question, checked, plain
from requorum.inventory import Inventory, Member
from requorum.refusal import Disproved, Refusal
from requorum.run.facts import ELECTION_TIMEOUTS
from requorum.run.run import Run
from requorum.snapshots import layout

STEADY_SECONDS = 3  # a process that lives so long has read its files; one that cannot ends at once


def standing(run: Run, members: Sequence[Member]) -> list[MemberFacts]:
    """One fact sheet a member: unit, configuration, leader, and as data its write-ahead log; watched for three election
    timeouts while one sees no leader."""
    sheets = _standing(run, members)

    def electing() -> str | None:
        nonlocal sheets
        if all(sheet.has_leader is not False for sheet in sheets):
            return None
        sheets = _standing(run, members)
        return "a member sees no leader"

    longest = max((sheet.config.election_seconds for sheet in sheets if sheet.config), default=1.0)
    run.wait(electing, ELECTION_TIMEOUTS * longest, least=ELECTION_TIMEOUTS * longest)
    return sheets


def _standing(run: Run, members: Sequence[Member]) -> list[MemberFacts]:
    settings = run.inventory.etcd

    def look_at(machine: Machine) -> tuple[Installed, Running | None]:
        installed = machine.ask(quorum.ask_installed(machine.name, settings))
        if not isinstance(config := installed.config, MemberConfig):
            return installed, None
        leader = machine.ask(etcd.ask_leader(machine.name, config)) if installed.unit.running else None
        return installed, Running(0 if machine.ask(layout.ask_log(machine.name, config)) else None, leader)

    found = run.fleet.each([member.host for member in members], look_at)
    sheets = []
    for member in members:
        answer = found[member.host]
        if isinstance(answer, Refusal):
            sheets.append(quorum.sheet(member, answer.what))
        elif isinstance(answer, Exception):
            raise answer
        else:
            sheets.append(quorum.sheet(member, *answer))
    return sheets


def cost(sheets: Sequence[MemberFacts], host: str) -> str | None:
    """Why taking this member away would cost the cluster its quorum; None where it would not.

    A member that does not run, or runs without a leader, is no part of any quorum. One that runs and cannot be asked
    for its leader may be.
    """
    (own,) = (sheet for sheet in sheets if sheet.member.host == host)
    if not own.unit or not own.unit.running or own.has_leader is False:
        return None
    # The running cluster may have more members than the inventory: one that is about to become smaller.
    size = max(len(sheets), len(own.config.initial_cluster.split(",")) if own.config else 0)
    majority = size // 2 + 1
    others = [sheet.member.name for sheet in sheets if sheet is not own and sheet.has_leader]
    if len(others) >= majority:
        return None
    seen = ", ".join(others) or "none"
    unknown = "" if own.config else "its configuration cannot be read, so it may be a part of the quorum; "
    left = f"of the other members {seen} would be left with a leader"
    return f"{unknown}{left}, and quorum takes {majority} of {size}"


def refuse_to_cost_quorum(run: Run, sheets: Sequence[MemberFacts], hosts: Sequence[str]) -> None:
    run.settle(
        "the cluster keeps its quorum while this member is away",
        {host: cost(sheets, host) for host in hosts},
        "bring the other members back first; with quorum lost, run the recovery: pytest runbook --hosts=NAME",
    )


def refuse_without_data(run: Run, sheet: MemberFacts) -> None:
    """A member whose configuration tells where its data is, and there is none, must not run: it would begin an empty
    cluster."""
    empty = sheet.config is not None and not sheet.has_data
    where = layout.wal(sheet.config) if sheet.config else ""
    run.settle(
        "the member holds data, so that its etcd begins no empty cluster",
        {sheet.member.host: f"no write-ahead log in {where}" if empty else None},
        f"its data comes back with the recovery, which carries on where it stopped: {recovery(run)}",
    )


def recovery(run: Run) -> str:
    return f"pytest runbook --hosts={run.options.hosts}"


@dataclass(frozen=True)
class Start:
    """A unit's current start: systemd's ID of it, "" where there was none, and its main process, "0" for none."""

    invocation: str
    process: str


_INVOCATION, _NUMBER = re.compile(r"([0-9a-f]{32})?"), re.compile(r"[0-9]{1,10}")


def ask_invocation(host: str, unit: str) -> Question[Start]:
    names = ("InvocationID", "MainPID")
    words = ("systemctl", "show", unit, *(f"--property={name}" for name in names))

    def read(result: Result) -> Start:
        values = dict(line.split("=", 1) for line in result.stdout.splitlines() if "=" in line)
        start = checked(host, f"InvocationID of {unit}", values.get("InvocationID", ""), _INVOCATION)
        return Start(start, checked(host, f"MainPID of {unit}", values.get("MainPID") or "0", _NUMBER))

    return Question(look(host, *words, why="which start this is", root=False), read)


def invocation(run: Run, host: str) -> str:
    """systemd's ID of the unit's current start; another start has another one."""
    return run.ask({host: ask_invocation(host, run.inventory.etcd.unit)})[host].invocation


def ask_age(host: str, process: str) -> Question[int | None]:
    """How many seconds a process has been running; None where there is none."""

    def read(result: Result) -> int | None:
        said = result.stdout.strip()
        return int(said) if _NUMBER.fullmatch(said) else None

    words = ("ps", "-o", "etimes=", "-p", process)
    return Question(look(host, *words, why="how long it has been running", root=False), read)


class Back(Enum):
    """What a start must come to: a new start, a process that stays, or a healthy member."""

    STARTED = "is started anew"
    STEADY = "is started anew, and stays"
    HEALTHY = "is started anew, and healthy"


def as_before(sheet: MemberFacts) -> Back:
    """A member that saw a leader must be healthy again; of one that did not, no more is asked than a start."""
    return Back.HEALTHY if sheet.has_leader else Back.STARTED


def is_back(run: Run, sheet: MemberFacts, before: str, want: Back) -> None:
    """Started anew since `before` (an invocation), and as good as `want`."""
    unit = run.inventory.etcd.unit

    def probe(machine: Machine) -> str | None:
        found = machine.ask(systemd.ask_unit(machine.name, unit))
        now = machine.ask(ask_invocation(machine.name, unit))
        if not found.running or found.sub == "auto-restart" or now.invocation == before:
            return f"unit {found}" + (", not started anew" if now.invocation == before else "")
        if want is Back.STARTED:
            return None
        if want is Back.STEADY or sheet.config is None:
            age = machine.ask(ask_age(machine.name, now.process))
            stays = age is not None and age >= STEADY_SECONDS
            return None if stays else f"unit {found}, for {'no' if age is None else age} s"
        said = machine.ask(ask_health(machine.name, sheet.config))
        return f"not healthy yet: {said}" if said else None

    run.prove(
        (sheet.member.host,),
        f"{unit} {want.value}",
        probe,
        f"read its journal: journalctl -u {unit}; the members after it were not touched",
        within=run.health_seconds,
    )


def ask_health(host: str, config: MemberConfig) -> Question[str | None]:
    """None, or what `/health` says, which reads through consensus and needs no login."""
    return etcd.ask_page(
        host,
        config,
        "health",
        lambda page: None if says_healthy(page) else plain(page.strip()) or "no answer",
        why="whether the member is healthy",
    )


def says_healthy(answer: str) -> bool:
    return re.search(r'"health":\s*"?true', answer) is not None


def refuse_silent(sheets: Sequence[MemberFacts], hosts: Sequence[str], unit: str, running: bool) -> None:
    """Raises for a named member that cannot be worked on: silent machine, no unit, no configuration, or stopped."""
    problems, remedies = {}, []
    for sheet in sheets:
        host = sheet.member.host
        if host not in hosts:
            continue
        if not sheet.reached:
            problems[host] = sheet.silence or "no answer"
            remedies.append("reach the machine")
        elif not sheet.unit or sheet.unit.load != "loaded":
            problems[host] = f"{unit} cannot be run: {sheet.unit}"
            remedies.append(
                f"install the unit (bad-setting: systemd refuses it, as one without ExecStart: systemctl cat {unit})"
            )
        elif running and not sheet.unit.running:
            problems[host] = f"{unit} does not run: {sheet.unit}"
            remedies.append(
                f"start it: systemctl start --no-block {unit}; why it does not start is shown by "
                f"pytest runbook/troubleshoot/run_directly with --members={sheet.member.name}"
            )
    if problems:
        raise Disproved(
            "every named member's machine answers, and its unit is installed" + (" and runs" if running else ""),
            problems,
            "; ".join(dict.fromkeys(remedies)),
        )


@dataclass(frozen=True)
class Chosen:
    """`cluster`: all members of the cluster that the named ones belong to; `members`: those named, or all of them."""

    cluster: tuple[Member, ...]
    members: tuple[Member, ...]


def choose(inventory: Inventory, text: str) -> Chosen:
    """The members that `text` names, by name or host, comma-separated; "" is all of the cluster.

    The cluster is `members`, or the old one where only that has all of them. Raises `Refusal` for an unknown one.
    """
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    for cluster in (inventory.members, inventory.old_members):
        known = {key: member for member in cluster for key in (member.host, member.name)}
        if set(names) <= set(known):
            return Chosen(cluster, tuple(dict.fromkeys(known[name] for name in names)) or cluster)
    known_names = dict.fromkeys(m.name for m in (*inventory.members, *inventory.old_members))
    strangers = [n for n in names if n not in known_names and n not in inventory.hosts]
    raise Refusal(
        f"--members={','.join(strangers or names)}",
        "is no member of the inventory's cluster",
        f"one of {', '.join(known_names)}",
    )
