"""In a whole recovery, no Given and no Then leaves anything changed on any host."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.lab import around
from tests.lab.rehearsal import Rehearsal

# What changes by itself while a stage looks: a running etcd renames its logs, monit writes its state.
BY_ITSELF = (" /var/lib/etcd/", " /var/lib/monit", "unit systemd-tmpfiles-clean", " /var/lib/systemd/")


@pytest.mark.matrix  # two listings of every machine a stage: some minutes
def test_a_given_and_a_then_leave_every_host_as_it_was(
    rehearsal: Rehearsal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = tmp_path / "changes"
    monkeypatch.setenv(around.FILE, str(told))
    rehearsal.lose("wipe")
    run = rehearsal.run(rehearsal.inventory(), "-p", "tests.lab.around")
    assert run.recovered, run.output
    stages = [json.loads(line) for line in told.read_text().splitlines()]
    assert len(stages) > 25, "each was looked at"
    wrong = {
        stage["stage"]: left
        for stage in stages
        if (left := [line for line in stage["changed"] if not any(word in line for word in BY_ITSELF)])
    }
    assert wrong == {}
    rehearsal.assert_recovered(run)
