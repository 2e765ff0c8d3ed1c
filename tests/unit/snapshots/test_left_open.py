"""Data without authentication whose newest backup had it on is another history: it is not restored without a word."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from requorum.cluster.authentication import Authentication
from requorum.cluster.lineage import Lineage
from requorum.command import Command
from requorum.recovery import trials
from requorum.recovery.progress import Progress
from requorum.recovery.trial import Trial
from requorum.refusal import Refusal
from requorum.run.accepted import Accepted
from requorum.snapshots import anew, backup, choice, files, manifest
from requorum.snapshots.backup import Tonight
from requorum.snapshots.family import Family
from requorum.snapshots.ranking import Candidate
from requorum.snapshots.sources import Sources
from requorum.snapshots.vault import Vault
from runbook.test_step_0_snapshot import TestStep0Snapshot as Step0
from tests.unit import build
from tests.unit.run.test_dryrun import Hosts, planning
from tests.unit.snapshots.test_anew import OURS, Running, row
from tests.unit.snapshots.test_bolt import guarded
from tests.unit.snapshots.test_files import backup as write
from tests.unit.snapshots.test_files import note as describe


@pytest.mark.parametrize(
    ("on", "lineage", "rows", "found"),
    [
        (False, OURS, (row(1, 900, authentication=True),), True),
        (True, OURS, (row(1, 900, authentication=True),), False),
        (False, OURS, (row(1, 900),), False),
        (False, OURS, (), False),
        (False, None, (row(1, 900, authentication=True),), False),
        (False, Lineage("other", 2), (row(1, 900, authentication=True),), False),
        (False, OURS, (row(1, 900, authentication=True), row(2, 901, authentication=False)), False),
        (False, OURS, (row(1, 900, authentication=False), row(2, 901, authentication=True)), True),
        (False, OURS, (row(1, 900, authentication=True), row(2, 901)), True),
        (False, OURS, (row(1, 900, authentication=True), row(2, 5, authentication=False, another=True)), True),
    ],
    ids=["off", "on", "untold", "none", "unknown", "another's", "off since", "on since", "untold since", "anew"],
)
def test_authentication_that_the_newest_backup_that_tells_had_on_is_missed(
    on: bool, lineage: Lineage | None, rows: tuple[Candidate, ...], found: bool
) -> None:
    assert (anew.left_open(on, lineage, rows) is not None) == found


def tried(place: Path, was_on: bool | None, on: bool, *words: str, named: str | None = None) -> None:
    """The end of a trial of the lost cluster's data, whose newest backup tells `was_on`."""
    describe(write(place, "a.snap"), lineage=OURS, authentication=was_on)
    run = planning(
        place,
        Hosts(),
        build.inventory(snapshot={"directory": str(place)}, expect={}),
        accepted=Accepted(words),
        snapshot=named,
    )
    run.begin("m.py::TestX::test_then_every_old_password_logs_in_to_the_trial")
    source = row(1, 900).source
    found = Trial("sha", 7, 3, {"": 20}, ("root",), ("root",), authentication=Authentication(on))
    trials.trial_is_good(run, Progress(Sources(source=source, family=Family((OURS,))), roles=("root",), trial=found))


def test_the_trial_stops_with_the_word_that_goes_on(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match=r"the trial.*a\.snap.* had it on") as error:
        tried(tmp_path, True, False, "without:etcd-1")
    assert error.value.remedy.endswith("the same command with --accept=without:etcd-1,history")


@pytest.mark.parametrize(
    ("was_on", "on", "words", "named"),
    [
        (True, False, ("history",), None),
        (True, False, (), "some.snap"),
        (False, False, (), None),
        (None, False, (), None),
        (True, True, (), None),
    ],
)
def test_the_trial_goes_on_by_that_word_for_named_data_and_where_it_was_so(
    tmp_path: Path, was_on: bool | None, on: bool, words: tuple[str, ...], named: str | None
) -> None:
    tried(tmp_path, was_on, on, *words, named=named)


