"""A backup that is too old is refused only where it would be what is restored, and never keeps salvage from trying."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from requorum.cluster.lineage import Lineage
from requorum.cluster.quorum import Kind, MemberFacts, Verdict
from requorum.command import Command, Copy, Result
from requorum.recovery import plan
from requorum.recovery.progress import Progress
from requorum.run import dryrun, history
from requorum.run.accepted import Accepted
from requorum.run.dryrun import Planning
from requorum.run.history import Birth
from requorum.run.marker import Phase
from requorum.snapshots import choice, on_host, salvage, snapshot, sources
from requorum.snapshots.snapshot import SnapshotError, Source
from requorum.snapshots.survivors import Salvaged
from runbook import test_step_1_stop as step_1
from tests.unit import build
from tests.unit.hosts.test_packed import zstd
from tests.unit.run.test_dryrun import DATA, Hosts, planning, through
from tests.unit.snapshots.test_files import backup, compressed, note

FAILED = Salvaged(None, members=3, failed="torn", hosts=("etcd-1",), lineage=Lineage("old"))
NOTHING = Salvaged(None, members=3)


class Wiped(Hosts):
    """No member's disk holds a log or a database."""

    data = ()

    def answer(self, command: Command) -> tuple[int, str]:
        return (0, "") if "%f %T@ %s" in " ".join(command.argv) else super().answer(command)


def at(place: Path, hours: float, hosts: Hosts, alive: bool = False, **options: Any) -> tuple[Planning, Progress, Path]:
    """A run on a cluster that lost quorum, what is known of that, and one backup that is so old."""
    path = backup(place, "a.snap")
    taken = datetime.now(UTC) - timedelta(hours=hours)
    note(path, lineage=Lineage("old"), taken=taken.isoformat(timespec="seconds"))
    named = {"snapshot": str(path)} if options.pop("named", False) else {}
    run = planning(place, hosts, build.inventory(snapshot={"directory": str(place)}), **options, **named)
    run.begin("m.py::TestX::test_given_a_snapshot_is_whole")
    survivor = MemberFacts(run.inventory.members[0], has_leader=False, addresses=("10.0.0.11",))
    progress = Progress(verdict=Verdict(Kind.LOST, (survivor,) if alive else ()))
    return run, progress, path


def from_files(run: Planning, progress: Progress) -> Source | None:
    """As Step 0 chooses."""
    progress.sources.source = choice.in_step_0(run, progress.sources, progress.verdict)
    return progress.sources.source


def carried_on(run: Planning, hours: float) -> None:
    began = datetime.now(UTC) - timedelta(hours=hours)
    run.carrying_on = True
    mark = build.mark(Phase.STOPPING, began.strftime("%Y%m%dt%H%M%Sz") + "-abcdef")
    run.terms = replace(run.terms, mark=mark)


def test_without_anything_to_salvage_it_is_refused_before_anything_is_touched(tmp_path: Path) -> None:
    run, progress, path = at(tmp_path, 27, Wiped())
    with pytest.raises(SnapshotError, match=r"27\.0 h old, more than snapshot\.max_age_hours 26") as error:
        from_files(run, progress)
    assert f"--snapshot={path}" in error.value.remedy


@pytest.mark.parametrize("options", [{}, {"salvage": "old"}, {"skip_hash": "etcd-1"}])
def test_it_does_not_keep_salvage_or_the_last_resort_from_being_tried(tmp_path: Path, options: dict[str, Any]) -> None:
    run, progress, path = at(tmp_path, 27, Hosts(), **options)
    found = from_files(run, progress)
    assert found is not None
    assert found.path == str(path), "it is held, for the case that nothing better comes"


def test_where_only_a_survivor_that_is_up_could_give_better_it_is_refused_once_that_could_not_be_saved(
    tmp_path: Path,
) -> None:
    run, progress, path = at(tmp_path, 27, Wiped(), alive=True)
    found = from_files(run, progress)
    assert found is not None
    progress.sources.source = replace(found, keys=7)  # as Step 0 knows it by then
    failed = Result(Command("infra-1", ("etcdctl", "save", "/x"), ""), 1, "", "user name is empty", 0.0)
    for saves in ([], [failed]):
        with pytest.raises(SnapshotError, match=r"27\.0 h old") as error:
            choice.after_saves(run, progress.sources, progress.verdict, saves)
        assert f"--snapshot={path}" in error.value.remedy


