"""A night as its stages go: passed over beside a recovery, and told in `proof.json` however it ended."""

from __future__ import annotations

import errno
import json
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from requorum.cluster.etcd import Tools
from requorum.command import Command, Result
from requorum.inventory import Inventory
from requorum.refusal import Disproved, Refusal
from requorum.run import lock
from requorum.run.dryrun import Planning
from requorum.run.lock import Holder
from requorum.run.marker import MarkerError, Phase, Undone
from requorum.snapshots import manifest, proven
from requorum.snapshots.proven import Proven
from requorum.snapshots.vault import BackupError, Vault
from requorum.verify import newest, place, program, proof
from requorum.verify import night as nights
from requorum.verify.newest import Newest
from requorum.verify.night import Night
from requorum.verify.place import Scratch
from tests.unit import build
from tests.unit.run.test_dryrun import Hosts, planning
from tests.unit.verify import nights as backups

HOLDER = Holder("ops", "desk", 7, "2026-11-27T03:00:00Z")


class Busy(Hosts):
    """`says`: part of a command → its answer, before what a healthy cluster's hosts would say."""

    def __init__(self, **says: str) -> None:
        super().__init__()
        self.says = says

    def answer(self, command: Command) -> tuple[int, str]:
        line = " ".join(command.argv)
        return next(((0, said) for part, said in self.says.items() if part in line), super().answer(command))


def tonight(place: Path, hosts: Hosts, **fields: Any) -> tuple[Planning, Night]:
    directory = place / "backups"
    directory.mkdir()
    inventory = build.inventory(snapshot={"directory": str(directory)}, **fields)
    run = planning(place, hosts, inventory)
    run.begin("runbook/verify/test_verify.py::TestVerify::test_given_x")
    run.stages[-1].looked = True
    return run, Night(vault=Vault(inventory))


def marked(phase: Phase, undone: Undone = Undone.NO) -> str:
    mark = build.mark(phase, undone=undone)
    return json.dumps({**asdict(mark), "phase": phase.name, "undone": undone.name})


@pytest.mark.parametrize(
    ("says", "why"),
    [
        ({"readlink": HOLDER.words()}, "the cluster is locked by ops on desk (process 7), since 2026-11-27T03:00:00Z"),
        ({"run.json": marked(Phase.STOPPING)}, f"run {build.RUN} of ops@desk is not finished"),
        ({"run.json": marked(Phase.DONE, Undone.BEGUN)}, f"run {build.RUN} of ops@desk is not finished"),
    ],
)
def test_beside_a_recovery_the_night_is_passed_over_with_the_age_of_the_last_proof(
    tmp_path: Path, says: dict[str, str], why: str
) -> None:
    run, night = tonight(tmp_path, Busy(**says))
    nights.nothing_else_is_under_way(run, night)
    assert run.skipped == f"{why}; nothing was proven yet"
    path = backups.kept(tmp_path / "backups", replace(backups.NOTE, number=1, taken=ago(hours=30)))
    nights.nothing_else_is_under_way(run, night)
    assert run.skipped == f"{why}; nothing was proven yet, and the oldest backup is 30.0 h old"
    proven.path_of(path).write_text(at(ago(hours=167)))
    nights.nothing_else_is_under_way(run, night)
    assert run.skipped == f"{why}; the last proof is 167.0 h old"


def ago(**past: float) -> str:
    return (datetime.now(UTC) - timedelta(**past)).isoformat()


def at(time: str) -> str:
    return Proven("ab" * 32, time, "infra-1", "3.5.16", "x").text()


