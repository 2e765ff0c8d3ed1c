"""What is restored out of all that was found, what the table says, and what is said to be lost."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from typing import Any

import pytest

from requorum.cluster.etcd import RELATIVE, EtcdError
from requorum.cluster.lineage import Lineage
from requorum.command import Command, Result
from requorum.recovery import ahead, plan, trial
from requorum.run.accepted import Accepted
from requorum.run.history import Birth
from requorum.run.marker import Phase
from requorum.snapshots import attempts, choice, disks, loss, on_host, ondisk, ranking
from requorum.snapshots.choice import Found
from requorum.snapshots.disks import Disk
from requorum.snapshots.family import Family, family_of
from requorum.snapshots.ranking import Candidate
from requorum.snapshots.snapshot import SnapshotError, Source
from requorum.snapshots.survivors import Salvaged
from tests.unit import build
from tests.unit.run.test_dryrun import WHOLE, listing, parts

LOST, FAILED, OTHER = Lineage("lost", 1), Lineage("failed", 2), Lineage("other", 3)
BUMP = 1_000_000_000
BIRTHS = {"failed": Birth("failed", "run", Phase.STARTED, "00", LOST, BUMP)}


def disk(number: int, of: Lineage, installed: bool = True, logged: bool = True, size: int | None = 512) -> Disk:
    config = build.config(number, of.token or "")
    member = build.inventory().members[number - 1]
    return Disk(member, config, of, installed, logged, size, "2026-01-01T00:00:00Z")


def family(*found: Disk) -> Family:
    return family_of({d.host: d.lineage for d in found if d.installed}, BIRTHS)


# The lost cluster's data beside that of a run that failed, as on a survivor after the run was given up.
BOTH = (disk(1, FAILED), disk(1, LOST, installed=False))


def backup(revision: int, of: Lineage = LOST, named: str = "") -> Candidate:
    path = f"/backups/{revision}.snap"
    return ranking.of(
        Source("file", None, path, f"sha-{revision}", 544, "2026-01-01T00:00:00Z", revision, 1, of), named
    )


def salvaged(revision: int, of: Lineage = LOST, names: tuple[str, ...] = ("etcd-1",), bumps: int = 0) -> Salvaged:
    source = Source("salvage", "etcd-1", "/run/salvage.snap", "sha", 544, "now", revision, 1, of, bumps)
    hosts = ("etcd-1",)
    return Salvaged(source, "together", names, 3, (("etcd-1", revision - 1),), "", hosts, of, bumps)


def source_at(revision: int) -> Source:
    made = salvaged(revision).source
    assert made is not None
    return made


def torn(revision: int | None = None) -> Salvaged:
    shown = () if revision is None else (("etcd-1", revision),)
    return Salvaged(None, members=3, databases=shown, failed="torn", hosts=("etcd-1",), lineage=LOST)


def found(rows: tuple[Candidate, ...], outcome: Salvaged, there: tuple[Disk, ...] = BOTH, **words: object) -> Found:
    held = next((row.source for row in rows if row.source), None)
    values = {"rows": rows, "disks": there, "family": family(*there), "held": held, "salvaged": outcome, **words}
    return Found(**values)  # type: ignore[arg-type]


def verdicts(rows: tuple[Candidate, ...]) -> dict[tuple[str, str], str]:
    """(kind, token) → verdict."""
    return {(row.kind, (row.lineage and row.lineage.token) or ""): row.verdict for row in rows}


# -- whose data is salvaged --------------------------------------------------------------------------------------


def test_the_lost_clusters_data_is_salvaged_where_a_failed_runs_lies_beside_it() -> None:
    picked = disks.salvageable(BOTH, family(*BOTH), None)
    assert [d.lineage for d in picked] == [LOST]


def test_a_failed_runs_data_is_never_salvaged_by_itself() -> None:
    alone = (disk(1, FAILED), disk(2, FAILED), disk(3, FAILED))
    assert disks.salvageable(alone, family(*alone), None) == []
    (row,) = [row for row in disks.listed(alone, family(*alone), None) if row.kind == "salvage"]
    assert row.problem == "data of an earlier run that failed: --salvage=failed"
    assert row.host == "etcd-1, etcd-2, etcd-3"
    assert disks.salvageable(alone, Family((), (Lineage("failed"),)), None) == [], "nor where no host tells of a parent"


def test_that_a_cluster_is_a_failed_runs_is_believed_where_the_configuration_server_has_noted_it_and_nowhere_else() -> (
    None
):
    """H2: birth records that only other hosts have would set the lost cluster's own data aside."""
    on_disk = dict.fromkeys(("etcd-1", "etcd-2"), FAILED)
    assert family_of(on_disk, BIRTHS).line == (LOST,)
    line = family_of(on_disk, BIRTHS, unheld={"failed"})
    assert line.line == () and not line.is_unborn(FAILED)
    assert disks.salvageable(BOTH, line, None) == []
    offered = {row.problem for row in disks.listed(BOTH, line, None) if row.kind == "salvage"}
    assert {why.rpartition(": ")[2] for why in offered if why} == {"--salvage=lost", "--salvage=failed"}
    alive = {"failed": replace(BIRTHS["failed"], phase=Phase.DONE)}
    assert family_of(on_disk, alive, unheld={"failed"}).line == (FAILED, LOST), "it sets nothing aside"
    assert family_of({"etcd-1": LOST}, BIRTHS, unheld={"failed"}).line == (LOST,), "nor where no disk holds it"


