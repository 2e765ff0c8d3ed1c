"""A cluster that began anew under its old token and IDs is told by the manifests of its backups, exactly."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from requorum.cluster import etcd
from requorum.cluster.lineage import Lineage
from requorum.cluster.quorum import Kind
from requorum.command import Command
from requorum.recovery import plan
from requorum.recovery.progress import Progress
from requorum.refusal import Disproved, Refusal
from requorum.run.accepted import Accepted
from requorum.run.dryrun import Planning
from requorum.run.terms import Options
from requorum.snapshots import anew, attempts, backup, choice, files, loss, ranking, rotation, salvage
from requorum.snapshots.attempts import Copies
from requorum.snapshots.backup import Tonight
from requorum.snapshots.choice import Found
from requorum.snapshots.disks import Disk
from requorum.snapshots.family import Family
from requorum.snapshots.manifest import Manifest
from requorum.snapshots.ranking import Candidate
from requorum.snapshots.rotation import Backup
from requorum.snapshots.snapshot import SnapshotError, Source
from requorum.snapshots.survivors import Salvaged
from requorum.snapshots.vault import BackupError, Vault
from runbook.test_step_0_snapshot import TestStep0Snapshot as Step0
from tests.unit import build
from tests.unit.run.test_dryrun import Hosts, planning
from tests.unit.snapshots.test_files import backup as write
from tests.unit.snapshots.test_files import note as describe
from tests.unit.snapshots.test_survivors import survivor
from tests.unit.world import noted

OURS, BUMP = Lineage("ours", 1), 1_000_000_000


def row(number: int, revision: int, whole: bool = True, **fields: Any) -> Candidate:
    taken = f"2026-11-{number:02}T03:00:00Z"
    found = noted(BUMP + revision, **{"lineage": OURS, "bumps": BUMP, "taken": taken, "number": number, **fields})
    source = Source("file", None, found.path, f"sha-{number}", 1, taken, found.revision)
    return replace(found, source=source if whole else None)


def note(number: int, revision: int, **fields: Any) -> Manifest:
    found = row(number, revision, **fields).note
    assert found is not None
    return found


BEFORE = (row(1, 900), row(2, 1000))


@pytest.mark.parametrize(
    ("revision", "lineage", "rows", "found"),
    [
        (BUMP + 999, OURS, BEFORE, True),
        (BUMP + 1000, OURS, BEFORE, False),
        (4, OURS, BEFORE, True),
        (4, Lineage("ours"), BEFORE, True),
        (4, Lineage("other", 2), BEFORE, False),
        (4, OURS, (), False),
        (4, OURS, (*BEFORE, row(3, 2 - BUMP, history=1)), False),
        (BUMP + 5000, OURS, (*BEFORE, row(3, 2 - BUMP, another=True)), True),
        (BUMP + 999, OURS, (row(1, 900), row(2, 1000, whole=False)), True),
    ],
    ids=["behind", "level", "empty", "by token", "another's", "no backup", "accepted", "grown since", "damaged"],
)
def test_a_revision_below_the_newest_manifest_of_its_lineage_is_another_history(
    revision: int, lineage: Lineage, rows: tuple[Candidate, ...], found: bool
) -> None:
    assert (anew.began_anew(revision, lineage, rows) is not None) == found


def test_it_is_said_with_the_numbers_and_the_backup() -> None:
    assert str(anew.began_anew(4, OURS, BEFORE)) == (
        "is at revision 4, and by its manifest the backup /backups/2.snap, taken 2026-11-02T03:00:00Z, was at "
        "1,000,001,000 under the same IDs: the data began anew"
    )
    grown = str(anew.began_anew(BUMP + 5000, OURS, (*BEFORE, row(3, 2 - BUMP, another=True))))
    assert "had begun anew" in grown and "/backups/3.snap is marked as another history than /backups/2.snap" in grown


def test_its_backup_is_marked_every_night_until_one_word_makes_its_history_the_clusters_own() -> None:
    nights, rows = [], list(BEFORE)
    for number, revision, accepted in ((3, 4, False), (4, BUMP + 2000, False), (5, 9, True), (6, 12, False)):
        placed, found = anew.placed(note(number, revision - BUMP), rows, accepted)
        nights.append((placed.another, placed.history, found is not None))
        rows.append(row(number, revision - BUMP, another=placed.another, history=placed.history))
    assert nights == [(True, 0, True), (True, 0, True), (False, 1, True), (False, 1, False)]


# -- what is restored --------------------------------------------------------------------------------------------


def chosen(*rows: Candidate) -> str:
    best, _ = ranking.rank(rows, Family((OURS,)))
    return best.path if best else ""


def test_a_backup_of_another_history_never_competes_by_itself_and_is_restored_when_named() -> None:
    marked = row(3, 5000, another=True)
    assert chosen(*BEFORE, marked) == "/backups/2.snap"
    assert chosen(marked) == ""
    assert chosen(*BEFORE, replace(marked, named=ranking.BY_YOU)) == "/backups/3.snap"


def test_once_accepted_the_backups_of_the_history_before_it_are_used_only_when_named() -> None:
    accepted = row(3, 2 - BUMP, history=1)
    assert chosen(*BEFORE, accepted) == "/backups/3.snap"
    verdicts = {found.path: found.verdict for found in ranking.rank((*BEFORE, accepted), Family((OURS,)))[1]}
    assert "given up for another one" in verdicts["/backups/2.snap"]
    assert chosen(replace(BEFORE[1], named=ranking.BY_YOU), accepted) == "/backups/2.snap"


def test_a_salvage_is_behind_only_a_backup_of_its_own_history() -> None:
    salvage = ranking.of(Source("salvage", "etcd-1", "/salvage", "sha", 1, "now", BUMP + 1500, 1, OURS, BUMP))
    assert chosen(salvage, row(3, 5000, another=True)) == "/salvage"
    assert chosen(salvage, row(3, 5000)) == "/backups/3.snap"


# -- the nightly backup ------------------------------------------------------------------------------------------


def test_nothing_is_rotated_after_another_history_and_its_backups_push_no_good_one_out() -> None:
    def made(kept: Manifest) -> Backup:
        return Backup(f"{kept.number}.snap", datetime.fromisoformat(kept.taken), True, kept)

    before = [made(note(number, 900 + number)) for number in range(1, 8)]
    marked = [made(note(number, number - BUMP, another=True)) for number in range(8, 14)]
    tonight = marked[-1].taken
    got = rotation.rotation([*before, *marked], tonight, 3, 30)
    assert (got.removed, "of another history" in got.paused) == ((), True)
    after = [made(note(number, 1000 + number, lineage=Lineage("new", 2))) for number in range(14, 18)]
    left = rotation.rotation([*before[-2:], *marked, *after], after[-1].taken, 5, 30)
    assert left.removed == ("6.snap",), "six good ones there, five kept; the marked ones do not count"


def backed_up(place: Path, *words: str) -> Tonight:
    """A night after one at revision 10, whose save is at revision 9."""
    path = write(place, "a.snap")
    describe(path, lineage=OURS, number=1)
    run = planning(place, Hosts(), build.inventory(snapshot={"directory": str(place)}), accepted=Accepted(words))
    tonight = Tonight(Vault(run.inventory))
    first = files.noted(run.inventory)[0].note
    assert first is not None
    backup.place_in_history(run, tonight, replace(first, revision=first.revision - 1))
    tonight.path = place / "b.snap"
    backup.it_is_no_other_history(run, tonight)
    return tonight


def test_the_night_fails_after_its_backup_is_kept_and_names_both_ways_out(tmp_path: Path) -> None:
    with pytest.raises(BackupError, match=r"b\.snap is kept and marked as another history") as error:
        backed_up(tmp_path)
    assert "--rebuild" in error.value.remedy and "runbook/backup" in error.value.remedy
    assert error.value.remedy.endswith("--accept=history")


def test_by_the_operators_word_the_night_is_an_ordinary_one(tmp_path: Path) -> None:
    tonight = backed_up(tmp_path, "history")
    assert (tonight.kept.another, tonight.kept.history, tonight.kept.number) == (False, 1, 1)


def test_a_backup_that_is_cut_off_counts_by_its_manifest(tmp_path: Path) -> None:
    path = write(tmp_path, "a.snap")
    describe(path, lineage=OURS)
    path.write_bytes(path.read_bytes()[:-1])
    cut = files.of_file(path, Family((OURS,), bumps=(("ours", 2),)))
    assert cut.source is None and cut.problem
    assert (cut.lineage, cut.revision, cut.bumps) == (OURS, 10, 2)
    assert anew.is_behind(9, OURS, [cut])


# -- Step 0 ------------------------------------------------------------------------------------------------------


class Running(Hosts):
    """A cluster that has its leader, at a revision; its newest backup is at revision 10."""

    def __init__(self, revision: str, led: tuple[str, ...] = ("etcd-1", "etcd-2", "etcd-3")) -> None:
        super().__init__(leader=1)
        self.revision, self.led = revision, led

    def answer(self, command: Command) -> tuple[int, str]:
        if "/metrics" in command.line():
            leader = "1" if command.host in self.led else "0"
            return 0, f"etcd_server_has_leader {leader}\netcd_debugging_mvcc_current_revision {self.revision}\n"
        return super().answer(command)


def looked_at(place: Path, hosts: Hosts, *words: str, rebuild: bool = False) -> tuple[Planning, Progress]:
    describe(write(place, "a.snap"), lineage=Lineage("old"))
    inventory = build.inventory(snapshot={"directory": str(place)})
    run = planning(place, hosts, inventory, rebuild=rebuild, accepted=Accepted(words))
    run.begin("m.py::TestX::test_given_quorum_is_lost")
    progress = Progress.begin(run)
    Step0().test_given_quorum_is_lost(run, progress)
    return run, progress


def test_a_running_cluster_that_began_anew_is_named_with_the_numbers_and_both_ways_out(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match=r"revision 3, and by its manifest the backup .*a\.snap.* was at 10 ") as error:
        looked_at(tmp_path, Running("3"))
    assert "nothing to rebuild" not in str(error.value)
    assert "pytest runbook --hosts=NAME --rebuild;" in error.value.remedy
    assert error.value.remedy.endswith("pytest runbook/backup --hosts=NAME --accept=history")


def test_with_rebuild_it_counts_for_nothing_and_is_neither_handed_over_nor_saved(tmp_path: Path) -> None:
    run, progress = looked_at(tmp_path, Running("3"), rebuild=True)
    assert progress.verdict is not None and progress.verdict.kind is Kind.LOST
    assert not choice.is_handover(run, progress.verdict)
    assert plan.save_from_survivors(run.terms, progress.verdict) == []
    assert not salvage.is_decided(run, progress.sources, progress.verdict), "the disks are salvaged"
    assert progress.sources.anew == ("etcd-1", "etcd-2", "etcd-3"), "its members, whatever they write from now on"


@pytest.mark.parametrize(("revision", "words"), [("10", ()), ("3", ("history",))], ids=["level", "accepted"])
def test_its_own_history_is_handed_over(tmp_path: Path, revision: str, words: tuple[str, ...]) -> None:
    run, progress = looked_at(tmp_path, Running(revision), *words, rebuild=True)
    assert choice.is_handover(run, progress.verdict) and progress.sources.anew == ()


@pytest.mark.parametrize("words", [(), ("history",)])
def test_without_rebuild_nothing_is_handed_over(tmp_path: Path, words: tuple[str, ...]) -> None:
    with pytest.raises(Disproved, match="nothing to rebuild"):
        looked_at(tmp_path, Running("3" if words else "10"), *words)


def test_members_that_contradict_each_other_are_no_cluster_that_began_anew(tmp_path: Path) -> None:
    with pytest.raises(Disproved, match="what is said of the old members agrees"):
        looked_at(tmp_path, Running("3", led=("etcd-1",)), rebuild=True)


def test_metrics_are_read_as_prometheus_writes_them() -> None:
    page = "etcd_server_has_leader 1\netcd_debugging_mvcc_current_revision {}\n"
    for said, revision in (("4", 4), ("1.000000003e+09", BUMP + 3), ("NaN", None), ("1e+999", None)):
        read = build.understood(etcd.ask_metrics("etcd-1", build.config(1)), page.format(said))
        assert read == etcd.Metrics(True, revision)


# -- Step 1 ------------------------------------------------------------------------------------------------------


def copies(**revisions: int) -> Copies:
    found = tuple((name.replace("_", "-"), BUMP + revision) for name, revision in revisions.items())
    return Copies(tuple(survivor(int(name[-1])) for name, _ in found), found, ())


def test_disks_that_began_anew_cannot_outvote_one_that_reaches_further() -> None:
    nothing = Salvaged(None, members=3, lineage=OURS)
    left, behind = attempts.without_anew(copies(etcd_1=1000, etcd_2=5, etcd_3=5), BEFORE, nothing)
    assert ([s.name for s in left.sound], behind) == (["etcd-1"], ("etcd-2", "etcd-3"))
    left, behind = attempts.without_anew(copies(etcd_2=5, etcd_3=5), BEFORE, nothing)
    assert ([s.name for s in left.sound], behind) == (["etcd-2", "etcd-3"], ("etcd-2", "etcd-3"))
    assert left.databases == copies(etcd_2=5, etcd_3=5).databases, "all that there is"
    marked = (*BEFORE, row(3, 2 - BUMP, another=True))
    assert attempts.without_anew(copies(etcd_1=1001), marked, nothing)[1] == (), "the mark is not of this disk"


def test_disks_that_were_seen_to_begin_anew_count_for_nothing_however_far_they_got_since() -> None:
    nothing = Salvaged(None, members=3, lineage=OURS, anew=("etcd-2", "etcd-3"))
    further = copies(etcd_1=1000, etcd_2=90_000, etcd_3=90_000)
    left, behind = attempts.without_anew(further, BEFORE, nothing)
    assert ([s.name for s in left.sound], behind) == (["etcd-1"], ("etcd-2", "etcd-3"))
    assert left.databases == copies(etcd_1=1000).databases, "nor do they show how far the lost data was"
    unseen, behind = attempts.without_anew(further, BEFORE, replace(nothing, anew=()))
    assert len(unseen.sound) == 3 and behind == ()


def salvaged(revision: int, *names: str, anew: tuple[str, ...] = (), **fields: Any) -> Salvaged:
    source = Source("salvage", "etcd-1", "/s", "sha", 1, "now", BUMP + revision, 1, OURS, BUMP)
    shown = (("etcd-1", BUMP + revision),)
    return Salvaged(source, "together", names, 3, shown, lineage=OURS, bumps=BUMP, anew=anew, **fields)


def test_a_disk_that_began_anew_counts_for_no_majority_and_proves_no_loss() -> None:
    both = salvaged(1000, "etcd-1", "etcd-2")
    assert both.has_a_majority and not replace(both, anew=("etcd-2",)).has_a_majority
    assert both.source is not None
    whole = loss.loss_of(ranking.of(both.source), both)
    assert (whole.certain, whole.possible) == (0, 0)
    for anew_ones in (("etcd-2",), ("etcd-1", "etcd-2")):
        found = loss.loss_of(ranking.of(both.source), replace(both, anew=anew_ones))
        assert (found.certain, found.possible) == (None, None) and "nothing is missing" not in found.why
        assert ("disks that began anew" in found.why) == (len(anew_ones) == 2)
    empty = salvaged(5, "etcd-2", "etcd-3", anew=("etcd-2", "etcd-3"))
    assert loss.loss_of(BEFORE[1], empty).certain is None, "it does not tell how far the lost ones were"


def test_a_disk_in_doubt_that_was_taken_all_the_same_counts_for_no_majority_and_proves_no_loss() -> None:
    both = salvaged(1000, "etcd-1", "etcd-2", taken=("etcd-1", "etcd-2"))
    doubted = replace(both, could_not=(("etcd-2", "/data should be a file system of its own"),))
    assert both.has_a_majority and not doubted.has_a_majority
    assert doubted.source is not None
    assert loss.loss_of(ranking.of(doubted.source), doubted).certain is None


def test_after_a_marked_backup_disks_that_may_be_of_its_history_wait_for_a_word() -> None:
    family, marked = Family((OURS,)), (*BEFORE, row(3, 2 - BUMP, another=True))

    def stop(outcome: Salvaged, *words: str, rows: tuple[Candidate, ...] = marked) -> SnapshotError | None:
        there = (Disk(build.inventory().members[0], build.config(1, "ours"), OURS, True, True, 512),)
        return choice.refusal(Found(rows, there, family, None, outcome, accepted=Accepted(words)))

    found = stop(salvaged(1500, "etcd-1"))
    assert found and "/backups/3.snap" in found.where
    assert "--accept=backup" in found.remedy and "--accept=history" in found.remedy
    assert stop(salvaged(1500, "etcd-1"), "history") is None
    assert stop(salvaged(1500, "etcd-1"), rows=BEFORE) is None
    assert stop(salvaged(1500, "etcd-1", anew=("etcd-2", "etcd-3"))) is None, "the others are seen to be that history's"


CUT = replace(row(2, 1000, whole=False), problem="is cut off")


@pytest.mark.parametrize(
    ("revision", "rows", "certain", "why"),
    [
        (950, (BEFORE[0], CUT), 50, "/backups/2.snap, taken 2026-11-02T03:00:00Z, was at revision 1,000,001,000"),
        (1500, (*BEFORE, row(3, 2 - BUMP, another=True)), None, "/backups/3.snap is marked as another history"),
        (1000, (BEFORE[0], CUT), 0, "nothing is missing"),
        (5, (*BEFORE, row(3, 4, history=1)), 0, "nothing is missing"),
    ],
    ids=["behind", "marked", "level", "given up once already"],
)
def test_what_the_history_before_it_held_is_said_as_lost_also_where_it_was_given_up_by_a_word(
    revision: int, rows: tuple[Candidate, ...], certain: int | None, why: str
) -> None:
    there = (Disk(build.inventory().members[0], build.config(1, "ours"), OURS, True, True, 512),)
    both, accepted = salvaged(revision, "etcd-1", "etcd-2"), Accepted(("history",))
    found = choice.decide(Found(rows, there, Family((OURS,)), None, both, accepted=accepted)).loss
    assert (found.certain, found.possible) == (certain, 0 if certain == 0 else None)
    assert why in found.why and ("nothing is missing" in found.why) == (certain == 0)


def test_data_behind_a_manifest_asks_for_the_word_that_its_history_is_given_up_and_for_any_other_that_it_needs() -> (
    None
):
    two = ["etcd-1", "etcd-2"]
    forced = replace(salvaged(5, "etcd-1"), how="alone", taken=("etcd-1",))
    for outcome, more in ((salvaged(5, *two), ()), (forced, ("forced:etcd-1",))):
        assert outcome.source is not None
        lost = loss.loss_of(ranking.of(outcome.source), outcome, BEFORE)
        assert lost.asks and lost.certain == 995
        assert loss.words(lost, outcome.source, outcome, two, Options()) == ("history", *more)
