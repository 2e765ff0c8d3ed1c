"""Whether a journal is what was written: whole, incomplete (cut off), altered, disputed, or nobody can tell.

Run as `python -m requorum.journal verify FILE [--hosts=NAME]`. Pure. A crash can only cut a journal off: it ends
without an end record, or in the middle of a line. All else is an alteration, named by its record, counted from 1. Who
rewrites the whole chain can make it consistent again: against that stands what the hosts were told, see `syslog`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from requorum.evidence.syslog import Anchor

_SEALED = re.compile(rb'(.*), "seal": "([0-9a-f]{64})"}', re.S)
_BEGINNING = b'{"time": "'


CLOSED = ("summary.json", "report.html")  # written before the end record, which has their SHA-256
LOOKS = ("checked", "planned")  # outcomes of runs that change nothing, and tell no host of themselves


class State(Enum):
    """The value is the exit code, and a word where two have the same."""

    WHOLE = (0,)
    ALTERED = (1,)
    DISPUTED = (1, "by fewer hosts than a majority")
    INCOMPLETE = (2,)
    UNTOLD = (4,)

    @property
    def code(self) -> int:
        return int(self.value[0])


@dataclass(frozen=True)
class Verdict:
    """`why` is one sentence that names the record; `number` that record's, counted from 1."""

    state: State
    number: int
    why: str

    def __str__(self) -> str:
        return f"{self.state.name.lower()}: {self.why}"


def records(data: bytes) -> list[dict[str, Any]]:
    """Every whole record of a journal, its torn last line left out. Unreadable lines are passed over: see `verdict`."""
    found = []
    for line in data.split(b"\n"):
        if record := _parsed(line):
            found.append(record)
    return found


