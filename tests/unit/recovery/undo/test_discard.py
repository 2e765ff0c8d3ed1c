"""Who wrote is observed: a mark that says less than the running cluster holds is not believed."""

from __future__ import annotations

import base64
import contextlib
import json
from pathlib import Path

import pytest

from requorum.command import Command
from requorum.recovery import trial, written
from requorum.recovery.trial import Trial
from requorum.recovery.undo import retry, rollback, state
from requorum.recovery.undo.baseline import Difference
from requorum.recovery.written import Wrote
from requorum.run import marker
from requorum.run.marker import Phase
from requorum.troubleshoot import sudoers
from runbook.retry import test_1_set_aside as retrying
from runbook.rollback import test_rollback as rolling
from runbook.rollback.conftest import Past
from tests.unit import build
from tests.unit.run.test_dryrun import Hosts, config, planning

MEMBERS = "etcd-1=etcd-1/10.0.0.11 etcd-2=etcd-2/10.0.0.12 etcd-3=etcd-3/10.0.0.13"
MARK = build.mark(Phase.STARTED, members=MEMBERS, snapshot="cd" * 32)
BEGAN = Trial(MARK.snapshot, 100, 7, {"": 2}, ("root",), ("root",))
PROBE = f"/requorum/{build.RUN}/1"
Rows = dict[str, tuple[int, int]]  # key → (the revision that wrote it, its lease)
RESTORED: Rows = {"/main/a": (40, 0), "/presence/b": (50, 9)}


def keys(revision: int, rows: Rows) -> str:
    found = [
        {"key": base64.b64encode(key.encode()).decode(), "mod_revision": at, "lease": lease}
        for key, (at, lease) in rows.items()
    ]
    return json.dumps({"header": {"revision": revision}, "kvs": found})


class Running(Hosts):
    """The run's cluster runs, with `now`; None where it does not answer. `kept`: what it began with can still be read.
    `noted`: the trial is; `ours`: how many members have the run's configuration; `revision`: where the store is."""

    def __init__(
        self, now: Rows | None, kept: bool = True, noted: bool = True, ours: int = 3, revision: int = 120
    ) -> None:
        super().__init__()
        self.now, self.kept, self.noted, self.ours, self.revision = now, kept, noted, ours, revision

    def answer(self, command: Command) -> tuple[int, str]:
        argv, host = command.argv, command.host
        if argv[0] == "cat" and argv[1].endswith("/run.json"):
            return 0, build.stdins([marker.write(host, "lab", MARK)])[0].decode()
        if argv[0] == "cat" and argv[1].endswith("config.yaml"):
            token = build.TOKEN if int(host[-1]) <= self.ours else "old"
            return 0, config(int(host[-1])).replace("token: old", f"token: {token}")
        if argv[0] == "cat" and argv[1].endswith("/trial.json"):
            said = build.stdins([trial.note(build.terms(), host, BEGAN)])[0].decode()
            return (0, said) if self.noted else (1, "")
        if "--keys-only" in argv and "--rev=100" in argv:
            return (0, keys(120, RESTORED)) if self.kept else (1, "required revision has been compacted")
        if "--keys-only" in argv:
            return (1, "no leader") if self.now is None else (0, keys(self.revision, self.now))
        return super().answer(command)


LEASE_RAN_OUT: Rows = {"/main/a": (40, 0), PROBE: (101, 0)}
WRITTEN: Rows = {**RESTORED, "/main/config/new": (117, 0)}


def found(tmp_path: Path, hosts: Running, phase: Phase = Phase.STARTED) -> Wrote | None:
    run = planning(tmp_path, hosts)
    run.begin("m.py::TestX::test_given_nobody_wrote")
    run.carry_on(build.mark(phase, members=MEMBERS, snapshot=MARK.snapshot), "rolling back")
    wrote = written.who_wrote(run)
    planned = [command for stage in run.stages for command in stage.commands()]
    assert sudoers.unlisted(run.inventory, [command.line() for command in (*hosts.asked, *planned)]) == []
    return wrote


@pytest.mark.parametrize(
    ("hosts", "wrote"),
    [
        (Running(RESTORED), None),
        (Running(LEASE_RAN_OUT), None),  # and our own probe, where a run was cut before it took it away
        (Running(WRITTEN), "'/main/config/new' was written after revision 100"),
        (Running({"/presence/b": (50, 9)}), "'/main/a' had no lease, and was deleted after revision 100"),
        (Running(WRITTEN, kept=False), "'/main/config/new' was written after revision 100"),
        (Running(RESTORED, kept=False), "what it began with cannot be asked any more"),
        (Running(RESTORED, noted=False), "nobody knows any more at which revision it began"),
        (Running(None), None),  # no quorum: a plan reads no database
        (Running(WRITTEN, ours=1), "etcd-2: has no configuration of it"),  # another cluster's keys say nothing of it
    ],
)
def test_what_the_running_cluster_holds_beyond_its_beginning_was_written(
    tmp_path: Path, hosts: Running, wrote: str | None
) -> None:
    said = found(tmp_path, hosts)
    assert said is None if wrote is None else wrote in str(said)


