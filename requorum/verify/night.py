"""One night's proof: what its stages do and establish, and the `proof.json` that tells of it however it ended."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from requorum import version
from requorum.cluster import deephaven, sandbox
from requorum.cluster.etcd import Tools
from requorum.cluster.lineage import Lineage
from requorum.cluster.sandbox import Answers
from requorum.command import LIMITS, Result
from requorum.evidence.journal import EvidenceError, now
from requorum.evidence.redaction import redacted
from requorum.hosts.fleet import Fleet, Machine
from requorum.inventory import Inventory
from requorum.refusal import Refusal
from requorum.run import facts, history, lock, measured
from requorum.run.marker import Marker, MarkerError, Phase
from requorum.run.run import Run, Section
from requorum.snapshots import proven
from requorum.snapshots.manifest import Manifest
from requorum.snapshots.offsite import OffsiteError, Store
from requorum.snapshots.proven import Proven
from requorum.snapshots.ranking import Candidate
from requorum.snapshots.snapshot import Source
from requorum.snapshots.sources import Sources
from requorum.snapshots.vault import BackupError, UnderWayError, Vault
from requorum.verify import extract, live, newest, place, program, proof
from requorum.verify.live import Behind, Live
from requorum.verify.newest import Newest
from requorum.verify.place import Scratch
from requorum.verify.proof import Proof

T = TypeVar("T")
NEVER = "never measured"
HERE = "this machine"
MOST_HOURS = 7 * 24  # without a proof that are passed over
LOSS = "what was written since this backup is not in it; nothing is restored tonight"


@dataclass
class Night:
    """What the stages have established so far. `busy`: who has the backup directory; `refused`: why it cannot be used;
    `where`: role → the hosts that have its password, `silent`: host → why it does not tell; `weight`: the
    scheduler of the disk that scratch lies on."""

    held: ExitStack = field(default_factory=ExitStack)
    vault: Vault | None = None
    busy: str = ""
    refused: BackupError | None = None
    live: Live | str = "it was not asked"
    newest: Newest | None = None
    host: str = ""
    scratch: Scratch | None = None
    weight: str = ""
    tools: Tools | None = None
    roles: tuple[str, ...] = ()
    answers: Answers | None = None
    proofs: list[Proof] = field(default_factory=list)
    restore_seconds: float | None = None
    boot_seconds: float | None = None
    where: dict[str, list[str]] | None = None
    silent: dict[str, str] = field(default_factory=dict)
    placed: bool = False
    cleared: bool = False
    ended: bool = False

    @property
    def row(self) -> Candidate:
        return _there(self.newest).row

    @property
    def source(self) -> Source:
        return _there(self.row.source)

    @property
    def note(self) -> Manifest:
        return _there(self.row.note)

    @property
    def uncompared(self) -> tuple[str, ...]:
        return tuple(f"{one.proof} {one.found}" for one in self.proofs if one.held is None)

    @property
    def behind(self) -> Behind:
        note = self.newest.row.note if self.newest else None
        return live.behind(note, self.live) if note else Behind(None, "no backup with a manifest was found")

    def fields(self) -> dict[str, object]:
        """Of `summary.json`."""
        source = self.newest.row.source if self.newest else None
        return {
            "snapshot": Sources(source=source).fields()["snapshot"] if source else None,
            "unproven": list(self.uncompared),
            "data_loss": {"certain": None, "possible": self.behind.revisions, "why": LOSS},
        }


def _there(value: T | None) -> T:
    assert value is not None
    return value


@contextmanager
def opened(run: Run) -> Iterator[Night]:
    """The locked backup directory. However it ends, nothing stays on a host, and `proof.json` says what came of it."""
    night = Night()
    run.hand_in(Section(night.fields))
    with night.held:
        try:
            night.vault = Vault(run.inventory)
            night.held.enter_context(night.vault.locked())
        except UnderWayError as refusal:
            night.busy = refusal.what
        except BackupError as refusal:
            night.refused = refusal
        try:
            yield night
        finally:
            sweep(run, night)
            if not run.skipped:
                keep(run, night)


# -- whether, which, where ---------------------------------------------------------------------------------------


def nothing_else_is_under_way(run: Run, night: Night) -> None:
    """A backup or a recovery that is at work: then this night is passed over, which is no failure. Raises `Refusal`
    where that has gone on for too long."""
    if night.refused:
        raise night.refused
    busy = night.busy or _recovery(run)
    if not busy:
        return
    words, late = _last_proof(run.inventory, datetime.now(UTC))
    if late:
        raise Refusal(
            run.inventory.cluster,
            f"no further night is passed over: {busy}; {words}",
            "find out whether that is still at work (of a backup lslocks here shows the process), and end what nobody "
            "goes on with (docs/night.md#giving-a-run-up); then pytest runbook/verify --hosts=NAME",
        )
    run.skipped = f"{busy}; {words}"
    run.note(f"skipped: {run.skipped}")
    run.last_words.append(f"Skipped: {run.skipped}.")


def _last_proof(inventory: Inventory, now: datetime) -> tuple[str, bool]:
    """How old it is, or for how long there could have been one; and whether that is too long."""
    rows = newest.rows(inventory)
    if last := proven.last(Path(row.path) for row in rows):
        age = newest.hours(last.at, now)
        return f"the last proof is {age:.1f} h old", age > MOST_HOURS
    if not rows:
        return "nothing was proven yet", False
    age = max(newest.hours(row.taken, now) for row in rows)
    gone = min((row.note.number for row in rows if row.note), default=0) > 1  # the first ones were rotated away
    words = f"nothing was proven yet, and the oldest backup is {age:.1f} h old{', others before it are gone' * gone}"
    return words, gone or age > MOST_HOURS


def _recovery(run: Run) -> str:
    """Who is at work on the cluster, by its lock and by the mark of a run; "" where nobody is. A lock whose process has
    ended is none. Raises `MarkerError` for a mark that is not understood."""
    server, name = run.terms.configuration_server, run.inventory.cluster
    told = run.ask({server: history.ask_runs(server, name)})[server]
    at = lock.place(run.terms)
    holder = run.ask({at: lock.ask_holder(at, name)})[at]
    if holder is not None and not lock.is_gone(holder, lock.myself(), lock.born):
        return f"the cluster is locked by {holder}"
    mark = told.mark
    if isinstance(mark, MarkerError):
        raise mark
    begun = isinstance(mark, Marker) and mark.phase > Phase.OPEN and not mark.closed
    return f"run {mark.run} of {mark.by} is not finished" if isinstance(mark, Marker) and begun else ""


def the_newest_is_good(run: Run, night: Night) -> None:
    night.live = run.ask({"live": live.ask(run.inventory)})["live"]
    if isinstance(night.live, str):
        run.warn(f"the running cluster is not known: {night.live}")
    line = night.live.lineage if isinstance(night.live, Live) else None
    night.newest = _newest(run, night, line)
    refuse = newest.refusal_off_site if run.options.offsite else newest.refusal
    if stop := refuse(night.newest, night.live, datetime.now(UTC)):
        raise stop
    row = night.row
    told = night.behind
    lost = told.why if told.revisions is None else f"{told.revisions:,} revisions before the running cluster"
    run.settle(f"{row.path} is whole, and as its manifest says", {HERE: None}, "")
    run.note(f"{row.path}: revision {row.revision:,}, {row.bytes:,} bytes, taken {row.taken}; {lost}")
    undead = live.zombies(row, night.live)
    if undead and not isinstance(undead, str):
        run.warn(f"{row.path} has members that the running cluster does not know: {live.named(undead)}; {live.MENDS}")


def extract_prefix(run: Run, night: Night) -> None:
    if run.options.extract:
        extract.extract(run, night.row, night.live, run.options.extract)


def _newest(run: Run, night: Night, line: Lineage | None) -> Newest:
    if run.options.snapshot:
        return newest.named(run.inventory, Path(run.options.snapshot))
    if not run.options.offsite:
        return newest.choose(run.inventory, line)
    store = Store(run.inventory, run.options.timeout_scale)
    found = newest.off_site(store, night.held.enter_context(store.draft()))
    name, note = Path(found.row.path).name, found.row.note
    if line and note and not note.lineage.agrees(line):
        what = f"is of another cluster ({note.lineage}) than the one that runs ({line})"
        raise OffsiteError(name, what, "send one of this there: pytest runbook/backup --hosts=NAME")
    return found


def a_host_can_boot_it(run: Run, night: Night) -> None:
    night.host = place.chosen(run.inventory)
    place.may_boot(run, night.host, night.live)
    night.tools = place.tools(run, night.host)
    place.installed(run, night.host)
    night.scratch = place.scratch(run, night.host, night.source.bytes)
    run.note(f"{night.host}: etcd {night.tools.version}, {night.tools.restorer}; restored {night.scratch.why}")


# -- what is done ------------------------------------------------------------------------------------------------


def _gives_way(run: Run) -> None:
    """As things are right now. Raises `Refusal` where somebody has begun with the cluster meanwhile."""
    if busy := _recovery(run):
        raise Refusal(
            run.inventory.cluster, f"nothing more is booted beside that: {busy}", "verify again when that is over"
        )


def make_ready(run: Run, night: Night) -> None:
    server, client = run.terms.configuration_server, run.inventory.deephaven.client_config
    night.roles = tuple(sorted(facts.passwords(run, client, [server])[server]))
    night.placed = True
    run.do(program.clear(run.inventory))


def _booted(run: Run, night: Night, bump: int) -> tuple[Answers, Result]:
    """Restored and booted: what it said."""
    inventory, host, token = run.inventory, night.host, f"{program.KIND}-{run.mark.run}"
    _gives_way(run)
    if live.is_a_members(inventory, host):  # as things are right now
        place.may_boot(run, host, run.ask({"live": live.ask(inventory)})["live"])
    of = (night.source, night.note.revision, bump, night.roles, ("", *inventory.expect.prefixes))
    in_memory, scale = _there(night.scratch).in_memory, run.options.timeout_scale
    (answer,) = run.do([program.boot(inventory, host, token, *of, in_memory, scale)])
    answers = sandbox.parse(answer.stdout, answer.words, program.boots(token), host)
    killed = bool(answers.died and answers.died[1] == sandbox.NO_REASON)  # as by a machine without memory
    if (answers.hindered or killed) and not answers.logins:
        what = f"could not boot it, which says nothing of the backup: {answers.failed}"
        raise Refusal(host, what, HINDRANCE)
    return answers, answer


def boot_as_it_is(run: Run, night: Night) -> None:
    """Without bump or compaction mark, so that its hash and counts are those of the manifest's revision."""
    night.answers = answers = _booted(run, night, 0)[0]
    night.weight = answers.weight
    wanted, expect = ("", *run.inventory.expect.prefixes), run.inventory.expect
    night.proofs += proof.of_boot(answers, night.note, _there(night.tools).version, night.roles, wanted, expect)


