"""`--check` against a real cluster: green where it is healthy, everything that is wrong in one run, nothing changed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from compose import faults
from requorum.run import marker
from requorum.run.marker import Marker, Phase
from tests.lab import listing, procedures
from tests.lab.rehearsal import Rehearsal, Run

CLIENT = "/etc/sysconfig/deephaven/etcd/client"
UNPACK = "/usr/illumon/latest/bin/unpack_etcd_server.sh"
MARK = "/var/lib/requorum/lab/run.json"
MAKE_CERTIFICATE = (
    "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -subj /CN=x -days 3 -keyout /dev/null -out"
)


def check(rehearsal: Rehearsal, inventory: Path, *arguments: str) -> Run:
    return procedures.run(rehearsal.scratch, "", f"--hosts={inventory}", "--check", *arguments)


def failing(run: Run) -> dict[tuple[str, str], str]:
    return {(f["host"], f["check"]): f["found"] for f in run.summary["findings"] if f["verdict"] == "fails"}


def test_all_that_is_wrong_is_found_in_one_run(rehearsal: Rehearsal, tmp_path: Path) -> None:
    with broken(rehearsal):
        run = check(rehearsal, rehearsal.inventory(with_an_old_backup(rehearsal, tmp_path)))
    assert run.code == 1, run.output
    assert run.summary["outcome"] == "checked"
    found = failing(run)
    refused = {(host, "ports") for host in ("etcd-1", "etcd-2", "infra-1", "query-1")}
    assert set(found) == refused | {
        ("etcd-1", "commands"),
        ("etcd-3", "etcd"),
        ("infra-1", "certificates"),
        ("query-1", "client files"),
        ("the cluster", "unfinished run"),
        ("the cluster", "health"),
        ("this machine", "backup"),
    }, run.output
    assert found["etcd-1", "commands"] == f"missing: {UNPACK}"
    assert "masked, inactive" in found["etcd-3", "etcd"] and "nobody listens on" in found["etcd-3", "etcd"]
    assert f"{CLIENT}/props-rw/next.pem ends on" in found["infra-1", "certificates"]
    assert found["query-1", "client files"] == "props-rw/password belongs to nobody:nogroup, not to irisadmin"
    assert found["the cluster", "unfinished run"].startswith("etcd-1: the mark of a run there is not what infra-1 says")
    assert found["the cluster", "health"].startswith("etcd-3: ")
    assert "48 h old" in found["this machine", "backup"]
    facts = {(f["host"], f["check"]): f["found"] for f in run.summary["findings"] if f["verdict"] == "told"}
    assert facts["the cluster", "quorum"].startswith("quorum is intact")
    for _, text in found.items():
        assert text.split()[0] in run.output
    rehearsal.assert_untouched(run)


@contextmanager
def broken(rehearsal: Rehearsal) -> Iterator[None]:
    """Faults of many kinds at once; all are undone."""
    nodes = rehearsal.nodes
    stop = faults.by_name("stop")
    member, first, infra, query = (nodes.by_name(name) for name in ("etcd-3", "etcd-1", "infra-1", "query-1"))
    mark = marker.write("etcd-1", "lab", Marker("20990101t000000z-a", "t", Phase.STOPPING, "eve@desk")).stdin
    assert mark
    stop.inject(nodes, [member])
    try:
        faults.await_members_down(nodes, [member])
        first.run(["chmod", "a-x", UNPACK])
        first.run(["mkdir", "-p", os.path.dirname(MARK)])
        first.put(MARK, mark)
        infra.run(["sh", "-c", f"{MAKE_CERTIFICATE} {CLIENT}/props-rw/next.pem"])
        query.run(["chown", "nobody:nogroup", f"{CLIENT}/props-rw/password"])
        yield
    finally:
        query.run(["chown", "irisadmin:irisadmin", f"{CLIENT}/props-rw/password"])
        infra.run(["rm", "-f", f"{CLIENT}/props-rw/next.pem"])
        first.run(["rm", "-f", MARK])
        first.run(["chmod", "a+x", UNPACK])
        stop.heal(nodes, [member])
        faults.await_quorum(nodes)


def with_an_old_backup(rehearsal: Rehearsal, directory: Path) -> Any:
    old = directory / "old.snap"
    shutil.copy(rehearsal.snapshot, old)
    taken = old.stat().st_mtime - 48 * 3600
    os.utime(old, (taken, taken))

    def change(content: dict[str, Any]) -> None:
        content["snapshot"]["directory"] = str(directory)

    return change


def test_a_healthy_cluster_is_green_and_no_host_was_changed(rehearsal: Rehearsal, tmp_path: Path) -> None:
    before = listing.taken(rehearsal.nodes)
    junit = tmp_path / "junit.xml"
    run = check(rehearsal, rehearsal.inventory(), f"--junitxml={junit}")
    assert run.code == 0, run.output
    assert listing.changes(before, listing.taken(rehearsal.nodes)) == [], "not even a syslog hears of a check"

    assert run.summary["outcome"] == "checked"
    verdicts = {f["verdict"] for f in run.summary["findings"]}
    assert verdicts == {"holds", "told"}, run.output
    assert {f["host"] for f in run.summary["findings"]} == {
        *(node.name for node in rehearsal.nodes.all),
        "the cluster",
        "this machine",
    }
    assert junit.read_text().count("<testcase") == len(run.summary["findings"]) + 1
    rehearsal.assert_untouched(Run(1, run.output, {}))
