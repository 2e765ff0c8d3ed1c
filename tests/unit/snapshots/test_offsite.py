"""What lies off-site: read as a list, brought as its manifest says, and in clear in pipes alone."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from requorum.cluster.lineage import Lineage
from requorum.hosts import line, packed
from requorum.hosts.stream import StreamError, fan_out
from requorum.inventory import Inventory
from requorum.recovery import drill
from requorum.snapshots import files, manifest, offsite, rotation, snapshot, vault
from requorum.snapshots.family import Family
from requorum.snapshots.manifest import Manifest, Sealed
from requorum.snapshots.offsite import OffsiteError, Store, There
from requorum.verify import newest
from tests.unit import build
from tests.unit.snapshots.test_bolt import database

STAMP = "2026-11-27T023000Z"
NAME = f"lab-{STAMP}.snap"
ENC = f"{NAME}.enc"
SECRET = b"the key under which Deephaven's secrets lie"


class Remote:
    """A directory elsewhere, lines that reach it, and a key of which the lines know only the file."""

    def __init__(self, tmp_path: Path) -> None:
        self.place, self.here, self.key = tmp_path / "remote", tmp_path / "here", tmp_path / "key"
        self.place.mkdir()
        self.key.write_text("correct horse\n")

    def inventory(self, **snapshot: object) -> Inventory:
        cipher = f"openssl enc -aes-256-cbc -pbkdf2 -iter 10 -pass file:{shlex.quote(str(self.key))}"
        lines = {"encrypt": cipher, "decrypt": f"{cipher} -d"}
        where = shlex.quote(str(self.place))
        away = {"put": f"cp {{file}} {where}/{{name}}", "get": f"cat {where}/{{name}}", "list": f"ls -1 {where}"}
        return build.inventory(snapshot={"directory": str(self.here), **lines, **snapshot}, offsite=away)

    def keeps(self, at: str = STAMP, number: int = 1, **of: object) -> Manifest:
        """A backup of that time, encrypted, with its manifest."""
        name = f"lab-{at}.snap"
        plain = build.snapshot(self.place, name, database([1, 10]) + SECRET.ljust(512, b"."))
        whole = snapshot.verify(plain)
        taken = f"{at[:13]}:{at[13:15]}:{at[15:17]}Z"
        note = Manifest(
            "lab", whole.sha256, whole.bytes, Lineage("old", 7), 0, 10, 3, "3.5.16", taken, "m", number=number
        )
        inventory = self.inventory()
        sealed = self.place / f"{name}.enc"
        asked = offsite.sealing(inventory, whole.bytes, 1)
        sealed.write_bytes(b"".join(line.blocks(asked, plain)))
        plain.unlink()
        digest = hashlib.sha256(sealed.read_bytes()).hexdigest()
        note = replace(note, **{"sealed": Sealed(sealed.name, digest, sealed.stat().st_size), **of})  # type: ignore[arg-type]
        (self.place / f"{name}.json").write_text(note.text())
        return note


@pytest.fixture
def remote(tmp_path: Path) -> Remote:
    return Remote(tmp_path)


def brought(inventory: Inventory) -> tuple[list[str], list[str]]:
    """What is told, and what one is warned of."""
    told: list[str] = []
    warned: list[str] = []
    offsite.bring(inventory, 1, told.append, warned.append, datetime(2026, 11, 29, tzinfo=UTC))
    return told, warned


def test_a_list_gives_the_newest_first_and_nothing_that_is_no_plain_name() -> None:
    rows = [NAME, f"{NAME}.json", "lab-2026-11-28T023000Z.snap.enc", "lab-2026-11-28T023000Z.snap.json", "../x", "a b"]
    rows += ["-rf", "lab-eu-2026-11-28T023000Z.snap", "lab-2026-11-29T023000Z.snap", "notes.txt", "sub/", "\x1b[2J", ""]
    found = offsite.read("\n".join(rows), "lab")
    assert found.names == ("lab-2026-11-28T023000Z.snap.enc", NAME)
    assert found.bare == ("lab-2026-11-29T023000Z.snap",)
    assert found.odd == 5 and found.others == 2


@given(st.lists(st.text(max_size=60), max_size=20))
def test_whatever_a_list_says_only_plain_names_of_this_cluster_come_of_it(rows: Sequence[str]) -> None:
    found = offsite.read("\n".join(rows), "lab")
    assert all(offsite.PLAIN.fullmatch(name) and name.startswith("lab-") for name in (*found.names, *found.bare))


def test_where_the_directory_is_lost_the_newest_is_brought_and_stays_encrypted(remote: Remote) -> None:
    remote.keeps("2026-11-26T023000Z", 1)
    note, inventory = remote.keeps(number=2), remote.inventory()
    told, warned = brought(inventory)
    assert warned == [] and told[0].startswith(str(remote.here / ENC))
    assert sorted(path.name for path in remote.here.iterdir()) == [ENC, f"{NAME}.json"]
    assert not [path for path in remote.here.rglob("*") if SECRET in path.read_bytes()]
    (row,) = (row for row in files.of_files(inventory, None, Family()) if row.kind == "file")
    assert row.source and row.source.packed == packed.ENC and row.source.sha256 == note.sha256
    assert row.revision == 10 and row.lineage == Lineage("old", 7) and row.note == note
    assert files.by_sha256(inventory, note.sha256) == row.source  # a run that is carried on finds it again
    assert brought(inventory) == (["off-site: 2 backups, of which none is newer than those in " + str(remote.here)], [])


def test_it_is_streamed_in_clear_to_where_it_is_wanted_and_nowhere_else(remote: Remote, tmp_path: Path) -> None:
    note, inventory = remote.keeps(), remote.inventory()
    brought(inventory)
    opens = line.words(inventory.snapshot.decrypt or "")
    sinks = {"etcd-1": ("dd", f"of={tmp_path}/member", "status=none")}
    found = fan_out(remote.here / ENC, sinks, 30, kind=packed.ENC, decrypt=opens, most=note.bytes)
    assert found[:2] == (note.sha256, note.bytes) and SECRET in (tmp_path / "member").read_bytes()
    with pytest.raises(StreamError, match="more than the 512 bytes"):
        fan_out(remote.here / ENC, sinks, 30, kind=packed.ENC, decrypt=opens, most=512)
    with pytest.raises(StreamError, match=r"has no snapshot\.decrypt"):
        fan_out(remote.here / ENC, sinks, 30, kind=packed.ENC)


def test_what_nobody_here_can_open_is_not_brought(remote: Remote) -> None:
    """Newer by its manifest than what can be read, it would only hide that."""
    remote.keeps()
    told, warned = brought(remote.inventory(encrypt=None, decrypt=None))
    assert "no snapshot.decrypt" in warned[0] and "nothing was brought" in told[0]
    assert not remote.here.exists()


def test_nothing_is_brought_where_the_directory_has_one_as_new(remote: Remote) -> None:
    note = remote.keeps()
    remote.here.mkdir()
    own = build.snapshot(remote.here, "lab-own.snap", database([1, 10]))
    manifest.path_of(own).write_text(replace(note, taken="2026-11-27T02:30:00Z", sealed=None).text())
    assert "none is newer" in brought(remote.inventory())[0][0]


@pytest.mark.parametrize("harm", ["altered", "longer", "cut", "another manifest", "no seal", "torn manifest"])
def test_what_is_not_as_it_was_sent_gets_no_name_here_and_the_one_before_it_is_brought(
    remote: Remote, harm: str
) -> None:
    remote.keeps("2026-11-26T023000Z", 1)
    note = remote.keeps(number=2)
    path, beside = remote.place / ENC, remote.place / f"{NAME}.json"
    data = path.read_bytes()
    if harm == "altered":
        path.write_bytes(data[:100] + bytes([data[100] ^ 1]) + data[101:])
    elif harm == "longer":
        path.write_bytes(data + b"x")
    elif harm == "cut":
        path.write_bytes(data[:-1])
    elif harm == "another manifest":
        beside.write_text(replace(note, cluster="elsewhere").text())
    elif harm == "no seal":
        beside.write_text(replace(note, sealed=None).text())
    else:
        beside.write_text("{")
    told, warned = brought(remote.inventory())
    assert len(warned) == 1 and NAME in warned[0]
    assert sorted(path.name for path in remote.here.iterdir())[0] == "lab-2026-11-26T023000Z.snap.enc" and told


def test_a_time_that_is_none_or_a_manifest_without_end_keeps_nobody_from_the_others(remote: Remote) -> None:
    """Names and manifests are what anybody put there. Broken once: both ended Step 0 with a traceback."""
    for name in ("lab-2026-13-01T000000Z.snap.enc", "lab-9999-99-99T999999Z.snap"):
        (remote.place / name).touch()
        (remote.place / offsite.note_of(name)).touch()
    remote.keeps("2026-11-28T023000Z", 2)
    (remote.place / "lab-2026-11-28T023000Z.snap.json").write_text("[" * 200_000)
    note, inventory = remote.keeps(number=1), remote.inventory()
    remote.here.mkdir()
    own = build.snapshot(remote.here, "lab-own.snap", database([1, 10]))
    manifest.path_of(own).write_text(replace(note, taken="2026-11-26T02:30:00Z", sealed=None).text())
    told, warned = brought(inventory)
    assert len(warned) == 1 and "2026-11-28" in warned[0] and ENC in told[0]
    assert offsite.beyond_keep(inventory, Store(inventory).listed()) == []


def test_a_night_whose_clock_was_ahead_is_not_the_newest_for_a_year(remote: Remote) -> None:
    """Broken once: with this machine lost, months were restored that nobody missed, and last night lay there."""
    remote.keeps("2027-06-01T023000Z", 1)
    remote.keeps(number=90)
    told, warned = brought(remote.inventory())
    assert ENC in told[0] and len(warned) == 1 and "2027-06-01" in warned[0] and "a clock is wrong" in warned[0]
    (remote.place / ENC).unlink()
    (remote.here / ENC).unlink()
    (remote.here / f"{NAME}.json").unlink()
    (remote.place / f"{NAME}.json").unlink()
    assert "2027-06-01" in brought(remote.inventory())[0][0]  # there is no other


def test_what_gets_no_name_here_is_said(remote: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    """A backup that begins meanwhile clears up what is brought. Broken once: it ended Step 0."""
    remote.keeps()
    inventory, told = remote.inventory(), Store.snapshot

    def cleared(store: Store, name: str, note: Manifest, into: Path) -> Path:
        path = told(store, name, note, into)
        path.unlink()
        return path

    monkeypatch.setattr(Store, "snapshot", cleared)
    told_of, warned = brought(inventory)
    assert told_of == ["off-site: 1 backups, nothing was brought"] and "cannot be kept" in warned[0]


def test_a_link_that_is_dead_is_waited_for_once_and_not_by_the_hour(
    remote: Remote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken once: each of three was waited for as long as its bytes may take."""
    monkeypatch.setattr(offsite, "STALLED", 0.3)
    for at in ("2026-11-25T023000Z", "2026-11-26T023000Z", STAMP):
        remote.keeps(at)
    program = tmp_path / "get"
    hangs = f"echo x >>{tmp_path}/asked; sleep 600; true"
    program.write_text(f'#!/bin/sh\ncase $1 in *.json) cat "{remote.place}/$1" ;; *) {hangs} ;; esac\n')
    program.chmod(0o755)
    inventory = remote.inventory()
    away = inventory.offsite.model_copy(update={"get": f"{program} {{name}}"})
    told, warned = brought(inventory.model_copy(update={"offsite": away}))
    assert "gave no byte for 0.3 s" in warned[0] and len(warned) == 1
    assert told == ["off-site: 3 backups, nothing was brought"] and (tmp_path / "asked").read_text() == "x\n"