def test_a_mark_that_says_so_itself_is_not_asked_about(tmp_path: Path) -> None:
    assert found(tmp_path, Running(WRITTEN), Phase.POWERING_ON) is None


def test_a_rollback_of_a_cluster_that_was_written_to_needs_the_operators_word_and_saves_it(tmp_path: Path) -> None:
    run = planning(tmp_path, Running(WRITTEN))
    run.begin("runbook/rollback/test_rollback.py::TestRollback::test_given_a_run_may_be_rolled_back")
    with pytest.raises(rollback.RollbackError, match="'/main/config/new' was written") as refused:
        rolling.TestRollback().test_given_a_run_may_be_rolled_back(run, Past())
    assert "pytest runbook/rollback --hosts=NAME --discard-new-writes" in str(refused.value)
    word = planning(tmp_path / "word", Running(WRITTEN), discard=True)
    word.begin("runbook/rollback/test_rollback.py::TestRollback::test_given_a_run_may_be_rolled_back")
    rolling.TestRollback().test_given_a_run_may_be_rolled_back(word, Past())
    assert word.mark.phase is Phase.POWERING_ON, "so that it is saved first"


def test_who_wrote_after_the_first_look_is_seen_before_etcd_is_stopped(tmp_path: Path) -> None:
    """Until Deephaven is off, or where a retry finds it off only later, somebody may write between."""
    hosts = Running(RESTORED)
    run = planning(tmp_path, hosts)
    run.begin("runbook/retry/test_1_set_aside.py::TestRetry::test_given_a_run_got_to_step_4")
    retrying.TestRetry().test_given_a_run_got_to_step_4(run)
    hosts.now = WRITTEN
    run.begin("runbook/retry/test_1_set_aside.py::TestRetry::test_when_the_new_etcd_is_stopped")
    with pytest.raises(retry.RetryError, match="'/main/config/new' was written"):
        retrying.TestRetry().test_when_the_new_etcd_is_stopped(run)
    assert run.stages[-1].commands() == [], "nothing was stopped"


class Mute(Running):
    """Its keys cannot be asked any more, and its members tell a revision far beyond the beginning."""

    def answer(self, command: Command) -> tuple[int, str]:
        if command.argv[0] == "curl" and any("/metrics" in word for word in command.argv):
            return 0, "etcd_server_has_leader 1\netcd_debugging_mvcc_current_revision 9000\n"
        return super().answer(command)


def test_keys_that_cannot_be_asked_at_the_second_look_are_no_proof_that_nobody_wrote(tmp_path: Path) -> None:
    run = planning(tmp_path, Mute(None))
    run.begin("m.py::TestX::test_given_nobody_wrote")
    run.carry_on(build.mark(Phase.STARTED, members=MEMBERS, snapshot=MARK.snapshot), "rolling back")
    assert "at revision 9,000" in str(written.who_wrote_since(run))


@pytest.mark.parametrize("word", [False, True])
def test_a_rollback_looks_again_once_deephaven_is_off(
    tmp_path: Path, word: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    hosts, stage = Running(RESTORED), "runbook/rollback/test_rollback.py::TestRollback::"
    run, past = planning(tmp_path, hosts, discard=word), Past()
    run.begin(f"{stage}test_given_a_run_may_be_rolled_back")
    rolling.TestRollback().test_given_a_run_may_be_rolled_back(run, past)
    assert run.mark.phase < Phase.POWERING_ON
    monkeypatch.setattr(state, "differences", lambda *_: {"etcd-1": Difference(("/etc/etcd/dh/new",), ())})
    hosts.now = WRITTEN
    run.begin(f"{stage}test_when_deephaven_is_turned_off")
    with contextlib.nullcontext() if word else pytest.raises(rollback.RollbackError, match="Deephaven is off now"):
        rolling.TestRollback().test_when_deephaven_is_turned_off(run, past)
    assert run.mark.phase == Phase.POWERING_ON, "so that it is saved first"


def test_a_retry_of_it_is_refused_and_a_clean_one_is_not(tmp_path: Path) -> None:
    stage = "runbook/retry/test_1_set_aside.py::TestRetry::test_given_a_run_got_to_step_4"
    run = planning(tmp_path, Running(WRITTEN))
    run.begin(stage)
    with pytest.raises(retry.RetryError, match="pytest runbook/close --hosts=NAME"):
        retrying.TestRetry().test_given_a_run_got_to_step_4(run)
    clean = planning(tmp_path / "clean", Running(RESTORED))
    clean.begin(stage)
    retrying.TestRetry().test_given_a_run_got_to_step_4(clean)