def boot_as_recovered(run: Run, night: Night) -> None:
    """With the recovery's own flags; in passing, how long that takes."""
    bump = run.inventory.etcd.revision_bump if _there(night.tools).bumps else 0
    answers, told = _booted(run, night, bump)
    if any(answers.took):
        arrived, restored = (round(part / 1000, 2) for part in answers.took)
        night.restore_seconds, night.boot_seconds = restored, round(max(told.seconds - arrived - restored, 0), 2)
    night.proofs.append(proof.of_recovery(answers, night.note.revision + bump))


def holds(run: Run, night: Night, *names: str, remedy: str = "") -> None:
    """Settles these proofs, each a sentence of its own."""
    for one in night.proofs:
        if one.proof not in names:
            continue
        if one.held is None:
            run.warn(f"{one.proof}: {one.found}")
        elif one.held:
            run.note(f"{one.proof}: {one.found}")
        run.settle(one.expected, {night.host: one.found if one.held is False else None}, remedy or REMEDY)


HINDRANCE = (
    "see to that machine's memory and disk, or name another one as verify.host in the inventory; then verify again"
)
REMEDY = "do not rely on this backup: make another (pytest runbook/backup), and find out what happened to this one"
PASSWORDS = (
    "a recovery from this backup would stop there: where the password was changed after the backup, make another one "
    "now (pytest runbook/backup); else put the right password there on every Deephaven host"
)


