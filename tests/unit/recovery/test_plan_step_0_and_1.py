"""Steps 0 and 1 as data: what is saved, copied, turned off, stopped and set aside, command by command."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from requorum.cluster import deephaven, etcd
from requorum.cluster.quorum import MemberFacts, decide
from requorum.command import STOP, Copy
from requorum.deadlines import HUGE as HUGE_SECONDS
from requorum.hosts.systemd import Unit
from requorum.inventory import Inventory
from requorum.recovery import plan
from requorum.run import history, marker
from requorum.run.dryrun import commands_of
from requorum.run.marker import Phase
from requorum.run.terms import Terms
from requorum.snapshots import on_host
from requorum.snapshots.snapshot import Source
from requorum.troubleshoot import sudoers
from tests.unit import build
from tests.unit.build import ABSENT, BIN, HUGE, LONG, PLACE, RUNNING, SCOPE, SHORT, STOPPED, UNIT, lines

FRAGMENT = f"/usr/lib/systemd/system/{UNIT}"
LIB = f"/lib/systemd/system/{UNIT}"
LINK = f"/etc/systemd/system/{UNIT}"
KEPT_FRAGMENT = f"{PLACE}/aside/usr_lib_systemd_system_{UNIT}"
ALL = ("etcd-1", "etcd-2", "etcd-3")
SHA = "ab" * 32


def source(host: str | None = None, path: str = "/backups/etcd.snap") -> Source:
    return Source("file", host, path, SHA, 4128, "2026-01-01T00:00:00Z")


def facts(inventory: Inventory, *leaders: bool | None) -> list[MemberFacts]:
    """One old member a leader answer; None is a member that is down without data."""
    return [
        MemberFacts(m, unit=STOPPED, config=build.config(n), addresses=(m.ip,), has_leader=leader)
        for n, (m, leader) in enumerate(zip(inventory.old_members, leaders, strict=True), start=1)
    ]


class TestSavingFromSurvivors:
    def test_each_member_that_is_up_without_a_leader_is_asked_for_a_save(self) -> None:
        verdict = decide(facts(build.inventory(), None, False, False))
        assert lines(plan.save_from_survivors(build.terms(), verdict)) == [
            f"infra-1: {HUGE} {SCOPE} {BIN}/etcdctl.sh --endpoints=https://10.0.0.{ip}:2379 --dial-timeout=2s"
            f" snapshot save {PLACE}/live-etcd-{n}.snap"
            for n, ip in ((2, 12), (3, 13))
        ]

    def test_a_failing_save_is_an_answer_not_a_failure(self) -> None:
        verdict = decide(facts(build.inventory(), None, False, None))
        assert [c.accept for c in plan.save_from_survivors(build.terms(), verdict)] == [None]

    def test_members_that_are_down_are_not_asked(self) -> None:
        verdict = decide(facts(build.inventory(), None, None, None))
        assert plan.save_from_survivors(build.terms(), verdict) == []

    def test_a_run_that_is_carried_on_saves_nothing_again(self) -> None:
        assert plan.save_from_survivors(build.terms(), None) == []

    def test_the_second_dialect_is_spoken_by_inventory_alone(self) -> None:
        terms = build.terms(of=build.inventory(commands=build.SECOND_DIALECT))
        assert lines([on_host.save(terms, "https://10.0.0.11:2379", f"{PLACE}/live.snap", patience=10)]) == [
            (
                f"infra-1: {HUGE} {SCOPE} /opt/vendor2/bin/dhctl --as root kv --endpoints=https://10.0.0.11:2379"
                f" --dial-timeout=10s snapshot save {PLACE}/live.snap"
            )
        ]

    @pytest.mark.parametrize(
        ("line", "account"),
        [
            ("sudo -n -u {admin_user} /v/etcdctl.sh", "irisadmin"),
            ("sudo --user=dbquery /v/etcdctl.sh", "dbquery"),
            ("runuser -u {admin_user} -- /v/etcdctl.sh", "irisadmin"),
            ("sudo -u root /v/etcdctl.sh", None),
            ("/v/etcdctl.sh -u x", None),
        ],
    )
    def test_an_etcdctl_that_runs_as_another_account_saves_into_a_directory_of_its_own(
        self, line: str, account: str | None
    ) -> None:
        terms = build.terms(of=build.inventory(commands={"etcdctl": line}))
        save = on_host.save(terms, "https://10.0.0.11:2379", f"{PLACE}/live.snap")
        assert deephaven.account(line, "irisadmin") == account
        assert save.makes == (f"{PLACE}/live.snap",)
        if account is None:
            assert save.argv[-3:] == ("snapshot", "save", f"{PLACE}/live.snap")
        else:
            script = save.argv.index("-c") + 1
            assert save.argv[script + 1 : script + 3] == (f"{PLACE}/live.snap", account)
            assert save.argv[-2:] == ("snapshot", "save")
            assert "-o" not in on_host.reader(terms) and on_host.reader(terms)[0] == "/v/etcdctl.sh"
        assert sudoers.unlisted(terms.inventory, [save.line()]) == []


class TestCopyingTheSnapshot:
    def test_it_is_streamed_to_every_new_member(self) -> None:
        targets = tuple((host, f"{PLACE}/snapshot.db") for host in ALL)
        assert plan.copy_snapshot(build.terms(), source(), {}) == [
            Copy("/backups/etcd.snap", targets, "the snapshot to every new member", None, SHA)
        ]

    def test_nothing_is_copied_where_every_member_holds_it(self) -> None:
        assert plan.copy_snapshot(build.terms(), source(), dict.fromkeys(ALL, SHA)) == []

    def test_after_a_cut_only_those_without_a_whole_copy_get_it(self) -> None:
        present = {"etcd-1": SHA, "etcd-2": "another", "etcd-3": ""}
        (copy,) = plan.copy_snapshot(build.terms(), source(), present)
        assert isinstance(copy, Copy)
        assert [host for host, _ in copy.targets] == ["etcd-2", "etcd-3"]

    def test_a_file_is_never_copied_onto_itself(self) -> None:
        terms = build.terms()
        (copy,) = plan.copy_snapshot(terms, source("etcd-1", terms.snapshot_path), {"etcd-2": SHA})
        assert isinstance(copy, Copy)
        assert [host for host, _ in copy.targets] == ["etcd-3"]

    def test_nothing_is_copied_when_only_the_source_itself_seems_to_lack_it(self) -> None:
        terms = build.terms()
        held = {"etcd-2": SHA, "etcd-3": SHA}
        assert plan.copy_snapshot(terms, source("etcd-1", terms.snapshot_path), held) == []

    def test_what_a_member_salvaged_gets_another_name_there_and_is_not_copied(self) -> None:
        terms = build.terms()
        large = replace(source("etcd-1", f"{PLACE}/salvage.snap"), bytes=8_000_000_000)
        (copy,) = plan.copy_snapshot(terms, large, {})
        assert isinstance(copy, Copy)
        (line,) = [c.line() for c in commands_of(copy) if f"{PLACE}/salvage.snap" in c.argv and c.host == "etcd-1"][:1]
        assert line == f"sudo -n timeout -k 5 60 ln -fT {PLACE}/salvage.snap {PLACE}/snapshot.db.part"
        assert {c.host for c in copy.copies()} == {"etcd-1"}
        assert {c.host for c in copy.writes()} == {"etcd-2", "etcd-3"}
        assert sudoers.unlisted(terms.inventory, [c.line() for c in commands_of(copy)]) == []

    def test_from_elsewhere_on_its_host_it_is_copied_in_the_time_of_its_bytes_and_can_be_stopped(self) -> None:
        copy = Copy("/x/a", (("etcd-1", "/y/b"),), "why", "etcd-1", SHA, bytes=8_000_000_000)
        ((line, stop),) = [(c.line(), c.stop) for c in copy.copies()]
        assert line == f"sudo -n timeout -k 5 7200 {SCOPE} dd if=/x/a of=/y/b.part bs=1M status=none"
        assert stop == STOP

    def test_a_spare_gets_it_and_the_destroyed_machine_does_not(self) -> None:
        terms = build.terms(gone=("etcd-3",), of=build.replaced())
        (copy,) = plan.copy_snapshot(terms, source(), {})
        assert isinstance(copy, Copy)
        assert [host for host, _ in copy.targets] == ["etcd-1", "etcd-2", "etcd-4"]


class TestTurningDeephavenOff:
    def test_the_vendors_command_runs_on_every_deephaven_host(self) -> None:
        assert lines(plan.turn_deephaven_off(build.terms())) == [
            f"infra-1: {LONG} {BIN}/dh_monit down --block",
            f"query-1: {LONG} {BIN}/dh_monit down --block",
        ]

    def test_a_host_that_is_gone_is_left_out(self) -> None:
        assert lines(plan.turn_deephaven_off(build.terms(gone=("query-1",)))) == [
            f"infra-1: {LONG} {BIN}/dh_monit down --block"
        ]

    @pytest.mark.parametrize("phase", [Phase.POWERING_ON, Phase.DONE])
    def test_past_the_point_of_no_return_it_is_not_turned_off_again(self, phase: Phase) -> None:
        assert plan.turn_deephaven_off(build.terms(phase)) == []

    def test_the_second_dialect_is_spoken_by_inventory_alone(self) -> None:
        terms = build.terms(of=build.inventory(commands=build.SECOND_DIALECT), gone=("query-1",))
        assert lines(plan.turn_deephaven_off(terms)) == [
            f"infra-1: {LONG} /opt/vendor2/bin/monitctl --user irisadmin halt"
        ]


class TestStoppingEtcd:
    def stop(self, unit: Unit, *files: str) -> list[str]:
        return lines(etcd.stop_and_set_aside("etcd-1", UNIT, unit, files, f"{PLACE}/aside"))

    def test_a_running_unit_is_stopped_noted_disabled_and_moved_aside(self) -> None:
        assert self.stop(RUNNING, FRAGMENT) == [
            f"etcd-1: {SHORT} mkdir -p {PLACE}/aside",
            f"etcd-1: {SHORT} dd of={PLACE}/aside/{UNIT}.was conv=excl status=none",
            f"etcd-1: {LONG} systemctl stop {UNIT}",
            f"etcd-1: {SHORT} systemctl disable --no-reload {UNIT}",
            f"etcd-1: {SHORT} mv --backup=numbered -T {FRAGMENT} {KEPT_FRAGMENT}",
            f"etcd-1: {SHORT} systemctl daemon-reload",
        ]

    def test_what_the_unit_was_goes_by_stdin(self) -> None:
        commands = etcd.stop_and_set_aside("etcd-1", UNIT, RUNNING, (FRAGMENT,), f"{PLACE}/aside")
        assert build.stdins(commands) == [f"loaded active enabled {FRAGMENT}\n".encode()]

    def test_nothing_is_deleted(self) -> None:
        assert not [line for line in self.stop(RUNNING, FRAGMENT, LINK) if " rm " in line]

    def test_a_mask_in_etc_is_set_aside_with_its_fragment(self) -> None:
        moved = [line for line in self.stop(STOPPED, FRAGMENT, LINK) if " mv " in line]
        assert moved == [
            f"etcd-1: {SHORT} mv --backup=numbered -T {FRAGMENT} {KEPT_FRAGMENT}",
            f"etcd-1: {SHORT} mv --backup=numbered -T {LINK} {PLACE}/aside/etc_systemd_system_{UNIT}",
        ]

    def test_a_unit_behind_a_mask_is_disabled_once_the_mask_is_away(self) -> None:
        masked = Unit("masked", "inactive", "dead", "masked", "/dev/null")
        assert self.stop(masked, LINK, FRAGMENT)[2:] == [
            f"etcd-1: {SHORT} mv --backup=numbered -T {LINK} {PLACE}/aside/etc_systemd_system_{UNIT}",
            f"etcd-1: {SHORT} systemctl daemon-reload",
            f"etcd-1: {SHORT} systemctl disable --no-reload {UNIT}",
            f"etcd-1: {SHORT} mv --backup=numbered -T {FRAGMENT} {KEPT_FRAGMENT}",
            f"etcd-1: {SHORT} systemctl daemon-reload",
        ]

    def test_a_mask_with_nothing_behind_it_leaves_nothing_to_disable(self) -> None:
        masked = Unit("masked", "inactive", "dead", "masked", "/dev/null")
        assert not [line for line in self.stop(masked, LINK) if "disable" in line]

    def test_a_stopped_unit_is_not_stopped_again(self) -> None:
        assert self.stop(STOPPED, FRAGMENT)[0] == f"etcd-1: {SHORT} mkdir -p {PLACE}/aside"

    def test_a_failed_unit_is_forgotten_by_systemd_last(self) -> None:
        failed = Unit("loaded", "failed", "failed", "disabled", FRAGMENT)
        assert self.stop(failed, FRAGMENT)[-1] == f"etcd-1: {SHORT} systemctl reset-failed {UNIT}"

    @pytest.mark.parametrize("active", ["active", "activating", "deactivating", "reloading"])
    def test_a_unit_on_its_way_up_or_down_counts_as_running(self, active: str) -> None:
        unit = Unit("loaded", active, "x", "disabled", "")
        assert self.stop(unit)[0] == f"etcd-1: {LONG} systemctl stop {UNIT}"

    def test_a_run_cut_between_moving_and_reloading_reloads(self) -> None:
        assert self.stop(STOPPED) == [f"etcd-1: {SHORT} systemctl daemon-reload"]

    def test_nothing_is_done_where_no_unit_is_left(self) -> None:
        assert self.stop(ABSENT) == []

    def test_what_stands_over_the_fragment_is_looked_for_first(self) -> None:
        assert etcd.unit_files(UNIT, RUNNING) == (LINK, FRAGMENT, LIB)

    @pytest.mark.parametrize("unit", [ABSENT, Unit("masked", "inactive", "dead", "masked", "/dev/null")])
    def test_a_file_behind_a_mask_is_looked_for_too(self, unit: Unit) -> None:
        assert etcd.unit_files(UNIT, unit) == (LINK, FRAGMENT, LIB)

    def test_where_usr_is_not_merged_both_places_are_looked_at_and_none_twice(self) -> None:
        assert etcd.unit_files(UNIT, Unit("loaded", "active", "running", "enabled", LIB)) == (LINK, LIB, FRAGMENT)

    def test_a_unit_that_systemd_found_elsewhere_is_looked_for_there(self) -> None:
        elsewhere = f"/run/systemd/system/{UNIT}"
        found = etcd.unit_files(UNIT, Unit("loaded", "active", "running", "enabled", elsewhere))
        assert found == (LINK, elsewhere, FRAGMENT, LIB)

    def stop_all(self, terms: Terms, new: tuple[str, ...] = ()) -> set[str]:
        """Hosts on which something is stopped, where the hosts in `new` run this run's own cluster."""
        hosts = terms.etcd_hosts
        configs = {h: build.config(token=build.TOKEN if h in new else "old") for h in hosts}
        units, files = dict.fromkeys(hosts, RUNNING), dict.fromkeys(hosts, (FRAGMENT,))
        return {c.host for c in plan.stop_etcd(terms, units, files, configs)}

    def test_every_old_and_new_members_machine_is_stopped(self) -> None:
        assert self.stop_all(build.terms(of=build.replaced())) == {*ALL, "etcd-4"}

    def test_a_destroyed_machine_is_left_out(self) -> None:
        assert self.stop_all(build.terms(gone=("etcd-3",), of=build.replaced())) == {
            "etcd-1",
            "etcd-2",
            "etcd-4",
        }

    def test_the_new_cluster_of_this_very_run_is_never_stopped(self) -> None:
        assert self.stop_all(build.terms(), new=("etcd-1", "etcd-3")) == {"etcd-2"}

    def test_a_machine_without_any_configuration_is_not_taken_for_new(self) -> None:
        assert not plan.is_new(build.terms(), None)


