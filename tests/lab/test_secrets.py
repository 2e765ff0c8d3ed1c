"""Every password and key of the old and the new cluster is known to this test, and is found nowhere it must not be."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

from compose.nodes import Node, Nodes, on_each
from compose.state import REPOSITORY
from tests.lab.rehearsal import Rehearsal

GENERATOR = "/usr/illumon/latest/bin/config_generator.sh"
KEEPER = "/usr/local/bin/generate-and-keep"
KEPT = "/root/kept.tgz"
# The generator's new passwords are gone when a run is over; this keeps what it made.
KEEP = f"""#!/bin/sh
set -e
{GENERATOR} "$@"
nsenter -t 1 -m test -e /tmp/"$2" && exit 1  # nobody else sees what it makes
umask 077
tar -czf {KEPT} -C / etc/sysconfig/deephaven/etcd/dh_etcd_config.tgz tmp/"$2"/dh_query.tgz
"""
PATTERNS = "/root/patterns"
CANARY = "/tmp/canary"


def test_no_password_and_no_key_is_found_anywhere(rehearsal: Rehearsal, tmp_path: Path) -> None:
    nodes = rehearsal.nodes
    old = on_hosts(nodes)
    rehearsal.lose("wipe")
    server = nodes.configuration_server
    server.put(KEEPER, KEEP.encode(), 0o755)
    inventory = rehearsal.inventory(keeping)
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    argv = [
        sys.executable,
        "-m",
        "pytest",
        "runbook",
        f"--hosts={inventory}",
        "--confirm=lab",
        f"--evidence={tmp_path / 'evidence'}",
        f"--junitxml={tmp_path / 'junit.xml'}",
        "-rA",
    ]
    with process_list() as seen:
        run = subprocess.run(
            argv,
            cwd=REPOSITORY,
            env={**os.environ, "TMPDIR": str(temporary)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
    assert run.returncode == 0, run.stdout.decode()
    (tmp_path / "terminal").write_bytes(run.stdout)
    (tmp_path / "processes").write_text("\n".join(sorted(seen)))
    assert any(KEEPER in line for line in seen), "the hosts' processes are in the list"

    new = in_archive(server.get(KEPT))
    server.run(["rm", KEPT, KEEPER])
    secrets = old | new
    assert len(old) >= 14, "eleven roles' passwords and the members' keys"
    assert len(new - old) >= 6

    assert {path.name for path in with_secrets(tmp_path, secrets)} == set(), "on the operator's machine"
    assert list(temporary.iterdir()) == [], "nothing of the run stays in the operator's /tmp"
    server.put(CANARY, sorted(new)[0].encode(), 0o600)
    on_each(nodes.all, lambda node: node.put(PATTERNS, "\n".join(sorted(secrets)).encode()))
    found = {place for node in nodes.all for place in places(node)}
    on_each(nodes.all, lambda node: node.run(["rm", "-f", PATTERNS, CANARY]))
    assert found == {f"{server.name}: {CANARY}"}, "only what this test has planted to see that it would be found"

    rehearsal.assert_data_is_back()
    rehearsal.assert_deephaven_works()
    rehearsal.spoilt = False


def keeping(content: dict[str, Any]) -> None:
    commands = content["deephaven"]["commands"]
    commands["generate"] = commands["generate"].replace(GENERATOR, KEEPER)


# -- what is secret ----------------------------------------------------------------------------------------------


def of_file(name: str, text: str) -> str | None:
    """The secret that a file holds: a password, or a line of a private key's body."""
    if name.endswith("/password"):
        return text.strip()
    if "PRIVATE KEY" in text:
        return text.splitlines()[1]
    return None


def on_hosts(nodes: Nodes) -> set[str]:
    """The passwords on the configuration server and every private key of etcd's configuration."""
    found = set()
    script = "find /etc/sysconfig/deephaven /etc/etcd -type f ! -name '*.tgz' 2>/dev/null; true"
    for node in nodes.all:
        for path in node.run(["sh", "-c", script]).stdout.split():
            if path.endswith(("/password", ".key")):
                found.add(of_file(path, node.get(path).decode()))
    return {secret for secret in found if secret}


def in_archive(data: bytes) -> set[str]:
    """The same of an archive, and of the archives in it."""
    found: set[str] = set()
    with tarfile.open(fileobj=BytesIO(data)) as tar:
        for member in tar.getmembers():
            file = tar.extractfile(member)
            content = file.read() if file else b""
            if member.name.endswith(".tgz"):
                found |= in_archive(content)
            elif content and (secret := of_file(f"/{member.name}", content.decode(errors="replace"))):
                found.add(secret)
    return found


# -- where it must not be ----------------------------------------------------------------------------------------


@contextmanager
def process_list() -> Iterator[set[str]]:
    """Every process's arguments while this lasts, the lab's hosts included: they are containers of this machine."""
    seen: set[str] = set()
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.02):
            for process in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    seen.add(process.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
                except OSError:
                    continue  # it has ended

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield seen
    finally:
        over.set()
        watcher.join()


def with_secrets(directory: Path, secrets: set[str]) -> list[Path]:
    """The files below `directory` that hold one."""
    needles = [secret.encode() for secret in secrets]
    files = [path for path in directory.rglob("*") if path.is_file()]
    return [path for path in files if any(needle in path.read_bytes() for needle in needles)]


def places(node: Node) -> list[str]:
    """Where a host holds a secret in a temporary directory, in its journal, or in a file that everybody reads."""
    trees = "/etc /root /home /opt /var/lib /srv /run"
    script = f"""
        grep -rlFf {PATTERNS} /tmp /var/tmp /dev/shm 2>/dev/null
        journalctl --no-pager --output=export | grep -qaFf {PATTERNS} && echo journal
        grep -rqaFf {PATTERNS} /var/log --include='*.log' 2>/dev/null && echo /var/log
        find {trees} -xdev -type f -perm /o=r -size -9000k -exec grep -lFf {PATTERNS} {{}} + 2>/dev/null
        true
    """
    return [f"{node.name}: {line}" for line in node.run(["sh", "-c", script], timeout=120).stdout.splitlines()]
