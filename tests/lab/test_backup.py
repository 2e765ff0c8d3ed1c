"""The nightly backup against a real cluster: what it keeps, what it refuses, and that it leaves nothing."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from compose import faults, poll
from compose.state import REPOSITORY
from requorum import procedures as stages
from requorum.snapshots import bolt, manifest, snapshot
from tests.lab import procedures
from tests.lab.rehearsal import Rehearsal, Run


def into(directory: Path, **keep: int) -> Callable[[dict[str, Any]], None]:
    def change(content: dict[str, Any]) -> None:
        content["snapshot"]["directory"] = str(directory)
        content["snapshot"]["keep"].update(keep)

    return change


def back_up(rehearsal: Rehearsal, directory: Path, *arguments: str, **keep: int) -> Run:
    inventory = rehearsal.inventory(into(directory, **keep))
    return procedures.run(rehearsal.scratch, "backup", f"--hosts={inventory}", *arguments)


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir() if path.name != ".lock")


def test_a_backup_is_whole_described_private_and_leaves_nothing_on_the_hosts(
    rehearsal: Rehearsal, tmp_path: Path
) -> None:
    directory = tmp_path / "nightly"
    run = back_up(rehearsal, directory)
    assert run.code == 0, run.output
    assert run.summary["outcome"] == "backed-up"

    (path,) = directory.glob("*.snap")
    source, note = snapshot.verify(path), manifest.read(path)
    assert note is not None
    assert (note.sha256, note.bytes) == (source.sha256, source.bytes)
    assert note.revision == bolt.read(path).revision
    assert note.keys is not None and note.keys == len(list(bolt.entries(path.open("rb"), path, b"")))
    assert run.summary["snapshot"]["keys"] == note.keys < note.entries, "what etcdutl calls keys are revisions of them"
    assert note.cluster == "lab"
    member = rehearsal.nodes.members[0]
    config = member.get("/etc/etcd/dh/latest/config.yaml").decode()
    assert f"initial-cluster-token: {note.lineage.token}\n" in config
    assert note.lineage.cluster_id is not None
    assert note.etcd.startswith("3.")
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert {stat.S_IMODE(p.stat().st_mode) for p in directory.iterdir()} == {0o600}
    assert names(directory) == [path.name, f"{path.name}.json", "lab-processes.json"]
    assert "configuration_server" in json.loads((directory / "lab-processes.json").read_text())["up"]["infra-1"]
    assert procedures.left_on_hosts(rehearsal.nodes) == {}
    rehearsal.assert_untouched(Run(1, run.output, {}))


def test_a_backup_is_taken_with_one_member_down_and_refused_without_quorum(
    rehearsal: Rehearsal, tmp_path: Path
) -> None:
    faults.by_name("stop").inject(rehearsal.nodes, [rehearsal.nodes.members[0]])
    run = back_up(rehearsal, tmp_path / "nightly")
    assert run.code == 0, run.output
    kept = names(tmp_path / "nightly")

    rehearsal.lose("stop", ("etcd-1", "etcd-2"))
    lost = back_up(rehearsal, tmp_path / "nightly")
    assert lost.code == 1
    assert "healthy for an authenticated user" in lost.output or "no member answers" in lost.output
    assert "pytest runbook --hosts=NAME" in lost.output
    assert "Traceback" not in lost.output
    assert lost.summary["outcome"] == "stopped"
    assert names(tmp_path / "nightly") == kept
    assert procedures.left_on_hosts(rehearsal.nodes) == {}
    faults.by_name("stop").heal(rehearsal.nodes, rehearsal.nodes.members[:2])
    faults.await_quorum(rehearsal.nodes)
    rehearsal.spoilt = False


def test_old_backups_go_by_count_and_age_and_strangers_files_stay(rehearsal: Rehearsal, tmp_path: Path) -> None:
    directory = tmp_path / "nightly"
    assert back_up(rehearsal, directory).code == 0
    (first,) = directory.glob("*.snap")
    note = json.loads(manifest.path_of(first).read_text())
    old = {}
    for age in (1, 2, 40):
        then = datetime.now(UTC) - timedelta(days=age)
        old[age] = directory / f"lab-{then:%Y-%m-%dT%H%M%S}000Z.snap"
        shutil.copy(first, old[age])
        manifest.path_of(old[age]).write_text(json.dumps({**note, "taken": then.isoformat()}))
    strangers = directory / "before-upgrade.snap", directory / old[40].name.replace("lab-", "lab-eu-")
    for stranger in strangers:
        shutil.copy(first, stranger)

    run = back_up(rehearsal, directory, count=3, days=30)
    assert run.code == 0, run.output
    left = [name for name in names(directory) if name.endswith(".snap")]
    assert first.name in left
    assert {stranger.name for stranger in strangers} < set(left), "no files of this cluster"
    assert old[1].name in left
    assert old[2].name not in left, "beyond the count"
    assert old[40].name not in left, "too old"
    assert len(left) == 5
    rehearsal.spoilt = False


def test_a_backup_that_is_killed_leaves_no_half_file_and_the_next_one_clears_up(
    rehearsal: Rehearsal, tmp_path: Path
) -> None:
    directory = tmp_path / "nightly"
    inventory = rehearsal.inventory(into(directory))
    for how in (signal.SIGINT, signal.SIGKILL):
        process, evidence = procedures.start(rehearsal.scratch, "backup", f"--hosts={inventory}")
        journal = _journal(evidence)
        poll.until(
            lambda found=journal: "save a snapshot from" in found(),  # type: ignore[misc]
            seconds=30,
            every=0.005,
            what="the save begins",
        )
        os.kill(process.pid, how)
        run = procedures.finish(process, evidence)
        assert run.code != 0
        assert [n for n in names(directory) if n.endswith(".snap")] == []
        if how is signal.SIGINT:
            assert run.summary["outcome"] == "interrupted"
            assert procedures.left_on_hosts(rehearsal.nodes) == {}

    _age(rehearsal)
    (directory / "lab-2026-01-01T000000000Z.snap.part").write_bytes(b"half")
    (directory / "lab-2026-01-01T000000000Z.snap.json").write_text("{}")
    run = back_up(rehearsal, directory)
    assert run.code == 0, run.output
    assert "left by an interrupted backup" in run.output
    assert len(names(directory)) == 3
    assert procedures.left_on_hosts(rehearsal.nodes) == {}
    rehearsal.spoilt = False


def _journal(evidence: Path) -> Callable[[], str]:
    return lambda: "".join(path.read_text() for path in evidence.glob("*/2*/journal.jsonl"))


def _age(rehearsal: Rehearsal) -> None:
    """What the killed backup left becomes an hour old, once what it had started there has ended."""
    server = rehearsal.nodes.configuration_server
    poll.until(
        lambda: server.run(["pgrep", "-f", "[s]napshot save"], check=False).rc != 0, seconds=60, what="the save ends"
    )
    server.run(["sh", "-c", "touch -d '-2 hours' /var/lib/requorum/lab/backup-* 2>/dev/null || true"])


def test_two_backups_at_once_are_one_too_many(rehearsal: Rehearsal, tmp_path: Path) -> None:
    directory = tmp_path / "nightly"
    inventory = rehearsal.inventory(into(directory))
    started = [procedures.start(rehearsal.scratch, "backup", f"--hosts={inventory}") for _ in range(2)]
    runs = [procedures.finish(*each) for each in started]
    assert sorted(run.code for run in runs) in ([0, 1], [0, 0]), [run.output for run in runs]
    for run in runs:
        assert run.code == 0 or "another backup is under way" in run.output
    assert len(names(directory)) == 2 * [run.code for run in runs].count(0) + 1, "and which processes are up"
    rehearsal.spoilt = False


def test_the_recovery_collects_only_its_own_steps(rehearsal: Rehearsal) -> None:
    found = procedures.run(rehearsal.scratch, "", f"--hosts={rehearsal.inventory()}", "--collect-only", "-q")
    assert found.code == 0, found.output
    assert f"{len(stages.expected(REPOSITORY / 'runbook', REPOSITORY))} tests collected" in found.output
    rehearsal.spoilt = False