@pytest.mark.parametrize("busy", ["", "another backup is under way"])
@pytest.mark.parametrize(
    ("number", "taken", "told", "age"),
    [
        (9, 24.0, 169.0, "the last proof is 169.0 h old"),
        (1, 169.0, None, "nothing was proven yet, and the oldest backup is 169.0 h old"),
        (9, 24.0, None, "nothing was proven yet, and the oldest backup is 24.0 h old, others before it are gone"),
    ],
)
def test_after_a_week_without_a_proof_no_night_is_passed_over(
    tmp_path: Path, busy: str, number: int, taken: float, told: float | None, age: str
) -> None:
    run, night = tonight(tmp_path, Busy(readlink=HOLDER.words()))
    night.busy = busy
    path = backups.kept(tmp_path / "backups", replace(backups.NOTE, number=number, taken=ago(hours=taken)))
    if told:
        proven.path_of(path).write_text(at(ago(hours=told)))
    with pytest.raises(Refusal) as refusal:
        nights.nothing_else_is_under_way(run, night)
    assert refusal.value.what == (
        f"no further night is passed over: {busy or f'the cluster is locked by {HOLDER}'}; {age}"
    )
    assert run.skipped == ""


def test_the_lock_of_a_process_that_has_ended_is_none(tmp_path: Path) -> None:
    mine = lock.myself()
    for dead, skipped in ((replace(mine, boot="another boot"), False), (mine, True)):
        (tmp_path / dead.boot).mkdir()
        run, night = tonight(tmp_path / dead.boot, Busy(readlink=dead.words()))
        nights.nothing_else_is_under_way(run, night)
        assert bool(run.skipped) == skipped


def test_a_mark_that_is_not_understood_is_not_nobodys(tmp_path: Path) -> None:
    run, night = tonight(tmp_path, Busy(**{"run.json": ""}))
    with pytest.raises(MarkerError, match="is empty"):
        nights.nothing_else_is_under_way(run, night)


def test_beside_a_recovery_that_has_begun_meanwhile_nothing_more_is_booted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, night = tonight(tmp_path, Busy(readlink=HOLDER.words()))
    done(run, night, tmp_path / "backups")
    plans: list[Any] = []
    monkeypatch.setattr(run, "do", plans.append)
    for boot in (nights.boot_as_it_is, nights.boot_as_recovered):
        with pytest.raises(Refusal, match="nothing more is booted beside that: the cluster is locked by ops on desk"):
            boot(run, night)
    assert plans == []


@pytest.mark.parametrize(
    ("said", "backups"),
    [
        ('{"event": "failed", "hindered": true, "why": "the backup did not arrive whole"}', False),
        ('{"event": "failed", "why": "the restore failed: no space left on device"}', False),
        ('{"event": "died", "member": "1", "when": "first", "why": "no reason in its log"}', False),
        ("", False),
        ('{"event": "died", "member": "1", "when": "first", "why": "panic: freepages"}', True),
        ('{"event": "failed", "why": "the restore failed: snapshot file hash mismatch"}', True),
    ],
    ids=["on the way", "no room", "killed", "cut short", "broken pages", "another hash"],
)
def test_what_a_machine_lacks_is_not_said_of_the_backup(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, backups: bool
) -> None:
    run, night = tonight(tmp_path, Busy())
    done(run, night, tmp_path / "backups")
    night.scratch, night.proofs = Scratch(True, ""), []
    monkeypatch.setattr(run, "do", lambda plan: [Result(plan[0], 10, said, "", 8.0)])
    if backups:
        nights.boot_as_it_is(run, night)
        assert [one.held for one in night.proofs] == [False]
        return
    for boot in (nights.boot_as_it_is, nights.boot_as_recovered):
        with pytest.raises(Refusal, match="which says nothing of the backup") as stop:
            boot(run, night)
        assert stop.value.remedy == nights.HINDRANCE and not night.proofs


