"""Backups that lie elsewhere, encrypted: sent, proven, and recovered from when this machine has none.

The real programs where they are installed or apt brings them (age, rclone's local backend), else openssl and cp, which
every machine has.
"""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from compose import apt, cluster
from compose.apt import AptError
from requorum.snapshots import manifest
from tests.lab import procedures
from tests.lab.rehearsal import Rehearsal
from tests.lab.test_backup import into
from tests.lab.test_verify import left

ALSO = "/etc/sysconfig/deephaven"


def real_tools(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """age and rclone in this process' PATH, unpacked and not installed; neither where apt has none."""
    if all(map(shutil.which, ("age", "rclone"))) or not apt.available():
        return
    place.mkdir()
    with suppress(AptError, subprocess.SubprocessError):
        for deb in apt.download(["age", "rclone"], apt.codename(), place):
            subprocess.run(["dpkg-deb", "-x", deb, place / "root"], check=True)
        monkeypatch.setenv("PATH", f"{place}/root/usr/bin", prepend=":")


def cipher(place: Path) -> dict[str, str]:
    """`encrypt` and `decrypt`, with a key that only decrypting needs where the program has such ones."""
    key = place / "key"
    if age := shutil.which("age"):
        subprocess.run(["age-keygen", "-o", key], check=True, capture_output=True)
        public = subprocess.run(["age-keygen", "-y", key], check=True, capture_output=True, text=True).stdout.strip()
        return {"encrypt": f"{age} -r {public}", "decrypt": f"{age} -d -i {shlex.quote(str(key))}"}
    key.write_text("correct horse\n")
    line = f"openssl enc -aes-256-cbc -pbkdf2 -pass file:{shlex.quote(str(key))}"
    return {"encrypt": line, "decrypt": f"{line} -d"}


def store(place: Path) -> dict[str, str]:
    (remote := place / "remote").mkdir()
    at = shlex.quote(str(remote))
    if rclone := shutil.which("rclone"):
        return {
            "put": f"{rclone} copyto {{file}} {at}/{{name}}",
            "get": f"{rclone} cat {at}/{{name}}",
            "list": f"{rclone} lsf --files-only {at}",
        }
    return {"put": f"cp {{file}} {at}/{{name}}", "get": f"cp {at}/{{name}} {{file}}", "list": f"ls -1 {at}"}


def elsewhere(directory: Path, lines: dict[str, str], away: dict[str, str]) -> Callable[[dict[str, Any]], None]:
    def change(content: dict[str, Any]) -> None:
        into(directory)(content)
        content["snapshot"] |= lines
        content["offsite"] = away
        content["backup"] = {"also": [ALSO]}

    return change


@pytest.mark.matrix
def test_a_backup_that_was_sent_away_encrypted_is_proven_from_there_and_a_cluster_comes_back_from_it_alone(
    rehearsal: Rehearsal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_tools(tmp_path / "tools", monkeypatch)
    directory, lines, away = tmp_path / "nightly", cipher(tmp_path), store(tmp_path)
    inventory = rehearsal.inventory(elsewhere(directory, lines, away))
    run = procedures.run(rehearsal.scratch, "backup", f"--hosts={inventory}")
    assert run.code == 0 and "read back" in run.output, run.output
    (path,) = directory.glob("*.snap")
    note, remote = manifest.read(path), tmp_path / "remote"
    assert note and note.sealed
    sent = [f"{path.name}.also.enc", f"{path.name}.enc", f"{path.name}.json"]
    assert sorted(one.name for one in remote.iterdir()) == sent
    archive = subprocess.run(
        shlex.split(lines["decrypt"]), stdin=(remote / sent[0]).open("rb"), capture_output=True, check=True
    ).stdout
    listed = subprocess.run(["tar", "-tf", "-"], input=archive, capture_output=True, check=True).stdout.decode()
    assert f"{ALSO[1:]}/etcd/client/root/password" in listed
    assert b"/main/config/props" in path.read_bytes()
    assert b"/main/config/props" not in (remote / note.sealed.name).read_bytes()

    process, evidence = procedures.start(rehearsal.scratch, "verify", f"--hosts={inventory}", "--offsite")
    run = procedures.finish(process, evidence)
    assert run.code == 0 and "from off-site boots" in run.output, run.output
    told = json.loads(next(evidence.glob("*/*/proof.json")).read_text())
    assert told["recoverable"] is True and told["snapshot"]["sha256"] == note.sha256
    assert left(rehearsal.nodes) == {} and not list(directory.glob(".offsite-*"))

    broken = rehearsal.inventory(elsewhere(directory, {**lines, "decrypt": "false"}, away))
    run = procedures.run(rehearsal.scratch, "verify", f"--hosts={broken}", "--offsite")
    assert run.code == 1 and "cannot be decrypted: false ended with 1" in run.output
    assert "were this machine lost" in " ".join(run.output.split())

    shutil.rmtree(directory)  # this machine burnt, and is set up anew with the key
    rehearsal.lose("wipe", ("etcd-1", "etcd-2", "etcd-3"))
    recovery = rehearsal.run(inventory)
    rehearsal.assert_recovered(recovery)
    assert recovery.summary["snapshot"]["sha256"] == note.sha256
    assert sorted(one.name for one in directory.iterdir()) == [f"{path.name}.enc", f"{path.name}.json"]
    assert all(member.healthy for member in cluster.state(rehearsal.nodes).members)
