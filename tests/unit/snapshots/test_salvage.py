"""A salvage that failed stops the run with the choices, whatever made it fail: no older backup takes its place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from requorum.cluster.etcd import EtcdError
from requorum.command import Action, Command, Result, look
from requorum.hosts.failure import failure
from requorum.hosts.fleet import FleetError, Unreachable
from requorum.hosts.question import Question
from requorum.refusal import Refusal
from requorum.run.accepted import Accepted
from requorum.run.dryrun import Planning
from requorum.run.terms import Terms
from requorum.snapshots import attempts, choice, on_host, salvage, survivors
from requorum.snapshots.attempts import Attempt, Copies
from requorum.snapshots.choice import Decision
from requorum.snapshots.disks import Disk
from requorum.snapshots.snapshot import SnapshotError, Source
from requorum.snapshots.sources import Sources
from requorum.snapshots.survivors import Salvaged, Survivor
from tests.unit import build
from tests.unit.run.test_dryrun import DATA, Hosts, config
from tests.unit.snapshots.test_sources import at, carried_on, from_files


class Full(Hosts):
    """No host has room for copies."""

    def answer(self, command: Command) -> tuple[int, str]:
        if command.argv[0] == "df":
            return 0, build.df(command, "/dev/sda 1 1 9 1% /")
        return super().answer(command)


def prepared(place: Path, hosts: Hosts, **options: Any) -> tuple[Planning, Sources, Path]:
    """At the salvage of Step 1: members' disks hold data, and a young backup of it was chosen in Step 0."""
    run, progress, path = at(place, 1, hosts, **options)
    from_files(run, progress)
    run.begin("m.py::TestX::test_when_survivors_are_salvaged")
    return run, progress.sources, path


def decided(run: Planning, found: Sources) -> Decision:
    """As Step 1 ends."""
    return choice.in_step_1(run, found, salvage.hold(run, found))


def failing(monkeypatch: pytest.MonkeyPatch, error: Refusal) -> None:
    def fail(*_: object) -> Salvaged:
        raise error

    monkeypatch.setattr(salvage, "_salvage", fail)


def test_where_no_host_has_room_the_run_stops_with_what_to_do(tmp_path: Path) -> None:
    run, found, path = prepared(tmp_path, Full())
    with pytest.raises(SnapshotError, match="no room for copies") as error:
        decided(run, found)
    assert error.value.remedy.startswith("make room below /var/lib/requorum")
    assert f"({path}), without what the disks hold (price: " in error.value.remedy
    assert "): --accept=backup" in error.value.remedy


@pytest.mark.parametrize(
    "what",
    [
        "copy the whole data directory: it said: sudo: a password is required",
        "copy the whole data directory: did not end within 7200 s",
        "copy the whole data directory: it said: tar: db: Read error at byte 0: Input/output error",
        "copy the whole data directory: it said: something that nobody foresaw",
    ],
)
def test_a_command_that_failed_stops_the_run_with_the_choices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    run, found, _ = prepared(tmp_path, Hosts())
    failing(monkeypatch, FleetError("etcd-1", what, "mend that on the host, then run again"))
    with pytest.raises(SnapshotError, match="may be newer than any backup") as error:
        decided(run, found)
    assert what in error.value.what
    first, backup, *last = error.value.remedy.split("; or ")
    assert first == "mend that on the host, and run the same command again: it salvages anew"
    assert backup.endswith("--accept=backup")
    assert [line.split("--")[-1] for line in last] == [f"accept=on-disk:etcd-{n}" for n in (1, 2, 3)]


def test_words_that_nobody_expected_of_etcd_stop_the_run_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, found, _ = prepared(tmp_path, Hosts())
    failing(monkeypatch, EtcdError("snapshot status", "prints no JSON", ""))
    with pytest.raises(SnapshotError, match="snapshot status: prints no JSON"):
        decided(run, found)


def test_what_you_named_is_restored_all_the_same(tmp_path: Path) -> None:
    run, found, path = prepared(tmp_path, Full(), named=True)
    decision = decided(run, found)
    assert decision.source.path == str(path)