def test_once_deephaven_could_write_into_it_that_cluster_is_the_lost_one() -> None:
    born = {"failed": replace(BIRTHS["failed"], phase=Phase.POWERING_ON)}
    line = family_of({"etcd-1": FAILED}, born)
    assert [d.lineage for d in disks.salvageable(BOTH, line, None)] == [FAILED]


def test_disks_of_a_cluster_that_was_rebuilt_and_lived_on_do_not_say_what_was_lost_unless_that_was_rolled_back() -> (
    None
):
    """As after old images of the machines came back: their cluster's child lived, and its backups are newer."""
    born = {"child": Birth("child", "run", Phase.DONE, "00", LOST, BUMP)}
    images = {"etcd-1": LOST, "etcd-2": LOST}
    assert family_of(images, born).line == ()
    assert family_of(images, born, {"run"}).line == (LOST,)
    assert family_of(images, {"child": replace(born["child"], phase=Phase.STARTED)}).line == (LOST,)
    assert family_of({**images, "etcd-3": Lineage("child", 9)}, born).line == ()


def test_what_is_named_is_salvaged_whatever_it_is() -> None:
    assert [d.lineage for d in disks.salvageable(BOTH, family(*BOTH), "failed")] == [FAILED]


def test_logs_of_one_member_on_two_hosts_are_doubted_until_one_of_them_is_given_up() -> None:
    """As a disk that was copied to another machine leaves it: its votes would count twice."""
    both = [replace(disk(1, LOST), node=7), replace(disk(2, LOST), node=7), replace(disk(3, LOST), node=9)]
    assert disks.copied(both, ()) == {
        "etcd-1": f"its log is of member 7, as is that of etcd-2: {disks.COPIED}",
        "etcd-2": f"its log is of member 7, as is that of etcd-1: {disks.COPIED}",
    }
    assert list(disks.copied(both, ("etcd-2",))) == ["etcd-2"], "the other one is salvaged"
    assert disks.copied([replace(one, node=None) for one in both], ()) == {}
    assert disks.copied([both[0], replace(both[1], lineage=OTHER)], ()) == {}


def test_which_of_two_is_the_copy_is_said_by_a_word_for_each() -> None:
    both = (replace(disk(1, LOST), node=7), replace(disk(2, LOST), node=7))
    doubted = Salvaged(None, members=3, could_not=tuple(disks.copied(both, ()).items()), lineage=LOST)
    stop = choice.refusal(found((backup(100),), doubted, both))
    assert stop is not None and stop.remedy.startswith("ask who copied a disk")
    for host in ("etcd-1", "etcd-2"):
        assert f"give up the disk of {host} where that is the copy (price: " in stop.remedy
        assert re.search(rf"--accept=without:{host}(;|$)", stop.remedy)


def test_survivors_of_two_clusters_of_which_none_is_known_to_be_lost_wait_for_a_word() -> None:
    two = (disk(1, LOST), disk(2, OTHER))
    assert disks.salvageable(two, family(*two), None) == []
    rows = [row for row in disks.listed(two, family(*two), None) if row.kind == "salvage"]
    assert {row.problem for row in rows} == {
        "no host tells which cluster was lost: --salvage=lost",
        "no host tells which cluster was lost: --salvage=other",
    }


@pytest.mark.parametrize("part", [{"logged": False}, {"size": None}])
def test_a_disk_without_log_or_database_is_not_salvaged(part: dict[str, None]) -> None:
    torn = disk(1, LOST, **part)  # type: ignore[arg-type]
    assert disks.salvageable([torn], family(torn), None) == []


