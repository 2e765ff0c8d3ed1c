"""The lock through real runs of the runbook: every host is this machine, and root's files are in a directory."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from compose import poll
from tests.unit import build

ROOT = Path(__file__).parents[3]
# What stands in for a machine's commands. Where the tools are asked for, `etcd` waits until the test lets it go on.
SUDO = """#!/bin/sh
shift
for word in "$@"; do
    shift
    set -- "$@" "$(printf '%s' "$word" | sed 's#/var/lib/requorum#{place}/root#')"
done
exec "$@"
"""
ETCD = """#!/bin/sh
touch {place}/asked
until [ -e {place}/go ]; do sleep 0.1; done
exit 1
"""
SILENT = "#!/bin/sh\n"
# As ssh does: what it started goes on when it is ended, and nobody hears of it any more.
SSH = f"""#!{sys.executable} -SE
import os, subprocess, sys, threading
if "-O" in sys.argv:
    sys.exit()
there = subprocess.Popen(["sh", "-c", sys.argv[-1]], stdout=-1, stderr=-1, start_new_session=True)
def bring(source, target):
    while block := os.read(source.fileno(), 65536):
        os.write(target, block)
threads = [threading.Thread(target=bring, args=pair) for pair in ((there.stdout, 1), (there.stderr, 2))]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
sys.exit(there.wait())
"""


@dataclass
class Desk:
    """An operator's desk: an inventory, and runs that were started from it."""

    place: Path
    runs: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def lock(self) -> Path:
        return self.place / "root" / "lab" / "lock"

    def start(self) -> subprocess.Popen[str]:
        argv = (
            "-m",
            "pytest",
            "runbook",
            f"--hosts={self.place}/lab.yaml",
            "--confirm=lab",
            "--timeout-scale=4",  # the first is held at a question for as long as the second takes to be refused
            f"--evidence={self.place}/evidence",
        )
        run = subprocess.Popen(
            (sys.executable, *argv),
            cwd=ROOT,
            env={**os.environ, "PATH": f"{self.place}/bin:{os.environ['PATH']}"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.runs.append(run)
        return run

    def start_and_lock(self) -> subprocess.Popen[str]:
        """A run that holds the lock and is at work."""
        run = self.start()
        poll.until(
            (self.place / "asked").exists,
            seconds=60,
            what="the run is at work",
            why_not=lambda: f"it ended: {run.poll()}",
        )
        assert self.lock.is_symlink()
        return run


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    (tmp_path / "bin").mkdir()
    for name, text in {"ssh": SSH, "sudo": SUDO, "etcd": ETCD, "systemctl": SILENT, "logger": SILENT}.items():
        program = tmp_path / "bin" / name
        program.write_text(text.replace("{place}", str(tmp_path)))
        program.chmod(0o755)
    (tmp_path / "lab.yaml").write_text(yaml.safe_dump(build.document(transport={"backend": "ssh"})))
    desk = Desk(tmp_path)
    yield desk
    (tmp_path / "go").touch()
    for run in desk.runs:
        run.kill()
        run.communicate()


def test_a_second_run_is_refused_at_once_and_ctrl_c_lets_go_of_the_lock(desk: Desk) -> None:
    first = desk.start_and_lock()
    second = desk.start()
    said, _ = second.communicate(timeout=120)
    assert second.returncode == 1, said
    assert f"(process {first.pid}), since " in said and "lab is locked by " in said, said
    assert "\n           ssh infra-1.invalid sudo -n timeout -k 5 60 rm -f /var/lib/requorum/lab/lock" in said
    assert first.poll() is None and desk.lock.is_symlink(), "the first goes on, and keeps its lock"

    os.killpg(first.pid, signal.SIGINT)
    said, _ = first.communicate(timeout=60)
    assert first.returncode == 2, said
    assert not desk.lock.is_symlink(), said


def test_a_killed_runs_lock_is_taken_over_and_let_go_when_the_next_run_fails(desk: Desk) -> None:
    first = desk.start_and_lock()
    first.kill()
    first.wait()
    assert desk.lock.is_symlink(), "nobody let it go"
    (desk.place / "go").touch()
    second = desk.start()
    said, _ = second.communicate(timeout=120)
    assert second.returncode == 1, said
    assert f"(process {first.pid})" in said and "is taken over: that process has ended" in said, said
    assert "has no etcd in its PATH" in said, "it went on to the next thing that does not hold"
    assert not desk.lock.is_symlink(), said
