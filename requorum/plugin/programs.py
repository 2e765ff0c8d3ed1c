"""What programs read of a run: the summary on standard output, an exit code with more to it, junit's properties."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import pytest
from _pytest.junitxml import xml_key

from requorum.evidence.redaction import redacted
from requorum.run.dryrun import Planning
from requorum.run.run import Run

CHANGES = 2  # with --detailed-exitcode: findings of a check, changes of a plan
LATEST = "latest"


def detailed(run: Run, outcome: str, code: int) -> int:
    """The exit code for --detailed-exitcode: what came to its end and found something, or would change something."""
    if outcome == "checked" and code == int(pytest.ExitCode.TESTS_FAILED):
        return CHANGES
    return CHANGES if outcome == "planned" and isinstance(run, Planning) and run.would_change else code


def written(path: Path) -> Mapping[str, object]:
    return cast("Mapping[str, object]", json.loads(path.read_text(encoding="utf-8")))


def text(summary: Mapping[str, object]) -> str:
    """`summary.json` as it stands in the evidence."""
    return json.dumps(redacted(dict(summary)), indent=2, ensure_ascii=False)


def properties(summary: Mapping[str, object], evidence: Path) -> dict[str, str]:
    """Of the suite in junit's file: what was run, and what came of it. "" is what nobody knows."""
    seconds = cast("dict[str, float]", summary["recovery_seconds"])
    loss = cast("dict[str, object]", summary["data_loss"])
    snapshot = cast("dict[str, object] | None", summary["snapshot"]) or {}
    known = {
        "run": summary["run"],
        "outcome": summary["outcome"],
        "version": summary["version"],
        "seconds": seconds["total"],
        "action_seconds": seconds["action_seconds"],
        "snapshot.source": snapshot.get("source"),
        "snapshot.revision": snapshot.get("revision"),
        "snapshot.sha256": snapshot.get("sha256"),
        "loss.certain": loss["certain"],
        "loss.possible": loss["possible"],
        "loss.why": loss["why"],
        "evidence": evidence.absolute(),
    }
    return {name: "" if value is None else str(redacted(str(value))) for name, value in known.items()}


def told_to_junit(config: pytest.Config, summary: Mapping[str, object], evidence: Path) -> None:
    """pytest has written the file before the run was closed: it is written again, with the properties."""
    xml: Any = config.stash.get(xml_key, None)
    if xml is None:
        return
    for name, value in properties(summary, evidence).items():
        xml.add_global_property(name, value)
    with contextlib.suppress(OSError):  # pytest has said so when it wrote it first
        xml.pytest_sessionfinish()


def point_at(directory: Path) -> None:
    """`latest` beside a run's evidence leads to it: relative, replaced in one step. Where that fails nobody minds."""
    made = directory.parent / f".{LATEST}-{os.getpid()}"
    try:
        made.unlink(missing_ok=True)
        made.symlink_to(directory.name, target_is_directory=True)
        made.replace(directory.parent / LATEST)
    except OSError:
        with contextlib.suppress(OSError):
            made.unlink(missing_ok=True)
