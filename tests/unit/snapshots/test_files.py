"""What is found on this machine, and what each file turns out to be."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from requorum.cluster.lineage import Lineage
from requorum.hosts.packed import GZ
from requorum.inventory import Inventory
from requorum.recovery import drill
from requorum.snapshots import age, directory, files, manifest, ranking, snapshot
from requorum.snapshots.family import Family
from requorum.snapshots.manifest import Manifest
from requorum.snapshots.snapshot import Fingerprint, SnapshotError
from tests.unit import build
from tests.unit.hosts.test_packed import KINDS, pack
from tests.unit.snapshots.test_bolt import MEMBER, database

# The lineage of the one member in `database`, by etcd's own arithmetic: its cluster ID is SHA-1 of the member's ID.
OURS = Lineage(None, int.from_bytes(hashlib.sha1((7).to_bytes(8, "big")).digest()[:8], "big"))


def inventory(**fields: object) -> Inventory:
    return build.inventory(snapshot={"max_age_hours": 2, **fields})


def backup(place: Path, name: str, revision: int = 10, hours: float = 0) -> Path:
    path = build.snapshot(place, name, database([1, revision]))
    then = time.time() - hours * 3600
    os.utime(path, (then, then))
    return path


def note(path: Path, **fields: object) -> Manifest:
    source = snapshot.verify(path)
    values: dict[str, object] = {
        "cluster": "lab",
        "sha256": source.sha256,
        "bytes": source.bytes,
        "lineage": Lineage("prod-1", 161),
        "bumps": 0,
        "revision": 10,
        "keys": 3,
        "etcd": "3.5.16",
        "taken": "2026-01-01T00:00:00Z",
        "member": "m",
    }
    made = Manifest(**{**values, **fields})  # type: ignore[arg-type]
    manifest.path_of(path).write_text(made.text())
    return made


def names(found: list[ranking.Candidate]) -> list[str]:
    return [Path(candidate.path).name for candidate in found]


def missing(place: Path) -> None:
    place.rmdir()


def a_file(place: Path) -> None:
    missing(place)
    place.touch()


def a_link_that_leads_nowhere(place: Path) -> None:
    missing(place)
    place.symlink_to("unmounted")


def a_link_to_itself(place: Path) -> None:
    missing(place)
    place.symlink_to(place.name)


def holds_nothing(place: Path) -> None:
    (place / ".lock").touch()


UNUSABLE: dict[Callable[[Path], None], str] = {
    missing: "does not exist",
    a_file: "cannot be read: Not a directory",
    a_link_that_leads_nowhere: "is a link that leads nowhere",
    a_link_to_itself: "cannot be read: Too many levels of symbolic links",
    holds_nothing: "holds no backup",
}
ERRORS = {  # raised, since the tests may run as root, who is never refused
    PermissionError(errno.EACCES, "Permission denied"): "run as the account that makes the backups",
    OSError(errno.ESTALE, "Stale file handle"): "cannot be read: Stale file handle",
    OSError(errno.EIO, "Input/output error"): "cannot be read: Input/output error",
}


@pytest.mark.parametrize("make", UNUSABLE)
def test_a_directory_that_gives_no_backup_is_a_row_that_says_why(tmp_path: Path, make: Callable[[Path], None]) -> None:
    place = tmp_path / "nightly"
    place.mkdir()
    make(place)
    (row,) = files.of_files(inventory(directory=str(place)), None, Family())
    assert (row.kind, row.path, row.source) == (ranking.DIRECTORY, str(place), None)
    assert UNUSABLE[make] in str(row.problem)
    assert files.by_sha256(inventory(directory=str(place)), "00") is None
    with pytest.raises(SnapshotError, match=UNUSABLE[make]):
        drill.choose(None, inventory(directory=str(place)))


@pytest.mark.parametrize("error", ERRORS)
def test_so_does_one_that_refuses_to_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError) -> None:
    def refuse(place: Path) -> None:
        raise error

    monkeypatch.setattr(Path, "iterdir", refuse)
    named = backup(tmp_path, "named.snap")
    (row,) = files.of_files(inventory(directory=str(tmp_path)), None, Family())
    assert ERRORS[error] in str(row.problem)
    found = files.of_files(inventory(directory=str(tmp_path)), str(named), Family())
    assert [bool(candidate.source) for candidate in found] == [True, False], "a named one is used all the same"


def test_a_drill_without_a_backup_names_the_directory(tmp_path: Path) -> None:
    with pytest.raises(SnapshotError, match=f"{tmp_path}: .* holds no backup"):
        drill.choose(None, inventory(directory=str(tmp_path)))


def test_what_is_named_stands_first_and_the_directory_is_listed_too(tmp_path: Path) -> None:
    (tmp_path / "else").mkdir()
    named = backup(tmp_path / "else", "named.snap")
    backup(tmp_path, "a.snap")
    found = files.of_files(inventory(file="/nowhere", directory=str(tmp_path)), str(named), Family())
    assert names(found) == ["named.snap", "a.snap"]
    assert [candidate.named for candidate in found] == ["by you", ""]


def test_the_inventorys_file_counts_as_named(tmp_path: Path) -> None:
    path = backup(tmp_path, "a.snap")
    found = files.of_files(inventory(file=str(path), directory=str(tmp_path)), None, Family())
    assert names(found) == ["a.snap"]
    assert found[0].named == "in the inventory"


@pytest.mark.parametrize("name", ["new.snap.part", "new.snap.json", "new"])
def test_other_files_beside_them_are_not_backups(tmp_path: Path, name: str) -> None:
    backup(tmp_path, "a.snap")
    (tmp_path / name).touch()
    assert names(files.of_files(inventory(directory=str(tmp_path)), None, Family())) == ["a.snap"]


def test_every_backup_is_verified_and_a_bad_one_says_why(tmp_path: Path) -> None:
    backup(tmp_path, "a.snap")
    (tmp_path / "b.snap").write_bytes(b"")
    (tmp_path / "c.db").mkdir()
    (tmp_path / "d.snap").symlink_to(tmp_path / "a.snap")
    found = files.of_files(inventory(directory=str(tmp_path)), None, Family())
    problems = {name: c.problem for name, c in zip(names(found), found, strict=True)}
    assert problems["a.snap"] is None
    assert problems["b.snap"] == "is empty"
    assert problems["c.db"] == "is not a regular file"
    assert "d.snap" not in problems or "symbolic link" in str(problems["d.snap"])
    assert all(c.hash == "bad" for c in found if c.problem)


def test_without_a_manifest_revision_and_lineage_are_read_from_the_file(tmp_path: Path) -> None:
    found = files.of_file(backup(tmp_path, "a.snap", 42), Family())
    assert found.revision == 42
    assert found.lineage == OURS


def test_a_manifest_says_what_the_file_does_not(tmp_path: Path) -> None:
    path = backup(tmp_path, "a.snap")
    made = note(path, bumps=5)
    found = files.of_file(path, Family())
    assert (found.lineage, found.keys, found.bumps) == (made.lineage, 3, 5)
    assert found.taken == "2026-01-01T00:00:00Z"


BUMP = 1_000_000_000
LOST = Lineage("lost", 161)


@pytest.mark.parametrize("told", [Lineage(None, 161), Lineage("lost", 161)])
def test_what_a_manifest_could_not_learn_of_its_token_and_bumps_is_known_from_the_hosts(
    tmp_path: Path, told: Lineage
) -> None:
    family = Family((LOST,), (), (("lost", BUMP),))
    path = backup(tmp_path, "a.snap", BUMP + 5)
    note(path, lineage=told, revision=BUMP + 5)
    found = files.of_file(path, family)
    assert (found.lineage, found.bumps, found.own_revision) == (LOST, BUMP, 5)
    newer = replace(found, path="newer", revision=BUMP + 7, bumps=BUMP)
    chosen, _ = ranking.rank([found, newer], family)
    assert chosen is not None
    assert chosen.path == "newer"


def test_a_manifests_own_token_and_bumps_stay_where_no_host_knows_better(tmp_path: Path) -> None:
    path = backup(tmp_path, "a.snap")
    note(path, lineage=Lineage(None, 99), bumps=5)
    found = files.of_file(path, Family((LOST,), (), (("lost", BUMP),)))
    assert (found.lineage, found.bumps) == (Lineage(None, 99), 5)
    note(path, lineage=LOST, bumps=5)
    assert files.of_file(path, Family((LOST,))).bumps == 5


def test_a_manifest_from_before_fingerprints_is_read(tmp_path: Path) -> None:
    path = backup(tmp_path, "a.snap")
    told = Fingerprint(10, 3, 111, "3.5.16")
    made = note(path, fingerprint=told)
    assert manifest.read(path) == made
    found = files.of_file(path, Family()).source
    assert found is not None
    assert found.fingerprint == told
    older = json.loads(made.text())
    del older["fingerprint"]
    manifest.path_of(path).write_text(json.dumps(older))
    read = manifest.read(path)
    assert read is not None
    assert read.fingerprint is None


@pytest.mark.parametrize(
    "fields",
    [
        {"lineage": {"token": 5, "cluster_id": 1}},
        {"lineage": {"token": ["prod-1"]}},
        {"lineage": {"token": "prod-1", "cluster_id": "a1"}},
        {"lineage": {"token": "prod-1", "cluster_id": True}},
        {"lineage": {"token": "prod-1", "other": 1}},
        {"lineage": ["prod-1", 161]},
        {"bumps": -1_000_000_000},
        {"revision": -1},
        {"revision": 1 << 63},
        {"bytes": -1},
        {"number": -1},
        {"history": -1},
        {"sha256": 5},
        {"cluster": None},
        {"member": ["m"]},
        {"taken": 5},
        {"places": 5},
    ],
    ids=str,
)
def test_a_manifest_with_a_value_that_is_none_ranks_nothing_and_leaves_the_file_to_prove_itself(
    tmp_path: Path, fields: dict[str, object]
) -> None:
    """Bumps below nothing would put a backup before what was salvaged."""
    path = backup(tmp_path, "a.snap")
    note(path)
    told = json.loads(manifest.path_of(path).read_text())
    manifest.path_of(path).write_text(json.dumps({**told, **fields}))
    with pytest.raises(manifest.ManifestError):
        manifest.read(path)
    (found,) = [row for row in files.of_files(inventory(directory=str(tmp_path)), None, Family()) if row.kind == "file"]
    assert (found.problem, found.note, found.own_revision) == (None, None, 10)
    assert files.noted(inventory(directory=str(tmp_path))) == ()


def test_what_is_no_regular_file_is_named_and_nobody_waits_for_it(tmp_path: Path) -> None:
    """A FIFO never ends, whatever it is called; nor does one in a manifest's place."""
    path = backup(tmp_path, "a.snap")
    os.mkfifo(tmp_path / "fifo.snap")
    os.mkfifo(tmp_path / "fifo.snap.gz")
    os.mkfifo(tmp_path / "fifo")
    os.mkfifo(manifest.path_of(path))
    (tmp_path / "latest.snap").symlink_to(path.name)
    (tmp_path / "itself.snap").symlink_to("itself.snap")
    found = {
        Path(row.path).name: row.problem for row in files.of_files(inventory(directory=str(tmp_path)), None, Family())
    }
    assert found.pop(path.name) is None
    assert set(found) == {"fifo.snap", "fifo.snap.gz", "latest.snap", "itself.snap"}
    assert all("is not a regular file" in str(why) or "is a symbolic link" in str(why) for why in found.values())