def test_with_the_last_resort_named_no_backup_takes_its_place_where_it_cannot_be_had(tmp_path: Path) -> None:
    run, found, path = prepared(tmp_path, Full(), skip_hash="etcd-1")
    with pytest.raises(SnapshotError, match="no room for copies") as error:
        decided(run, found)
    assert f"({path}), without what the disks hold (price: " in error.value.remedy
    assert "): --accept=backup" in error.value.remedy


clones: list[str | None] = []  # whose disk was copied straight into the room


def apart(monkeypatch: pytest.MonkeyPatch, run: Planning, *hosts: str) -> list[str]:
    """These hosts' data cannot be copied; whose copies are started then."""
    error = FleetError("x", "Input/output error", "mend that on the host, then run again")
    monkeypatch.setattr(run, "attempt", lambda _: dict.fromkeys(hosts, error))
    started: list[str] = []

    clones.clear()

    def boot(
        _run: Planning,
        _rows: object,
        found: list[Survivor],
        _peers: object,
        nothing: Salvaged,
        cloned: Survivor | None,
    ) -> Salvaged:
        clones.append(cloned.host if cloned else None)
        started.extend(one.host for one in found)
        source = Source("salvage", "etcd-1", "/x", "sha", 1, "now", 10**9, 1, nothing.lineage)
        return replace(nothing, source=source, how="together", survivors=tuple(started))

    monkeypatch.setattr(salvage, "_booted", boot)
    return started


def test_one_bad_disk_of_three_is_left_out_with_its_reason_and_the_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, found, _ = prepared(tmp_path, Hosts())
    started = apart(monkeypatch, run, "etcd-2")
    outcome = salvage.hold(run, found)
    assert started == ["etcd-1", "etcd-3"]
    assert outcome.could_not == (("etcd-2", "its data could not be copied: Input/output error"),)
    assert choice.in_step_1(run, found, outcome).source.kind == "salvage"


def test_a_copy_that_failed_hands_on_the_hosts_words_and_keeps_the_command_line_off_the_screen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, found, _ = prepared(tmp_path, Hosts())
    apart(monkeypatch, run)
    words = "tar: ./db: Read error: Input/output error"
    copied = failure(Result(Command("etcd-2", ("tar", "--create"), "copy its data"), 2, "", words, 0.0))
    monkeypatch.setattr(run, "attempt", lambda _: {"etcd-2": copied, "etcd-3": copied})
    with pytest.raises(SnapshotError) as error:
        decided(run, found)
    assert error.value.brief == "its data could not be copied: exit code 2"
    assert error.value.said == f"etcd-2: {words}\netcd-3: {words}"
    assert "tar --create" not in str(error.value)


class Tight(Hosts):
    """One host has no room for a copy of its own data."""

    def answer(self, command: Command) -> tuple[int, str]:
        if command.argv[0] == "df" and command.host == "etcd-3":
            return 0, build.df(command, "/dev/sda 1 1 9 1% /")
        return super().answer(command)


def test_one_host_without_room_for_its_copy_does_not_spoil_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, found, _ = prepared(tmp_path, Tight())
    started = apart(monkeypatch, run)
    outcome = salvage.hold(run, found)
    assert started == ["etcd-1", "etcd-2"]
    assert [host for host, _ in outcome.could_not] == ["etcd-3"] and "has room for 9 bytes" in outcome.could_not[0][1]


