"""The troubleshooting procedures against a lab, whatever etcd it runs: what `make test` and the matrix both prove.

Every procedure is run by the login `limited`, so that each also proves its own lines of the sudoers list.
"""

from __future__ import annotations

import json
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compose import faults, poll
from compose.errors import NodeError
from compose.nodes import Node, Nodes
from requorum.inventory import load
from requorum.troubleshoot import sudoers
from tests.lab import launch, procedures
from tests.lab.rehearsal import Rehearsal

CONFIG = "/etc/etcd/dh/latest/config.yaml"
UNIT = "dh-etcd.service"
DROP_IN = f"/etc/systemd/system/{UNIT}.d"
DIRECT = "requorum-run-directly.service"


def as_limited(content: dict[str, Any]) -> None:
    content["transport"]["user"] = "limited"


def start(rehearsal: Rehearsal, name: str, *arguments: str) -> tuple[launch.Process, Path]:
    inventory = rehearsal.inventory(as_limited)
    return procedures.start(
        rehearsal.scratch, f"troubleshoot/{name}", f"--hosts={inventory}", "--confirm=lab", *arguments
    )


@dataclass(frozen=True)
class Ended:
    """What one call of a procedure gave. `directory` holds its evidence."""

    code: int
    output: str
    summary: dict[str, Any]
    directory: Path

    @property
    def records(self) -> list[dict[str, Any]]:
        return records(self.directory)


def records(directory: Path) -> list[dict[str, Any]]:
    """What the journal below `directory` holds so far."""
    found = sorted(directory.rglob("journal.jsonl"))
    return [json.loads(line) for line in found[-1].read_text().splitlines() if line.endswith("}")] if found else []


def finish(process: launch.Process, evidence: Path) -> Ended:
    found = procedures.finish(process, evidence)
    return Ended(found.code, found.output, found.summary, next(evidence.glob("*/2*"), evidence))


def run(rehearsal: Rehearsal, name: str, *arguments: str) -> Ended:
    return finish(*start(rehearsal, name, *arguments))


def succeeded(found: Ended) -> Ended:
    assert found.code == 0, found.output
    assert found.summary["outcome"] == "diagnosed"
    return found


def refused(rehearsal: Rehearsal, says: str, name: str, *arguments: str) -> None:
    """The procedure ends with one clear message, and has changed nothing on any member."""
    before = states(rehearsal.nodes)
    found = run(rehearsal, name, *arguments)
    assert found.code == 1, found.output
    assert says in found.output, found.output
    assert "Traceback" not in found.output
    assert states(rehearsal.nodes) == before


def states(nodes: Nodes) -> dict[str, str]:
    """Each member's unit, its current start, and its configuration to the byte; a silent machine's is empty."""
    script = f"systemctl show {UNIT} -p ActiveState -p InvocationID; sha256sum {CONFIG}; stat -c '%U %G %a' {CONFIG}"
    return {node.name: _said(node, script) for node in nodes.members}


def _said(node: Node, script: str) -> str:
    try:
        return node.run(["sh", "-c", script], check=False).stdout
    except NodeError:
        return ""


def cut(process: launch.Process, evidence: Path, when: str, how: signal.Signals) -> Ended:
    """Sends `how` once a command with `when` in its line was carried out, or is about to be."""
    poll.until(
        lambda: any(when in str(r.get("argv", r.get("action", ""))) for r in records(evidence)),
        seconds=60,
        every=0.02,
        what=f"the run comes to {when}",
    )
    os.kill(process.pid, how)
    return finish(process, evidence)


SCALES = (1.0, 2.0)  # what lab tests give to --timeout-scale


def unlisted_in_sudoers(rehearsal: Rehearsal) -> list[str]:
    """Commands as root, in any journal of the session, that no line of the sudoers list covers."""
    left, of_recovery = commands(rehearsal.scratch), commands(rehearsal.scratch, *RECOVERY)
    for path in rehearsal.scratch.glob("inventory-*.yaml"):
        left = sudoers.unlisted(load(path), left, *SCALES)
        of_recovery = sudoers.unlisted(load(path), of_recovery, *SCALES, of_recovery=True)
    return sorted({*left, *of_recovery})


