"""The drill: which backup is tried, and what of Step 5's proofs can be given when its passwords are not known here.

The machines are the lab's; how they come to be is `runbook/drill/lab.py`'s business. What was proven and what cannot be
is kept apart, since a drill that is silent about the difference would be believed too much.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import Path

from requorum.cluster import deephaven, etcd, etcdctl
from requorum.cluster.authentication import Authentication
from requorum.cluster.peers import PeerHash, ask_peer_hash
from requorum.command import Command, act
from requorum.hosts import systemd
from requorum.hosts.fleet import Machine
from requorum.hosts.question import plain
from requorum.inventory import Expect, Inventory
from requorum.refusal import remedy
from requorum.run import facts, marker
from requorum.run.run import Run
from requorum.run.terms import Options, Terms
from requorum.snapshots import bolt, files, manifest, offsite, unpacked
from requorum.snapshots.family import Family
from requorum.snapshots.manifest import ManifestError
from requorum.snapshots.ranking import BY_YOU, Candidate, another_history
from requorum.snapshots.snapshot import SnapshotError, Source


@dataclass
class Drill:
    """One drill. `cluster` and `etcd` (version) are the manifest's words, None without one; `login`: the lab's
    passwords open the restored data, or it needs none, as `authentication` says. `unproven` are sentences for the
    report; `off_site`: what is to be said of what lies there; `ended`: they are all."""

    source: Source
    contents: bolt.Contents
    cluster: str | None
    etcd: str | None
    skipped: tuple[Candidate, ...] = ()
    off_site: tuple[str, ...] = ()
    made: bool = True
    login: bool = False
    authentication: Authentication = field(default_factory=Authentication)
    unproven: list[str] = field(default_factory=list)
    ended: bool = False

    def fields(self) -> dict[str, object]:
        """Of `summary.json`. What is not proven counts once the drill has come to its end."""
        return {"unproven": list(self.unproven) if self.ended else []}


def choose(named: str | None, inventory: Inventory | None) -> Drill:
    """`--snapshot`, else the newest good backup of the inventory's directory, whatever its lineage and age, but of the
    history that is its cluster's own.

    Raises `SnapshotError` for a file that is bad, or where there is none.
    """
    decrypt, said = inventory.snapshot.decrypt if inventory else None, list[str]()
    if named:
        found = [files.of_file(Path(named), Family(), BY_YOU, decrypt=decrypt)]
    elif inventory:
        if inventory.offsite.list:
            offsite.bring(inventory, 1.0, said.append, said.append)
        found = files.of_files(inventory, None, Family())
    else:
        found = []
    good = [c for c in found if c.source and (c.named or not another_history(c, found))]
    if not good:
        directory = inventory.snapshot.directory if inventory else None
        where = found[0].path if found else directory or "no snapshot"
        what = found[0].problem if found else "holds no backup" if directory else "the inventory names no directory"
        raise SnapshotError(where, what or "cannot be used", "name another one with --snapshot=FILE")
    best = max(good, key=lambda candidate: (candidate.taken, candidate.revision or 0))
    assert best.source is not None
    path = Path(best.path)
    try:
        note = manifest.of_file(path)
    except ManifestError:
        note = None
    skipped = tuple(candidate for candidate in files.without_older(found, best) if not candidate.source)
    cluster, etcd = (note.cluster, note.etcd) if note else (None, None)
    return Drill(best.source, unpacked.look(path, (), decrypt)[1], cluster, etcd, skipped, tuple(said))


def inventory_of(lab: Inventory, exercise: Drill, named: Inventory | None) -> Inventory:
    """The lab's machines, with what is expected of the data where production's inventory says it."""
    expect = named.expect if named else Expect()
    decrypt = named.snapshot.decrypt if named else None
    snapshot = lab.snapshot.model_copy(update={"file": exercise.source.path, "directory": None, "decrypt": decrypt})
    return lab.model_copy(update={"expect": expect, "snapshot": snapshot})


def places(terms: Terms) -> list[Command]:
    """The drill's own directory on every machine of the lab. No mark: nobody is to carry a drill on."""
    directories = (marker.BASE, marker.directory(terms.inventory.cluster), terms.place())
    why = "a place for this drill, for root only"
    return [act(host, "install", "-d", "-m", "700", *directories, why=why) for host in terms.everyone]


def options(given: Options, exercise: Drill) -> Options:
    """The operator's words for the lab: this snapshot by name, and a rebuild although the lab is healthy."""
    return replace(given, snapshot=exercise.source.path, rebuild=True, gone=())


