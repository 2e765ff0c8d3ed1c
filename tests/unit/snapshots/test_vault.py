"""The backup directory of several clusters: each looks at its own files only, by name and by manifest."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import stat
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from requorum.cluster.lineage import Lineage
from requorum.snapshots import manifest
from requorum.snapshots.manifest import Manifest
from requorum.snapshots.rotation import Backup, Rotation
from requorum.snapshots.vault import BackupError, Vault, pin_of
from tests.unit import build

NOTE = Manifest("prod", "a" * 64, 1, Lineage(), 0, 1, 1, "3.5.16", "2026-01-01T00:00:00.000Z", "https://10.0.0.11:2379")
STAMP = "2026-01-01T000000000Z"
LATE = datetime(2026, 11, 23, tzinfo=UTC)


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    keep = {"count": 1, "days": 1}
    return Vault(build.inventory(cluster="prod", snapshot={"directory": str(tmp_path), "keep": keep}))


def backup(vault: Vault, cluster: str) -> str:
    """A whole-looking backup under its final name; gives the name."""
    path = vault.directory / f"{cluster}-{STAMP}.snap"
    path.write_bytes(b"x")
    manifest.path_of(path).write_text(replace(NOTE, cluster=cluster).text(), encoding="utf-8")
    return path.name


def test_another_cluster_of_the_same_beginning_has_its_own_backups(vault: Vault) -> None:
    ours = backup(vault, "prod")
    backup(vault, "prod-eu")
    backup(vault, "prod-2026")
    assert [found.name for found in vault.backups()] == [ours]


def test_a_backup_whose_manifest_names_another_cluster_is_that_one_s(vault: Vault) -> None:
    name = backup(vault, "prod")
    path = vault.directory / name
    manifest.path_of(path).write_text(replace(NOTE, cluster="elsewhere").text(), encoding="utf-8")
    assert vault.backups() == []


def test_a_manifest_that_cannot_be_read_leaves_the_name(vault: Vault) -> None:
    name = backup(vault, "prod")
    manifest.path_of(vault.directory / name).write_text("{", encoding="utf-8")
    assert [(found.name, found.good) for found in vault.backups()] == [(name, False)]


def test_rotation_removes_nothing_of_another_cluster(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    everything = "requorum.snapshots.vault.rotation"
    monkeypatch.setattr(everything, lambda found, *limits: Rotation(tuple(one.name for one in found)))
    ours, theirs = backup(vault, "prod"), backup(vault, "prod-eu")
    assert vault.rotate(LATE).removed == (ours,)
    assert not (vault.directory / ours).exists()
    assert (vault.directory / theirs).exists() and manifest.path_of(vault.directory / theirs).exists()


def test_one_that_is_pinned_right_before_it_would_be_removed_stays(
    vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pinned_then(found: list[Backup], *limits: object) -> Rotation:
        pin_of(vault.directory / found[0].name).touch()
        return Rotation((found[0].name,))

    monkeypatch.setattr("requorum.snapshots.vault.rotation", pinned_then)
    name = backup(vault, "prod")
    assert vault.rotate(LATE).removed == ()
    assert (vault.directory / name).exists() and manifest.path_of(vault.directory / name).exists()


@pytest.mark.parametrize("name", [f"{STAMP}.snap.part", f"{STAMP}.snap.json.part", f"{STAMP}.snap.json"])
def test_only_half_files_of_ones_own_are_cleared(vault: Vault, name: str) -> None:
    for cluster in ("prod", "prod-eu"):
        (vault.directory / f"{cluster}-{name}").write_bytes(b"half")
    assert vault.clear_parts() == [vault.directory / f"prod-{name}"]
    assert [path.name for path in vault.directory.iterdir()] == [f"prod-eu-{name}"]


@pytest.mark.parametrize("suffix", [".gz", ".zst", ".GZ", ".xz"])
def test_the_manifest_of_a_backup_that_a_job_compressed_stays(vault: Vault, suffix: str) -> None:
    path = vault.directory / backup(vault, "prod")
    path.rename(f"{path}{suffix}")
    assert vault.clear_parts() == []
    assert manifest.read(path) == NOTE
    Path(f"{path}{suffix}").unlink()
    assert vault.clear_parts() == [manifest.path_of(path)]


def test_the_manifest_of_a_backup_that_was_moved_into_a_folder_stays(vault: Vault) -> None:
    path = vault.directory / backup(vault, "prod")
    (vault.directory / "2026-01").mkdir()
    path.rename(vault.directory / "2026-01" / path.name)
    assert vault.clear_parts() == []


def test_a_share_that_keeps_no_modes_is_told(vault: Vault) -> None:
    with vault.locked():
        assert vault.has_modes
        (vault.directory / ".lock").chmod(0o755)  # as such a share shows every file
        assert not vault.has_modes


def test_what_the_vault_itself_writes_is_its_own(vault: Vault) -> None:
    part = vault.part(NOTE.taken)
    part.write_bytes(b"x")
    assert vault.parts() == [part]
    assert vault.keep(NOTE).name == f"prod-{STAMP}.snap"
    assert vault.clear_parts() == []
    assert [found.name for found in vault.backups()] == [f"prod-{STAMP}.snap"]


def test_a_backup_gets_the_next_number_of_its_directory(vault: Vault) -> None:
    assert vault.numbered(NOTE).number == 1, "and none before it"
    name = backup(vault, "prod")
    assert vault.numbered(NOTE).number == 1, "manifests from before numbers have none"
    manifest.path_of(vault.directory / name).write_text(replace(NOTE, number=7).text(), encoding="utf-8")
    theirs = backup(vault, "prod-eu")
    manifest.path_of(vault.directory / theirs).write_text(replace(NOTE, number=70).text(), encoding="utf-8")
    assert vault.numbered(NOTE).number == 8


def test_a_manifest_from_before_numbers_is_read_and_a_wrong_one_is_none(vault: Vault) -> None:
    path = vault.directory / backup(vault, "prod")
    told = json.loads(NOTE.text())
    del told["number"]
    manifest.path_of(path).write_text(json.dumps(told), encoding="utf-8")
    assert manifest.read(path) == NOTE
    for wrong in (
        {"number": "x"},
        {"taken": "2026-01-01T00:00:00"},
        {"taken": "then"},
        {"keys": "many"},
        {"entries": "x"},
    ):
        manifest.path_of(path).write_text(json.dumps({**told, **wrong}), encoding="utf-8")
        with pytest.raises(manifest.ManifestError):
            manifest.read(path)
        assert [found.good for found in vault.backups()] == [False], "and rotation goes by the file alone"


def test_a_directory_that_was_there_keeps_its_mode_and_a_new_one_is_for_its_owner_alone(tmp_path: Path) -> None:
    for name, mode in (("shared", 0o2775), ("new", 0o700)):
        place = tmp_path / name
        if name == "shared":
            place.mkdir()
            place.chmod(mode)
        of = build.inventory(snapshot={"directory": str(place)})
        with Vault(of).locked():
            assert stat.S_IMODE(place.stat().st_mode) == mode


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL])
def test_a_share_that_cannot_be_locked_is_refused_with_what_to_do(
    vault: Vault, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refuse(_descriptor: int, _how: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(BackupError, match=os.strerror(code)) as error, vault.locked():
        pass
    assert "on a disk of this machine" in error.value.remedy
