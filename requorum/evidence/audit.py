"""Whether a journal is what was written: whole, incomplete (cut off) or altered.

Run as `python -m requorum.journal verify FILE [--hosts=NAME]`. Pure but for `main`. A crash can only cut a journal off:
it ends without an end record, or in the middle of a line. All else (a record changed, removed, inserted or moved) is
an alteration and named by its number, counted from 1. Someone who rewrites the whole chain can make it consistent
again: against that, `--hosts` compares it with what the hosts' syslogs were told while it was written, see `syslog`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from requorum.evidence.syslog import Anchor

_SEALED = re.compile(rb'(.*), "seal": "([0-9a-f]{64})"}', re.S)
_BEGINNING = b'{"time": "'


class State(IntEnum):
    """The exit code is the value."""

    WHOLE = 0
    ALTERED = 1
    INCOMPLETE = 2


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
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict):
            found.append(record)
    return found


def verdict(data: bytes) -> Verdict:
    """What the file says of itself."""
    *lines, rest = data.split(b"\n")
    head, end, failed = "0" * 64, 0, ""
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
    return Verdict(State.WHOLE, end, f"{end} records, the last is {head}; outcome: {record.get('outcome')}")


def _record(line: bytes) -> dict[str, Any]:
    """The record of a line whose seal fits; else empty."""
    parts = _SEALED.fullmatch(line)
    if parts is None or hashlib.sha256(parts[1]).hexdigest().encode() != parts[2]:
        return {}
    try:
        record = json.loads(line)
    except ValueError:
        return {}
    return record if isinstance(record, dict) else {}


def _torn(rest: bytes) -> bool:
    """Whether a last line without an end of line can be the beginning of a record."""
    if not (rest.startswith(_BEGINNING) or _BEGINNING.startswith(rest)):
        return False
    try:
        json.loads(rest.decode(errors="ignore"))
    except json.JSONDecodeError as error:
        return not error.msg.startswith("Extra data")
    return bool(_record(rest))


def against(data: bytes, own: Verdict, anchors: Mapping[str, Sequence[Anchor]]) -> Verdict:
    """What the file says of itself and what hosts say of it; `anchors` by the host that answered, oldest first."""
    if own.state is State.ALTERED:
        return own
    lines = data.split(b"\n")[:-1]
    digests = [hashlib.sha256(line + b"\n").hexdigest() for line in lines]
    name = digests[0][:16] if digests else ""
    known = [(host, anchor) for host, all_of in anchors.items() for anchor in all_of if anchor.journal == name]
    for host, anchor in sorted(known, key=lambda pair: pair[1].records):
        number = anchor.records
        if number > len(digests):
            why = f"record {number} is missing, {host} was told of it: what stood behind {len(digests)} was removed"
            return Verdict(State.ALTERED, number, why)
        if digests[number - 1] != anchor.head:
            why = f"record {number} or one before it is not what {host} was told: the chain was rewritten"
            return Verdict(State.ALTERED, number, why)
    if known:
        hosts = ", ".join(sorted({host for host, _ in known}))
        reach = max(anchor.records for _, anchor in known)
        return Verdict(own.state, own.number, f"{own.why}; up to record {reach} as told to {hosts}")
    if own.state is State.INCOMPLETE:
        return Verdict(own.state, own.number, f"{own.why}; no host was told of it (asked: {', '.join(anchors)})")
    if _record(lines[-1]).get("outcome") == "checked":
        return Verdict(own.state, own.number, f"{own.why}; a check tells no host of itself")
    why = f"no host knows record 1 (asked: {', '.join(anchors)}): rewritten as a whole, or their syslogs were cleared"
    return Verdict(State.ALTERED, 1, why)
