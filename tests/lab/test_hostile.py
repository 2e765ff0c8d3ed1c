"""A machine of the inventory that lies costs the run at most: it stops and names it, and no other host is touched."""

from __future__ import annotations

import pytest

from compose.nodes import Node
from requorum.cluster import sandbox
from requorum.cluster.sandbox import Boot
from requorum.command import act
from requorum.inventory import load
from tests.lab.rehearsal import Rehearsal
from tests.lab.test_rollback import assert_equal, listing

pytestmark = pytest.mark.matrix

# Of the logins that it packs for the trial, a hostile configuration server makes an archive with a link to the other
# host's /etc in it.
LYING_TAR = """#!/bin/sh
case "$* " in
*--create*--file=-*client.before*)
    mkdir -p /tmp/lie
    ln -sfn /etc /tmp/lie/out
    /usr/bin/tar.real "$@" >/tmp/lie/packed &&
        /usr/bin/tar.real --append --file=/tmp/lie/packed --directory=/tmp/lie ./out &&
        cat /tmp/lie/packed
    rm -rf /tmp/lie
    ;;
*) exec /usr/bin/tar.real "$@" ;;
esac
"""


def test_a_configuration_server_that_packs_a_link_among_the_logins_stops_the_run(rehearsal: Rehearsal) -> None:
    rehearsal.lose("wipe")
    liar, first = (rehearsal.nodes.by_name(name) for name in ("infra-1", "etcd-1"))
    inventory, before = rehearsal.inventory(), owner(first)
    liar.run(["mv", "/usr/bin/tar", "/usr/bin/tar.real"])
    try:
        liar.put("/usr/bin/tar", LYING_TAR.encode(), 0o755)
        run = rehearsal.run(inventory)
    finally:
        liar.run(["mv", "-f", "/usr/bin/tar.real", "/usr/bin/tar"])
    assert run.code == 1 and "the logins must be files and directories alone: " in " ".join(run.output.split())
    assert "./out -> /etc" in run.output
    assert owner(first) == before == "root root"
    rehearsal.assert_recovered(rehearsal.run(inventory))


# What an etcd, or the program beside it, may try in an isolated boot: it says what it could do.
PROBE = """#!/bin/sh
for at in /etc /usr /var/lib/etcd /var/lib/etcd/dh/* /home/other; do
    touch "$at/owned" 2>/dev/null && echo "wrote $at"
done
for at in /root /home /etc/etcd/dh /etc/sysconfig/deephaven/etcd/client /var/lib/etcd/dh /etc/ssh; do
    [ -z "$(ls -A "$at" 2>/dev/null)" ] || echo "read $at"
done
[ -z "$(cat /etc/shadow 2>/dev/null)" ] || echo "read /etc/shadow"
cat /etc/passwd >/dev/null && echo "read /etc/passwd"
grep NoNewPrivs /proc/self/status
exit 1
"""


def test_an_isolated_boot_writes_nowhere_else_and_reads_no_key_password_or_original(rehearsal: Rehearsal) -> None:
    """H4: as the etcd account, under the real program, and as root in its place."""
    node, scratch = rehearsal.nodes.by_name("etcd-1"), "/var/lib/requorum/lab/tried-inside"
    inventory = load(rehearsal.inventory())
    one = Boot(1, "etcd-1", "https://10.0.0.11:2380", "10.0.0.11", "etcd-1=https://10.0.0.11:2380", "token")
    plan = [
        act("etcd-1", "install", "-d", "-m", "700", scratch, f"{scratch}/room", why=""),
        *sandbox.boot("etcd-1", "trial", "tried-inside", scratch, inventory, [one]),
    ]

    def boot(name: str, inside: str) -> str:
        node.put(name, PROBE.encode(), 0o755)
        for command in plan:
            if f"of={inside}" not in command.argv:
                result = node.run(list(command.argv), stdin=command.stdin, check=False, timeout=120)
        return result.stdout

    try:
        node.run(["install", "-d", "-m", "777", "/home/other"])
        said = boot("/usr/local/bin/etcd", "nothing")
        assert '"event": "died"' in said, said
        assert node.get(f"{scratch}/1.log").decode().split("\n") == ["read /etc/passwd", "NoNewPrivs:\t1", ""]
        as_root = boot(f"{scratch}/isolation.sh", f"{scratch}/isolation.sh")
        assert as_root.splitlines()[0] == "read /etc/passwd", as_root
    finally:
        node.run(["rm", "-rf", "/usr/local/bin/etcd", "/home/other", scratch])
    rehearsal.assert_data_is_back()
    rehearsal.spoilt = False


def test_a_boot_whose_unit_does_not_start_says_nothing_of_the_data(rehearsal: Rehearsal) -> None:
    node, inventory = rehearsal.nodes.by_name("etcd-1"), load(rehearsal.inventory())
    command = sandbox.boot("etcd-1", "trial", "not-started", "/var/lib/requorum/lab/none", inventory, [])[-1]
    result = node.run([*command.argv[:2], "--property=NoSuchProperty=yes", *command.argv[2:]], check=False)
    found = sandbox.parse(result.stdout, result.stderr.strip(), [])
    assert result.rc != 0 and found.hindered and found.failed.startswith("it ended early: ")
    rehearsal.spoilt = False


# In place of whatever a question's program would say; what sudo itself is asked, and what changes something, goes on.
LYING_TIMEOUT = """#!/bin/sh
case "$4" in
base64|busctl|cat|curl|df|du|find|findmnt|id|ip|journalctl|ls|pgrep|ps|readlink|sha256sum|ss|stat|systemctl)
    [ "$4 $5" != "systemctl stop" ] && cat /usr/share/lie && exit ;;
esac
exec /usr/bin/timeout "$@"
"""
LIES = (
    b"../../etc\n",
    b"$(touch /x)\n",
    b"a: b\nname: etcd-1\n",
    b"\x1b[2J\x1b]0;x\x07\n",
    b"a" * (1 << 20),
    b"a" * (9 << 20),
)


@pytest.mark.parametrize(
    ("name", "lost"),
    [("query-1", ("etcd-2", "etcd-3")), ("etcd-2", ("etcd-1", "etcd-3")), ("etcd-3", ("etcd-2", "etcd-3"))],
    ids=["deephaven", "survivor", "new member"],
)
def test_a_host_whose_every_answer_is_a_lie_is_named_and_no_other_is_touched(
    rehearsal: Rehearsal, name: str, lost: tuple[str, ...]
) -> None:
    """A Deephaven host, the only survivor, a member to be built. The last lie is more than any question may be told."""
    rehearsal.lose("wipe", lost)
    liar, inventory = rehearsal.nodes.by_name(name), rehearsal.inventory()
    before = listing(rehearsal)
    try:
        liar.put("/usr/local/bin/timeout", LYING_TIMEOUT.encode(), 0o755)
        for lie in LIES:
            liar.put("/usr/share/lie", lie)
            run = rehearsal.run(inventory)
            assert run.code == 1 and "Traceback" not in run.output, run.output
            assert "\x1b[2J" not in run.output and name in run.output, run.output
            assert run.summary["outcome"] in ("refused", "stopped"), lie[:20]
            after = listing(rehearsal)
            assert_equal({host: lines for host, lines in before.items() if host != name}, after)
    finally:
        liar.run(["rm", "-f", "/usr/local/bin/timeout", "/usr/share/lie"])
    rehearsal.assert_recovered(rehearsal.run(inventory))


def owner(node: Node) -> str:
    return node.run(["stat", "-c", "%U %G", "/etc"]).stdout.strip()