def test_a_save_that_etcd_cannot_read_is_listed_with_why_and_not_restored(tmp_path: Path) -> None:
    run, progress, _ = at(tmp_path, 1, Wiped(), alive=True)
    held = from_files(run, progress)
    save = on_host.save(run.terms, "https://10.0.0.11:2379", "/live.snap")
    assert choice.after_saves(run, progress.sources, progress.verdict, [Result(save, 0, "", "", 0.0)]) is None
    row = next(row for row in progress.sources.rows if row.kind == "survivor")
    assert (row.path, row.source) == ("/live.snap", None) and (row.problem or "").startswith("cannot be read")
    assert held is not None


def test_where_salvage_failed_the_run_stops_whatever_the_backups_age(tmp_path: Path) -> None:
    run, progress, path = at(tmp_path, 27, Hosts())
    from_files(run, progress)
    with pytest.raises(SnapshotError, match="salvage failed: torn") as error:
        choice.in_step_1(run, progress.sources, FAILED)
    assert f"({path}), without what the disks hold (price: " in error.value.remedy
    assert "): --accept=backup" in error.value.remedy
    assert "run the same command again" not in error.value.remedy, "nothing can be mended"


def test_named_when_the_run_is_carried_on_it_is_what_is_restored(tmp_path: Path) -> None:
    run, progress, path = at(tmp_path, 27, Hosts(), named=True)
    carried_on(run, 0.1)
    run.terms = replace(run.terms, mark=replace(run.mark, snapshot="another", origin="file"))
    from_files(run, progress)
    assert not salvage.is_decided(run, progress.sources, progress.verdict)
    decision = choice.in_step_1(run, progress.sources, FAILED)
    assert (decision.source.path, decision.rows[0].verdict) == (str(path), "chosen: named by you")


def test_one_that_was_young_enough_when_the_run_began_stays_so_while_it_is_carried_on(tmp_path: Path) -> None:
    run, progress, path = at(tmp_path, 28, Wiped())
    carried_on(run, 3)
    from_files(run, progress)
    assert choice.in_step_1(run, progress.sources, NOTHING).source.path == str(path)


def test_one_that_was_too_old_when_the_run_began_is_refused_again_when_it_is_carried_on(tmp_path: Path) -> None:
    run, progress, _ = at(tmp_path, 28, Hosts())
    carried_on(run, 1)
    from_files(run, progress)
    with pytest.raises(SnapshotError, match=r"no disk holds anything to salvage; .* 27\.0 h old"):
        choice.in_step_1(run, progress.sources, NOTHING)


def test_a_handover_that_was_cut_off_never_advises_an_older_backup(tmp_path: Path) -> None:
    run, progress, _ = at(tmp_path, 1, Hosts())
    carried_on(run, 1)
    run.terms = replace(run.terms, mark=replace(run.mark, origin="handover", taken="then"))
    unsure = MemberFacts(run.inventory.members[0], unit=build.STOPPED)
    progress.verdict = Verdict(Kind.LOST, (unsure,))
    with pytest.raises(SnapshotError, match="may have been written to") as error:
        from_files(run, progress)
    assert "--snapshot" not in error.value.remedy
    assert "salvaged" in error.value.remedy


def test_a_handover_goes_on_where_one_member_of_three_is_gone_and_the_others_disks_can_tell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, progress, _ = at(tmp_path, 1, Hosts())
    carried_on(run, 1)
    run.terms = replace(run.terms, mark=replace(run.mark, origin="handover", taken="then"))
    saved = Source("handover", "infra-1", "/run/live.snap", "saved", 1, "2026-01-01T00:00:00Z", 9)
    monkeypatch.setattr(choice, "of_this_run", lambda _: saved)
    gone, *others = (MemberFacts(member, has_data=True) for member in run.inventory.members)
    gone = replace(gone, gone=True, has_data=False)
    for there, goes_on in ((others, True), (others[:1], False)):
        mute = [MemberFacts(one.member, unit=build.STOPPED) for one in others if one not in there]
        progress.verdict = Verdict(Kind.LOST, (gone, *there, *mute))
        if goes_on:
            assert from_files(run, progress) == saved
        else:
            with pytest.raises(SnapshotError, match="may have been written to"):
                from_files(run, progress)


def without_backups(place: Path, hosts: Hosts) -> tuple[Planning, Progress]:
    """As `at`, and the inventory's directory is not there."""
    run = planning(place, hosts, build.inventory(snapshot={"directory": str(place / "unmounted")}))
    run.begin("m.py::TestX::test_given_a_snapshot_is_whole")
    return run, Progress(verdict=Verdict(Kind.LOST, ()))


def test_where_disks_are_whole_a_missing_backup_directory_is_a_warning(tmp_path: Path) -> None:
    run, progress = without_backups(tmp_path, Hosts())
    assert from_files(run, progress) is None
    assert f"skipped: {tmp_path}/unmounted the inventory's snapshot.directory does not exist" in run.notes
    assert "directory unmounted" in [row["source"] for row in run.sources]


