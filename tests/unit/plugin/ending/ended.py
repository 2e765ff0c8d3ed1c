"""How a run may have ended, for tests of its last lines: a recovery of the shared inventory, stopped in Step 4."""

from __future__ import annotations

from typing import Any

from requorum.hosts.failure import FleetError, Unreachable
from requorum.plugin.ending.block import Ended, ending
from requorum.plugin.ending.standing import Did
from requorum.plugin.ending.ways import Said
from requorum.run.marker import Phase
from requorum.run.state import Deephaven, Member, Seen
from tests.unit import build, typed

SAID = Said(".venv/bin/pytest", "runbook", "lab", ("--confirm=lab",), "/opt/requorum")
STAGE = "runbook/test_step_{0}_x.py::TestStep{0}X::{1}"
OFF, ON = Deephaven(0, 0, 5, ()), Deephaven(5, 5, 5, ("java (process 7 of irisadmin)",))
NEW = Member(True, True, build.TOKEN, ("old", build.TOKEN))
OLD = Member(True, False, "old", ("old",))
STOPPED = Member(False, None, "old", ("old",))
MEMBERS, DEEPHAVEN = ("etcd-1", "etcd-2", "etcd-3"), ("infra-1", "query-1")


def seen(member: Any = NEW, deephaven: Any = OFF, **fields: Any) -> Seen:
    """`member`, `deephaven`: what each of them says, or a dictionary by host."""
    etcd = member if isinstance(member, dict) else dict.fromkeys(MEMBERS, member)
    on = deephaven if isinstance(deephaven, dict) else dict.fromkeys(DEEPHAVEN, deephaven)
    return Seen("2026-11-27T11:30:00Z", on, etcd, **fields)


def did(phase: Phase = Phase.STARTED, **fields: Any) -> Did:
    values: dict[str, Any] = {"run": build.RUN, "token": build.TOKEN, "changed": phase > Phase.OPEN}
    return Did(phase, **{**values, **fields})


def ended(error: BaseException | None, step: int = 4, stage: str = "test_when_x", **fields: Any) -> Ended:
    values: dict[str, Any] = {
        "stage": STAGE.format(step, stage),
        "error": error,
        "inventory": build.inventory(),
        "seen": seen(),
        "did": did(),
        "evidence": "/opt/requorum/evidence/lab/x/report.html",
        "lock": "the lock is released",
    }
    return Ended(SAID, **{**values, **fields})


def block(of: Ended) -> dict[str, str]:
    """Label → all its text."""
    found: dict[str, str] = {}
    label = ""
    for line in ending(of):
        label = line.label or label
        found[label] = f"{found[label]}\n{line.text}" if label in found else line.text
    return found


def pasted(of: Ended) -> list[str]:
    """The lines to paste, each of which would be taken where it is pasted."""
    lines = [line.text for line in ending(of) if line.paste]
    for line in lines:
        typed.can_be_pasted(line, of.inventory)
    return lines


def broken(said: str, host: str = "etcd-1") -> FleetError:
    """A command that failed there with these words."""
    error = FleetError(host, f"restore: exit code 2 from: sudo -n x\n    it said: {said}", "mend that on the host")
    error.brief, error.said = "restore: exit code 2", said
    return error


def silent(said: str, host: str = "etcd-2") -> Unreachable:
    return Unreachable(host, f"did not answer: {said}", "check the network. Only if it is destroyed: --gone=HOST")