class TestMarkingTheRun:
    def test_it_is_one_command_that_makes_the_runs_own_directory_once(self) -> None:
        path, places = "/var/lib/requorum/lab/run.json", ("/var/lib/requorum", "/var/lib/requorum/lab", PLACE)
        made = [marker.write("etcd-1", "lab", build.mark(), placed=placed) for placed in (False, True)]
        assert lines(made) == [f"etcd-1: {build.written(path, *places)}", f"etcd-1: {build.written(path)}"]

    def test_its_content_goes_by_stdin(self) -> None:
        (content,) = build.stdins([marker.write("etcd-1", "lab", build.mark(Phase.STOPPING))])
        assert json.loads(content) == {
            "run": build.RUN,
            "token": build.TOKEN,
            "phase": "STOPPING",
            "by": "ops@desk",
            "snapshot": "",
            "origin": "",
            "taken": "",
            "members": "",
            "undone": "NO",
        }

    def test_a_question_about_it_changes_nothing(self) -> None:
        assert not [c for c in history.ask_runs("etcd-1", "lab").commands if c.changes]


def test_a_save_gets_the_deadline_of_whatever_reads_the_whole_database() -> None:
    assert on_host.save(build.terms(), "https://10.0.0.11:2379", "x", 2).deadline == HUGE_SECONDS == 7200
