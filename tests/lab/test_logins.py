"""No password is on a disk of the host that boots in isolation, while it boots, when the run is killed, and after."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from compose import poll
from compose.nodes import Node
from tests.lab import procedures
from tests.lab.rehearsal import Rehearsal
from tests.lab.test_secrets import CANARY, on_hosts
from tests.lab.writers import leftovers

pytestmark = pytest.mark.matrix

WRAPPER = "/usr/local/bin/etcdctl"
# Whoever comes by a password waits: only the trial does.
SLOW = """#!/bin/sh
[ -z "${ETCDCTL_PASSWORD:-}" ] || exec sleep 54321
exec /usr/bin/etcdctl "$@"
"""
WAITS = "sleep 54321"

# Scratch and an etcd as some sites have them, below what a boot hides from itself.
LINKED = """
install -d -m 755 /home/big
[ -d /var/lib/requorum ] && mv /var/lib/requorum /home/big/requorum || install -d -m 700 /home/big/requorum
ln -s /home/big/requorum /var/lib/requorum
install -d -m 755 /root/etcd
chmod 711 /root
cp /usr/bin/etcd /root/etcd/etcd
ln -s /root/etcd/etcd /usr/local/bin/etcd
"""
AS_IT_WAS = """
pkill -f '^sleep 54321$'
rm -rf /usr/local/bin/etcd /root/etcd /usr/local/bin/etcdctl
chmod 700 /root
rm /var/lib/requorum
mv /home/big/requorum /var/lib/requorum
rmdir /home/big
"""


@contextmanager
def changed(node: Node) -> Iterator[None]:
    node.run(["sh", "-ec", LINKED])
    try:
        yield
    finally:
        node.run(["sh", "-c", AS_IT_WAS], check=False)


def holding(node: Node, secrets: set[str], *inside: str) -> list[str]:
    """The files of a host, as it sees them or as the process `inside` does, in which a password is found."""
    trees = "/etc /home /opt /root /run /srv /tmp /usr/local /var /dev/shm"
    script = f"exec grep -rlFf - {'/tmp' if inside else trees} 2>/dev/null"
    argv = [*inside, "sh", "-c", script]
    return node.run(argv, stdin="\n".join(sorted(secrets)).encode(), check=False, timeout=120).stdout.splitlines()


def waits(node: Node) -> bool:
    return node.run(["pgrep", "-xf", WAITS], check=False).rc == 0


def test_logins_are_in_a_boots_own_memory_alone_and_a_run_that_is_killed_there_leaves_none(
    rehearsal: Rehearsal,
) -> None:
    """Also where scratch and etcd lie behind links below what a boot hides: in the salvage and the trial."""
    nodes = rehearsal.nodes
    node, inventory = nodes.by_name("etcd-1"), rehearsal.inventory()
    secrets = {word for word in on_hosts(nodes) if "/" not in word and "+" not in word and len(word) < 60}
    assert len(secrets) >= 11 and node not in nodes.deephaven
    rehearsal.lose("wipe")
    with changed(node):
        node.put(CANARY, sorted(secrets)[0].encode(), 0o600)
        assert holding(node, secrets) == [CANARY], "and it would be found"
        node.run(["rm", CANARY])
        node.put(WRAPPER, SLOW.encode(), 0o755)
        process, _ = rehearsal.start(inventory)
        poll.until(lambda: waits(node), seconds=180, what="the trial's boot tries the passwords")
        inside = node.run(["pgrep", "-o", "-xf", WAITS]).stdout.strip()
        in_sight = holding(node, secrets, "nsenter", "-t", inside, "-m")
        assert in_sight and all(path.startswith("/tmp/requorum-secrets/logins/") for path in in_sight), in_sight
        assert holding(node, secrets) == []
        kind = node.run(["nsenter", "-t", inside, "-m", "stat", "-f", "-c", "%T", "/tmp/requorum-secrets"]).stdout
        assert kind == "tmpfs\n"

        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert waits(node) and holding(node, secrets) == [], "the boot goes on, and nothing of it is seen"
        node.run(["rm", WRAPPER])
        undone = procedures.run(rehearsal.scratch, "rollback", f"--hosts={inventory}", "--confirm=lab")
        assert undone.code == 0, undone.output
        assert not waits(node) and holding(node, secrets) == [] and leftovers(nodes) == []

        run = rehearsal.run(inventory)
        rehearsal.assert_recovered(run)
        assert run.summary["snapshot"]["source"] == "salvage", "nor is the salvage hindered by the links"
        assert holding(node, secrets) == [] and leftovers(nodes) == []
