"""Machines that are only different from the lab's: a login's shell and what it prints, and where tools lie."""

from __future__ import annotations

from pathlib import Path

import pytest

from compose import apt, image
from compose.nodes import Node
from tests.lab import procedures
from tests.lab.rehearsal import Own

pytestmark = pytest.mark.matrix
BANNER = "Welcome to production!"
SBIN = (
    "for tool in ip ss; do mv $(readlink -f $(command -v $tool)) /usr/local/sbin/; rm -f /bin/$tool /sbin/$tool; done"
)


def _install_tcsh(node: Node, scratch: Path) -> None:
    scratch.mkdir()
    (deb,) = apt.download(["tcsh"], image.BASE_SUITE, scratch)
    node.put("/root/tcsh.deb", deb.read_bytes())
    node.run(["dpkg", "--install", "--force-depends", "/root/tcsh.deb"], timeout=120)
    node.run(["usermod", "-s", "/usr/bin/tcsh", "ops"])


def test_a_banner_tcsh_and_tools_in_sbin_alone_are_no_hindrance(own: Own, tmp_path: Path) -> None:
    other = own()
    second = other.nodes.members[1]
    _install_tcsh(second, tmp_path / "deb")
    for node in other.nodes.all:
        node.run(["sh", "-c", SBIN])
        node.put("/home/ops/.tcshrc", f"echo '{BANNER}'\n".encode(), 0o644)
        node.run(["sed", "-i", f"1i echo '{BANNER}'", "/home/ops/.bashrc"])
    inventory = other.inventory()
    checked = procedures.run(other.scratch, "", f"--hosts={inventory}", "--check")
    findings = {(f["host"], f["check"]): f for f in checked.summary["findings"]}
    assert [f for f in findings.values() if f["verdict"] in ("fails", "unknown")] == [], checked.output
    said = f"answers; its login's shell {{}}prints '{BANNER}' before every answer, which is cut off"
    assert findings["etcd-1", "ssh"]["found"] == said.format("")
    assert findings["etcd-2", "ssh"]["found"] == said.format("is tcsh and ")
    other.lose("wipe")
    run = other.run(inventory)
    assert f"etcd-2: its login's shell is tcsh and prints '{BANNER}'" in " ".join(run.output.split())
    other.assert_recovered(run)
