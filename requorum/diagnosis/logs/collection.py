"""What is collected from each host when people ask for logs, and since when. Pure: lists of `Collect`.

The unit's own journal and the whole one, since some lines are only in the latter; what the machine says of itself;
what etcd says to a login. Passwords and keys are not asked for at all; what may hold one by accident is redacted on
its way (`fleet`). `page` makes the page of it.
"""

from __future__ import annotations

import re
import stat
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from requorum.cluster import deephaven
from requorum.command import Collect, Collected, Command, look
from requorum.deadlines import LONG, wait
from requorum.evidence.journal import now
from requorum.hosts import clock
from requorum.hosts.clock import Reading
from requorum.inventory import Inventory
from requorum.refusal import Refusal
from requorum.run.run import Run
from requorum.run.terms import Terms

DEFAULT_SINCE = "2h"
MOST_LINES = 200_000  # of one journal, the newest ones
MOST_BYTES = 100_000_000  # of one file, before it is packed
UNIT_JOURNAL, WHOLE_JOURNAL = "journal-etcd.log", "journal.log"

# Dates of every certificate that lies beside the configuration; keys are left alone.
_CERTIFICATES = (
    'find -L "$(dirname "$1")" -maxdepth 2 -type f -size -64k | sort | while read -r file; do '
    'grep -q "BEGIN CERTIFICATE" "$file" || continue; echo "$file"; '
    'openssl x509 -in "$file" -noout -subject -issuer -startdate -enddate -fingerprint -sha256 '
    "-ext subjectAltName 2>&1; done"
)
_DISK = 'df -h; echo; df -i; echo; du -sh "$1"/* "$1"/*/member/* 2>/dev/null; echo; cat /proc/mounts'
_MACHINE = (
    "date -u; uptime; uname -a; echo; timedatectl 2>&1; echo; free -m; echo; ip -o addr; echo; ip route; echo; "
    "ss -Htln; echo; ps -eo pid,user,etime,rss,comm --sort=-rss | head -n 40"
)


def since(text: str) -> str:
    """`--since` as journalctl takes it, in no time zone: `90m`, `2h`, `3d`, or a moment as in `2026-01-31T03:00:00Z`.

    Raises `Refusal` for anything else.
    """
    if re.fullmatch(r"[1-9]\d{0,5}[smhd]", text):
        return f"-{text}"
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise Refusal(f"--since={text}", "is no time", "write 90m, 2h, 3d, or 2026-01-31T03:00:00Z") from None
    return f"@{(moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp():.0f}"


def items(terms: Terms, hosts: Iterable[str], since: str, place: Path) -> list[Collect]:
    """Everything to collect from `hosts`, as `place/HOST/FILE`. `since` is journalctl's."""
    inventory = terms.inventory
    found = []
    for host in hosts:
        asked = {**_of_every_host(inventory, host, since)}
        if host in terms.etcd_hosts:
            asked |= _of_etcd(inventory, host, since)
        if host in terms.deephaven_hosts:
            asked["monit.txt"] = deephaven.ask_monit(inventory, host)
        if host == terms.configuration_server:
            asked |= _of_the_cluster(inventory)
        found += [Collect(command, str(place / host / name), MOST_BYTES) for name, command in asked.items()]
    return found


# Not journalctl's own -n: together with --since it gives the oldest lines (systemd 252), and the newest are wanted.
_JOURNAL = 'most=$1; shift; journalctl "$@" | tail -n "$most"'


def _journal(host: str, since: str, *unit: str) -> Command:
    options = ("--no-pager", "-q", "--utc", "-o", "short-iso-precise", f"--since={since}", *unit)
    which = f"the journal of {unit[-1]}" if unit else "the whole journal"
    argv = ("sh", "-c", _JOURNAL, "sh", str(MOST_LINES), *options)
    return look(host, *argv, why=f"collect {which}", deadline=LONG)


def _of_every_host(inventory: Inventory, host: str, since: str) -> dict[str, Command]:
    root = inventory.etcd.data_root
    return {
        WHOLE_JOURNAL: _journal(host, since),
        "disk.txt": look(host, "sh", "-c", _DISK, "sh", root, why="collect disks"),
        "machine.txt": look(host, "sh", "-c", _MACHINE, why="collect clock, addresses, memory, processes"),
        "monit.txt": deephaven.ask_etcd_in_monit(host),
    }