def test_a_line_that_fails_is_said_and_keeps_nobody_from_what_there_is(remote: Remote) -> None:
    inventory = remote.inventory()
    away = inventory.offsite.model_copy(update={"list": "false"})
    assert brought(inventory.model_copy(update={"offsite": away})) == (
        [],
        ["what lies off-site is not known: offsite.list false ended with 1, and said nothing"],
    )


def test_another_key_or_none_is_no_backup_and_says_so(remote: Remote) -> None:
    note = remote.keeps()
    inventory = remote.inventory()
    brought(inventory)
    row = files.of_file(remote.here / ENC, Family())
    assert row.source is None and "the inventory has no snapshot.decrypt" in (row.problem or "")
    remote.key.write_text("another\n")
    row = files.of_file(remote.here / ENC, Family(), decrypt=inventory.snapshot.decrypt)
    assert row.source is None and row.problem and row.revision == note.revision
    row = files.of_file(remote.here / ENC, Family(), decrypt="cat")
    assert row.source is None and row.problem


def test_other_bytes_than_the_manifest_s_are_refused_although_they_are_a_whole_snapshot(remote: Remote) -> None:
    note = remote.keeps()
    inventory = remote.inventory()
    brought(inventory)
    manifest.path_of(remote.here / NAME).write_text(replace(note, sha256="0" * 64).text())
    row = files.of_file(remote.here / ENC, Family(), decrypt=inventory.snapshot.decrypt)
    assert row.source is None and "is not what its manifest describes once it is decrypted" in (row.problem or "")
    manifest.path_of(remote.here / NAME).unlink()
    row = files.of_file(remote.here / ENC, Family(), decrypt=inventory.snapshot.decrypt)
    assert row.source is None and "no manifest beside it" in (row.problem or "")