def test_the_whole_recovery_is_planned_without_a_backup_directory(tmp_path: Path) -> None:
    run, progress = without_backups(tmp_path, Hosts())
    through(run, progress)
    assert progress.sources.chosen.kind == "salvage"


def test_where_nothing_else_is_left_the_run_stops_with_the_choices(tmp_path: Path) -> None:
    run, progress = without_backups(tmp_path, Wiped())
    with pytest.raises(SnapshotError, match=r"unmounted: .* does not exist\n.*name it with --snapshot=FILE"):
        from_files(run, progress)


def test_a_compressed_backup_is_what_is_distributed_unpacked(tmp_path: Path) -> None:
    run, progress, path = at(tmp_path, 1, Wiped())
    sha256 = snapshot.verify(path).sha256
    packed = compressed(path)
    (tmp_path / "tonight.snap.gpg").write_bytes(b"?")
    found = from_files(run, progress)
    assert found is not None
    assert (found.path, found.sha256) == (str(packed), sha256)
    (copy,) = plan.copy_snapshot(run.terms, found, {})
    assert isinstance(copy, Copy)
    assert (copy.source, copy.packed, copy.sha256) == (str(packed), "gz", sha256)
    assert {row["verdict"] for row in run.sources if row["source"] == "file tonight.snap.gpg"} == {
        "not used, not recognised: neither by its name nor by its first bytes"
    }
    assert any(line.startswith(f"{tmp_path}/tonight.snap.gpg: not used") for line in run.notes)
    assert ", unpacked" in dryrun._way(copy)


@zstd
def test_a_named_one_that_needs_zstd_is_refused_where_that_is_missing_and_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, progress, path = at(tmp_path, 1, Wiped())
    packed = compressed(path, "zst")
    monkeypatch.setenv("PATH", str(tmp_path))
    run.options = replace(run.options, snapshot=str(packed))
    with pytest.raises(SnapshotError, match="the program zstd is not on this machine: install it"):
        from_files(run, progress)


# -- a handover whose members hold more than was saved -------------------------------------------------------------


def outrun(place: Path) -> tuple[Planning, Progress]:
    """A healthy cluster's save, and members whose disks hold more, as where a lease ran out between save and stop."""
    run, progress, _ = at(place, 1, Hosts(leader=1), rebuild=True)
    progress.verdict = Verdict(Kind.INTACT, ())
    assert from_files(run, progress) is None
    progress.sources.source = Source("handover", "infra-1", "/run/live.snap", "saved", 1, "2026-01-01T00:00:00Z", 9)
    assert salvage.is_decided(run, progress.sources, progress.verdict)
    choice.outrun(run, progress.sources)
    return run, progress


def test_members_that_hold_more_than_was_saved_are_salvaged_and_nothing_is_said_to_be_missing_of_a_majority(
    tmp_path: Path,
) -> None:
    run, progress = outrun(tmp_path)
    assert not salvage.is_decided(run, progress.sources, progress.verdict)
    source = Source("salvage", "etcd-1", "/x", "sha", 1, "now", 11, 1, Lineage("old"))
    names, shown = ("etcd-1", "etcd-2"), (("etcd-1", 11), ("etcd-2", 10))
    decision = choice.in_step_1(
        run, progress.sources, Salvaged(source, "together", names, 3, shown, lineage=Lineage("old"))
    )
    assert (decision.source.kind, decision.new, decision.loss.certain) == ("salvage", True, 0)


def test_where_that_salvage_fails_the_save_is_what_the_operators_word_goes_on_with(tmp_path: Path) -> None:
    run, progress = outrun(tmp_path)
    with pytest.raises(SnapshotError, match="salvage failed: torn") as error:
        choice.in_step_1(run, progress.sources, FAILED)
    assert "(/run/live.snap), without what the disks hold (price: " in error.value.remedy
    assert "): --accept=backup" in error.value.remedy
    run.options = replace(run.options, accepted=Accepted(("backup",)))
    assert choice.in_step_1(run, progress.sources, FAILED).source.path == "/run/live.snap"


def test_how_far_whole_disks_reach_is_not_judged_before_they_were_tried(tmp_path: Path) -> None:
    """The newest backup is cut off, and whole disks are there: Step 0 does not stop for what Step 1 will find."""
    run, progress, _ = at(tmp_path, 2, Hosts())
    cut = backup(tmp_path, "b.snap")
    note(cut, lineage=Lineage("old"), revision=10**9)
    cut.write_bytes(cut.read_bytes()[:-1000])
    assert from_files(run, progress) is not None
    assert not progress.sources.doubts