def test_where_scratch_of_before_cannot_be_cleared_nothing_is_copied_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A boot that was cut off might still run there. A run of a new name has nothing to clear."""
    run, found, _ = prepared(tmp_path, Hosts())
    started = apart(monkeypatch, run)
    plans: list[list[Command]] = []

    def attempt(plan: list[Command]) -> dict[str, FleetError]:
        plans.append(plan)
        clears = any(command.argv[0] == "systemctl" for command in plan)
        return {"etcd-3": FleetError("etcd-3", "Input/output error", "mend it")} if clears else {}

    monkeypatch.setattr(run, "attempt", attempt)
    run.carrying_on = True
    outcome = salvage.hold(run, found)
    cleared, copied = plans
    assert {c.host for c in cleared} == {"etcd-1", "etcd-2", "etcd-3"}
    assert {c.host for c in copied} == set(started) == {"etcd-1", "etcd-2"}
    assert [host for host, _ in outcome.could_not] == ["etcd-3"]
    run.carrying_on = False
    plans.clear()
    salvage.hold(run, found)
    assert len(plans) == 1 and not any("rm" in c.argv or c.argv[0] == "systemctl" for c in plans[0])


def test_two_bad_disks_of_three_stop_the_run_and_the_word_for_both_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, found, _ = prepared(tmp_path, Hosts())
    apart(monkeypatch, run, "etcd-2", "etcd-3")
    with pytest.raises(SnapshotError, match="Input/output error") as error:
        decided(run, found)
    assert "--accept=without:etcd-2,without:etcd-3" in error.value.remedy
    run.options = replace(run.options, accepted=Accepted(("without:etcd-2", "without:etcd-3")))
    assert decided(run, found).source.kind == "salvage"


def shown(host: str, path: str) -> Question[tuple[int, int]]:
    """The backup is at revision 10, the database of etcd-1 further on, those of the others behind it."""
    revision = 12 if "/room/1/" in path else 4
    return Question(look(host, "true", why=path), lambda _: (revision, 1))


@pytest.mark.parametrize(
    ("options", "together", "anew"),
    [
        ({}, ["etcd-1"], ("etcd-2", "etcd-3")),
        ({"accepted": Accepted(("history",))}, ["etcd-1", "etcd-2", "etcd-3"], ()),
        ({"salvage": "old"}, ["etcd-1", "etcd-2", "etcd-3"], ()),
        ({"seen": ("etcd-1",)}, ["etcd-1", "etcd-2", "etcd-3"], ("etcd-1", "etcd-2", "etcd-3")),
        ({"seen": ("etcd-1",), "salvage": "old"}, ["etcd-1", "etcd-2", "etcd-3"], ()),
    ],
    ids=["unasked", "accepted", "named", "all", "all, named"],
)
def test_disks_behind_the_newest_manifest_are_not_started_with_one_that_reaches_further(
    options: dict[str, Any], together: list[str], anew: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = options.pop("seen", ())
    run, found, _ = prepared(tmp_path, Hosts(), **options)
    found.anew = seen
    started: list[str] = []

    def first(copies: Copies, *_: object) -> None:
        started.extend(one.host for one in copies.sound)

    monkeypatch.setattr(attempts, "following", first)
    monkeypatch.setattr(attempts, "outcome", lambda nothing, *_: replace(nothing, failed="not tried"))
    monkeypatch.setattr(on_host, "ask_status", shown)
    outcome = salvage.hold(run, found)
    assert (sorted(started), outcome.anew) == (together, anew)


def test_what_gathers_copies_its_own_disk_once_and_anew_only_for_another_attempt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, found, _ = prepared(tmp_path, Hosts())
    turns: list[Attempt | None] = []

    def twice(copies: Copies, configured: dict[str, str], *_: object) -> Attempt | None:
        turns.append(Attempt(copies.sound, configured) if len(turns) < 2 else None)
        return turns[-1]

    monkeypatch.setattr(attempts, "following", twice)
    salvage.hold(run, found)
    said = [" ".join(c.argv) for c in run.stages[-1].commands() if c.host == "etcd-1" and c.changes]
    boots = [n for n, line in enumerate(said) if "isolation.sh salvage" in line]
    first, again = said[: boots[0]], said[boots[0] + 1 : boots[1]]
    for before in (first, again):
        assert sum(" cp --reflink=auto -P -t " in line for line in before) == 2, "database and log"
        assert sum(" --extract " in line for line in before) == 2, "the others'"
    assert not [line for line in first if " --create " in line or ("rm -rf" in line and "/salvage/room " in line)]
    assert [line for line in again if "rm -rf" in line and "/salvage/room " in line], "nothing an attempt changed stays"


def test_where_the_gathering_hosts_own_copy_fails_another_gathers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, found, _ = prepared(tmp_path, Hosts())
    started = apart(monkeypatch, run, "etcd-1")
    assert [host for host, _ in salvage.hold(run, found).could_not] == ["etcd-1"]
    assert started == ["etcd-2", "etcd-3"]
    assert clones == [None]


def test_where_no_disk_can_be_copied_the_run_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, found, _ = prepared(tmp_path, Hosts())
    assert apart(monkeypatch, run, "etcd-1", "etcd-2", "etcd-3") == []
    with pytest.raises(SnapshotError, match="salvage failed: etcd-1: its data could not be copied") as error:
        decided(run, found)
    assert error.value.remedy.startswith("mend that on the host, and run the same command again")


def test_a_scratch_that_cannot_be_cleared_does_not_hide_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, found, _ = prepared(tmp_path, Full())
    raised: list[Refusal] = [FleetError("etcd-1", "no sudo", "x"), Unreachable("etcd-1", "silent", "y")]

    def fail(*_: object) -> None:
        raise raised[0]

    monkeypatch.setattr(run, "do", fail)
    assert salvage.hold(run, found).mend
    raised.pop(0)
    with pytest.raises(Unreachable):
        salvage.hold(run, found)


def test_tars_reason_is_what_is_said_and_not_its_farewell() -> None:
    said = "tar: ./db: Read error: Input/output error\ntar: Exiting with failure status due to previous errors\n"
    assert Result(Command("etcd-1", ("tar",), ""), 2, "", said, 0.0).words.endswith("Input/output error")


class Apart(Hosts):
    """The survivors' logs are links to a disk that is not there."""

    data = ("d member", "d member/snap", "f member/snap/db", "l member/wal")


