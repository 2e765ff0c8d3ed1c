"""What is wrong, by likelihood: each cause a small pure function over a `Sheet`, and the order in which they count.

`rank` orders them: what makes other things fail comes before what it makes fail, so a full disk is named before the
quorum that was lost by it, and the first of the list is the root of the rest. A cause rests on what was seen on
hosts; what could not be asked is never one, silence alone excepted.
"""

from __future__ import annotations

from collections.abc import Callable

from requorum.cluster.quorum import Kind, State
from requorum.diagnosis import roots
from requorum.diagnosis.cause import Cause, listed, pytest_line, refused
from requorum.diagnosis.sheet import EtcdSheet, Sheet
from requorum.run import marker


def named(sheet: Sheet) -> list[Cause]:
    """All that is wrong, the likeliest root first; nothing on a healthy cluster."""
    return sorted((cause for find in CAUSES if (cause := find(sheet))), key=lambda cause: cause.rank)


def stale_member(sheet: Sheet) -> Cause | None:
    if not sheet.stale:
        return None
    names = {member.ip: member.host for member in sheet.inventory.old_members}
    found = {
        f"{names.get(ip, '?')} ({ip})": f"accepts clients from {listed(hosts)}" for ip, hosts in sheet.stale.items()
    }
    return Cause(
        50,
        "stale old member",
        "An old member that was replaced runs again, and serves clients old configuration.",
        found,
        "stop it there for good:",
        f"systemctl mask --now {sheet.unit}",
    )


def passwords(sheet: Sheet) -> Cause | None:
    found = {f"login of {role}": said for role, said in sheet.logins.items() if said and refused(said)}
    found |= {"password of " + text.split(":")[0]: text for text in sheet.password_differences}
    if not found:
        return None
    return Cause(
        55,
        "passwords do not match",
        "Clients hold passwords that are not those in etcd's data.",
        found,
        "after a restore the old passwords are the right ones. The newest backup of them, to be put back on every "
        "Deephaven host:",
        f"ls -d {marker.directory(sheet.inventory.cluster)}/*/client.before",
    )


# -- what follows ------------------------------------------------------------------------------------------------


def quorum_gone(sheet: Sheet) -> Cause | None:
    kind, found = sheet.verdict.kind, sheet.verdict.found()
    if kind is Kind.LOST:
        return Cause(
            70,
            "quorum lost",
            "Quorum is lost: no majority of the members can come back as it is.",
            found,
            "rebuild the cluster:",
            pytest_line(sheet),
        )
    if kind is Kind.RESTARTABLE:
        return Cause(
            70,
            "quorum restartable",
            "Quorum is lost, and a majority only needs to be started.",
            found,
            f"on {listed(sheet.verdict.start)}:",
            f"systemctl start --no-block {sheet.unit}",
        )
    if kind is Kind.UNKNOWN:
        found |= {host: why for host, why in sheet.silent.items() if host in found}
        return Cause(
            70,
            "quorum unknown",
            "It is unknown whether quorum is lost: too few members could be asked.",
            found,
            "reach those machines first; one that is fenced or destroyed is named with --gone:",
            f"{pytest_line(sheet, 'troubleshoot/diagnose')} --gone=HOST",
        )
    return None


def silent_hosts(sheet: Sheet) -> Cause | None:
    """Those that make quorum unknown are named by that."""
    members = {member.host for member in sheet.members} if sheet.verdict.kind is Kind.UNKNOWN else set()
    found = {host: why for host, why in sheet.silent.items() if host not in members}
    if not found:
        return None
    return Cause(
        75,
        "host silent",
        f"{listed(found)} could not be asked.",
        found,
        "check the machine, the network, ssh and sudo; then look again:",
        pytest_line(sheet, "troubleshoot/diagnose"),
    )


def member_down(sheet: Sheet) -> Cause | None:
    if sheet.verdict.kind is not Kind.INTACT:
        return None
    seen = (State.LEADERLESS, State.STARTABLE, State.LOST)
    # One that only does not say whether it sees a leader may be what quorum hangs on, unless the others have it.
    sure = 2 * sum(f.state is State.HEALTHY for f in sheet.facts.values()) > len(sheet.facts)
    silent = (State.UNKNOWN,) if sure else ()
    stuck = {h: f for h, f in sheet.facts.items() if f.state in seen or (f.state in silent and f.reached)}
    if not stuck:
        return None
    found = {host: _with_words(str(facts), sheet.installed.get(host)) for host, facts in stuck.items()}
    return Cause(
        80,
        "member down",
        f"{listed(found)} does not take part, though another member sees a leader.",
        found,
        "on one member at a time, and wait until it is healthy; if it ends again, collect the logs:",
        f"systemctl restart --no-block {sheet.unit}; {pytest_line(sheet, 'troubleshoot/collect_logs')}",
    )


def _with_words(text: str, on: EtcdSheet | None) -> str:
    return f"{text}; it said: {on.said[-1].strip()[:160]}" if on and on.said else text


def deephaven_down(sheet: Sheet) -> Cause | None:
    found = {host: listed(processes) for host, processes in sheet.deephaven_down.items()}
    if not found:
        return None
    return Cause(
        90,
        "Deephaven down",
        f"Deephaven processes do not run on {listed(found)}.",
        found,
        "once etcd is healthy, the configuration server first:",
        sheet.inventory.deephaven.commands.monit_up,
    )


CAUSES: tuple[Callable[[Sheet], Cause | None], ...] = (
    roots.unfinished_run,
    roots.disk_full,
    roots.no_space_alarm,
    roots.address_changed,
    roots.split_cluster,
    roots.wrong_owner,
    roots.configuration,
    roots.certificates,
    roots.clocks_differ,
    roots.corrupt_member,
    roots.masked,
    roots.partition,
    stale_member,
    passwords,
    quorum_gone,
    silent_hosts,
    member_down,
    deephaven_down,
)
