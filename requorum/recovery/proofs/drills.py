"""Proofs about restored data that need no password: each member's own word, and hashes where etcd gives them freely."""

from __future__ import annotations

import re

from requorum.cluster import deephaven, etcd
from requorum.cluster.etcd import MemberConfig
from requorum.cluster.peers import _peer_hash, parse_peer_hash
from requorum.command import Command, look
from requorum.hosts.fleet import Machine
from requorum.recovery.drill import Drill
from requorum.run import facts
from requorum.run.run import Run

PASSWORDS = "that any of this backup's users can log in: their passwords are not known here"


def the_copies_are_at(run: Run, revision: int, found: int) -> None:
    """etcd's own reading of the file agrees with ours."""
    run.settle(
        f"etcd reads revision {revision} from the snapshot",
        {run.terms.member_hosts[0]: None if found == revision else f"revision {found}"},
        "the file is not what it seems: do not rely on it",
    )


def every_member_is_up_to_date(run: Run, revision: int) -> None:
    """`/health` and `/metrics` of every member on its own host: healthy, one leader, one revision, not an older one."""
    configs = facts.new_configs(run)
    told: dict[str, dict[str, int]] = {}

    def probe(machine: Machine) -> str | None:
        config = configs[machine.name]
        health = machine.ask(_page(machine.name, config, "health"))
        metrics = machine.ask(_page(machine.name, config, "metrics"))
        told[machine.name] = _gauges(metrics.stdout)
        if not re.search(r'"health"\s*:\s*"?true', health.stdout):
            return f"/health says {health.stdout.strip() or health.words}"
        if told[machine.name].get("etcd_server_has_leader") != 1:
            return "no leader"
        found = told[machine.name].get("etcd_debugging_mvcc_current_revision", 0)
        return None if found >= revision else f"revision {found}"

    run.prove(
        run.terms.member_hosts,
        f"/health is true, the member sees a leader, and its revision is {revision} or higher",
        probe,
        f"read `journalctl --no-pager -u {run.inventory.etcd.unit}` there: this backup does not come up",
        within=run.health_seconds,
    )
    leaders = [host for host, gauges in told.items() if gauges.get("etcd_server_is_leader") == 1]
    revisions = {gauges.get("etcd_debugging_mvcc_current_revision") for gauges in told.values()}
    wrong = [] if len(leaders) == 1 else [f"leaders: {', '.join(leaders) or 'none'}"]
    wrong += [] if len(revisions) == 1 else [f"revisions {sorted(r or 0 for r in revisions)}"]
    run.settle(
        "one leader, and one revision on all members",
        dict.fromkeys(run.terms.member_hosts, "; ".join(wrong) or None),
        "the members hold different data: this backup does not restore alike everywhere",
    )
    run.note(f"leader {leaders[0]}, revision {max(r or 0 for r in revisions):,} on all members")


def _page(host: str, config: MemberConfig, name: str) -> Command:
    asked = etcd.ask_leader(host, config)
    return look(host, *asked.argv[:-1], f"{config.health_url}/{name}", why=f"the member's /{name}")


def _gauges(metrics: str) -> dict[str, int]:
    found = re.findall(r"^(etcd_[a-z_]+) ([0-9.e+]+)$", metrics, re.M)
    return {name: int(float(value)) for name, value in found}


def hashes_are_equal_without_login(run: Run, exercise: Drill) -> None:
    """hashkv and cluster ID as members give them to each other: on the peer port, with the member's own certificate.

    For clients hashkv needs a login since authentication is on. A version without that page is named as unproven.
    """
    answers = run.ask([_peer_hash(host, config) for host, config in facts.new_configs(run).items()])
    found = {result.command.host: parse_peer_hash(result.stdout) for result in answers}
    if any(" 404 " in result.stdout.split("\n", 1)[0] for result in answers):
        exercise.unproven.append("that hashkv is equal on all members: this etcd gives it only to a login")
        return
    values = set(found.values())
    run.settle(
        "hashkv is equal on all members, of one cluster, at one revision",
        {
            result.command.host: None
            if len(values) == 1 and None not in values
            else str(found[result.command.host] or result.words)
            for result in answers
        },
        "the members hold different data: this backup does not restore alike everywhere",
    )
    for value in values:
        run.note(f"{value} on all members")


def login_is_tried(run: Run, exercise: Drill) -> None:
    """Whether the lab's passwords open the data; whether anybody is let in without one."""
    with_password = deephaven.etcdctl(run.inventory, "get", "/requorum", why="whether the lab's root may read")
    (result,) = run.ask([with_password])
    exercise.login = result.code == 0
    if exercise.login:
        return
    words = result.stderr.lower()
    off = "authentication is not enabled" in words
    refused = "authentication failed" in words or "invalid user id or password" in words
    run.settle(
        "the restored cluster answers a login: refused, let in, or authentication is off",
        {run.terms.configuration_server: None if off or refused else result.words},
        "read the members' journals: logging in needs quorum, so something else is wrong",
    )
    exercise.unproven.append(
        "that authentication keeps anybody out: it is off in this backup" if off else PASSWORDS,
    )
    exercise.unproven += [
        "the number of keys that expect asks for: reading needs a login",
        "that a write through each member is read from the others: writing needs a login",
    ]
