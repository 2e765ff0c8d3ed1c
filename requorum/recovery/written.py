"""Whether anybody but the run itself wrote into the cluster that it made, as its keys tell where it runs, else its
members' databases, else its backups' manifests. Where none can be asked it counts as written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from requorum.cluster import etcd
from requorum.cluster.etcd import MemberConfig
from requorum.hosts.systemd import Unit
from requorum.recovery import probes
from requorum.recovery.plan import is_new
from requorum.recovery.probes import Reached
from requorum.recovery.trial import Trial
from requorum.refusal import Refusal
from requorum.run import facts, held, history, marker
from requorum.run.history import Birth, Told
from requorum.run.marker import Marker, Outlived, Phase, Undone
from requorum.run.run import Run
from requorum.run.terms import Terms
from requorum.snapshots import beginning, disks, files, movement, on_host
from requorum.snapshots.beginning import Beginning, Proven
from requorum.snapshots.manifest import Manifest
from requorum.snapshots.movement import Keys


@dataclass(frozen=True)
class Wrote:
    """`words`: what shows it. `seen` is false where it only counts as written, since nobody can tell. `runs`: the
    cluster has quorum. `beyond`: by how many revisions at least its data is further on; None where that is not known.
    `others`: the revision of data that somebody else restored.
    """

    words: str
    runs: bool = False
    seen: bool = True
    beyond: int | None = None
    others: int | None = None

    def __str__(self) -> str:
        """Of its cluster."""
        was = "was written to" if self.seen else "counts as written to"
        return f"{'runs' if self.runs else 'does not run,'} and {was}: {self.words}"


def who_wrote(run: Run, terms: Terms | None = None, hosts: Sequence[str] = ()) -> Wrote | None:
    """None where nobody did, and where the mark itself says that Deephaven was turned on. `terms`: of another run;
    `hosts`: where its members may be, if not on those of the cluster to build."""
    terms = terms or run.terms
    hosts = hosts or terms.member_hosts
    if terms.mark.phase >= Phase.POWERING_ON:
        return None
    units, found, _ = facts.installed(run, hosts)
    installed = facts.readable(found)
    (began,) = run.ask({"began": beginning.ask(terms)}).values()
    up = [host for host, config in installed.items() if is_new(terms, config) and units[host].running]
    if 2 * len(up) > len(terms.member_hosts):
        try:
            (now,) = run.ask({"now": movement.ask_keys(run.inventory)}).values()
        except movement.UNTOLD as error:
            run.note(f"its keys cannot be asked, so that its members are: {error.what}")
        else:
            if began is None:
                return Wrote("nobody knows any more at which revision it began", runs=True, seen=False)
            return since(run, terms, began, now)
    held = _held(run, terms, units, installed, began.own if began else 0)
    return decide(began, held, _backups(run, terms))


def who_wrote_since(run: Run) -> Wrote | None:
    """The same right before its etcd is stopped, once Deephaven is off: only where it has quorum did anybody write."""
    units, found, _ = facts.installed(run, run.terms.member_hosts)
    installed = facts.readable(found)
    up = [host for host, config in installed.items() if is_new(run.terms, config) and units[host].running]
    (began,) = run.ask({"began": beginning.ask(run.terms)}).values()
    if run.mark.phase >= Phase.POWERING_ON or began is None or 2 * len(up) <= len(installed):
        return None
    try:
        (now,) = run.ask({"now": movement.ask_keys(run.inventory)}).values()
    except movement.UNTOLD:
        return who_wrote(run)  # as its members tell; what nobody can tell is no proof that nobody wrote
    return since(run, run.terms, began, now)


def decide(
    began: Beginning | None, held: Mapping[str, int | str | None], backups: Sequence[Manifest] = ()
) -> Wrote | None:
    """Of a cluster that cannot be asked. `held`: host → the revision in its database, why that is not known, None where
    by right there is none; `backups`: what the manifests of its own say."""
    if any(note.lived for note in backups):
        return Wrote(f"its backup of {max(note.taken for note in backups if note.lived)} had found it alive")
    if all(found is None for found in held.values()):
        return None
    if began is None:
        return Wrote("nobody knows any more at which revision it began", seen=False)
    shown = {f"the database of {host}": found for host, found in held.items() if isinstance(found, int)}
    told = {**shown, **{f"its backup of {note.taken}": note.revision for note in backups if not note.alone}}
    for name, revision in told.items():
        if began.bumped and (others := began.restored_by_others(revision)):
            return Wrote(f"{name} is {others}", others=revision)
    furthest = max(told, key=lambda name: told[name], default="")
    if furthest and told[furthest] > began.own:
        words = f"{furthest} is at revision {told[furthest]:,}, and what the run itself wrote ends at {began.own:,}"
        return Wrote(words, beyond=told[furthest] - began.own)
    unknown = {host: why for host, why in held.items() if isinstance(why, str)}
    if 2 * len(unknown) < len(held):
        return None
    why = "; ".join(f"{host}: {why}" for host, why in unknown.items())
    return Wrote(f"nobody can tell what a majority of its members holds ({why})", seen=False)


def _held(
    run: Run, terms: Terms, units: Mapping[str, Unit], installed: Mapping[str, MemberConfig | None], planned: int
) -> dict[str, int | str | None]:
    """As `decide` has it. What a retry or a rollback that was cut has set aside is looked at too, or known to it.
    `planned`: what a plan takes each database to be at."""
    mark = terms.mark
    by_right = mark.phase < Phase.STARTED or mark.undone is not Undone.NO  # nothing was started, or it was looked at
    configs = {**_beside(run, terms, installed), **{h: c for h, c in installed.items() if c and is_new(terms, c)}}
    found: dict[str, int | str | None] = {
        host: None if by_right else "has no configuration of it" for host in installed if host not in configs
    }
    up = [h for h in configs if configs[h] is installed[h] and units[h].running]
    metrics = run.ask({host: etcd.ask_metrics(host, configs[host]) for host in up})
    found |= {host: told.revision for host, told in metrics.items() if told.revision is not None}
    left = {h: c for h, c in configs.items() if h not in found}  # one that starts again and again says nothing
    places: dict[str, tuple[str, ...]] = {h: (f"{c.data_dir}/{DATABASE}", _aside(terms, c)) for h, c in left.items()}
    there = facts.files(run, places)
    lying = {host: of[0] for host, of in places.items() if of[0] in there[host]}
    tried = {host: of[1] for host, of in places.items() if _is_tried(of, there[host], units[host])}
    asked = tried if run.acts else {}  # what a plan sets aside lies where it did, and its etcd may have it open
    for host, status in run.ask({host: on_host.ask_status(host, path) for host, path in asked.items()}).items():
        found[host] = f"its database cannot be read: {status.why}" if isinstance(status, on_host.Unread) else status[0]
    found |= {host: None if by_right else "has no database" for host in places if host not in (*lying, *tried)}
    done = run.probe(probes.read_databases(terms, lying))
    if (lying or tried) and not run.acts:
        run.note("whether anybody wrote will be read in its members' databases; planned as if nobody did")
        return {**found, **dict.fromkeys((*lying, *tried), planned)}
    return {**found, **probes.revisions(terms, lying, done)}


def _beside(run: Run, terms: Terms, installed: Mapping[str, MemberConfig | None]) -> dict[str, MemberConfig]:
    """The configuration of the run's cluster where another one is installed, or none."""
    path, name = run.inventory.etcd.config, run.inventory.cluster
    others = [host for host, config in installed.items() if not is_new(terms, config)]
    earlier = run.ask({host: disks.ask_earlier(host, path, name) for host in others})
    ours = {host: [c for c in found.configs if is_new(terms, c)] for host, found in earlier.items()}
    return {host: configs[0] for host, configs in ours.items() if configs}


