"""The vendor's lines by daylight: whatever a generator writes, starts or breaks, the host is as it was, to the byte."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from compose import poll
from compose.nodes import Node
from compose.state import REPOSITORY
from tests.lab.rehearsal import Rehearsal

pytestmark = pytest.mark.matrix

HOST = "infra-1"
PROGRAM = "/usr/local/bin/rude"
# What the real one does, and what nobody expects. The last line waits while /var/wait says so.
RUDE = r"""#!/bin/sh
/usr/illumon/latest/bin/config_generator.sh "$@"
code=$?
for at in /usr/lib/systemd/system /srv /usr/local /usr/bin /boot /mnt /sys /proc/sys/kernel /dev /dev/shm /run /root \
    /home/ops /var/tmp; do
    echo x >$at/rude
done
echo x >/proc/sys/kernel/hostname
mkfifo /etc/rude.pipe /srv/rude.pipe
echo y >>/etc/passwd
chmod 600 /etc/hosts
rm -rf /etc/motd /var/lib/dpkg/info
touch /opt/fixed && chattr +i /opt/fixed
mount -o remount,rw /
umount -l /etc /mnt
hostname rude
kill -9 -1
systemctl stop ssh.service
nsenter -t 1 -m touch /srv/nsenter
logger rude
setsid sh -c 'while :; do echo x >>/srv/late; echo x >>/etc/late; sleep 0.1; done' &
while [ -e /var/wait ]; do sleep 0.1; done
exit $code
"""
# Everything but what logs and clocks write; processes by name, mounts, units, hostname.
WHOLE = r"""
cd /
leave='-path ./proc -o -path ./sys -o -path ./var/log -o -path ./run/log -o -path ./run/systemd -o -path ./run/sudo'
find . \( $leave -o -path ./run/user -o -path ./run/dbus -o -path ./var/lib/etcd -o -path ./var/lib/monit \
    -o -path ./dev/pts -o -name "*.pid" -o -name ".monit*" \) -prune -o \
    -printf '%p %y %m %U %G %l\n' | sort
find . -xdev \( $leave -o -path ./var/lib/etcd -o -path ./var/lib/monit \) -prune -o -type f -print0 |
    sort -z | xargs -0 sha256sum 2>/dev/null
hostname
cut -d' ' -f5,6,9 /proc/self/mountinfo | sort
systemctl list-units --no-legend --plain 'requorum*' ssh.service | sed 's/  *$//'
ps -eo comm= | grep -E 'rude|setsid|unshare' | sort
"""


def whole(node: Node) -> str:
    return node.run(["bash", "-c", WHOLE], timeout=120).stdout


def changed(node: Node, before: str) -> list[str]:
    """The lines that are not as before."""
    now = whole(node).splitlines()
    return [*sorted(set(now) - set(before.splitlines())), "was:", *sorted(set(before.splitlines()) - set(now))]


SAME = ["was:"]


def start(inventory: Path, what: str = "generate") -> subprocess.Popen[str]:
    argv = [sys.executable, "-m", "requorum", "vendor", "try", what, f"--hosts={inventory}", f"--on={HOST}"]
    return subprocess.Popen(
        argv, cwd=REPOSITORY, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )


def said(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err


@pytest.fixture
def node(rehearsal: Rehearsal) -> Iterator[Node]:
    node = rehearsal.nodes.by_name(HOST)
    node.put(PROGRAM, RUDE.encode(), 0o755)
    yield node
    node.run(["rm", "-f", PROGRAM, "/var/wait"])


def test_a_rude_generator_is_listed_and_the_host_is_as_it_was(rehearsal: Rehearsal, node: Node) -> None:
    inventory = rehearsal.inventory()
    rude = rehearsal.inventory(
        lambda content: content["deephaven"]["commands"].update(
            generate=f"{PROGRAM} --cluster-id {{cluster_id}} --ips {{ips}}"
        )
    )
    said(start(inventory))  # ssh's and sudo's own first traces
    before = whole(node)

    code, out, err = said(start(inventory, "unpack_client"))
    assert code == 0, out + err
    assert "/etc/sysconfig/deephaven/etcd/dh_etcd_config.tgz" in out and "/tmp/lab-try/dh_query.tgz" in out
    assert "client/root/password" in out, "names in archives"
    assert changed(node, before) == SAME

    code, out, err = said(start(inventory, "unpack_server"))
    assert "Read-only file system" not in out, "the unit that it installs is looked for here too"
    assert " /usr/lib/systemd/system/dh-etcd.service" in out, out + err
    assert changed(node, before) == SAME

    code, out, err = said(start(rude))
    assert code == 0, out + err
    for path in (
        "/usr/lib/systemd/system/rude",
        "/etc/rude.pipe",
        "/root/rude",
        "/home/ops/rude",
        "/dev/shm/rude",
        "/run/rude",
        "/opt/fixed",
    ):
        assert f" {path}\n" in out, out
    assert "gone" in out and "/srv/rude" not in out.partition("What it wrote")[2]
    assert changed(node, before) == SAME

    for number in (signal.SIGKILL, signal.SIGINT):
        node.run(["touch", "/var/wait"])
        waiting = whole(node)
        process = start(rude)
        poll.until(
            lambda: node.run(["pgrep", "-f", "sh .*/srv/[l]ate"], check=False).rc == 0,
            seconds=60,
            what="it is at work",
            why_not=lambda: "it is not yet",
        )
        if number == signal.SIGKILL:  # on the host, in the middle of it: the unit's own process, and what is below it
            node.run(["sh", "-c", "systemctl kill -s KILL 'requorum-try-*.service'"])
            assert said(process)[0] == 4
        else:
            process.send_signal(number)
            process.communicate(timeout=60)
        poll.until(
            lambda: node.run(["pgrep", "-f", "sh .*/srv/[l]ate"], check=False).rc != 0,
            seconds=30,
            what="nothing of it runs",
            why_not=lambda: "it does",
        )
        assert changed(node, waiting) == SAME, number
    node.run(["rm", "/var/wait"])
    assert changed(node, before) == SAME
    rehearsal.spoilt = False


def test_where_no_overlay_can_be_made_nothing_is_run(rehearsal: Rehearsal, node: Node) -> None:
    """A mount whose name no overlay's options take stands for a kernel without overlays."""
    odd = "/var/a,b"
    node.run(["sh", "-c", f"mkdir -p '{odd}' && mount -t tmpfs none '{odd}'"])
    try:
        code, out, err = said(start(rehearsal.inventory()))
    finally:
        node.run(["sh", "-c", f"umount '{odd}'; rmdir '{odd}'"])
    assert code == 4 and "nothing was run" in err and not out
    rehearsal.spoilt = False
