"""Proofs about a backup: the way there, the save on its host, the file on the operator's machine."""

from __future__ import annotations

import stat

from requorum.cluster import deephaven
from requorum.command import look
from requorum.hosts.fleet import Machine
from requorum.run.run import Run
from requorum.snapshots import backup, bolt, catalogue, manifest, snapshot
from requorum.snapshots.backup import Tonight
from requorum.snapshots.family import Family
from requorum.snapshots.snapshot import SnapshotError, Source

HERE = "this machine"
SPARE_BYTES = 64 * 1024 * 1024  # the evidence and whatever else lives on that disk


def the_configuration_server_answers(run: Run) -> None:
    program = deephaven.executable(run.inventory.deephaven.commands.etcdctl)

    def probe(machine: Machine) -> str | None:
        result = machine.ask(look(machine.name, "true", why="sudo works without a password"))
        if result.code != 0:
            return f"sudo refused: {result.words}"
        return None if machine.see.file(program).exists else f"no {program}"

    run.prove(
        (run.terms.configuration_server,),
        "takes commands as root without asking for a password (sudo -n), and has the vendor's etcdctl",
        probe,
        "give the login NOPASSWD for the runbook's commands, or correct deephaven.commands in the inventory",
    )


def the_save_is_up_to_date(run: Run, tonight: Tonight) -> None:
    before, saved = tonight.saved_from.revision, tonight.kept.revision
    run.settle(
        f"the save is at revision {before} or later",
        {run.terms.configuration_server: None if saved >= before else f"revision {saved}"},
        "run again; if it stays so, look at the member's journal",
    )


def there_is_room_here(run: Run, tonight: Tonight) -> None:
    needed, free = tonight.kept.bytes + SPARE_BYTES, tonight.vault.free_bytes()
    run.settle(
        f"{tonight.vault.directory} has {needed:,} bytes free",
        {HERE: None if free >= needed else f"{free:,} bytes free"},
        "make room there, or keep fewer backups: snapshot.keep in the inventory",
    )


def the_part_is_whole(run: Run, tonight: Tonight) -> None:
    """Its own SHA-256, and the revision that etcd has read on the host. A bad part is removed."""
    part = tonight.vault.part(tonight.kept.taken)
    try:
        snapshot.verify(part)
        revision = bolt.read(part).revision
        found = None if revision == tonight.kept.revision else f"revision {revision}"
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
    candidate = catalogue.of_file(path, Family())
    wrong = [candidate.problem] if candidate.problem else []
    if manifest.read(path) != tonight.kept:
        wrong.append("its manifest is not the one that was written")
    for place, mode in ((path, 0o600), (manifest.path_of(path), 0o600), (path.parent, 0o700)):
        found = stat.S_IMODE(place.stat().st_mode)
        if found != mode:
            wrong.append(f"{place.name} has mode {found:o}, not {mode:o}")
    run.settle(
        f"{path.name} is whole, as its manifest says, and for its owner only",
        {HERE: "; ".join(wrong) or None},
        "do not rely on this backup: find out what happens on this machine's disk, then run again",
    )
    assert candidate.source is not None
    return candidate.source


def good_backups_are_left(run: Run, tonight: Tonight) -> None:
    left = tonight.vault.backups()
    wrong = [] if any(b.good and b.name == tonight.written.name for b in left) else ["tonight's is gone"]
    wrong += [f"{path.name} is half a file" for path in tonight.vault.parts()]
    for bad in (b for b in left if not b.good):
        run.note(f"{bad.name} is bad, and kept until it is past snapshot.keep.days")
    run.note(f"{sum(b.good for b in left)} good backups are kept")
    run.settle(
        "tonight's backup is there, and no half file",
        {HERE: "; ".join(wrong) or None},
        "see who else writes into that directory",
    )


def nothing_is_left(run: Run) -> None:
    def probe(machine: Machine) -> str | None:
        return machine.ask(backup.ask_left(run.terms)).stdout.strip() or None

    run.prove((run.terms.configuration_server,), "nothing of the backup is left", probe, "remove that directory there")