DATABASE = "member/snap/db"


def _aside(terms: Terms, config: MemberConfig) -> str:
    """Where a retry puts the database."""
    return f"{terms.place('tried')}/{config.data_dir.strip('/').replace('/', '_')}/{DATABASE}"


def _is_tried(places: tuple[str, ...], there: tuple[str, ...], unit: Unit) -> bool:
    """Whether a retry that was cut has set the data aside: it had kept the unit from starting with the machine."""
    return places[0] not in there and places[1] in there and unit.enabled != "enabled"


def _backups(run: Run, terms: Terms) -> list[Manifest]:
    """The manifests of this cluster's backups, those of another history aside."""
    notes = (row.note for row in files.noted(run.inventory) if row.note and not row.note.another)
    return [note for note in notes if note.lineage.token == terms.mark.token]


# -- in Step 0 ---------------------------------------------------------------------------------------------------


def living(run: Run, marks: dict[str, Marker | None], outlived: Outlived, told: Mapping[str, Told]) -> dict[str, Birth]:
    """Token → the birth, as one that Deephaven has written into, of each cluster whose run never came so far, and into
    which somebody wrote nevertheless: people finished it, so that its disks and backups count. `told`: what hosts say
    of runs."""
    births = held.births({host: one.births for host, one in told.items()}, run.terms.configuration_server)
    under_way = {mark.token: mark for mark in marker.known_runs(marks, outlived).values()}
    for mark in under_way.values():
        births.setdefault(mark.token, Birth(mark.token, mark.run, mark.phase, mark.snapshot, None, 0))
    if not births:
        return {}
    installed = {c.token for c in facts.old_configs(run, run.terms.etcd_hosts).values() if c}
    known = installed | {row.lineage.token for row in files.noted(run.inventory) if row.lineage}
    found = {}
    for token, birth in births.items():
        mark = under_way.get(token, beginning.of(run.terms, birth).mark)
        if birth.alive or token not in known or birth.run in outlived.rolled_back or mark.undone is not Undone.NO:
            continue
        wrote = who_wrote(run, replace(run.terms, mark=mark), run.terms.etcd_hosts)
        if wrote is not None and wrote.seen:
            run.note(f"run {birth.run} was never closed, but its cluster {wrote}; it counts as the one that lived")
            bump = run.inventory.etcd.revision_bump
            born = birth if wrote.others is None else history.as_it_is(birth, wrote.others, bump)
            found[token] = replace(born, phase=Phase.POWERING_ON)
    return found