def test_what_is_named_is_taken_from_the_disks_that_nobody_doubts() -> None:
    two = (disk(1, LOST), disk(2, LOST))
    assert [d.host for d in disks.salvageable(two, family(*two), "lost", {"etcd-2"})] == ["etcd-1"]
    assert [d.host for d in disks.salvageable(two[1:], family(*two), "lost", {"etcd-2"})] == ["etcd-2"], "all there is"
    assert [d.host for d in disks.salvageable(two, family(*two), None, {"etcd-2"})] == ["etcd-1"]


def test_a_row_that_is_none_and_a_time_that_nobody_has_are_passed_over() -> None:
    blank = disk(1, LOST)
    said = f"db 99999999999999 4096\nodd\nname.wal 1.0 1\n{SAID.splitlines()[1]}"
    seen = seen_as(blank, said, *WHOLE)
    assert (seen.bytes, seen.taken, seen.whole) == (4096, "", True)


def test_what_is_named_and_not_there_is_refused_with_what_is() -> None:
    where, _, remedy = disks.refusal(BOTH, family(*BOTH), "mistyped", None) or ("", "", "")
    assert where == "--salvage=mistyped"
    assert remedy == "there is: failed on etcd-1; lost on etcd-1"
    where, _, remedy = disks.refusal(BOTH, family(*BOTH), None, "etcd-2") or ("", "", "")
    assert where == "--skip-hash=etcd-2"
    assert remedy == "etcd-1 has"
    assert disks.refusal(BOTH, family(*BOTH), "failed", None) is None
    assert disks.refusal(BOTH, family(*BOTH), None, "etcd-1") is None


def test_earlier_configurations_are_found_and_each_data_directory_counts_once() -> None:
    text = "name: etcd-1\ndata-dir: /data/{0}\ninitial-cluster-token: {0}\ninitial-cluster: etcd-1=https://a:1\n"
    lines = [f"{base64.b64encode(text.format(t).encode()).decode()} /etc/etcd/dh/{t}/c" for t in ("new", "old", "new")]
    question = disks.ask_earlier("etcd-1", "/etc/etcd/dh/latest/c", "lab")
    text = "\n".join([*lines, "bm8gWUFNTA== /etc/etcd/dh/x", "%%% y"])
    earlier = question.understand([Result(question.commands[0], 0, text, "", 0.0)]).configs
    installed = earlier[0]
    assert [c.token for c in disks.clusters(installed, earlier)] == ["new", "old"]
    assert disks.clusters(installed, earlier)[0].token == "new"
    assert [c.token for c in disks.clusters(None, earlier)] == ["new", "old"]


SAID = "db 1767225600.5 4096\n0000000000000000-0000000000000000.wal 1767225600.0 64000000\n"


def seen_as(blank: disks.Disk, said: str, *lies: str) -> disks.Disk:
    question = disks.ask_disk(blank.member, blank.config, True)
    answers = ("", said, listing(blank.config.data_dir, *lies), parts(blank.config.data_dir, *lies))
    return question.understand([Result(c, 0, a, "", 0.0) for c, a in zip(question.commands, answers, strict=True)])


def test_a_disk_is_read_from_two_answers_that_agree() -> None:
    blank = disk(1, LOST)
    seen = seen_as(blank, SAID, *WHOLE)
    assert (seen.bytes, seen.logged, seen.taken, seen.whole) == (4096, True, "2026-01-01T00:00:00Z", True)
    empty = seen_as(blank, "")
    assert (empty.whole, empty.problem) == (False, "")
    for odd in (seen_as(blank, "0.wal 1.0 4096\n", *WHOLE), seen_as(blank, SAID)):
        assert not odd.whole and "not twice the same" in odd.problem


# -- the decision ------------------------------------------------------------------------------------------------


def test_salvage_is_in_the_table_with_all_that_is_known_of_it() -> None:
    decision = choice.decide(found((backup(5),), salvaged(9)))
    assert decision.new
    assert decision.source.kind == "salvage"
    row = decision.rows[0].row()
    assert row == {
        "source": "salvage salvage.snap",
        "host": "etcd-1",
        "lineage": "lost 1",
        "taken": "now",
        "revision": 9,
        "keys": 1,
        "size": 544,
        "hash": "good",
        "verdict": "chosen",
    }
    said = verdicts(decision.rows)
    assert said["salvage", "failed"] == "data of an earlier run that failed: --salvage=failed"
    assert said["file", "lost"] == "salvage has all of it and may have more"
    assert decision.notes == (
        "using what was salvaged from etcd-1: revision 9, 4 newer than the backup of 2026-01-01T00:00:00Z",
    )
    assert not decision.less


