"""Steps 4 and 5 as data: restore, start, power on, tidy; and what a command line may and may not hold."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from requorum.cluster.etcd import MemberConfig, Tools
from requorum.command import Command, Result
from requorum.hosts.systemd import Unit
from requorum.recovery import plan
from requorum.run.marker import Phase
from requorum.run.terms import Terms
from tests.unit import build
from tests.unit.build import BIN, HUGE, LONG, PLACE, RUNNING, SCOPE, SHORT, STOPPED, TOKEN, UNIT, lines

HOSTS = ("etcd-1", "etcd-2", "etcd-3")
ROOT = "/var/lib/etcd/dh"
DATA = f"{ROOT}/{TOKEN}"
MEMBER = f"{DATA}/member"
PEERS = "etcd-1=https://10.0.0.11:2380,etcd-2=https://10.0.0.12:2380,etcd-3=https://10.0.0.13:2380"


class TestRestoring:
    def restore(
        self, existing: dict[str, tuple[str, ...]], tools: Tools = build.BUMPING, terms: Terms | None = None
    ) -> list[Command]:
        configs: dict[str, MemberConfig] = {h: build.config(n, TOKEN) for n, h in enumerate(HOSTS, start=1)}
        there = {host: (f"{ROOT}/.", *existing.get(host, ())) for host in HOSTS}
        return plan.restore(terms or build.terms(), dict.fromkeys(HOSTS, tools), configs, there, "5a5a")

    def only_etcd_2(self, tools: Tools = build.BUMPING, terms: Terms | None = None) -> list[Command]:
        return self.restore({"etcd-1": (MEMBER,), "etcd-3": (MEMBER,)}, tools, terms)

    def test_the_data_directory_gets_its_name_only_when_it_is_whole(self) -> None:
        whole = [
            (
                f"etcd-2: {HUGE} {SCOPE} env ETCDCTL_API=3 /usr/bin/etcdutl snapshot restore {PLACE}/snapshot.db"
                f" --data-dir={DATA}.restoring --name=etcd-2 --initial-cluster={PEERS} --initial-cluster-token={TOKEN}"
                " --initial-advertise-peer-urls=https://10.0.0.12:2380 --bump-revision=1000000000 --mark-compacted"
            ),
            f"etcd-2: {SHORT} chown -R etcd:etcd {DATA}.restoring",
            f"etcd-2: {SHORT} chmod 700 {DATA}.restoring",
            f"etcd-2: {build.written(f'{PLACE}/restored')}",
            f"etcd-2: {SHORT} mv -T {DATA}.restoring {DATA}",
        ]
        assert lines(self.only_etcd_2()) == whole
        cut = self.restore({"etcd-1": (MEMBER,), "etcd-2": (f"{DATA}.restoring",), "etcd-3": (MEMBER,)})
        assert lines(cut) == [f"etcd-2: {LONG} {SCOPE} rm -rf {DATA}.restoring", *whole]

    def test_it_looks_for_all_that_decides_what_it_does(self) -> None:
        asked = plan.restore_looks_at(build.terms(), {"etcd-2": build.config(2, TOKEN)})
        assert asked == {"etcd-2": (MEMBER, f"{DATA}.restoring", f"{ROOT}/.")}

    def test_on_a_machine_that_never_was_a_member_etcd_can_reach_its_data(self) -> None:
        configs: dict[str, MemberConfig] = {h: build.config(n, TOKEN) for n, h in enumerate(HOSTS, start=1)}
        there: dict[str, tuple[str, ...]] = {"etcd-1": (MEMBER, f"{ROOT}/."), "etcd-2": (), "etcd-3": (f"{ROOT}/.",)}
        made = lines(plan.restore(build.terms(), dict.fromkeys(HOSTS, build.BUMPING), configs, there, "5a5a"))
        owned = f"etcd-2: {SHORT} install -d -m 700 -o etcd -g etcd {ROOT}"
        assert [line for line in made if line.endswith(ROOT)] == [owned]
        assert made[0] == owned, "before the restore, which would make it for root alone"

    def test_the_sha256_of_a_snapshot_is_never_skipped(self) -> None:
        assert not [line for line in lines(self.restore({})) if "skip-hash" in line]

    def test_an_etcd_that_cannot_bump_gets_neither_flag(self) -> None:
        assert not [li for li in lines(self.only_etcd_2(build.OLDER)) if "bump" in li or "compacted" in li]

    def test_a_bump_of_nothing_gets_neither_flag(self) -> None:
        terms = build.terms(of=build.inventory(etcd={"revision_bump": 0}))
        assert not [li for li in lines(self.only_etcd_2(terms=terms)) if "bump" in li or "compacted" in li]

    def test_all_members_are_restored(self) -> None:
        assert {c.host for c in self.restore({})} == set(HOSTS)

    def test_nothing_is_restored_where_every_member_holds_its_data(self) -> None:
        assert self.restore(dict.fromkeys(HOSTS, (MEMBER,))) == []

    def test_data_of_another_token_does_not_count(self) -> None:
        assert {c.host for c in self.restore({"etcd-1": ("/var/lib/etcd/dh/old/member",)})} == set(HOSTS)

    def test_a_data_directory_without_a_member_in_it_is_not_yet_restored(self) -> None:
        assert {c.host for c in self.restore(dict.fromkeys(HOSTS, (DATA,)))} == set(HOSTS)

    @pytest.mark.parametrize("phase", [Phase.OPEN, Phase.STOPPING])
    def test_before_the_start_a_member_that_lost_its_data_is_restored_again(self, phase: Phase) -> None:
        assert {c.host for c in self.restore({"etcd-1": (MEMBER,)}, terms=build.terms(phase))} == {"etcd-2", "etcd-3"}

    @pytest.mark.parametrize("phase", [Phase.STARTED, Phase.POWERING_ON, Phase.DONE])
    @pytest.mark.parametrize("there", [(), (MEMBER,)])
    def test_nothing_is_restored_once_the_new_etcd_was_started(self, phase: Phase, there: tuple[str, ...]) -> None:
        assert self.restore(dict.fromkeys(HOSTS, there), terms=build.terms(phase)) == []

    def test_the_note_of_what_was_restored_goes_by_stdin(self) -> None:
        assert build.stdins(self.only_etcd_2()) == [b"5a5a\n"]

    def test_what_can_be_interrupted_knows_how_to_be_stopped_on_the_host(self) -> None:
        (long,) = [c for c in self.only_etcd_2() if "restore" in c.argv]
        assert long.stop == ("systemctl", "stop", "requorum.slice")


class TestStarting:
    def start(self, **units: Unit) -> list[str]:
        found = {host: units.get(host.replace("-", "_"), STOPPED) for host in HOSTS}
        return lines(plan.start_etcd(build.terms(), found))

    def test_every_member_is_enabled_and_started_without_waiting(self) -> None:
        assert self.start() == [f"{host}: {SHORT} systemctl enable --now --no-block {UNIT}" for host in HOSTS]

    def test_nothing_is_done_where_all_run(self) -> None:
        assert self.start(etcd_1=RUNNING, etcd_2=RUNNING, etcd_3=RUNNING) == []

    def test_a_member_that_runs_but_would_not_survive_a_reboot_is_enabled(self) -> None:
        loose = Unit("loaded", "active", "running", "disabled", "x")
        started = self.start(etcd_1=RUNNING, etcd_2=loose, etcd_3=RUNNING)
        assert started[0] == f"etcd-2: {SHORT} systemctl enable --now --no-block {UNIT}"

    def test_a_member_that_waits_for_its_peers_is_started_again_harmlessly(self) -> None:
        waiting = Unit("loaded", "activating", "start", "enabled", "x")
        assert len(self.start(etcd_1=RUNNING, etcd_2=waiting, etcd_3=RUNNING)) == 1


class TestPoweringOnAndTidying:
    def test_deephaven_is_turned_on_by_the_vendors_command(self) -> None:
        assert lines(plan.turn_deephaven_on(build.terms(), ["infra-1"])) == [
            f"infra-1: {LONG} {BIN}/dh_monit up --block"
        ]

    def test_however_it_ends_the_proofs_tell_what_is_up_and_the_other_hosts_come_next(self) -> None:
        assert [command.accept for command in plan.turn_deephaven_on(build.terms(), ["infra-1"])] == [None]

    def test_the_second_dialect_is_spoken_by_inventory_alone(self) -> None:
        terms = build.terms(of=build.inventory(commands=build.SECOND_DIALECT))
        assert lines(plan.turn_deephaven_on(terms, ["query-1"])) == [
            f"query-1: {LONG} /opt/vendor2/bin/monitctl --user irisadmin go"
        ]

    def test_scratch_with_secrets_goes_and_what_was_set_aside_stays(self) -> None:
        removed = plan.tidy(build.terms())[0]
        assert removed.argv[:2] == ("rm", "-rf")
        assert f"{PLACE}/patch" in removed.argv
        assert not [path for path in removed.argv if "aside" in path or "client.before" in path]

    def test_only_paths_inside_the_runs_own_directory_are_removed(self) -> None:
        assert all(path.startswith(f"{PLACE}/") for path in plan.tidy(build.terms())[0].argv[2:])


class TestACommandLine:
    def test_sudo_stands_outside_the_deadline_and_never_asks(self) -> None:
        assert Command("h", ("true",), "x").line() == "sudo -n timeout -k 5 60 true"

    def test_without_root_there_is_no_sudo(self) -> None:
        assert Command("h", ("true",), "x", root=False).line() == "timeout -k 5 60 true"

    def test_standard_input_is_named_but_never_shown(self) -> None:
        command = Command("h", ("cat",), "x", stdin=b"hunter2")
        assert command.shown() == "sudo -n timeout -k 5 60 cat < •••"
        assert "hunter2" not in repr(command)

    @given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), min_size=1))
    def test_whatever_an_argument_holds_it_stays_one_argument(self, argv: list[str]) -> None:
        assert shlex.split(Command("h", tuple(argv), "x", root=False).line())[4:] == argv

    def test_a_secret_commands_output_is_withheld_from_messages(self) -> None:
        assert Result(Command("h", ("x",), "x", secret=True), 1, "hunter2", "", 0).words == "(output withheld)"

    @pytest.mark.parametrize(("accept", "code", "ok"), [((0,), 1, False), ((0, 5), 5, True), (None, 9, True)])
    def test_the_exit_codes_that_are_no_failure(self, accept: tuple[int, ...] | None, code: int, ok: bool) -> None:
        assert Result(Command("h", ("x",), "x", accept=accept), code, "", "", 0).ok is ok