def test_a_drill_takes_it_too(remote: Remote) -> None:
    note = remote.keeps()
    exercise = drill.choose(None, remote.inventory())
    assert exercise.source.sha256 == note.sha256 and exercise.contents.revision == 10
    assert "was brought from off-site" in exercise.off_site[0]
    assert drill.inventory_of(build.inventory(), exercise, remote.inventory()).snapshot.decrypt


def test_the_monthly_proof_reads_the_newest_there_whatever_lies_here(remote: Remote, tmp_path: Path) -> None:
    note = remote.keeps()
    room = tmp_path / "room"
    room.mkdir()
    found = newest.off_site(Store(remote.inventory()), room)
    assert found.good is found.row and found.row.source and found.row.source.sha256 == note.sha256
    remote.key.write_text("another\n")
    found = newest.off_site(Store(remote.inventory()), room)
    stop = newest.refusal_off_site(found, "it was not asked", datetime(2026, 11, 27, 4, 30, tzinfo=UTC))
    assert stop and "2.0 h old, cannot be read back" in stop.what and "would be lost" in stop.what
    assert "--offsite" in str(stop.remedy)
    for path in remote.place.iterdir():
        path.unlink()
    with pytest.raises(OffsiteError, match="holds no backup of lab"):
        newest.off_site(Store(remote.inventory()), room)


