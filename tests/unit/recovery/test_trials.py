"""What is done at the end of Step 2, and what each member's own etcd must say of what it restored."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from requorum.cluster import etcdctl, sandbox
from requorum.cluster.etcdctl import Database
from requorum.command import Command, Result, look
from requorum.hosts import kept
from requorum.hosts.failure import FleetError, raise_all
from requorum.hosts.system import Free
from requorum.recovery import ahead, room, trial, trials
from requorum.recovery.progress import Progress
from requorum.recovery.trial import Trial
from requorum.refusal import Disproved
from requorum.run import facts
from requorum.run.run import Run
from requorum.snapshots.snapshot import Source
from requorum.snapshots.sources import Sources
from requorum.troubleshoot import sudoers
from tests.unit import build
from tests.unit.recovery.test_ahead import BESIDE, CONFIGS, HOSTS, MADE, ON_ONE, SHA, TOOLS, note

SOURCE = Source("salvage", "etcd-1", "/x", SHA, 1 << 20, "2026-01-01T00:00:00Z", 230)
TRIED = Trial(SHA, 5, 7, {"": 2}, (), (), restored=trial.how(build.terms(), build.BUMPING))
NOTED = build.stdins([trial.note(build.terms(), "infra-1", TRIED)])[0].decode()
GOOD = (
    '{"event": "authentication", "answer": false}\n{"event": "pinned", "answer": 5}\n'
    '{"event": "hashes", "answer": [{"Endpoint": "a", "HashKV": {"hash": 7}}]}\n'
    '{"event": "users", "answer": {}}\n{"event": "roles", "answer": {}}\n{"event": "count", "answer": {"count": 2}}\n'
    '{"event": "done"}\n'
)


class Site(Run):
    """Hosts in the middle of Step 2. `there`: host → inode by path, `said`: host → the note of what it restored;
    `tried`: the trial's note; `free` bytes on the one file system of each; `told`: host → `snapshot status`; `broken`:
    host → how a word of the command begins that
    fails there; `says`: what the isolated boot says."""

    def __init__(self, place: Path, **given: Any) -> None:
        self.inventory, self.terms, self.notes = build.inventory(), build.terms(), []
        self.carrying_on = False
        self.there, self.said = given.get("there", {}), given.get("said", {})
        self.tried, self.free = given.get("tried", ""), given.get("free", 1 << 40)
        self.told = {**dict.fromkeys(HOSTS, status()), **given.get("told", {})}
        self.broken, self.attempted = given.get("broken", {}), list[Command]()
        self.says = given.get("says", GOOD)
        self.done: list[Command] = []

    def answer(self, command: Command) -> str:
        line = " ".join(command.argv)
        if command.argv[0] == "cat":
            return str(self.tried if line.endswith("trial.json") else self.said.get(command.host, ""))
        if command.argv[0] == "readlink":
            return "".join(f"{path}\n" for path in command.argv[3:])
        if command.argv[0] == "df":
            return build.df(command, f"/x 9 9 {self.free} 9% /")
        if "status" in line:
            return str(self.told[command.host])
        paths = {**ON_ONE, **self.there.get(command.host, {})}
        return "".join(f"{inode} {path}\n" for path, inode in paths.items() if path in command.argv)

    def look(self, commands: Any) -> list[Result]:
        return [build.answered(command, self.answer(command)) for command in commands]

    def attempt(self, plan: Any) -> dict[str, FleetError]:
        self.attempted += plan
        return {}

    def severally(self, plan: Any) -> tuple[list[Result], dict[str, FleetError]]:
        """Each host's commands until one of them fails."""
        failed: dict[str, FleetError] = {}
        results: list[Result] = []
        for command in plan:
            if command.host in failed:
                continue
            word = self.broken.get(command.host)
            if word and any(each.startswith(word) for each in command.argv):
                failed[command.host] = FleetError(command.host, f"no space left on {command.host}", "make room")
                continue
            self.done.append(command)
            boots = command.argv[0] == "systemd-run" and "--wait" in command.argv
            said = self.answer(command) if "status" in command.argv else ""
            results.append(build.answered(command, self.says if boots else said))
        return results, failed

    def do(self, plan: Any, bookkeeping: bool = False) -> list[Result]:
        results, failed = self.severally([action for action in plan if isinstance(action, Command)])
        raise_all(list(failed.values()))
        return results

    def settle(self, claim: str, outcomes: Any, remedy: str) -> None:
        if wrong := {host: str(found) for host, found in outcomes.items() if found is not None}:
            raise Disproved(claim, wrong, remedy)

    def note(self, text: str) -> None:
        self.notes.append(text)

    @property
    def restored(self) -> list[str]:
        """Where what was restored went, by host."""
        words = ((c.host, w) for c in self.done if "restore" in c.argv for w in c.argv if w.startswith("--data-dir="))
        return [f"{host}:{word.removeprefix('--data-dir=').removesuffix('.restoring')}" for host, word in words]


