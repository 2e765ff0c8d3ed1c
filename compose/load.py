"""The lab's data: what a Deephaven cluster keeps in etcd, made up but exactly reproducible.

Every key and value follows from the number of keys alone, so that after a recovery each single one
can be compared. All of it is under /main; what changes by itself, heartbeats and keys with a
lease, is under /status and does not count. How it travels is `compose/etcd_client.py`'s business.
"""

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass

from compose import etcd_client
from compose.nodes import Nodes

KEYS = 21_640  # what the recovery guide shows for a healthy system
PREFIX = "/main"
PROPS = "/main/config/props"
KEYS_PER_PROP = 72  # 300 of 21,640
BYTES = (50, 600)
LEASED = "/status/leased"
LEASE_SECONDS = (20, 600, 30, 900, 40, 1200)  # some end during a recovery, the others after it

# Where the other keys go: what Deephaven keeps in etcd, by its documentation.
PLACES = (
    "/main/config/schema/Sample{group}/Table{index}",
    "/main/config/routing/service_{index}",
    "/main/persistent_queries/{index}/config",
    "/main/persistent_queries/{index}/state",
    "/main/acls/group_{group}/user_{index}",
)


@dataclass(frozen=True)
class Loaded:
    """What a load did: `keys` there are now, of which `written` were not as they should be."""

    keys: int
    written: int
    deleted: int
    revision: int
    seconds: float


@dataclass(frozen=True)
class Difference:
    """How what is there differs from what was loaded; false when it does not."""

    missing: tuple[str, ...]
    altered: tuple[str, ...]
    extra: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.missing or self.altered or self.extra)

    def __str__(self) -> str:
        if not self:
            return "every key and value is as loaded"
        kinds = (("missing", self.missing), ("altered", self.altered), ("extra", self.extra))
        return "; ".join(f"{len(keys)} {kind}, the first {keys[0]}" for kind, keys in kinds if keys)


def props(keys: int) -> int:
    """How many of `keys` are under /main/config/props."""
    return min(keys, max(1, keys // KEYS_PER_PROP))


def key(index: int, keys: int) -> str:
    """The name of key `index` of `keys`."""
    if index < props(keys):
        return f"{PROPS}/property_{index:05d}"
    place = PLACES[index % len(PLACES)]
    return place.format(group=index % 97, index=f"{index:06d}")


def value(index: int) -> bytes:
    """The value of key `index`: 50 to 600 printable bytes."""
    shake = hashlib.shake_128(f"requorum {index}".encode())
    low, high = BYTES
    size = low + int.from_bytes(shake.digest(4), "big") % (high - low + 1)
    return shake.hexdigest((size + 1) // 2)[:size].encode()


def expected(keys: int = KEYS) -> dict[bytes, bytes]:
    """All that `load` leaves under /main."""
    return {key(index, keys).encode(): value(index) for index in range(keys)}


def load(nodes: Nodes, keys: int = KEYS) -> Loaded:
    """Make /main hold exactly the `keys` keys of `expected`; what is right already is left alone.

    Raises EtcdError when the cluster does not take it.
    """
    started = time.monotonic()
    wanted = expected(keys)
    with etcd_client.connect(nodes) as client:
        there = client.read(PREFIX.encode())
        wrong = {k: v for k, v in wanted.items() if there.get(k) != v}
        surplus = sorted(there.keys() - wanted.keys())
        client.put_all(wrong)
        client.delete_all(surplus)
        revision = client.revision()
    seconds = time.monotonic() - started
    return Loaded(keys, len(wrong), len(surplus), revision, seconds)


def load_leases(nodes: Nodes, count: int) -> None:
    """Write `count` keys whose holders have died: each has a lease of its own that nobody renews."""
    with etcd_client.connect(nodes) as client:
        for number in range(count):
            seconds = LEASE_SECONDS[number % len(LEASE_SECONDS)]
            client.put_leased(f"{LEASED}/{number:03d}".encode(), f"{seconds} s".encode(), seconds)


def difference(there: Mapping[bytes, bytes], keys: int = KEYS) -> Difference:
    """How `there`, all of /main, differs from what `load` wrote."""
    wanted = expected(keys)
    return Difference(
        missing=_names(wanted.keys() - there.keys()),
        altered=_names({k for k in wanted.keys() & there.keys() if wanted[k] != there[k]}),
        extra=_names(there.keys() - wanted.keys()),
    )


def check(nodes: Nodes, keys: int = KEYS) -> Difference:
    """Read all of /main back and compare every key and value."""
    return difference(etcd_client.read_all(nodes, PREFIX), keys)


def _names(keys: set[bytes]) -> tuple[str, ...]:
    return tuple(sorted(k.decode(errors="replace") for k in keys))