class Planted(Hosts):
    """One host has the birth of a cluster that was made from the lost one's data, and lived."""

    def __init__(self, host: str) -> None:
        super().__init__()
        self.host = host

    def answer(self, command: Command) -> tuple[int, str]:
        if command.host == self.host and "birth.json" in command.line():
            birth = Birth("child", build.RUN, Phase.DONE, "ab", Lineage("old"), 7)
            return 0, "=\n" + build.stdins([history.write_birth(command.host, "lab", birth)])[0].decode()
        return super().answer(command)


@pytest.mark.parametrize(("host", "told"), [("query-1", True), ("infra-1", False)])
def test_one_hosts_birth_sets_the_lost_data_aside_only_where_it_is_the_configuration_server(
    tmp_path: Path, host: str, told: bool
) -> None:
    """H4: it outvoted all disks."""
    run, progress = without_backups(tmp_path, Planted(host))
    sources.recall(run, progress.sources)
    assert ([line.token for line in progress.sources.family.line] == ["old"]) is told


class Failed(Hosts):
    """These hosts have noted that the cluster on all disks is that of a run that failed."""

    def __init__(self, *hosts: str) -> None:
        super().__init__()
        self.hosts = hosts

    def answer(self, command: Command) -> tuple[int, str]:
        if command.host in self.hosts and "birth.json" in command.line():
            birth = Birth("old", build.RUN, Phase.STARTED, "ab", Lineage("parent"), 7)
            return 0, "=\n" + build.stdins([history.write_birth(command.host, "lab", birth)])[0].decode()
        return super().answer(command)


def test_what_a_majority_noted_and_the_configuration_server_did_not_sets_no_disks_aside(tmp_path: Path) -> None:
    """H2: it made the lost cluster's own data that of a failed run, without asking a disk."""
    most = ("etcd-1", "etcd-2", "etcd-3", "query-1")
    for hosts, line in ((most, ()), ((*most, "infra-1"), (Lineage("parent"),))):
        run, progress = without_backups(tmp_path / str(len(hosts)), Failed(*hosts))
        sources.recall(run, progress.sources)
        assert progress.sources.family.line == line


def test_a_wiped_member_is_held_against_where_the_last_backup_saw_its_data(tmp_path: Path) -> None:
    for number, (mount, stops) in enumerate((("/", False), ("/data", True))):
        (place := tmp_path / str(number)).mkdir()
        run, progress, path = at(place, 2, Wiped())
        taken = datetime.now(UTC).isoformat(timespec="seconds")
        note(path, lineage=Lineage("old"), taken=taken, places=(("etcd-2", DATA, mount),))
        with pytest.raises(SnapshotError, match="/data: that is not mounted") if stops else nullcontext():
            assert from_files(run, progress) is not None
        assert set(progress.sources.doubts) == ({"etcd-2"} if stops else set())


class Noted(Hosts):
    """etcd is stopped; before that etcd-2's had a database open that no configuration leads to."""

    def answer(self, command: Command) -> tuple[int, str]:
        if command.argv[-1].endswith("/opened.json"):
            return 0, '{"etcd-2": ["/srv/new/member/snap/db"]}\n'
        if command.argv[-1].endswith("/anew.json"):
            return 0, '{"etcd-3": []}\n'
        return super().answer(command)


def test_a_run_that_is_carried_on_knows_what_a_member_had_open_before_it_was_stopped(tmp_path: Path) -> None:
    run, progress, _ = at(tmp_path, 1, Noted())
    carried_on(run, 0)
    from_files(run, progress)
    assert "/srv/new/member/snap/db open" in progress.sources.doubts["etcd-2"]
    assert progress.sources.opened == {"etcd-2": ("/srv/new/member/snap/db",)}, "and notes it again"
    assert progress.sources.anew == ("etcd-3",), "and whose cluster was seen to have begun anew"


def test_what_members_have_open_is_noted_before_they_are_stopped(tmp_path: Path) -> None:
    run, progress, _ = at(tmp_path, 1, Hosts())
    progress.sources.opened = {"etcd-2": ("/srv/new/member/snap/db",)}
    run.begin("m.py::TestX::test_when_etcd_is_stopped_and_its_unit_set_aside")
    step_1.TestStep1Stop().test_when_etcd_is_stopped_and_its_unit_set_aside(run, progress)
    plans = [plan for plan, _ in run.stages[-1].plans]
    assert "opened.json" in str(plans[0]) and "infra-1" in str(plans[0])
    assert "opened.json" not in str(plans[1:]) and len(plans) > 1