def test_failed_salvage_is_in_the_table_with_the_reason_and_nothing_is_restored_by_itself() -> None:
    failed = found((backup(5),), torn(9))
    _, rows = choice.table(failed)
    assert verdicts(rows)["salvage", "lost"] == "failed: torn"
    assert next(row.revision for row in rows if row.kind == "on-disk") == 9
    stop = choice.refusal(failed)
    assert stop is not None and "salvage failed: torn" in stop.what
    price = "(price: at least 4 revisions, as the database of etcd-1 shows)"
    assert f"(/backups/5.snap), without what the disks hold {price}: --accept=backup" in stop.remedy
    assert (
        "on etcd-1 at revision 9, without a hash, so nobody can tell whether it is whole (price: what was only in"
        in stop.remedy
    )
    assert "in 13 of 13 trials, and nothing that any database or backup shows): --accept=on-disk:etcd-1" in stop.remedy
    assert stop.remedy.startswith("go on with the backup"), "nothing is to be mended, so the choices come first"


def test_the_backup_is_restored_on_the_operators_word_where_there_is_a_reason_to_stop_and_only_there() -> None:
    word = Accepted(("backup",))
    failed = found((backup(5), backup(4)), torn(9), accepted=word)
    assert choice.refusal(failed) is None
    decision = choice.decide(failed)
    assert (decision.source.path, decision.loss.certain) == ("/backups/5.snap", 4)
    assert "failed: torn; given up, --accept=backup" in verdicts(decision.rows)["salvage", "lost"]
    assert choice.decide(found((backup(5),), salvaged(9), accepted=word)).source.kind == "salvage"
    doubted = replace(salvaged(9), could_not=DOUBT)
    assert choice.decide(found((backup(5),), doubted, accepted=word)).source.kind == "file"


def damaged(revision: int, of: Lineage = LOST) -> Candidate:
    return replace(backup(revision, of), source=None, problem="is cut off")


@pytest.mark.parametrize(
    ("rows", "outcome", "stops"),
    [
        ((damaged(20), backup(5)), salvaged(9), True),
        ((damaged(20), backup(5)), Salvaged(None, members=3), False),
        ((damaged(20), backup(20)), salvaged(9), False),
        ((damaged(9), backup(5)), salvaged(9), False),
        ((damaged(20, OTHER),), salvaged(9), False),
    ],
)
def test_what_a_manifest_of_the_same_lineage_reached_must_be_reached(
    rows: tuple[Candidate, ...], outcome: Salvaged, stops: bool
) -> None:
    stop = choice.refusal(found(rows, outcome))
    assert (stop is not None) == stops
    if stop:
        assert "was at revision 20, and all that can be restored ends at" in stop.what and "is cut off" in stop.what
        assert "--accept=history" in stop.remedy
        assert choice.refusal(found(rows, outcome, accepted=Accepted(("history",)))) is None


def test_what_a_damaged_backup_held_beyond_the_one_that_is_restored_is_said_as_lost() -> None:
    decision = choice.decide(found((damaged(20), backup(5)), Salvaged(None, members=3)))
    assert (decision.source.path, decision.loss.certain) == ("/backups/5.snap", 15)


def test_what_a_disk_that_was_given_up_showed_beyond_the_salvage_is_said_as_lost() -> None:
    two = replace(salvaged(9, names=("a", "b")), databases=(("etcd-1", 99), ("etcd-2", 9), ("etcd-3", 8)))
    given_up = replace(two, given_up=(("etcd-1", "--accept=without:etcd-1"),))
    lost = choice.decide(found((), given_up)).loss
    assert lost.certain == 90 and "nothing is missing" not in lost.why


def test_the_copy_that_had_applied_most_is_offered_without_those_that_outvoted_it() -> None:
    short = attempts.measured(replace(salvaged(9), databases=(("etcd-1", 99), ("etcd-2", 1))), source_at(5))
    both = (disk(1, LOST), disk(2, LOST))
    stop = choice.refusal(found((), short, both))
    assert stop is not None and "ends at revision 5, but the database of etcd-1 shows 99" in stop.what
    cost = "(price: nothing that any database or backup shows)"
    assert f"data of etcd-1, and without that of etcd-2 {cost}: --accept=without:etcd-2" in stop.remedy


