"""The nightly backup: from which member, by which commands, and what its manifest says.

The planners are pure; `vault` keeps the files on the operator's machine. Nothing of the cluster is changed: what is
written on a host is the save itself, in a directory of its own that is removed again.
"""

from __future__ import annotations

import shlex
import stat
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path

from requorum.cluster import deephaven, etcdctl
from requorum.cluster.etcd import EtcdError, address
from requorum.cluster.etcdctl import Status
from requorum.cluster.lineage import Lineage
from requorum.command import Action, Command, Fetch, Result, act, look
from requorum.deadlines import LONG
from requorum.evidence.journal import now
from requorum.hosts import probe, system
from requorum.hosts.fleet import Fleet, Machine
from requorum.hosts.probe import Probed
from requorum.hosts.question import NAME, Question, checked, complete
from requorum.inventory import Inventory
from requorum.refusal import Refusal
from requorum.run import facts, history, likeness, marker
from requorum.run.run import Run
from requorum.run.terms import Terms
from requorum.snapshots import anew, beginning, bolt, files, manifest, movement, on_host, processes, snapshot
from requorum.snapshots.anew import Anew
from requorum.snapshots.beginning import Beginning
from requorum.snapshots.family import Family
from requorum.snapshots.manifest import Manifest
from requorum.snapshots.movement import Keys
from requorum.snapshots.on_host import Origin, Unread
from requorum.snapshots.snapshot import Fingerprint, SnapshotError, Source
from requorum.snapshots.sources import Sources
from requorum.snapshots.unpacked import SPARE_BYTES
from requorum.snapshots.vault import BackupError, Vault

ABANDONED_MINUTES = 60  # no backup's commands live so long on a host: each ends after LONG seconds


class NoneHealthyError(BackupError):
    """No member can be saved from, since none is healthy for an authenticated user."""


# -- from which member -------------------------------------------------------------------------------------------


def healthiest(statuses: Sequence[Status], health: Mapping[str, str | None]) -> Status:
    """The member to save from: healthy for an authenticated user, without alarm, highest revision, rather no leader.

    `health`: endpoint → None or its error. Raises `BackupError` that names each member's state.
    """
    healthy = [status for status in statuses if _is_read(health.get(status.endpoint, "no answer"))]
    if not healthy:
        endpoints = dict.fromkeys([*health, *(status.endpoint for status in statuses)])
        found = "; ".join(f"{e}: {health.get(e, 'no answer') or 'healthy, but without a status'}" for e in endpoints)
        raise NoneHealthyError(
            "etcd",
            f"no member is healthy for an authenticated user: {found or 'none answered'}",
            "if quorum is lost, run the recovery: pytest runbook --hosts=NAME",
        )
    return max(healthy, key=lambda s: (not s.errors, s.revision, s.member_id != s.leader, s.endpoint))


def _is_read(error: str | None) -> bool:
    """A backup only reads: an alarm, which etcdctl calls unhealthy, does not keep it from that."""
    return error is None or error.startswith("Active Alarm(s)")


def ask_healthiest(inventory: Inventory) -> Question[Status]:
    """The member to save from, by health and status of every member of the running cluster as Deephaven's root sees
    them. Raises `BackupError`, with etcdctl's own words where there is no answer at all."""

    def read(health: Result, status: Result) -> Status:
        try:
            statuses, states = etcdctl.parse_status(status.stdout), etcdctl.parse_health(health.stdout)
        except EtcdError:
            if any("authentication failed" in text for text in (health.stdout, health.stderr, status.stderr)):
                client = inventory.deephaven.client_config
                raise BackupError(
                    f"{health.command.host}:{client}/root/password",
                    "etcd refuses this password",
                    "put the one that belongs to etcd's data there on every Deephaven host; a recovery needs it too",
                ) from None
            raise NoneHealthyError(
                health.command.host,
                f"no member answers an authenticated user: {health.words}",
                "if quorum is lost, run the recovery: pytest runbook --hosts=NAME",
            ) from None
        return healthiest(statuses, states)

    health, status = (
        deephaven.etcdctl(inventory, "endpoint", question, "--cluster", "-w", "json", why=f"{question} of every member")
        for question in ("health", "status")
    )
    return Question((health, status), read)


