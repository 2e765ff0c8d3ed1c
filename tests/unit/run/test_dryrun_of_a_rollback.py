"""A rollback planned on hosts that only answer questions: what goes and what comes back is told from their record."""

from __future__ import annotations

import importlib
import inspect
import json
from dataclasses import asdict
from pathlib import Path

import pytest

from requorum import procedures
from requorum.command import Command, Fetch
from requorum.hosts.system import Entry
from requorum.recovery import trial
from requorum.recovery.progress import Progress
from requorum.recovery.trial import Trial
from requorum.recovery.undo import state
from requorum.recovery.undo.baseline import Record
from requorum.refusal import Refusal
from requorum.run import marker
from requorum.run.dryrun import Planning
from requorum.run.marker import Phase, Undone
from requorum.troubleshoot import sudoers
from runbook.retry.test_1_set_aside import TestRetry as Retry
from runbook.rollback.conftest import Past
from runbook.test_step_0_snapshot import TestStep0Snapshot as Step0
from tests.unit import build, world
from tests.unit.run.test_dryrun import FRAGMENT, ROOT, Hosts, actions, config, lines, planning

CONFIGURED = "/etc/etcd/dh"
MEMBERS = "etcd-1=etcd-1/10.0.0.11 etcd-2=etcd-2/10.0.0.12 etcd-3=etcd-3/10.0.0.13"


def link(target: str) -> Entry:
    return Entry(f"{CONFIGURED}/latest", "l", "", "root:root", f"{CONFIGURED}/{target}")


WAS = (Entry(CONFIGURED, "d", "755", "root:root"), link("old"), Entry(FRAGMENT, "f", "644", "root:root", "", "a" * 64))
NOW = (
    WAS[0],
    link("new"),
    Entry(f"{CONFIGURED}/new", "d", "755", "root:root"),
    Entry(FRAGMENT, "f", "644", "root:root", "", "c" * 64),
)


class Changed(Hosts):
    """Hosts on which a run has got as far as starting the new etcd."""

    def answer(self, command: Command) -> tuple[int, str]:
        argv = command.argv
        if argv[0] == "cat" and argv[1].endswith("/run.json"):
            mark = build.mark(Phase.STARTED, members=MEMBERS)
            return 0, build.stdins([marker.write(command.host, "lab", mark)])[0].decode()
        if argv[0] == "cat" and argv[1].endswith("/record.json"):
            return 0, json.dumps(asdict(Record(WAS, "enabled", True, True)))
        if "sha256sum -z" in " ".join(argv):
            words = [word for e in NOW for word in (f"{e.kind} {e.mode or '777'} {e.owner}", e.path, e.target)]
            return 0, "".join(f"{word}\0" for word in words) + f"{'c' * 64}  {FRAGMENT}\0"
        if "dh_monit" in argv[0]:
            return 0, "Process 'dispatcher'  OK\n"
        return super().answer(command)


class Started(Changed):
    """The same; its cluster runs, and nobody wrote into it."""

    def answer(self, command: Command) -> tuple[int, str]:
        argv, host = command.argv, command.host
        if argv[0] == "cat" and argv[1].endswith("config.yaml"):
            return 0, config(int(host[-1])).replace("token: old", f"token: {build.TOKEN}")
        if argv[0] == "cat" and argv[1].endswith("/trial.json"):
            tried = Trial("", 100, 7, {"": 0}, (), ())
            return 0, build.stdins([trial.note(build.terms(), host, tried)])[0].decode()
        if "--keys-only" in argv:
            return 0, json.dumps({"header": {"revision": 100}})
        return super().answer(command)


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Planning:
    return through(planning(tmp_path_factory.mktemp("rollback"), Started()))


def through(run: Planning) -> Planning:
    past = Past()
    for nodeid in procedures.expected(ROOT / "runbook/rollback", ROOT):
        path, step, name = nodeid.split("::")
        module = importlib.import_module(path.removesuffix(".py").replace("/", "."))
        stage = getattr(getattr(module, step)(), name)
        run.begin(nodeid)
        if "room" not in name:
            try:
                stage(run, past) if "past" in inspect.signature(stage).parameters else stage(run)
            except Refusal as error:
                if not run.pardons(error):
                    raise
        run.end(nodeid, "passed", 0.0, "")
    return run


