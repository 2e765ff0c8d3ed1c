"""What only a diagnosis asks; what others ask too stands with its subject."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from dataclasses import replace

from requorum.cluster import deephaven, etcd, etcdctl, peers
from requorum.cluster.etcd import MemberConfig
from requorum.cluster.peers import DataHash
from requorum.command import Command, Result, look
from requorum.deadlines import LONG, wait
from requorum.diagnosis.sheet import Disk
from requorum.hosts import systemd
from requorum.hosts.question import PATH, Question, checked, in_time
from requorum.inventory import Inventory

LOGIN_SECONDS = 15  # for etcdctl: a login is a consensus operation, and takes seconds on a machine that is overloaded


def ask_last_words(host: str, unit: str) -> Question[tuple[str, ...]]:
    """The last lines of a unit's journal."""
    return Question(
        look(host, "journalctl", "--no-pager", *systemd.journal(unit)[2:], why="what etcd said last"), _lines
    )


def _lines(answer: Result) -> tuple[str, ...]:
    return tuple(answer.stdout.splitlines())


def ask_config(host: str, path: str) -> Question[MemberConfig | str]:
    """A member's configuration, or why there is none."""

    asked = etcd.ask_config(host, path)

    def read(answer: Result) -> MemberConfig | str:
        found = asked.read(answer)
        if isinstance(found, MemberConfig):
            return found
        return f"{found.where} {found.what}" if found else answer.words

    return Question(asked.command, read)


# df's figures of the deepest directory that exists, and how that is mounted.
_DISK = (
    'at=$1; while [ ! -d "$at" ]; do at=$(dirname "$at"); done; df -P -B1 "$at"; df -P -i "$at" | tail -n 1; '
    'grep " $(df -P "$at" | tail -n 1 | tr -s " " | cut -d " " -f 6) " /proc/mounts | tail -n 1'
)
# At most ten files that etcd cannot use: what is not its own, keys and configuration that it may not read.
_FOREIGN = (
    'find "$2" ! -user "$1" 2>/dev/null | head -n 10; shift 2; '
    'for file; do runuser -u "$0" -- test -r "$file" || echo "$file"; done'
)


def ask_disk(host: str, config: MemberConfig) -> Question[Disk | None]:
    """Room where the data lies; None where df does not say."""
    command = look(host, "sh", "-c", _DISK, "sh", config.data_dir, why="room where the data lies")
    return Question(command, _read_disk)


def _read_disk(answer: Result) -> Disk | None:
    """df's answer in bytes, df's answer in inodes (0 in all: not counted), and the mount's line."""
    lines = [line.split() for line in answer.stdout.splitlines()]
    if len(lines) < 3 or len(lines[1]) < 6:
        return None
    files = int(lines[2][3]) if len(lines[2]) > 5 and lines[2][1].isdigit() and int(lines[2][1]) else None
    options = lines[3][3].split(",") if len(lines) > 3 and len(lines[3]) > 3 else []
    mount = checked(answer.command.host, "mount point", lines[1][5], PATH)
    return Disk(mount, int(lines[1][3]), files, "ro" in options)


def ask_data(host: str, config: MemberConfig) -> Question[bool]:
    command = look(host, "test", "-s", f"{config.data_dir}/member/snap/db", why="whether the data is there")
    return Question(command, lambda answer: in_time(answer).code == 0)


def ask_unusable(host: str, inventory: Inventory, config: MemberConfig) -> Question[tuple[str, ...]]:
    """Files that etcd's account cannot use, ten at most of the data."""
    user = inventory.etcd.user
    words = (_FOREIGN, user, user, config.data_dir, inventory.etcd.config, *config.keys)
    return Question(look(host, "sh", "-c", *words, why=f"files that {user} cannot use"), _lines)


def _peer_page(host: str, config: MemberConfig, page: str, body: str = "{}") -> Command:
    """A page that members give each other, asked by the member itself: no login, no consensus. HTTP/1.1, since over 2
    curl gets no whole answer (etcd 3.5.16)."""
    own = next(iter(config.certificates), None)
    login = ("--cert", own.cert, "--key", own.key) if own else ()
    return look(
        host,
        "curl",
        "-sSik",
        "--http1.1",
        "--max-time",
        wait(30),
        *login,
        "-X",
        "GET",
        "-H",
        "Content-Type: application/json",
        "-d",
        body,
        f"{config.peer_url}/{page}",
        *etcd.NO_PROXY,
        why=f"/{page} as the member gives it to its peers",
    )


def ask_health(host: str, config: MemberConfig) -> Question[str]:
    """The member's own page, as it is."""
    return etcd.ask_page(host, config, "health", str.strip)


def ask_cluster_id(host: str, config: MemberConfig) -> Question[str | None]:
    def read(answer: Result) -> str | None:
        number = re.search(r"(?im)^x-etcd-cluster-id: *([0-9a-f]{1,16})\s*$", answer.stdout)
        return number[1] if number else None

    return Question(_peer_page(host, config, "members"), read)


def ask_hash(host: str, config: MemberConfig, revision: int) -> Question[DataHash | None]:
    """At a revision of all members, without a login; None for anything but a hash."""
    page = _peer_page(host, config, "members/hashkv", json.dumps({"revision": revision}))
    return Question(replace(page, deadline=LONG), lambda answer: peers.parse_hash(answer.stdout, revision))


# -- from Deephaven's side ---------------------------------------------------------------------------------------


def ask_alarms(inventory: Inventory) -> Question[tuple[str, ...] | str]:
    """The cluster's alarms, or why they cannot be told."""
    limit = wait(LOGIN_SECONDS, "--command-timeout={}s")

    def read(answer: Result) -> tuple[str, ...] | str:
        return answer.words if answer.code else tuple(line.strip() for line in _lines(answer) if line.strip())

    return Question(deephaven.etcdctl(inventory, limit, "alarm", "list", why="alarms of the cluster"), read)


def ask_login(inventory: Inventory, role: str) -> Question[str | None]:
    """None for a role that is let in, be it only to be told that this key is not for it; else etcd's words."""
    client, limit = f"{inventory.deephaven.client_config}/{role}", wait(LOGIN_SECONDS, "--command-timeout={}s")

    def read(answer: Result) -> str | None:
        let_in = answer.code == 0 or etcdctl.is_denied(answer)
        return None if let_in else answer.words

    return Question(deephaven.etcdctl_as(inventory, client, limit, "get", "/requorum", why=f"{role} logs in"), read)


def ask_down(inventory: Inventory, host: str, last_up: Collection[str] | None) -> Question[tuple[str, ...]]:
    """Deephaven processes that are expected up and are not."""

    def read(answer: Result) -> tuple[str, ...]:
        processes = deephaven.parse_monit(answer.stdout)
        wanted = deephaven.expected(processes, last_up, inventory.expect.off)
        down = deephaven.not_up(wanted) if processes else [f"monit names no process: {answer.words}"]
        return tuple(down)

    return Question(deephaven.ask_monit(inventory, host), read)
