"""Proofs about collected logs, and what their page says besides lines."""

from __future__ import annotations

import stat
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from requorum.command import Collected
from requorum.diagnosis.logs.collection import MOST_LINES, UNIT_JOURNAL, WHOLE_JOURNAL
from requorum.evidence.journal import now
from requorum.hosts import clock
from requorum.hosts.clock import Reading
from requorum.run.run import Run


def somebody_answers(run: Run, silent: Mapping[str, str]) -> None:
    """At least one host takes commands as root; the silent ones are noted."""
    everyone = len(silent) == len(run.terms.everyone)
    answering = [host for host in run.terms.everyone if host not in silent]
    run.settle(
        "at least one host takes commands as root",
        dict(silent) if everyone else dict.fromkeys(answering),
        "check this machine's network, ssh, and sudo for the login",
    )
    for host, why in silent.items():
        run.note(f"{host}: {why}")


def about(
    run: Run, files: Sequence[Collected], failed: Mapping[str, str], clocks: Mapping[str, Reading], place: Path
) -> dict[str, object]:
    """What the page says of the collection itself."""
    listed = [
        {"name": Path(f.collect.target).relative_to(place).as_posix(), "bytes": f.bytes, "note": _note(f)}
        for f in sorted(files, key=lambda f: f.collect.target)
    ]
    return {
        "cluster": run.inventory.cluster,
        "taken": now(),
        "since": run.options.since,
        "files": listed,
        "silent": dict(failed),
        "clocks": clock.differences(clocks, run.inventory.limits.clock_offset_seconds),
    }


def _note(found: Collected) -> str:
    if found.cut:
        return f"cut: more than {found.collect.most:,} bytes"
    if found.code:
        return f"exit code {found.code}: {found.said}"
    journal = Path(found.collect.target).name in (UNIT_JOURNAL, WHOLE_JOURNAL)
    return f"at most the newest {MOST_LINES:,} lines" if journal else ""


def the_archive_is_whole(run: Run, files: Sequence[Collected], place: Path) -> None:
    archive = run.journal.directory / "logs.tar.gz"
    with tarfile.open(archive) as tar:
        sizes = {member.name.partition("/")[2]: member.size for member in tar}
    wanted = {Path(f.collect.target).relative_to(place).as_posix(): f.bytes for f in files}
    wrong = [name for name, size in wanted.items() if sizes.get(name) != size]
    wrong += [] if sizes.get("index.html") else ["index.html"]
    mode = stat.S_IMODE(archive.stat().st_mode)
    wrong += [f"mode {mode:o}"] if mode != 0o600 else []
    run.settle(
        f"the archive holds its page and {len(wanted)} files, whole, for its owner only",
        {"this machine": ", ".join(wrong) or None},
        "look at the disk of this machine, then run again",
    )