def test_forcing_a_copy_is_offered_where_it_may_do() -> None:
    stop = choice.refusal(found((backup(5),), replace(torn(9), could_be_forced="etcd-1")))
    assert stop is not None and "--accept=forced:etcd-1" in stop.remedy


def test_a_named_backup_is_restored_where_salvage_failed_and_the_loss_is_a_number() -> None:
    decision = choice.decide(found((backup(5, named=ranking.BY_YOU),), torn(9)))
    assert decision.source.path == "/backups/5.snap"
    assert (decision.loss.certain, decision.loss.possible) == (4, None)


DOUBT = (("etcd-2", "its configuration keeps the log apart"),)


@pytest.mark.parametrize(
    ("rows", "outcome", "stops"),
    [
        ((), salvaged(9), False),
        ((), replace(salvaged(9), could_not=DOUBT), True),
        ((), replace(salvaged(9, names=("a", "b")), could_not=DOUBT), False),
        ((), replace(salvaged(9, names=("a", "b")), members=5, could_not=DOUBT), True),
        ((backup(99),), replace(salvaged(9, names=("a", "b")), could_not=DOUBT), True),
        ((backup(99),), salvaged(9), False),
        ((backup(5),), Salvaged(None, members=3), False),
        ((backup(5),), Salvaged(None, members=3, given_up=(("etcd-2", "--gone"),)), False),
        ((backup(5),), Salvaged(None, members=3, could_not=DOUBT), True),
    ],
)
def test_nothing_is_restored_by_itself_while_a_disk_that_is_in_doubt_may_hold_more(
    rows: tuple[Candidate, ...], outcome: Salvaged, stops: bool
) -> None:
    stop = choice.refusal(found(rows, outcome))
    assert (stop is not None) == stops
    if stop:
        assert "etcd-2: its configuration keeps the log apart" in stop.what


def test_where_only_other_disks_are_in_doubt_the_whole_ones_can_be_named() -> None:
    stop = choice.refusal(found((backup(5),), replace(salvaged(9), could_not=DOUBT)))
    assert stop is not None
    cost = "(price: nobody can tell how many revisions only etcd-2 may hold)"
    assert f"data of etcd-1, and without that of etcd-2 {cost}: --accept=without:etcd-2" in stop.remedy
    assert choice.refusal(found((backup(5),), replace(salvaged(9), could_not=DOUBT), named="lost")) is None


@pytest.mark.parametrize("why", ["is not YAML: x", "holds no etcd configuration", "lacks initial-cluster"])
def test_a_configuration_that_cannot_be_used_is_restored_from_its_own_machines_backup(why: str) -> None:
    told = EtcdError("etcd-2:/etc/etcd/config.yaml", why, "restore it")
    stop = choice.refusal(found((), replace(salvaged(9), could_not=(("etcd-2", f"{told.where} {told.what}"),))))
    assert stop is not None and stop.remedy.startswith(
        "restore the configuration of etcd-2 from a backup of that very machine, not another member's, and run"
    )


def test_a_relative_path_is_written_out_and_no_file_restored() -> None:
    why = f"etcd-2:/etc/etcd/dh/latest/config.yaml its data-dir 'lab.etcd' {RELATIVE}"
    stop = choice.refusal(found((backup(100),), replace(DOUBTED, could_not=(("etcd-2", why),)), (disk(1, LOST),)))
    assert stop is not None and stop.remedy.startswith("write the whole path into that configuration")


def test_a_database_that_does_not_hang_together_is_not_offered_either() -> None:
    stop = choice.refusal(found((backup(5),), replace(torn(), damaged=("etcd-1",))))
    assert stop is not None and "on-disk" not in stop.remedy


@pytest.mark.parametrize(
    ("outcome", "said"),
    [
        (Salvaged(None), "no disk holds anything to salvage"),
        (
            Salvaged(None, given_up=(("etcd-3", "--gone"),)),
            "no other disk holds anything to salvage (etcd-3 given up by --gone)",
        ),
        (Salvaged(None, could_not=DOUBT), "it is not understood what disks hold: etcd-2: its configuration keeps"),
        (Salvaged(None, failed="torn"), "salvage failed: torn"),
    ],
)
def test_that_nothing_is_there_is_said_only_where_every_disk_was_seen_to_hold_nothing(
    outcome: Salvaged, said: str
) -> None:
    assert outcome.absence.startswith(said)


