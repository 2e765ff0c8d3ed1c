"""Backup and diagnosis probe their hosts first, as a recovery does: what is odd about one is known in time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from requorum.diagnosis import examination
from requorum.evidence.journal import Journal
from requorum.hosts.fleet import Fleet
from requorum.refusal import Disproved
from requorum.run.run import Run
from requorum.run.terms import Options
from requorum.snapshots import backup
from tests.unit import build

SUDO = """#!/bin/sh
[ "$1" = -n ] && shift
[ "$1" = -l ] && { printf 'Matching Defaults entries:\\n    umask=0077\\n\\n'
    printf 'User x may run the following commands on y:\\n'
    printf '    (root) NOPASSWD: ALL\\n'; exit; }
exec "$@"
"""
REFUSES = "#!/bin/sh\necho 'sudo: a password is required' >&2; exit 1\n"


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    inventory = build.inventory({"etcdctl": "/bin/true get"}, transport={"backend": "local"})
    with Fleet(inventory, Journal(tmp_path / "evidence")) as fleet:
        yield Run(inventory, Options(), fleet.journal, fleet)


def sudo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    (tmp_path / "sudo").write_text(script)
    (tmp_path / "sudo").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")


def test_a_backup_probes_the_configuration_server(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sudo(tmp_path, monkeypatch, SUDO)
    backup.the_configuration_server_answers(run)
    assert list(run.probed) == ["infra-1"] and run.fleet.patience["infra-1"] > 0
    assert [note for note in run.notes if note.startswith("infra-1: sudo gives root the umask 0077")]
    sudo(tmp_path, monkeypatch, REFUSES)
    with pytest.raises(Disproved, match="infra-1: found sudo refused: sudo: a password is required"):
        backup.the_configuration_server_answers(run)


def test_a_diagnosis_probes_every_host(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sudo(tmp_path, monkeypatch, SUDO)
    silent, clocks = examination.reach(run)
    assert silent == {} and set(clocks) == set(run.probed) == set(run.fleet.patience) == set(run.terms.everyone)
    assert [
        note for note in run.notes if note.startswith(f"{', '.join(run.terms.everyone)}: sudo gives root the umask")
    ]
    sudo(tmp_path, monkeypatch, REFUSES)
    silent, clocks = examination.reach(run)
    assert clocks == {} and set(silent.values()) == {"sudo refused: sudo: a password is required"}