def test_how_long_a_restore_and_a_boot_take_is_told_without_the_way_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, night = tonight(tmp_path, Busy())
    done(run, night, tmp_path / "backups")
    said = '{"event": "weight", "answer": "mq-deadline"}\n{"event": "restored", "answer": [4000, 1500]}\n'

    def do(plan: list[Command], bookkeeping: bool = False) -> list[Result]:
        return [Result(command, 10, said + '{"event": "failed", "why": "x"}\n', "", 8.0) for command in plan]

    monkeypatch.setattr(run, "do", do)
    night.scratch = Scratch(False, "on a disk")
    nights.boot_as_it_is(run, night)
    nights.boot_as_recovered(run, night)
    assert (night.restore_seconds, night.boot_seconds) == (1.5, 2.5)
    told: Any = nights.document(run, night)
    assert told["scratch"] == {
        "memory": False,
        "why": "on a disk",
        "io_weight": "not heeded: the disk's scheduler is mq-deadline",
    }


@pytest.mark.parametrize("says", [{}, {"run.json": marked(Phase.OPEN)}, {"run.json": marked(Phase.DONE)}])
def test_what_is_over_or_has_changed_nothing_is_nobodys_recovery(tmp_path: Path, says: dict[str, str]) -> None:
    run, night = tonight(tmp_path, Busy(**says))
    nights.nothing_else_is_under_way(run, night)
    assert run.skipped == ""


def done(run: Planning, night: Night, directory: Path) -> None:
    """As after a good night's stages."""
    path = backups.kept(directory, backups.NOTE)
    row = backups.good(replace(next(iter(newest.rows(run.inventory))), path=str(path)))
    night.newest, night.live, night.host = Newest(row, row), backups.live(), "infra-1"
    night.tools, night.roles, night.answers = Tools("3.5.16", "/usr/bin/etcdutl", True), backups.ROLES, backups.GOOD
    night.proofs = proof.of_boot(backups.GOOD, backups.NOTE, "3.5.16", backups.ROLES, ("",), run.inventory.expect)
    night.scratch = Scratch(True, "in memory alone")
    night.restore_seconds, night.boot_seconds, night.where = 1.5, 2.5, {"root": ["infra-1"], "query": ["infra-1"]}
    night.ended = True


def test_the_proof_tells_all_that_was_found_and_a_time_only_where_it_was_measured(tmp_path: Path) -> None:
    run, night = tonight(tmp_path, Hosts(), expect={"min_keys": 100})
    done(run, night, tmp_path / "backups")
    told: Any = nights.document(run, night)
    assert (told["recoverable"], told["why"]) == (True, "every proof holds")
    assert (told["behind"]["revisions"], told["recovery"]["seconds"]) == (13, None)
    assert told["passwords"]["why"] == "if infra-1 burns, nobody can log in"
    assert told["logins"] == {"can": ["root", "query"], "cannot": {}}
    earlier = tmp_path / "2026"
    earlier.mkdir()
    record = {"kind": "copy", "why": "the snapshot", "bytes": 1_000_000, "seconds": 1000.0}
    (earlier / "journal.jsonl").write_text(json.dumps(record) + "\n")
    told = nights.document(run, night)
    assert told["recovery"]["copy_seconds"] == 3.0 and told["recovery"]["seconds"] == 7.0, "to three members"
    assert told["recovery"]["measured"] == f"the snapshot ({earlier})"


def test_it_is_not_recoverable_where_a_proof_does_not_hold_or_it_did_not_come_to_its_end(tmp_path: Path) -> None:
    run, night = tonight(tmp_path, Hosts())
    done(run, night, tmp_path / "backups")
    night.proofs.append(proof.of_age(50, 26))
    assert nights.document(run, night)["recoverable"] is False
    night.proofs.pop()
    night.ended, run.failed = False, "infra-1: did not answer\n    → look"
    told = nights.document(run, night)
    assert (told["recoverable"], told["why"]) == (False, "infra-1: did not answer → look")