@pytest.fixture(autouse=True)
def begun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(facts, "new_configuration_is_installed", lambda run: False)


def progress() -> Progress:
    return Progress(Sources(source=SOURCE), tools=TOOLS, new_configs=dict(CONFIGS))


ALONE = f"etcd-1:{trial.scratch(build.terms())}/room/1"
WHOLE = dict.fromkeys(HOSTS, MADE)
NOTES = {host: note(host=host) for host in HOSTS}


def test_one_member_is_tried_and_every_member_restores(tmp_path: Path) -> None:
    run, made = Site(tmp_path), progress()
    found = trials.hold(run, made)
    assert run.restored == [ALONE, *(f"{host}:{BESIDE}/data" for host in HOSTS)]
    assert (found.hash, found.revision, made.ahead) == (7, 5, HOSTS)
    booted = [c for c in run.done if c.stop == sandbox.stop("trial", build.RUN)]
    assert [c.host for c in booted] == ["etcd-1"]
    assert (f"{build.PLACE}/trial.json",) in [kept.targets(c.argv) for c in run.done], "the trial is noted"


def test_carried_on_only_what_does_not_lie_whole_is_restored_and_the_trial_is_not_held_again(tmp_path: Path) -> None:
    run, made = Site(tmp_path, tried=NOTED, there={**WHOLE, "etcd-2": {BESIDE: "7:3"}}, said=NOTES), progress()
    assert trials.hold(run, made).hash == 7
    assert run.restored == [f"etcd-2:{BESIDE}/data"] and made.ahead == HOSTS
    run, made = Site(tmp_path, tried=NOTED, there=WHOLE, said=NOTES), progress()
    assert trials.hold(run, made).hash == 7 and run.done == []


def test_what_was_restored_of_other_data_is_restored_anew(tmp_path: Path) -> None:
    run = Site(tmp_path, there=WHOLE, said={**NOTES, "etcd-3": note(host="etcd-3", sha256="00")})
    trials.hold(run, progress())
    assert run.restored == [ALONE, f"etcd-3:{BESIDE}/data"]


@pytest.mark.parametrize(
    ("told", "anew"),
    [
        ({"etcd-2": "read error"}, ["etcd-2"]),
        ({"etcd-2": '{"hash": 8, "revision": 230, "totalKey": 9}'}, list(HOSTS)),
    ],
)
def test_what_was_whole_and_is_not_any_more_is_restored_anew(
    tmp_path: Path, told: dict[str, str], anew: list[str]
) -> None:
    """A disk that went bad would stop the run before the commit for ever."""
    run = Site(tmp_path, tried=NOTED, there=WHOLE, said=NOTES, told=told)
    trials.hold(run, progress())
    assert run.restored == [f"{host}:{BESIDE}/data" for host in anew]


def test_what_lies_there_of_an_earlier_try_is_removed_before_room_is_asked_for(tmp_path: Path) -> None:
    run = Site(tmp_path, tried=NOTED, there={**WHOLE, "etcd-2": {BESIDE: "7:3"}}, said=NOTES, free=0)
    with pytest.raises(Disproved):
        trials.hold(run, progress())
    assert [(c.host, *c.argv[-3:]) for c in run.done] == [("etcd-2", "rm", "-rf", BESIDE)]


@pytest.mark.parametrize("carrying_on", [False, True])
def test_only_a_run_that_is_carried_on_has_anything_to_end_and_clear_before_its_trial(
    carrying_on: bool, tmp_path: Path
) -> None:
    """What ended by itself is not ended again."""
    run = Site(tmp_path)
    run.carrying_on = carrying_on
    trials.hold(run, progress())
    there = [c.argv for c in run.done if c.host == "etcd-1"]
    stop, own = sandbox.stop("trial", build.RUN), trial.scratch(build.terms())
    clears = [argv == stop or ("rm" in argv and own in argv) for argv in there]
    assert clears[:2] == [carrying_on, carrying_on] and there.count(stop) == int(carrying_on)
    assert clears[-1] and sum(clears) == 1 + 2 * carrying_on, "and it goes afterwards"


