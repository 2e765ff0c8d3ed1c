"""Machines like RHEL's, as administrators leave them: tools, sudo, groups, shells, banners, a proxy and umasks."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from compose import other_hosts
from compose.nodes import Node
from compose.state import SSH_CONFIG
from tests.lab import procedures
from tests.lab.rehearsal import Own, Rehearsal
from tests.lab.test_rollback import assert_equal, assert_rolled_back, listing, roll_back

pytestmark = pytest.mark.matrix


def test_a_check_a_recovery_and_its_rollback_pass_on_hosts_like_rhels(own: Own) -> None:
    other = own(hosts_like="rhel")
    inventory = other.inventory()
    findings = _checked(other, inventory)
    assert [f for f in findings.values() if f["verdict"] in ("fails", "unknown")] == []
    said = f"its login's shell {{}}prints '{other_hosts.BANNER}' before every answer, which is cut off"
    assert said.format("") in findings["etcd-1", "ssh"]["found"]
    assert said.format("is tcsh and ") in findings["etcd-2", "ssh"]["found"]
    assert findings["etcd-1", "secure_path"]["found"] == other_hosts.SECURE_PATH

    unfound = (
        f"has neither etcdutl nor etcdctl where root looks for them: sudo's secure_path is {other_hosts.SECURE_PATH}"
    )
    with _tools_in_local(other.nodes.by_name("etcd-1")):
        found = {key: f["found"] for key, f in _checked(other, inventory).items() if f["verdict"] == "fails"}
        assert found["etcd-1", "version"] == f"etcd-1: {unfound}"
        other.lose("wipe")
        refused = other.run(inventory)
        assert refused.code == 1 and unfound in " ".join(refused.output.split()), refused.output
        assert refused.summary["outcome"] == "refused" and "step_0" in refused.summary["stopped_at"]

    before = listing(other)
    with _administrator_logged_in(other.nodes.configuration_server):
        run = other.run(inventory)
        assert f"etcd-2: its login's shell is tcsh and prints '{other_hosts.BANNER}'" in " ".join(run.output.split())
        other.assert_recovered(run)
        assert_rolled_back(roll_back(other, inventory, "--discard-new-writes"))
    assert_equal(before, listing(other))


@contextmanager
def _tools_in_local(node: Node) -> Iterator[None]:
    """etcd's tools where an administrator may put them, and where RHEL's sudo does not look."""
    move = "for tool in etcdctl etcdutl; do mv /usr/{}bin/$tool /usr/{}bin/ || exit 1; done"
    node.run(["sh", "-c", move.format("", "local/")])
    try:
        yield
    finally:
        node.run(["sh", "-c", move.format("local/", "")])


@contextmanager
def _administrator_logged_in(node: Node) -> Iterator[None]:
    """At Deephaven's configuration server, by ssh, as the account that runs it."""
    keys = "install -d -m 700 -o irisadmin /home/irisadmin/.ssh && install -m 600 -o irisadmin "
    node.run(["sh", "-ec", f"{keys} /home/ops/.ssh/authorized_keys /home/irisadmin/.ssh/authorized_keys"])
    login = ("ssh", "-F", SSH_CONFIG, "-o", "User=irisadmin", node.name, "exec sleep 900")
    with subprocess.Popen(login, stdin=subprocess.DEVNULL, start_new_session=True) as process:
        try:
            node.run(
                ["sh", "-c", "for i in 1 2 3 4 5 6 7 8 9; do pgrep -u irisadmin sleep && exit; sleep 1; done; false"]
            )
            yield
        finally:
            process.terminate()


def _checked(other: Rehearsal, inventory: Path) -> dict[tuple[str, str], dict[str, str]]:
    run = procedures.run(other.scratch, "", f"--hosts={inventory}", "--check")
    return {(finding["host"], finding["check"]): finding for finding in run.summary["findings"]}