def test_a_proof_that_does_not_hold_stops_and_one_that_cannot_be_given_is_a_warning(tmp_path: Path) -> None:
    run, night = tonight(tmp_path, Hosts())
    night.host = "infra-1"
    night.proofs = [proof.Proof("data", "the hash", "could not be compared: x", None), proof.of_age(50, 26)]
    nights.holds(run, night, "data")
    assert run.warned and run.notes == ["data: could not be compared: x"]
    with pytest.raises(Disproved, match=r"infra-1: found 50\.0 h old"):
        nights.holds(run, night, proof.AGE)


class Each(Hosts):
    """A fleet whose machines are asked for real; `lack`: host → what its login does not find."""

    def __init__(self, **lack: str) -> None:
        super().__init__()
        self.lack = {name.replace("_", "-"): tools for name, tools in lack.items()}

    def each(self, hosts: Any, work: Any) -> dict[str, Any]:
        return {host: work(Asked(host, self)) for host in hosts}

    def answer(self, command: Command) -> tuple[int, str]:
        line = " ".join(command.argv)
        if command.why == "which tools are missing":
            return 0, "".join(f"0 {tool}" for tool in self.lack.get(command.host, "").splitlines(keepends=True))
        return (0, "111\n") if "id -u" in line or line.startswith(("true", "sudo -n -l")) else super().answer(command)


@dataclass
class Asked:
    """A machine that answers as these hosts do."""

    name: str
    hosts: Hosts

    def ask(self, question: Any) -> Any:
        return question.understand(self.hosts.run(question.commands))


def where(place_: Path, **lack: str) -> tuple[Planning, Inventory]:
    run, _ = tonight(place_, Each(**lack))
    return run, run.inventory


def test_where_etcd_is_lacking_the_machines_that_could_are_named(tmp_path: Path) -> None:
    run, inventory = where(tmp_path, infra_1="etcd\n", etcd_1="curl\n")
    with pytest.raises(Refusal, match="infra-1: cannot boot a backup: root finds no etcd there") as refusal:
        place.tools(run, place.chosen(inventory))
    named = "verify.host in the inventory could name etcd-2 (a member: only where it does not lead), etcd-3 (a member"
    assert named in refusal.value.remedy and "query-1" in refusal.value.remedy
    assert "etcd-1" not in refusal.value.remedy


def test_where_it_is_there_it_is_used(tmp_path: Path) -> None:
    run, inventory = where(tmp_path)
    found = place.tools(run, place.chosen(inventory))
    assert (found.version, found.restorer) == ("3.5.16", "/usr/bin/etcdutl")


def test_on_a_members_machine_the_disk_of_its_log_is_not_used_unless_that_was_said(tmp_path: Path) -> None:
    run, _ = tonight(tmp_path, Hosts(), verify={"host": "etcd-2"})
    with pytest.raises(Disproved, match="both on /"):
        place.there_is_room(run, "etcd-2", 1000)
    place.there_is_room(run, "infra-1", 1000)
    shared = tmp_path / "shared"
    shared.mkdir()
    place.there_is_room(tonight(shared, Hosts(), verify={"host": "etcd-2", "disk": "shared"})[0], "etcd-2", 1000)
    with pytest.raises(Disproved, match="has room for the proof"):
        place.there_is_room(run, "infra-1", 10**18)


class Remembers(Hosts):
    """Hosts with so much free memory; whose program is there where it says so."""

    def __init__(self, free: int | None = None, content: str = "") -> None:
        super().__init__()
        self.free, self.content = free, content

    def answer(self, command: Command) -> tuple[int, str]:
        if command.argv == ("cat", "/proc/meminfo"):
            return 0, "MemTotal: 1 kB\n" + ("" if self.free is None else f"MemAvailable:   {self.free // 1024} kB\n")
        if command.argv[0] == "stat" and "/usr/libexec/requorum" in command.argv:
            return (0, "0 755\n" * 4) if self.content else (1, "")
        return (
            (0, self.content) if command.argv[0] == "cat" and "verify-" in command.argv[1] else super().answer(command)
        )


