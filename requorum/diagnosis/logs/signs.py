"""Known bad signs in the words of etcd 3.4 and 3.5: what they look like, and what each means.

`mark` reads one member's lines in their order, since a rising term only shows in a sequence. Pure. The wording is
etcd's own: 3.4 writes plain text (capnslog) and 3.5 JSON (zap), so a sign is told by words, not by a line's shape.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Sign:
    """`name` is short, for a table; `meaning` says what it means and what to do. A line shows it that has any of
    `words`, which are in lower case: looking for plain words is what makes hundreds of megabytes bearable."""

    name: str
    meaning: str
    words: tuple[str, ...] = ()

    def shows(self, line: str) -> bool:
        low = line.lower()
        return any(word in low for word in self.words)


TERM_JUMP = Sign(  # told from a sequence, see `mark`
    "raft term jumps",
    "Elections are held again and again: members lose their leader, or one that was cut off comes back with a higher "
    "term. Look at the network between the members, at slow disks, and at restarts at the same time.",
)
CORRUPT = Sign(
    "corrupt data",
    "The member's data is damaged, or is not what its peers hold. Do not restart it in a loop: with quorum intact "
    "replace its data from the others, without it the recovery's salvage leaves it out.",
    (
        "data inconsistency",
        '"alarm":"corrupt"',
        "alarm corrupt",
        "alarm:corrupt",
        "found hash mismatch",
        "crc mismatch",
        "checksum mismatch",
        "checksum error",
        "invalid database",
        "is out of range [lastindex",
        "walpb: ",
        "snap: crc",
        "snap: empty",
        "snap: corrupt",
        "failed to get all reachable pages",
        "freepages: ",
        "assertion failed: page expected",
        "multiple references",
        "unexpected fault address",
        "wal: file not found",
        "failed to find database snapshot",
        "failed to recover v3 backend",
        "file is corrupt",
    ),
)
SIGNS = (
    TERM_JUMP,
    Sign(
        "no leader",
        "The member had no leader. Once after a restart is normal; again and again means that members do not reach "
        "each other or are too slow.",
        (
            "lost leader",
            "no leader",
            "is starting a new election",
            "quorum is not active",
            "leader changed",
            "etcdserver: request timed out",
        ),
    ),
    Sign(
        "slow disk",
        "The disk, or the whole machine, was too slow for etcd. It needs a disk of its own that syncs within 10 ms.",
        ("slow fdatasync", "took too long", "sync duration of", "send out heartbeat on time", "overloaded"),
    ),
    Sign(
        "clock difference",
        "The members' clocks differ. Turn on time synchronisation everywhere: leases and certificates depend on it.",
        ("clock difference against", "high clock drift"),
    ),
    Sign(
        "certificate rejected",
        "One side does not accept the other's certificate: expired, of another CA, or for another address. A run of "
        "diagnose names the file.",
        ("x509: ", "remote error: tls", "tls: bad", "tls: expired", "tls: unknown", "tls: failed"),
    ),
    Sign(
        "cluster ID mismatch",
        "Machines of different clusters talk to each other: an old member was started again, or one was set up with "
        "another token.",
        ("cluster id mismatch", "cluster-id mismatch", "has already been bootstrapped"),
    ),
    Sign(
        "permission denied",
        "A file that etcd cannot use, as after it was run as another account: troubleshoot/permissions. Or, from a "
        "client, a key that its role may not touch.",
        ("permission denied", "operation not permitted", "cannot access data directory", "error listing data dir"),
    ),
    Sign(
        "database space exceeded",
        "The database has reached its quota, or the disk is full: nothing can be written until there is room and the "
        "alarm is disarmed.",
        (
            "database space exceeded",
            "nospace",
            "etcdserver: no space",
            "exceeded backend quota",
            "no space left on device",
        ),
    ),
    Sign(
        "login refused",
        "A client used a password that is not in the data. After a restore the old passwords are the right ones.",
        ("authentication failed", "invalid user id or password"),
    ),
    CORRUPT,
)

_OWN_TERM = re.compile(r"(?:at term |raft-?term\"?[:=] ?)([0-9]{1,20})(?![0-9])")
_HIGHER = re.compile(
    r"\[term: ([0-9]{1,20})\] received a \w+ message with higher term from \w+ \[term: ([0-9]{1,20})\]"
)
JUMP = 3  # terms gained within a minute: one more is what every election costs
WINDOW = 60.0


@dataclass
class Terms:
    """One member's terms, as they rise: (seconds, term)."""

    seen: deque[tuple[float, int]] = field(default_factory=deque)

    def jump(self, seconds: float, line: str) -> bool:
        """Whether this line brings a term `JUMP` or more above that of a minute ago, or tells of such a peer."""
        if "term" not in line:
            return False
        higher = _HIGHER.search(line)
        if higher:
            return int(higher[2]) - int(higher[1]) >= JUMP
        found = _OWN_TERM.search(line)
        if not found:
            return False
        term = int(found[1])
        while len(self.seen) > 1 and seconds - self.seen[1][0] > WINDOW:
            self.seen.popleft()  # the first that stays is the term in which the last minute began
        if self.seen and term <= self.seen[-1][1]:
            return False
        self.seen.append((seconds, term))
        return term - self.seen[0][1] >= JUMP


def in_line(line: str) -> tuple[Sign, ...]:
    """The signs that a single line shows."""
    low = line.lower()
    return tuple(sign for sign in SIGNS if any(word in low for word in sign.words))


def mark(lines: Iterable[tuple[float, str]]) -> Iterator[tuple[float, str, tuple[Sign, ...]]]:
    """One member's lines, each with the time in seconds, in their order; with the signs that each one shows."""
    terms = Terms()
    for seconds, line in lines:
        jump = (TERM_JUMP,) if terms.jump(seconds, line) else ()
        yield seconds, line, (*jump, *in_line(line))