def test_salvage_that_ends_before_the_backup_gives_way_and_the_report_says_so() -> None:
    decision = choice.decide(found((backup(9),), salvaged(5)))
    assert decision.source.kind == "file"
    assert "the salvage ends at revision 5, before this snapshot" in decision.loss.why
    assert decision.loss.certain == 0


def test_a_named_salvage_is_restored_although_a_backup_competes() -> None:
    made = salvaged(BUMP + 3, FAILED, bumps=BUMP)
    decision = choice.decide(found((backup(5),), made, named="failed"))
    assert decision.source.kind == "salvage"
    assert decision.rows[0].verdict == "chosen: named by you"
    assert {row.verdict for row in decision.rows if row.kind == "file"} == {"another one was named"}
    assert (decision.loss.certain, decision.loss.possible) == (None, None)
    assert decision.loss.why.startswith("the data of failed 2 was named: ")


def test_a_named_salvage_that_fails_is_replaced_by_nothing() -> None:
    failed = replace(torn(), lineage=FAILED)
    with pytest.raises(SnapshotError, match="--salvage=failed: salvage failed: torn"):
        choice.decide(found((backup(5),), failed, named="failed"))


def test_a_named_snapshot_is_used_and_a_newer_salvage_is_mentioned() -> None:
    decision = choice.decide(found((backup(5, named=ranking.BY_YOU),), salvaged(9)))
    assert decision.source.kind == "file"
    assert decision.notes[0].startswith("using the backup 5.snap")
    assert decision.notes[1].startswith("salvage is newer: revision 9 against 5")
    assert decision.loss.certain == 4


def test_without_anything_the_last_resort_is_named() -> None:
    there = tuple(disks.listed(BOTH, family(*BOTH), None))
    with pytest.raises(SnapshotError, match="there is no backup, and salvage failed: torn") as error:
        choice.decide(found(there, torn()))
    assert error.value.remedy == (
        "have another cluster's data salvaged: --salvage=failed; "
        "or as the last resort, have the database on etcd-1 restored without a hash: --skip-hash=etcd-1"
    )


# -- the last resort ---------------------------------------------------------------------------------------------


def resort(revision: int | None) -> Candidate:
    status = Result(
        Command("etcd-1", (), ""), 0 if revision else 1, f'{{"revision": {revision}, "totalKey": 7}}', "", 0
    )
    plain = [Result(Command("etcd-1", (), ""), 0, said, "", 0) for said in ("sha  x", "4096", "aa\nbb  -\n")]
    answers = [*plain[:2], status, plain[2]]
    return ondisk.candidate(BOTH[1], ondisk.ask_copy(build.terms(), BOTH[1], 0).understand(answers))


def test_the_last_resort_is_taken_only_where_it_was_asked_for_and_salvage_failed() -> None:
    line = family(*BOTH)
    taken = ondisk.wanted(BOTH, line, "etcd-1", torn())
    assert taken is not None
    assert taken.lineage == LOST, "the lost cluster's database, not the failed run's"
    assert ondisk.wanted(BOTH, line, None, torn()) is None
    assert ondisk.wanted(BOTH, line, "etcd-1", salvaged(9)) is None
    assert ondisk.wanted(BOTH, line, "etcd-1", None) is None


def test_the_original_database_is_only_read() -> None:
    touching = [c.argv for c in ondisk.copy(build.terms(), BOTH[1]) if BOTH[1].database in c.argv]
    (copying,) = touching
    assert copying[-5:] == ("install", "-m", "600", BOTH[1].database, f"{build.PLACE}/on-disk.snap.part")


@pytest.mark.parametrize(("held", "kind"), [(None, "on-disk"), (8, "on-disk"), (9, "file"), (10, "file")])
def test_the_last_resort_gives_way_to_a_whole_snapshot_that_holds_as_much(held: int | None, kind: str) -> None:
    rows = () if held is None else (backup(held),)
    decision = choice.decide(found(rows, torn(), resort=resort(9)))
    assert decision.source.kind == kind
    row = next(row for row in decision.rows if row.kind == "on-disk")
    assert (row.revision, row.keys, row.bytes, row.hash) == (9, None, 4096, "none"), "nobody counted keys"
    if kind == "on-disk":
        assert (decision.loss.certain, decision.loss.possible) == (None, None)
        assert "1 to 78 acknowledged ones" in decision.loss.why
        assert "restored without a hash" in decision.loss.why


