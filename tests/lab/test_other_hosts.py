"""Machines that are only different from the lab's: a login's shell and what it prints, and where tools lie."""

from __future__ import annotations

from pathlib import Path

import pytest

from compose import apt, image
from compose.nodes import Node
from tests.lab import procedures
from tests.lab.rehearsal import Own, Rehearsal

pytestmark = pytest.mark.matrix
BANNER = "Welcome to production!"
TO_SBIN = """
for tool in ip ss; do
    mv "$(readlink -f "$(command -v $tool)")" /root/ && rm -f /bin/$tool /sbin/$tool || exit 1
    mv /root/$tool /usr/sbin/
done
"""
TO_LOCAL = "for tool in etcdctl etcdutl; do mv /usr/bin/$tool /usr/local/bin/ || exit 1; done"
SUDOERS = "/etc/sudoers.d/path"
REDHATS = "/sbin:/bin:/usr/sbin:/usr/bin"  # sudo's secure_path there


def _install_tcsh(node: Node, scratch: Path) -> None:
    scratch.mkdir()
    (deb,) = apt.download(["tcsh"], image.BASE_SUITE, scratch)
    node.put("/root/tcsh.deb", deb.read_bytes())
    node.run(["dpkg", "--install", "--force-depends", "/root/tcsh.deb"], timeout=120)
    node.run(["usermod", "-s", "/usr/bin/tcsh", "ops"])


def test_banners_tcsh_and_tools_elsewhere_are_no_hindrance_or_are_named_before_anything_is_touched(
    own: Own, tmp_path: Path
) -> None:
    other = own()
    second = other.nodes.members[1]
    _install_tcsh(second, tmp_path / "deb")
    for node in other.nodes.all:
        node.run(["sh", "-c", TO_SBIN])
        node.put("/home/ops/.tcshrc", f"echo '{BANNER}'\n".encode(), 0o644)
        node.run(["sed", "-i", f"1i echo '{BANNER}'", "/home/ops/.bashrc"])
        node.put(SUDOERS, f'Defaults secure_path="{REDHATS}"\n'.encode(), 0o440)
    first = other.nodes.members[0]
    inventory = other.inventory()
    findings = _checked(other, inventory)
    assert [f for f in findings.values() if f["verdict"] in ("fails", "unknown")] == []
    said = f"answers; its login's shell {{}}prints '{BANNER}' before every answer, which is cut off"
    assert findings["etcd-1", "ssh"]["found"] == said.format("")
    assert findings["etcd-2", "ssh"]["found"] == said.format("is tcsh and ")
    assert findings["etcd-1", "secure_path"]["found"] == REDHATS

    first.run(["sh", "-c", TO_LOCAL])
    unfound = f"has neither etcdutl nor etcdctl where root looks for them: sudo's secure_path is {REDHATS}"
    found = {key: f["found"] for key, f in _checked(other, inventory).items() if f["verdict"] == "fails"}
    assert found["etcd-1", "version"] == f"etcd-1: {unfound}"
    other.lose("wipe")
    refused = other.run(inventory)
    assert refused.code == 1 and unfound in " ".join(refused.output.split()), refused.output
    assert refused.summary["outcome"] == "refused"
    assert "step_0" in refused.summary["stopped_at"]

    first.run(["rm", SUDOERS])  # Debian's own has /usr/local/bin
    run = other.run(inventory)
    assert f"etcd-2: its login's shell is tcsh and prints '{BANNER}'" in " ".join(run.output.split())
    other.assert_recovered(run)


def _checked(other: Rehearsal, inventory: Path) -> dict[tuple[str, str], dict[str, str]]:
    run = procedures.run(other.scratch, "", f"--hosts={inventory}", "--check")
    return {(finding["host"], finding["check"]): finding for finding in run.summary["findings"]}
