"""Every file of every machine of the lab, to see that nothing was changed."""

from __future__ import annotations

from compose.nodes import Node, Nodes, on_each

# A login leaves its trace in logs and below /run, and Deephaven writes into etcd all the time.
SCRIPT = r"""
find / -xdev \( -path /run -o -path /var/log -o -path '/var/lib/etcd/dh/*/member' \) -prune -o \
    -printf '%p %y %m %u:%g %s %T@ %l\n' | sort
"""


def files(nodes: Nodes) -> dict[str, set[str]]:
    """host → path, kind, mode, owner, size, time, target. What is written to, be it with the same content, differs."""

    def lines(node: Node) -> set[str]:
        return set(node.run(["sh", "-c", SCRIPT], timeout=120).stdout.splitlines())

    return dict(zip((node.name for node in nodes.all), on_each(nodes.all, lines), strict=True))


def told(nodes: Nodes) -> dict[str, str]:
    """host → all that its syslog was told by requorum."""
    command = ["journalctl", "-t", "requorum", "--no-pager", "-o", "cat"]
    return {node.name: node.run(command, check=False).stdout for node in nodes.all}
