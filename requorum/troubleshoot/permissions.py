"""Files that the etcd account does not own or cannot use, and how they are given back. Pure.

Below the data directory everything must be the account's own. Of the configuration it must be able to read what
`config.yaml` names, and to reach it; who owns that is the vendor's business. Anything else there is left alone: it
could be a CA's key, which etcd must not read.
"""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

from requorum.cluster import etcd
from requorum.cluster.etcd import MemberConfig
from requorum.cluster.quorum import MemberFacts
from requorum.command import MOST_OF_A_LIST, Command, Result, act, look
from requorum.deadlines import LONG
from requorum.hosts import system, systemd
from requorum.hosts.fleet import Machine
from requorum.hosts.question import Question, plain
from requorum.hosts.systemd import Unit
from requorum.refusal import Refusal, remedy
from requorum.run import facts, marker
from requorum.run.run import Run
from requorum.troubleshoot import restarts
from requorum.troubleshoot.restarts import Back

TOGETHER = 50  # paths in one command


class Kind(Enum):
    """What a path is to etcd: its own data, a part of its configuration, or a directory on the way to either."""

    DATA = "data"
    CONFIGURATION = "configuration"
    WAY = "on the way"


@dataclass(frozen=True)
class Account:
    """The etcd account on one host."""

    name: str
    uid: int
    gids: tuple[int, ...]


@dataclass(frozen=True)
class Entry:
    """A path as it lies there. `type` is find's letter, `mode` the permission bits, `links` how many names it has."""

    type: str
    uid: int
    gid: int
    mode: int
    links: int
    path: str


@dataclass(frozen=True)
class Finding:
    """What is wrong with one path, and what mends it: words before the path, () where only people can tell."""

    host: str
    entry: Entry
    kind: Kind
    problem: str
    fixes: tuple[tuple[str, ...], ...]


# -- questions ---------------------------------------------------------------------------------------------------

_FORMAT = r"%y %U %G %m %n %p\0"


def real_paths(config: MemberConfig, config_path: str) -> tuple[str, ...]:
    """What etcd reads besides its data: the configuration and what it names."""
    named = (path for c in config.certificates for path in (c.cert, c.key, c.ca) if path)
    return tuple(dict.fromkeys((config_path, *named)))


def ask_data(host: str, data_dir: str) -> Question[list[Entry]]:
    command = look(
        host, "find", data_dir, "-printf", _FORMAT, why="whose the data is", deadline=LONG, most=MOST_OF_A_LIST
    )
    below = f"{data_dir.rstrip('/')}/"
    return Question(command, lambda result: _read(host, result.stdout, lambda path: f"{path}/".startswith(below)))


def ask_paths(host: str, paths: Iterable[str]) -> Question[list[Entry]]:
    """These paths themselves and every directory on the way to them, whatever links lead there."""
    ways = {parent for path in paths for parent in _parents(path)}
    places = ("/", *sorted((ways | set(paths)) - {"/"}))
    words = ("find", "-L", *places, "-maxdepth", "0", "-printf", _FORMAT)
    command = look(host, *words, why="who can reach and read the configuration")
    return Question(command, lambda result: _read(host, result.stdout, places.__contains__))


def _parents(path: str) -> tuple[str, ...]:
    return (*(_parents(posixpath.dirname(path)) if path.count("/") > 1 else ()), posixpath.dirname(path))


def ask_groups(host: str, account: str) -> Question[tuple[int, ...]]:
    command = look(host, "id", "-G", account, why="etcd's groups", root=False)
    return Question(command, lambda result: tuple(int(gid) for gid in result.stdout.split()))


_ENTRY = re.compile(r"(\S) ([0-9]{1,10}) ([0-9]{1,10}) ([0-7]{1,5}) ([0-9]{1,10}) (/.*)", re.S)


def _read(host: str, text: str, asked: Callable[[str], bool]) -> list[Entry]:
    """What will be given back as root is what was `asked` about, and nothing else."""
    entries = []
    for row in text.split("\0")[:-1]:
        found = _ENTRY.fullmatch(row)
        if not found or not asked(found[6]) or ".." in found[6].split("/"):
            raise Refusal(
                host,
                f"tells of {row[:200]!r}, which was not asked",
                "look at that machine first: its find tells what it was not asked",
            )
        kind, uid, gid, mode, links, path = found.groups()
        entries.append(Entry(kind, int(uid), int(gid), int(mode, 8), int(links), path))
    return entries


