"""Logs of a faulty lab in one archive: everything asked for is in it, what is bad is marked, and no secret is."""

from __future__ import annotations

import re
import stat
import tarfile
from pathlib import Path

import pytest

from compose import faults, lab
from compose.ailments import by_name
from compose.nodes import Node
from tests.lab import procedures
from tests.lab.rehearsal import Rehearsal, Run
from tests.lab.test_diagnose import await_health

PLANTED = (
    "hunter2-in-the-journal",
    "hunter2-in-the-config",
    "MHcCAQEEhunter2",
    "hunter2.4149",
    "eyJhbGciOiJodW50ZXIyIn0",
)
JOURNAL = f"""
logger -t planted 'started with --password {PLANTED[0]} at once'
logger -t planted 'token: "{PLANTED[3]}"'
logger -t planted 'Authorization: Bearer {PLANTED[4]}.e30.x'
printf '%s\\n' '-----BEGIN EC PRIVATE KEY-----' '{PLANTED[2]}' '-----END EC PRIVATE KEY-----' | logger -t planted
echo '# password: {PLANTED[1]}' >>/etc/etcd/dh/latest/config.yaml
"""
UNDO = "sed -i '/^# password: /d' /etc/etcd/dh/latest/config.yaml"


def test_the_logs_of_a_faulty_lab_are_collected_marked_and_without_a_secret(rehearsal: Rehearsal) -> None:
    assert_collected(rehearsal)
    rehearsal.spoilt = False


@pytest.mark.matrix
def test_so_are_those_of_etcd_3_4(tmp_path: Path) -> None:
    lab.down()
    other = Rehearsal(tmp_path, etcd="3.4", spares=0)
    try:
        other.prepare()
        assert_collected(other)
    finally:
        lab.down()


def assert_collected(rehearsal: Rehearsal) -> None:
    nodes = rehearsal.nodes
    (victim, quiet) = (nodes.members[0], nodes.query[0])
    ailment = by_name("forged")
    ailment.inject(nodes)
    victim.run(["bash", "-ec", JOURNAL])
    faults.power_off(quiet)
    try:
        run = collect(rehearsal)
    finally:
        faults.power_on(quiet)
        victim.run(["sh", "-c", UNDO])
        ailment.heal(nodes)
    await_health(rehearsal)
    evidence = archive_of(run).parent
    assert run.code == 0, run.output
    assert run.summary["outcome"] == "diagnosed"
    assert "query-1: " in run.output, "the host that was off is named"
    assert {path.name for path in evidence.iterdir()} == {
        "journal.jsonl",
        "summary.json",
        "report.html",
        "logs.html",
        "logs.tar.gz",
    }
    files = unpacked(archive_of(run))
    for member in nodes.members:
        own = {name.split("/")[1] for name in files if name.startswith(f"{member.name}/")}
        assert {"journal-etcd.log", "journal.log", "config.yaml", "certificates.txt", "unit.txt", "disk.txt"} <= own
    assert "planted" in files["etcd-1/journal.log"] and "planted" not in files["etcd-1/journal-etcd.log"]
    assert "notAfter=" in files["etcd-1/certificates.txt"]
    assert '"cluster_id"' in files["infra-1/etcd-status.json"]
    assert "configuration_server" in files["infra-1/monit.txt"]
    page = files["index.html"]
    assert "certificate rejected" in page and "One side does not accept the other" in page
    assert "query-1 could not be asked" in page
    assert_no_secret(evidence, files, nodes.configuration_server)


def collect(rehearsal: Rehearsal, *arguments: str) -> Run:
    return procedures.run(
        rehearsal.scratch, "troubleshoot/collect_logs", f"--hosts={rehearsal.inventory()}", "--since=15m", *arguments
    )


def archive_of(run: Run) -> Path:
    found = re.search(r"Collected: (\S+logs\.tar\.gz)", run.output)
    assert found, run.output
    path = Path(found[1])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    return path


def unpacked(archive: Path) -> dict[str, str]:
    """name without the first directory → content."""
    with tarfile.open(archive) as tar:
        return {
            member.name.partition("/")[2]: file.read().decode(errors="replace")
            for member in tar
            if (file := tar.extractfile(member))
        }


def assert_no_secret(evidence: Path, files: dict[str, str], server: Node) -> None:
    """Neither what was planted, nor the roles' own passwords, nor a token that etcd wrote by itself."""
    roles = server.run(["sh", "-c", "cat /etc/sysconfig/deephaven/etcd/client/*/password"]).stdout.split()
    assert len(roles) >= 3
    written = {path.name: path.read_text() for path in evidence.iterdir() if path.suffix != ".gz"}
    for name, text in {**files, **written}.items():
        left = [secret for secret in (*PLANTED, *roles) if secret in text]
        assert left == [], f"{name} holds {left}"
        assert not re.search(r'"token":"', text), f"{name} holds a token of etcd's"
    assert "•••" in files["etcd-1/journal.log"] and "•••" in files["etcd-1/config.yaml"]