RECOVERY = ("runbook/test_step_", "runbook/rollback", "runbook/retry")  # what Step 0 asks sudo for, and no more


def commands(scratch: Path, *procedures: str) -> list[str]:
    """Every command line of every run of these, or of all, but drills, which touch nobody's production."""
    lines: dict[str, None] = {}
    for journal in scratch.rglob("journal.jsonl"):
        entries = [json.loads(line) for line in journal.read_text().splitlines() if line.endswith("}")]
        stages = " ".join(str(entry.get("stage", "")) for entry in entries)
        if "runbook/drill" not in stages and any(procedure in stages for procedure in procedures or ("",)):
            lines |= dict.fromkeys(e["argv"] for e in entries if e["kind"] == "command")
    return list(lines)


# -- what is proven of each procedure, on whatever etcd ----------------------------------------------------------


def debug_logging_goes_on_and_off(rehearsal: Rehearsal, line: str) -> None:
    """Killed in the middle, mended by the same command, one member at a time; off leaves every byte as it was."""
    nodes = rehearsal.nodes
    before = {node.name: node.get(CONFIG) for node in nodes.members}
    on = ("debug_logging", "--members=etcd-1,etcd-2")
    cut(*start(rehearsal, *on), when="systemctl restart", how=signal.SIGKILL)
    found = succeeded(run(rehearsal, *on))
    assert [
        r["expected"] for r in found.records if r["kind"] == "assertion" and r["holds"] and "debug" in r["expected"]
    ] == ["debug lines of etcd are in the journal"] * 2
    for node in nodes.members[:2]:
        lines = node.get(CONFIG).decode().splitlines()
        assert [row for row in lines if row.startswith(line)], lines
        assert before[node.name].decode().splitlines() == [row for row in lines if "requorum" not in row]
    again = succeeded(run(rehearsal, *on))
    assert restarts_of(again) == [], "what is on already is not switched on again"

    off = succeeded(run(rehearsal, *on, "--off"))
    assert {node.name: node.get(CONFIG) for node in nodes.members} == before
    one_at_a_time(off, ["etcd-1", "etcd-2"])
    faults.await_quorum(nodes)


def restarts_of(found: Ended) -> list[str]:
    return [r["host"] for r in found.records if r["kind"] == "command" and "systemctl restart" in r["argv"]]


def one_at_a_time(found: Ended, hosts: list[str]) -> None:
    """No restart before the member restarted last was proven healthy."""
    steps = []
    for entry in found.records:
        if entry["kind"] == "command" and "systemctl restart" in entry["argv"]:
            steps.append(("restart", entry["host"]))
        if entry["kind"] == "assertion" and "started anew, and healthy" in entry["expected"]:
            assert entry["holds"], entry
            steps.append(("healthy", entry["host"]))
    assert steps == [(step, host) for host in hosts for step in ("restart", "healthy")]


# A command line that only a real reader of unit files understands, which still runs etcd.
QUOTED = f"""
[Service]
Environment="REQ_ONE=two words" 'REQ_TWO=a "quote", a $dollar and a \\\\backslash'
EnvironmentFile=-/etc/requorum-not-there
ExecStart=
ExecStart=/bin/sh -c "id -un; printenv REQ_ONE REQ_TWO; printf '%%s|' \\"$0\\" \\"$@\\"; \\
    exec /usr/bin/etcd --config-file {CONFIG}" "first  word" 'sec"ond' ${{REQ_ONE}} $REQ_ONE
"""


def etcd_runs_directly(rehearsal: Rehearsal) -> None:
    """The unit's own words and environment, as the etcd account, all output kept; the unit is back after that, after
    Ctrl-C, and after a kill."""
    node = rehearsal.nodes.by_name("etcd-2")
    direct = ("run_directly", "--members=etcd-2")
    try:
        put_drop_in(node, QUOTED)
        found = succeeded(run(rehearsal, *direct, "--seconds=4"))
        said = found.directory / "etcd-2.log"
        lines = said.read_text().splitlines()
        assert lines[:3] == ["etcd", "two words", 'a "quote", a $dollar and a \\backslash']
        assert lines[3].startswith('first  word|sec"ond|two words|two|words|'), lines[3]
        assert len(lines) > 10, "etcd itself has spoken too"
        assert said.stat().st_mode & 0o777 == 0o600
        assert "it ran until its time was up" in found.output
        assert _said(node, "find /var/lib/requorum -name '*.env'") == "", "an environment may hold secrets"
    finally:
        drop(node)
    interrupted = cut_when_it_runs(rehearsal, node, signal.SIGINT, "--seconds=300")
    assert interrupted.code == 2, interrupted.output
    assert interrupted.summary["outcome"] == "interrupted"
    await_unit(node)
    cut_when_it_runs(rehearsal, node, signal.SIGKILL, "--seconds=4")
    await_unit(node)
    faults.await_quorum(rehearsal.nodes)