# -- on the configuration server ---------------------------------------------------------------------------------


def staging(terms: Terms) -> str:
    """This run's own directory on the configuration server; nothing else is written on any host."""
    return marker.directory(terms.inventory.cluster, f"backup-{terms.mark.run}")


def save(terms: Terms, endpoint: str) -> list[Command]:
    """Saves into staging, after what a killed run left behind has been cleared."""
    host, place = terms.configuration_server, staging(terms)
    base = marker.directory(terms.inventory.cluster)
    return [
        act(host, "install", "-d", "-m", "700", marker.BASE, base, place, why="a place for the save, for root only"),
        act(
            host,
            "find",
            base,
            "-mindepth",
            "1",
            "-maxdepth",
            "1",
            "-name",
            "backup-*",
            "-mmin",
            f"+{ABANDONED_MINUTES}",
            "-exec",
            "rm",
            "-rf",
            "{}",
            "+",
            why="clear what a killed backup left",
        ),
        on_host.save(terms, endpoint, f"{place}/snapshot.db", accept=(0,)),
    ]


def clear(terms: Terms) -> list[Command]:
    """Removes this run's staging; the cluster's own directory stays where marks or other runs lie in it."""
    host, place = terms.configuration_server, staging(terms)
    return [
        act(host, "rm", "-rf", place, why="nothing of the backup stays on the host"),
        act(
            host,
            "rmdir",
            "--ignore-fail-on-non-empty",
            marker.directory(terms.inventory.cluster),
            marker.BASE,
            why="nor an empty directory",
            accept=(0, 1),
        ),
    ]


def ask_left(terms: Terms) -> Question[str | None]:
    """What is left there, None where nothing is."""
    question = look(terms.configuration_server, "ls", "-d", staging(terms), why="whether anything was left")
    return Question(question, lambda answer: complete(answer).stdout.strip() or None)


def describe(run: Run, member: Status, path: str | None = None) -> Manifest:
    """The manifest of the save at `path`, default in staging. The token is asked from the member's own host."""
    terms, inventory = run.terms, run.inventory
    host, path = terms.configuration_server, path or f"{staging(terms)}/snapshot.db"
    origin = Origin("file", None, 0, now())
    saved = run.ask({host: on_host.ask_source(origin, host, path, vendor=on_host.reader(terms))})[host]
    if isinstance(saved, Unread):
        raise BackupError(f"{host}:{path}", saved.why, "run again; if it stays so, look at that machine's disk")
    assert saved.revision is not None and saved.entries is not None
    hosts = [m.host for m in (*inventory.members, *inventory.old_members) if m.ip == address(member.endpoint).host][:1]
    token = None
    try:
        for at, config in facts.configs(run, hosts).items():
            token = checked(at, "token", config.token, NAME) if config else None
    except Refusal as refusal:
        run.note(f"the cluster's token stays unknown: {refusal.where} {refusal.what}")
    asked = dict.fromkeys([terms.configuration_server, *(hosts if token else [])])
    told = run.ask({host: history.ask_births(host, inventory.cluster) for host in asked})
    born = history.furthest(chain.from_iterable(told.values())).get(token or "")
    bump = inventory.etcd.revision_bump
    bumps = history.as_it_is(born, saved.revision, bump).bumps if born else 0
    return Manifest(
        cluster=inventory.cluster,
        sha256=saved.sha256,
        bytes=saved.bytes,
        lineage=Lineage(token, member.cluster_id),
        bumps=bumps,
        revision=saved.revision,
        keys=_keys(run, member, saved.revision),
        entries=saved.entries,
        etcd=member.version,
        taken=saved.taken,
        member=member.endpoint,
        fingerprint=_fingerprint(run, member, saved.revision),
        places=places_of(run),
    )


