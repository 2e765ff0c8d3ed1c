"""What moved a restored cluster's revision while Deephaven was off: leases that ran out by themselves, or a writer."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass, replace

from requorum.cluster import deephaven, etcdctl
from requorum.cluster.etcd import EtcdError
from requorum.command import Result
from requorum.deadlines import LONG
from requorum.hosts.failure import Endless
from requorum.hosts.fleet import Machine
from requorum.hosts.question import Question
from requorum.inventory import Inventory

MOST_OF_KEYS = 256 << 20  # bytes: some 1,400,000 keys
_BEGINS = re.compile(r'"kvs":\s*\[')
_REVISION = re.compile(r'"revision":\s*([0-9]{1,19})\b')
_ROW = re.compile(r"\{[^{}\[\]]{1,20000}\}")
_END = re.compile(r'\s*\]\s*(,\s*"(more|count)":\s*\w{1,20}\s*){0,2}\}\s*')

UNTOLD = (EtcdError, Endless)  # what a list of keys may end in: then it is judged by other signs


@dataclass(frozen=True)
class Keys:
    """All keys at one revision: key → (the revision that wrote it, its lease, 0 for none); `revision` of the store when
    it answered."""

    revision: int
    held: dict[bytes, tuple[int, int]]


def ask_keys(inventory: Inventory, revision: int | None = None, prefix: str = "") -> Question[Keys]:
    """Keys without values, as of a revision or as they are now. Raises `UNTOLD` where there is no answer, or one with
    more keys than are held here."""
    at = () if revision is None else (f"--rev={revision}",)
    arguments = ("get", prefix, "--prefix", "--keys-only", *at, "-w", "json", *etcdctl.HASHING)
    command = deephaven.etcdctl(inventory, *arguments, why="which keys have a lease", deadline=LONG)
    return Question(replace(command, most=MOST_OF_KEYS), _read_keys)


def _read_keys(result: Result) -> Keys:
    if result.code != 0:
        raise EtcdError(result.command.host, f"keys could not be listed: {result.words}", "run again")
    # Row by row: as one value a long list would take many times its length.
    text, held = result.stdout, {}
    begins = _BEGINS.search(text)
    header = _REVISION.search(text, 0, begins.start() if begins else len(text))
    end = begins.end() if begins else len(text)
    for found in _ROW.finditer(text, end):
        if text[end : found.start()].strip(", \n"):
            break
        end, row = found.end(), json.loads(found[0])
        held[base64.b64decode(row["key"])] = (int(row["mod_revision"]), int(row.get("lease", 0)))
    if not header or (begins and not _END.fullmatch(text, end)):
        raise EtcdError(result.command.host, f"its list of keys is none: {text[end : end + 80]!r}", "run again")
    return Keys(int(header[1]), held)


def written(pinned: int, now: Keys, probes: bytes | None = None) -> str | None:
    """What somebody wrote after `pinned`, whatever was there before. Keys below `probes` are our own."""
    keys = [key for key, (modified, _) in now.held.items() if modified > pinned]
    keys = [key for key in keys if probes is None or not key.startswith(probes)]
    return f"{_shown(keys)} was written after revision {pinned:,}" if keys else None


def changed(pinned: int, before: Keys, now: Keys, probes: bytes | None = None) -> str | None:
    """What somebody wrote or deleted after `pinned` and would be lost with this data; None where only leases ran out.
    Keys below `probes` are our own."""
    found = written(pinned, now, probes)
    if found:
        return found
    without = [key for key, (_, lease) in before.held.items() if key not in now.held and not lease]
    if without:
        return f"{_shown(without)} had no lease, and was deleted after revision {pinned:,}"
    return None


def untouched(pinned: int, now: Keys, leased: bool = True) -> int:
    """How many keys are as they were at `pinned`: where as many were there then, none is missing either. Without those
    that have a lease where these are not `leased`, since they may run out."""
    return sum(modified <= pinned and (leased or not lease) for modified, lease in now.held.values())


def unleased(now: Keys, probes: bytes) -> int:
    """How many keys have no lease; of those below `probes` none counts."""
    return sum(not lease and not key.startswith(probes) for key, (_, lease) in now.held.items())


def writer(pinned: int, before: Keys, now: Keys) -> str | None:
    """Why somebody wrote after `pinned`; None where only leases ran out since, each of which is one revision."""
    found = changed(pinned, before, now)
    if found:
        return found
    gone = {key: lease for key, (_, lease) in before.held.items() if key not in now.held}
    moved, leases = now.revision - pinned, len(set(gone.values()))
    if moved != leases:
        return f"{moved:,} revisions after {pinned:,}, of which {leases:,} are leases that ran out"
    return None


def _shown(keys: list[bytes]) -> str:
    more = f" (and {len(keys) - 1:,} more)" if len(keys) > 1 else ""
    return f"{min(keys).decode(errors='replace')!r}{more}"


def moved_by(machine: Machine, inventory: Inventory, pinned: int) -> tuple[str | None, str]:
    """Who wrote, None where nobody did; and what happened in words."""
    before, now = machine.ask(ask_keys(inventory, pinned)), machine.ask(ask_keys(inventory))
    gone = len(before.held) - len(now.held)
    return writer(pinned, before, now), f"{gone:,} keys went with their leases since revision {pinned:,}"