def test_a_database_that_cannot_be_read_is_no_last_resort() -> None:
    with pytest.raises(SnapshotError, match="cannot be read"):
        choice.decide(found((), torn(), resort=resort(None)))


def test_trial_and_step_4_skip_the_hash_of_the_last_resort_and_of_nothing_else() -> None:
    hosts = ("etcd-1", "etcd-2", "etcd-3")
    tools, configs = dict.fromkeys(hosts, build.BUMPING), {h: build.config(n) for n, h in enumerate(hosts, start=1)}
    for origin in ("on-disk", "file", "salvage", "handover", "survivor", ""):
        terms = replace(build.terms(), mark=build.mark(origin=origin))
        tried = trial.restore(terms, hosts[0], build.BUMPING, configs[hosts[0]])
        early = [c for h in hosts for c in ahead.restore(terms, h, build.BUMPING, configs[h], "sha")]
        real = plan.restore(terms, tools, configs, dict.fromkeys(hosts, ("/var/lib/etcd/dh/.",)), "sha")
        for restores, times in ((tried, 1), (early, 3), (real, 3)):
            flags = ["--skip-hash-check" in c.argv for c in restores if isinstance(c, Command) and "restore" in c.argv]
            assert flags == [origin == "on-disk"] * times, origin


@pytest.mark.parametrize(("ends", "good"), [("aa\naa  -\n", True), ("aa\nbb  -\n", False)])
def test_a_salvage_whose_own_hash_is_wrong_is_not_used(ends: str, good: bool) -> None:
    said = ("sha  x", "544", '{"revision": 9, "totalKey": 7}', ends)
    answers = [Result(Command("etcd-1", (), ""), 0, text, "", 0) for text in said]
    made = on_host.ask_source(on_host.Origin("salvage", LOST, 0, "now"), "etcd-1", "/x").understand(answers)
    assert isinstance(made, Source) == good


# -- what is lost ------------------------------------------------------------------------------------------------


# The disk of etcd-2 shows more than was salvaged from etcd-1.
GIVEN_UP = replace(salvaged(5), databases=(("etcd-1", 5), ("etcd-2", 9)), given_up=(("etcd-2", "--accept"),))
UNKNOWN = replace(backup(99, named=ranking.BY_YOU), lineage=None)  # without a manifest


@pytest.mark.parametrize(
    ("chosen", "outcome", "certain", "possible", "why"),
    [
        (None, salvaged(9, names=("a", "b")), 0, 0, "nothing is missing"),
        (None, salvaged(9, names=("a",)), None, None, "1 of 3 members (a)"),
        (None, replace(salvaged(9, names=("a", "b")), members=5), None, None, "2 of 5"),
        (None, replace(salvaged(9), how="alone"), None, None, "commit index"),
        (None, replace(salvaged(9, names=("a", "b")), databases=()), None, None, "was not compared"),
        (None, replace(salvaged(9, names=("a", "b")), databases=(("a", 10),)), None, None, "was not compared"),
        (backup(5), torn(9), 4, None, "salvage failed: torn"),
        (backup(5), torn(), None, None, "2026-01-01"),
        (backup(5, named=ranking.BY_YOU), salvaged(9), 4, None, "was named"),
        (backup(5), Salvaged(None, members=3), None, None, "no disk holds anything to salvage"),
        (backup(5), replace(torn(9 + BUMP), bumps=BUMP), 4, None, "torn"),
        (backup(7), GIVEN_UP, 2, None, "ends at revision 5, before this snapshot; a disk shows revision 9"),
        (backup(99, OTHER, named=ranking.BY_YOU), salvaged(9), None, None, "the named snapshot is not known to be"),
        (backup(99, Lineage(), named=ranking.BY_YOU), torn(9), None, None, "the named snapshot is not known to be"),
        (backup(99, OTHER, named=ranking.IN_INVENTORY), torn(9), None, None, "is not known to be"),
    ],
)
def test_the_loss_is_a_number_where_one_is_known(
    chosen: Candidate | None, outcome: Salvaged, certain: int | None, possible: int | None, why: str
) -> None:
    made = ranking.of(outcome.source) if chosen is None and outcome.source else chosen
    assert made is not None
    lost = loss.loss_of(made, outcome)
    assert (lost.certain, lost.possible) == (certain, possible)
    assert why in lost.why


