"""Eight writers that log every acknowledged write, and what of it reached a disk: the measure of a salvage."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from compose import etcd_client, layouts, poll
from compose.errors import LabError
from compose.nodes import Node, Nodes

WRITERS = 8
PREFIX = "/status/writer/"


class Writers:
    """Writes as fast as etcd acknowledges, until it does not any more. Their keys are numbered after `first`."""

    def __init__(self, nodes: Nodes, first: int = 0) -> None:
        self.acknowledged: list[str] = []
        self._first = first
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._write, args=(nodes, n), daemon=True) for n in range(WRITERS)]

    def _write(self, nodes: Nodes, writer: int) -> None:
        number = self._first
        member = nodes.members[writer % len(nodes.members)]
        with suppress(LabError), etcd_client.connect(nodes, member=member) as client:
            while not self._stop.is_set():
                number += 1
                key = f"{PREFIX}{writer}/{number:06d}."
                client.put(key.encode(), key.encode())
                self.acknowledged.append(key)

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=60)


@contextmanager
def writing(nodes: Nodes, at_least: int = 300, first: int = 0) -> Iterator[Writers]:
    """Yields once the writers are in full flow; they are ended at the end, dead members or not."""
    writers = Writers(nodes, first)
    writers.start()
    try:
        poll.until(lambda: len(writers.acknowledged) >= at_least, seconds=60, what="the writers write")
        yield writers
    finally:
        writers.end()


def data_dir(node: Node) -> str:
    return node.run(["sh", "-c", f'{layouts.PLACES} echo "$data"']).stdout.strip()


def on_disk(node: Node, directory: str) -> set[str]:
    """The writers' keys that a stopped member's files hold, log and database alike."""
    script = 'grep -rhaoE "/status/writer/[0-9]+/[0-9]+[.]" "$0" | sort -u'
    return set(node.run(["sh", "-c", script, directory]).stdout.split())


def digests(node: Node, directory: str) -> str:
    """SHA-256 of every file of a stopped member, by name."""
    script = 'cd "$0" && find . -type f -exec sha256sum {} + | sort -k2'
    return node.run(["sh", "-c", script, directory]).stdout


def leftovers(nodes: Nodes) -> list[str]:
    """What an isolated boot must not leave behind: units, processes beside the member's own, scratch."""
    script = """
        systemctl list-units --all --plain --no-legend 'requorum-*'
        [ "$(pgrep -cx etcd)" -le 1 ] || pgrep -axl etcd
        find /var/lib/requorum \\( -name salvage -o -name trial -o -name '*.tar' \\) 2>/dev/null
        find /var/lib/etcd -maxdepth 1 -name 'requorum-*.scratch' 2>/dev/null
        find /tmp -maxdepth 1 -name 'systemd-private-*requorum*'
        true
    """
    return [f"{node.name}: {line}" for node in nodes.all for line in node.run(["sh", "-c", script]).stdout.splitlines()]


def restored_ahead(nodes: Nodes) -> list[str]:
    """Members where a run restored before its commit, and that has not got its place or is not removed."""
    script = "find /var/lib/etcd -maxdepth 1 -name 'requorum-*'"
    return [node.name for node in nodes.members if node.run(["sh", "-c", script]).stdout.strip()]