def where_passwords_are(run: Run, night: Night) -> None:
    """On which machines each role's password lies: whether the loss of one would lock everybody out."""
    client = run.inventory.deephaven.client_config

    def look(machine: Machine) -> tuple[str, ...]:
        found = machine.ask(deephaven.ask_owners(machine.name, client))
        return tuple(found)

    night.where = {}
    for host, told in run.fleet.each(run.terms.deephaven_hosts, look).items():
        if isinstance(told, tuple):
            for role in told:
                night.where.setdefault(role, []).append(host)
        elif isinstance(told, Refusal):
            night.silent[host] = told.what
        else:
            raise told
    run.note(proof.alone(night.where))


def it_is_not_old(run: Run, night: Night) -> None:
    age = newest.hours(night.note.taken, datetime.now(UTC))
    if run.options.snapshot:
        run.note(f"{age:.1f} h old; you named it, so its age is your choice")
        return
    night.proofs.append(proof.of_age(age, run.inventory.snapshot.max_age_hours))
    holds(run, night, proof.AGE, remedy="find out why no newer backup was made: journalctl -u requorum-backup")


def clear(run: Run, night: Night) -> None:
    run.do(program.clear(run.inventory))
    night.cleared = True


def nothing_is_left(run: Run, night: Night) -> None:
    def probe(machine: Machine) -> str | None:
        return machine.ask(program.ask_left(run.inventory, machine.name))

    run.prove(program.hosts(run.inventory), "nothing of the proof is left", probe, "remove that directory there")