class Discarded(Changed):
    """Hosts on which the run is done, and the new cluster runs."""

    def answer(self, command: Command) -> tuple[int, str]:
        line = " ".join(command.argv)
        if command.argv[0] == "cat" and command.argv[1].endswith("/run.json"):
            mark = build.mark(Phase.DONE, members=MEMBERS)
            return 0, build.stdins([marker.write(command.host, "lab", mark)])[0].decode()
        if command.argv[0] == "cat" and command.argv[1].endswith("config.yaml"):
            return 0, config(int(command.host[-1])).replace("token: old", f"token: {build.TOKEN}")
        if "endpoint health" in line:
            return 0, world.health()
        if "endpoint status" in line:
            return 0, json.dumps([world.status(f"https://10.0.0.1{number}:2379") for number in (1, 2, 3)])
        return super().answer(command)


def test_the_save_of_what_is_discarded_is_planned_and_nothing_is_written_on_this_machine(tmp_path: Path) -> None:
    kept = tmp_path / "backups"
    inventory = build.inventory(snapshot={"directory": str(kept)})
    run = through(planning(tmp_path, Discarded(), inventory, discard=True))
    assert "snapshot save" in lines(run, "when_the_new_cluster_is_saved")
    (fetch,) = [a for a in actions(run, "when_the_new_cluster_is_saved") if isinstance(a, Fetch)]
    assert fetch.target == f"{kept}/discarded/lab-‹time›.snap.part"
    assert [row["line"] for row in run.rows() if row["copy"] == fetch.shown()] == [fetch.reads().shown()]
    assert not kept.exists()
    assert "touch" in lines(run, "when_the_run_is_closed")


class Left(Changed):
    """Hosts that were rolled back while query-1 was gone; a later diagnosis has overwritten the mark of one of them."""

    def answer(self, command: Command) -> tuple[int, str]:
        if command.argv[0] == "cat" and command.argv[1].endswith("/run.json"):
            undone = Undone.NO if command.host == "query-1" else Undone.ROLLED_BACK
            mark = build.mark(Phase.STARTED, members=MEMBERS, undone=undone)
            mark = build.mark(run="20260202t000000z-012345") if command.host == "etcd-1" else mark
            return 0, build.stdins([marker.write(command.host, "lab", mark)])[0].decode()
        if "rolled-back" in command.argv and command.host != "query-1":
            return 0, f"{build.RUN}/rolled-back\n"
        return super().answer(command)


def test_a_host_that_was_gone_during_the_rollback_is_rolled_back_and_no_other_is_touched(tmp_path: Path) -> None:
    run = through(planning(tmp_path, Left()))
    ours = [stage for stage in run.stages if not stage.nodeid.endswith("locked")]
    assert {c.host for stage in ours for c in stage.commands() if c.changes and c.argv[0] != "logger"} == {"query-1"}
    assert lines(run, "when_deephaven_is_turned_off").count("dh_monit down") == 1
    assert lines(run, "when_what_was_there_before_is_put_back").count(f"{FRAGMENT} {FRAGMENT}") == 1
    assert lines(run, "when_deephaven_is_turned_on_where_it_was_on").count("dh_monit up") == 1
    assert lines(run, "when_the_run_is_closed").count(f"touch {build.PLACE}/rolled-back") == 1
    assert run.last_words[0] == f"Rolled back run {build.RUN}: query-1, gone until now, is as it was before."


class Back(Changed):
    """The same, but etcd-2 and etcd-3 were gone until now; the run has been at etcd-3 nevertheless."""

    def answer(self, command: Command) -> tuple[int, str]:
        if command.host in ("etcd-2", "etcd-3") and command.argv[-1].endswith("/record.json"):
            return 1, ""
        code, text = super().answer(command)
        return code, text.replace("/new", f"/{build.TOKEN}" if command.host == "etcd-3" else "/other")


class Traced(Back):
    """The same, and the run has left something in its own directory on etcd-2."""

    def __init__(self, trace: str) -> None:
        super().__init__()
        self.trace = build.terms().place(trace)

    def answer(self, command: Command) -> tuple[int, str]:
        if command.host == "etcd-2" and command.argv[0] == "find" and self.trace in command.argv:
            return 0, f"1:1 {self.trace}\n"
        return super().answer(command)


def test_a_machine_that_was_gone_is_recorded_before_the_run_that_is_carried_on_changes_it(tmp_path: Path) -> None:
    run = planning(tmp_path, Back())
    run.carry_on(build.mark(Phase.STARTED, members=MEMBERS), "carrying on")

    found = state.as_it_is(run)

    assert list(found) == ["etcd-2"]
    assert {entry.path for entry in found["etcd-2"].entries} >= {CONFIGURED, f"{CONFIGURED}/other"}


