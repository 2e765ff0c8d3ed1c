"""What 9c571ea began in the lab and was killed in, the present version carries on."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import tarfile
from pathlib import Path

import pytest

from compose.state import REPOSITORY
from tests.lab import procedures
from tests.lab.rehearsal import Rehearsal, Run
from tests.lab.test_interruption import Moment, acts, await_stage, ends
from tests.lab.writers import leftovers

pytestmark = pytest.mark.matrix
LANDED = "9c571ea"
INSTALLED = "test_when_the_server_configuration_is_installed"


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkout of then. It is in the history: a shallow clone must be made whole first."""
    place = tmp_path_factory.mktemp(LANDED)
    kept = subprocess.run(["git", "archive", LANDED], cwd=REPOSITORY, check=True, capture_output=True).stdout
    with tarfile.open(fileobj=io.BytesIO(kept)) as archive:
        archive.extractall(place, filter="data")
    return place


def killed(rehearsal: Rehearsal, inventory: Path, before: Path, stage: str, moment: Moment, *, of: str) -> None:
    """A procedure of then, killed at that moment."""
    process, evidence = rehearsal.start(inventory, procedure=of, checkout=before)
    try:
        await_stage(process, evidence, stage, moment)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.parametrize(
    "stage",
    [
        "test_when_etcd_is_stopped_and_its_unit_set_aside",
        "test_when_the_old_passwords_are_put_into_the_archives",
        INSTALLED,
        "test_when_the_snapshot_is_restored_on_every_member",
        "test_when_deephaven_is_turned_on_at_the_configuration_server",
    ],
)
def test_a_recovery_is_finished(rehearsal: Rehearsal, before: Path, stage: str) -> None:
    rehearsal.lose("wipe")
    inventory = rehearsal.inventory()
    killed(rehearsal, inventory, before, stage, acts, of="runbook")
    rehearsal.assert_recovered(rehearsal.run(inventory))
    assert leftovers(rehearsal.nodes) == []


@pytest.mark.parametrize("stage", ["test_when_the_new_etcd_is_stopped", "test_when_what_the_run_brought_is_set_aside"])
def test_a_rollback_is_finished_and_the_recovery_after_it_too(rehearsal: Rehearsal, before: Path, stage: str) -> None:
    rehearsal.lose("wipe")
    inventory = rehearsal.inventory()
    killed(rehearsal, inventory, before, INSTALLED, ends, of="runbook")
    killed(rehearsal, inventory, before, stage, acts, of="runbook/rollback")
    run = _procedure(rehearsal, inventory, "rollback")
    assert run.code == 0 and run.summary["outcome"] == "rolled-back", run.output
    rehearsal.assert_recovered(rehearsal.run(inventory))


def test_a_backup_is_made(rehearsal: Rehearsal, before: Path) -> None:
    inventory = rehearsal.inventory()
    killed(rehearsal, inventory, before, "test_when_a_snapshot_is_saved", acts, of="runbook/backup")
    rehearsal.nodes.by_name("infra-1").run(["sh", "-c", "touch -d '2 hours ago' /var/lib/requorum/lab/backup-*"])
    run = _procedure(rehearsal, inventory, "backup")
    assert run.code == 0 and run.summary["outcome"] == "backed-up", run.output
    assert procedures.left_on_hosts(rehearsal.nodes) == {}
    rehearsal.spoilt = False


def _procedure(rehearsal: Rehearsal, inventory: Path, name: str) -> Run:
    return procedures.run(rehearsal.scratch, name, f"--hosts={inventory}", "--confirm=lab")