def note_it(run: Run, night: Night) -> None:
    """Beside the manifest, so that the next look at the backups knows it."""
    path, tools = Path(night.row.path), _there(night.tools)
    told = Proven(night.source.sha256, now(), night.host, tools.version, run.mark.run, night.uncompared)
    run.touched.append(HERE)
    vault = _there(night.vault)
    try:
        if not run.options.offsite:
            run.note(str(vault.keep_proof(path, told)))
        elif (own := vault.holding(night.source.sha256)) is not None:
            run.note(str(vault.keep_proof(own, told)))  # the same bytes
    except OSError as error:
        what = f"the proof cannot be noted beside {path.name}: {error.strerror}"
        raise BackupError(str(path.parent), what, "mend that, then run again") from None
    took = recovery(run, night)
    seconds = took["seconds"]
    run.last_words.append(
        f"Verified: {f'{path.name} from off-site' if run.options.offsite else path} boots, and lets {len(night.roles)} "
        "roles in. A recovery from it: "
        + (f"about {seconds:.0f} s." if isinstance(seconds, float) else f"not estimated, copies were {NEVER}.")
    )
    run.last_words += [f"Not proven: {sentence}." for sentence in night.uncompared]
    night.ended = True


def sweep(run: Run, night: Night) -> None:
    """However it ended: nothing stays on a host. For the end of a run, so it never raises, and over connections of its
    own, since an interrupted fleet starts nothing any more."""
    if not night.placed or night.cleared:
        return
    run.journal.ending = True
    try:
        with Fleet(run.inventory, run.journal, scale=run.options.timeout_scale, password=run.fleet.password) as fleet:
            fleet.run(program.clear(run.inventory))
    except Refusal as refusal:
        run.journal.record("note", text=f"the next proof clears what is left: {refusal}")


# -- what is told of it ------------------------------------------------------------------------------------------


def keep(run: Run, night: Night) -> None:
    """`proof.json` beside the journal, which has all of it as a record too. For the end of a run: it never raises."""
    content = document(run, night)
    try:
        run.journal.record("proof", proof=content)
        run.journal.keep("proof.json", json.dumps(redacted(content), indent=2, ensure_ascii=False))
    except EvidenceError as error:
        run.last_words.append(f"proof.json was not written: {error.what}.")


