"""Whose etcd's files are: what is asked of the hosts, what is shown, and what must hold afterwards."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence

from requorum.cluster import etcd
from requorum.cluster.quorum import MemberFacts
from requorum.command import look
from requorum.hosts import systemd
from requorum.hosts.fleet import Machine
from requorum.run.run import Run
from requorum.troubleshoot import permissions, restarts
from requorum.troubleshoot.permissions import Finding
from requorum.troubleshoot.restarts import Back


def no_other_account_runs_etcd(run: Run, hosts: Sequence[str]) -> None:
    """An etcd that somebody started by hand would go on making files that are not the account's."""
    account = run.inventory.etcd.user

    def probe(machine: Machine) -> str | None:
        answer = machine.ask(
            look(machine.name, "ps", "-C", "etcd", "-o", "pid=,user=", why="who runs etcd", root=False)
        )
        rows = (line.split() for line in answer.stdout.splitlines())
        strangers = [f"process {pid} of {user}" for pid, user in rows if user != account]
        return f"etcd runs as another account: {', '.join(strangers)}" if strangers else None

    run.prove(hosts, f"nobody but {account} runs etcd", probe, "stop that process by hand: kill its number")


def nothing_waits_to_begin_an_empty_cluster(run: Run, sheets: Sequence[MemberFacts], hosts: Sequence[str]) -> None:
    """systemd would start a member that fails again and again by itself, as soon as its files are mended."""
    found = {sheet.member.host: sheet for sheet in sheets if sheet.member.host in hosts}
    run.settle(
        "no member that holds no data is being started over and over",
        {
            host: f"unit {sheet.unit}, and no data"
            if sheet.unit and sheet.unit.running and sheet.has_leader is None and sheet.config and not sheet.has_data
            else None
            for host, sheet in found.items()
        },
        f"stop it there first, or it begins an empty cluster: systemctl stop {run.inventory.etcd.unit}; "
        "then run the same again",
    )


def findings(run: Run, hosts: Sequence[str]) -> list[Finding]:
    """What the etcd account does not own of its data, or cannot use of its configuration."""
    settings = run.inventory.etcd
    texts = {r.command.host: r for r in run.ask([look(h, "cat", settings.config, why="what it names") for h in hosts])}
    for host, text in texts.items():
        if text.code != 0:
            raise etcd.EtcdError(f"{host}:{settings.config}", f"cannot be read: {text.words}", "restore it")
    configs = {h: etcd.parse_config(text.stdout, f"{h}:{settings.config}") for h, text in texts.items()}
    needed = {host: permissions.real_paths(config, settings.config) for host, config in configs.items()}
    questions = [
        question
        for host, config in configs.items()
        for question in (
            *permissions.ask_account(host, settings.user),
            permissions.ask_data(host, config.data_dir),
            permissions.ask_paths(host, (*needed[host], posixpath.join(config.data_dir, "member"))),
        )
    ]
    found: list[Finding] = []
    for host, (uid, gids, data, others) in run.ask_by_host(questions).items():
        if uid.code != 0:
            raise etcd.EtcdError(host, f"there is no account {settings.user}", "correct etcd.user in the inventory")
        account = permissions.parse_account(settings.user, uid.stdout, gids.stdout)
        below = permissions.parse(data.stdout)
        ways = [
            entry for entry in permissions.parse(others.stdout) if not entry.path.startswith(configs[host].data_dir)
        ]
        found += permissions.findings(host, account, below, ways, needed[host])
    return found


def show(run: Run, found: Sequence[Finding]) -> None:
    """Every finding with the owner and mode that it has now: in the table, and in the journal."""
    for one in found:
        e = one.entry
        words = " and ".join(fix[0] for fix in one.fixes) or "for you to judge"
        row = {"host": one.host, "path": e.path, "owner": f"{e.uid}:{e.gid}", "mode": f"{e.mode:o}"}
        run.table.append({**row, "problem": one.problem, "remedy": words})
        run.journal.record("note", text=f"{one.host}:{e.path} {e.uid}:{e.gid} {e.mode:o}: {one.problem}; {words}")
    run.note(f"{len(found)} files or directories that etcd does not own or cannot use")


def everything_is_usable(run: Run, hosts: Sequence[str]) -> None:
    left = findings(run, hosts)
    run.settle(
        "the etcd account owns its data and can read its configuration",
        {h: "; ".join(f"{f.entry.path}: {f.problem}" for f in left if f.host == h) or None for h in hosts},
        "look at these by hand; what is left alone here is left for a reason",
    )


def start(run: Run, sheets: Sequence[MemberFacts], host: str, mended: bool) -> bool:
    """Starts or restarts a member where it should run; healthy where the others have quorum, else its process must
    stay. Returns whether it was started.

    One without data is left alone: a recovery stopped before it restored them, and etcd would begin an empty cluster.
    """
    (own,) = (sheet for sheet in sheets if sheet.member.host == host)
    assert own.unit is not None
    cost = restarts.cost(sheets, host)
    verb = permissions.verb(own.unit, mended, cost)
    if not verb:
        if mended:
            run.note(f"{host} runs, and is not restarted to prove that it starts: {cost}")
        return False
    if not own.has_data:
        run.note(
            f"{host} holds no data, and is not started: it would begin an empty cluster. "
            f"The recovery brings its data and starts it: {restarts.recovery(run)}"
        )
        return False
    others = sum(1 for sheet in sheets if sheet is not own and sheet.has_leader)
    # One that systemd starts again and again may have come up by itself since it was mended: any start will do.
    before = restarts.invocation(run, host) if verb == "restart" else ""
    run.do(permissions.start(host, run.inventory.etcd.unit, verb))
    restarts.is_back(run, own, before, Back.HEALTHY if others >= len(sheets) // 2 else Back.STEADY)
    return True


def it_runs(run: Run, hosts: Sequence[str]) -> None:
    unit = run.inventory.etcd.unit

    def probe(machine: Machine) -> str | None:
        state = systemd.parse_unit(machine.ask(systemd.ask_unit(machine.name, unit)).stdout)
        return None if state.running and state.sub != "auto-restart" else f"unit {state}"

    run.prove(hosts, f"{unit} runs", probe, f"read `journalctl --no-pager -u {unit}` there", within=15)
