"""What is wrong, by likelihood: each cause a small pure function over a `Sheet`, and the order in which they count.

`rank` orders them: what makes other things fail comes before what it makes fail, so a full disk is named before the
quorum that was lost by it, and the first of the list is the root of the rest. A cause rests on what was seen on
hosts; what could not be asked is never one, silence alone excepted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from requorum.cluster.lineage import Lineage
from requorum.cluster.quorum import Kind, State
from requorum.diagnosis.logs import signs
from requorum.diagnosis.sheet import EtcdSheet, Sheet
from requorum.hosts import clock
from requorum.hosts.meeting import TURNED_AWAY
from requorum.refusal import Refusal
from requorum.run import marker
from requorum.run.marker import Phase
from requorum.snapshots import anew

LEAST_FREE = 64 * 1024 * 1024  # etcd makes its next segment of write-ahead log in one piece of this size
LEAST_FILES = 16
LOCAL = ("127.0.0.1", "::1")
GRAVE_SECONDS = 3600.0  # clocks so far apart make valid certificates look expired


def unfinished_run(sheet: Sheet) -> Cause | None:
    try:
        mark = marker.to_carry_on(dict(sheet.marks), outlived=sheet.outlived)
    except Refusal as several:
        return Cause(
            10,
            "unfinished run",
            "Several recoveries were begun and none was finished.",
            {several.where: several.what},
            several.remedy,
        )
    healthy = sheet.verdict.kind is Kind.INTACT
    if mark is None or (mark.phase >= Phase.POWERING_ON and not healthy):  # then a new incident, not that run's
        return None
    hosts = [host for host, found in sheet.marks.items() if found and found.run == mark.run]
    got = mark.phase.name.lower().replace("_", " ")
    return Cause(
        10,
        "unfinished run",
        f"A recovery was begun by {mark.by} and not finished.",
        {listed(hosts): f"run {mark.run}, which got to: {got}"},
        "if nobody is at it now, the same command carries it on",
        pytest_line(sheet),
    )


def masked(sheet: Sheet) -> Cause | None:
    found = each(sheet.installed, lambda on: f"unit {on.unit}" if _masked(on) and not on.serves else None)
    if not found:
        return None
    return Cause(
        40,
        "service masked",
        f"{sheet.unit} is masked on {listed(found)}: systemd does not start it.",
        found,
        "find out who masked it and why; then, there:",
        f"systemctl unmask {sheet.unit}; systemctl start --no-block {sheet.unit}",
    )


def _masked(on: EtcdSheet) -> bool:
    return on.unit.load == "masked" or on.unit.enabled.startswith("masked")


# -- what makes a member fail ------------------------------------------------------------------------------------


def disk_full(sheet: Sheet) -> Cause | None:
    found = each(sheet.installed, _no_room)
    if not found:
        return None
    return Cause(
        20,
        "disk full",
        f"The disk that holds etcd's data is full or read-only on {listed(found)}.",
        found,
        "make room there (old logs, old data directories), then start the unit where it does not run:",
        f"systemctl reset-failed {sheet.unit}; systemctl start --no-block {sheet.unit}",
    )


def _no_room(on: EtcdSheet) -> str | None:
    disk = on.disk
    if disk is None:
        return None
    if disk.read_only:
        return f"{disk.mount} is mounted read-only"
    if disk.free < LEAST_FREE:
        return f"{disk.free:,} bytes free in {disk.mount}; etcd needs {LEAST_FREE:,} for its next log segment"
    few = disk.free_files is not None and disk.free_files < LEAST_FILES
    return f"room for {disk.free_files} more files in {disk.mount}" if few else None


def no_space_alarm(sheet: Sheet) -> Cause | None:
    found = [alarm for alarm in sheet.alarms if "NOSPACE" in alarm]
    if not found:
        return None
    ctl = sheet.inventory.deephaven.commands.etcdctl
    return Cause(
        22,
        "NOSPACE alarm",
        "The database has reached its quota: etcd takes no write until the alarm is disarmed.",
        {sheet.inventory.deephaven.configuration_server: "; ".join(found)},
        "compact and defragment (or raise quota-backend-bytes on every member), then disarm:",
        f"{ctl} compact REVISION; {ctl} --command-timeout=120s defrag --cluster; {ctl} alarm disarm",
    )


def address_changed(sheet: Sheet) -> Cause | None:
    found = {
        m.host: f"{m.ip} is not among its addresses ({listed(a for a in on.addresses if a not in LOCAL)})"
        for m in sheet.members
        if (on := sheet.installed.get(m.host)) and on.addresses and m.ip not in on.addresses and not on.serves
    }
    if not found:
        return None
    return Cause(
        25,
        "address changed",
        f"{listed(found)} no longer has the address that etcd is configured for.",
        found,
        "give it the address back; or put the new one under members and the old one under old_members, and rebuild:",
        pytest_line(sheet),
    )


def split_cluster(sheet: Sheet) -> Cause | None:
    by_id: dict[str, list[str]] = {}
    for host, on in sheet.installed.items():
        if on.cluster_id:
            by_id.setdefault(on.cluster_id, []).append(host)
    if len(by_id) < 2:
        return None
    found = {
        host: f"cluster ID {number}, token {config.token if (config := sheet.installed[host].config) else 'unknown'}"
        for number, hosts in by_id.items()
        for host in hosts
    }
    fewest = min(by_id.values(), key=len)
    return Cause(
        28,
        "split cluster IDs",
        "The members are not of one cluster: clients read and write different data.",
        found,
        f"find out which is the right one, and stop the others, likely {listed(fewest)}, before more is written:",
        f"systemctl disable --now {sheet.unit}",
    )


def began_anew(sheet: Sheet) -> Cause | None:
    """By the member that is furthest on: others may lag behind it."""
    up = {host: on for host, on in sheet.installed.items() if on.serves and on.config and on.revision is not None}
    host = max(up, key=lambda host: up[host].revision or 0, default=None)
    if host is None or (config := up[host].config) is None:
        return None
    number = up[host].cluster_id
    lineage = Lineage(config.token, int(number, 16) if number else None)
    found = anew.began_anew(up[host].revision or 0, lineage, sheet.backups)
    if found is None:
        return None
    return Cause(
        29,
        "cluster began anew",
        "Disks were lost, and the old configuration made an empty cluster of them.",
        {host: f"the cluster {found}"},
        f"to keep it: {pytest_line(sheet, 'backup')} --accept={anew.WORD}; to recover what was lost:",
        f"{pytest_line(sheet)} --rebuild",
    )


def wrong_owner(sheet: Sheet) -> Cause | None:
    found = each(sheet.installed, lambda on: listed(on.foreign[:3]) if on.foreign else None)
    if not found:
        return None
    user = sheet.inventory.etcd.user
    return Cause(
        30,
        "wrong owner",
        f"{user} does not own, or cannot read, files that it needs on {listed(found)}.",
        found,
        "as after etcd was run by hand as another account; show and mend it:",
        pytest_line(sheet, "troubleshoot/permissions"),
    )


def configuration(sheet: Sheet) -> Cause | None:
    """No cause where there never was an etcd, as on a spare."""
    found = each(sheet.installed, lambda on: on.config_problem if on.unit.installed and on.config is None else None)
    if not found:
        return None
    return Cause(
        32,
        "configuration unreadable",
        f"etcd's configuration cannot be read on {listed(found)}.",
        found,
        f"put {sheet.inventory.etcd.config} right there, then:",
        f"systemctl restart --no-block {sheet.unit}",
    )


def certificates(sheet: Sheet) -> Cause | None:
    found = each(
        sheet.installed,
        lambda on: "; ".join(f"{c.path}: {listed(c.problems)}{_until(c.ends)}" for c in on.certificates if c.problems),
    )
    refused = {
        f"login of {role}": words
        for role, words in sheet.logins.items()
        if words and ("x509" in words or "tls:" in words)
    }
    if not found and not refused:
        return None
    expired = any(c.out_of_date for on in sheet.installed.values() for c in on.certificates)
    what = "expired, or not yet valid," if expired else "not of its CA, address or key"
    return Cause(
        35,
        f"certificates {'expired' if expired else 'mismatched'}",
        f"A certificate is {what} on {listed(found or refused)}.",
        {**found, **refused},
        "install the right certificate and restart the member; where the generator must make new ones, move the "
        "cluster to them in an orderly handover:",
        f"{pytest_line(sheet)} --rebuild",
    )


def _until(ends: object) -> str:
    return f" (valid until {ends:%Y-%m-%d})" if ends else ""


def clocks_differ(sheet: Sheet) -> Cause | None:
    found = clock.differences(sheet.clocks, sheet.inventory.limits.clock_offset_seconds)
    if not found:
        return None
    grave = any(abs(seconds) >= GRAVE_SECONDS for seconds in found.values())
    return Cause(
        34 if grave else 65,
        "clock difference",
        f"The clock of {listed(found)} differs from the others'.",
        {host: f"about {abs(s):,.1f} s {'ahead' if s > 0 else 'behind'}" for host, s in found.items()},
        "turn time synchronisation on, on every host:",
        "timedatectl set-ntp true; timedatectl timesync-status",
    )


def corrupt_member(sheet: Sheet) -> Cause | None:
    """Its own last words where it is down, another hash than the others' at one revision, or etcd's own alarm."""
    found = each(sheet.installed, _last_words_of_corruption)
    found |= _odd_hashes(sheet.installed)
    found |= {f"alarm {number}": alarm for number, alarm in enumerate(sheet.alarms, start=1) if "CORRUPT" in alarm}
    if not found:
        return None
    intact = sheet.verdict.kind is Kind.INTACT
    return Cause(
        38,
        "corrupt member",
        f"The data of {listed(found)} is damaged or differs from the other members'.",
        found,
        "save a backup, then replace that member's data from the others, or rebuild the cluster in a handover:"
        if intact
        else "the recovery salvages from the members whose data is whole:",
        f"{pytest_line(sheet)}{' --rebuild' if intact else ''}",
    )


def _last_words_of_corruption(on: EtcdSheet) -> str | None:
    if on.has_leader is not None:
        return None
    line = next((line for line in reversed(on.said) if signs.CORRUPT.shows(line)), None)
    return f"does not start, it said: {line.strip()[:200]}" if line else None


def _odd_hashes(sheets: Mapping[str, EtcdSheet]) -> dict[str, str]:
    """Within one cluster, at one revision and compacted alike: the hosts whose hash is not the most frequent one.

    All of them where no hash is held by more hosts than any other.
    """
    groups: dict[tuple[object, ...], dict[int, list[str]]] = {}
    for host, on in sheets.items():
        if on.hash:
            key = (on.cluster_id, on.hash.revision, on.hash.compacted)
            groups.setdefault(key, {}).setdefault(on.hash.hash, []).append(host)
    odd: dict[str, str] = {}
    for (_, revision, _), hashes in groups.items():
        most = max(len(hosts) for hosts in hashes.values())
        alone = [number for number, hosts in hashes.items() if len(hosts) == most]
        wrong = [] if len(hashes) == 1 else [n for n in hashes if len(alone) > 1 or n != alone[0]]
        odd |= {host: f"hash {n} at revision {revision}, unlike the others" for n in wrong for host in hashes[n]}
    return odd


def partition(sheet: Sheet) -> Cause | None:
    found = {host: f"cannot reach {listed(f.cut_off_from)}" for host, f in sheet.facts.items() if f.cut_off_from}
    if not found:
        return None
    return Cause(
        45,
        "network cut",
        "Members that are up do not reach each other.",
        found,
        "mend the network between the members (routes, firewalls); etcd then finds its leader by itself",
    )


# -- what clients meet -------------------------------------------------------------------------------------------


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
        silent = {host: why for host, why in sheet.silent.items() if host in found}
        there = bool(silent) and all(TURNED_AWAY in why for why in silent.values())
        return Cause(
            70,
            "quorum unknown",
            "It is unknown whether quorum is lost: too few members could be asked.",
            found | silent,
            "those machines are there: look at their sshd, or a bastion's (MaxStartups); then look again:"
            if there
            else "reach those machines first; one that is fenced or destroyed is named with --gone:",
            pytest_line(sheet, "troubleshoot/diagnose") + ("" if there else " --gone=HOST"),
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
    unfinished_run,
    disk_full,
    no_space_alarm,
    address_changed,
    split_cluster,
    began_anew,
    wrong_owner,
    configuration,
    certificates,
    clocks_differ,
    corrupt_member,
    masked,
    partition,
    stale_member,
    passwords,
    quorum_gone,
    silent_hosts,
    member_down,
    deephaven_down,
)


@dataclass(frozen=True)
class Cause:
    """`evidence`: host, or what else it was seen on → what was found. `next` is what to do, `command` to paste."""

    rank: int
    name: str
    what: str
    evidence: Mapping[str, str]
    next: str
    command: str = ""

    def row(self) -> dict[str, object]:
        """As `summary.json` has it."""
        return {
            "name": self.name,
            "what": self.what,
            "evidence": dict(self.evidence),
            "next": self.next,
            "command": self.command,
        }

    def lines(self, number: int) -> list[str]:
        """As the operator reads it."""
        found = [f"   {where}: {text}" for where, text in self.evidence.items()]
        return [
            f"{number}. {self.what}",
            *found,
            f"   → {self.next}",
            *([f"     {self.command}"] if self.command else []),
        ]


def pytest_line(sheet: Sheet, procedure: str = "") -> str:
    return f"pytest runbook{f'/{procedure}' if procedure else ''} --hosts={sheet.name}"


def each(sheets: Mapping[str, EtcdSheet], find: Callable[[EtcdSheet], str | None]) -> dict[str, str]:
    return {host: text for host, on in sheets.items() if (text := find(on))}


def listed(items: Iterable[str]) -> str:
    return ", ".join(items)


# -- what is there by intent, or by an unfinished one ------------------------------------------------------------


def refused(said: str) -> bool:
    """Whether etcd's words to a login are that its password is wrong."""
    return "authentication failed" in said or "invalid user ID or password" in said
