"""Reading the vendor's words: monit's table as 5.33 printed it, passwords by digest, endpoints, and command lines."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from requorum.cluster import deephaven
from requorum.hosts.question import Question
from requorum.refusal import Refusal
from tests.unit import build
from tests.unit.build import refused_by, understood

MONIT = """Monit 5.33.0 uptime: 0m
 Service Name                     Status                      Type          
 vm                               OK                          System        
 dh_config                        OK                          Process       
 etcd_server                      Does not exist              Process       
"""  # noqa: W291
MONIT_OFF = MONIT.replace("OK                          Process", "Not monitored               Process")
OLD_MONIT = "Process 'dh_config'                 Running\nSystem 'vm'    Running\n"
DIGEST = "a" * 64


class TestMonit:
    def test_only_processes_count(self) -> None:
        assert deephaven.parse_monit(MONIT) == {"dh_config": "OK", "etcd_server": "Does not exist"}

    def test_the_older_lines_are_read_too(self) -> None:
        assert deephaven.parse_monit(OLD_MONIT) == {"dh_config": "Running"}

    @pytest.mark.parametrize(
        ("host", "text", "code", "found"),
        [
            ("infra-1", OLD_MONIT, 0, {"dh_config": "Running"}),
            ("infra-1", "monit: no daemon is not running", 1, {}),
            (
                "infra-1",
                OLD_MONIT,
                1,
                "monit cannot be understood: deephaven.commands.monit_status ended with 1: System 'vm'    Running",
            ),
            ("infra-1", "", 0, "monit cannot be understood: (it printed nothing)"),
            ("etcd-1", "", 0, {}),
            ("etcd-1", "", 1, "monit cannot be understood: (it printed nothing)"),
        ],
    )
    def test_a_monit_that_says_nothing_is_not_one_without_processes(
        self, host: str, text: str, code: int, found: object
    ) -> None:
        assert understood(deephaven.ask_processes(build.inventory(), host), text, code=code) == found

    def test_what_still_runs_is_named(self) -> None:
        assert deephaven.not_off(deephaven.parse_monit(MONIT)) == ["dh_config (OK)", "etcd_server (Does not exist)"]

    def test_what_is_not_monitored_is_off(self) -> None:
        assert deephaven.not_off({"dh_config": deephaven.parse_monit(MONIT_OFF)["dh_config"]}) == []

    @pytest.mark.parametrize("status", ["Not monitored", "Initializing", "Execution failed | Does not exist"])
    def test_everything_but_running_is_not_up(self, status: str) -> None:
        assert deephaven.not_up({"dh_config": status, "other": "OK"}) == [f"dh_config ({status})"]

    def test_an_etcd_that_monit_would_bring_back_is_found(self) -> None:
        assert deephaven.supervised_etcd(deephaven.parse_monit(MONIT)) == ["etcd_server (Does not exist)"]

    def test_an_etcd_that_monit_leaves_alone_is_none(self) -> None:
        assert deephaven.supervised_etcd({"etcd_server": "Not monitored"}) == []


class TestASilentMonit:
    """What could not be understood must not be taken for "no process is there"."""

    @pytest.mark.parametrize(
        ("code", "text"),
        [
            (0, ""),
            (1, ""),
            (0, "Status: 3 processes\n"),
            (1, MONIT),
            (127, "bash: dh_monit: command not found\n"),
            (124, ""),
            (1, "Cannot create socket to [localhost]:2812 -- Connection refused\n"),
        ],
        ids=["nothing", "failed", "unknown words", "a table, but failed", "no command", "too late", "no answer"],
    )
    def test_what_cannot_be_understood_is_silence(self, code: int, text: str) -> None:
        assert deephaven.silent(code, text)

    @pytest.mark.parametrize(
        ("code", "text"),
        [
            (0, MONIT),
            (0, MONIT_OFF),
            (0, OLD_MONIT),
            (1, "Monit daemon is not running\n"),
            (1, "monit: no daemon process found\n"),
            (0, "Nothing to do\n"),
        ],
        ids=["a table", "all off", "older lines", "not running", "no daemon", "nothing to do"],
    )
    def test_a_table_is_an_answer_and_no_monit_is_one_too(self, code: int, text: str) -> None:
        assert not deephaven.silent(code, text)


class TestPasswords:
    def test_a_role_is_the_directory_of_its_password(self) -> None:
        text = f"{DIGEST}  /etc/x/root/password\n{DIGEST}  /etc/x/root/user\n"
        assert understood(deephaven.ask_passwords("infra-1", "/etc/x"), text) == {"root": DIGEST}
        assert understood(deephaven.ask_all_passwords("infra-1", "/etc/x"), text) == [("root", DIGEST)]

    @pytest.mark.parametrize("role", ["..", "a b", "-rf", "$(x)", "\x1b[2J"])
    def test_a_role_that_would_lead_elsewhere_is_refused_without_its_digest(self, role: str) -> None:
        for ask in (deephaven.ask_passwords, deephaven.ask_client_files):
            question = ask("infra-1", "/etc/x")
            with pytest.raises(Refusal, match="infra-1: its role is") as error:
                understood(question, f"{DIGEST}  /etc/x/{role}/password\n")
            assert DIGEST not in str(error.value) and "\x1b" not in str(error.value)

    @given(st.text(max_size=2000))
    def test_whatever_a_host_says_of_its_clients_is_a_value_or_a_refusal_that_names_it(self, text: str) -> None:
        asked: tuple[Callable[[str, str], Question[Any]], ...] = (
            deephaven.ask_passwords,
            deephaven.ask_all_passwords,
            deephaven.ask_client_files,
            deephaven.ask_endpoints,
            deephaven.ask_owners,
        )
        for ask in asked:
            with refused_by("infra-1"):
                understood(ask("infra-1", "/etc/x"), text)

    def test_owners_now_and_before_are_told_apart_by_where_they_lie(self) -> None:
        question = deephaven.ask_owners_now_and_before("infra-1", "/etc/x", "/before")
        text = "/etc/x/root/password ann:dh 600\n/before/root/password root:root 640\n/before/a/password a:b 600\n"
        assert understood(question, text) == (
            {"root": ("ann:dh", 0o600)},
            {"root": ("root:root", 0o640), "a": ("a:b", 0o600)},
        )
        gone = "find: '/before': No such file or directory\n"
        assert understood(question, text.splitlines()[0], code=1, stderr=gone) == (
            {"root": ("ann:dh", 0o600)},
            {},
        )
        for row in ("/etc/xy/root/password a:b 600", "/etc/x/../password a:b 600", "root/password a:b 600"):
            with pytest.raises(Refusal, match="infra-1: "):
                understood(question, row)

    def test_a_role_that_differs_between_hosts_is_named_with_them(self) -> None:
        found = {"a": {"root": "1", "dh": "3"}, "b": {"root": "2", "dh": "3"}, "c": {"root": "1"}}
        assert deephaven.disagreements(found) == ["root: a/c differs from b"]

    def test_a_role_that_only_some_hosts_have_is_no_disagreement(self) -> None:
        assert deephaven.disagreements({"a": {"root": "1"}, "b": {}}) == []


class TestEndpoints:
    IPS = ("10.0.0.11", "10.0.0.12")

    def test_each_roles_lines_are_put_together(self) -> None:
        text = "/etc/x/root/endpoints:https://10.0.0.11:2379\n/etc/x/root/endpoints:https://10.0.0.12:2379\n"
        assert understood(deephaven.ask_endpoints("infra-1", "/etc/x"), text) == {
            "root": "https://10.0.0.11:2379 https://10.0.0.12:2379"
        }

    @pytest.mark.parametrize(
        ("endpoints", "wrong"),
        [
            ("https://10.0.0.11:2379,https://10.0.0.12:2379", None),
            ("10.0.0.12:2379 10.0.0.11:2379", None),
            ("https://10.0.0.11:2379", "lacks 10.0.0.12"),
            ("", "lacks 10.0.0.11, 10.0.0.12"),
            ("10.0.0.11 10.0.0.12 10.0.0.13", "still names 10.0.0.13"),
            ("10.0.0.111 10.0.0.12", "lacks 10.0.0.11"),
        ],
    )
    def test_exactly_the_new_members_must_stand_there(self, endpoints: str, wrong: str | None) -> None:
        assert deephaven.wrong_endpoints(endpoints, self.IPS) == wrong

    @pytest.mark.parametrize(
        ("behind", "wrong"),
        [
            ({"etcd-1.lab": ("10.0.0.11", "fd00::11"), "etcd-2.lab": ("10.0.0.12",)}, None),
            (
                {"etcd-1.lab": ("10.0.0.11",), "etcd-2.lab": ("10.0.0.99",)},
                "names etcd-2.lab, which leads to 10.0.0.99",
            ),
            ({"etcd-1.lab": ("10.0.0.11",)}, "names etcd-2.lab, which leads nowhere there"),
            ({"etcd-1.lab": ("10.0.0.11",), "etcd-2.lab": ("10.0.0.11",)}, "lacks 10.0.0.12"),
        ],
    )
    def test_names_are_held_against_where_they_lead(self, behind: dict[str, Any], wrong: str | None) -> None:
        written = "https://etcd-1.lab:2379,https://etcd-2.lab:2379"
        assert deephaven.names_in(written) == ["etcd-1.lab", "etcd-2.lab"]
        found = deephaven.wrong_endpoints(written, self.IPS, behind)
        assert (found is None) == (wrong is None) and (wrong or "") in (found or "")

    @pytest.mark.parametrize(
        "written",
        [
            '"https://{}:2379","https://{}:2379"',
            "https://{}:2379;https://{}:2379",
            "ETCD_ENDPOINTS=https://{}:2379,https://{}:2379",
            "# the members HTTPS://{}:2379 HTTPS://{}:2379/",
            "[https://{}:2379, https://{}:2379]",
            "{}:2379|{}:2379",
        ],
        ids=["quotes", "semicolons", "a setting", "a comment", "a list", "bars"],
    )
    @pytest.mark.parametrize("members", [IPS, ("a.lab", "ip-10.0.0.12.lab")], ids=["addresses", "names"])
    def test_what_a_release_writes_around_them_is_no_name(self, written: str, members: tuple[str, str]) -> None:
        behind = dict(zip(members, ((ip,) for ip in self.IPS), strict=True))
        text = written.format(*members)
        assert deephaven.names_in(text) == [name for name in members if name not in self.IPS]
        assert deephaven.wrong_endpoints(text, self.IPS, behind) is None
        assert deephaven.wrong_endpoints(text, (*self.IPS, "10.0.0.13"), behind) == "lacks 10.0.0.13"

    def test_a_name_that_leads_to_a_lost_member_too_is_stale(self) -> None:
        behind = {"etcd.lab": (*self.IPS, "10.0.0.1", "fd00::11")}
        written = "https://etcd.lab:2379"
        assert deephaven.wrong_endpoints(written, self.IPS, behind, ("10.0.0.11", "10.0.0.2")) is None
        stale = deephaven.wrong_endpoints(written, self.IPS, behind, ("10.0.0.11", "10.0.0.1"))
        assert stale == "names etcd.lab, which still leads to 10.0.0.1 too"

    def test_what_can_be_no_name_is_asked_of_nobody_and_leads_nowhere(self) -> None:
        for written in ("https://$(reboot):2379", "--service=x", "https://a;b:2379"):
            assert not [name for name in deephaven.names_in(written) if not name.isalnum()]
            assert "leads nowhere" in str(deephaven.wrong_endpoints(written, self.IPS))

    def test_where_a_name_leads_is_each_address_once(self) -> None:
        question = deephaven.ask_resolved("infra-1", "etcd-1.lab")
        assert understood(question, "10.0.0.11 STREAM etcd-1.lab\n10.0.0.11 DGRAM\n") == ("10.0.0.11",)
        assert understood(question, "", code=2) == ()

    def test_addresses_of_the_sixth_version_are_read_in_brackets(self) -> None:
        assert deephaven.wrong_endpoints("https://[fd00::2]:2379", ("fd00::2",)) is None

    @pytest.mark.parametrize("written", ["fd00::2", "FD00::2", "fd00:0:0:0:0:0:0:2", "fd00:0000::0002"])
    @pytest.mark.parametrize("wanted", ["fd00::2", "FD00:0::2", "fd00:0000:0000:0000:0000:0000:0000:0002"])
    def test_one_address_in_two_spellings_is_one_address(self, written: str, wanted: str) -> None:
        assert deephaven.wrong_endpoints(f"https://[{written}]:2379", (wanted,)) is None

    @pytest.mark.parametrize(
        ("written", "wrong"),
        [
            ("https://[fd00::20]:2379", "lacks fd00::2"),
            ("https://[fd00::2]:2379,https://[FD00:0::3]:2379", "still names fd00::3"),
            ("https://[fd00::2]:2379,https://10.0.0.11:2379", "still names 10.0.0.11"),
        ],
    )
    def test_another_address_of_the_sixth_version_is_named(self, written: str, wrong: str) -> None:
        assert deephaven.wrong_endpoints(written, ("fd00::2",)) == wrong


class TestCommandLines:
    def test_a_placeholders_value_is_always_one_argument(self) -> None:
        assert deephaven.vendor("gen --ips {ips} -x", ips="a b; rm -rf /") == ("gen", "--ips", "a b; rm -rf /", "-x")

    def test_a_value_that_holds_braces_is_not_filled_again(self) -> None:
        assert deephaven.vendor("x {archive}", archive="{number}", number="3") == ("x", "{number}")

    def test_quotes_keep_words_together(self) -> None:
        assert deephaven.vendor("su -c 'dh_monit down' {admin_user}", admin_user="irisadmin") == (
            "su",
            "-c",
            "dh_monit down",
            "irisadmin",
        )

    @pytest.mark.parametrize(
        ("line", "file"), [("/usr/bin/x -a", "/usr/bin/x"), ("env A=b /usr/bin/x", "/usr/bin/x"), ("x y", "x")]
    )
    def test_the_file_that_must_be_there(self, line: str, file: str) -> None:
        assert deephaven.executable(line) == file

    def test_a_question_to_the_cluster_changes_nothing(self) -> None:
        assert not deephaven.etcdctl(build.inventory(), "get", "x", why="x").changes

    def test_a_question_has_the_deadline_that_it_is_given(self) -> None:
        inventory = build.inventory()
        assert deephaven.etcdctl(inventory, "get", "x", why="x").deadline == 60
        assert deephaven.etcdctl(inventory, "snapshot", "status", "x", why="x", deadline=7200).deadline == 7200

    def test_the_administrators_account_can_be_named_in_the_line_of_etcdctl(self) -> None:
        inventory = build.inventory(commands={"etcdctl": "su -s /bin/etcdctl {admin_user}"})
        assert deephaven.etcdctl(inventory, "get", "x", why="x").argv[-3:] == ("irisadmin", "get", "x")

    def test_another_roles_client_directory_is_named_by_the_inventorys_line(self) -> None:
        inventory = build.inventory(commands=build.SECOND_DIALECT)
        command = deephaven.etcdctl_as(inventory, "/x/root", "get", "y", why="x", host="query-1")
        assert (command.host, command.argv) == (
            "query-1",
            ("/opt/vendor2/bin/dhctl", "--dir", "/x/root", "kv", "get", "y"),
        )