@pytest.mark.parametrize(("code", "ended"), [(0, True), (10, True), (1, False), (124, False), (255, False)])
def test_a_boot_that_did_not_come_to_its_own_end_is_ended_before_its_scratch_goes(code: int, ended: bool) -> None:
    answer = Result(look("etcd-1", "x", why=""), code, "", "", 0.0)
    stops = [c.argv == sandbox.stop("trial", build.RUN) for c in trial.tidy(build.terms(), "etcd-1", answer)]
    assert stops == ([False] if ended else [True, False])


def test_no_login_stays_where_the_trial_gives_no_answer(tmp_path: Path) -> None:
    own = trial.scratch(build.terms())
    for word in (f"--data-dir={own}", f"of={own}/isolation.sh"):
        run = Site(tmp_path, broken={"etcd-1": word})
        with pytest.raises(FleetError, match="no space left"):
            trials.hold(run, progress())
        assert ("etcd-1", "rm", "-rf", own) in {(c.host, *c.argv[-4:-1]) for c in run.attempted}


def test_a_restore_that_fails_hides_no_trial_and_is_told_by_its_own_name(tmp_path: Path) -> None:
    run, made = Site(tmp_path, broken={"etcd-2": f"--data-dir={BESIDE}"}), progress()
    made.trial = trials.hold(run, made)
    assert made.trial.hash == 7 and list(made.unrestored) == ["etcd-2"]
    noted = [kept.targets(c.argv) for c in run.done]
    assert (f"{build.PLACE}/trial.json",) in noted, "a rerun need not hold it again"
    assert [(c.host, *c.argv[-3:]) for c in run.attempted] == [("etcd-2", "rm", "-rf", BESIDE)], "it filled the disk"
    with pytest.raises(FleetError, match="no space left on etcd-2"):
        trials.restored_alike(run, made)


@pytest.mark.parametrize("where", ["etcd-1", "etcd-2"])
def test_a_trial_that_is_refused_is_told_with_the_restore_that_failed(tmp_path: Path, where: str) -> None:
    refused = '{"event": "authentication", "answer": true}\n{"event": "login", "role": "root", "why": "no"}\n'
    run, made = Site(tmp_path, broken={where: f"--data-dir={BESIDE}"}, says=refused), progress()
    made.trial = trials.hold(run, made)
    with pytest.raises(Disproved) as error:
        trials.trial_is_good(run, made)
    assert "an old password does not log in: root" in error.value.findings["etcd-1"]
    assert [note for note in run.notes if note.startswith(f"{where}: its own restore failed: no space left")]


def test_a_run_that_is_carried_on_has_put_some_of_it_down(tmp_path: Path) -> None:
    run = Site(tmp_path, there={"etcd-2": {BESIDE: "7:3"}})
    assert trials.put_down(run) == {}
    run.carrying_on = True
    assert trials.put_down(run) == {host: {room.RESTORED} if host == "etcd-2" else set() for host in HOSTS}


def test_where_a_new_name_would_not_do_the_member_waits_for_step_4(tmp_path: Path) -> None:
    run, made = Site(tmp_path, there={"etcd-2": {"/var/lib/etcd/dh/.": "8:1"}}), progress()
    trials.hold(run, made)
    assert made.ahead == ("etcd-1", "etcd-3")
    assert run.restored == [ALONE, f"etcd-1:{BESIDE}/data", f"etcd-3:{BESIDE}/data"]