def _of_etcd(inventory: Inventory, host: str, since: str) -> dict[str, Command]:
    unit, config = inventory.etcd.unit, inventory.etcd.config
    return {
        UNIT_JOURNAL: _journal(host, since, "-u", unit),
        "unit.txt": look(host, "systemctl", "status", "--no-pager", "--full", "-n", "0", unit, why="collect the unit"),
        "unit-file.txt": look(host, "systemctl", "cat", "--no-pager", unit, why="collect the unit's file"),
        "config.yaml": look(host, "cat", config, why="collect etcd's configuration"),
        "certificates.txt": look(host, "sh", "-c", _CERTIFICATES, "sh", config, why="collect certificates' dates"),
        "data.txt": look(
            host, "find", inventory.etcd.data_root, "-maxdepth", "4", "-ls", why="collect files and owners"
        ),
    }


def _of_the_cluster(inventory: Inventory) -> dict[str, Command]:
    """What etcd says to a login, as JSON; where it cannot, why."""
    asked = {
        "etcd-status.json": ("endpoint", "status", "--cluster"),
        "etcd-health.json": ("endpoint", "health", "--cluster"),
        "etcd-members.json": ("member", "list"),
        "etcd-alarms.json": ("alarm", "list"),
    }
    return {
        name: deephaven.etcdctl(
            inventory, wait(15, "--command-timeout={}s"), *words, "-w", "json", why=f"collect {' '.join(words)}"
        )
        for name, words in asked.items()
    }


def somebody_answers(run: Run, silent: Mapping[str, str]) -> None:
    """At least one host takes commands as root; the silent ones are noted."""
    everyone = len(silent) == len(run.terms.everyone)
    answering = [host for host in run.terms.everyone if host not in silent]
    run.settle(
        "at least one host takes commands as root",
        dict(silent) if everyone else dict.fromkeys(answering),
        "check this machine's network, ssh, and sudo for the login",
    )
    for host, why in silent.items():
        run.note(f"{host}: {why}")


def about(
    run: Run, files: Sequence[Collected], failed: Mapping[str, str], clocks: Mapping[str, Reading], place: Path
) -> dict[str, object]:
    """What the page says of the collection itself."""
    listed = [
        {"name": Path(f.collect.target).relative_to(place).as_posix(), "bytes": f.bytes, "note": _note(f)}
        for f in sorted(files, key=lambda f: f.collect.target)
    ]
    return {
        "cluster": run.inventory.cluster,
        "taken": now(),
        "since": run.options.since,
        "files": listed,
        "silent": dict(failed),
        "clocks": clock.differences(clocks, run.inventory.limits.clock_offset_seconds),
    }


def _note(found: Collected) -> str:
    if found.cut:
        return f"cut: more than {found.collect.most:,} bytes"
    if found.code:
        return f"exit code {found.code}: {found.said}"
    journal = Path(found.collect.target).name in (UNIT_JOURNAL, WHOLE_JOURNAL)
    return f"at most the newest {MOST_LINES:,} lines" if journal else ""


def the_archive_is_whole(run: Run, files: Sequence[Collected], place: Path) -> None:
    archive = run.journal.directory / "logs.tar.gz"
    with tarfile.open(archive) as tar:
        sizes = {member.name.partition("/")[2]: member.size for member in tar}
    wanted = {Path(f.collect.target).relative_to(place).as_posix(): f.bytes for f in files}
    wrong = [name for name, size in wanted.items() if sizes.get(name) != size]
    wrong += [] if sizes.get("index.html") else ["index.html"]
    mode = stat.S_IMODE(archive.stat().st_mode)
    wrong += [f"mode {mode:o}"] if mode != 0o600 else []
    run.settle(
        f"the archive holds its page and {len(wanted)} files, whole, for its owner only",
        {"this machine": ", ".join(wrong) or None},
        "look at the disk of this machine, then run again",
    )
