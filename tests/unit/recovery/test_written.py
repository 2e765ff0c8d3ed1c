"""What Step 5 has proven is noted, and stands for what can not be compared any more; a writer is noted by nobody."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from requorum.cluster.lineage import Lineage
from requorum.command import Command, Result
from requorum.hosts import failure, kept
from requorum.hosts.fleet import Machine
from requorum.hosts.question import Question
from requorum.recovery import trial, written
from requorum.recovery.probes import Reached
from requorum.recovery.progress import Progress
from requorum.recovery.trial import Trial
from requorum.recovery.written import Wrote
from requorum.refusal import Disproved
from requorum.run import facts, history, marker
from requorum.run.dryrun import Planning
from requorum.run.history import Birth
from requorum.run.marker import Marker, Outlived, Phase, Undone
from requorum.snapshots import beginning, manifest, sources
from requorum.snapshots.beginning import Beginning, Proven
from requorum.snapshots.manifest import Manifest
from requorum.snapshots.movement import Keys
from requorum.troubleshoot import sudoers
from runbook import test_step_0_snapshot as snapshot_step
from runbook import test_step_4_restore as step_4
from tests.unit import build
from tests.unit.recovery.undo.test_discard import BEGAN, LEASE_RAN_OUT, MARK, PROBE, RESTORED, WRITTEN, Rows, Running
from tests.unit.run.test_dryrun import DATA, SHOW, Hosts, config, planning

PROVEN = Proven(MARK.snapshot, 100, 7, 90, 104, 1)
COMPACTED = "etcdserver: mvcc: required revision has been compacted"


def as_bytes(rows: Rows) -> Keys:
    return Keys(120, {key.encode(): at for key, at in rows.items()})


BUMP = {"revision_bump": 50}


def carried_on(tmp_path: Path, hosts: Hosts, phase: Phase = Phase.STARTED, bump: int = 50) -> Planning:
    run = planning(tmp_path, hosts, build.inventory(etcd={"revision_bump": bump}))
    run.terms = replace(run.terms, mark=replace(MARK, phase=phase))
    return run


# -- what the running cluster shows ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "wrote"),
    [
        (RESTORED, None),
        (LEASE_RAN_OUT, None),
        ({**RESTORED, PROBE: (119, 0)}, None),
        ({**RESTORED, "/main/b": (104, 0)}, None),
        ({**RESTORED, "/main/b": (105, 0)}, "'/main/b' was written after revision 104"),
        ({"/presence/b": (50, 9)}, "1 keys without a lease were deleted after revision 104"),
    ],
)
def test_with_the_note_nothing_older_needs_to_be_compared(tmp_path: Path, rows: Rows, wrote: str | None) -> None:
    hosts = Running(rows, kept=False)
    run = carried_on(tmp_path, hosts)
    found = written.since(run, run.terms, Beginning(100, PROVEN), as_bytes(rows))
    assert found == (Wrote(wrote, runs=True) if wrote else None)
    assert hosts.asked == []


def test_without_it_what_was_compacted_counts_as_written(tmp_path: Path) -> None:
    run = carried_on(tmp_path, Running(RESTORED, kept=False))
    said = written.since(run, run.terms, Beginning(100), as_bytes(RESTORED))
    assert said is not None and not said.seen and "cannot be asked any more" in said.words
    seen = written.since(run, run.terms, Beginning(100), as_bytes(WRITTEN))
    assert seen == Wrote("'/main/config/new' was written after revision 100", runs=True)


@pytest.mark.parametrize("rows", [RESTORED, {**RESTORED, PROBE: (103, 0)}])
def test_where_as_many_keys_are_untouched_as_were_counted_what_was_before_is_not_asked_for(
    tmp_path: Path, rows: Rows
) -> None:
    hosts = Running(rows, kept=False)
    run = carried_on(tmp_path, hosts)
    assert written.since(run, run.terms, Beginning(100), as_bytes(rows), len(RESTORED)) is None
    assert hosts.asked == []


@pytest.mark.parametrize("rows", [LEASE_RAN_OUT, WRITTEN, dict(list(RESTORED.items())[1:])])
def test_where_the_count_does_not_tell_it_is_compared_as_without_it(tmp_path: Path, rows: Rows) -> None:
    run = carried_on(tmp_path, Running(rows))
    told = [written.since(run, run.terms, Beginning(100), as_bytes(rows), keys) for keys in (len(RESTORED), None)]
    assert told[0] == told[1]


@pytest.mark.parametrize("proven", [None, PROVEN])
def test_what_is_behind_the_runs_beginning_was_restored_by_somebody_else(tmp_path: Path, proven: Proven | None) -> None:
    """A plain `snapshot restore` does not bump."""
    run = carried_on(tmp_path, Running(RESTORED))
    said = written.since(run, run.terms, Beginning(100, proven), replace(as_bytes(RESTORED), revision=60))
    words = "it is at revision 60, and the run's own data begins at 100: others restored it"
    assert said == Wrote(words, runs=True, others=60)


# -- the note ----------------------------------------------------------------------------------------------------


class Acting(Running):
    """A run that acts: what it writes is kept."""

    def __init__(self, now: Rows, noted: Proven | None = None, kept: bool = True) -> None:
        super().__init__(now, kept)
        self.proven, self.wrote = noted, list[Proven]()

    def answer(self, command: Command) -> tuple[int, str]:
        if command.argv[:1] == ("cat",) and command.argv[1].endswith("/proven.json") and self.proven:
            return 0, build.stdins([beginning.note(build.terms(), self.proven)])[0].decode()
        return super().answer(command)

    def run(self, actions: Any) -> list[Result]:
        for action in [a for a in actions if a.changes]:
            assert action.host == "infra-1" and kept.targets(action.argv) == (f"{build.PLACE}/proven.json",)
            self.wrote.append(Proven(**json.loads(action.stdin)))
        return super().run([a for a in actions if not a.changes])


def noted(
    tmp_path: Path,
    hosts: Acting,
    compacted: int | None = 90,
    phase: Phase = Phase.STARTED,
    tried: Trial = BEGAN,
    reached: Reached | None = None,
    began: Beginning | None = None,
) -> list[Proven]:
    run = carried_on(tmp_path, hosts, phase)
    run.acts = True
    run.stage = "runbook/test_step_5_power_on.py::TestStep5PowerOn::test_when_what_was_proven_is_noted"
    run.do = hosts.run  # type: ignore[method-assign,assignment]
    written.note_what_is_proven(run, tried, compacted, reached, began)
    return hosts.wrote


@pytest.mark.parametrize("rows", [RESTORED, {**RESTORED, PROBE: (103, 0)}])
def test_where_nobody_else_wrote_the_note_reaches_to_now(tmp_path: Path, rows: Rows) -> None:
    assert noted(tmp_path, Acting(rows)) == [Proven(MARK.snapshot, 100, 7, 90, 120, 1)]


def test_it_reaches_further_when_it_is_made_again_and_keeps_what_it_was_compared_at(tmp_path: Path) -> None:
    again = Acting(RESTORED, PROVEN, kept=False)
    assert noted(tmp_path, again, compacted=118) == [replace(PROVEN, reached=120)]
    assert noted(tmp_path / "unknown", Acting(RESTORED, PROVEN), compacted=None) == [replace(PROVEN, reached=120)]


@pytest.mark.parametrize(
    "hosts",
    [Acting(WRITTEN), Acting(WRITTEN, PROVEN), Acting(LEASE_RAN_OUT, kept=False)],
    ids=["new", "again", "unknown"],
)
def test_where_somebody_wrote_or_nobody_can_tell_nothing_is_noted(tmp_path: Path, hosts: Acting) -> None:
    assert noted(tmp_path, hosts) == []


class Endless(Acting):
    """More keys than an answer may hold; `then`: as of the beginning alone."""

    def __init__(self, then: bool = False) -> None:
        super().__init__(LEASE_RAN_OUT)  # so that what was before must be asked for
        self.then = then

    def answer(self, command: Command) -> tuple[int, str]:
        if "--keys-only" in command.argv and ("--rev=100" in command.argv or not self.then):
            raise failure.endless(command)
        return super().answer(command)


def test_a_list_of_keys_that_is_too_long_stops_nobody_and_proves_nothing(tmp_path: Path) -> None:
    """A large store would stand still in Step 5 for ever, and could not be rolled back either."""
    hosts = Endless()
    assert noted(tmp_path, hosts) == []
    run = carried_on(tmp_path / "rolled", Endless())
    run.begin("m.py::TestX::test_when_somebody_looks")
    wrote = written.who_wrote(run)
    assert written.who_wrote_since(run) == wrote, "both ask the members in its place"
    said = written.since(run, run.terms, Beginning(100), as_bytes(RESTORED))
    assert said is not None and not said.seen and "more than" in said.words
    assert noted(tmp_path / "then", Endless(then=True)) == []


def test_what_did_not_hold_now_is_not_noted_and_nothing_is_once_deephaven_was_on(tmp_path: Path) -> None:
    assert noted(tmp_path, Acting(RESTORED), compacted=None) == []
    assert noted(tmp_path / "late", Acting(RESTORED), phase=Phase.POWERING_ON) == []


def test_a_note_of_an_earlier_try_is_gone_before_its_data_is_started_anew(tmp_path: Path) -> None:
    class Noted(Running):
        def answer(self, command: Command) -> tuple[int, str]:
            path = f"{build.PLACE}/proven.json"
            return (0, f"1:1 {path}\n") if command.argv[:2] == ("find", path) else super().answer(command)

    for phase, gone in ((Phase.STOPPING, 1), (Phase.STARTED, 0)):
        run = carried_on(tmp_path / phase.name, Noted(RESTORED), phase)
        run.begin("runbook/test_step_4_restore.py::TestStep4Restore::test_when_all_members_are_started")
        step_4.TestStep4Restore().test_when_all_members_are_started(run, Progress())
        planned = [c.argv for stage in run.stages for c in stage.commands()]
        assert planned.count(("rm", "-f", f"{build.PLACE}/proven.json")) == gone
        if gone:
            marked = next(n for n, argv in enumerate(planned) if marker.path("lab") in kept.targets(argv))
            assert planned.index(("rm", "-f", f"{build.PLACE}/proven.json")) < marked


# -- what the disks of one that is down show ---------------------------------------------------------------------

NEW = f"/var/lib/etcd/dh/{build.TOKEN}"
TRIED = f"{build.PLACE}/tried/{NEW.strip('/').replace('/', '_')}/member/snap/db"
DOWN = SHOW.replace("active\nSub", "inactive\nSub").replace("running", "dead")
DISABLED = DOWN.replace("enabled", "disabled")


BORN = Birth(build.TOKEN, build.RUN, Phase.STARTED, MARK.snapshot, Lineage("old", 7), 50)


class Down(Acting):
    """No quorum. `disks`: a member's database: its revision, None where there is none, or why it cannot be had. `up`:
    members that run without a leader; `tried`: a retry has set the data aside; `beside`: another configuration is
    installed there; `disabled`: members whose unit does not start with the machine; `mute`: they tell no metrics."""

    def __init__(
        self,
        *disks: int | str | None,
        up: str = "",
        tried: str = "",
        beside: str = "",
        disabled: str = "",
        mute: str = "",
    ):
        super().__init__(RESTORED)
        self.mute = mute
        self.disks, self.up, self.tried, self.beside, self.disabled = disks, up, tried, beside, disabled
        self.done: list[Command] = []
        self.born = "=\n" + build.stdins([history.write_birth("etcd-1", "lab", BORN)])[0].decode()

    def shows(self, host: str) -> int | str | None:
        return self.disks[int(host[-1]) - 1]

    def answer(self, command: Command) -> tuple[int, str]:
        argv, line, host = command.argv, " ".join(command.argv), command.host
        number = int(host[-1]) if host.startswith("etcd") else 1
        ours = config(number).replace("token: old", f"token: {build.TOKEN}").replace(DATA, NEW)
        if argv[:2] == ("systemctl", "show"):
            return 0, SHOW if host[-1] in self.up else DISABLED if host[-1] in self.disabled else DOWN
        if argv[0] == "cat" and argv[1].endswith("config.yaml"):
            return 0, config(number) if host[-1] in self.beside else ours
        if "/aside/" in line and host[-1] in self.beside:
            return 0, f"{base64.b64encode(ours.encode()).decode()} /etc/etcd/dh/new/config.yaml\n"
        if "birth.json" in line:
            return 0, self.born
        if "--keys-only" in argv:
            return 1, "no leader"
        if "/metrics" in line and host[-1] in self.mute:
            return 7, ""
        if "/metrics" in line:
            return 0, f"etcd_debugging_mvcc_current_revision {7 if host[-1] in self.beside else self.shows(host)}\n"
        if argv[0] == "find" and argv[1] == f"{NEW}/member/snap/db":
            lies = TRIED if host[-1] in self.tried else argv[1]
            return 0, f"1:1 {lies}\n" if self.shows(host) is not None else ""
        if "snapshot status" in line:
            assert argv[-1] == (TRIED if host[-1] in self.tried else f"{build.PLACE}/written.db")
            found = self.shows(host)
            return (0, json.dumps({"revision": found, "totalKey": 2})) if isinstance(found, int) else (1, str(found))
        return super().answer(command)

    def run(self, actions: Any) -> list[Result]:
        said = []
        for action in actions:
            self.done.append(action)
            if action.changes:
                code = int("cp" in action.argv and self.shows(action.host) == "full")
                assert action.accept is None or code in action.accept, "one that cannot be copied must not end all"
                said.append(Result(action, code, "", "", 0.0))
            else:
                said += super().run([action])
        return said


def down(tmp_path: Path, hosts: Down, phase: Phase = Phase.STARTED, **fields: Any) -> Wrote | None:
    run = carried_on(tmp_path, hosts, phase)
    run.terms = replace(run.terms, mark=replace(run.mark, **fields))
    run.acts, run.stage = True, "m.py::TestX::test_given_nobody_wrote"
    run.probe = hosts.run  # type: ignore[method-assign,assignment]
    found = written.who_wrote(run)
    assert sudoers.unlisted(run.inventory, [command.line() for command in hosts.done]) == []
    return found


def test_its_databases_are_read_from_copies_that_go_again(tmp_path: Path) -> None:
    hosts = Down(100, 100, 100)
    assert down(tmp_path, hosts) is None
    changing = [c.argv[-1] if "cp" in c.argv else c.argv for c in hosts.done if c.changes and c.host == "etcd-1"]
    assert changing == [f"{build.PLACE}/written.db", ("rm", "-f", f"{build.PLACE}/written.db")]


@pytest.mark.parametrize(
    ("hosts", "wrote", "beyond"),
    [
        (
            Down(100, 100, 140),
            "the database of etcd-3 is at revision 140, and what the run itself wrote ends at 100",
            40,
        ),
        (Down(100, 60, 100), "the database of etcd-2 is at revision 60, and the run's own data begins at 100", None),
        (Down(100, 140, "bad page"), "the database of etcd-2 is at revision 140", 40),
        (Down(140, None, None), "the database of etcd-1 is at revision 140", 40),
        (Down(100, 100, "bad page"), None, None),
        (Down(100, "full", "bad page"), "etcd-2: its database could not be copied", None),
        (Down(100, None, "bad page"), "etcd-2: has no database; etcd-3: its database cannot be read: bad page", None),
        (Down(None, None, None), "nobody can tell what a majority of its members holds", None),
        (Down(140, 100, 100, up="1"), "the database of etcd-1 is at revision 140", 40),
        (Down(100, 100, 100, up="12"), None, None),
        (Down(100, 100, "bad page", up="12", mute="12"), None, None),  # they start again and again, or wait for peers
        (Down(100, 140, "bad page", up="12", mute="12"), "the database of etcd-2 is at revision 140", 40),
        (Down(100, 100, 140, beside="13"), "the database of etcd-3 is at revision 140", 40),
        (
            Down(140, 100, 100, beside="1", up="1"),
            "the database of etcd-1 is at revision 140",
            40,
        ),  # not the other etcd's
        (Down(100, 100, 100, tried="23", disabled="23"), None, None),  # a retry was cut
        (Down(140, 100, 100, tried="123", disabled="123"), "the database of etcd-1 is at revision 140", 40),
        (Down(100, 100, 100, tried="23"), "etcd-2: has no database", None),  # of an earlier retry: this try's is lost
    ],
)
def test_what_is_beyond_what_the_run_wrote_was_written_and_so_is_what_nobody_can_tell(
    tmp_path: Path, hosts: Down, wrote: str | None, beyond: int | None
) -> None:
    found = down(tmp_path, hosts)
    assert (found is None) if wrote is None else (found is not None and wrote in found.words)
    if found:
        seen = beyond is not None or "others restored it" in found.words
        assert (found.beyond, found.seen, found.runs) == (beyond, seen, False)


def test_a_database_that_was_not_bumped_may_end_before_its_revision(tmp_path: Path) -> None:
    """Where its last entries were leases that ran out, and were compacted: etcd 3.4 restores it like that."""
    run = carried_on(tmp_path, Running(RESTORED), bump=1_000)
    (began,) = run.ask({"began": beginning.ask(run.terms)}).values()
    assert began is not None and not began.bumped
    assert written.decide(began, {"etcd-1": 98, "etcd-2": 98, "etcd-3": 98}) is None


def test_the_runs_own_probes_count_for_nothing_where_they_were_noted(tmp_path: Path) -> None:
    class Noted(Down):
        def answer(self, command: Command) -> tuple[int, str]:
            self.proven = PROVEN
            return super().answer(command)

    assert down(tmp_path, Noted(104, 104, 104)) is None
    found = down(tmp_path / "more", Noted(104, 105, 104))
    assert found is not None and found.beyond == 1


def test_where_nothing_was_started_what_is_not_there_was_never_restored(tmp_path: Path) -> None:
    nothing = Down(None, None, None)
    nothing.noted = False  # there was no trial yet
    assert down(tmp_path, nothing, Phase.STOPPING) is None
    assert down(tmp_path / "half", Down(100, None, None), Phase.STOPPING) is None
    found = down(tmp_path / "whole", Down(100, None, 140), Phase.STOPPING)
    assert found is not None and found.beyond == 40, "people started it"


def test_a_rollback_that_has_begun_had_looked_at_what_it_took_away(tmp_path: Path) -> None:
    assert down(tmp_path, Down(None, None, 100), undone=Undone.BEGUN) is None
    assert down(tmp_path / "since", Down(None, None, 140), undone=Undone.BEGUN) is not None


@pytest.mark.parametrize(
    ("revision", "token", "words"),
    [
        (130, build.TOKEN, "its backup of 2026-01-02T00:00:00Z is at revision 130"),
        (90, build.TOKEN, "is at revision 90, and the run's own data begins at 100: others restored it"),
        (100, build.TOKEN, "nobody can tell"),  # a backup never tells that nothing was written after it
        (130, "old", "nobody can tell"),
    ],
)
def test_where_no_disk_can_be_asked_the_backups_are(tmp_path: Path, revision: int, token: str, words: str) -> None:
    note = factory(revision, token)
    (tmp_path / "backups").mkdir()
    manifest.path_of(build.snapshot(tmp_path / "backups")).write_text(note.text())
    hosts = Down("bad page", "bad page", "bad page")
    run = planning(tmp_path, hosts, build.inventory(snapshot={"directory": str(tmp_path / "backups")}, etcd=BUMP))
    run.terms, run.acts = replace(run.terms, mark=MARK), True
    run.probe = hosts.run  # type: ignore[method-assign,assignment]
    found = written.who_wrote(run)
    assert found is not None and words in found.words


def factory(revision: int, token: str) -> Manifest:
    lineage, taken = Lineage(token, 7), "2026-01-02T00:00:00Z"
    return Manifest("lab", "ab" * 32, 4128, lineage, 0, revision, 2, "3.5.16", taken, "https://10.0.0.11:2379")


def test_a_plan_reads_no_database_that_a_retry_will_have_set_aside(tmp_path: Path) -> None:
    """It is still in its place, and an etcd that runs holds it: a look at it would wait."""
    hosts = Down(140, 140, 140, tried="123", disabled="123")
    run = carried_on(tmp_path, hosts)
    run.begin("m.py::TestX::test_given_nobody_wrote")
    assert written.who_wrote(run) is None
    assert not [command for command in hosts.asked if "status" in command.line()]


def test_the_steps_of_a_retry_do_not_look_again(tmp_path: Path) -> None:
    hosts = Down(140, 140, 140)
    run = planning(tmp_path, hosts)
    run.begin("runbook/retry/test_2_steps.py::TestStep0Snapshot::test_given_no_other_run_is_under_way")
    run.carry_on(MARK)
    progress = Progress.begin(run)
    snapshot_step.TestStep0Snapshot().test_given_no_other_run_is_under_way(run, progress)
    assert run.carrying_on and progress.sources.living == {}
    assert not [command for command in hosts.asked if command.argv[0] == "systemctl"]


def test_a_plan_reads_no_database_and_says_so(tmp_path: Path) -> None:
    run = carried_on(tmp_path, Down(140, 140, 140))
    run.begin("m.py::TestX::test_given_nobody_wrote")
    assert written.who_wrote(run) is None
    assert "planned as if nobody did" in "".join(run.notes)
    assert [c.argv[-1] for stage in run.stages for c in stage.commands() if "cp" in c.argv] == [
        f"{build.PLACE}/written.db"
    ] * 3
    assert run.looks, "what follows is still proven on the hosts as they are"


def test_a_plan_reads_no_database_that_only_the_plan_has_set_aside(tmp_path: Path) -> None:
    """It lies where it did meanwhile, and etcd has it open: whoever opens it there waits as long as that runs."""
    hosts = Down(100, 100, 100, tried="123", disabled="123")
    run = carried_on(tmp_path, hosts, Phase.STARTED)
    run.stage = "m.py::TestX::test_given_nobody_wrote"
    assert written.who_wrote(run) is None
    assert not [command.line() for command in hosts.asked if "snapshot status" in command.line()]
    assert "planned as if nobody did" in "".join(run.notes)


# -- in Step 0 ---------------------------------------------------------------------------------------------------


def step_0(tmp_path: Path, hosts: Hosts, kept: Manifest | None = None) -> tuple[Planning, Progress]:
    """Until it is decided whether the run is carried on."""
    backups = tmp_path / "backups"
    backups.mkdir(parents=True)
    if kept:
        manifest.path_of(build.snapshot(backups)).write_text(kept.text())
    run = planning(tmp_path, hosts, build.inventory(snapshot={"directory": str(backups)}, etcd=BUMP))
    run.begin("runbook/test_step_0_snapshot.py::TestStep0Snapshot::test_given_no_other_run_is_under_way")
    run.acts = True
    run.probe = hosts.run  # type: ignore[method-assign,assignment]
    progress = Progress.begin(run)
    snapshot_step.TestStep0Snapshot().test_given_no_other_run_is_under_way(run, progress)
    return run, progress


LIVED = replace(BORN, phase=Phase.POWERING_ON)


@pytest.mark.parametrize(
    ("hosts", "kept"),
    [
        (Down(100, 100, 140), None),
        (Down(60, 60, 60), None),
        (Down(None, None, None), factory(130, build.TOKEN)),
        (Down(None, None, None), replace(factory(100, build.TOKEN), lived=True)),
        (Down(None, None, None, beside="123"), factory(130, build.TOKEN)),
    ],
    ids=["disk", "restored by hand", "backup", "backup that says so", "backup alone"],
)
def test_a_run_whose_cluster_lived_and_is_lost_is_not_carried_on(
    tmp_path: Path, hosts: Down, kept: Manifest | None
) -> None:
    run, progress = step_0(tmp_path, hosts, kept)
    assert not run.carrying_on and progress.sources.living == {build.TOKEN: LIVED}
    assert any("was never closed, but its cluster does not run, and was written to" in note for note in run.notes)


@pytest.mark.parametrize(
    ("hosts", "kept"),
    [
        (Down(100, 100, 100), None),
        (Down("bad page", None, None), factory(100, build.TOKEN)),  # what nobody can tell is as it was: its steps ask
        (Down(None, None, None), replace(factory(130, build.TOKEN), another=True)),
        (Down(None, None, None), replace(factory(130, build.TOKEN), alone=True)),  # leases that ran out by themselves
        (Down(None, None, None), factory(130, "old")),
    ],
)
def test_one_that_nobody_is_seen_to_have_written_into_is(tmp_path: Path, hosts: Down, kept: Manifest | None) -> None:
    run, progress = step_0(tmp_path, hosts, kept)
    assert run.carrying_on and run.mark.phase is Phase.STARTED and progress.sources.living == {}


def test_one_that_runs_and_lives_is_carried_on_as_past_the_point_of_no_return(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that Deephaven is not turned off."""
    monkeypatch.setattr(facts, "has_quorum", lambda *_: True)
    run, _ = step_0(tmp_path, Acting({**RESTORED, "/main/b": (105, 0)}, PROVEN))
    assert run.carrying_on and run.mark.phase is Phase.POWERING_ON
    clean, _ = step_0(tmp_path / "clean", Running(RESTORED))
    assert clean.carrying_on and clean.mark.phase is Phase.STARTED