PASSWORDS = "that any of this backup's users can log in: their passwords are not known here"


def the_copies_are_at(run: Run, revision: int, found: int) -> None:
    """etcd's own reading of the file agrees with ours."""
    run.settle(
        f"etcd reads revision {revision} from the snapshot",
        {run.terms.member_hosts[0]: None if found == revision else f"revision {found}"},
        "the file is not what it seems: do not rely on it",
    )


def every_member_is_up_to_date(run: Run, revision: int) -> None:
    """`/health` and `/metrics` of every member on its own host: healthy, one leader, one revision, not an older one."""
    configs = facts.new_configs(run)
    told: dict[str, dict[str, int]] = {}

    def probe(machine: Machine) -> str | None:
        config = configs[machine.name]
        health = machine.ask(etcd.ask_page(machine.name, config, "health", plain, why="the member's /health"))
        told[machine.name] = machine.ask(
            etcd.ask_page(machine.name, config, "metrics", _gauges, why="the member's /metrics")
        )
        if not re.search(r'"health"\s*:\s*"?true', health):
            return f"/health says {health.strip() or 'nothing'}"
        if told[machine.name].get("etcd_server_has_leader") != 1:
            return "no leader"
        found = told[machine.name].get("etcd_debugging_mvcc_current_revision", 0)
        return None if found >= revision else f"revision {found}"

    run.prove(
        run.terms.member_hosts,
        f"/health is true, the member sees a leader, and its revision is {revision} or higher",
        probe,
        remedy("see what etcd says there: this backup does not come up", systemd.journal(run.inventory.etcd.unit)),
        within=run.health_seconds,
    )
    leaders = [host for host, gauges in told.items() if gauges.get("etcd_server_is_leader") == 1]
    revisions = {gauges.get("etcd_debugging_mvcc_current_revision") for gauges in told.values()}
    wrong = [] if len(leaders) == 1 else [f"leaders: {', '.join(leaders) or 'none'}"]
    wrong += [] if len(revisions) == 1 else [f"revisions {sorted(r or 0 for r in revisions)}"]
    run.settle(
        "one leader, and one revision on all members",
        dict.fromkeys(run.terms.member_hosts, "; ".join(wrong) or None),
        "the members hold different data: this backup does not restore alike everywhere",
    )
    run.note(f"leader {leaders[0]}, revision {max(r or 0 for r in revisions):,} on all members")


def _gauges(metrics: str) -> dict[str, int]:
    found = re.findall(r"^(etcd_[a-z_]+) ([0-9.e+]+)$", metrics, re.M)
    return {name: int(float(value)) for name, value in found}


def hashes_are_equal_without_login(run: Run, exercise: Drill) -> None:
    """hashkv and cluster ID as members give them to each other: on the peer port, with the member's own certificate.

    For clients hashkv needs a login since authentication is on. A version without that page is named as unproven.
    """
    found = run.ask({host: ask_peer_hash(host, config) for host, config in facts.new_configs(run).items()})
    if None in found.values():
        exercise.unproven.append("that hashkv is equal on all members: this etcd gives it only to a login")
        return
    values = set(found.values())
    alike = len(values) == 1 and isinstance(next(iter(values)), PeerHash)
    run.settle(
        "hashkv is equal on all members, of one cluster, at one revision",
        {host: None if alike else str(value) for host, value in found.items()},
        "the members hold different data: this backup does not restore alike everywhere",
    )
    for value in values:
        run.note(f"{value} on all members")


def login_is_tried(run: Run, exercise: Drill) -> None:
    """Whether the lab's passwords open the data; whether anybody is let in without one."""
    with_password = deephaven.etcdctl(run.inventory, "get", "/requorum", why="whether the lab's root may read")
    login = run.ask({"root": etcdctl.ask_login(with_password)})["root"]
    exercise.login = login.outcome in ("let in", "off")
    exercise.authentication = Authentication(on=login.outcome != "off")
    if exercise.login:
        return
    run.settle(
        "the restored cluster answers a login: refused, let in, or authentication is off",
        {run.terms.configuration_server: None if login.outcome in ("refused", "passwordless") else login.words},
        "read the members' journals: logging in needs quorum, so something else is wrong",
    )
    exercise.unproven += [
        PASSWORDS,
        "the number of keys that expect asks for: reading needs a login",
        "that a write through each member is read from the others: writing needs a login",
    ]
