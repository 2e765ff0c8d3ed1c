"""The textfile: what it says is so, others' numbers stay, and a parser of Prometheus' own reads it."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from requorum.inventory import Inventory
from requorum.plugin import metrics
from requorum.plugin.metrics import Ended
from requorum.snapshots import manifest, offsite, proven, vault
from requorum.snapshots.proven import Proven
from tests.unit import build
from tests.unit.verify.nights import noted

NOW = datetime(2026, 11, 29, 2, 30, tzinfo=UTC)
BACKUP = Ended("backup", True, NOW, 12.5)


def inventory(place: Path) -> Inventory:
    (place / "b").mkdir(exist_ok=True)
    return build.inventory(snapshot={"directory": str(place / "b")}, metrics=str(place / "requorum.prom"))


def kept(place: Path, day: int, size: int = 5, **fields: object) -> Path:
    path = place / "b" / f"lab-2026-11-{day:02}T023000Z.snap"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"x" * size)
    manifest.path_of(path).write_text(replace(noted(day), bytes=5, **fields).text())  # type: ignore[arg-type]
    return path


def numbers(place: Path) -> dict[str, float]:
    rows = [row for row in (place / "requorum.prom").read_text().splitlines() if not row.startswith("#")]
    return {row.rsplit(" ", 1)[0].removeprefix("requorum_"): float(row.rsplit(" ", 1)[1]) for row in rows}


def test_keys_that_nobody_counted_are_no_number(tmp_path: Path) -> None:
    kept(tmp_path, 27, keys=None, entries=22_028)
    metrics.write(inventory(tmp_path), BACKUP, NOW)
    assert not any("keys" in name for name in numbers(tmp_path))


def test_it_says_what_the_newest_good_backup_is_like_and_how_the_run_ended(tmp_path: Path) -> None:
    path = kept(tmp_path, 27)
    kept(tmp_path, 28, size=4)  # cut off since
    kept(tmp_path, 30, number=99)  # a clock was ahead; broken once: no alarm on its age until then
    told = Proven("ab" * 32, "2026-11-27T04:30:00Z", "infra-1", "3.5.16", "r")
    proven.path_of(path).write_text(told.text())
    vault.sent_of(path).write_text(offsite.Sent("x", "a" * 64, "2026-11-27T02:31:00Z", "r").text())
    metrics.write(inventory(tmp_path), BACKUP, NOW)
    at = datetime(2026, 11, 27, 2, 30, tzinfo=UTC).timestamp()
    of, run = '{cluster="lab"}', '{cluster="lab",procedure="backup"}'
    assert numbers(tmp_path) == {
        f"backup_last_good_timestamp_seconds{of}": at,
        f"backup_age_seconds{of}": 48 * 3600,
        f"backup_bytes{of}": 5,
        f"backup_revision{of}": 127,
        f"backup_keys{of}": 21_000,
        f"backup_last_proven_timestamp_seconds{of}": at + 7200,
        f"backup_last_offsite_timestamp_seconds{of}": at + 60,
        f"run_success{run}": 1,
        f"run_finished_timestamp_seconds{run}": NOW.timestamp(),
        f"run_seconds{run}": 12.5,
    }
    assert stat.S_IMODE((tmp_path / "requorum.prom").stat().st_mode) == 0o644
    assert sorted(os.listdir(tmp_path)) == ["b", "requorum.prom"]


def test_what_other_procedures_said_stays_and_of_the_same_the_last_counts(tmp_path: Path) -> None:
    of = inventory(tmp_path)
    counts = {"findings": [{"verdict": "holds"}] * 3 + [{"verdict": "fails"}]}
    metrics.write(of, metrics.ended("check", False, NOW, 3, counts), NOW)
    metrics.write(of, BACKUP, NOW)
    metrics.write(of, replace(BACKUP, success=False), NOW)
    found = numbers(tmp_path)
    assert found['check_findings{cluster="lab",verdict="fails"}'] == 1
    assert found['check_findings{cluster="lab",verdict="holds"}'] == 3
    assert found['check_findings{cluster="lab",verdict="unknown"}'] == 0
    assert found['run_success{cluster="lab",procedure="check"}'] == 0
    assert found['run_success{cluster="lab",procedure="backup"}'] == 0
    metrics.write(of, metrics.ended("check", False, NOW, 3, {}), NOW)  # it was interrupted before it found anything
    assert not any(name.startswith("check_findings") for name in numbers(tmp_path))


@given(st.text(max_size=300))
def test_whatever_the_earlier_file_holds_nothing_but_numbers_of_ours_come_of_it(text: str) -> None:
    rows = f'requorum_backup_bytes{{cluster="lab"}} 1\n{text}\nrequorum_evil{{cluster="other"}} 1\n'
    assert metrics.text(metrics.read(rows, "lab")) == "\n"


def test_two_inventories_that_name_one_file_keep_each_others_numbers(tmp_path: Path) -> None:
    kept(tmp_path, 27)
    findings = {"findings": [{"verdict": "fails"}]}
    metrics.write(inventory(tmp_path), metrics.ended("check", False, NOW, 3, findings), NOW)
    first = numbers(tmp_path)
    other = inventory(tmp_path).model_copy(update={"cluster": "other"})
    metrics.write(other, metrics.ended("check", False, NOW, 3, {}), NOW)
    both = numbers(tmp_path)
    assert {name: value for name, value in both.items() if 'cluster="lab"' in name} == first
    assert len(first) == 12 and both['run_success{cluster="other",procedure="check"}'] == 0


def test_two_that_end_together_write_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the first look at the file to the new one nobody else has its turn; who gets none writes all the same."""
    turns, read, flock = [], metrics.read, fcntl.flock

    def looked(text: str, cluster: str) -> list[metrics.Sample]:
        beside = os.open(tmp_path, os.O_RDONLY)
        try:
            flock(beside, fcntl.LOCK_EX | fcntl.LOCK_NB)
            turns.append("free")
        except BlockingIOError:
            turns.append("taken")
        finally:
            os.close(beside)
        return read(text, cluster)

    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(metrics, "read", looked)
    metrics.write(inventory(tmp_path), BACKUP, NOW)
    monkeypatch.setattr(metrics, "TURN", 0)
    held = os.open(tmp_path, os.O_RDONLY)
    flock(held, fcntl.LOCK_EX)
    metrics.write(inventory(tmp_path).model_copy(update={"cluster": "second"}), BACKUP, NOW)
    os.close(held)
    monkeypatch.setattr(fcntl, "flock", no_locks)
    metrics.write(inventory(tmp_path).model_copy(update={"cluster": "third"}), BACKUP, NOW)
    assert turns == ["taken", "taken", "free"]
    assert {name.partition('"')[2].partition('"')[0] for name in numbers(tmp_path)} >= {"lab", "second", "third"}


