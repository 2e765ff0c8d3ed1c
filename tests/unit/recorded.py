"""A recovery as its journal and summary would record it: small, made here, the same every time."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

from requorum.evidence import audit, journal

MEMBERS = ("etcd-1", "etcd-2", "etcd-3")
HOSTS = (*MEMBERS, "infra-1", "query-1")
START = datetime(2026, 1, 31, 3, 0, 0, tzinfo=UTC)
TICK = timedelta(milliseconds=125)  # between two records
REVISION, KEYS, SIZE, DIGEST = 261, 21652, 10629152, "dca33da7918ef544" * 4
RESTORED = {"version": "3.5.16", "revision": 1_000_000_261, "hash": 2285254373}
LINEAGE = "lab-20260131t025900 cb999cf9c3d97ae2"
UNKNOWN = "salvaged from 1 of 3 members (etcd-1): all on their disks is back; what only the others had is missing"

# Of each step some stages as the runbook has them.
STAGES = (
    "runbook/test_step_0_snapshot.py::TestStep0Snapshot::test_given_quorum_is_lost",
    "runbook/test_step_0_snapshot.py::TestStep0Snapshot::test_when_the_snapshot_is_copied_to_every_new_member",
    "runbook/test_step_1_stop.py::TestStep1Stop::test_when_deephaven_is_turned_off",
    "runbook/test_step_1_stop.py::TestStep1Stop::test_then_no_deephaven_process_runs",
    "runbook/test_step_2_generate.py::TestStep2Generate::test_when_the_old_passwords_are_backed_up",
    "runbook/test_step_2_generate.py::TestStep2Generate::test_then_every_host_holds_the_same_passwords",
    "runbook/test_step_3_distribute.py::TestStep3Distribute::test_when_both_archives_are_copied",
    "runbook/test_step_3_distribute.py::TestStep3Distribute::test_then_every_copy_is_the_same",
    "runbook/test_step_4_restore.py::TestStep4Restore::test_when_all_members_are_started",
    "runbook/test_step_4_restore.py::TestStep4Restore::test_then_every_member_sees_a_leader",
    "runbook/test_step_5_power_on.py::TestStep5PowerOn::test_then_all_members_hold_the_same_data",
    "runbook/test_step_5_power_on.py::TestStep5PowerOn::test_when_deephaven_is_turned_on_everywhere",
)


def source(name: str, host: str, verdict: str, **more: Any) -> dict[str, Any]:
    """A row of the table of sources."""
    row = {"source": name, "host": host, "lineage": LINEAGE, "taken": "2026-01-31T02:59:00Z", "revision": REVISION}
    return {**row, "keys": None, "size": SIZE, "hash": "good", "verdict": verdict, **more}


SOURCES = [
    source("salvage salvage.snap", "etcd-1", "chosen", keys=KEYS),
    source("file nightly.snap", "this machine", "salvage has all of it and may have more", revision=227),
    source("on-disk db", "etcd-1", "no hash tells whether it is whole", hash="none"),
]


def command(host: str, line: str, why: str, changes: bool, code: int = 0) -> dict[str, Any]:
    argv = f"sudo -n timeout -k 5 60 {line}"
    return {
        "kind": "command",
        "host": host,
        "argv": argv,
        "why": why,
        "changes": changes,
        "exit_code": code,
        "seconds": 0.1,
    }


def acting(name: str) -> Iterator[dict[str, Any]]:
    """What a When leaves: its plan, a command that changes something and one that looks on each host, a copy."""
    plan = [command(host, f"touch /var/lib/requorum/{name}", f"act: {name}", True) for host in HOSTS]
    plan += [command(host, f"cat /var/lib/requorum/{name}", f"look at {name}", False) for host in HOSTS]
    yield {"kind": "planned", "actions": [{"action": each["argv"], "why": each["why"]} for each in plan]}
    yield from plan
    to = ", ".join(f"{host}:/var/lib/requorum/{name}" for host in MEMBERS)
    made = {"sha256": DIGEST, "bytes": SIZE, "seconds": 0.2}
    yield {"kind": "copy", "action": f"copy infra-1:/tmp/{name} to {to}", "why": f"bring {name}", **made}


def proving(name: str) -> Iterator[dict[str, Any]]:
    """What a Given or a Then leaves: a look at each host, whatever its exit code, and an assertion about each."""
    code = 7 if name.endswith("quorum_is_lost") else 0
    yield from (command(host, "true", f"whether {name}", False, code) for host in HOSTS)
    yield from (
        {"kind": "assertion", "host": host, "expected": f"{name} holds", "holds": True, "found": "as expected"}
        for host in HOSTS
    )


def entries() -> Iterator[dict[str, Any]]:
    versions = {"Python": "3.11.7", "pytest": "9.2.0", "testinfra": "10.2.2"}
    run = {"cluster": "lab", "run": "20260131t030000z-86edd8", "operator": "ops@desk (process 7754)"}
    yield {"kind": "run", **run, "versions": versions, "retire": []}
    for stage in STAGES:
        name = stage.rpartition("::")[2]
        yield {"kind": "stage", "stage": stage}
        yield from acting(name) if "_when_" in name else proving(name)
        if name.endswith("quorum_is_lost"):
            yield {"kind": "note", "text": "verdict: quorum is lost"}
            yield {"kind": "sources", "lost": LINEAGE, "sources": SOURCES}
        yield {
            "kind": "stage ended",
            "stage": stage,
            "outcome": "passed",
            "seconds": 2.5,
            "acting": 2.0 if "_when_" in name else 0.0,
            "why": "",
        }
    yield {"kind": "end", "outcome": "recovered", "stopped_at": None}


def lines() -> bytes:
    """The journal's bytes, written as the journal itself writes them."""
    data, head, time = b"", "0" * 64, START
    for entry in entries():
        spelled = time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line = journal.line_of({"time": spelled, **entry}, head)
        data, head, time = data + line, sha256(line).hexdigest(), time + TICK
    return data


DATA = lines()
RECORDS = audit.records(DATA)
SUMMARY: dict[str, Any] = {
    "schema": 1,
    "cluster": "lab",
    "run": "20260131t030000z-86edd8",
    "outcome": "recovered",
    "stopped_at": None,
    "started": "2026-01-31T03:00:00Z",
    "finished": "2026-01-31T03:00:30Z",
    "recovery_seconds": {"total": 30.0, "action_seconds": 12.0, "proof_seconds": 18.0},
    "snapshot": {
        "source": "salvage",
        "host": "etcd-1",
        "revision": REVISION,
        "sha256": DIGEST,
        "bytes": SIZE,
        "keys": KEYS,
        "taken": "2026-01-31T03:00:05Z",
    },
    "sources": SOURCES,
    "unproven": [],
    "data_loss": {"certain": None, "possible": None, "why": UNKNOWN},
    "members": [{"name": name, "ip": f"10.89.7.{11 + n}", **RESTORED} for n, name in enumerate(MEMBERS)],
    "gone": [],
    "findings": [],
    "causes": [],
    "steps": [],
}
