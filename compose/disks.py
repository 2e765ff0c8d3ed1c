"""What can be wrong with the disk of one survivor: each is made on a member that does not run."""

import posixpath
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from compose import layouts, load
from compose.errors import FaultError
from compose.nodes import Node, Nodes, on_each

SCRATCH = "/var/lib/requorum"
TAR, CP = "/usr/local/sbin/tar", "/usr/local/sbin/cp"  # found before the real ones
# As tar ends where the disk gives an I/O error in the middle of a member's database.
BAD_READER = r"""#!/bin/sh
case "$*" in *--create*/var/lib/etcd/*)
    echo "tar: ./member/snap/db: Read error at byte 4096, while reading 512 bytes: Input/output error" >&2
    echo "tar: Exiting with failure status due to previous errors" >&2
    exit 2 ;;
esac
exec /bin/tar "$@"
"""
BAD_COPIER = r"""#!/bin/sh
case "$*" in *--reflink*/var/lib/etcd/*)
    echo "cp: error reading '/var/lib/etcd/dh/lost/member/snap/db': Input/output error" >&2
    exit 1 ;;
esac
exec /bin/cp "$@"
"""
FLIP = 'printf "\\\\$(printf %o "$3")" | dd of="$1" bs=1 seek="$2" count=1 conv=notrunc status=none'


@contextmanager
def unreadable(node: Node) -> Iterator[None]:
    """An I/O error while the data is copied."""
    for path, script in ((TAR, BAD_READER), (CP, BAD_COPIER)):
        node.put(path, script.encode(), 0o755)
    try:
        yield
    finally:
        node.run(["rm", "-f", TAR, CP])


@contextmanager
def full(node: Node, room: str = "4M") -> Iterator[None]:
    """Next to no room for what a run puts there; what earlier runs left is out of sight."""
    node.run(["sh", "-ec", 'mkdir -p "$1"; mount -t tmpfs -o mode=0755,size="$2" tmpfs "$1"', "sh", SCRATCH, room])
    try:
        yield
    finally:
        node.run(["umount", "-l", SCRATCH])


@contextmanager
def flipped_in_database(node: Node) -> Iterator[None]:
    """One bit of a value, wherever the database holds it: no checksum covers it, and etcd starts."""
    path = f"{_places(node)[0]}/member/snap/db"
    data, what = node.get(path), load.value(150)
    at = data.find(what)
    if at < 0:
        raise FaultError(f"{node.name}: {path} does not hold what was loaded")
    while at >= 0:
        _flip(node, path, data, at)
        at = data.find(what, at + 1)
    yield


@contextmanager
def flipped_in_log(node: Node) -> Iterator[None]:
    """One bit in the middle of the log."""
    path, data = _log(node)
    _flip(node, path, data, middle_of(data))
    yield


@contextmanager
def flipped_at_the_logs_tail(node: Node) -> Iterator[None]:
    """One bit of the log's last record: no torn write, which etcd would repair."""
    path, data = _log(node)
    _flip(node, path, data, tail_of(data))
    yield


# A disk that does not give a page and a file that ends before it are one thing to who has it mapped: SIGBUS.
# There is no other way here: etcd makes its own system calls, so that nothing can be slipped under it, and the lab's
# machines may use neither FUSE nor a block device.
BAD_PAGES = r"""#!/bin/sh
data=$(sed -n 's/^data-dir: *//p' "$2")
[ "${data##*/}" != NUMBER ] || truncate -s 64K "$data/member/snap/db"
exec /usr/bin/etcd "$@"
"""
ETCD = "/usr/local/sbin/etcd"  # found before the real one


@contextmanager
def unreadable_to_etcd(node: Node) -> Iterator[None]:
    """The copy of this member's data can be made, and not be read by the etcd that is started on it."""
    number = node.name.rpartition("-")[2]
    members = Nodes.read().members
    on_each(members, lambda one: one.put(ETCD, BAD_PAGES.replace("NUMBER", number).encode(), 0o755))
    try:
        yield
    finally:
        on_each(members, lambda one: one.run(["rm", "-f", ETCD]))


FAULTS: tuple[Callable[[Node], AbstractContextManager[None]], ...] = (
    unreadable,
    unreadable_to_etcd,
    full,
    flipped_in_database,
    flipped_in_log,
    flipped_at_the_logs_tail,
)


def tail_of(log: bytes) -> int:
    """Where the last byte of a log's last record lies: zeros follow, which etcd allocates before it writes."""
    written = len(log.rstrip(b"\0"))
    if not written:
        raise FaultError("the log holds nothing")
    return written - 1


def middle_of(log: bytes) -> int:
    """Within a key that a record in the middle of a log carries: never in the padding, which nobody checks."""
    at = log.find(b"/main/", (tail_of(log) + 1) // 2)
    if at < 0:
        raise FaultError("the second half of the log holds none of the keys that were loaded")
    return at + 1


def _places(node: Node) -> tuple[str, str]:
    """The member's data directory, and the directory of its log."""
    said = node.run(["sh", "-c", f'{layouts.PLACES} echo "$data"; echo "${{wal:-$data/member/wal}}"']).stdout
    data, wal = said.splitlines()
    return data, wal


def _log(node: Node) -> tuple[str, bytes]:
    """The newest segment that holds what was loaded, by its path, and its content."""
    directory = _places(node)[1]
    listed = node.run(["find", f"{directory}/", "-name", "*.wal", "-printf", "%f\n"]).stdout.split()
    for name in sorted(listed, reverse=True):
        path = posixpath.join(directory, name)
        if b"/main/" in (data := node.get(path)):
            return path, data
    raise FaultError(f"{node.name}: no log in {directory} holds what was loaded")


def _flip(node: Node, path: str, data: bytes, at: int) -> None:
    """The lowest bit of the byte at `at` becomes the other one."""
    node.run(["sh", "-ec", FLIP, "sh", path, str(at), str(data[at] ^ 1)])