def places_of(run: Run) -> tuple[tuple[str, str, str], ...]:
    """Where each member keeps its data, of those that tell: one that does not is none of tonight's business."""
    found = []
    for host in (member.host for member in run.inventory.members):
        with suppress(Refusal):
            config = facts.old_configs(run, [host])[host]
            if config and config.data_dir.startswith("/"):
                (at,) = run.ask({host: system.ask_free(host, *system.with_parents(config.data_dir))}).values()
                found += [(host, config.data_dir, at.mount)] if isinstance(at, system.Free) else []
    return tuple(found)


def _keys(run: Run, member: Status, revision: int) -> int | None:
    """How many keys the member has at the saved revision; None where it does not say."""
    at = (f"--endpoints={member.endpoint}", f"--rev={revision}")
    try:
        return run.ask({member: etcdctl.ask_count(run.inventory, "", *at)})[member]
    except EtcdError as error:
        run.warn(f"its keys are not counted: {error.what}")
        return None


def _fingerprint(run: Run, member: Status, revision: int) -> Fingerprint | None:
    """What the member says of its data at the saved revision, so that a copy of it can be compared one night."""
    question = deephaven.etcdctl(
        run.inventory,
        f"--endpoints={member.endpoint}",
        *etcdctl.HASHING,
        "endpoint",
        "hashkv",
        f"--rev={revision}",
        "-w",
        "json",
        why="hash of all data at the saved revision",
        deadline=LONG,
    )

    def read(answer: Result) -> Fingerprint | str:
        try:
            ((digest, compacted),) = etcdctl.parse_fingerprints(answer.stdout).values()
        except EtcdError:
            return answer.words
        return Fingerprint(revision, compacted, digest, member.version)

    found = run.ask({member: Question(question, read)})[member]
    if isinstance(found, str):
        run.warn(f"no hash of all data: {found}")
        return None
    return found


def fetch(terms: Terms, tonight: Tonight) -> list[Action]:
    """The save to this machine, beside its final name."""
    note = tonight.kept
    return [
        Fetch(
            terms.configuration_server,
            f"{staging(terms)}/snapshot.db",
            str(tonight.vault.part(note.taken)),
            "the save to this machine",
            note.sha256,
            note.bytes,
        )
    ]


def sweep(run: Run, tonight: Tonight) -> None:
    """However the backup ended: nothing stays on the host, no half file here. For the end of a run, so it never raises.

    Over connections of its own, since an interrupted fleet starts nothing any more.
    """
    run.journal.ending = True
    tonight.vault.clear_parts()
    if tonight.cleared:
        return
    try:
        with Fleet(run.inventory, run.journal, scale=run.options.timeout_scale, password=run.fleet.password) as fleet:
            fleet.run(clear(run.terms))
    except Refusal as refusal:
        run.journal.record("note", text=f"the next backup clears what is left: {refusal}")


def utc_now() -> datetime:
    return datetime.now(UTC)


# -- on the operator's machine -----------------------------------------------------------------------------------


@dataclass
class Tonight:
    """What the stages of one backup have established so far."""

    vault: Vault
    member: Status | None = None
    note: Manifest | None = None
    anew: Anew | None = None
    path: Path | None = None
    source: Source | None = None
    cleared: bool = False
    lacking: Refusal | None = None  # why `backup.also` was not archived

    def fields(self) -> dict[str, object]:
        """Of `summary.json`: the backup as it was read back is what a restore of it would give."""
        return Sources(source=self.source).fields(self.note.keys if self.note else None)

    @property
    def saved_from(self) -> Status:
        assert self.member is not None
        return self.member

    @property
    def kept(self) -> Manifest:
        assert self.note is not None
        return self.note

    @property
    def written(self) -> Path:
        assert self.path is not None
        return self.path


HERE = "this machine"


def the_configuration_server_answers(run: Run) -> None:
    """What it is like is kept: a slow sudo gets its time, a login that prints or a proxy is named."""
    program = deephaven.executable(run.inventory.deephaven.commands.etcdctl)
    found: dict[str, Probed] = {}
    become = run.inventory.transport.as_root

    def ask(machine: Machine) -> str | None:
        found[machine.name] = probed = machine.ask(probe.ask_host(machine.name, become))
        if probed.sudo.hinders:
            return probed.sudo.hinders
        return None if machine.see.file(program).exists else f"no {program}"

    run.prove(
        (run.terms.configuration_server,),
        f"takes commands as root without asking for a password ({shlex.join(become)}), and has the vendor's etcdctl",
        ask,
        "give the login NOPASSWD for the runbook's commands, or correct deephaven.commands in the inventory",
    )
    likeness.keep(run, found)


