"""Known bad signs in the words of etcd 3.4 and 3.5: what they look like, and what each means.

`mark` reads one member's lines in their order, since a rising term only shows in a sequence. Pure. The wording is
etcd's own: 3.4 writes plain text (capnslog) and 3.5 JSON (zap), so a pattern is what both have in common.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Sign:
    """`name` is short, for a table; `meaning` says what it means and what to do; `pattern` finds it in a line."""

    name: str
    meaning: str
    pattern: re.Pattern[str]


def _sign(name: str, pattern: str, meaning: str) -> Sign:
    return Sign(name, meaning, re.compile(pattern, re.I))


TERM_JUMP = Sign(
    "raft term jumps",
    "Elections are held again and again: members lose their leader, or one that was cut off comes back with a higher "
    "term. Look at the network between the members, at slow disks, and at restarts at the same time.",
    re.compile(r"$^"),  # told from a sequence, see `mark`
)
CORRUPT = _sign(
    "corrupt data",
    r"data[- ]inconsistency|found data inconsistency|database (?:file )?(?:is )?corrupt|\balarm:?\s?CORRUPT|"
    r"crc mismatch|checksum (?:error|mismatch)|invalid database|file already closed.*corrupt|"
    r"tocommit\(\d+\) is out of range|walpb: |snap: (?:crc|empty|corrupt)|hash mismatch|"
    r"failed to get all reachable pages|freepages:|assertion failed: Page expected|"
    r"page \d+: (?:multiple references|unreachable)|unexpected fault address|"
    r"failed to (?:read|recover|find|open) .*(?:WAL|snapshot db|database)|wal: file not found|"
    r"database snapshot file path",
    "The member's data is damaged, or is not what its peers hold. Do not restart it in a loop: with quorum intact "
    "replace its data from the others, without it the recovery's salvage leaves it out.",
)
SIGNS = (
    TERM_JUMP,
    _sign(
        "no leader",
        r"lost leader|no leader|elected leader .* lost|etcdserver: request timed out|became (?:pre-)?candidate|"
        r"leader changed|lost the tcp streaming connection|leader failed to send out heartbeat",
        "The member had no leader, or its leader was about to be lost. Once after a restart is normal; again and again "
        "means that members do not reach each other or are too slow.",
    ),
    _sign(
        "slow disk",
        r"slow fdatasync|took too long|wal: sync duration|likely because (?:server is overloaded|of slow disk)|"
        r"apply entries took too long|read-only range request",
        "The disk, or the whole machine, was too slow for etcd. It needs a disk of its own that syncs within 10 ms.",
    ),
    _sign(
        "clock difference",
        r"clock difference|clock-drift|clock drift",
        "The members' clocks differ. Turn on time synchronisation everywhere: leases and certificates depend on it.",
    ),
    _sign(
        "certificate rejected",
        r"x509: |tls: |bad certificate|remote error: tls|certificate (?:has expired|signed by unknown)|"
        r"certificate specifies an incompatible",
        "One side does not accept the other's certificate: expired, of another CA, or for another address. A run of "
        "diagnose names the file.",
    ),
    _sign(
        "cluster ID mismatch",
        r"cluster ID mismatch|clusterID mismatch|cluster-id mismatch|member .* has already been bootstrapped|"
        r"removed member",
        "Machines of different clusters talk to each other: an old member was started again, or one was set up with "
        "another token.",
    ),
    _sign(
        "permission denied",
        r"permission denied|operation not permitted|cannot access data directory",
        "A file that etcd cannot use, as after it was run as another account: troubleshoot/permissions. From a client, "
        "a key that its role may not touch.",
    ),
    _sign(
        "database space exceeded",
        r"database space exceeded|NOSPACE|mvcc: database space|no space left on device|ENOSPC",
        "The database has reached its quota, or the disk is full: nothing can be written until there is room and the "
        "alarm is disarmed.",
    ),
    _sign(
        "login refused",
        r"authentication failed|invalid user ID or password|invalid auth token",
        "A client used a password that is not in the data. After a restore the old passwords are the right ones.",
    ),
    CORRUPT,
)

_OWN_TERM = re.compile(r"(?:at term |raft-?term\"?[:=] ?)(\d+)", re.I)
_HIGHER = re.compile(r"\[term: (\d+)\] received a \w+ message with higher term from \w+ \[term: (\d+)\]")
_ANY = re.compile("|".join(f"(?:{s.pattern.pattern})" for s in SIGNS if s is not TERM_JUMP), re.I)
JUMP = 3  # terms gained within a minute: one more is what every election costs
WINDOW = 60.0


@dataclass
class Terms:
    """One member's terms, as they pass by: (seconds, term) of the last minute."""

    seen: deque[tuple[float, int]] = field(default_factory=deque)

    def jump(self, seconds: float, line: str) -> bool:
        """Whether this line's term is `JUMP` or more above the lowest of the last minute, or a peer's is above ours."""
        higher = _HIGHER.search(line)
        if higher and int(higher[2]) - int(higher[1]) >= JUMP:
            return True
        found = _OWN_TERM.search(line)
        if not found:
            return False
        term = int(found[1])
        while self.seen and seconds - self.seen[0][0] > WINDOW:
            self.seen.popleft()
        self.seen.append((seconds, term))
        return term - min(known for _, known in self.seen) >= JUMP


def in_line(line: str) -> tuple[Sign, ...]:
    """The signs that a single line shows."""
    if not _ANY.search(line):
        return ()
    return tuple(sign for sign in SIGNS if sign.pattern.search(line))


def mark(lines: Iterable[tuple[float, str]]) -> Iterator[tuple[float, str, tuple[Sign, ...]]]:
    """One member's lines, each with the time in seconds, in their order; with the signs that each one shows."""
    terms = Terms()
    for seconds, line in lines:
        jump = (TERM_JUMP,) if terms.jump(seconds, line) else ()
        yield seconds, line, (*jump, *in_line(line))