def _parsed(line: bytes) -> dict[str, Any]:
    """A line's object, whoever wrote it; empty where it has none that can be read."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}


def verdict(data: bytes, beside: Mapping[str, bytes] | None = None) -> Verdict:
    """What the file says of itself, and of the files `beside` it by name."""
    *lines, rest = data.split(b"\n")
    head, end, failed, changed = "0" * 64, 0, "", ""
    record: dict[str, Any] = {}
    for number, line in enumerate(lines, start=1):
        if end:
            return Verdict(State.ALTERED, number, f"record {number} stands behind the end, which is record {end}")
        record = _record(line)
        if not record:
            return Verdict(State.ALTERED, number, f"record {number} is not as it was written: its seal does not fit")
        if record.get("previous") != head:
            before = f"record {number - 1}" if number > 1 else "the beginning"
            why = f"record {number} does not follow {before}: something was removed, inserted, moved or rewritten there"
            return Verdict(State.ALTERED, number, why)
        head = hashlib.sha256(line + b"\n").hexdigest()
        end = number if record.get("kind") == "end" else 0
        if record.get("kind") == "stage ended" and record.get("outcome") == "failed":
            failed = f"record {number}"
        if record.get("kind") == "copy" or (record.get("kind") == "command" and record.get("changes")):
            changed = f"record {number}"
    count = len(lines)
    if rest and (end or not _torn(rest)):
        return Verdict(State.ALTERED, count + 1, f"what stands behind record {count} was never written by a run")
    if rest:
        return Verdict(State.INCOMPLETE, count + 1, f"record {count + 1} is torn: the run was cut off while writing it")
    if not end:
        last = f"record {count} ({record.get('kind')}, {record.get('time')})" if count else "its very beginning"
        return Verdict(State.INCOMPLETE, count, f"it ends without an end record, after {last}")
    if failed and record.get("outcome") == "recovered":
        return Verdict(State.ALTERED, end, f"record {end} says recovered, but {failed} is a stage that failed")
    if changed and record.get("outcome") in LOOKS:
        why = f"record {end} says {record['outcome']}, but {changed} changed something"
        return Verdict(State.ALTERED, end, why)
    other = _others(record, beside or {})
    if other:
        return Verdict(State.ALTERED, end, f"{other} is not what record {end} has the SHA-256 of: it was rewritten")
    return Verdict(State.WHOLE, end, f"{end} records, the last is {head}; outcome: {record.get('outcome')}")


def _others(end: Mapping[str, Any], beside: Mapping[str, bytes]) -> str:
    """The first file that is another than the end record knows; a run of before it had them knows none."""
    known = end.get("files")
    known = known if isinstance(known, dict) else {}
    others = (n for n in CLOSED if n in known and n in beside and hashlib.sha256(beside[n]).hexdigest() != known[n])
    return next(others, "")


def _record(line: bytes) -> dict[str, Any]:
    """The record of a line whose seal fits; else empty."""
    parts = _SEALED.fullmatch(line)
    if parts is None or hashlib.sha256(parts[1]).hexdigest().encode() != parts[2]:
        return {}
    return _parsed(line)


def end_of(data: bytes) -> dict[str, Any]:
    """The end record of a journal that has one; else empty."""
    lines = data.split(b"\n")[:-1]
    record = _record(lines[-1]) if lines else {}
    return record if record.get("kind") == "end" else {}


def _torn(rest: bytes) -> bool:
    """Whether a last line without an end of line can be the beginning of a record."""
    if not (rest.startswith(_BEGINNING) or _BEGINNING.startswith(rest)):
        return False
    try:
        json.loads(rest.decode(errors="ignore"))
    except json.JSONDecodeError as error:
        return not error.msg.startswith("Extra data")
    except (ValueError, RecursionError):  # more than any record of ours has
        return False
    return bool(_record(rest))


def against(data: bytes, own: Verdict, anchors: Mapping[str, Sequence[Anchor]]) -> Verdict:
    """What the file says of itself and what hosts say of it; `anchors` by the host that answered, oldest first.

    A majority of the hosts that answered decides; what fewer say is named, for any one of them may lie.
    """
    if own.state is State.ALTERED:
        return own
    lines = data.split(b"\n")[:-1]
    digests = [hashlib.sha256(line + b"\n").hexdigest() for line in lines]
    name = digests[0][:16] if digests else ""
    known = {h: told for h, all_of in anchors.items() if (told := [a for a in all_of if a.journal == name])}
    broken = {h: found for h, told in known.items() if (found := _contradiction(told, digests))}
    many = len(anchors) // 2 + 1
    if broken:
        number, why = min(broken.values())
        state = State.ALTERED if len(broken) >= many else State.DISPUTED
        hosts = f"{', '.join(sorted(broken))} of {len(anchors)} hosts"
        return Verdict(state, number, f"{why} (say {hosts})")
    asked = f"{len(anchors)} hosts were asked"
    if len(known) >= many:
        reach = max(anchor.records for told in known.values() for anchor in told)
        return Verdict(own.state, own.number, f"{own.why}; up to record {reach} as told to {', '.join(sorted(known))}")
    few = f"only {', '.join(sorted(known))} knows of it" if known else "no host knows of it"
    if own.state is State.INCOMPLETE:
        return Verdict(own.state, own.number, f"{own.why}; {few} ({asked})")
    if lines and _record(lines[-1]).get("outcome") in LOOKS:
        return Verdict(own.state, own.number, f"{own.why}; a check or plan tells no host of itself")
    why = (
        f"{few} ({asked}): their syslogs were cleared since, or the file was rewritten as a whole. By itself: {own.why}"
    )
    return Verdict(State.UNTOLD, own.number, why)


def _contradiction(told: Sequence[Anchor], digests: Sequence[str]) -> tuple[int, str] | None:
    """The first record on which one host and the file do not agree, and how."""
    for anchor in sorted(told, key=lambda anchor: anchor.records):
        number = anchor.records
        if number > len(digests):
            return number, f"record {number} is missing: what stood behind {len(digests)} was removed"
        if digests[number - 1] != anchor.head:
            return number, f"record {number} or one before it is not what was told: the chain was rewritten"
    return None