def test_a_disk_that_is_not_understood_stops_the_run_in_step_0(tmp_path: Path) -> None:
    with pytest.raises(SnapshotError, match="member/wal is a link that leads to no directory") as error:
        prepared(tmp_path, Apart())
    assert error.value.where == "etcd-1, etcd-2, etcd-3"
    assert "--accept=backup" in error.value.remedy and "--accept=on-disk:etcd-1" in error.value.remedy


class Linked(Hosts):
    """The survivors' logs lie on another disk, behind links."""

    data = ("d member", "d member/snap", "f member/snap/db", "l member/wal", "f member/wal/0.wal")


def test_a_disk_whose_log_lies_behind_a_link_is_salvaged_like_any_other(tmp_path: Path) -> None:
    run, found, _ = prepared(tmp_path, Linked())
    assert found.doubts == {}
    salvage.hold(run, found)
    lines = [" ".join(command.argv) for command in run.stages[-1].commands()]
    assert sum(f"--directory={DATA}/member/wal ./0.wal ." in line for line in lines) == 2
    assert sum(line.endswith(f"/room/1/member/wal -- {DATA}/member/wal/0.wal") for line in lines) == 1


def test_a_disk_that_changed_once_etcd_was_stopped_is_left_out_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, found, _ = prepared(tmp_path, Hosts())
    started = apart(monkeypatch, run)
    monkeypatch.setattr(Hosts, "data", Apart.data)
    outcome = salvage.hold(run, found)
    assert started == [] and "etcd-2: its data could not be copied" in outcome.failed
    assert "leads to no directory" in outcome.failed


class Flags(Hosts):
    """etcd has no configuration file: its unit says all, or all but `lacking`, as environment."""

    lacking = ""

    def run(self, actions: Sequence[Action]) -> list[Result]:
        gone = "cat: no: No such file or directory"
        return [replace(answer, stderr=gone if answer.code else "") for answer in super().run(actions)]

    def answer(self, command: Command) -> tuple[int, str]:
        if command.argv[:2] == ("cat", "/etc/etcd/dh/latest/config.yaml"):
            return 1, ""
        if command.argv[0] != "busctl":
            return super().answer(command)
        said = {**yaml.safe_load(config(int(command.host[-1]))), "cert-file": "/c", "key-file": "/k"}
        said |= {f"peer-{name}": said[name] for name in ("cert-file", "key-file")}
        words = [f'"ETCD_{name.upper().replace("-", "_")}={said[name]}"' for name in said if name != self.lacking]
        start = 'a(sasbttttuii) 1 "/usr/bin/etcd" 1 "/usr/bin/etcd" false 0 0'
        return 0, f'{start}\nas {len(words)} {" ".join(words)}\na(sb) 0\ns "etcd"\ns ""\nt 1024\n'


