"""Reading the vendor's words: monit's table as 5.33 printed it, passwords by digest, endpoints, and command lines."""

from __future__ import annotations

import pytest

from requorum import deephaven
from tests.unit import build

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


class TestPasswords:
    def test_a_role_is_the_directory_of_its_password(self) -> None:
        text = f"{DIGEST}  /etc/x/root/password\n{DIGEST}  /etc/x/root/user\n"
        assert deephaven.parse_passwords(text) == {"root": DIGEST}

    def test_a_role_that_differs_between_hosts_is_named_with_them(self) -> None:
        found = {"a": {"root": "1", "dh": "3"}, "b": {"root": "2", "dh": "3"}, "c": {"root": "1"}}
        assert deephaven.disagreements(found) == ["root: a/c differs from b"]

    def test_a_role_that_only_some_hosts_have_is_no_disagreement(self) -> None:
        assert deephaven.disagreements({"a": {"root": "1"}, "b": {}}) == []


class TestEndpoints:
    IPS = ("10.0.0.11", "10.0.0.12")

    def test_each_roles_lines_are_put_together(self) -> None:
        text = "/etc/x/root/endpoints:https://10.0.0.11:2379\n/etc/x/root/endpoints:https://10.0.0.12:2379\n"
        assert deephaven.parse_endpoints(text) == {"root": "https://10.0.0.11:2379 https://10.0.0.12:2379"}

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

    def test_addresses_of_the_sixth_version_are_read_in_brackets(self) -> None:
        assert deephaven.wrong_endpoints("https://[fd00::2]:2379", ("fd00::2",)) is None


class TestCommandLines:
    def test_a_placeholders_value_is_always_one_argument(self) -> None:
        assert deephaven.vendor("gen --ips {ips} -x", ips="a b; rm -rf /") == ("gen", "--ips", "a b; rm -rf /", "-x")

    def test_a_value_that_holds_braces_is_not_filled_again(self) -> None:
        assert deephaven.vendor("x {archive}", archive="{number}", number="3") == ("x", "{number}")

    def test_quotes_keep_words_together(self) -> None:
        assert deephaven.vendor("su -c 'dh_monit down' {admin_user}", admin_user="irisadmin") == (
            "su", "-c", "dh_monit down", "irisadmin",
        )  # fmt: skip

    @pytest.mark.parametrize(
        ("line", "file"), [("/usr/bin/x -a", "/usr/bin/x"), ("env A=b /usr/bin/x", "/usr/bin/x"), ("x y", "x")]
    )
    def test_the_file_that_must_be_there(self, line: str, file: str) -> None:
        assert deephaven.executable(line) == file

    def test_a_question_to_the_cluster_changes_nothing_unless_it_says_so(self) -> None:
        inventory = build.inventory()
        assert not deephaven.etcdctl(inventory, "get", "x", why="x").changes
        assert deephaven.etcdctl(inventory, "put", "x", why="x", changes=True).changes

    def test_another_roles_client_directory_is_named_by_the_inventorys_line(self) -> None:
        inventory = build.inventory(commands=build.SECOND_DIALECT)
        command = deephaven.etcdctl_as(inventory, "/x/root", "get", "y", why="x", host="query-1")
        assert (command.host, command.argv) == (
            "query-1", ("/opt/vendor2/bin/dhctl", "--dir", "/x/root", "kv", "get", "y"),
        )  # fmt: skip
