"""A plan that was approved: what it rests on, and that a run stops before the lock where that is not so any more."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from requorum import version
from requorum.command import Command
from requorum.recovery import approval
from requorum.recovery.progress import Progress
from requorum.refusal import Disproved, NotApproved, Refusal
from requorum.run.dryrun import Planning, seal
from requorum.run.terms import Options
from requorum.snapshots.ranking import Candidate
from tests.unit import build
from tests.unit.run.test_dryrun import Hosts, planning, stages, through
from tests.unit.verify import nights as night

NOW = datetime(2026, 11, 27, 3, 0, tzinfo=UTC)
SHA = "ab" * 32
BASIS = {"quorum": "lost", "version": "0.1.0 (commit 3420568a9b1c)"}


def plan(place: Path, **changed: Any) -> Path:
    """A plan.json that was made an hour ago."""
    told = {"schema": 1, "cluster": "lab", "made": (NOW - timedelta(hours=1)).isoformat(), "basis": BASIS}
    path, told = place / "plan.json", {**told, **changed}
    path.write_text(json.dumps({**told, "seal": seal(told)}))
    return path


def approved_run(place: Path, hosts: Hosts, path: Path, monkeypatch: pytest.MonkeyPatch, **options: Any) -> Planning:
    """The first stages of Step 0, up to the one that takes the lock, as a run with --approved goes through them."""
    place.mkdir()
    run = planning(place, hosts, approved=path, inventory_sha256=options.pop("sha256", SHA), **options)
    monkeypatch.setattr(approval, "Planning", type("Nobody", (), {}))
    for nodeid, call in stages(run, Progress.begin(run)):
        run.begin(nodeid)
        call()
        if nodeid.endswith("test_when_the_cluster_is_locked"):
            return run
    raise AssertionError("no stage takes the lock")


def made(place: Path, hosts: Hosts, **options: Any) -> Path:
    """What `--plan` leaves in its evidence."""
    place.mkdir()
    run = through(planning(place, hosts, inventory_sha256=SHA, **options))
    run.close("planned", None, "2026-11-27T02:00:00Z")
    return place / "evidence" / "plan.json"


# -- what a plan rests on ------------------------------------------------------------------------------------------


def test_a_plan_holds_what_it_rests_on_and_nothing_that_is_measured(tmp_path: Path) -> None:
    told = json.loads(made(tmp_path / "plan", Hosts()).read_text())
    assert (told["schema"], told["cluster"]) == (1, "lab") and told["commands"]
    basis = told["basis"]
    assert basis["inventory, SHA-256"] == SHA and basis["version"] == version.told()
    assert basis["quorum"] == "quorum is lost" and basis["etcd on etcd-2"] == "up, without a leader"
    assert basis["/var/lib/etcd/dh/old on etcd-1"] == "old, whole"
    assert basis["tools on etcd-3"] == "etcd 3.5.16, /usr/bin/etcdutl"
    assert "16801792" not in json.dumps(basis) and "‹" not in json.dumps(basis)


def test_backups_count_by_lineage_and_revision_and_contents(tmp_path: Path) -> None:
    backups = tmp_path / "backups"
    backups.mkdir()
    build.snapshot(backups, "a.snap")
    (tmp_path / "run").mkdir()
    inventory = build.inventory(snapshot={"directory": str(backups)})
    found = approval.of_files(planning(tmp_path / "run", Hosts(), inventory))
    assert list(found) == [f"source {backups}/a.snap"]


def test_another_file_at_the_same_revision_is_named(tmp_path: Path) -> None:
    backups = tmp_path / "backups"
    backups.mkdir()
    run = planning(tmp_path, Hosts(), build.inventory(snapshot={"directory": str(backups)}))
    path = night.kept(backups, night.NOTE)
    was = approval.of_files(run)
    assert was == {f"source {path}": f"lineage old 7, revision 120, SHA-256 {'ab' * 32}"}
    night.kept(backups, replace(night.NOTE, sha256="cd" * 32))
    assert list(approval.differences(was, approval.of_files(run))) == [f"source {path}"]


def test_a_file_without_a_manifest_counts_by_its_contents_too() -> None:
    row = Candidate("file", None, "/a.snap", "2026-11-27T02:30:00Z", revision=7)
    assert approval._row(night.good(row)) == f"lineage unknown, revision 7, SHA-256 {'ab' * 32}"
    assert approval._row(row) == "lineage unknown, revision 7, SHA-256 unknown"


def test_a_plan_whose_hosts_could_not_be_looked_at_rests_on_nothing(tmp_path: Path) -> None:
    class Silent(Hosts):
        def answer(self, command: Command) -> tuple[int, str]:
            raise Refusal(command.host, "says nothing", "ask it again")

    run = planning(tmp_path, Silent())
    run.begin("runbook/test_step_0_snapshot.py::TestStep0Snapshot::test_when_the_cluster_is_locked")
    approval.at_the_lock(run)
    assert run.basis == {} and "cannot be approved" in run.journal.path.read_text()


# -- a run with it -------------------------------------------------------------------------------------------------


def test_a_run_where_all_is_as_approved_goes_on_to_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = made(tmp_path / "plan", Hosts())
    run = approved_run(tmp_path / "run", Hosts(), path, monkeypatch)
    assert run.notes[0].startswith(f"what the approved plan rests on is so: {path}, of 20")
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    assert run.notes[0].endswith(sha256) and run.approved is not None
    assert run.summary("recovered", None, "")["approved"] == {**run.approved, "path": str(path), "sha256": sha256}
    assert any("flock" in line or "lock" in line for line in build.lines(run.stages[-1].actions))


def test_a_run_stops_before_the_lock_and_names_each_thing_that_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Another(Hosts):
        def answer(self, command: Command) -> tuple[int, str]:
            if command.host == "etcd-2" and "etcd --version" in " ".join(command.argv):
                return 0, "etcd Version: 3.5.17\n"
            return super().answer(command)

    path = made(tmp_path / "plan", Hosts())
    with pytest.raises(Disproved) as stop:
        approved_run(tmp_path / "run", Another(leader=1), path, monkeypatch, rebuild=True, sha256="cd" * 32)
    said = str(stop.value)
    assert f"inventory, SHA-256: found “{'cd' * 32}”, approved was “{SHA}”" in said
    assert "--rebuild: found “given”, approved was “nothing”" in said
    assert "quorum: found “quorum is intact”, approved was “quorum is lost”" in said
    assert (
        "tools on etcd-2: found “etcd 3.5.17, /usr/bin/etcdutl”, approved was “etcd 3.5.16, /usr/bin/etcdutl”" in said
    )
    assert "tools on etcd-1" not in said and "--plan" in said and "carried on" not in said
    assert not (tmp_path / "run" / "evidence" / "journal.jsonl").read_text().count('"planned"')


@pytest.mark.parametrize("name", ["a", "b"])
def test_what_is_there_in_one_alone_differs(name: str) -> None:
    both = {"a": "1", "b": "2"}
    assert approval.differences(both, {k: v for k, v in both.items() if k != name}) == {
        name: f"“nothing”, approved was “{both[name]}”"
    }
    assert approval.differences(both, both) == {}


# -- before any host -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"made": (NOW - timedelta(hours=25)).isoformat()}, "was made 25 hours ago"),
        ({"made": (NOW + timedelta(hours=1)).isoformat()}, "which is to come"),
        ({"cluster": "prod"}, "is a plan for the cluster prod, not lab"),
        ({"basis": {}}, "says not what it rests on"),
        ({"basis": ["x"]}, "is no plan.json"),
        ({"made": "yesterday"}, "is no plan.json"),
        ({"basis": {**BASIS, "version": "0.1.0 (commit unknown)"}}, "nobody can tell of which commit"),
        ({"basis": {"quorum": "lost"}}, "nobody can tell of which commit"),
    ],
    ids=["old", "to come", "another cluster", "rests on nothing", "no basis", "no time", "no commit", "no version"],
)
def test_what_can_be_seen_of_it_is_refused_before_any_host_is_asked(
    tmp_path: Path, changed: dict[str, Any], says: str
) -> None:
    with pytest.raises(Refusal, match=says):
        approval.check(plan(tmp_path, **changed), "lab", NOW)


def test_who_cannot_tell_its_own_commit_takes_no_approved_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(version, "told", lambda: "0.1.0 (commit unknown)")
    with pytest.raises(Refusal, match=r"this is 0\.1\.0"):
        approval.check(plan(tmp_path), "lab", NOW)


def test_of_a_changed_checkout_only_the_same_code_is_as_approved(tmp_path: Path) -> None:
    """The words "commit …, changed" are the same for any change."""
    for name in ("one", "other", "same"):
        (tmp_path / name / "requorum").mkdir(parents=True)
        (tmp_path / name / "requorum" / "a.py").write_text("1" if name != "other" else "2")
    for compiled in ("a.cpython-311.pyc", "a.cpython-311-pytest-9.2.0.pyo"):  # by whoever ran it last
        (place := tmp_path / "same" / "requorum" / "__pycache__").mkdir(exist_ok=True)
        (place / compiled).write_text("3")
    one, other, same = (version.contents(tmp_path / name) for name in ("one", "other", "same"))
    assert one == same != other
    assert approval.of_command(Options())["code, SHA-256"] == version.contents()


def test_a_fresh_plan_of_this_cluster_is_taken_and_no_file_is_refused(tmp_path: Path) -> None:
    approval.check(plan(tmp_path), "lab", NOW)
    approval.check(plan(tmp_path, made=(NOW - timedelta(hours=23, minutes=59)).isoformat()), "lab", NOW)
    with pytest.raises(Refusal, match="cannot be read: No such file or directory"):
        approval.check(tmp_path / "none", "lab", NOW)


def test_a_plan_that_was_edited_is_refused_before_any_host_is_asked(tmp_path: Path) -> None:
    told = json.loads(made(tmp_path / "plan", Hosts()).read_text())
    for name in ("commands", "made", "outcome"):
        (tmp_path / "edited.json").write_text(json.dumps({**told, name: told[name][:-1]}))
        with pytest.raises(Refusal, match="is not as --plan wrote it"):
            approval.read(tmp_path / "edited.json")
    (tmp_path / "edited.json").write_text(json.dumps(told))  # other spaces are no other plan
    assert approval.read(tmp_path / "edited.json").basis == told["basis"]


def test_a_plan_says_its_sha256_to_whom_it_may_be_given(tmp_path: Path) -> None:
    path = made(tmp_path / "plan", Hosts())
    last = path.with_name("plan.txt").read_text().splitlines()[-1]
    assert last.startswith("A second person may approve it") and hashlib.sha256(path.read_bytes()).hexdigest() in last


def test_a_plan_with_an_approved_one_ends_where_that_does_not_hold(tmp_path: Path) -> None:
    path = made(tmp_path / "plan", Hosts())
    with pytest.raises(NotApproved, match="quorum: found “quorum is intact”"):
        made(tmp_path / "other", Hosts(leader=1), approved=path)
    told = made(tmp_path / "same", Hosts(), approved=path).with_name("plan.txt").read_text()
    assert "A second person may" not in told