def open_file(place: Path, name: str) -> Path:
    """A whole snapshot without authentication, at revision 7."""
    path = place / name
    body = guarded([(b"authEnabled", b"\x00", 0)], [])
    path.write_bytes(body + hashlib.sha256(body).digest())
    return path


def test_a_backup_that_is_all_there_is_stops_in_step_0(tmp_path: Path) -> None:
    describe(write(tmp_path, "a.snap"), lineage=OURS, authentication=True)
    (tmp_path / "a.snap").write_bytes(b"damaged")
    found = files.of_file(open_file(tmp_path, "b.snap"), Family())
    assert found.source is not None and found.source.authentication == Authentication(on=False)
    found = replace(found, lineage=OURS, source=replace(found.source, lineage=OURS))
    inventory = build.inventory(snapshot={"directory": str(tmp_path)})
    with pytest.raises(Refusal, match=r"b\.snap.*a\.snap.* had it on"):
        choice.refuse_an_old_file(planning(tmp_path / "first", Hosts(), inventory), found)
    again = planning(tmp_path / "again", Hosts(), inventory, accepted=Accepted(("history",)))
    choice.refuse_an_old_file(again, found)


def test_a_backup_tells_whether_authentication_was_on_and_an_older_manifest_does_not(tmp_path: Path) -> None:
    made = describe(write(tmp_path, "a.snap"), authentication=True)
    assert manifest.read(tmp_path / "a.snap") == made
    told = made.text()
    assert '"authentication": true' in told
    for text, found in (("true", True), ("false", False), ("null", None)):
        manifest.path_of(tmp_path / "a.snap").write_text(told.replace('tion": true', f'tion": {text}'))
        note = manifest.read(tmp_path / "a.snap")
        assert note is not None and note.authentication is found
    manifest.path_of(tmp_path / "a.snap").write_text(told.replace('tion": true', 'tion": "no"'))
    with pytest.raises(manifest.ManifestError):
        manifest.read(tmp_path / "a.snap")
    run = planning(tmp_path, Hosts(), build.inventory(snapshot={"directory": str(tmp_path)}))
    run.begin("m.py::TestX::test_when_it_is_fetched")
    tonight = Tonight(Vault(run.inventory), note=replace(made, revision=7, authentication=None))
    open_file(tmp_path, "c.snap").rename(tonight.vault.part(tonight.kept.taken))
    backup.the_part_is_whole(run, tonight)
    assert tonight.kept.authentication is False


class Open(Running):
    """A cluster that has its leader, is as far as its newest backup, and answers everybody, or as it `says`."""

    def __init__(self, says: str) -> None:
        super().__init__("10")
        self.says = says

    def answer(self, command: Command) -> tuple[int, str]:
        return (0, self.says) if "/v3/kv/range" in command.line() else super().answer(command)


ANSWERED = '{"header":{"cluster_id":"1","revision":"10"}}'


@pytest.mark.parametrize(
    ("was_on", "says", "words", "stops"),
    [
        (True, ANSWERED, (), True),
        (True, ANSWERED, ("history",), False),
        (False, ANSWERED, (), False),
        (True, '{"error":"etcdserver: user name is empty"}', (), False),
        (True, "", (), False),
    ],
    ids=["off", "accepted", "off before", "on", "not answered"],
)
def test_a_handover_of_a_cluster_that_asks_nobody_who_they_are_stops_in_step_0(
    tmp_path: Path, was_on: bool, says: str, words: tuple[str, ...], stops: bool
) -> None:
    describe(write(tmp_path, "a.snap"), lineage=Lineage("old"), authentication=was_on)
    inventory = build.inventory(snapshot={"directory": str(tmp_path)})
    run = planning(tmp_path, Open(says), inventory, rebuild=True, accepted=Accepted(words))
    run.begin("m.py::TestX::test_given_quorum_is_lost")
    progress = Progress.begin(run)
    if not stops:
        Step0().test_given_quorum_is_lost(run, progress)
        return
    with pytest.raises(Refusal, match=r"the running cluster \(etcd-1\).*a\.snap.* had it on"):
        Step0().test_given_quorum_is_lost(run, progress)