def test_what_fits_in_half_of_the_free_memory_is_on_no_disk_not_even_a_members(tmp_path: Path) -> None:
    needed = 2 * 10_000_000 + (128 + 256) * 1024 * 1024
    for name, free, fits in (
        ("half", 2 * needed + 2048, True),
        ("less", 2 * needed - 2048, False),
        ("silent", None, False),
    ):
        (tmp_path / name).mkdir()
        run, _ = tonight(tmp_path / name, Remembers(free), verify={"host": "etcd-2"})
        if free and fits:
            found = place.scratch(run, "etcd-2", 10_000_000)
            assert found.in_memory and found.why == f"in memory alone: {needed:,} of {free // 1024 * 1024:,} free bytes"
        else:
            with pytest.raises(Disproved, match="both on /"):
                place.scratch(run, "etcd-2", 10_000_000)
        assert place.scratch(run, "infra-1", 10_000_000).in_memory is fits


def test_without_the_program_that_root_keeps_nothing_is_booted_and_the_message_says_how_it_gets_there(
    tmp_path: Path,
) -> None:
    run, _ = tonight(tmp_path, Remembers())
    with pytest.raises(Disproved, match=r"verify-lab is not there") as refusal:
        place.installed(run, "query-1")
    assert "./setup hosts NAME" in str(refusal.value) and "query-1: found" in str(refusal.value)
    there = tmp_path / "there"
    there.mkdir()
    run, _ = tonight(there, Remembers(content=program.text(run.inventory)))
    place.installed(run, "query-1")


@pytest.mark.parametrize(
    ("log", "found"),
    [
        ("/dev/sdb 1 1 900000000000 1% /data", None),
        ("/dev/sda 1 1 900000000000 1% /data", "both on /dev/sda"),  # a bind mount, or a subvolume
        ("/dev/sdb 1 1 - - /data", "df is not understood"),
    ],
)
def test_the_disk_of_a_live_log_is_told_by_its_file_system_and_not_by_the_name_of_a_mount(
    log: str, found: str | None, tmp_path: Path
) -> None:
    class Mounted(Hosts):
        def answer(self, command: Command) -> tuple[int, str]:
            if command.argv[0] == "df" and command.argv[-1].startswith("/var/lib/etcd"):
                return 0, build.df(command, log)
            return super().answer(command)

    run, _ = tonight(tmp_path, Mounted(), verify={"host": "etcd-2"})
    if found is None:
        place.there_is_room(run, "etcd-2", 1000)
        return
    with pytest.raises(Disproved, match=found):
        place.there_is_room(run, "etcd-2", 1000)


def test_the_note_beside_the_backup_is_of_its_very_bytes(tmp_path: Path) -> None:
    run, night = tonight(tmp_path, Hosts(), expect={"min_keys": 100})
    done(run, night, tmp_path / "backups")
    night.ended = False
    nights.note_it(run, night)
    path = Path(night.row.path)
    assert manifest.read(path) == backups.NOTE
    told = proven.read(path, backups.NOTE.sha256)
    assert told is not None and (told.host, told.etcd, told.run) == ("infra-1", "3.5.16", run.mark.run)
    assert run.last_words[-1].startswith(f"Verified: {path} boots, and lets 2 roles in.")
    assert nights.document(run, night)["recoverable"] is True


def test_a_proof_that_cannot_be_noted_is_no_proof(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> Path:
        raise OSError(errno.ENOSPC, "No space left on device")

    run, night = tonight(tmp_path, Hosts(), expect={"min_keys": 100})
    done(run, night, tmp_path / "backups")
    night.ended = False
    monkeypatch.setattr(Vault, "keep_proof", full)
    with pytest.raises(BackupError, match=r"cannot be noted beside lab-3\.snap: No space left on device"):
        nights.note_it(run, night)
    assert nights.document(run, night)["recoverable"] is False and run.last_words == []