def test_a_get_that_writes_a_file_is_bounded_too(remote: Remote, tmp_path: Path) -> None:
    note = remote.keeps()
    inventory = remote.inventory()
    away = inventory.offsite.model_copy(update={"get": f"cp {shlex.quote(str(remote.place))}/{{name}} {{file}}"})
    store, room = Store(inventory.model_copy(update={"offsite": away})), tmp_path / "room"
    room.mkdir()
    assert note.sealed
    assert store.get(ENC, room / "x", note.sealed.bytes) == (note.sealed.sha256, note.sealed.bytes)
    (room / "x").unlink()
    with pytest.raises(OffsiteError, match="gives more than the 100 bytes"):
        store.get(ENC, room / "x", 100)


def test_what_is_beyond_keep_is_told_and_the_newest_three_never_are() -> None:
    names = [f"lab-2026-11-{day:02}T023000Z.snap" for day in range(1, 11)]
    keep = {"directory": "/nowhere", "keep": {"last": 2, "weekly": 2}}
    found = offsite.beyond_keep(build.inventory(snapshot=keep), There(tuple(reversed(names))))
    assert found == [name for name in names if name[8:18] not in ("2026-11-08", "2026-11-09", "2026-11-10")][:7]
    assert rotation.LEAST == 3


def test_the_note_of_what_was_sent_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / NAME
    assert offsite.sent(path) is None
    told = offsite.Sent(ENC, "a" * 64, "2026-11-27T02:31:00Z", "r")
    vault.sent_of(path).write_text(told.text())
    assert offsite.sent(path) == told and offsite.sent(tmp_path / ENC) == told
    vault.sent_of(path).write_text(json.dumps({"schema": 2}))
    assert offsite.sent(path) is None