def ask_processes(host: str) -> Question[tuple[tuple[str, str], ...]]:
    """Every etcd that runs: its process and its account."""

    def read(result: Result) -> tuple[tuple[str, str], ...]:
        rows = (line.split() for line in result.stdout.splitlines())
        return tuple((plain(process), plain(user)) for process, user in rows)

    command = look(host, "ps", "-C", "etcd", "-o", "pid=,user=", why="who runs etcd", root=False)
    return Question(command, read)


# -- what is wrong -----------------------------------------------------------------------------------------------


def findings(
    host: str, account: Account, data: Sequence[Entry], others: Sequence[Entry], needed: Sequence[str]
) -> list[Finding]:
    """`data`: below the data directory; `others`: `needed` (what is named by the configuration) and the ways there."""
    found = [finding for entry in data if (finding := _data(host, account, entry))]
    there = {entry.path for entry in others}
    for path in needed:
        if path not in there:
            found.append(Finding(host, Entry("?", 0, 0, 0, 0, path), Kind.CONFIGURATION, "not there", ()))
    for entry in others:
        kind = Kind.CONFIGURATION if entry.path in needed else Kind.WAY
        if finding := _other(host, account, entry, kind):
            found.append(finding)
    return found


def _data(host: str, account: Account, entry: Entry) -> Finding | None:
    own = entry.uid == account.uid
    enough = entry.type == "l" or entry.mode & (wanted := 0o700 if entry.type == "d" else 0o600) == wanted
    if own and enough:
        return None
    problem = f"owned by {entry.uid}, not by {account.name}" if not own else f"mode {entry.mode:o}"
    if entry.type == "f" and entry.links > 1:  # another name of it may lie where nobody thinks of
        return Finding(host, entry, Kind.DATA, f"{problem}; it has {entry.links} names, look at it by hand", ())
    give = () if own else (("chown", "-h", f"{account.name}:", "--"),)
    open_up = () if enough else (("chmod", "u+rwX", "--"),)
    return Finding(host, entry, Kind.DATA, problem, (*give, *open_up))


def _other(host: str, account: Account, entry: Entry, kind: Kind) -> Finding | None:
    """A file must be readable, a directory passable, by whatever class of users the account is in."""
    wanted = 1 if entry.type == "d" else 4
    shift = 6 if entry.uid == account.uid else 3 if entry.gid in account.gids else 0
    if entry.type == "l" or entry.mode >> shift & wanted:
        return None
    verb = "pass" if entry.type == "d" else "read"
    problem = f"{account.name} cannot {verb} it: owner {entry.uid}:{entry.gid}, mode {entry.mode:o}"
    if kind is Kind.WAY and entry.path.count("/") < 3:  # /etc, /var/lib: not ours to open
        return Finding(host, entry, kind, f"{problem}; look at it by hand", ())
    if shift == 6:
        return Finding(host, entry, kind, problem, (("chmod", "u+rX", "--"),))
    give = () if shift == 3 else (("chgrp", account.name, "--"),)
    return Finding(host, entry, kind, problem, (*give, ("chmod", "g+rX", "--")))


# -- mending it --------------------------------------------------------------------------------------------------


def place(cluster: str) -> str:
    return f"{marker.directory(cluster)}/permissions"


def give_back(cluster: str, run: str, found: Sequence[Finding]) -> list[Command]:
    """Notes on each host how to undo it, then mends; a path that only people can judge is left."""
    plan: list[Command] = []
    for host in dict.fromkeys(finding.host for finding in found if finding.fixes):
        mine = [finding for finding in found if finding.host == host and finding.fixes]
        directories = (marker.BASE, marker.directory(cluster), place(cluster))
        plan += [
            act(host, "install", "-d", "-m", "700", *directories, why="where the way back is kept"),
            Command(
                host,
                ("dd", f"of={place(cluster)}/{run}.sh", "conv=fsync", "status=none"),
                "note how to undo it",
                stdin=undo(mine).encode(errors="surrogateescape"),
            ),
        ]
        for words in dict.fromkeys(fix for finding in mine for fix in finding.fixes):
            paths = [finding.entry.path for finding in mine if words in finding.fixes]
            plan += [
                act(host, *words, *paths[start : start + TOGETHER], why="give it back to etcd")
                for start in range(0, len(paths), TOGETHER)
            ]
    return plan


