"""The journal's head in every host's syslog: what makes a journal that was rewritten as a whole show.

`write` and `ask` plan, `parse` reads; only `leave` and `read` act, through `fleet`. Written as root, and only root's
lines are read back: any user may write to the syslog under any name. `audit.against` compares.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from requorum.command import MOST_OF_A_LIST, Command, look

TAG = "requorum"
_LINE = re.compile(r"journal (?P<journal>[0-9a-f]{16}) of \S+: (?P<records>[1-9]\d*) records, (?P<head>[0-9a-f]{64})")


@dataclass(frozen=True)
class Anchor:
    """`head` is the SHA-256 of line `records` (from 1) of the journal whose first line's SHA-256 begins `journal`."""

    journal: str
    records: int
    head: str


def write(hosts: Iterable[str], cluster: str, anchor: Anchor) -> list[Command]:
    """Tells each host's syslog how far the journal is."""
    return tell(hosts, f"journal {anchor.journal} of {cluster}: {anchor.records} records, {anchor.head}")


def tell(hosts: Iterable[str], text: str) -> list[Command]:
    """Any exit code will do: a host without `logger` or syslog must not stop a recovery.

    It counts as a look: a line of syslog changes no more than the one that sudo writes for every look.
    """
    return [look(host, "logger", "-t", TAG, text, why="anchor the journal in the syslog") for host in hosts]


def ask(host: str) -> Command:
    """Everything that root has told this host's syslog of journals."""
    journalctl = ("journalctl", "-t", TAG, "_UID=0", "--no-pager", "-o", "cat")
    return look(host, *journalctl, why="what the syslog was told of journals", most=MOST_OF_A_LIST)


def parse(text: str) -> list[Anchor]:
    """The anchors in a syslog's lines, in their order; other lines are passed over."""
    found = (_LINE.fullmatch(line.strip()) for line in text.splitlines())
    return [Anchor(m["journal"], int(m["records"]), m["head"]) for m in found if m]