def test_a_place_that_cannot_be_written_leaves_no_draft(tmp_path: Path) -> None:
    of = inventory(tmp_path).model_copy(update={"metrics": str(tmp_path / "b")})
    with pytest.raises(OSError, match="directory"):
        metrics.write(of, BACKUP, NOW)
    assert sorted(os.listdir(tmp_path)) == ["b"]


def test_prometheus_own_parser_reads_it(tmp_path: Path) -> None:
    parser = pytest.importorskip("prometheus_client.parser", reason="./setup python3 lab brings it")
    kept(tmp_path, 27)
    metrics.write(inventory(tmp_path), metrics.ended("check", True, NOW, 1, {"findings": [{"verdict": "told"}]}), NOW)
    families = list(parser.text_string_to_metric_families((tmp_path / "requorum.prom").read_text()))
    assert {(f.name, f.type, f.documentation) for f in families} <= {
        (f"requorum_{name}", "gauge", says) for name, says in metrics.HELP.items()
    }
    assert {sample.labels["cluster"] for family in families for sample in family.samples} == {"lab"}
    assert len(families) == 9


def test_another_ending_is_refused_where_the_inventory_is_read() -> None:
    with pytest.raises(ValueError, match=r"ends in \.prom"):
        build.inventory(metrics="/var/lib/metrics.txt")