@pytest.mark.parametrize("trace", ["aside", "client.before", "query.tgz", "server.tgz"])
def test_a_host_without_a_record_that_the_run_has_changed_is_not_recorded_as_it_is_now(
    tmp_path: Path, trace: str
) -> None:
    """An old member whose unit was set aside, a Deephaven host with a new client configuration: no token is there."""
    hosts = Traced(trace)
    run = planning(tmp_path, hosts)
    run.carry_on(build.mark(Phase.STARTED, members=MEMBERS), "carrying on")

    assert state.as_it_is(run) == {}
    assert sudoers.unlisted(run.inventory, [command.line() for command in hosts.asked]) == []


def test_what_the_run_brought_is_set_aside_and_what_was_there_comes_back(planned: Planning) -> None:
    away = lines(planned, "when_what_the_run_brought_is_set_aside")
    assert away.count(f"-T {CONFIGURED}/new ") == 5 and away.count(f"-T {FRAGMENT} ") == 5
    back = lines(planned, "when_what_was_there_before_is_put_back")
    assert back.count(f"{FRAGMENT} {FRAGMENT}") == 5 and back.count(f" {CONFIGURED}/latest") == 5


class Ahead(Started):
    """etcd-2 restored before the commit, and that has not got its place."""

    def answer(self, command: Command) -> tuple[int, str]:
        beside = f"/var/lib/etcd/requorum-{build.RUN}"
        if command.host == "etcd-2" and beside in command.argv:
            return 0, f"1:1 {beside}\n1:2 {beside}/data\n"
        return super().answer(command)


def test_what_was_restored_and_never_got_its_place_is_removed_where_it_is(tmp_path: Path, planned: Planning) -> None:
    removes = f"rm -rf /var/lib/etcd/requorum-{build.RUN}"
    run = through(planning(tmp_path, Ahead()))
    away = [line for line in lines(run, "when_what_the_run_brought_is_set_aside").splitlines() if removes in line]
    assert len(away) == 1 and away[0].startswith("etcd-2: ")
    assert removes not in lines(planned, "when_what_the_run_brought_is_set_aside")


def test_old_logins_that_a_trial_left_unpacked_are_removed_before_anything_is_undone(planned: Planning) -> None:
    marked = lines(planned, "when_the_run_is_marked").splitlines()
    scratch = f"/var/lib/etcd/requorum-{build.RUN}.scratch"
    assert len([line for line in marked if line.endswith(f"rm -rf {build.PLACE}/trial {scratch}")]) == 3
    assert len([line for line in marked if line.endswith(f"rm -f {build.PLACE}/logins.tar")]) == 1


@pytest.mark.parametrize("carried_on", [True, False])
def test_a_run_that_is_carried_on_first_removes_old_logins_that_its_trial_left_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, carried_on: bool
) -> None:
    monkeypatch.setattr(Progress, "advance", lambda *_, **__: None)
    run = planning(tmp_path, Back())
    if carried_on:
        run.carry_on(build.mark(Phase.STOPPING, members=MEMBERS))
    stage = "when_the_snapshot_is_copied_to_every_new_member"
    run.begin(f"runbook/test_step_0_snapshot.py::TestStep0Snapshot::test_{stage}")
    Step0().test_when_the_snapshot_is_copied_to_every_new_member(run, Progress())
    removed = [line for line in lines(run, stage).splitlines() if "/trial" in line or "/logins.tar" in line]
    assert len(removed) == (3 + 1 if carried_on else 0)


def test_deephaven_is_turned_off_and_on_again(planned: Planning) -> None:
    assert lines(planned, "when_deephaven_is_turned_off").count("dh_monit down") == 2
    assert lines(planned, "when_deephaven_is_turned_on_where_it_was_on").count("dh_monit up") == 2


def test_etcd_is_stopped_and_started_where_it_ran(planned: Planning) -> None:
    assert "systemctl stop" in lines(planned, "when_the_new_etcd_is_stopped")
    assert "systemctl start" in lines(planned, "when_etcd_is_started_where_it_ran")


def test_the_plan_names_the_run_that_is_undone(planned: Planning) -> None:
    assert build.RUN in lines(planned, "when_the_run_is_closed")


def test_a_retry_removes_what_never_got_its_place_and_sets_aside_what_did(tmp_path: Path) -> None:
    run = planning(tmp_path, Ahead())
    run.carry_on(build.mark(Phase.STARTED, members=MEMBERS))
    run.begin("runbook/retry/test_1_set_aside.py::TestRetry::test_when_the_data_is_set_aside_on_every_member")
    Retry().test_when_the_data_is_set_aside_on_every_member(run)
    made = lines(run, "when_the_data_is_set_aside_on_every_member").splitlines()
    removed = [line for line in made if f"rm -rf /var/lib/etcd/requorum-{build.RUN}" in line]
    assert len(removed) == 1 and removed[0].startswith("etcd-2: ")