def undo(found: Sequence[Finding]) -> str:
    """A script for root: owner, group and mode of each path as they were."""
    lines = []
    for entry in (finding.entry for finding in found):
        itself = "-h " if entry.type == "l" else ""
        lines.append(f"chown {itself}{entry.uid}:{entry.gid} -- {shlex.quote(entry.path)}")
        if entry.type != "l":
            lines.append(f"chmod {entry.mode:o} -- {shlex.quote(entry.path)}")
    return "".join(f"{line}\n" for line in lines)


def verb_of(unit: Unit, mended: bool, cost: str | None) -> str:
    """ "start", "restart" or "" for nothing: what proves that a member starts. `cost`: why it cannot be taken away.

    A unit that is stopped and not enabled is so on purpose, unless its files were what kept it from running.
    """
    if unit.active == "active":
        return "restart" if mended and cost is None else ""
    on_purpose = unit.active == "inactive" and unit.enabled != "enabled"
    return "" if on_purpose and not mended else "start"


def start(host: str, unit: str, verb: str) -> list[Command]:
    """Without waiting for it, which is the proof's; an earlier failure is forgotten first."""
    return [
        act(host, "systemctl", "reset-failed", unit, why="forget that it failed", accept=(0, 1, 5)),
        act(host, "systemctl", verb, "--no-block", unit, why=f"{verb} {unit}"),
    ]


def no_other_account_runs_etcd(run: Run, hosts: Sequence[str]) -> None:
    """An etcd that somebody started by hand would go on making files that are not the account's."""
    account = run.inventory.etcd.user

    def probe(machine: Machine) -> str | None:
        rows = machine.ask(ask_processes(machine.name))
        strangers = [f"process {pid} of {user}" for pid, user in rows if user != account]
        return f"etcd runs as another account: {', '.join(strangers)}" if strangers else None

    run.prove(
        hosts,
        f"nobody but {account} runs etcd",
        probe,
        "find out who started it as another account, and have it ended as it was started",
    )


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


def findings_on_hosts(run: Run, hosts: Sequence[str]) -> list[Finding]:
    """What the etcd account does not own of its data, or cannot use of its configuration."""
    settings = run.inventory.etcd
    configs = facts.installed_configs(run, hosts)
    needed = {host: real_paths(config, settings.config) for host, config in configs.items()}
    accounts = run.ask({host: system.ask_uid(host, settings.user) for host in hosts})
    groups = run.ask({host: ask_groups(host, settings.user) for host in hosts})
    data = run.ask({host: ask_data(host, config.data_dir) for host, config in configs.items()})
    others = run.ask(
        {h: ask_paths(h, (*needed[h], posixpath.join(config.data_dir, "member"))) for h, config in configs.items()}
    )
    found: list[Finding] = []
    for host, config in configs.items():
        uid = accounts[host]
        if uid is None:
            raise etcd.EtcdError(host, f"there is no account {settings.user}", "correct etcd.user in the inventory")
        ways = [entry for entry in others[host] if not entry.path.startswith(config.data_dir)]
        found += findings(host, Account(settings.user, uid, groups[host]), data[host], ways, needed[host])
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
    left = findings_on_hosts(run, hosts)
    run.settle(
        "the etcd account owns its data and can read its configuration",
        {h: "; ".join(f"{f.entry.path}: {f.problem}" for f in left if f.host == h) or None for h in hosts},
        "look at these by hand; what is left alone here is left for a reason",
    )


def start_member(run: Run, sheets: Sequence[MemberFacts], host: str, mended: bool) -> bool:
    """Starts or restarts a member where it should run; healthy where the others have quorum, else its process must
    stay. Returns whether it was started.

    One without data is left alone: a recovery stopped before it restored them, and etcd would begin an empty cluster.
    """
    (own,) = (sheet for sheet in sheets if sheet.member.host == host)
    assert own.unit is not None
    cost = restarts.cost(sheets, host)
    verb = verb_of(own.unit, mended, cost)
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
    run.do(start(host, run.inventory.etcd.unit, verb))
    restarts.is_back(run, own, before, Back.HEALTHY if others >= len(sheets) // 2 else Back.STEADY)
    return True


def it_runs(run: Run, hosts: Sequence[str]) -> None:
    unit = run.inventory.etcd.unit

    def probe(machine: Machine) -> str | None:
        state = machine.ask(systemd.ask_unit(machine.name, unit))
        return None if state.running and state.sub != "auto-restart" else f"unit {state}"

    run.prove(hosts, f"{unit} runs", probe, remedy("see what etcd says there", systemd.journal(unit)), within=15)