@pytest.mark.parametrize(
    ("chosen", "outcome", "asks"),
    [
        (None, salvaged(9, names=("a", "b")), False),
        (None, replace(salvaged(9, names=("a",)), databases=(("a", 9),)), False),
        (backup(5), Salvaged(None, members=3), False),
        (backup(5, named=ranking.BY_YOU), Salvaged(None, members=3), False),
        (backup(9), replace(salvaged(5), members=3), False),
        (None, replace(salvaged(9), how="alone"), True),
        (None, replace(salvaged(9, names=("a", "b")), databases=()), True),
        (None, replace(salvaged(9), anew=("etcd-1",)), True),
        (backup(5), torn(9), True),
        (backup(5), torn(), True),
        (backup(5), replace(Salvaged(None, members=3), could_not=(("etcd-1", "torn"),)), True),
        (backup(5, named=ranking.BY_YOU), salvaged(9), True),
        (backup(7), GIVEN_UP, True),
        (backup(99, OTHER, named=ranking.BY_YOU), salvaged(9), True),
        (UNKNOWN, salvaged(9), True),
        (UNKNOWN, torn(9), True),
        (UNKNOWN, Salvaged(None, members=3), False),
    ],
)
def test_a_loss_asks_for_a_word_where_the_run_may_not_go_on_by_itself(
    chosen: Candidate | None, outcome: Salvaged, asks: bool
) -> None:
    made = ranking.of(outcome.source) if chosen is None and outcome.source else chosen
    assert made is not None
    assert loss.loss_of(made, outcome).asks is asks


def test_the_loss_survives_being_noted() -> None:
    lost = loss.loss_of(backup(5), torn(9))
    content = loss.note_loss(build.terms(), lost).stdin
    assert content is not None
    texts = (content.decode(), "", '{"certain": "0", "possible": null, "why": ""}', "[]")
    read = [loss.ask_loss(build.terms()).understand([Result(Command("h", (), ""), 0, t, "", 0)]) for t in texts]
    assert read == [lost, None, None, None]


# -- every stop has a way out ------------------------------------------------------------------------------------

BACK = "pytest runbook/rollback --hosts=prod"
PASTED = re.compile(r"--accept=\w\S*|--snapshot=/\S+|--salvage=\w\S*|--skip-hash=\w\S*|pytest runbook/rollback \S+")
DOUBTED = Salvaged(None, members=3, could_not=(("etcd-2", "a link that leads nowhere"),), lineage=LOST)


def stop_of(case: Found) -> SnapshotError:
    error = choice.refusal(case)
    if error is None:
        with pytest.raises(SnapshotError) as raised:
            choice.decide(case)
        error = raised.value
    return error


@pytest.mark.parametrize("rows", [(), (backup(100),), (backup(100, OTHER),)], ids=["no backup", "one", "a stranger's"])
@pytest.mark.parametrize("back", ["", BACK], ids=["step 0", "step 1"])
@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        (torn(), {}),
        (replace(torn(200), could_be_forced="etcd-1"), {}),
        (DOUBTED, {}),
        (replace(torn(), failed="ends early", outvoting=("etcd-2",), databases=(("etcd-1", 9),)), {}),
        (torn(), {"named": "lost"}),
        (torn(), {"named": "lost", "accepted": Accepted(("backup",))}),
        (torn(), {"resort": replace(backup(1), kind="on-disk", host="etcd-1", problem="torn", source=None)}),
    ],
)
def test_every_stop_prints_what_can_be_pasted_and_no_file_that_is_not_there(
    rows: tuple[Candidate, ...], back: str, outcome: Salvaged, words: dict[str, Any]
) -> None:
    case = found(rows, outcome, back=back, **words)
    if not back and choice.refusal(case) is None:
        return  # Step 0 goes on then: disks are salvaged later
    error = stop_of(case)
    assert "=FILE" not in error.remedy and "TOKEN" not in error.remedy
    assert PASTED.search(error.remedy)
    if back:
        assert back in error.remedy, "Deephaven is off: the way back is named"
    if rows:
        assert PASTED.search(error.remedy.replace(back, "") if back else error.remedy)
        assert any(word in error.remedy for word in (rows[0].path, "--accept=")), error.remedy


def test_only_where_nothing_is_left_at_all_a_backup_must_be_found() -> None:
    error = stop_of(found((), Salvaged(None, members=3), ()))
    assert error.remedy == "find a backup, wherever one may be, and name it with --snapshot=FILE"
    there = stop_of(found((backup(100, OTHER),), Salvaged(None, members=3), (disk(1, LOST),)))
    assert "--snapshot=/backups/100.snap" in there.remedy and "=FILE" not in there.remedy
