"""What old members' disks hold: a `Disk` for each configuration that is found there, installed or earlier.

A rebuilt cluster lies beside the one before it, under another token: so the disk of one machine may hold the lost
cluster's data and that of a run that failed.
"""

from __future__ import annotations

import base64
import re
import shlex
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from requorum.cluster import lineage as lineages
from requorum.cluster.etcd import EtcdError, MemberConfig, UnusableError, parse_config
from requorum.cluster.lineage import Lineage
from requorum.command import Result, look
from requorum.hosts.question import Question
from requorum.inventory import Member
from requorum.run import marker
from requorum.run.marker import ON_DISK, SALVAGE
from requorum.snapshots import layout
from requorum.snapshots.family import Family
from requorum.snapshots.ranking import LAST_RESORT, NAME_SALVAGE, Candidate, stranger


@dataclass(frozen=True)
class Disk:
    """One cluster's data on one old member. `installed`: by the configuration that its unit reads. `bytes` and `taken`
    (RFC 3339) are the database's, None and "" where there is none; `logged`: a write-ahead log is there. `problem`: why
    it is not understood what lies there, "" where it is whole, or nothing at all. `links`: on the way to it."""

    member: Member
    config: MemberConfig
    lineage: Lineage
    installed: bool
    logged: bool = False
    bytes: int | None = None
    taken: str = ""
    problem: str = ""
    links: tuple[str, ...] = ()
    node: int | None = None

    @property
    def host(self) -> str:
        return self.member.host

    @property
    def database(self) -> str:
        return f"{self.config.data_dir}/member/snap/db"

    @property
    def whole(self) -> bool:
        """Whether it can be salvaged: log and database are where its configuration and links lead."""
        return self.logged and self.bytes is not None and not self.problem


# -- questions ---------------------------------------------------------------------------------------------------

MOST_EARLIER = 1000  # a host keeps one for each cluster that it was a member of


@dataclass(frozen=True)
class Earlier:
    """Configurations of earlier clusters on one host. `unread`: why they cannot be read, "" if they can."""

    configs: tuple[MemberConfig, ...] = ()
    unread: str = ""


def ask_earlier(host: str, config: str, cluster: str) -> Question[Earlier]:
    """Configurations beside the installed one, and those that runs of ours set aside; one a line, in base64."""
    latest, name = config.rsplit("/", 1)
    script = (
        'for file in "$0"/*/"$1" "$2"/*/aside/"$3"/"$1"; do '
        '[ ! -f "$file" ] || { base64 -w 0 <"$file"; printf \' %s\\n\' "$file"; }; done'
    )
    aside = latest.strip("/").replace("/", "_")
    command = look(
        host,
        "sh",
        "-c",
        script,
        latest.rsplit("/", 1)[0],
        name,
        marker.directory(cluster),
        aside,
        why="configurations of earlier clusters",
    )
    return Question(command, lambda answer: _read_earlier(host, answer))


def _read_earlier(host: str, answer: Result) -> Earlier:
    """What of it are configurations of a member; anything else lies beside them by right."""
    found, odd = [], []
    lines = dict.fromkeys(filter(None, answer.stdout.splitlines()))
    if len(lines) > MOST_EARLIER:
        return Earlier(
            (), f"there are {len(lines):,} configurations of earlier clusters, and {MOST_EARLIER:,} are read"
        )
    for line in lines:
        encoded, _, path = line.partition(" ")
        try:
            found.append(parse_config(base64.b64decode(encoded, validate=True).decode(), f"{host}:{path}"))
        except UnusableError as error:
            odd.append(f"{error.where}: {error.what}")
        except (ValueError, EtcdError):
            continue
    odd += [answer.words] if answer.code else []
    return Earlier(tuple(found), f"earlier configurations cannot be read: {'; '.join(odd)}" if odd else "")


def clusters(installed: MemberConfig | None, earlier: Iterable[MemberConfig]) -> list[MemberConfig]:
    """One configuration for each data directory, the installed one first."""
    found: dict[str, MemberConfig] = {}
    for config in (*([installed] if installed else []), *earlier):
        found.setdefault(config.data_dir, config)
    return list(found.values())


def ask_disk(member: Member, config: MemberConfig, installed: bool) -> Question[Disk]:
    """The data of one configuration: whose it is, which files there are, and how they lie."""
    host, directory = member.host, config.data_dir
    wal, there = lineages.ask_wal(host, directory, config.wal_dir), layout.ask_data(host, config)
    database = look(
        host,
        "find",
        f"{directory}/member/snap/db",
        f"{directory}/member/wal",
        "-maxdepth",
        "1",
        "-type",
        "f",
        "-printf",
        r"%f %T@ %s\n",
        why="the database's age and size",
    )

    def read(head: Result, data: Result, *lies: Result) -> Disk:
        lineage, found = Lineage(config.token, wal.understand([head])), there.understand(lies)
        size, taken = _read_database(data)
        odd = found.problem
        if not odd and (size is None) == bool(found.logs):
            odd = f"what lies in {directory} was not twice the same when it was looked at"
        node = lineages.of_member(head)
        return Disk(member, config, lineage, installed, bool(found.logs), size, taken, odd, found.links, node)

    return Question((*wal.commands, database, *there.commands), read)


_ROW = re.compile(r"(\S+) (-?[0-9]+(?:\.[0-9]*)?) ([0-9]{1,19})")


