"""Two clusters lose their quorum in one night: one operator recovers both at the same time, from one checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from compose.state import OTHER, REPOSITORY
from tests.lab import launch
from tests.lab.rehearsal import Rehearsal

pytestmark = pytest.mark.matrix

NAME = f"{OTHER}two"
KEYS = 2_000


def second(*words: str) -> None:
    """The other lab's own command line."""
    environment = {**os.environ, "REQUORUM_LAB": NAME}
    subprocess.run([sys.executable, "-m", "compose.lab", *words], cwd=REPOSITORY, env=environment, check=True)


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Path]:
    """The inventory of a second lab that has lost its quorum."""
    try:
        second("up")
        second("load", "--keys", str(KEYS))
        second("break", "--how", "wipe", "--members", "etcd-2,etcd-3")
        yield REPOSITORY / "inventory" / f"lab-{NAME}.yaml"
    finally:
        second("down")


def named(content: dict[str, Any], cluster: str, backups: Path) -> dict[str, Any]:
    content["snapshot"]["directory"] = str(backups)
    return {**content, "cluster": cluster}


def test_two_clusters_are_recovered_at_the_same_time(rehearsal: Rehearsal, other: Path) -> None:
    rehearsal.lose("wipe")
    evidence = Path(tempfile.mkdtemp(prefix="evidence-", dir=rehearsal.scratch))
    one = rehearsal.inventory(lambda content: content.update(cluster="first"))
    content = yaml.safe_load(other.read_text())
    content["transport"]["ssh_config"] = str(other.parent / content["transport"]["ssh_config"])
    two = rehearsal.scratch / "inventory-second.yaml"  # as every other is called
    two.write_text(yaml.safe_dump(named(content, "second", rehearsal.scratch / "second-backups")))
    (rehearsal.scratch / "second-backups").mkdir()

    processes = {}
    for cluster, inventory in (("first", one), ("second", two)):  # one directory of evidence for all, as by default
        (evidence / cluster).mkdir()
        argv = [sys.executable, "-m", "pytest", "runbook", f"--hosts={inventory}", f"--confirm={cluster}", "-v"]
        with (evidence / f"{cluster}.txt").open("wb") as said:
            processes[cluster] = subprocess.Popen(
                [*argv, f"--evidence={evidence}"],
                cwd=REPOSITORY,
                env=launch.ENVIRONMENT,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
    codes = {cluster: process.wait(timeout=900) for cluster, process in processes.items()}
    told = {cluster: (evidence / f"{cluster}.txt").read_text() for cluster in processes}
    assert codes == {"first": 0, "second": 0}, "\n".join(told.values())

    found = {cluster: yaml.safe_load((evidence / cluster / "latest" / "summary.json").read_text()) for cluster in codes}
    assert {cluster: (f["cluster"], f["outcome"]) for cluster, f in found.items()} == {
        cluster: (cluster, "recovered") for cluster in codes
    }
    assert found["first"]["run"] != found["second"]["run"]
    begun = {cluster: (f["started"], f["finished"]) for cluster, f in found.items()}
    assert begun["first"][0] < begun["second"][1] and begun["second"][0] < begun["first"][1], "not one after the other"
    rehearsal.forget_old_addresses()
    rehearsal.assert_data_is_back()
    assert found["second"]["snapshot"]["keys"] >= KEYS
