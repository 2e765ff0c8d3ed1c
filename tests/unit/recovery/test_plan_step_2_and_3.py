"""Steps 2 and 3 as data: passwords kept, configuration generated, distributed and installed, command by command."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from requorum.cluster import archive, deephaven
from requorum.cluster.archive import Entry
from requorum.cluster.etcd import MemberConfig
from requorum.command import Action, Copy
from requorum.hosts import kept
from requorum.hosts.systemd import Unit
from requorum.recovery import plan
from requorum.run import history
from requorum.run.history import Birth
from requorum.run.marker import Phase
from requorum.run.terms import Terms
from requorum.troubleshoot import sudoers
from tests.unit import build
from tests.unit.build import ABSENT, ARCHIVE, BIN, CLIENT, LONG, PLACE, RUNNING, SCOPE, SHORT, STOPPED, TOKEN, lines

BACKUP = f"{PLACE}/client.before"
GENERATED = (f"{PLACE}/server.generated.tgz", f"{PLACE}/query.generated.tgz")
FINAL = (f"{PLACE}/server.tgz", f"{PLACE}/query.tgz")
KEPT_ARCHIVE = f"{PLACE}/aside/etc_sysconfig_deephaven_etcd_dh_etcd_config.tgz"
MEMBERS = ("etcd-1", "etcd-2", "etcd-3")
SERVER = [Entry("d", "dh/"), Entry("-", "dh/1/config.yaml"), Entry("-", "dh/root/password")]
ROLES = ("root",)
QUERY = [Entry("d", "./"), Entry("-", "./client/query/password"), Entry("-", "./client/query/user")]


def put(directory: str, *roles: str) -> str:
    """The old passwords of root and these roles, wherever one lies below `directory`."""
    each = (
        f"-type f -path '*/{role}/password' -exec cp --no-preserve=all {BACKUP}/{role}/password '{{}}' ';'"
        for role in ("root", *roles)
    )
    return f"find {directory} {' -o '.join(each)}"


class TestBackingUpPasswords:
    def test_each_deephaven_host_copies_its_client_configuration_once(self) -> None:
        assert lines(plan.back_up_passwords(build.terms(), {"infra-1": (CLIENT,), "query-1": ()}, {})) == [
            f"infra-1: {SHORT} sh -c '{kept.WHOLE}' {BACKUP}.part {BACKUP} {CLIENT}",
        ]

    def test_a_rerun_never_overwrites_the_backup(self) -> None:
        there = dict.fromkeys(("infra-1", "query-1"), (CLIENT, BACKUP))
        assert plan.back_up_passwords(build.terms(), there, {"infra-1": "/earlier"}) == []

    def test_after_a_cut_only_the_hosts_without_a_backup_go_on(self) -> None:
        there = {"infra-1": (CLIENT, BACKUP), "query-1": (CLIENT,)}
        assert {c.host for c in plan.back_up_passwords(build.terms(), there, {})} == {"query-1"}

    def test_what_an_earlier_run_of_the_incident_backed_up_is_taken_over(self) -> None:
        there = dict.fromkeys(("infra-1", "query-1"), (CLIENT,))
        earlier = f"/var/lib/requorum/lab/{EARLIER}/client.before"
        said = lines(plan.back_up_passwords(build.terms(), there, {"infra-1": earlier}))
        assert [line.rpartition("$1'")[2] for line in said] == [
            f" {BACKUP}.part {BACKUP} {path}" for path in (earlier, CLIENT)
        ]


EARLIER, MIDDLE, NOW = "20260101t000000z-aaaaaa", "20260102t000000z-bbbbbb", "20260103t000000z-cccccc"


def birth(run: str, phase: Phase) -> Birth:
    return Birth(f"lab-{run}", run, phase, "ab", None, 0)


class TestOneBackupForAnIncident:
    """A run that was given up after the generator has left new passwords in place: the next must not back those up."""

    def test_the_first_run_that_backed_up_knows_the_old_passwords(self) -> None:
        births = [birth(EARLIER, Phase.STOPPING), birth(MIDDLE, Phase.STARTED)]
        assert history.first_backup(NOW, [EARLIER, MIDDLE, NOW], [], births) == EARLIER

    def test_a_run_that_chose_no_data_yet_counts_too(self) -> None:
        assert history.first_backup(NOW, [EARLIER], [], []) == EARLIER

    @pytest.mark.parametrize("phase", [Phase.POWERING_ON, Phase.DONE])
    def test_what_was_before_a_run_that_came_to_power_on_is_another_incident(self, phase: Phase) -> None:
        births = [birth(EARLIER, Phase.STOPPING), birth(MIDDLE, phase)]
        assert history.first_backup(NOW, [EARLIER, MIDDLE], [], births) is None

    def test_a_run_that_was_rolled_back_left_the_old_passwords_in_place(self) -> None:
        assert history.first_backup(NOW, [EARLIER], [EARLIER], []) is None

    def test_the_answer_of_a_host_tells_both(self) -> None:
        names = [f"{EARLIER}/client.before", f"{EARLIER}/rolled-back", f"{MIDDLE}/client.before", "../client.before"]
        told = build.runs("infra-1", names=names, births=f"=\n/var/lib/requorum/lab/{NOW}/client.before\n")
        assert (told.kept, told.undone) == (frozenset({EARLIER, MIDDLE}), frozenset({EARLIER}))


class TestGenerating:
    def test_the_generator_runs_for_the_new_addresses_and_both_archives_go_into_staging(self) -> None:
        place, run, *taken = lines(plan.generate(build.terms(), []))
        assert place == f"infra-1: {SHORT} mkdir -p {PLACE}/aside"
        assert run.startswith(f"infra-1: {LONG} {SCOPE} sh -c ")
        assert run.endswith(
            f" {PLACE}/generator {BIN}/config_generator.sh --cluster-id {TOKEN} --ips '10.0.0.11 10.0.0.12 10.0.0.13'"
        )
        assert taken == [
            f"infra-1: {SHORT} chmod 600 {ARCHIVE}",
            f"infra-1: {SHORT} mv -fT {ARCHIVE} {GENERATED[0]}",
            f"infra-1: {SHORT} chmod 600 {PLACE}/generator/tmp/{TOKEN}/dh_query.tgz",
            f"infra-1: {SHORT} mv -fT {PLACE}/generator/tmp/{TOKEN}/dh_query.tgz {GENERATED[1]}",
        ]

    def test_what_a_generator_makes_elsewhere_is_taken_from_there(self) -> None:
        of = build.inventory()
        elsewhere = of.deephaven.model_copy(update={"client_archive": "/srv/{cluster_id}/dh_query.tgz"})
        found = lines(plan.generate(build.terms(of=of.model_copy(update={"deephaven": elsewhere})), []))
        assert found[1].startswith(f"infra-1: {LONG} {SCOPE} {BIN}/config_generator.sh ")
        assert found[-1] == f"infra-1: {SHORT} mv -fT /srv/{TOKEN}/dh_query.tgz {GENERATED[1]}"

    def test_nothing_is_generated_where_both_archives_are_staged(self) -> None:
        assert plan.generate(build.terms(), GENERATED) == []

    def test_one_archive_alone_is_an_interruption_and_both_are_made_again(self) -> None:
        assert plan.generate(build.terms(), GENERATED[:1]) == plan.generate(build.terms(), [])

    def test_an_older_server_archive_is_set_aside_first(self) -> None:
        assert lines(plan.generate(build.terms(), [ARCHIVE]))[1] == (
            f"infra-1: {SHORT} mv --backup=numbered -T {ARCHIVE} {KEPT_ARCHIVE}"
        )

    def test_what_was_set_aside_is_never_overwritten_by_a_rerun(self) -> None:
        rerun = plan.generate(build.terms(), [ARCHIVE, KEPT_ARCHIVE])
        assert rerun == plan.generate(build.terms(), [])

    def test_nothing_is_generated_once_the_finished_archives_exist(self) -> None:
        assert plan.generate(build.terms(), [*FINAL, ARCHIVE]) == []

    def test_a_spares_address_takes_the_place_of_the_destroyed_machines(self) -> None:
        terms = build.terms(gone=("etcd-3",), of=build.replaced())
        assert "--ips '10.0.0.11 10.0.0.12 10.0.0.14'" in lines(plan.generate(terms, []))[1]

    def test_the_second_dialect_is_spoken_by_inventory_alone(self) -> None:
        terms = build.terms(of=build.inventory(commands=build.SECOND_DIALECT))
        assert lines(plan.generate(terms, []))[1].endswith(
            f" /opt/vendor2/bin/make_etcd_config 10.0.0.11,10.0.0.12,10.0.0.13 --name={TOKEN}"
        )


class TestPuttingOldPasswordsBack:
    WORK = f"{PLACE}/patch/server"
    READ = f"{PLACE}/read/server"

    def test_an_archive_is_unpacked_patched_packed_and_read_again(self) -> None:
        assert lines(plan.put_old_passwords(build.terms(), ROLES, SERVER, QUERY, FINAL[1:]))[:8] == [
            f"infra-1: {SHORT} rm -rf {self.WORK}",
            f"infra-1: {SHORT} install -d -m 700 {self.WORK}",
            f"infra-1: {LONG} {SCOPE} tar -xpzf {GENERATED[0]} -C {self.WORK}",
            f"infra-1: {SHORT} {put(self.WORK)}",
            f"infra-1: {SHORT} install -m 600 /dev/null {FINAL[0]}.part",
            f"infra-1: {LONG} {SCOPE} tar -czpf {FINAL[0]}.part -C {self.WORK} -- dh",
            f"infra-1: {SHORT} mv -fT {FINAL[0]}.part {FINAL[0]}",
            f"infra-1: {SHORT} rm -rf {self.READ}",
        ]

    def test_members_keep_the_spelling_they_had_in_the_archive(self) -> None:
        packs = [li for li in lines(plan.put_old_passwords(build.terms(), ROLES, SERVER, QUERY, ())) if "-czpf" in li]
        assert [line.rsplit(" ", 1)[1] for line in packs] == ["dh", "."]

    def test_finished_archives_are_only_unpacked_for_reading(self) -> None:
        assert lines(plan.put_old_passwords(build.terms(), ROLES, SERVER, QUERY, FINAL)) == [
            f"infra-1: {SHORT} rm -rf {PLACE}/read/server",
            f"infra-1: {SHORT} install -d -m 700 {PLACE}/read/server",
            f"infra-1: {LONG} {SCOPE} tar -xpzf {FINAL[0]} -C {PLACE}/read/server",
            f"infra-1: {SHORT} rm -rf {PLACE}/read/query",
            f"infra-1: {SHORT} install -d -m 700 {PLACE}/read/query",
            f"infra-1: {LONG} {SCOPE} tar -xpzf {FINAL[1]} -C {PLACE}/read/query",
            f"infra-1: {SHORT} install -m 600 {FINAL[0]} {ARCHIVE}",
        ]

    def test_until_they_are_installed_finished_archives_are_made_again_from_what_was_generated(self) -> None:
        again = lines(plan.put_old_passwords(build.terms(), ROLES, SERVER, QUERY, (*GENERATED, *FINAL), True))
        assert again == lines(plan.put_old_passwords(build.terms(), ROLES, SERVER, QUERY, ()))
        tidied = lines(plan.put_old_passwords(build.terms(), ROLES, SERVER, QUERY, FINAL, True))
        assert tidied == lines(plan.put_old_passwords(build.terms(), ROLES, SERVER, QUERY, FINAL))

    def test_a_password_goes_from_file_to_file_and_never_through_a_command_line(self) -> None:
        plans = plan.put_old_passwords(build.terms(), ROLES, SERVER, QUERY, ())
        moved = [c for c in plans if "old password" in c.why]
        assert [c.argv[-5:-3] for c in moved] == [("cp", "--no-preserve=all")] * 2
        assert all(c.stdin is None for c in plans)

    def test_the_live_configuration_gets_its_old_passwords_back_whatever_the_generator_did(self) -> None:
        assert lines(plan.put_live_passwords(build.terms(), ROLES)) == [f"infra-1: {SHORT} {put(CLIENT)}"]

    def test_all_roles_are_put_in_one_look_each_its_own_and_nothing_else(self, tmp_path: Path) -> None:
        (said,) = lines(plan.put_live_passwords(build.terms(), ("root", "ro")))
        assert said == f"infra-1: {SHORT} {put(CLIENT, 'ro')}"
        for role in ("root", "ro", "other"):
            for place, text in (("old", "old"), ("new", "new")):
                file = tmp_path / place / role / "password"
                file.parent.mkdir(parents=True)
                file.write_text(f"{text} {role}")
        found = deephaven.put_passwords("infra-1", str(tmp_path / "old"), str(tmp_path / "new"), ("root", "ro"))
        subprocess.run(found.argv, check=True)
        told = {role: (tmp_path / "new" / role / "password").read_text() for role in ("root", "ro", "other")}
        assert told == {"root": "old root", "ro": "old ro", "other": "new other"}

    def test_a_role_without_a_backup_keeps_what_the_generator_gave_it(self) -> None:
        assert plan.put_live_passwords(build.terms(), ()) == []


class TestKeepingSettings:
    TEXTS = {f"{PLACE}/read/server/{n}/config.yaml": f"name: etcd-{n}\n" for n in (1, 2, 3)}  # noqa: RUF012
    VALUES = {"quota-backend-bytes": "8589934592"}  # noqa: RUF012

    def test_the_finished_archive_is_patched_packed_and_read_again(self) -> None:
        found = plan.keep_settings(build.terms(), self.TEXTS, self.VALUES, SERVER)
        writes = [c for c in found if c.argv[0] == "dd"]
        assert [c.argv[1] for c in writes] == [f"of={PLACE}/patch/server/{n}/config.yaml" for n in (1, 2, 3)]
        assert writes[0].stdin == b"name: etcd-1\nquota-backend-bytes: 8589934592\n"
        order = [c.argv[-1] if c.argv[0] != "dd" else "write" for c in found]
        assert order.index(f"{PLACE}/patch/server") < order.index("write") < order.index(FINAL[0])
        assert lines(found)[-1] == f"infra-1: {SHORT} install -m 600 {FINAL[0]} {ARCHIVE}"
        assert sudoers.unlisted(build.inventory(), [command.line() for command in found]) == []

    def test_nothing_is_done_where_all_of_them_have_the_settings(self) -> None:
        there = {path: text + "quota-backend-bytes: 8589934592\n" for path, text in self.TEXTS.items()}
        assert plan.keep_settings(build.terms(), there, self.VALUES, SERVER) == []


class TestDistributing:
    SUMS = {"server.tgz": "s", "query.tgz": "q"}  # noqa: RUF012

    def distribute(self, terms: Terms, present: dict[str, dict[str, str]]) -> list[Action]:
        return plan.distribute(terms, self.SUMS, present)

    def test_servers_go_to_members_and_queries_to_deephaven_hosts(self) -> None:
        assert self.distribute(build.terms(), {"server.tgz": {}, "query.tgz": {}}) == [
            Copy(
                FINAL[0],
                tuple((h, FINAL[0]) for h in MEMBERS),
                "server.tgz to every machine that needs it",
                "infra-1",
                "s",
            ),
            Copy(
                FINAL[1],
                (("query-1", FINAL[1]),),
                "query.tgz to every machine that needs it",
                "infra-1",
                "q",
            ),
        ]

    def test_nothing_is_copied_where_everybody_holds_both(self) -> None:
        present = {"server.tgz": dict.fromkeys(MEMBERS, "s"), "query.tgz": {"query-1": "q"}}
        assert self.distribute(build.terms(), present) == []

    def test_after_a_cut_only_those_with_another_sum_get_theirs(self) -> None:
        present = {"server.tgz": {"etcd-1": "s", "etcd-2": "half"}, "query.tgz": {"query-1": "q"}}
        (copy,) = self.distribute(build.terms(), present)
        assert isinstance(copy, Copy)
        assert [host for host, _ in copy.targets] == ["etcd-2", "etcd-3"]

    def test_a_query_host_that_is_gone_gets_nothing(self) -> None:
        present = {"server.tgz": dict.fromkeys(MEMBERS, "s"), "query.tgz": {}}
        assert self.distribute(build.terms(gone=("query-1",)), present) == []


class TestInstallingServers:
    LATEST = ("/etc/etcd/dh/latest", f"{PLACE}/aside/etc_etcd_dh_latest")

    def install(
        self,
        terms: Terms,
        tokens: dict[str, str],
        units: dict[str, Unit] | None = None,
        files: tuple[str, ...] = (),
    ) -> list[str]:
        hosts = terms.member_hosts
        configs: dict[str, MemberConfig | None] = {
            host: build.config(token=tokens[host]) if host in tokens else None for host in hosts
        }
        found = {**dict.fromkeys(hosts, STOPPED), **(units or {})}
        return lines(plan.install_servers(terms, found, configs, dict.fromkeys(hosts, files)))

    def test_each_member_unpacks_by_its_server_number(self) -> None:
        assert self.install(build.terms(), {}) == [
            f"etcd-{n}: {LONG} {SCOPE} {BIN}/unpack_etcd_server.sh {FINAL[0]} {n}" for n in (1, 2, 3)
        ]

    def test_a_spare_takes_the_number_of_the_place_it_fills(self) -> None:
        terms = build.terms(gone=("etcd-3",), of=build.replaced())
        assert self.install(terms, {})[-1] == f"etcd-4: {LONG} {SCOPE} {BIN}/unpack_etcd_server.sh {FINAL[0]} 3"

    def test_the_old_latest_link_is_kept_first(self) -> None:
        installed = dict.fromkeys(MEMBERS[1:], TOKEN)
        assert self.install(build.terms(), installed, files=self.LATEST[:1])[:2] == [
            f"etcd-1: {SHORT} mkdir -p {PLACE}/aside",
            f"etcd-1: {SHORT} cp -aP {self.LATEST[0]} {self.LATEST[1]}",
        ]

    def test_a_kept_link_is_not_kept_again_by_a_rerun(self) -> None:
        assert len(self.install(build.terms(), {}, files=self.LATEST)) == 3

    def test_nothing_is_done_where_this_runs_etcd_is_up(self) -> None:
        installed = dict.fromkeys(MEMBERS, TOKEN)
        assert self.install(build.terms(), installed, dict.fromkeys(MEMBERS, RUNNING)) == []

    @pytest.mark.parametrize("unit", [ABSENT, STOPPED], ids=["no unit", "not started"])
    def test_a_configuration_may_be_half_until_its_etcd_is_up_so_it_is_unpacked_again(self, unit: Unit) -> None:
        units = {**dict.fromkeys(MEMBERS, RUNNING), "etcd-2": unit}
        cut = self.install(build.terms(), dict.fromkeys(MEMBERS, TOKEN), units)
        assert [line.split(":")[0] for line in cut] == ["etcd-2"]

    def test_an_etcd_that_is_up_with_other_configuration_is_no_reason_to_pass_over_it(self) -> None:
        units = dict.fromkeys(MEMBERS, RUNNING)
        assert len(self.install(build.terms(), {}, units)) == 3

    def test_the_second_dialect_is_spoken_by_inventory_alone(self) -> None:
        terms = build.terms(of=build.inventory(commands=build.SECOND_DIALECT))
        assert self.install(terms, {})[1] == (
            f"etcd-2: {LONG} {SCOPE} /opt/vendor2/bin/install_server --number=2 -f {FINAL[0]}"
        )


class TestInstallingClients:
    PACKED = {"query/ca.crt": "1", "query/endpoints": "2", "query/password": "3"}  # noqa: RUF012

    def install(self, infra: dict[str, str], query: dict[str, str]) -> list[str]:
        live = {"infra-1": infra, "query-1": query}
        return lines(plan.install_clients(build.terms(), self.PACKED, live))

    def test_every_deephaven_host_unpacks_the_configuration_server_included(self) -> None:
        assert self.install({}, {}) == [
            f"{host}: {LONG} {SCOPE} {BIN}/unpack_etcd_client.sh {FINAL[1]}" for host in ("infra-1", "query-1")
        ]

    def test_nothing_is_done_where_every_file_of_the_archive_is_installed(self) -> None:
        assert self.install(self.PACKED, self.PACKED) == []

    def test_a_run_of_a_new_name_asks_nobody_for_what_it_has_brought_to_nobody(self) -> None:
        assert lines(plan.install_clients(build.terms(), {}, None)) == self.install({}, {})

    def test_files_of_other_roles_beside_them_are_no_reason_to_unpack(self) -> None:
        assert self.install({**self.PACKED, "root/password": "9"}, self.PACKED) == []

    @pytest.mark.parametrize("file", PACKED)
    @pytest.mark.parametrize("found", [None, "old"], ids=["lacking", "old"])
    def test_one_file_that_differs_was_cut_and_is_unpacked_again(self, file: str, found: str | None) -> None:
        live = {name: digest for name, digest in self.PACKED.items() if name != file}
        if found:
            live[file] = found
        assert [line.split(":")[0] for line in self.install(self.PACKED, live)] == ["query-1"]

    def test_a_host_that_is_gone_is_left_out(self) -> None:
        terms = build.terms(gone=("query-1",))
        assert [c.host for c in plan.install_clients(terms, self.PACKED, {"infra-1": {}})] == ["infra-1"]

    def test_the_second_dialect_is_spoken_by_inventory_alone(self) -> None:
        terms = build.terms(of=build.inventory(commands=build.SECOND_DIALECT), gone=("query-1",))
        assert lines(plan.install_clients(terms, self.PACKED, {"infra-1": {}})) == [
            f"infra-1: {LONG} {SCOPE} /opt/vendor2/bin/install_client -f {FINAL[1]}"
        ]


class TestLookingWithoutTouching:
    @pytest.mark.parametrize(
        "question",
        [
            *archive.ask_listing("infra-1", FINAL[0]).commands,
            *deephaven.ask_passwords("infra-1", CLIENT).commands,
            *deephaven.ask_endpoints("infra-1", CLIENT).commands,
            deephaven.ask_etcd_in_monit("etcd-1"),
        ],
        ids=lambda command: command.why,
    )
    def test_a_question_changes_nothing(self, question: object) -> None:
        assert not getattr(question, "changes", True)

    def test_even_the_digests_of_passwords_stay_out_of_every_record(self) -> None:
        assert deephaven.ask_passwords("infra-1", CLIENT).commands[0].secret