def cut_when_it_runs(rehearsal: Rehearsal, node: Node, how: signal.Signals, seconds: str) -> Ended:
    """Ends the run while etcd runs directly on the node."""
    process, evidence = start(rehearsal, "run_directly", "--members=etcd-2", seconds)
    poll.until(
        lambda: _said(node, f"systemctl is-active {DIRECT}").strip() == "active" and _said(node, "pgrep -x etcd") != "",
        seconds=60,
        every=0.1,
        what="etcd runs directly",
    )
    assert _said(node, f"systemctl is-active {UNIT}").strip() != "active"
    os.kill(process.pid, how)
    return finish(process, evidence)


def await_unit(node: Node) -> None:
    """The installed unit runs again, and nothing of the direct run is left."""
    script = f"systemctl is-active {UNIT}; systemctl is-active {DIRECT}"
    poll.until(
        lambda: _said(node, script).split() == ["active", "inactive"],
        seconds=60,
        every=0.2,
        what=f"{UNIT} is back",
        why_not=lambda: _said(node, script),
    )


def put_drop_in(node: Node, text: str) -> None:
    node.run(["mkdir", "-p", DROP_IN])
    node.put(f"{DROP_IN}/requorum-test.conf", text.encode(), 0o644)
    node.run(["systemctl", "daemon-reload"])


def drop(node: Node) -> None:
    node.run(["sh", "-c", f"rm -rf {DROP_IN}; systemctl daemon-reload"])


# What running etcd by hand as root leaves: files that the service cannot open. Made for real, then made certain.
AS_ROOT = f"""
systemctl stop {UNIT}
timeout 2 etcd --config-file {CONFIG} >/dev/null 2>&1
data=$(sed -n 's/^data-dir: *//p' {CONFIG})
chown root:root "$data/member/snap/db" "$data"/member/wal/*
chown root:root $(readlink -f {CONFIG} | sed 's/config.yaml/peer.key/')
chmod 600 $(readlink -f {CONFIG} | sed 's/config.yaml/peer.key/')
"""


def files_are_given_back(rehearsal: Rehearsal) -> None:
    """The traces of an etcd that root ran: shown with their owner, given back, the service healthy; the way back."""
    node = rehearsal.nodes.by_name("etcd-3")
    node.run(["sh", "-c", AS_ROOT], check=False)
    node.run(["systemctl", "start", "--no-block", UNIT])
    as_found = owners(node)
    found = succeeded(run(rehearsal, "permissions", "--members=etcd-3"))
    assert "snap/db" in found.output and "owned by 0, not by etcd" in found.output
    assert "peer.key" in found.output and "etcd cannot read it" in found.output
    faults.await_quorum(rehearsal.nodes)
    mended = owners(node)
    assert mended != as_found and " root" not in mended
    again = succeeded(run(rehearsal, "permissions"))
    assert "0 files or directories" in again.output
    assert owners(node) == mended

    node.run(["systemctl", "stop", UNIT])
    node.run(["sh", "-c", "sh /var/lib/requorum/lab/permissions/*.sh"])
    assert owners(node) == as_found
    succeeded(run(rehearsal, "permissions"))
    faults.await_quorum(rehearsal.nodes)


def owners(node: Node) -> str:
    """Of what the fault changes: owners of data, group and mode of a key."""
    return _said(
        node,
        f"data=$(sed -n 's/^data-dir: *//p' {CONFIG}); stat -c '%n %U' $data/member/snap/db $data/member/wal/*.wal; "
        f"stat -c '%n %G %a' $(readlink -f {CONFIG} | sed s/config.yaml/peer.key/)",
    )
