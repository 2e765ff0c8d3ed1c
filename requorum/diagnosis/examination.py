"""Looks at everything and changes nothing: fills the `Sheet` that `causes` reads, from hosts that may be broken.

A host that does not answer, a file that cannot be parsed, a tool that fails are findings here, not the end. Questions
and parsers are `etcd`'s, `quorum`'s, `clock`'s and `certificates`'; each round is one trip to every host at once.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from requorum.cluster import deephaven, peers, quorum
from requorum.cluster.etcd import MemberConfig
from requorum.cluster.quorum import MemberFacts
from requorum.command import Result, look
from requorum.diagnosis import questions
from requorum.diagnosis.causes import refused
from requorum.diagnosis.rounds import _Asking
from requorum.diagnosis.sheet import EtcdSheet, Sheet
from requorum.hosts import clock
from requorum.hosts.clock import Reading
from requorum.hosts.fleet import Machine, Unreachable
from requorum.inventory import Inventory, Member
from requorum.refusal import Refusal
from requorum.run import facts, history
from requorum.run.history import Told
from requorum.run.marker import Marker, MarkerError
from requorum.run.run import Run


def reach(run: Run) -> tuple[dict[str, str], dict[str, Reading]]:
    """Who does not take commands as root, and why; everybody else's clock."""

    def ask(machine: Machine) -> str | Reading | None:
        allowed = machine.look(look(machine.name, "true", why="sudo works without a password"))
        if allowed.code:
            return f"sudo refused: {allowed.words}"
        found = machine.ask(clock.ask_clock(machine.name))
        return found if isinstance(found, Reading) else None

    answers = run.fleet.each(run.terms.everyone, ask)
    silent = {h: a.what if isinstance(a, Refusal) else str(a) for h, a in answers.items() if isinstance(a, Exception)}
    silent |= {host: answer for host, answer in answers.items() if isinstance(answer, str)}
    return silent, {host: answer for host, answer in answers.items() if isinstance(answer, Reading)}


def sheet(run: Run, silent: dict[str, str], clocks: dict[str, Reading]) -> Sheet:
    """Everything that can be told of the cluster now, in four trips. The last two are what `reach` found."""
    inventory, terms = run.inventory, run.terms
    asking = _Asking(run, silent)
    client = inventory.deephaven.client_config
    first = asking.round(
        machines=[question for host in terms.etcd_hosts for question in questions.of_a_machine(inventory, host)],
        runs=[c for host in terms.everyone for c in history.ask_runs(host, inventory.cluster).commands],
        passwords=[deephaven.ask_passwords(host, client) for host in terms.deephaven_hosts],
        monit=[deephaven.ask_monit(inventory, host) for host in terms.deephaven_hosts],
    )
    found = {
        host: questions.machine(f"{host}:{inventory.etcd.config}", *said) for host, said in first["machines"].items()
    }
    runs = {host: history.ask_runs(host, inventory.cluster).understand(said) for host, said in first["runs"].items()}
    members = installed_members(inventory, [on.config for on in found.values() if on.config])
    second = asking.round(
        members=questions.of_members(inventory, members, found),
        reach=questions.of_the_way(members, found, inventory.etcd.peer_port),
        stale=questions.of_old_members(terms, members),
    )
    found |= {host: questions.member(found[host], said) for host, said in second["members"].items()}
    third = asking.round(pages=questions.of_pages(found))
    found |= {host: questions.paged(found[host], *said) for host, said in third["pages"].items()}
    passwords = {host: deephaven.parse_passwords(said.stdout) for host, (said,) in first["passwords"].items()}
    roles = sorted(passwords.get(terms.configuration_server, ()))
    led = any(on.has_leader for on in found.values())
    fourth = asking.round(hashes=questions.of_hashes(found), logins=questions.of_users(inventory, roles) if led else [])
    found |= {host: replace(found[host], hash=peers.parse_hash(said)) for host, (said,) in fourth["hashes"].items()}
    alarms, logins = _users(asking, roles, fourth["logins"].get(terms.configuration_server, []))
    alarms |= {f"{host}: {on.health}" for host, on in found.items() if "ALARM" in on.health}
    cut_off = questions.cut_off(members, found, second["reach"], inventory.etcd.peer_port)
    verdict = quorum.decide(_member_facts(run, members, found, silent, cut_off))
    return Sheet(
        inventory,
        run.options.hosts,
        members,
        verdict,
        silent,
        found,
        clocks,
        _marks(asking, runs),
        questions.open_to(second["stale"]),
        tuple(sorted(alarms)),
        logins,
        tuple(deephaven.disagreements(passwords)),
        questions.down(first["monit"]),
        tuple(asking.unseen),
        history.outlived(runs),
    )


