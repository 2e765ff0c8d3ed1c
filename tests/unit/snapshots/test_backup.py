"""The nightly backup's commands: the vendor's etcdctl and nobody else's, however the inventory spells it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from requorum.cluster.etcdctl import Status
from requorum.cluster.lineage import Lineage
from requorum.command import Action, Command, Result
from requorum.hosts.fleet import Unreachable
from requorum.run import history
from requorum.run.history import Birth
from requorum.run.marker import Phase
from requorum.snapshots import backup, beginning, manifest, on_host
from requorum.snapshots.backup import Tonight
from requorum.snapshots.beginning import Proven
from requorum.snapshots.manifest import Manifest, ManifestError
from requorum.snapshots.vault import Vault
from requorum.troubleshoot import sudoers
from runbook.backup import test_backup as stages
from tests.unit import build
from tests.unit.recovery.undo.test_discard import LEASE_RAN_OUT, MARK, PROBE, RESTORED, WRITTEN, Rows, Running
from tests.unit.run.test_dryrun import DATA, Hosts, planning

SPELT = {"etcdctl": "/opt/vendor/ctl --as {admin_user} etcd"}


def saving(etcdctl: str) -> list[str]:
    terms = build.terms(of=build.inventory({"etcdctl": etcdctl}))
    return build.lines(backup.save(terms, "https://10.0.0.12:2379"))


def test_the_save_is_by_the_vendors_etcdctl_with_its_placeholders_filled() -> None:
    place = f"/var/lib/requorum/lab/backup-{build.RUN}"
    assert saving(SPELT["etcdctl"])[-1] == (
        f"infra-1: {build.HUGE} {build.SCOPE} /opt/vendor/ctl --as irisadmin etcd --endpoints=https://10.0.0.12:2379 "
        f"--dial-timeout=10s snapshot save {place}/snapshot.db"
    )


def read_with(tmp_path: Path, *tools: str) -> str:
    """Carries the question out where just `tools` are in the PATH; which tool answered, and what it was asked."""
    for name in ("etcdutl", "etcdctl", "vendor"):
        tool = tmp_path / name
        tool.write_text(f'#!/bin/sh\necho {name} "$@"\n')
        tool.chmod(0o700 if name in (*tools, "vendor") else 0o600)
    terms = build.terms(of=build.inventory({"etcdctl": f"{tmp_path}/vendor --as {{admin_user}}"}))
    save = f"{backup.staging(terms)}/snapshot.db"
    (question,) = on_host.ask_status("infra-1", save, on_host.etcdctl(terms)).commands
    shell, *words = question.argv
    assert shell == "sh"
    return subprocess.check_output(["/bin/sh", *words], env={"PATH": str(tmp_path)}, text=True)


def test_where_there_is_no_etcdutl_the_vendors_etcdctl_reads_the_save(tmp_path: Path) -> None:
    save = f"/var/lib/requorum/lab/backup-{build.RUN}/snapshot.db"
    assert read_with(tmp_path) == f"vendor --as irisadmin snapshot status -w json {save}\n"
    assert read_with(tmp_path, "etcdctl") == f"vendor --as irisadmin snapshot status -w json {save}\n"


def test_etcdutl_reads_it_where_it_is_there_since_later_versions_leave_that_to_it(tmp_path: Path) -> None:
    assert read_with(tmp_path, "etcdutl", "etcdctl").startswith("etcdutl snapshot status -w json /")


# -- where members keep their data ---------------------------------------------------------------------------------


class OneIsSilent(Hosts):
    def run(self, actions: Sequence[Action]) -> list[Result]:
        if any(isinstance(action, Command) and action.host == "etcd-2" for action in actions):
            raise Unreachable("etcd-2", "does not answer", "")
        return super().run(actions)


def test_where_members_keep_their_data_is_noted_of_those_that_tell(tmp_path: Path) -> None:
    hosts = OneIsSilent()
    run = planning(tmp_path, hosts, build.inventory())
    found = backup.places_of(run)
    assert found == (("etcd-1", DATA, "/"), ("etcd-3", DATA, "/"))
    listed = sudoers.needed(run.inventory, purpose="backup")
    lines = [sudoers.as_root(command.line()) for command in hosts.asked if command.root]
    assert all(any(need.covers(line or "") for need in listed) for line in lines)
    path = tmp_path / "x.snap"
    manifest.path_of(path).write_text(replace(NOTE, places=found).text())
    read = manifest.read(path)
    assert read is not None and read.places == found


@pytest.mark.parametrize("places", [[["etcd-1", "/d"]], [["etcd-1", "/d", 7]], [["etcd-1", "/d\x1b[2J", "/"]], 7])
def test_places_that_are_none_are_a_manifest_that_cannot_be_read(tmp_path: Path, places: object) -> None:
    data = json.loads(NOTE.text())
    path = tmp_path / "x.snap"
    manifest.path_of(path).write_text(json.dumps({**data, "places": places}))
    with pytest.raises(ManifestError):
        manifest.read(path)
    del data["places"]
    manifest.path_of(path).write_text(json.dumps(data))
    read = manifest.read(path)
    assert read is not None and read.places == (), "one from before"


# -- whether the cluster of a run that was never closed lives ----------------------------------------------------

BORN = Birth(build.TOKEN, build.RUN, Phase.STARTED, MARK.snapshot, Lineage("old", 7), 50)
TAKEN = "2026-01-02T00:00:00Z"
NOTE = Manifest("lab", "ab" * 32, 1, Lineage(build.TOKEN, 7), 0, 120, 2, "3.5.16", TAKEN, "https://10.0.0.11:2379")


class Unclosed(Running):
    """A cluster of a run that got no further than `born`; `proven`: Step 5 had noted what it wrote itself."""

    def __init__(
        self, rows: Rows | None, born: Birth = BORN, proven: bool = False, noted: bool = True, revision: int = 120
    ) -> None:
        super().__init__(rows, noted=noted, revision=revision)
        self.born, self.proven = born, proven

    def answer(self, command: Command) -> tuple[int, str]:
        argv = command.argv
        if "birth.json" in " ".join(argv):
            return 0, build.stdins([history.write_birth(command.host, "lab", self.born)])[0].decode()
        if argv[0] == "cat" and argv[1].endswith("/proven.json") and self.proven:
            found = Proven(MARK.snapshot, 100, 7, 90, 117, 1)
            return 0, build.stdins([beginning.note(build.terms(), found)])[0].decode()
        return super().answer(command)


@pytest.mark.parametrize(
    ("hosts", "of", "lived", "said"),
    [
        (Unclosed(WRITTEN), NOTE, True, "its cluster lives ('/main/config/new' was written after revision 100)"),
        (Unclosed(RESTORED, revision=60), NOTE, True, "at revision 60, and the run's own data begins at 100"),
        (Unclosed(RESTORED, revision=60, proven=True), NOTE, True, "at revision 60"),
        (Unclosed(RESTORED), NOTE, False, ""),  # that run is under way right now
        (Unclosed({**RESTORED, PROBE: (103, 0)}), NOTE, False, ""),
        (Unclosed(WRITTEN, proven=True), NOTE, False, ""),
        (Unclosed(WRITTEN), replace(NOTE, lineage=Lineage("other", 9)), False, ""),
        (Unclosed(WRITTEN), replace(NOTE, lineage=Lineage(None, 7)), False, ""),
        (Unclosed(WRITTEN, replace(BORN, phase=Phase.DONE)), NOTE, False, ""),
        (Unclosed(WRITTEN, noted=False), NOTE, False, "nobody can tell what it wrote itself"),
        (Unclosed(None), NOTE, False, "whether its cluster lives is not known tonight"),
    ],
)
def test_a_backup_says_of_a_cluster_that_people_finished_that_it_lives(
    tmp_path: Path, hosts: Unclosed, of: Manifest, lived: bool, said: str
) -> None:
    run = planning(tmp_path, hosts, build.inventory(snapshot={"directory": str(tmp_path)}))
    tonight = Tonight(Vault(run.inventory), note=of)
    backup.note_whether_it_lives(run, tonight)
    assert replace(tonight.kept, alone=False) == replace(of, lived=lived)
    assert said in "".join([*run.notes, *run.last_words])
    assert sudoers.unlisted(run.inventory, [command.line() for command in hosts.asked]) == []
    assert {command.host for command in hosts.asked} <= {"infra-1"}, "no other host is needed for a backup"


@pytest.mark.parametrize(
    ("hosts", "alone"),
    [
        (Unclosed(RESTORED), True),
        (Unclosed(LEASE_RAN_OUT), True),
        (Unclosed(RESTORED, proven=True), True),
        (Unclosed(WRITTEN), False),
        (Unclosed({"/presence/b": (50, 9)}), False),  # what was deleted is no newer key
        (Unclosed({"/presence/b": (50, 9)}, proven=True), False),
        (Unclosed(RESTORED, replace(BORN, phase=Phase.DONE)), False),
        (Unclosed(RESTORED, noted=False), False),
    ],
)
def test_it_says_of_one_that_only_leases_moved_that_nobody_wrote(tmp_path: Path, hosts: Unclosed, alone: bool) -> None:
    run = planning(tmp_path, hosts, build.inventory(snapshot={"directory": str(tmp_path)}))
    tonight = Tonight(Vault(run.inventory), note=NOTE)
    backup.note_whether_it_lives(run, tonight)
    assert tonight.kept.alone == alone


def test_it_is_read_from_the_manifest_again_and_is_nothing_but_yes_or_no(tmp_path: Path) -> None:
    snapshot = build.snapshot(tmp_path)
    manifest.path_of(snapshot).write_text(replace(NOTE, lived=True).text())
    assert manifest.read(snapshot) == replace(NOTE, lived=True)
    told = json.loads(NOTE.text())
    manifest.path_of(snapshot).write_text(json.dumps({**told, "lived": "yes"}))
    with pytest.raises(ManifestError):
        manifest.read(snapshot)
    del told["lived"]  # of an earlier version
    manifest.path_of(snapshot).write_text(json.dumps(told))
    assert manifest.read(snapshot) == NOTE


def test_tonights_backup_says_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = planning(tmp_path, Unclosed(WRITTEN), build.inventory(snapshot={"directory": str(tmp_path)}))
    tonight = Tonight(Vault(run.inventory), member=Status("e", 7, 1, 1, 110, "3.5.16", ()))
    monkeypatch.setattr(backup, "describe", lambda *_: NOTE)
    run.begin("m.py::TestBackup::test_then_etcd_can_read_it")
    stages.TestBackup().test_then_etcd_can_read_it(run, tonight)
    assert tonight.kept.lived


@pytest.mark.parametrize(
    ("answer", "keys"), [((0, '{"count": 21642}'), 21_642), ((1, ""), None), ((0, "no JSON"), None)]
)
def test_keys_are_counted_by_the_member_at_the_saved_revision(
    tmp_path: Path, answer: tuple[int, str], keys: int | None
) -> None:
    class Counting(Hosts):
        def answer(self, command: Command) -> tuple[int, str]:
            assert not command.changes and "--rev=110" in command.argv and "--endpoints=e" in command.argv
            return answer

    run = planning(tmp_path, Counting(), build.inventory())
    run.begin("m.py::TestBackup::test_then_etcd_can_read_it")
    assert backup._keys(run, Status("e", 7, 1, 1, 110, "3.5.16", ()), 110) == keys
