"""What 9c571ea left on hosts and in a backup directory is read and carried on, for good.

The samples are of labs of 2026-11-26, killed at the named stage: every host's marks, births and records, without
passwords, keys and their digests.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from requorum.recovery import trial
from requorum.recovery.undo import baseline
from requorum.run import held, history, marker
from requorum.run.history import ask_births
from requorum.run.marker import Marker, Outlived, Phase, Undone
from requorum.snapshots import manifest
from requorum.snapshots.loss import ask_loss
from tests.unit import build
from tests.unit.build import terms, understood

SAMPLES = Path(__file__).parents[1] / "samples" / "9c571ea"

Files = dict[str, dict[str, str]]


def sample(name: str) -> Files:
    """host → path below the cluster's directory → text."""
    found: Files = json.loads((SAMPLES / f"{name}.json").read_text(encoding="utf-8"))
    return found


def read(files: Files) -> tuple[dict[str, Marker | None], Outlived]:
    """As `facts.marks` reads the hosts."""
    told = {}
    for host, of in files.items():
        births = "\n".join(text.strip() for path, text in sorted(of.items()) if path.endswith("/birth.json"))
        undone = [path for path in of if path.endswith(f"/{history.UNDONE}")]
        told[host] = build.runs(host, of.get("run.json", ""), undone, births)
    found = held.hold(told, "infra-1")
    assert not found.foreign
    return found.marks, found.outlived


@pytest.mark.parametrize(
    ("name", "phase"),
    [
        ("stopping", Phase.STOPPING),
        ("salvaged", Phase.STOPPING),
        ("installed", Phase.STOPPING),
        ("started", Phase.STARTED),
    ],
)
def test_a_run_that_was_killed_is_carried_on_from_its_phase(name: str, phase: Phase) -> None:
    marks, outlived = read(sample(name))
    assert len(marks) >= 5 and None not in list(marks.values())[:5]
    unfinished = marker.to_carry_on(marks, "lab", outlived)
    assert unfinished is not None
    assert (unfinished.phase, unfinished.undone) == (phase, Undone.NO)
    assert unfinished.snapshot or name == "stopping"


def test_a_rollback_that_was_cut_is_carried_on() -> None:
    marks, outlived = read(sample("rollback-cut"))
    begun = marker.to_roll_back(marks, outlived)
    assert begun is not None and begun.undone is Undone.BEGUN


@pytest.mark.parametrize("name", ["rollback-done", "done"])
def test_what_has_ended_is_not_carried_on(name: str) -> None:
    marks, outlived = read(sample(name))
    assert marker.to_carry_on(marks, "lab", outlived) is None


@pytest.mark.parametrize("name", ["salvaged", "installed", "started", "rollback-cut"])
def test_what_every_host_was_before_is_read_and_so_is_what_was_found_out(name: str) -> None:
    files = sample(name)
    records = {
        host: understood(baseline.ask_record(host, terms()), text)
        for host, of in files.items()
        for path, text in of.items()
        if path.endswith("/before/record.json")
    }
    assert len(records) == 5
    assert all(record is not None and record.entries for record in records.values())
    for path, text in files["infra-1"].items():
        if path.endswith("/trial.json"):
            noted = json.loads(text)
            question = trial.ask_note(terms(), noted["snapshot"], list(noted["counts"]))
            assert understood(question, text) is not None
        if path.endswith("/loss.json"):
            assert understood(ask_loss(terms()), text) is not None
        if path.endswith("/birth.json"):
            (birth,) = understood(ask_births("infra-1", "lab"), text)
            assert birth.run in path


def test_the_manifest_of_a_backup_is_read(tmp_path: Path) -> None:
    snapshot = tmp_path / "a.snap"
    shutil.copy(SAMPLES / "backup-manifest.json", manifest.path_of(snapshot))
    note = manifest.read(snapshot)
    assert note is not None
    told = json.loads((SAMPLES / "backup-manifest.json").read_text())
    assert (note.keys, note.entries) == (None, told["keys"]), "of before keys were counted: that was no number of keys"
    manifest.path_of(snapshot).write_text(note.text())
    assert manifest.read(snapshot) == note
    assert (note.revision, note.lineage.token, note.fingerprint is not None) == (229, "lab-20261126t140515", True)


def test_no_sample_holds_what_tells_a_password() -> None:
    for path in SAMPLES.glob("*.json"):
        text = path.read_text(encoding="utf-8")
        assert "PRIVATE KEY" not in text
        for of in json.loads(text).values() if path.name != "backup-manifest.json" else ():
            entries = [e for name, t in of.items() if name.endswith("record.json") for e in json.loads(t)["entries"]]
            assert not [entry for entry in entries if "password" in entry["path"] and entry["sha256"]]