# -- machines of etcd --------------------------------------------------------------------------------------------


def installed_members(inventory: Inventory, configs: Iterable[MemberConfig]) -> tuple[Member, ...]:
    """`members` or `old_members`: whose addresses the installed configurations name. In doubt the first.

    Before a recovery to other addresses or machines the old ones are in place, after it the new ones.
    """
    named = [set(re.findall(r"//\[?([0-9A-Fa-f.:]+?)\]?:\d+", config.initial_cluster)) for config in configs]

    def fit(members: tuple[Member, ...]) -> int:
        ips = {member.ip for member in members}
        return sum(len(addresses & ips) for addresses in named)

    return max((inventory.members, inventory.old_members), key=fit)


def _member_facts(
    run: Run,
    members: tuple[Member, ...],
    found: Mapping[str, EtcdSheet],
    silent: Mapping[str, str],
    cut_off: Mapping[str, tuple[str, ...]],
) -> list[MemberFacts]:
    """As the recovery sees them; watched for three election timeouts where a majority sees no leader."""

    def sheets(leaders: Mapping[str, bool | None]) -> list[MemberFacts]:
        return [
            MemberFacts(member, gone=True)
            if member.host in run.terms.gone
            else MemberFacts(member, reached=False)
            if member.host in silent or (on := found.get(member.host)) is None
            else MemberFacts(
                member,
                unit=on.unit,
                config=on.config,
                has_data=on.has_data,
                addresses=on.addresses,
                has_leader=leaders.get(member.host),
                cut_off_from=cut_off.get(member.host, ()),
            )
            for member in members
        ]

    leaders = {host: found[host].has_leader for host in found}
    now = sheets(leaders)
    up = {h: s.config for h, s in found.items() if s.config and s.has_leader is not None and h not in silent}
    led = sum(bool(leaders.get(member.host)) for member in members)
    if quorum.majority_is_down(now) or 2 * led > len(members) or not up:
        return now
    with contextlib.suppress(Unreachable):  # it fell silent meanwhile: what was seen before stands
        return sheets(leaders | facts.watch_leaders(run, up, {host: leaders[host] for host in up}))
    return now


# -- what needs more than one member, or Deephaven's side --------------------------------------------------------


def _users(asking: _Asking, roles: Sequence[str], answers: list[Result]) -> tuple[set[str], dict[str, str | None]]:
    """What `questions.of_users` found: alarms; role → None, or etcd's words."""
    if not answers:
        asking.unseen.append("alarms and logins: no member sees a leader, or the configuration server is silent")
        return set(), {}
    if answers[0].code:
        asking.unseen.append(f"alarms: {answers[0].words}")
    if not roles:
        asking.unseen.append("logins: the configuration server holds no role's password")
    alarms = {line.strip() for line in answers[0].stdout.splitlines() if line.strip()} if not answers[0].code else set()
    logins = {role: questions.login(answer) for role, answer in zip(roles, answers[1:], strict=True)}
    asking.unseen += [f"login of {role}: {said}" for role, said in logins.items() if said and not refused(said)]
    return alarms, logins


def _marks(asking: _Asking, runs: Mapping[str, Told]) -> dict[str, Marker | None]:
    marks: dict[str, Marker | None] = {}
    for host, told in runs.items():
        if isinstance(told.mark, MarkerError):
            asking.unseen.append(f"whether a run is unfinished on {host}: {told.mark.what}")
        else:
            marks[host] = told.mark
    return marks
