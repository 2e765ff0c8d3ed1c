"""Tonight's backup sent away: encrypted once it is verified, and read back before that counts."""

from __future__ import annotations

import hashlib
import os
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from requorum.command import Fetch
from requorum.hosts import line
from requorum.hosts.fleet import FleetError
from requorum.hosts.line import LineError
from requorum.hosts.packed import ENC
from requorum.run.run import Run
from requorum.snapshots import offsite
from requorum.snapshots.backup import HERE, Tonight, utc_now
from requorum.snapshots.manifest import Sealed
from requorum.snapshots.offsite import OffsiteError, Sent, Store
from requorum.snapshots.unpacked import SPARE_BYTES
from requorum.snapshots.vault import also_of

ALONE = "this backup lies on this machine alone: the inventory has no offsite.put"
KEPT = "the backup on this machine is good all the same"


MOST_ALSO = 1 << 30  # bytes of `backup.also`


def archive_also(run: Run, tonight: Tonight) -> None:
    """`backup.also` of the configuration server, encrypted on its way, beside the backup and tied to it."""
    paths, path = run.inventory.backup.also, tonight.written
    if not paths:
        return
    final = also_of(path)
    part = final.with_name(f"{final.name}.part")
    through = line.words(run.inventory.snapshot.encrypt or "")
    why = f"{', '.join(paths)}, encrypted here"
    run.touched.append(HERE)
    fetch = Fetch(run.terms.configuration_server, "backup.also", str(part), why, "", MOST_ALSO, paths, through)
    try:
        run.do([fetch])
    except FleetError as error:  # the snapshot is sent away all the same; then this is the night's failure
        tonight.lacking = error
        run.warn(f"backup.also was not archived: {error.what}")
        return
    with part.open("rb") as file:
        os.fsync(file.fileno())
        if is_clear(file.read(512)):
            part.unlink()
            raise OffsiteError("snapshot.encrypt", f"gives in clear what it is given; {KEPT}", "correct that line")
        file.seek(0)
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    part.replace(final)
    tonight.note = replace(tonight.kept, also=Sealed(final.name, digest, final.stat().st_size))
    tonight.vault.keep_note(path, tonight.note)
    run.note(f"{final.name}: {final.stat().st_size:,} bytes")


def is_clear(head: bytes) -> bool:
    """Whether these are an archive's first bytes."""
    return head[257:262] == b"ustar"


def away(run: Run, tonight: Tonight) -> None:
    """Encrypts what was verified, ties its SHA-256 to that in the manifest, and puts both there, the manifest last."""
    inventory = run.inventory
    if not inventory.offsite.put:
        run.note(ALONE)
        return
    run.touched.append(HERE)
    store = Store(inventory, run.options.timeout_scale)
    path = tonight.written
    draft = path.with_name(f"{path.name}.{ENC}.part") if inventory.snapshot.encrypt else path
    try:
        plain = Sealed(path.name, tonight.kept.sha256, tonight.kept.bytes)
        sealed = plain if draft == path else _encrypted(run, path, draft, plain.sha256)
        tonight.note = replace(tonight.kept, sealed=sealed)
        note = tonight.vault.keep_note(path, tonight.note)
        store.put(draft, sealed.name)
        if tonight.kept.also:
            store.put(also_of(path), tonight.kept.also.name)
        store.put(note, offsite.note_of(sealed.name))
    finally:
        if draft != path:
            draft.unlink(missing_ok=True)
    run.note(f"{sealed.name}: {sealed.bytes:,} bytes, SHA-256 {sealed.sha256}")


def _encrypted(run: Run, path: Path, draft: Path, sha256: str) -> Sealed:
    """A file of ours beside the backup, of the very bytes that were verified."""
    size = path.stat().st_size
    room = os.statvfs(path.parent)
    if room.f_bavail * room.f_frsize < size + SPARE_BYTES:
        what = f"has no {size + SPARE_BYTES:,} bytes free for an encrypted copy; {KEPT}"
        raise OffsiteError(str(path.parent), what, "make room there: snapshot.keep in the inventory")
    sha = hashlib.sha256()
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    try:
        asked = offsite.sealing(run.inventory, size, run.options.timeout_scale)
        with os.fdopen(descriptor, "wb") as file, closing(line.blocks(asked, path)) as blocks:
            for block in blocks:
                sha.update(block)
                file.write(block)
            file.flush()
            os.fsync(file.fileno())
            size = file.tell()
    except LineError as error:
        raise OffsiteError("snapshot.encrypt", f"{error}; {KEPT}, but not sent away", offsite.WORKS) from None
    except OSError as error:
        raise OffsiteError(str(draft), f"cannot be written: {error.strerror}; {KEPT}", "mend that") from None
    if sha.hexdigest() == sha256:
        what = f"gave the very bytes that it was given; {KEPT}, and was not sent away in clear"
        raise OffsiteError("snapshot.encrypt", what, "correct that line: it encrypts nothing")
    return Sealed(f"{path.name}.{ENC}", sha.hexdigest(), size)


def it_lies_there(run: Run, tonight: Tonight) -> None:
    """Snapshot and manifest read back whole, by their SHA-256; only then it counts as off-site."""
    if run.inventory.offsite.put and tonight.kept.sealed:
        _read_back(run, tonight, tonight.kept.sealed)
    if tonight.lacking:
        raise tonight.lacking


def _read_back(run: Run, tonight: Tonight, sealed: Sealed) -> None:
    path = tonight.written
    store = Store(run.inventory, run.options.timeout_scale)
    with store.draft() as room:
        sent = [one for one in (sealed, tonight.kept.also) if one]
        found = {one: store.get(one.name, room / one.name, one.bytes)[0] for one in sent}
        back = store.note(sealed.name, room)
    wrong = [f"{one.name} has SHA-256 {sha}, not {one.sha256}" for one, sha in found.items() if sha != one.sha256]
    wrong += [] if back == tonight.kept else [f"{offsite.note_of(sealed.name)} is another one than was sent"]
    run.settle(
        f"{sealed.name} and its manifest were read back from off-site as they were sent",
        {HERE: "; ".join(wrong) or None},
        f"{KEPT}; find out who writes there, or what offsite.put does, then: pytest runbook/backup --hosts=NAME",
    )
    at = utc_now().isoformat(timespec="seconds").replace("+00:00", "Z")
    tonight.vault.keep_sent(path, Sent(sealed.name, sealed.sha256, at, run.mark.run).text())
    run.last_words.append(f"Sent away: {sealed.name}, read back.")