@pytest.mark.parametrize(("field", "value"), [("sha256", "00"), ("revision", 11)])
def test_a_manifest_of_another_file_makes_it_bad(tmp_path: Path, field: str, value: object) -> None:
    path = backup(tmp_path, "a.snap")
    note(path, **{field: value})
    found = files.of_file(path, Family())
    assert found.source is None
    assert "its manifest" in str(found.problem)


@pytest.mark.parametrize("text", ["", "{", "[]", json.dumps({"schema": 99}), json.dumps(MEMBER)])
def test_a_manifest_that_cannot_be_read_leaves_the_file_to_prove_itself(tmp_path: Path, text: str) -> None:
    path = backup(tmp_path, "a.snap")
    manifest.path_of(path).write_text(text)
    assert files.of_file(path, Family()).lineage == OURS


def test_a_backup_that_nobody_named_is_too_old_from_the_limit_on(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    old = files.of_file(backup(tmp_path, "a.snap", hours=3), Family())
    assert age.too_old(inventory(), old, now) == ("the newest backup is 3.0 h old, more than snapshot.max_age_hours 2")
    for named in (ranking.BY_YOU, ranking.IN_INVENTORY):
        assert age.too_old(inventory(), files.of_file(Path(old.path), Family(), named), now) is None
    young = files.of_file(backup(tmp_path, "a.snap", hours=1.99), Family())
    assert age.too_old(inventory(), young, now) is None


def test_of_a_backup_that_is_not_made_yet_it_is_said_that_a_clock_is_wrong(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    later = files.of_file(backup(tmp_path, "a.snap", hours=-20.05), Family())
    assert age.of_the_future(later, now) == f"{later.path} says that it was taken 20.0 h from now: a clock is wrong"
    assert age.of_the_future(files.of_file(backup(tmp_path, "b.snap", hours=-0.5), Family()), now) is None
    assert age.of_the_future(replace(later, kind="salvage", taken="now"), now) is None


def test_where_there_is_no_directory_at_all_nothing_is_offered() -> None:
    assert files.of_files(inventory(), None, Family()) == []


def compressed(path: Path, kind: str = GZ) -> Path:
    """As a job does it: another name, the same time, the plain one gone."""
    status = path.stat()
    packed = pack(path.with_name(f"{path.name}.{kind}"), path.read_bytes(), kind)
    os.utime(packed, (status.st_mtime, status.st_mtime))
    path.unlink()
    return packed


@pytest.mark.parametrize("kind", KINDS)
def test_a_backup_of_ours_that_a_job_compressed_is_still_what_its_manifest_says(tmp_path: Path, kind: str) -> None:
    plain = backup(tmp_path, "a.snap")
    sha256, made = snapshot.verify(plain).sha256, note(plain, bumps=5)
    path = compressed(plain, kind)
    (found,) = files.of_files(inventory(directory=str(tmp_path)), None, Family())
    assert (found.path, found.lineage, found.bumps, found.taken) == (str(path), made.lineage, 5, made.taken)
    assert found.source
    assert (found.source.sha256, found.source.packed) == (sha256, kind)
    assert files.by_sha256(inventory(directory=str(tmp_path)), sha256) == found.source
    assert files.newest_backup(inventory(directory=str(tmp_path)), None)[0] == found
    assert drill.choose(None, inventory(directory=str(tmp_path))).contents.revision == 10
    assert drill.choose(str(path), None).cluster == "lab"


def test_the_newest_is_found_among_plain_compressed_and_in_folders(tmp_path: Path) -> None:
    (tmp_path / "25").mkdir()
    newest = compressed(backup(tmp_path / "25", "a.snap", 30, hours=1))
    backup(tmp_path, "b.snap", 20, hours=2)
    compressed(backup(tmp_path, "c.snap", 10, hours=3))
    found, _ = files.newest_backup(inventory(directory=str(tmp_path)), None)
    assert found
    assert (found.path, found.revision) == (str(newest), 30)


def test_a_backup_of_another_history_is_not_the_newest(tmp_path: Path) -> None:
    ours = backup(tmp_path, "a.snap", hours=2)
    note(backup(tmp_path, "b.snap", 20, hours=1), revision=20, taken="2100-01-01T00:00:00Z", another=True)
    found, _ = files.newest_backup(inventory(directory=str(tmp_path)), None)
    assert found and found.path == str(ours)
    chosen = drill.choose(None, inventory(directory=str(tmp_path)))
    assert chosen.source.path == str(ours)


def test_where_there_is_no_newest_it_says_why(tmp_path: Path) -> None:
    assert "holds no backup" in files.newest_backup(inventory(directory=str(tmp_path)), None)[1]
    assert "does not exist" in files.newest_backup(inventory(directory=str(tmp_path / "none")), None)[1]


def test_what_is_not_recognised_is_listed_where_it_is_younger_than_the_choice(tmp_path: Path) -> None:
    path = backup(tmp_path, "a.snap", hours=2)
    for name, hours in (("older.xz", 3), ("younger.xz", 1)):
        (tmp_path / name).write_bytes(b"?")
        then = time.time() - hours * 3600
        os.utime(tmp_path / name, (then, then))
    found = files.of_files(inventory(directory=str(tmp_path)), None, Family())
    chosen = files.of_file(path, Family())
    assert sorted(names(files.without_older(found, chosen))) == ["a.snap", "younger.xz"]
    assert sorted(names(files.without_older(found, None))) == ["a.snap", "older.xz", "younger.xz"]
    (line,) = files.skipped(files.without_older(found, chosen))
    assert line.startswith(f"{tmp_path}/younger.xz: not used, not recognised: ")


def test_many_that_are_not_recognised_are_counted() -> None:
    row = ranking.Candidate("file", None, "x", "", problem=f"{directory.UNUSED}: x")
    assert list(files.skipped([row] * 20))[-1] == "and 12 more files: not used, not recognised"