def the_save_is_up_to_date(run: Run, tonight: Tonight) -> None:
    before, saved = tonight.saved_from.revision, tonight.kept.revision
    run.settle(
        f"the save is at revision {before} or later",
        {run.terms.configuration_server: None if saved >= before else f"revision {saved}"},
        "run again; if it stays so, look at the member's journal",
    )


def place_in_history(run: Run, tonight: Tonight, saved: Manifest) -> None:
    """Gives the save its number, and marks it where its data began anew."""
    rows, accepted = files.noted(run.inventory), run.options.accepted.has(anew.WORD)
    tonight.note, tonight.anew = anew.placed(tonight.vault.numbered(saved), rows, accepted)


def note_whether_it_lives(run: Run, tonight: Tonight) -> None:
    """Where the run that made this cluster was never closed: whether people finished it, as keys tell that it did not
    write itself. The next recovery goes by it. The run's mark is not touched: that run may be under way right now."""
    token, server = tonight.kept.lineage.token, run.terms.configuration_server
    births = history.furthest(run.ask({server: history.ask_births(server, run.inventory.cluster)})[server])
    if token is None or token not in births or births[token].alive:
        return
    terms = beginning.of(run.terms, births[token])
    (began,) = run.ask({"began": beginning.ask(terms)}).values()
    if began is None:
        run.note(f"run {terms.mark.run} was never closed, and nobody can tell what it wrote itself")
        return
    try:
        (now,) = run.ask({"now": movement.ask_keys(run.inventory)}).values()
    except movement.UNTOLD as error:
        run.note(f"run {terms.mark.run} was never closed; whether its cluster lives is not known tonight: {error.what}")
        return
    own = beginning.probed(terms)
    found = began.restored_by_others(now.revision) or movement.written(began.own, now, own)
    if not found:
        tonight.note = replace(tonight.kept, alone=_is_alone(run, began, now, own))
    else:
        tonight.note = replace(tonight.kept, lived=True)
        run.last_words.append(
            f"Run {terms.mark.run} was never closed, but its cluster lives ({found}): this backup says so, and what is "
            f"lost from now on is a run of its own. To close it whole: pytest runbook/close --hosts={run.options.hosts}"
        )


def _is_alone(run: Run, began: Beginning, now: Keys, own: bytes) -> bool:
    """Whether nothing newer is there because nobody wrote: no key without a lease was deleted either."""
    if began.proven is not None:
        return movement.unleased(now, own) >= began.proven.unleased
    try:
        (before,) = run.ask({"before": movement.ask_keys(run.inventory, began.revision)}).values()
    except movement.UNTOLD:
        return False  # compacted, or too many
    return movement.changed(began.revision, before, now, own) is None


def it_is_no_other_history(run: Run, tonight: Tonight) -> None:
    """The backup is kept either way; what came before it goes only on the operator's word."""
    if tonight.anew is None:
        return
    if not tonight.kept.another:
        run.warn(f"accepted on your word, history: the cluster {tonight.anew}")
        return
    raise BackupError(
        run.inventory.cluster,
        f"{tonight.anew}. {tonight.written.name} is kept and marked as another history, which is never restored by "
        "itself; no old backup is removed",
        anew.ways(run.options.hosts, tonight.anew),
    )


def there_is_room_here(run: Run, tonight: Tonight) -> None:
    needed, free = tonight.kept.bytes + SPARE_BYTES, tonight.vault.free_bytes()
    run.settle(
        f"{tonight.vault.directory} has {needed:,} bytes free",
        {HERE: None if free >= needed else f"{free:,} bytes free"},
        "make room there, or keep fewer backups: snapshot.keep in the inventory",
    )


