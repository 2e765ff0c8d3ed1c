"""What must end with one clear message before anything of the cluster is touched."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from compose import faults
from compose.nodes import Node
from requorum.inventory import load
from requorum.run import marker
from requorum.run.marker import Marker, Phase
from tests.lab.rehearsal import Rehearsal
from tests.lab.writers import data_dir


def test_a_healthy_cluster_is_not_rebuilt_whatever_run_a_host_has_a_mark_of(rehearsal: Rehearsal) -> None:
    """H2: with the living cluster's token a planted mark steered a recovery. What the stop prints ends it."""
    inventory, member = rehearsal.inventory(), rehearsal.nodes.by_name("etcd-1")
    token = data_dir(member).rpartition("/")[2]
    spelled = " ".join(f"{m.name}={m.host}/{m.ip}" for m in load(inventory).members)
    lie = Marker("29991231t235959z-abcdef", token, Phase.STOPPING, "eve@desk", members=spelled)
    query = rehearsal.nodes.by_name("query-1")
    query.run(["mkdir", "-p", "/var/lib/requorum/lab"])
    query.put("/var/lib/requorum/lab/run.json", marker.write("query-1", "lab", lie).stdin or b"")
    lied = rehearsal.run(inventory)
    rehearsal.assert_untouched(lied)
    assert lied.summary["stopped_at"].endswith("test_given_no_other_run_is_under_way")
    assert "query-1: the mark of a run there is not what infra-1 says" in lied.output
    away, *_ = re.findall(r"move the mark away: (ssh [^;]*);", lied.output)
    subprocess.run(away, shell=True, check=True, timeout=60)

    run = rehearsal.run(inventory)
    rehearsal.assert_untouched(run)
    assert run.code == 1
    assert "quorum is intact" in run.output
    assert run.summary["outcome"] == "refused"


@pytest.mark.matrix
@pytest.mark.parametrize("host", ["etcd-2", "infra-1"])
def test_a_mark_that_cannot_be_read_is_moved_aside_by_what_the_stop_prints(rehearsal: Rehearsal, host: str) -> None:
    inventory, node, base = rehearsal.inventory(), rehearsal.nodes.by_name(host), "/var/lib/requorum/lab"
    node.run(["mkdir", "-p", base])
    for content in (b"", b"{"):
        node.put(f"{base}/run.json", content)
        run = rehearsal.run(inventory)
        rehearsal.assert_untouched(run)
        assert run.summary["stopped_at"].endswith("test_given_no_other_run_is_under_way")
        away, *_ = re.findall(r"where nothing is deleted: (ssh [^\n]*run\.json\.unread)", run.output)
        subprocess.run(away, shell=True, check=True, timeout=60)
    kept = node.run(["ls", base]).stdout.split()
    assert "run.json" not in kept and {"run.json.unread", "run.json.unread.~1~"} <= set(kept), "nothing is deleted"
    run = rehearsal.run(inventory)
    assert "quorum is intact" in run.output


def test_a_host_that_does_not_answer_is_unknown_not_lost(rehearsal: Rehearsal) -> None:
    silent = rehearsal.nodes.by_name("etcd-3")
    faults.power_off(silent)
    try:
        run = rehearsal.run(rehearsal.inventory())
    finally:
        faults.power_on(silent)
        faults.await_quorum(rehearsal.nodes)
    assert run.code == 1
    assert "etcd-3: did not answer" in run.output
    assert "--gone=HOST" in run.output
    rehearsal.assert_untouched(run)


def test_an_altered_snapshot_is_refused(rehearsal: Rehearsal, tmp_path: Path) -> None:
    data = bytearray(rehearsal.snapshot.read_bytes())
    data[len(data) // 2] ^= 1
    altered = tmp_path / "altered.snap"
    altered.write_bytes(data)
    _refused_snapshot(rehearsal, altered, "does not match the SHA-256 at its end")


def test_a_truncated_snapshot_is_refused(rehearsal: Rehearsal, tmp_path: Path) -> None:
    truncated = tmp_path / "truncated.snap"
    truncated.write_bytes(rehearsal.snapshot.read_bytes()[:-1000])
    _refused_snapshot(rehearsal, truncated, "cut off or altered")


def _refused_snapshot(rehearsal: Rehearsal, path: Path, why: str) -> None:
    rehearsal.lose("stop")
    run = rehearsal.run(rehearsal.inventory(), "--rebuild", f"--snapshot={path}")
    assert run.code == 4, run.output
    assert str(path) in run.output
    assert why in run.output
    assert "Traceback" not in run.output
    assert _marks(rehearsal) == [], "nothing may have been written on any host"
    for node in rehearsal.nodes.members[1:]:
        node.run(["sh", "-c", "systemctl unmask dh-etcd.service; systemctl start --no-block dh-etcd.service"])
    faults.await_quorum(rehearsal.nodes)
    rehearsal.assert_data_is_back()
    rehearsal.spoilt = False


def _marks(rehearsal: Rehearsal) -> list[str]:
    """Unfinished marks of a run on any host."""
    script = "test ! -e /var/lib/requorum/lab/run.json || grep -q DONE /var/lib/requorum/lab/run.json"
    return [n.name for n in rehearsal.nodes.all if n.run(["sh", "-c", script], check=False).rc != 0]


def test_a_sudo_that_asks_for_a_password_is_refused(rehearsal: Rehearsal) -> None:
    node = rehearsal.nodes.by_name("query-1")
    (rule,) = node.run(["sh", "-c", "grep -rl '^ops' /etc/sudoers.d"]).stdout.split()
    node.run(["mv", rule, "/root/ops.sudoers"])
    try:
        run = rehearsal.run(rehearsal.inventory())
    finally:
        node.run(["mv", "/root/ops.sudoers", rule])
    assert run.code == 1
    assert "query-1" in run.output
    assert "NOPASSWD" in run.output
    rehearsal.assert_untouched(run)


def test_too_little_disk_is_refused(rehearsal: Rehearsal) -> None:
    rehearsal.lose("stop")
    node = rehearsal.nodes.by_name("etcd-2")
    _small_disk(node)
    try:
        run = rehearsal.run(rehearsal.inventory(), "--rebuild")
    finally:
        node.run(["umount", "/var/lib/etcd"])
    assert run.code == 1
    assert "etcd-2: found" in run.output
    assert "bytes free" in run.output
    assert _marks(rehearsal) == []
    rehearsal.lose("stop")


def _small_disk(node: Node) -> None:
    node.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", "/var/lib/etcd"])


def test_no_snapshot_at_all_is_refused(rehearsal: Rehearsal, tmp_path: Path) -> None:
    def without_backups(content: dict[str, Any]) -> None:
        content["snapshot"]["directory"] = str(tmp_path)

    rehearsal.lose("wipe", ("etcd-1", "etcd-2", "etcd-3"))  # otherwise the disks would be salvaged
    run = rehearsal.run(rehearsal.inventory(without_backups))
    assert run.code == 1
    assert "--snapshot=FILE" in run.output
    assert _marks(rehearsal) == []
