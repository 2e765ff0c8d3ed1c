"""Tonight's backup sent away: verified, then encrypted, and read back before it counts."""

from __future__ import annotations

import hashlib
import io
import stat
import tarfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from requorum.command import Fetch
from requorum.hosts import line
from requorum.hosts.fleet import FleetError
from requorum.hosts.stream import fan_out
from requorum.inventory import Backup, Inventory
from requorum.refusal import Disproved
from requorum.run.run import Run
from requorum.snapshots import manifest, offsite, sending, snapshot
from requorum.snapshots.backup import Tonight
from requorum.snapshots.offsite import OffsiteError
from requorum.snapshots.vault import Vault
from requorum.troubleshoot import sudoers
from tests.unit import build
from tests.unit.snapshots.test_bolt import database
from tests.unit.snapshots.test_offsite import SECRET, Remote
from tests.unit.verify.nights import noted


class Told:
    """What `sending` uses of a run."""

    def __init__(self, inventory: Inventory) -> None:
        self.inventory = inventory
        self.options, self.mark = SimpleNamespace(timeout_scale=1.0), SimpleNamespace(run="r-1")
        self.touched: list[str] = []
        self.notes: list[str] = []
        self.last_words: list[str] = []
        self.note = self.notes.append

    def settle(self, claim: str, findings: dict[str, Any], remedy: str) -> None:
        if wrong := {host: found for host, found in findings.items() if found}:
            raise Disproved(claim, wrong, remedy)


def night(inventory: Inventory) -> tuple[Run, Tonight]:
    """A backup that was verified just now."""
    vault = Vault(inventory)
    vault.directory.mkdir(exist_ok=True)
    note = noted(27)
    part = build.snapshot(vault.directory, vault.part(note.taken).name, database([1, 10]) + SECRET.ljust(512, b"."))
    whole = snapshot.verify(part)
    note = noted(27, sha256=whole.sha256, bytes=whole.bytes)
    tonight = Tonight(vault, note=note, path=vault.keep(note))
    return cast("Run", Told(inventory)), tonight


@pytest.fixture
def remote(tmp_path: Path) -> Remote:
    return Remote(tmp_path)


def names(place: Path) -> list[str]:
    return sorted(path.name for path in place.iterdir())


def test_it_is_encrypted_sent_with_its_manifest_and_counts_once_it_was_read_back(remote: Remote) -> None:
    run, tonight = night(remote.inventory())
    sending.away(run, tonight)
    path = tonight.written
    assert names(remote.place) == [f"{path.name}.enc", f"{path.name}.json"]
    sealed = tonight.kept.sealed
    there = (remote.place / f"{path.name}.enc").read_bytes()
    assert sealed and sealed.sha256 == hashlib.sha256(there).hexdigest() and sealed.bytes == len(there)
    assert SECRET not in there and manifest.read(path) == tonight.kept
    assert offsite.sent(path) is None and run.last_words == []
    sending.it_lies_there(run, tonight)
    told = offsite.sent(path)
    assert told and (told.name, told.sha256, told.run) == (sealed.name, sealed.sha256, "r-1")
    assert names(tonight.vault.directory) == [path.name, f"{path.name}.json", f"{path.name}.offsite.json"]


def test_without_a_line_it_is_said_that_it_lies_here_alone(remote: Remote) -> None:
    inventory = remote.inventory()
    run, tonight = night(inventory.model_copy(update={"offsite": inventory.offsite.model_copy(update={"put": None})}))
    sending.away(run, tonight)
    sending.it_lies_there(run, tonight)
    assert cast("Any", run).notes == [sending.ALONE] and names(remote.place) == []


def test_without_encryption_the_file_itself_is_sent(remote: Remote) -> None:
    run, tonight = night(remote.inventory(encrypt=None, decrypt=None))
    sending.away(run, tonight)
    sending.it_lies_there(run, tonight)
    assert (remote.place / tonight.written.name).read_bytes() == tonight.written.read_bytes()
    assert offsite.sent(tonight.written)


@pytest.mark.parametrize("program", ["false", "/nowhere/at-all", "cat", "sh -c 'cat; exit 1'", "yes"])
def test_what_does_not_encrypt_sends_nothing_and_leaves_nothing_but_the_good_backup(
    remote: Remote, program: str
) -> None:
    run, tonight = night(remote.inventory(encrypt=program))
    with pytest.raises(OffsiteError, match="the backup on this machine is good all the same"):
        sending.away(run, tonight)
    assert names(remote.place) == [] and offsite.sent(tonight.written) is None
    assert names(tonight.vault.directory) == [tonight.written.name, f"{tonight.written.name}.json"]


def test_what_arrived_otherwise_does_not_count(remote: Remote) -> None:
    run, tonight = night(remote.inventory())
    sending.away(run, tonight)
    path = remote.place / f"{tonight.written.name}.enc"
    data = path.read_bytes()
    path.write_bytes(data[:-1] + b"x")
    with pytest.raises(Disproved, match="were read back from off-site as they were sent"):
        sending.it_lies_there(run, tonight)
    path.write_bytes(data)
    (remote.place / f"{tonight.written.name}.json").write_text(noted(27).text())
    with pytest.raises(Disproved, match="another one than was sent"):
        sending.it_lies_there(run, tonight)
    assert offsite.sent(tonight.written) is None