class Unproven(Refusal):
    """A cluster that somebody wrote to before its data was proven."""


def refuse_unproven(run: Run, found: Mapping[str, Birth]) -> None:
    """Of the run that is carried on: written to by others, its data can no more be proven than before. That Step 5 had
    proven it is in its own note alone."""
    if run.mark.token not in found:
        return
    (began,) = run.ask({"began": beginning.ask(run.terms)}).values()
    if began is None or began.proven is None:
        hosts = run.options.hosts
        raise Unproven(
            f"run {run.mark.run} of {run.mark.by}",
            "its cluster was written to, and that its data is what was tried was never proven: Deephaven is not turned "
            "on with it",
            f"if people finished it: pytest runbook/close --hosts={hosts}; to save it and go back: "
            f"{run.mark.rollback(hosts)}",
        )


def note_living(run: Run, found: Mapping[str, Birth]) -> None:
    """So that whoever asks next knows: a mark, a retry, the passwords of which incident are the old ones."""
    cluster = run.inventory.cluster
    for birth in found.values():
        server = run.terms.configuration_server
        others = [host for host in run.terms.everyone if host != server]
        for hosts in ([server], others):
            run.do([history.write_birth(host, cluster, birth) for host in hosts])


def since(
    run: Run, terms: Terms, began: Beginning, now: Keys, keys: int | None = None, unleased: int | None = None
) -> Wrote | None:
    """What the running cluster, which holds `now`, shows to be somebody else's; None where there is none.

    What cannot be compared any more counts as written, unless the run has noted how far it was its own: then nothing
    newer is there, and no key without a lease is missing. `keys`: how many it began with, where that was counted, and
    how many of these have no lease.
    """
    own = probes.written(terms).encode()
    if others := began.restored_by_others(now.revision):
        return Wrote(f"it is {others}", runs=True, others=now.revision)
    if began.proven is not None:
        found, left = movement.written(began.proven.reached, now, own), movement.unleased(now, own)
        if not found and left < began.proven.unleased:
            lacking = began.proven.unleased - left
            found = f"{lacking:,} keys without a lease were deleted after revision {began.proven.reached:,}"
        return Wrote(found, runs=True) if found else None
    found = movement.written(began.revision, now, own)
    if found:
        return Wrote(found, runs=True)
    if keys is not None and movement.untouched(began.revision, now) == keys:
        return None
    if unleased is not None and movement.untouched(began.revision, now, leased=False) == unleased:
        return None
    try:
        (before,) = run.ask({"before": movement.ask_keys(run.inventory, began.revision)}).values()
    except movement.UNTOLD as error:
        unknown = f"what it began with cannot be asked any more: {error.what}"
        return Wrote(unknown, runs=True, seen=False)
    found = movement.changed(began.revision, before, now, own)
    return Wrote(found, runs=True) if found else None


def note_what_is_proven(
    run: Run,
    trial: Trial | None,
    compacted: int | None,
    reached: Reached | None = None,
    began: Beginning | None = None,
) -> None:
    """In Step 5, once its proofs of the data have held: a run that is carried on may not be able to hold them again.

    `compacted`: up to which revision, when they held; None where that is not known, or they were not held now.
    `reached`: how far the probe's own writes brought the store. Every write of anybody is a revision of its own: where
    they lead on from the trial's, nobody else wrote and no lease ran out, and the trial's counts are still right.
    Else all keys are listed, for which etcd reads all data. `began`: as the run's notes told it before.
    """
    terms = run.terms
    if trial is None or run.mark.phase >= Phase.POWERING_ON:
        return
    if not run.acts:
        run.do([beginning.note(terms, None)])
        return
    began = began or run.ask({"began": beginning.ask(terms)})["began"]
    if began is None or (compacted is None and began.proven is None):
        return
    at = began.proven.compacted if began.proven else compacted
    assert at is not None
    held = compacted is not None and trial.revision == began.revision
    if held and reached and trial.unleased is not None and reached.revision == trial.revision + reached.own:
        found = Proven(trial.snapshot, trial.revision, trial.hash, at, reached.revision, trial.unleased)
        run.do([beginning.note(terms, found)])
        return
    try:
        (now,) = run.ask({"now": movement.ask_keys(run.inventory)}).values()
    except movement.UNTOLD as error:
        run.note(f"not noted: {error.what}")
        return
    counted = (trial.counts.get(""), trial.unleased) if held else (None, None)
    wrote = since(run, terms, began, now, *counted)
    if wrote:
        run.note(f"not noted: {wrote.words}")
        return
    left = movement.unleased(now, probes.written(terms).encode())
    run.do([beginning.note(terms, Proven(trial.snapshot, trial.revision, trial.hash, at, now.revision, left))])
