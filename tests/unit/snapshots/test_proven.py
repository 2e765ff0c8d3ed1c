"""The note that a backup was booted and proven: read only of the very bytes, and gone with its backup."""

from __future__ import annotations

from pathlib import Path

import pytest

from requorum.snapshots import directory, manifest, proven
from requorum.snapshots.proven import Proven
from requorum.snapshots.rotation import Rotation
from requorum.snapshots.vault import Vault
from tests.unit import build
from tests.unit.snapshots.test_vault import LATE, NOTE, STAMP

PROOF = Proven("a" * 64, "2026-01-02T04:00:00Z", "infra-1", "3.5.16", build.RUN, ("data could not be compared",))


def kept(place: Path) -> tuple[Vault, Path]:
    vault = Vault(build.inventory(cluster="prod", snapshot={"directory": str(place)}))
    path = place / f"prod-{STAMP}.snap"
    path.write_bytes(b"x")
    manifest.path_of(path).write_text(NOTE.text())
    vault.keep_proof(path, PROOF)
    return vault, path


def test_it_is_read_as_it_was_written_for_its_owner_alone_and_of_the_same_bytes(tmp_path: Path) -> None:
    _, path = kept(tmp_path)
    assert proven.read(path) == PROOF == proven.read(path, "a" * 64)
    assert proven.read(path, "b" * 64) is None
    assert proven.path_of(path).stat().st_mode & 0o777 == 0o600
    packed = path.with_name(f"{path.name}.gz")
    assert proven.read(packed) == PROOF, "compressed since"
    assert proven.last([path, tmp_path / "none.snap"]) == PROOF


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": 2}', '{"schema": 1}', "null"])
def test_one_that_cannot_be_read_is_none(tmp_path: Path, text: str) -> None:
    _, path = kept(tmp_path)
    proven.path_of(path).write_text(text)
    assert proven.read(path) is None


def test_it_is_no_backup_and_goes_with_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vault, path = kept(tmp_path)
    assert directory.contents(tmp_path).backups == (path,) and [one.name for one in vault.backups()] == [path.name]
    assert vault.clear_parts() == []
    monkeypatch.setattr("requorum.snapshots.vault.rotation", lambda found, *limits: Rotation((path.name,)))
    vault.rotate(LATE)
    assert list(tmp_path.iterdir()) == []