def test_what_a_killed_one_left_goes_with_the_next_backup_and_a_rotation_takes_the_note_too(remote: Remote) -> None:
    run, tonight = night(remote.inventory())
    sending.away(run, tonight)
    sending.it_lies_there(run, tonight)
    vault = tonight.vault
    (vault.directory / f"{tonight.written.name}.enc.part").write_bytes(b"x")
    (vault.directory / ".offsite-x").mkdir()
    (vault.directory / ".offsite-x" / "y").write_bytes(b"x")
    vault.clear_parts()
    assert names(vault.directory) == [
        tonight.written.name,
        f"{tonight.written.name}.json",
        f"{tonight.written.name}.offsite.json",
    ]


def archiving(remote: Remote, tmp_path: Path, **snapshot: object) -> tuple[Run, Tonight]:
    """A night whose configuration server is this machine, and what else belongs to a backup."""
    there = tmp_path / "etc"
    there.mkdir()
    (there / "secret").write_bytes(SECRET)
    of = remote.inventory(**snapshot).model_copy(update={"backup": Backup(also=(str(there),))})
    run, tonight = night(of)

    def do(actions: list[Fetch]) -> None:
        (fetch,) = actions
        fan_out(fetch.reads().argv, {"this machine": fetch.writes()}, 30, most=fetch.bytes)

    cast("Any", run).do = do
    cast("Any", run).warn = cast("Any", run).notes.append
    cast("Any", run).terms = SimpleNamespace(configuration_server="infra-1")
    return run, tonight


def test_what_else_belongs_to_a_backup_is_encrypted_on_its_way_and_goes_where_that_goes(
    remote: Remote, tmp_path: Path
) -> None:
    run, tonight = archiving(remote, tmp_path)
    sending.archive_also(run, tonight)
    sending.away(run, tonight)
    sending.it_lies_there(run, tonight)
    path, also = tonight.written, tonight.kept.also
    assert also and also.name == f"{path.name}.also.enc" and manifest.read(path) == tonight.kept
    archive = (path.parent / also.name).read_bytes()
    assert stat.S_IMODE((path.parent / also.name).stat().st_mode) == 0o600
    assert SECRET not in archive and (remote.place / also.name).read_bytes() == archive
    decrypt = line.Line(line.words(run.inventory.snapshot.decrypt or ""), 30, 1 << 20)
    with tarfile.open(fileobj=io.BytesIO(line.run(decrypt, path.parent / also.name))) as plain:
        assert f"{str(tmp_path).lstrip('/')}/etc/secret" in plain.getnames()
    (remote.place / also.name).write_bytes(archive[:-1] + b"x")
    with pytest.raises(Disproved, match="as they were sent"):
        sending.it_lies_there(run, tonight)


def test_it_is_kept_nowhere_in_clear(remote: Remote, tmp_path: Path) -> None:
    run, tonight = archiving(remote, tmp_path, encrypt="cat")
    with pytest.raises(OffsiteError, match="gives in clear what it is given"):
        sending.archive_also(run, tonight)
    assert not [path for path in tonight.vault.directory.iterdir() if ".also" in path.name]
    with pytest.raises(ValueError, match=r"needs snapshot\.encrypt"):
        build.inventory(backup={"also": ["/etc/sysconfig/deephaven"]})
    for path in ("/", "/proc/1", "etc"):
        with pytest.raises(ValueError, match=r"backup\.also|absolute"):
            build.inventory(backup={"also": [path]}, snapshot={"encrypt": "age"})


def test_where_it_cannot_be_made_the_backup_is_sent_away_and_the_night_has_failed(
    remote: Remote, tmp_path: Path
) -> None:
    run, tonight = archiving(remote, tmp_path)

    def fails(_: object) -> None:
        raise FleetError("infra-1", "tar: etc/x: Cannot stat", "look there")

    cast("Any", run).do = fails
    sending.archive_also(run, tonight)
    sending.away(run, tonight)
    with pytest.raises(FleetError, match="Cannot stat"):
        sending.it_lies_there(run, tonight)
    assert offsite.sent(tonight.written)


def test_its_line_of_sudoers_is_word_for_word() -> None:
    of = build.inventory(backup={"also": ["/etc/sysconfig/deephaven"]}, snapshot={"encrypt": "age"})
    fetch = Fetch("infra-1", "backup.also", "/x", "why", "", 1, of.backup.also, ("age",))
    (need,) = (need for need in sudoers.needed(of, purpose="backup") if "sysconfig/deephaven" in need.arguments)
    assert "*" not in need.arguments and sudoers.unlisted(of, [fetch.reads().line()]) == []
    assert not [need for need in sudoers.needed(build.inventory()) if "--directory=/ " in need.arguments]