def document(run: Run, night: Night) -> dict[str, object]:
    failed = any(one.held is False for one in night.proofs)
    recoverable = night.ended and not failed
    can, cannot = proof.who_can(night.answers) if night.answers else ((), {})
    return {
        "schema": 1,
        "cluster": run.inventory.cluster,
        "run": run.mark.run,
        "at": now(),
        "recoverable": recoverable,
        "why": proof.why(night.proofs, run.failed or ("" if night.ended else "it did not come to its end")),
        "host": night.host or None,
        "snapshot": _snapshot(night),
        "newest_good": _good(night),
        "behind": behind(night),
        "recovery": recovery(run, night),
        "versions": {
            "requorum": version.told(),
            "backup": night.row.note.etcd if night.newest and night.row.note else None,
            "host": night.tools.version if night.tools else None,
            "running": list(night.live.versions) if isinstance(night.live, Live) else None,
        },
        "logins": {"can": list(can), "cannot": cannot},
        "passwords": passwords(night),
        "limits": [*LIMITS, f"upload {run.inventory.verify.rate} MB/s"],
        "scratch": scratch(night),
        "zombie_members": zombies(night),
        "proofs": [one.fields() for one in night.proofs],
    }


HEED = ("bfq", "io.cost")  # IOWeight


def scratch(night: Night) -> dict[str, object] | None:
    """Where it was restored; and whether the disk's scheduler heeded its claim, null where no disk took part."""
    if night.scratch is None:
        return None
    heeds = night.weight in HEED
    told = f"{'heeded' if heeds else 'not heeded'}: the disk's scheduler is {night.weight}" if night.weight else None
    return {"memory": night.scratch.in_memory, "why": night.scratch.why, "io_weight": told}


def _snapshot(night: Night) -> dict[str, object] | None:
    if night.newest is None:
        return None
    row, note = night.row, night.row.note
    told = {"revision": row.revision, "bytes": row.bytes, "keys": row.keys, "taken": row.taken, "problem": row.problem}
    return {"file": row.path, "sha256": row.source.sha256 if row.source else note.sha256 if note else None, **told}


def _good(night: Night) -> dict[str, object] | None:
    """The newest that is good, where it is not the newest."""
    good = night.newest.good if night.newest else None
    if good is None or good is night.row:
        return None
    return {
        "file": good.path,
        "taken": good.taken,
        "hours": newest.hours(good.taken, datetime.now(UTC)),
        "revision": good.revision,
    }


def behind(night: Night) -> dict[str, object]:
    """What is between the newest backup and the running cluster, as it was asked in this run."""
    note = night.newest.row.note if night.newest else None
    hours = newest.hours(note.taken, datetime.now(UTC)) if note else None
    return {"hours": hours, "revisions": night.behind.revisions, "why": night.behind.why or None}


def zombies(night: Night) -> dict[str, object]:
    """Members that only the backup's own list has; null with `why` where that cannot be told."""
    found = live.zombies(night.newest.row if night.newest else None, night.live)
    if isinstance(found, str):
        return {"members": None, "why": found}
    return {"members": [asdict(one) for one in found], "why": None}


def recovery(run: Run, night: Night) -> dict[str, object]:
    """How long a recovery would take by what was measured: copy, restore and boot; null where one never was."""
    rate = measured.last_rate(run.journal.directory.parent, run.journal.directory)
    size = night.row.bytes if night.newest else None
    carried = size * len(run.inventory.members) if size else 0
    copying = round(carried / rate.bytes_per_second, 2) if rate and carried else None
    parts = (copying, night.restore_seconds, night.boot_seconds)
    known = [part for part in parts if part is not None]
    return {
        "seconds": round(sum(known), 2) if len(known) == len(parts) else None,
        "copy_seconds": copying,
        "restore_seconds": night.restore_seconds,
        "boot_seconds": night.boot_seconds,
        "bytes_per_second": rate.bytes_per_second if rate else None,
        "measured": f"{rate.what} ({rate.evidence})" if rate else NEVER,
    }


def passwords(night: Night) -> Mapping[str, object]:
    known = night.where is not None
    return {
        "where": {role: sorted(hosts) for role, hosts in sorted((night.where or {}).items())} if known else None,
        "unknown": night.silent,
        "why": proof.alone(night.where or {}) if known else "it was not asked",
    }
