"""How things stand at the end of a run, in sentences: only what was seen, and what this run knows that it did."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
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
    lost: str = ""  # the token of the cluster that was lost, where it is known
    loss: str = ""  # why going on may lose writes, where the data is chosen


def named(hosts: Iterable[str]) -> str:
    """The hosts, or how many they are."""
    names = list(hosts)
    return ", ".join(names) if len(names) <= MANY else f"{len(names)} hosts"


def standing(seen: Seen | None, did: Did, damaged: Collection[str] = ()) -> str:
    """Deephaven, etcd, data, what was changed, what may be lost. `damaged`: hosts whose disk could not be read."""
    if did.unasked:
        return "Nothing was changed: no host was asked."
    if seen is None:
        looked = ["How things stand now was not looked at."] if did.acts else []
        return " ".join(filter(None, [_turned_off(did), *_changed(None, did), *looked]))
    said = [
        *_deephaven(seen, did),
        *_etcd(seen, did),
        _aside(seen, did),
        _data(seen, did, damaged),
        _configured(seen, did),
        *_changed(seen.mark, did),
        *_lost(seen, did),
    ]
    return " ".join(filter(None, said))


def _turned_off(did: Did) -> str:
    """Of what this process set in the mark alone, where nobody looked."""
    began = did.reached.get(Phase.STOPPING, "")
    if not began or any(phase >= Phase.POWERING_ON for phase in did.reached):
        return ""
    return f"This run began to turn Deephaven off at {began[11:16]} UTC and turned nothing on."


def _deephaven(seen: Seen, did: Did) -> list[str]:
    found = {host: one for host, one in seen.deephaven.items() if isinstance(one, Deephaven)}
    up = [host for host, one in found.items() if one.up > 0]
    off = [host for host, one in found.items() if one.off]
    down = [host for host, one in found.items() if one.on > 0 and one.up == 0]
    known = [f"OFF on {named(off)}"] if off else []
    known += [f"ON on {named(up)}{_share([found[host] for host in up])}"] if up else []
    known += [f"supervised, but no process of it is up on {named(down)}"] if down else []
    rest = {host: one.running for host, one in found.items() if one.on == 0 and not one.off}
    unsure = [host for host, running in rest.items() if running is None]
    since = did.reached.get(Phase.STOPPING, "")
    by = f" (this run turned it off at {since[11:16]} UTC)" if since and off else ""
    unknown = _silent(seen.deephaven)
    if unknown:
        unknown = f"Not known on {unknown}." if known or rest else f"Whether Deephaven is on is not known: {unknown}."
    return [
        f"Deephaven is {', and '.join(known)}{by}." if known else "",
        *(
            f"On {host} monit supervises none of Deephaven, but {named(running)} still runs and may write."
            for host, running in rest.items()
            if running
        ),
        f"On {named(unsure)} monit supervises none of Deephaven; whether any still runs is not known."
        if unsure
        else "",
        unknown,
    ]


def _share(on: Iterable[Deephaven]) -> str:
    up, of = (sum(numbers) for numbers in zip(*((one.up, one.of) for one in on), strict=True))
    return f" ({up} of {of} processes are up)" if up < of else ""


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


def _aside(seen: Seen, did: Did) -> str:
    """Once the cluster is recovered, or as it was before, its old units are nobody's question."""
    if did.outcome in ("recovered", "closed", "rolled-back"):
        return ""
    hosts = [host for host, one in seen.etcd.items() if isinstance(one, Member) and one.aside]
    if not hosts:
        return ""
    units, them = ("The old unit is", "it") if len(hosts) == 1 else ("Old units are", "them")
    return f"{units} set aside on {named(hosts)}: a rollback puts {them} back."


def _data(seen: Seen, did: Did, damaged: Collection[str]) -> str:
    """Where a database lies, and whose it is where its directory has that cluster's token for a name."""
    members = {host: one for host, one in seen.etcd.items() if isinstance(one, Member) and host not in damaged}
    there = {host: set(one.data) for host, one in members.items() if one.data is not None and not _lives(one, did)}
    if did.outcome in ("recovered", "closed") or not there:
        return ""
    lost = [host for host, data in there.items() if did.lost in data]
    others = [host for host, data in there.items() if data - {did.token, did.lost} and host not in lost]
    if lost:
        names = sorted({name for host in others for name in there[host] - {did.token, did.lost}})
        told = ", ".join(names) if len(names) <= MANY else f"{len(names)} directories"
        rest = f"; on {named(others)} only in a directory of another name ({told})" if others else ""
        return f"A database of the lost cluster ({did.lost}) lies on {named(lost)}{rest}."
    below = f" below {seen.root}" if seen.root else ""
    if not any(there.values()):
        return f"No database was found{below} on {named(there)}."
    return f"A database lies{below} on {named(others)}." if others else ""


def _lives(one: Member, did: Did) -> bool:
    """It is not lost: it runs, and sees a leader."""
    return bool(one.runs and one.leads and one.token and one.token == did.lost)


def _configured(seen: Seen, did: Did) -> str:
    """Once the new etcd may run, it is named by its cluster."""
    new = [host for host, one in seen.etcd.items() if isinstance(one, Member) and did.token and one.token == did.token]
    return f"The new configuration lies on {named(new)}." if new and did.phase is Phase.STOPPING else ""


_GOT_TO = {
    Phase.STOPPING: "it had begun to stop Deephaven and the old etcd",
    Phase.STARTED: "the data was restored, and the new etcd may have been started",
    Phase.POWERING_ON: "it had begun to turn Deephaven on",
    Phase.DONE: "it had come to its end",
}


def _changed(mark: Marker | None, did: Did) -> list[str]:
    if not did.acts:
        return ["Nothing was changed: this only looked."]
    nothing = not did.changed and did.outcome not in ("recovered", "closed")
    other = mark is not None and mark.phase > Phase.OPEN and not mark.closed
    if mark is None or not other or (mark.run == did.run and not (did.carried_on and nothing)):
        return ["This run changed nothing of the cluster."] if nothing else []
    state = "being rolled back" if mark.undone is not Undone.NO else "unfinished"
    run = f"{mark.run} of {mark.by}"
    if mark.run == did.run:
        return [f"Run {run}, carried on here, is {state}: {_GOT_TO[mark.phase]}; nothing was changed this time."]
    said = f"Run {run} is {state}: {_GOT_TO[mark.phase]}."
    return ["This run changed nothing of the cluster.", said] if nothing else [said]


def _lost(seen: Seen, did: Did) -> list[str]:
    """The rule of the design, where what it rests on was seen: nobody writes while Deephaven is off."""
    if did.phase in (Phase.STOPPING, Phase.STARTED):
        found = seen.deephaven.values()
        off = bool(found) and all(isinstance(one, Deephaven) and one.off for one in found)
        return [
            "This run deleted nothing, and going back brings back what was there." if off else "",
            f"Going on may lose writes: {did.loss}." if did.loss else "",
        ]
    if did.phase >= Phase.POWERING_ON and did.outcome not in ("recovered", "closed", "rolled-back"):
        return ["Deephaven may have written into the new cluster, so the old one is no longer the newest."]
    return []
