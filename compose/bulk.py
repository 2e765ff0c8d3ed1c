"""Data of a real site's size beside the lab's own: `load --bytes 1g`. It too follows from numbers alone.

Sites keep values of about 10 kB, and etcd's log has let go of most of what the database holds. A lab's own log would
hold all of it still, since that many writes are few entries: so the members take a snapshot of their state after every
hundred of them while it is written, unless `long_log` keeps what a site has that writes much in one night.
"""

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager

from compose import cluster, etcd_client, poll
from compose.errors import LabError
from compose.layouts import CONFIG, PLACES, UNIT
from compose.nodes import Node, Nodes, on_each

PREFIX = "/bulk/"
EACH = 10_000  # bytes of a value
AT_ONCE = 2_000  # keys that are in this process's memory together
KEPT_BYTES = 8 * 64 * 2**20  # of a log that was let go of: etcd keeps five files of 64 MiB, and one or two ahead
PURGE_SECONDS = 120  # etcd looks for files to remove every 30
_UNITS = {"": 1, "k": 1_000, "m": 1_000_000, "g": 1_000_000_000}

_SNAPSHOT_OFTEN = f"sed -i '/^snapshot-count:/d' {CONFIG} && echo 'snapshot-count: 100' >>{CONFIG}"
_SNAPSHOT_AS_BEFORE = f"sed -i '/^snapshot-count:/d' {CONFIG}"
_RESTART = f"systemctl restart {UNIT}"
_SIZES = f'{PLACES}\n: "${{wal:=$data/member/wal}}"\nstat -L -c %s "$data/member/snap/db"; du -sbL "$wal" | cut -f 1'


def parse(text: str) -> int:
    """Bytes of `1g`, `200m`, `5000`. Raises ValueError."""
    found = re.fullmatch(r"([0-9]{1,12})([kmg]?)", text.lower())
    if not found:
        raise ValueError(f"{text!r} is no size like 200m or 1g")
    return int(found[1]) * _UNITS[found[2]]


def value(number: int) -> bytes:
    return hashlib.shake_128(f"bulk {number}".encode()).hexdigest(EACH // 2).encode()


def key(number: int) -> bytes:
    return f"{PREFIX}{number:08d}".encode()


def fill(nodes: Nodes, size: int, long_log: bool = False) -> int:
    """Makes /bulk hold `size` bytes of values; nothing to do where it does. Returns how many keys were written."""
    wanted = size // EACH
    with etcd_client.connect(nodes) as client:
        there = client.names(PREFIX.encode())
    missing = [number for number in range(wanted) if key(number) not in there]
    if len(there) + len(missing) != wanted:
        raise LabError(f"/bulk holds {len(there):,} keys, more than {wanted:,}: run `python -m compose.lab down` first")
    if missing:
        if long_log:
            _write(nodes, missing)
        else:
            with _snapshots_often(nodes):
                _write(nodes, missing)
                _await_purge(nodes)
    return len(missing)


def check(nodes: Nodes, size: int) -> int:
    """Reads every key of /bulk back; how many lack or differ."""
    wrong = 0
    with etcd_client.connect(nodes) as client:
        for numbers in _portions(list(range(size // EACH))):
            there = client.read_range(key(numbers[0]), key(numbers[-1] + 1))
            wrong += sum(there.get(key(number)) != value(number) for number in numbers)
    return wrong


def sizes(node: Node) -> tuple[int, int]:
    """Bytes of a member's database and of its log, on its disk."""
    database, log = node.run(["sh", "-euc", _SIZES]).stdout.split()
    return int(database), int(log)


def _write(nodes: Nodes, numbers: list[int]) -> None:
    with etcd_client.connect(nodes) as client:
        for portion in _portions(numbers):
            client.put_all({key(number): value(number) for number in portion})


def _portions(numbers: list[int]) -> Iterator[list[int]]:
    return (numbers[at : at + AT_ONCE] for at in range(0, len(numbers), AT_ONCE))


@contextmanager
def _snapshots_often(nodes: Nodes) -> Iterator[None]:
    if any(node.run(["test", "-e", CONFIG], check=False).rc for node in nodes.members):
        raise LabError(f"a log is let go of only where {CONFIG} is: say --long-log")
    _one_by_one(nodes, _SNAPSHOT_OFTEN)
    try:
        yield
    finally:
        _one_by_one(nodes, _SNAPSHOT_AS_BEFORE)


def _one_by_one(nodes: Nodes, script: str) -> None:
    """Each member is changed and restarted while the others serve."""
    for node in nodes.members:
        node.run(["sh", "-euc", f"{script} && {_RESTART}"])
        cluster.await_health(nodes)


def _await_purge(nodes: Nodes) -> None:
    def longest() -> int:
        return max(log for _, log in on_each(nodes.members, sizes))

    poll.until(
        lambda: longest() <= KEPT_BYTES,
        seconds=PURGE_SECONDS,
        every=1,
        what="etcd has let go of its log",
        why_not=lambda: f"{longest():,} bytes",
    )