def _rfc3339(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        return ""  # a clock that was nowhere near


def _read_database(answer: Result) -> tuple[int | None, str]:
    """Its bytes, and when it was written; of the log beside it nothing."""
    rows = [found.groups() for line in answer.stdout.splitlines() if (found := _ROW.fullmatch(line))]
    return next(((int(size), _rfc3339(float(seconds))) for name, seconds, size in rows if name == "db"), (None, ""))


# -- whose it is -------------------------------------------------------------------------------------------------


def salvageable(disks: Sequence[Disk], family: Family, named: str | None, doubted: Collection[str] = ()) -> list[Disk]:
    """What is salvaged, at most one disk a host: the named token's data, else the lost cluster's; not of `doubted`
    hosts, but where it is named and only they hold it. [] where there is none of it, or where no host tells which
    cluster was lost and there are several."""
    first: dict[str, Disk] = {}
    for disk in sorted(_salvageable(disks, family, named), key=lambda disk: not disk.installed):
        first.setdefault(disk.host, disk)
    sure = {host: disk for host, disk in first.items() if host not in doubted}
    kept = sure or (first if named else {})
    return [disk for disk in disks if kept.get(disk.host) is disk]


COPIED = "one of them is a copy of the other"


def copied(picked: Sequence[Disk], given_up: Collection[str]) -> dict[str, str]:
    """host → why, for logs of one and the same member on several hosts: as one disk copied to another machine, they
    count once, and nobody tells which went on. `given_up`: hosts that count for nothing by the operator's word."""
    found: dict[tuple[int, int], list[str]] = {}
    for disk in picked:
        if disk.node is not None and disk.lineage.cluster_id is not None:
            found.setdefault((disk.lineage.cluster_id, disk.node), []).append(disk.host)
    whys = {}
    for (_, node), hosts in found.items():
        for host in hosts:
            if others := [other for other in hosts if other != host and other not in given_up]:
                whys[host] = f"its log is of member {node:x}, as is that of {', '.join(others)}: {COPIED}"
    return whys


def _salvageable(disks: Sequence[Disk], family: Family, named: str | None) -> list[Disk]:
    whole = [disk for disk in disks if disk.whole]
    if named:
        return [disk for disk in whole if disk.config.token == named]
    if family.line:
        return [disk for disk in whole if family.generation(disk.lineage) == 0]
    known = [disk for disk in whole if not family.is_unborn(disk.lineage)]
    return known if len({disk.config.token for disk in known}) == 1 else []


def last_resort(disks: Sequence[Disk], family: Family, host: str) -> Disk | None:
    """The database on `host` that may be restored without its hash: the lost cluster's, no other one."""
    found = [disk for disk in disks if disk.host == host and disk.bytes is not None]
    if family.line:
        return next((disk for disk in found if family.generation(disk.lineage) == 0), None)
    return next((disk for disk in found if disk.installed and not family.is_unborn(disk.lineage)), None)


IN_STEP_1 = "salvaged in Step 1, once etcd is stopped"


def listed(disks: Sequence[Disk], family: Family, named: str | None) -> list[Candidate]:
    """Rows for the table, none of which can be restored yet: what Step 1 salvages, what is salvaged only when named,
    and every database that may be the last resort. Clusters further back than the lost one's own origin are left out.
    """
    chosen = salvageable(disks, family, named)
    rows = []
    for token, group in _by_token(disk for disk in disks if disk.whole).items():
        first = max(group, key=lambda disk: disk.lineage.cluster_id is not None)
        generation = family.generation(first.lineage)
        if first in chosen:
            why = IN_STEP_1
        elif named:
            why = "another one was named"
        else:
            why = f"{stranger(first.lineage, family)}: {NAME_SALVAGE}{shlex.quote(token)}"
        if first in chosen or generation in (None, 0, 1):
            hosts = ", ".join(disk.host for disk in group)
            taken = max(disk.taken for disk in group)
            rows.append(Candidate(SALVAGE, hosts, token, taken, lineage=first.lineage, problem=why))
    for host in dict.fromkeys(disk.host for disk in disks):
        disk = last_resort(disks, family, host)
        if disk is not None:
            rows.append(
                Candidate(
                    ON_DISK,
                    host,
                    disk.database,
                    disk.taken,
                    disk.bytes,
                    lineage=disk.lineage,
                    problem=f"{LAST_RESORT}{host}",
                )
            )
    return rows


def _by_token(disks: Iterable[Disk]) -> Mapping[str, list[Disk]]:
    found: dict[str, list[Disk]] = {}
    for disk in disks:
        found.setdefault(disk.config.token, []).append(disk)
    return found


def refusal(
    disks: Sequence[Disk], family: Family, salvage: str | None, skip_hash: str | None
) -> tuple[str, str, str] | None:
    """Why what the operator named is not there: where, what, remedy; None where it is."""
    if salvage and not salvageable(disks, family, salvage):
        there = "; ".join(
            f"{token} on {', '.join(disk.host for disk in group)}"
            for token, group in _by_token(disk for disk in disks if disk.whole).items()
        )
        return (
            f"{NAME_SALVAGE}{salvage}",
            "no old member's disk holds this cluster's data",
            (f"there is: {there}" if there else "there is no such data at all: leave it out"),
        )
    if skip_hash and last_resort(disks, family, skip_hash) is None:
        there = ", ".join(d for d in dict.fromkeys(disk.host for disk in disks) if last_resort(disks, family, d))
        what = "has no database of the lost cluster on its disk"
        return f"--skip-hash={skip_hash}", what, f"{there} has" if there else "no old member has: leave it out"
    return None
