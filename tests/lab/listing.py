"""Everything on a machine's disk and every unit, as text: two of these are equal where nothing was changed.

Left out, and why:
- what is not on the disk: /proc, /sys, /dev, /run (other file systems)
- /var/log: sshd and sudo write a line for every look. What the syslog was told of a run is compared all the same
- a running etcd's data by content: it writes of itself. Names, modes and owners are compared all the same
- below /usr the content is told by size and ctime, which nobody can set: hashing all packages takes too long
- units of ssh logins, which come and go with every look: session-N.scope, user-N.slice, user@N and its directory
"""

from __future__ import annotations

from compose.nodes import Node, Nodes, on_each

SCRIPT = r"""
export LC_ALL=C
away='-path /var/log -prune -o'
find / -xdev $away -printf '%p %y %m %U:%G %l\n' | sort
find / -xdev $away -type f -path '/usr/*' -printf '%p %s %C@\n' | sort
find / -xdev $away -type f ! -path '/usr/*' ! -path '/var/lib/etcd/*' -print0 | sort -z | xargs -0 sha256sum
systemctl list-units --all --plain --no-legend --no-pager | awk '{print "unit", $1, $2, $3, $4}' | grep -Ev "$1"
journalctl -t requorum -o short-precise --no-pager
systemctl list-unit-files --no-legend --no-pager | awk '{print "unit file", $1, $2}' | sort
"""
LOGINS = "^unit (session-|user-|user@|user-runtime-dir@)"


def taken(nodes: Nodes) -> dict[str, list[str]]:
    """Machine → its listing, all at the same time."""

    def of(node: Node) -> tuple[str, list[str]]:
        return node.name, node.run(["sh", "-c", SCRIPT, "listing", LOGINS], timeout=120).stdout.splitlines()

    return dict(on_each(nodes.all, of))


def changes(before: dict[str, list[str]], after: dict[str, list[str]]) -> list[str]:
    """The lines that differ, with their machine; [] where nothing was changed."""
    assert all(len(lines) > 1000 for lines in before.values()), "a listing that is no listing proves nothing"
    return [
        f"{host}: {sign} {line}"
        for host in before
        for sign, line in (
            *(("-", line) for line in sorted(set(before[host]) - set(after[host]))),
            *(("+", line) for line in sorted(set(after[host]) - set(before[host]))),
        )
    ]