def the_part_is_whole(run: Run, tonight: Tonight) -> None:
    """Its own SHA-256, and the revision that etcd has read on the host. A bad part is removed; the manifest of
    a good one tells whether authentication was on."""
    part = tonight.vault.part(tonight.kept.taken)
    try:
        snapshot.verify(part)
        contents = bolt.read(part)
        found = None if contents.revision == tonight.kept.revision else f"revision {contents.revision}"
        if contents.authentication:
            tonight.note = replace(tonight.kept, authentication=contents.authentication.on)
            if was_on := anew.left_open(contents.authentication.on, tonight.kept.lineage, files.noted(run.inventory)):
                run.note(f"this backup: {was_on}")
    except (SnapshotError, bolt.BoltError) as error:
        found = error.what if isinstance(error, SnapshotError) else str(error)
    if found:
        part.unlink(missing_ok=True)
    run.settle(
        f"the save arrived whole, at revision {tonight.kept.revision}",
        {HERE: found},
        "run again; if it stays so, the member's disk or this one's is failing",
    )


def the_backup_is_whole(run: Run, tonight: Tonight) -> Source:
    """The final file and its manifest, read back from the disk; returns it as a source."""
    path = tonight.written
    candidate = files.of_file(path, Family())
    wrong = [candidate.problem] if candidate.problem else []
    if manifest.read(path) != tonight.kept:
        wrong.append("its manifest is not the one that was written")
    if not tonight.vault.has_modes:
        run.note(f"{path.parent} keeps no modes: who may read a backup there, is for that share to say")
    for place in (path, manifest.path_of(path)) if tonight.vault.has_modes else ():
        found = stat.S_IMODE(place.stat().st_mode)
        if found != 0o600:
            wrong.append(f"{place.name} has mode {found:o}, not 600")
    run.settle(
        f"{path.name} is whole, as its manifest says, and for its owner only",
        {HERE: "; ".join(wrong) or None},
        "do not rely on this backup: find out what happens on this machine's disk, then run again",
    )
    assert candidate.source is not None
    return candidate.source


def ask_up(inventory: Inventory, host: str) -> Question[tuple[str, ...]]:
    """Deephaven's processes that are up; none where monit cannot be understood."""
    asked = deephaven.ask_processes(inventory, host)

    def read(answer: Result) -> tuple[str, ...]:
        found = asked.understand([answer])
        return () if isinstance(found, str) else tuple(deephaven.up(found))

    return Question(asked.commands, read)


def keep_what_is_up(run: Run, tonight: Tonight) -> None:
    """No host needs to answer for a backup: of one that does not, what was kept before stays."""
    inventory, hosts, before = run.inventory, run.terms.deephaven_hosts, processes.last_up(run.inventory)
    found = run.fleet.each(hosts, lambda machine: machine.ask(ask_up(inventory, machine.name)))
    up = {}
    for host, names in found.items():
        if isinstance(names, tuple) and names:
            up[host] = names
            if gone := sorted(set(before.get(host, ())) - set(names)):
                run.note(f"{host}: not up any more, and expected no more: {', '.join(gone)}")
        elif isinstance(names, tuple | Refusal):
            why = f": {names.what}" if isinstance(names, Refusal) else ""
            run.note(f"{host}: which processes are up is not known tonight{why}")
        else:
            raise names
    tonight.vault.keep_processes(up)


def good_backups_are_left(run: Run, tonight: Tonight) -> None:
    left = tonight.vault.backups()
    wrong = [] if any(b.good and b.name == tonight.written.name for b in left) else ["tonight's is gone"]
    wrong += [f"{path.name} is half a file" for path in tonight.vault.parts()]
    for bad in (b for b in left if not b.good):
        run.note(f"{bad.name} is bad, and kept until it is past snapshot.keep.days")
    good = sum(b.good for b in left)
    run.note(f"{good} good {'backup is' if good == 1 else 'backups are'} kept")
    run.settle(
        "tonight's backup is there, and no half file",
        {HERE: "; ".join(wrong) or None},
        "see who else writes into that directory",
    )


def nothing_is_left(run: Run) -> None:
    def ask(machine: Machine) -> str | None:
        return machine.ask(ask_left(run.terms))

    run.prove((run.terms.configuration_server,), "nothing of the backup is left", ask, "remove that directory there")