def test_a_member_that_is_configured_by_its_unit_is_salvaged_like_any_other(tmp_path: Path) -> None:
    run, found, _ = prepared(tmp_path, Flags())
    assert (found.doubts, found.told) == ({}, {f"etcd-{n}": "" for n in (1, 2, 3)})
    salvage.hold(run, found)
    said = [" ".join(command.argv) for command in run.stages[-1].commands()]
    assert (sum("tar --create" in line for line in said), sum(" cp --reflink=auto " in line for line in said)) == (2, 2)


def test_one_whose_unit_does_not_say_all_stops_the_run_with_what_it_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Flags, "lacking", "initial-cluster-token")
    with pytest.raises(SnapshotError, match="by flags and environment lacks initial-cluster-token"):
        prepared(tmp_path, Flags())


class Saved(Full):
    """A finished save lies in the scratch of the run that is carried on."""

    def answer(self, command: Command) -> tuple[int, str]:
        if command.argv[0] == "find" and command.argv[1].endswith("/salvage/salvage.snap"):
            return 0, f"1:1 {command.argv[1]}\n" if command.host == "etcd-1" else ""
        return super().answer(command)


def test_a_finished_save_is_set_aside_before_the_scratch_is_cleared(tmp_path: Path) -> None:
    run, found, _ = prepared(tmp_path, Saved())
    carried_on(run, 1)
    salvage.hold(run, found)
    lines = [" ".join(command.argv) for command in run.stages[-1].commands() if command.host == "etcd-1"]
    kept = next(n for n, line in enumerate(lines) if line.endswith("/salvage.unproven.snap"))
    cleared = next(n for n, line in enumerate(lines) if "/salvage /" in line and " rm -rf " in line)
    assert kept < cleared


@pytest.mark.parametrize("carrying_on", [False, True])
def test_what_copies_of_before_take_is_cleared_before_room_is_measured(
    carrying_on: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a run that was cut off while it copied, and of a try with a disk that the operator gave up; there too."""
    run, found, _ = prepared(tmp_path, Hosts())
    run.carrying_on = carrying_on
    run.options = replace(run.options, accepted=Accepted(() if carrying_on else ("without:etcd-1",)))
    happened: list[str] = []
    measured, cleared = survivors.ask_survivor, survivors.clear

    def measure(number: int, disk: Disk, terms: Terms) -> Question[Survivor]:
        happened.append(f"measure {disk.host}")
        return measured(number, disk, terms)

    def clear(terms: Terms, hosts: Sequence[str]) -> list[Command]:
        happened.extend(f"clear {host}" for host in hosts)
        return cleared(terms, hosts)

    def torn(_run: Planning, _rows: object, disks: list[Survivor], nothing: Salvaged, _: object) -> Salvaged:
        return replace(nothing, failed="torn" if len(disks) == 3 else "")

    monkeypatch.setattr(survivors, "ask_survivor", measure)
    monkeypatch.setattr(survivors, "clear", clear)
    monkeypatch.setattr(salvage, "_salvage", torn)
    salvage.hold(run, found)
    numbers = (1, 2, 3) if carrying_on else (2, 3)
    last = max(n for n, what in enumerate(happened) if what == f"measure etcd-{numbers[0]}")
    before = [what for what in happened[:last] if what.startswith("clear")]
    assert before == ["clear etcd-1", "clear etcd-2", "clear etcd-3"]


def test_a_disk_that_was_given_up_and_cannot_be_cleared_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, found, _ = prepared(tmp_path, Hosts())
    run.options = replace(run.options, accepted=Accepted(("without:etcd-1",)))

    def sick(*_: object) -> Salvaged:
        raise Refusal("etcd-1", "find: Input/output error", "look at that disk")

    def torn(_run: Planning, _rows: object, disks: list[Survivor], nothing: Salvaged, _: object) -> Salvaged:
        return replace(nothing, failed="torn" if len(disks) == 3 else "")

    monkeypatch.setattr(salvage, "_with_what_was_saved", sick)
    monkeypatch.setattr(salvage, "_salvage", torn)
    outcome = salvage.hold(run, found)
    assert not outcome.failed and outcome.hosts == ("etcd-2", "etcd-3")
