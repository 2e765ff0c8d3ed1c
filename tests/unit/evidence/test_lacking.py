"""A disk that takes no more evidence: the run stops before anything else is done, and ends as any other stop."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from requorum.command import Command
from requorum.evidence import audit
from requorum.evidence.journal import EvidenceError, Journal
from requorum.hosts.failure import raise_all
from requorum.hosts.fleet import Fleet, Unreachable
from requorum.plugin import hooks
from requorum.run import lock
from requorum.run import run as runs
from requorum.run.lock import Holder
from requorum.run.run import Run
from requorum.run.terms import Options
from tests.unit import build
from tests.unit.plugin.ending.ended import block, ended


def fill(journal: Journal) -> None:
    """From here on the disk is full."""
    os.dup2(os.open("/dev/full", os.O_WRONLY), journal._file)


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "run")


@pytest.fixture
def fleet(journal: Journal) -> Any:
    with Fleet(build.inventory(transport={"backend": "local"}), journal) as fleet:
        yield fleet


def touch(host: str, path: Path) -> Command:
    return Command(host, ("touch", str(path)), "test", root=False)


class TestTheJournal:
    def test_a_full_disk_is_this_machines_and_says_what_to_do(self, journal: Journal) -> None:
        fill(journal)
        with pytest.raises(EvidenceError) as refused:
            journal.record("note", text="x")
        found = block(ended(refused.value))
        where = journal.directory
        assert found["Failed"].startswith(f"this machine: evidence cannot be written to {where}: No space left on")
        assert found["Do first"] == "make room there, or add --evidence=DIR, a directory on another disk"
        assert "Cause" not in found and "State" in found and "Go on" in found

    def test_a_directory_that_was_removed_is_found(self, journal: Journal) -> None:
        shutil.rmtree(journal.directory)
        with pytest.raises(EvidenceError, match="somebody removed it"):
            journal.record("note", text="x")

    def test_half_a_record_is_taken_away_again(self, journal: Journal) -> None:
        journal.record("note", text="whole")
        before, limits = journal.path.stat().st_size, resource.getrlimit(resource.RLIMIT_FSIZE)
        handled = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (before + 10, limits[1]))
        try:
            with pytest.raises(EvidenceError, match="File too large"):
                journal.record("note", text="torn")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            signal.signal(signal.SIGXFSZ, handled)
        assert journal.path.stat().st_size == before

    def test_no_record_follows_one_that_is_lacking(self, journal: Journal) -> None:
        """Room that somebody made meanwhile must not hide the gap."""
        journal.record("note", text="whole")
        kept = os.dup(journal._file)
        fill(journal)
        with pytest.raises(EvidenceError):
            journal.record("note", text="lacking")
        os.dup2(kept, journal._file)
        with pytest.raises(EvidenceError):
            journal.record("note", text="later")
        assert len(audit.records(journal.path.read_bytes())) == 1

    def test_a_summary_that_cannot_be_written_is_the_same_refusal(self, journal: Journal) -> None:
        (journal.directory / "summary.part").symlink_to("/dev/full")
        with pytest.raises(EvidenceError, match="No space left on device"):
            journal.summary({"a": 1})


class TestTheFleet:
    def test_nothing_more_is_started_on_any_host(self, fleet: Fleet, tmp_path: Path) -> None:
        fill(fleet.journal)
        with pytest.raises(EvidenceError):
            fleet.run([touch("etcd-1", tmp_path / "first")])
        with pytest.raises(EvidenceError):
            fleet.run([touch("etcd-2", tmp_path / "second")])
        assert (tmp_path / "first").exists() and not (tmp_path / "second").exists()

    def test_what_runs_already_is_waited_for(self, fleet: Fleet, tmp_path: Path) -> None:
        fill(fleet.journal)
        slow = Command("etcd-1", ("sh", "-c", f"sleep 1; touch {tmp_path}/last"), "test", root=False)
        with pytest.raises(EvidenceError):
            fleet.run([touch("etcd-1", tmp_path / "first"), slow])
        assert (tmp_path / "last").exists()

    def test_no_host_is_at_fault_for_it(self, journal: Journal) -> None:
        fill(journal)
        with pytest.raises(EvidenceError) as refused:
            journal.record("note")
        with pytest.raises(EvidenceError):
            raise_all([Unreachable("etcd-1", "did not answer: x", "y"), refused.value])


def test_at_the_end_the_lock_is_let_go_without_evidence_too(
    fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = tmp_path / "lock"
    kept.touch()
    holder = Holder("ann", "bastion", 1, "2026-01-01T00:00:00Z")
    monkeypatch.setattr(lock, "drop", lambda host, *_, **__: Command(host, ("rm", str(kept)), "drop", root=False))
    run = Run(fleet.inventory, Options(), fleet.journal, fleet)
    run.lock = holder
    fill(fleet.journal)
    with pytest.raises(EvidenceError):
        run.note("the disk is full")
    fleet.journal.ending = True
    runs.release_lock(run)
    assert run.let_go and not kept.exists()


def test_a_run_whose_disk_fills_up_lets_its_lock_go_and_looks_once_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`opened`, as the front door does it: neither the lock nor the closing look needs the journal."""
    given = Options(evidence=tmp_path / "evidence")
    stash: dict[Any, Any] = {hooks.PROCEDURE: SimpleNamespace(confirms=True)}
    at_the_end: list[Any] = []
    config: Any = SimpleNamespace(
        stash=stash,
        getoption=lambda name: False,
        pluginmanager=SimpleNamespace(getplugin=lambda name: None),
        add_cleanup=at_the_end.append,
    )
    looked: list[str] = []
    monkeypatch.setattr(hooks, "options_of", lambda *_: given)
    monkeypatch.setattr(lock, "drop", lambda host, *_, **__: touch(host, tmp_path / "dropped"))
    monkeypatch.setattr(hooks, "_how_things_stand", lambda run, error: looked.append(run.stage))
    inventory = build.inventory(transport={"backend": "local"})
    with hooks.opened(config, inventory) as run:
        run.begin("m::TestStep0::test_given_a")
        run.lock = Holder("ann", "bastion", 1, "2026-01-01T00:00:00Z")
        run.end("m::TestStep0::test_given_a", "passed", 0.1, "")
        fill(run.journal)
        with pytest.raises(EvidenceError):
            run.note("the disk is full")
    assert (tmp_path / "dropped").exists() and run.let_go
    assert looked == ["m::TestStep0::test_given_a"]


@pytest.mark.parametrize("room", [100, 1200])
def test_a_run_whose_disk_is_full_ends_in_a_block_whenever_that_is(tmp_path: Path, room: int) -> None:
    (tmp_path / "ssh").write_text("Host *\n  HostName 127.0.0.1\n  Port 1\n")
    inventory = tmp_path / "nowhere.yaml"
    inventory.write_text(
        yaml.safe_dump(build.document(transport={"backend": "ssh", "ssh_config": str(tmp_path / "ssh")}))
    )
    arguments = ("runbook", f"--hosts={inventory}", "--confirm=lab", f"--evidence={tmp_path}/evidence")
    ended = subprocess.run(
        (sys.executable, "-m", "pytest", *arguments),
        cwd=Path(__file__).parents[3],
        env={k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (room, room)),
    )
    said = ended.stdout + ended.stderr
    assert ended.returncode == 1, said
    assert "Traceback" not in said and "INTERNALERROR" not in said and ".py:" not in ended.stdout, said
    assert "\nFailed     this machine: evidence cannot be written to " in ended.stdout and "File too large" in said
    assert "\nState " in ended.stdout and "\nDo first " in ended.stdout and "\nGo on " in ended.stdout
