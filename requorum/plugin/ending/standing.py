"""How things stand at the end of a run, in sentences: only what was seen, and what this run knows that it did."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from requorum.run.marker import Marker, Phase, Undone
from requorum.run.state import Deephaven, Member, Seen

MANY = 4  # hosts that are named; more of them are counted


@dataclass(frozen=True)
class Did:
    """What a run knows of itself. `phase`: of its mark; `reached`: when this process set which; `changed`: whether it
    handed any change of the cluster to the hosts; `acts`: False where it only looks or plans."""

    phase: Phase = Phase.OPEN
    run: str = ""
    token: str = ""
    reached: Mapping[Phase, str] = field(default_factory=dict)
    changed: bool = False
    acts: bool = True
    carried_on: bool = False
    outcome: str = ""
    unasked: bool = False  # no host was asked


def named(hosts: Iterable[str]) -> str:
    """The hosts, or how many they are."""
    names = list(hosts)
    return ", ".join(names) if len(names) <= MANY else f"{len(names)} hosts"


def standing(seen: Seen | None, did: Did) -> str:
    """Deephaven, etcd, data, what was changed, what may be lost."""
    if did.unasked:
        return "Nothing was changed: no host was asked."
    if seen is None:
        return " ".join([*_changed(None, did), *(["How things stand now was not looked at."] if did.acts else [])])
    said = [_deephaven(seen, did), *_etcd(seen, did), _data(seen, did), *_changed(seen.mark, did), _lost(seen, did)]
    return " ".join(filter(None, said))


def _deephaven(seen: Seen, did: Did) -> str:
    found = seen.deephaven
    groups = {
        "OFF": [h for h, one in found.items() if isinstance(one, Deephaven) and one.on == 0],
        "ON": [h for h, one in found.items() if isinstance(one, Deephaven) and one.up > 0],
        "supervised, but no process of it is up": [
            h for h, one in found.items() if isinstance(one, Deephaven) and one.on > 0 and one.up == 0
        ],
    }
    known = [f"{word} on {named(hosts)}" for word, hosts in groups.items() if hosts]
    unknown = [host for host, one in found.items() if isinstance(one, str)]
    if not known:
        return f"Whether Deephaven is on is not known: {_silent(found)}." if unknown else ""
    since = did.reached.get(Phase.STOPPING, "")
    by = f" (this run turned it off at {since[11:16]} UTC)" if since and groups["OFF"] else ""
    rest = f" Not known on {_silent(found)}." if unknown else ""
    return f"Deephaven is {', and '.join(known)}{by}.{rest}"


def _silent(found: Mapping[str, object]) -> str:
    whys: dict[str, list[str]] = {}
    for host, why in found.items():
        if isinstance(why, str):
            whys.setdefault(why, []).append(host)
    return "; ".join(f"{named(hosts)} ({why})" for why, hosts in whys.items())


def _etcd(seen: Seen, did: Did) -> list[str]:
    groups: dict[str, list[str]] = {}
    for host, one in seen.etcd.items():
        if isinstance(one, Member):
            groups.setdefault(_member(one, did), []).append(host)
    said = [f"{words} on {named(hosts)}" for words, hosts in sorted(groups.items(), key=lambda group: group[0][:3])]
    unknown = _silent(seen.etcd)
    return [f"etcd {', '.join(said)}." if said else "", f"etcd is not known on {unknown}." if unknown else ""]


def _member(one: Member, did: Did) -> str:
    if not one.runs:
        return "is stopped"
    which = ""
    if did.phase > Phase.OPEN and one.token:
        which = " (the new cluster)" if one.token == did.token else " (the old cluster)"
    word = {True: "runs with a leader", False: "runs without a leader", None: "runs and does not answer"}[one.leads]
    return word + which


def _data(seen: Seen, did: Did) -> str:
    """A database that is there: of before the run, once it has begun to change the cluster."""
    there = {host: set(one.data) - {did.token} for host, one in seen.etcd.items() if isinstance(one, Member)}
    hosts = [host for host, data in there.items() if data]
    if not hosts or did.outcome in ("recovered", "closed"):
        return ""
    return f"The old data is in place on {named(hosts)}." if did.phase > Phase.OPEN else f"Data is on {named(hosts)}."


def _changed(mark: Marker | None, did: Did) -> list[str]:
    if not did.acts:
        return ["Nothing was changed: this only looked."]
    said = [] if did.changed or did.outcome in ("recovered", "closed") else ["This run changed nothing of the cluster."]
    other = mark is not None and mark.phase > Phase.OPEN and not mark.closed
    if mark is not None and other and (mark.run != did.run or (did.carried_on and not did.changed)):
        how = "being rolled back" if mark.undone is not Undone.NO else "unfinished"
        said.append(f"Run {mark.run} of {mark.by} is {how}; it got to: {mark.phase.name.lower().replace('_', ' ')}.")
    return said


def _lost(seen: Seen, did: Did) -> str:
    """The rule of the design, where what it rests on was seen: nobody writes while Deephaven is off."""
    off = [isinstance(one, Deephaven) and one.on == 0 for one in seen.deephaven.values()]
    if did.phase in (Phase.STOPPING, Phase.STARTED) and off and all(off):
        return "Nothing is lost so far: nothing was deleted, and going back loses nothing while Deephaven is off."
    if did.phase >= Phase.POWERING_ON and did.outcome not in ("recovered", "closed", "rolled-back"):
        return "Deephaven may have written into the new cluster, so the old one is no longer the newest."
    return ""