def test_once_the_new_configuration_is_installed_step_4_restores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a run of an earlier version, whose trial gathered all members, and a retry."""
    monkeypatch.setattr(facts, "new_configuration_is_installed", lambda run: True)
    run, made = Site(tmp_path, tried=NOTED), progress()
    assert trials.hold(run, made).hash == 7 and run.done == [] and made.ahead == ()


def test_room_is_asked_for_what_is_still_to_be_put_down(tmp_path: Path) -> None:
    one = trial.bytes_needed(SOURCE.bytes)
    trials.hold(Site(tmp_path, free=2 * one), progress())
    with pytest.raises(Disproved) as error:
        trials.hold(Site(tmp_path, free=2 * one - 1), progress())
    assert list(error.value.findings) == ["etcd-1"], "which also holds the trial"
    trials.hold(Site(tmp_path, free=one, tried=NOTED), progress())
    turn = room.before_the_commit(build.terms(), SOURCE.bytes, tries=True)
    assert room.lacking([turn], {place: Free(2 * one, "/") for place in turn.uses}, spares=False) is None


def status(**fields: object) -> str:
    return json.dumps({"hash": 7, "revision": 230, "totalKey": 9, "totalSize": 4096, **fields})


def test_what_every_member_restored_is_one_and_the_same(tmp_path: Path) -> None:
    made = progress()
    made.ahead = HOSTS
    run = Site(tmp_path, told=dict.fromkeys(HOSTS, status()))
    trials.restored_alike(run, made)
    said = "restored on etcd-1, etcd-2, etcd-3, alike: hash 00000007, revision 230, 9 entries; Step 4 only moves it"
    assert run.notes == [said]


def test_what_a_member_restored_is_told_right_behind_and_not_asked_again(tmp_path: Path) -> None:
    run, made = Site(tmp_path, told={"etcd-3": status(hash=8)}), progress()
    trials.hold(run, made)
    told = [command.host for command in run.done if "status" in command.argv]
    assert sorted(told) == list(HOSTS) == sorted(made.restored)
    run.told = {}
    with pytest.raises(Disproved) as error:
        trials.restored_alike(run, made)
    assert "hash 00000008" in error.value.findings["etcd-3"]


def test_one_that_does_not_tell_in_time_hides_no_trial_and_is_asked_again(tmp_path: Path) -> None:
    class Slow(Site):
        def severally(self, plan: Any) -> tuple[list[Result], dict[str, FleetError]]:
            results, failed = super().severally(plan)
            slow = [r.command.host == "etcd-2" and "status" in r.command.argv for r in results]
            return [replace(r, code=124, stdout="") if of else r for r, of in zip(results, slow, strict=True)], failed

    run, made = Slow(tmp_path), progress()
    made.trial = trials.hold(run, made)
    assert made.trial.hash == 7 and sorted(made.restored) == ["etcd-1", "etcd-3"] and not run.attempted
    assert (f"{build.PLACE}/trial.json",) in [kept.targets(c.argv) for c in run.done], "a rerun need not hold it again"
    run.told["etcd-2"] = status(hash=8)
    with pytest.raises(Disproved) as error:
        trials.restored_alike(run, made)
    assert "hash 00000008" in error.value.findings["etcd-2"], "by what it tells then"


def test_the_trial_s_host_does_its_own_restore_beside_the_trial(tmp_path: Path) -> None:
    """Neither waits for the other."""
    run = Site(tmp_path)
    trials.hold(run, progress())
    here = [(" ".join(c.argv), c.lane) for c in run.done if c.host == "etcd-1"]
    own = {lane for line, lane in here if f"{BESIDE}/data" in line}
    tried = {lane for line, lane in here if "restore" in line and f"{trial.scratch(build.terms())}/room" in line}
    assert (own, tried) == ({""}, {trial.KIND})


@pytest.mark.parametrize(
    "other", [status(hash=8), status(revision=231), status(totalKey=8), "no answer", status(hash="x")]
)
def test_one_that_differs_or_does_not_tell_stops_the_run_before_the_commit(tmp_path: Path, other: str) -> None:
    made = progress()
    made.ahead = HOSTS
    with pytest.raises(Disproved) as error:
        trials.restored_alike(Site(tmp_path, told={**dict.fromkeys(HOSTS, status()), "etcd-2": other}), made)
    assert "etcd-2" in error.value.findings


def test_it_is_asked_with_the_hosts_own_tool_as_the_etcd_account(tmp_path: Path) -> None:
    asked = etcdctl.ask_database("etcd-1", "/usr/bin/etcdutl", "etcd", ahead.database(build.terms()))
    assert asked.commands[0].argv == (
        *("runuser", "-u", "etcd", "--", "env", "ETCDCTL_API=3", "/usr/bin/etcdutl"),
        *("snapshot", "status", "-w", "json", f"{BESIDE}/data/member/snap/db"),
    )
    assert build.understood(asked, status()) == Database(7, 230, 9)
    assert (
        build.understood(asked, "", code=1, stderr="Error: permission denied") == "unreadable: Error: permission denied"
    )
    assert sudoers.unlisted(build.inventory(), [asked.commands[0].line()]) == []
