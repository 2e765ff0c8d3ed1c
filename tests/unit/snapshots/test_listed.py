"""Every backup with what is known of it, asked of no host: on real files, as the command prints them."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from requorum import __main__ as program
from requorum.cluster.lineage import Lineage
from requorum.snapshots import files, listed, manifest, proven, snapshot
from requorum.snapshots.manifest import Manifest
from requorum.snapshots.proven import Proven
from requorum.snapshots.ranking import Candidate
from requorum.snapshots.vault import BackupError
from tests.unit import build

NOW = datetime(2026, 11, 23, 4, 0, tzinfo=UTC)


def keep(place: Path, number: int, lineage: Lineage = Lineage("ours", 1), **fields: Any) -> Path:  # noqa: B008
    """A whole backup of that night of November, as far as its SHA-256 tells."""
    path = build.snapshot(place, f"lab-2026-11-{number:02}T023000000Z.snap")
    taken, sha256 = f"2026-11-{number:02}T02:30:00Z", snapshot.verify(path).sha256
    size = path.stat().st_size
    note = Manifest("lab", sha256, size, lineage, 0, 100 + number, 7, "3.5.16", taken, "m", number=number)
    manifest.path_of(path).write_text(replace(note, **fields).text())
    return path


@pytest.fixture(autouse=True)
def _readable(monkeypatch: pytest.MonkeyPatch) -> None:
    """These are no databases that could be read: they are as their manifests say, where their SHA-256 is right."""

    def of_file(path: Path, *others: object) -> Candidate:
        row = files.as_noted(path)
        assert row is not None
        try:
            source = snapshot.verify(path)
        except snapshot.SnapshotError as error:
            return replace(row, problem=error.what, hash="bad")
        return replace(row, source=replace(source, lineage=row.lineage, taken=row.taken, revision=row.revision))

    monkeypatch.setattr("requorum.snapshots.files.of_file", of_file)


def rows(place: Path, now: datetime = NOW, **keeping: int) -> dict[str, listed.Listed]:
    inventory = build.inventory(snapshot={"directory": str(place), "keep": keeping})
    return {Path(row.file).name.removeprefix("lab-2026-11-")[:2]: row for row in listed.of(inventory, now)}


def test_each_is_told_with_what_a_recovery_would_say_to_it(tmp_path: Path) -> None:
    keep(tmp_path, 20, Lineage("other", 2))
    keep(tmp_path, 21)
    bad = keep(tmp_path, 22)
    bad.write_bytes(bad.read_bytes()[:-1] + b"x")
    keep(tmp_path, 23)
    found = rows(tmp_path)
    assert next(iter(found)) == "23" and found["23"].tonight == "chosen" and found["23"].hours == 1.5
    assert found["21"].tonight == "older: 2 revisions behind"
    assert "does not match the SHA-256" in found["22"].tonight and not found["22"].good
    assert found["20"].tonight == "of another cluster: used only when named"
    assert found["23"].proven is None and found["23"].off_site is None


def test_one_that_is_too_old_would_need_your_word(tmp_path: Path) -> None:
    keep(tmp_path, 23)
    (only,) = rows(tmp_path, NOW + timedelta(days=2)).values()
    assert only.tonight.startswith("chosen, on your word alone: the newest backup is 49.5 h old")


def test_what_was_proven_pinned_and_will_go_is_told(tmp_path: Path) -> None:
    paths = [keep(tmp_path, number) for number in range(17, 24)]
    told = Proven(snapshot.verify(paths[1]).sha256, "2026-11-18T04:00:00Z", "infra-1", "3.5.16", build.RUN)
    proven.path_of(paths[1]).write_text(told.text())
    other = Proven("0" * 64, "2026-11-19T04:00:00Z", "infra-1", "3.5.16", build.RUN)
    proven.path_of(paths[2]).write_text(other.text())
    listed.pin(build.inventory(snapshot={"directory": str(tmp_path)}), paths[0].name, True)
    found = rows(tmp_path, last=3, weekly=2)
    assert found["17"].pinned and found["17"].rotation == "stays: pinned"
    assert (found["18"].proven, found["18"].proven_on) == (told.at, "infra-1")
    assert found["18"].rotation == "stays: one of the last 3 that were proven"
    assert found["19"].proven is None, "the note is of other bytes"
    assert found["19"].rotation == found["20"].rotation == "goes with the next backup"
    assert found["22"].rotation.startswith("stays: ") and found["23"].rotation.startswith("stays: ")


def test_what_nobody_counted_is_called_no_number_of_keys(tmp_path: Path) -> None:
    path, inventory = keep(tmp_path, 23), build.inventory(snapshot={"directory": str(tmp_path)})
    note = json.loads(manifest.path_of(path).read_text())
    note["keys"] = note["entries"] + 22_028
    del note["entries"]  # as earlier versions wrote it
    manifest.path_of(path).write_text(json.dumps(note))
    said = listed.text(inventory, NOW, as_json=False)
    assert "keys not counted" in said and "22,028" not in said
    (told,) = json.loads(listed.text(inventory, NOW, as_json=True))["backups"]
    assert told["keys"] is None


def test_the_command_prints_them_also_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, inventory = keep(tmp_path, 23), tmp_path / "lab.yaml"
    inventory.write_text(yaml.safe_dump(build.document(snapshot={"directory": str(tmp_path)})))
    assert program.backups(["list", f"--hosts={inventory}", "--json"]) == 0
    (told,) = json.loads(capsys.readouterr().out)["backups"]
    assert told["file"] == str(path) and told["revision"] == 123 and told["pinned"] is False
    assert program.backups(["pin", f"--hosts={inventory}", path.name]) == 0
    assert program.backups(["list", f"--hosts={inventory}"]) == 0
    said = capsys.readouterr().out
    assert f"{path}: " in said and "revision 123, 7 keys" in said and "never proven; not off-site; pinned" in said
    assert program.backups(["unpin", f"--hosts={inventory}", path.name]) == 0
    assert program.backups(["pin", f"--hosts={inventory}", "../lab.yaml"]) == 4
    assert program.backups(["list", "--hosts=nowhere-1"]) == 4


def test_without_a_directory_it_is_refused() -> None:
    with pytest.raises(BackupError, match=r"snapshot\.directory: is not set"):
        listed.of(build.inventory(), NOW)