def test_one_that_was_written_to_before_its_data_was_proven_is_a_question_for_people(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One write must not make up for a proof of Step 5 that never held."""
    monkeypatch.setattr(facts, "has_quorum", lambda *_: True)
    with pytest.raises(written.Unproven, match="was never proven") as refused:
        step_0(tmp_path, Acting(WRITTEN))
    for way in ("pytest runbook/close --hosts=NAME", "pytest runbook/rollback --hosts=NAME --discard-new-writes"):
        assert way in refused.value.remedy


def test_what_was_rolled_back_lives_no_more(tmp_path: Path) -> None:
    hosts = Down(100, 100, 140)
    run = planning(tmp_path, hosts)
    run.acts, run.probe = True, hosts.run  # type: ignore[method-assign,assignment]
    told = facts.runs(run)
    assert written.living(run, {}, Outlived(undone={"etcd-1": frozenset({build.RUN})}), told) == {}
    undone: dict[str, Marker | None] = {"etcd-1": replace(MARK, undone=Undone.BEGUN), "etcd-2": MARK}
    assert written.living(run, undone, Outlived(), told) == {}
    assert written.living(run, {}, Outlived(), told) == {build.TOKEN: LIVED}, "its mark was moved away"


def test_one_that_others_restored_lacks_the_bump_of_its_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or all of it would be behind what was lost before."""
    monkeypatch.setattr("tests.unit.recovery.test_written.BORN", replace(BORN, bumps=90))
    _, progress = step_0(tmp_path, Down(60, 60, 60))
    assert progress.sources.living[build.TOKEN].bumps == 40
    _, bumped = step_0(tmp_path / "bumped", Down(140, 140, 140))
    assert bumped.sources.living[build.TOKEN].bumps == 90


def test_its_disks_count_as_the_lost_clusters(tmp_path: Path) -> None:
    run, progress = step_0(tmp_path, Down(100, 100, 140))
    sources.recall(run, progress.sources)
    family = progress.sources.family
    assert family.lost is not None and family.lost.token == build.TOKEN
    assert family.generation(Lineage("old", 7)) == 1 and not family.is_unborn(family.lost)


def test_every_host_is_told_so_that_old_passwords_of_that_incident_are_not_taken_over(tmp_path: Path) -> None:
    run = planning(tmp_path, Hosts())
    run.begin("m.py::TestX::test_when_the_snapshot_is_copied_to_every_new_member")
    written.note_living(run, {build.TOKEN: LIVED})
    commands = [command for stage in run.stages for command in stage.commands()]
    told = {c.host: c.stdin.decode() for c in commands if c.stdin}
    assert set(told) == set(run.terms.everyone)
    births = build.understood(history.ask_births("etcd-1", "lab"), told["query-1"])
    assert births == (LIVED,)
    assert history.first_backup("20260601t000000z-012345", [build.RUN], [], births) is None
    assert sudoers.unlisted(run.inventory, [command.line() for command in commands]) == []


def test_they_are_told_before_the_new_run_marks_them(tmp_path: Path) -> None:
    run = planning(tmp_path, Hosts())
    progress = Progress.begin(run)
    progress.sources.living = {build.TOKEN: LIVED}
    run.begin("m.py::TestX::test_when_the_snapshot_is_copied_to_every_new_member")
    snapshot_step.TestStep0Snapshot().test_when_the_snapshot_is_copied_to_every_new_member(run, progress)
    made = [path for stage in run.stages for command in stage.commands() for path in kept.targets(command.argv)]
    assert f"{build.PLACE}/birth.json" in made
    assert made.index("/var/lib/requorum/lab/run.json") > made.index(f"{build.PLACE}/birth.json")


def test_what_is_seen_of_one_run_takes_nothing_from_what_is_known_of_others() -> None:
    known = Outlived({"20250101t000000z-abcdef": Phase.DONE}, {"etcd-1": frozenset({"x"})})
    found = history.with_births(known, [LIVED, replace(BORN, run="20250202t000000z-abcdef")])
    assert found.reached == {"20250101t000000z-abcdef": Phase.DONE, build.RUN: Phase.POWERING_ON}
    assert found.undone == known.undone


# -- it stands for the comparison with the trial -----------------------------------------------------------------


class Asked(Hosts):
    """A running cluster, asked for hashes, counts and names as of the trial's revision."""

    def __init__(self, proven: Proven | None, compacted: int | None, digest: int, users: tuple[str, ...]) -> None:
        super().__init__()
        self.proven, self.compacted, self.digest, self.users = proven, compacted, digest, users
        self.verbs = list[str]()

    def each(self, hosts: Iterable[str], work: Any) -> dict[str, Any]:
        return {host: work(cast(Machine, SimpleNamespace(name=host, ask=self.tell))) for host in hosts}

    def tell(self, question: Question[Any]) -> Any:
        return question.understand([self.say(command) for command in question.commands])

    def say(self, command: Command) -> Result:
        argv = command.argv
        self.verbs.append(next(word for word in ("hashkv", "list", "get") if word in argv))
        if "hashkv" in argv and self.compacted is None:
            return Result(command, 1, "", COMPACTED, 0.0)
        told: Any = {"count": 2}
        if "hashkv" in argv:
            one = {"hash": self.digest, "compact_revision": self.compacted}
            told = [{"Endpoint": f"https://10.0.0.1{n}:2379", "HashKV": one} for n in (1, 2, 3)]
        elif "list" in argv:
            told = {"users": list(self.users), "roles": ["root"]}
        return build.answered(command, json.dumps(told))

    def answer(self, command: Command) -> tuple[int, str]:
        if command.argv[0] == "cat" and command.argv[1].endswith("/trial.json"):
            return 0, build.stdins([trial.note(build.terms(), "infra-1", BEGAN)])[0].decode()
        if command.argv[0] == "cat" and command.argv[1].endswith("/proven.json"):
            return (
                (0, build.stdins([beginning.note(build.terms(), self.proven)])[0].decode()) if self.proven else (1, "")
            )
        return super().answer(command)


def compared(
    tmp_path: Path,
    proven: Proven | None,
    compacted: int | None,
    digest: int = BEGAN.hash,
    users: tuple[str, ...] = BEGAN.users,
    tried: Trial = BEGAN,
) -> int | None:
    return as_tried(tmp_path, Asked(proven, compacted, digest, users), tried, trial.Asked())


def as_tried(tmp_path: Path, hosts: Asked, tried: Trial, asked: trial.Asked) -> int | None:
    run = carried_on(tmp_path, hosts)
    run.begin("m.py::TestX::test_then_it_is_what_the_trial_found")
    run.stages[-1].looked = True
    run.options = replace(run.options, timeout_scale=0.0)
    return trial.it_is_what_the_trial_found(run, tried, "https://10.0.0.11:2379", asked)


def test_as_the_trial_found_it(tmp_path: Path) -> None:
    assert compared(tmp_path, None, 90) == 90


@pytest.mark.parametrize("compacted", [None, 100, 118])
def test_what_was_compacted_since_is_stood_for_by_the_note(tmp_path: Path, compacted: int | None) -> None:
    """A compaction up to the very revision leaves another hash of it, and no error."""
    assert compared(tmp_path, PROVEN, compacted, digest=8) == compacted


@pytest.mark.parametrize(
    ("proven", "compacted", "wrong"),
    [
        (None, None, "compacted"),
        (None, 100, "hash 8"),
        (PROVEN, 90, "hash 8"),  # it can still be compared
        (replace(PROVEN, hash=6), 118, "hash 8"),  # a note of another trial
        (replace(PROVEN, revision=99), None, "compacted"),
    ],
)
def test_without_such_a_note_it_stays_refused(
    tmp_path: Path, proven: Proven | None, compacted: int | None, wrong: str
) -> None:
    with pytest.raises(Disproved, match=wrong):
        compared(tmp_path, proven, compacted, digest=8)


def test_users_are_compared_all_the_same(tmp_path: Path) -> None:
    with pytest.raises(Disproved, match="users guest, root"):
        compared(tmp_path, PROVEN, None, users=("root", "guest"))
