"""Going back and trying again as data: what is refused, what is taken away, what comes back, command by command."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from requorum.cluster.lineage import Lineage
from requorum.command import Command
from requorum.hosts.systemd import Unit
from requorum.recovery.undo import discard, retry, rollback
from requorum.recovery.undo.baseline import Difference, Record
from requorum.refusal import Refusal
from requorum.run import facts
from requorum.run.dryrun import Planning
from requorum.run.marker import Marker, MarkerError, Outlived, Phase, Undone, left_behind, to_carry_on, to_roll_back
from requorum.snapshots.manifest import Manifest
from requorum.snapshots.vault import Vault
from runbook.retry import test_1_set_aside as retrying
from runbook.rollback import test_rollback as rolling
from runbook.rollback.conftest import Past
from tests.unit import build
from tests.unit.build import (
    ABSENT,
    BIN,
    HUGE,
    LONG,
    PLACE,
    RUNNING,
    SCOPE,
    SHORT,
    STOPPED,
    TOKEN,
    UNIT,
    lines,
    understood,
)
from tests.unit.recovery.test_written import Down
from tests.unit.recovery.undo.test_baseline import DATA, HOST, LATEST, OLD, UNIT_FILE
from tests.unit.run.test_dryrun import planning

LATER = "20260202t000000z-012345"
NEW = Difference(("/etc/etcd/dh/latest", "/etc/etcd/dh/new", f"/var/lib/etcd/dh/{TOKEN}"), ("/etc/etcd/dh/latest",))
SAME = Difference()
BEFORE = {"etcd-1": Record(HOST, "enabled", True, None), "etcd-2": Record(HOST, "disabled", False, None)}
STARTING = Unit("loaded", "activating", "start", "enabled", "")


class TestMayItBe:
    @pytest.mark.parametrize("phase", [Phase.OPEN, Phase.STOPPING, Phase.STARTED])
    def test_before_power_on_nothing_can_be_lost(self, phase: Phase) -> None:
        assert rollback.refusal(build.mark(phase), False, "prod") is None

    @pytest.mark.parametrize("phase", [Phase.POWERING_ON, Phase.DONE])
    def test_after_it_only_with_the_operators_word(self, phase: Phase) -> None:
        refusal = rollback.refusal(build.mark(phase), False, "prod")
        assert refusal is not None
        assert "pytest runbook/rollback --hosts=prod --discard-new-writes" in str(refusal)
        assert rollback.refusal(build.mark(phase), True, "prod") is None

    @pytest.mark.parametrize("undone", [Undone.BEGUN, Undone.SAVED])
    def test_an_interrupted_one_needs_the_word_again(self, undone: Undone) -> None:
        assert rollback.refusal(build.mark(Phase.DONE, undone=undone), False, "prod") is not None
        assert rollback.refusal(build.mark(Phase.STARTED, undone=undone), False, "prod") is None

    @pytest.mark.parametrize("phase", Phase)
    def test_what_was_rolled_back_is_not_rolled_back_again(self, phase: Phase) -> None:
        refusal = rollback.refusal(build.mark(phase, undone=Undone.ROLLED_BACK), True, "prod")
        assert "was rolled back already" in str(refusal)

    def test_a_host_without_a_record_stops_it_once_the_run_changed_anything(self) -> None:
        found: dict[str, Record | None] = {"etcd-1": BEFORE["etcd-1"], "etcd-2": None}
        assert rollback.without_record(build.mark(Phase.STOPPING), found) == {
            "etcd-1": None,
            "etcd-2": "no record of it",
        }
        assert not any(rollback.without_record(build.mark(Phase.OPEN), found).values())


class TestTakingAway:
    def test_deephaven_is_turned_off_on_all_its_hosts_as_soon_as_one_host_has_changed(self) -> None:
        plan = rollback.turn_deephaven_off(build.terms(), {"etcd-1": NEW, "infra-1": SAME})
        assert lines(plan) == [f"{host}: {LONG} {BIN}/dh_monit down --block" for host in ("infra-1", "query-1")]

    def test_it_stays_on_where_nothing_is_to_be_undone(self) -> None:
        assert rollback.turn_deephaven_off(build.terms(), {"etcd-1": SAME, "infra-1": SAME}) == []

    def test_past_the_point_of_no_return_it_is_turned_off_too(self) -> None:
        assert len(rollback.turn_deephaven_off(build.terms(Phase.DONE), {"etcd-1": NEW})) == 2

    def test_an_old_etcd_that_was_never_touched_goes_on(self) -> None:
        units = {"etcd-1": RUNNING, "etcd-2": RUNNING, "etcd-3": STOPPED}
        plan = rollback.stop_etcd(build.inventory(), units, {"etcd-1": NEW, "etcd-2": SAME, "etcd-3": NEW})
        assert lines(plan) == [f"etcd-1: {LONG} systemctl stop {UNIT}"]

    def test_what_the_run_brought_is_moved_never_deleted(self) -> None:
        assert lines(rollback.set_aside(build.terms(), {"etcd-1": NEW, "etcd-2": SAME})) == [
            f"etcd-1: {SHORT} mkdir -p {PLACE}/brought",
            f"etcd-1: {HUGE} {SCOPE} mv --backup=numbered -T /etc/etcd/dh/latest {PLACE}/brought/etc_etcd_dh_latest",
            f"etcd-1: {HUGE} {SCOPE} mv --backup=numbered -T /etc/etcd/dh/new {PLACE}/brought/etc_etcd_dh_new",
            (
                f"etcd-1: {HUGE} {SCOPE} mv --backup=numbered -T /var/lib/etcd/dh/{TOKEN} "
                f"{PLACE}/brought/var_lib_etcd_dh_{TOKEN}"
            ),
            f"etcd-1: {SHORT} systemctl daemon-reload",
        ]


class TestPuttingBack:
    def test_it_is_copied_from_the_record_and_systemd_is_told(self) -> None:
        lacking = Difference((), (LATEST.path, UNIT_FILE.path), ())
        assert lines(rollback.put_back(build.terms(), {"etcd-1": lacking}, BEFORE)) == [
            f"etcd-1: {LONG} {SCOPE} cp -a -T {PLACE}/before/tree/etc/etcd/dh/latest /etc/etcd/dh/latest",
            (
                f"etcd-1: {LONG} {SCOPE} cp -a -T {PLACE}/before/tree/usr/lib/systemd/system/{UNIT} "
                f"/usr/lib/systemd/system/{UNIT}"
            ),
            f"etcd-1: {SHORT} systemctl daemon-reload",
        ]

    def test_a_directory_gets_its_owner_and_mode_again_in_place(self) -> None:
        assert lines(rollback.put_back(build.terms(), {"etcd-1": Difference(retouched=(OLD,))}, BEFORE)) == [
            f"etcd-1: {SHORT} chown root:etcd {OLD.path}",
            f"etcd-1: {SHORT} chmod 750 {OLD.path}",
        ]

    def test_data_was_never_copied_so_it_is_left_to_the_proof(self) -> None:
        assert rollback.put_back(build.terms(), {"etcd-1": Difference((), (DATA[1].path,))}, BEFORE) == []

    def test_a_host_as_it_was_needs_nothing(self) -> None:
        assert rollback.put_back(build.terms(), {"etcd-1": SAME}, BEFORE) == []

    def test_etcd_starts_where_it_ran_and_is_not_started_twice(self) -> None:
        plan = rollback.start_etcd(build.inventory(), {"etcd-1": STOPPED, "etcd-2": STOPPED}, BEFORE)
        assert lines(plan) == [f"etcd-1: {SHORT} systemctl start --no-block {UNIT}"]
        assert rollback.start_etcd(build.inventory(), {"etcd-1": STARTING, "etcd-2": ABSENT}, BEFORE) == []

    def test_deephaven_comes_back_where_it_was_on_the_configuration_server_first(self) -> None:
        on, off, unknown = (Record((), "", False, known) for known in (True, False, None))
        terms = build.terms(of=build.inventory())
        both = rollback.turn_deephaven_back(terms, {"infra-1": False, "query-1": False}, {"query-1": on, "infra-1": on})
        assert lines(both) == [f"{host}: {LONG} {BIN}/dh_monit up --block" for host in ("infra-1", "query-1")]
        assert all(command.accept is None for command in both), "the old etcd may be dead"
        for record in (off, unknown):
            same = {"infra-1": record, "query-1": record}
            assert rollback.turn_deephaven_back(terms, {"infra-1": False, "query-1": False}, same) == []
        already = rollback.turn_deephaven_back(
            terms, {"infra-1": True, "query-1": True}, {"infra-1": on, "query-1": on}
        )
        assert already == []


class TestRoom:
    def test_only_what_lies_on_another_disk_needs_any(self) -> None:
        question = rollback.ask_disk(build.terms(), "etcd-1", ["/x"])
        assert understood(question, "1000\n").lacks is None
        assert understood(question, "1000\n400\n600\n").lacks is None
        assert understood(question, "1000\n400\n601\n").lacks == "1,000 of 1,001 bytes"
        for text in ("", "1000 much", "df: no"):
            with pytest.raises(Refusal, match="etcd-1: gave an answer that is not understood"):
                understood(question, text)


def marks(*found: Marker | None) -> dict[str, Marker | None]:
    return {f"etcd-{number}": mark for number, mark in enumerate(found, start=1)}


class TestMarks:
    @pytest.mark.parametrize("phase", Phase)
    @pytest.mark.parametrize("undone", [Undone.BEGUN, Undone.SAVED])
    def test_while_a_rollback_is_unfinished_nobody_recovers(self, phase: Phase, undone: Undone) -> None:
        mark = build.mark(phase, undone=undone)
        with pytest.raises(MarkerError) as error:
            to_carry_on(marks(None, build.mark(phase), mark), "prod")
        assert f"finish it first: {mark.rollback('prod')}" in str(error.value)
        assert to_roll_back(marks(None, build.mark(phase), mark)) == mark

    @pytest.mark.parametrize("phase", Phase)
    def test_a_run_that_any_host_knows_to_be_rolled_back_is_over(self, phase: Phase) -> None:
        over = build.mark(phase, undone=Undone.ROLLED_BACK)
        assert to_carry_on(marks(over, build.mark(phase, undone=Undone.BEGUN), build.mark(phase))) is None
        assert to_roll_back(marks(over, build.mark(phase, undone=Undone.BEGUN))) == over

    def test_the_run_under_way_is_rolled_back_rather_than_a_newer_diagnosis(self) -> None:
        under_way = build.mark(Phase.STARTED)
        assert to_roll_back(marks(build.mark(Phase.OPEN, LATER), under_way)) == under_way

    def test_without_one_it_is_the_newest(self) -> None:
        assert to_roll_back(marks(build.mark(Phase.DONE), build.mark(Phase.DONE, LATER), None)) == build.mark(
            Phase.DONE, LATER
        )

    def test_a_host_that_was_gone_during_the_rollback_is_left_and_it_alone(self) -> None:
        over, own = build.mark(Phase.STARTED, undone=Undone.ROLLED_BACK), build.mark(Phase.STOPPING)
        wanted = build.mark(Phase.STARTED, undone=Undone.SAVED), ("etcd-2",)
        assert left_behind(marks(over, own, over), Outlived()) == wanted
        noted = Outlived({}, {"etcd-1": frozenset({build.RUN}), "etcd-2": frozenset()})
        diagnosed = build.mark(Phase.OPEN, LATER)
        assert left_behind(marks(diagnosed, build.mark(Phase.STARTED), None), noted) == wanted

    def test_nobody_is_left_who_was_rolled_back_or_never_changed(self) -> None:
        over, begun = build.mark(Phase.DONE, undone=Undone.ROLLED_BACK), build.mark(Phase.DONE, undone=Undone.BEGUN)
        noted = Outlived({}, {"etcd-2": frozenset({build.RUN})})
        assert left_behind(marks(over, begun, build.mark(Phase.OPEN)), noted) == (None, ())
        assert left_behind(marks(begun, build.mark(Phase.DONE)), Outlived()) == (None, ())

    @pytest.mark.parametrize("later", [Phase.STOPPING, Phase.POWERING_ON, Phase.DONE])
    def test_whoever_was_left_stays_so_once_a_later_run_has_changed_the_cluster(self, later: Phase) -> None:
        over, own = build.mark(Phase.DONE, undone=Undone.ROLLED_BACK), build.mark(Phase.DONE)
        assert left_behind(marks(over, own, build.mark(later, LATER)), Outlived()) == (None, ())
        assert left_behind(marks(over, own), Outlived({LATER: Phase.DONE})) == (None, ())
        undone = build.mark(later, LATER, undone=Undone.ROLLED_BACK)
        assert left_behind(marks(over, own, undone), Outlived())[1] == ("etcd-2",)

    def test_a_majority_that_may_have_gone_on_taking_writes_is_for_people(self) -> None:
        mark = build.mark(Phase.DONE, undone=Undone.SAVED)
        assert rollback.too_many_left(build.terms(), mark, ("etcd-2", "etcd-3")) is not None
        assert rollback.too_many_left(build.terms(), mark, ("etcd-2", "query-1", "infra-1")) is None
        assert rollback.too_many_left(build.terms(), build.mark(Phase.STARTED), ("etcd-2", "etcd-3")) is None

    def test_several_unfinished_runs_are_a_question_for_people(self) -> None:
        with pytest.raises(MarkerError, match="several unfinished runs"):
            to_roll_back(marks(build.mark(Phase.STARTED), build.mark(Phase.STOPPING, LATER)))

    def test_without_any_mark_there_is_nothing(self) -> None:
        assert to_roll_back(marks(None, None)) is None


CONFIGS = {f"etcd-{n}": build.config(n, TOKEN) for n in (1, 2, 3)}


class TestTryingAgain:
    def test_a_run_before_power_on_may_be_tried_again(self) -> None:
        assert retry.refusal(build.mark(Phase.STOPPING), None, "prod") is None
        assert retry.refusal(build.mark(Phase.STARTED), None, "prod") is None

    @pytest.mark.parametrize("phase", [Phase.POWERING_ON, Phase.DONE])
    def test_never_after_the_point_of_no_return(self, phase: Phase) -> None:
        assert "had turned Deephaven on" in str(retry.refusal(build.mark(phase), None, "prod"))

    def test_without_an_unfinished_run_there_is_nothing_to_try(self) -> None:
        assert "pytest runbook --hosts=prod" in str(retry.refusal(None, None, "prod"))

    def test_another_snapshot_means_going_back_first(self) -> None:
        refusal = retry.refusal(build.mark(Phase.STARTED), "other.snap", "prod")
        assert "pytest runbook/rollback --hosts=prod" in str(refusal)

    def test_a_run_that_did_not_get_to_step_4_is_only_carried_on(self) -> None:
        terms = build.terms(Phase.STOPPING)
        assert retry.not_installed(terms, CONFIGS, "prod") is None
        refusal = retry.not_installed(terms, {**CONFIGS, "etcd-2": build.config(2, "old"), "etcd-3": None}, "prod")
        assert refusal is not None and refusal.where == "etcd-2, etcd-3"

    def test_every_member_stops_and_stays_down(self) -> None:
        failed = Unit("loaded", "failed", "failed", "enabled", "")
        units = {"etcd-1": RUNNING, "etcd-2": STARTING, "etcd-3": failed}
        assert lines(retry.stop_etcd(build.terms(), units)) == [
            f"etcd-1: {SHORT} systemctl disable {UNIT}",
            f"etcd-1: {LONG} systemctl stop {UNIT}",
            f"etcd-2: {SHORT} systemctl disable {UNIT}",
            f"etcd-2: {LONG} systemctl stop {UNIT}",
            f"etcd-3: {SHORT} systemctl disable {UNIT}",
            f"etcd-3: {SHORT} systemctl reset-failed {UNIT}",
        ]

    def test_restored_and_half_restored_data_is_moved_never_deleted(self) -> None:
        data = retry.data_of(build.terms(), CONFIGS)
        beside = f"/var/lib/etcd/requorum-{build.RUN}"
        assert retry.places_of(build.terms(), CONFIGS) == {h: (*paths, beside) for h, paths in data.items()}
        assert data["etcd-1"] == (f"/var/lib/etcd/dh/{TOKEN}", f"/var/lib/etcd/dh/{TOKEN}.restoring")
        assert lines(retry.set_aside(build.terms(), {"etcd-1": data["etcd-1"][:1], "etcd-2": ()})) == [
            f"etcd-1: {SHORT} mkdir -p {PLACE}/tried",
            (
                f"etcd-1: {HUGE} {SCOPE} mv --backup=numbered -T /var/lib/etcd/dh/{TOKEN} "
                f"{PLACE}/tried/var_lib_etcd_dh_{TOKEN}"
            ),
        ]


class TestDown:
    """A cluster that does not run, and that somebody wrote to before."""

    STAGES = "runbook/rollback/test_rollback.py::TestRollback::"

    def begun(self, directory: Path, hosts: Down, discard: bool = False) -> tuple[Planning, Past]:
        run, past = planning(directory, hosts, discard=discard), Past()
        run.begin(f"{self.STAGES}test_given_a_run_may_be_rolled_back")
        run.acts = True
        run.probe = hosts.run  # type: ignore[method-assign,assignment]
        rolling.TestRollback().test_given_a_run_may_be_rolled_back(run, past)
        return run, past

    def test_it_is_refused_with_both_ways_out(self, tmp_path: Path) -> None:
        with pytest.raises(rollback.RollbackError) as refused:
            self.begun(tmp_path, Down(100, 100, 140))
        said = str(refused.value)
        assert "does not run, and was written to: the database of etcd-3 is at revision 140" in said
        assert "start etcd on its members, then if people finished it: pytest runbook/close --hosts=NAME" in said
        assert "leave it down and go back by that same command: its data is moved aside, never deleted" in said
        assert said.count("pytest runbook/rollback --hosts=NAME --discard-new-writes") == 1

    def test_what_nobody_can_tell_is_refused_as_such(self, tmp_path: Path) -> None:
        with pytest.raises(rollback.RollbackError, match="does not run, and counts as written to: nobody can tell"):
            self.begun(tmp_path, Down("bad page", None, 100))

    @pytest.mark.parametrize(("hosts", "beyond"), [(Down(100, 100, 140), 40), (Down("bad page", None, 100), None)])
    def test_the_operators_word_is_enough_and_the_loss_is_what_is_known(
        self, tmp_path: Path, hosts: Down, beyond: int | None
    ) -> None:
        run, past = self.begun(tmp_path, hosts, discard=True)
        assert run.mark.phase is Phase.POWERING_ON
        run.begin(f"{self.STAGES}test_when_the_new_cluster_is_saved")
        rolling.TestRollback().test_when_the_new_cluster_is_saved(run, past)
        assert past.loss is not None and (past.loss.certain, past.loss.possible) == (beyond, None)
        assert f"in its data alone, in {PLACE}/brought on each member" in past.loss.why
        assert run.mark.undone is Undone.SAVED
        assert not [c for stage in run.stages for c in stage.commands() if "save" in c.argv]
        again = discard.save_what_is_discarded(run)
        assert again is not None and "in its data alone" in again.why, "no save is claimed that was never made"

    def test_nothing_written_needs_no_word(self, tmp_path: Path) -> None:
        run, past = self.begun(tmp_path, Down(100, 100, 100))
        assert run.mark.phase is Phase.STARTED and past.loss is None

    @pytest.mark.parametrize("arrived", [True, False])
    def test_a_save_that_arrived_here_is_the_last_word_and_one_that_never_did_is_none(
        self, tmp_path: Path, arrived: bool
    ) -> None:
        saved = "ef" * 32

        class Saved(Down):
            def answer(self, command: Command) -> tuple[int, str]:
                path = f"{PLACE}/discarded.snap"
                hashed = command.argv[-1] == path and "sha256sum" in command.line()
                return (0, f"{saved}  {path}\n") if hashed else super().answer(command)

        run, _ = self.begun(tmp_path, Saved(100, 100, 140), discard=True)
        run.inventory = build.inventory(snapshot={"directory": str(tmp_path)})
        run.terms = replace(run.terms, mark=replace(run.mark, undone=Undone.SAVED))
        vault = Vault(run.inventory, "discarded")
        taken = "2026-01-02T00:00:00Z"
        note = Manifest("lab", saved, 1, Lineage(TOKEN, 7), 0, 140, 2, "3.5.16", taken, "https://10.0.0.11:2379")
        with vault.locked():
            vault.part(taken).write_bytes(b"x")
            kept = vault.keep(note if arrived else replace(note, sha256="00" * 32))
        found = discard.save_what_is_discarded(run)
        assert found is not None and (f"{kept} alone" in found.why) == arrived
        assert arrived or "in its data alone" in found.why

    @pytest.mark.parametrize("leads", [False, True])
    def test_one_whose_units_run_without_quorum_is_moved_aside_and_one_with_quorum_never_unsaved(
        self, tmp_path: Path, leads: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Members that start again and again, or without a leader: no save can be made of them, ever."""
        run, past = self.begun(tmp_path, Down(100, 100, 140, up="123"), discard=True)
        run.options = replace(run.options, timeout_scale=0.0)
        run.begin(f"{self.STAGES}test_when_the_new_cluster_is_saved")
        if leads:
            monkeypatch.setattr(facts, "has_quorum", lambda *_: True)
            with pytest.raises(rollback.RollbackError, match="no member answers"):
                rolling.TestRollback().test_when_the_new_cluster_is_saved(run, past)
            return
        rolling.TestRollback().test_when_the_new_cluster_is_saved(run, past)
        assert past.loss is not None and "in its data alone" in past.loss.why

    def test_a_retry_is_refused_with_the_same_ways_out(self, tmp_path: Path) -> None:
        run, hosts = planning(tmp_path, Down(100, 100, 140)), Down(100, 100, 140)
        run.begin("runbook/retry/test_1_set_aside.py::TestRetry::test_given_a_run_got_to_step_4")
        run.acts = True
        run.probe = hosts.run  # type: ignore[method-assign,assignment]
        with pytest.raises(retry.RetryError, match="does not run, and was written to") as refused:
            retrying.TestRetry().test_given_a_run_got_to_step_4(run)
        assert "never deleted" in str(refused.value) and "--discard-new-writes" in str(refused.value)
