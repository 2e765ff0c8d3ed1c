"""Reading etcd's own words: outputs of etcd 3.4.23 and 3.5.16 as they were printed, kept to the letter."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from requorum.cluster import deephaven, etcd, etcdctl
from requorum.cluster.etcd import EtcdError
from requorum.cluster.etcdctl import Permission
from requorum.hosts.question import Question
from requorum.hosts.systemd import ExecStart
from requorum.refusal import Refusal
from tests.unit import build
from tests.unit.build import refused_by, understood

HEADER = '"header":{"cluster_id":10144879847569953045,"member_id":12428976124636271536,"revision":5,"raft_term":2}'
STATUS_34 = (
    '[{"Endpoint":"http://127.0.0.1:23790","Status":{' + HEADER + ',"version":"3.4.23","dbSize":20480,'
    '"leader":12428976124636271536,"raftIndex":17,"raftTerm":2,"raftAppliedIndex":17,"dbSizeInUse":20480}}]\n'
)
STATUS_35_LEADERLESS = (
    '[{"Endpoint":"http://127.0.0.1:24200","Status":{"header":{"cluster_id":4980989695189683639,'
    '"member_id":13090316253379577607,"revision":1,"raft_term":2},"version":"3.5.16","dbSize":20480,'
    '"raftIndex":6,"raftTerm":2,"raftAppliedIndex":6,"errors":["etcdserver: no leader"],"dbSizeInUse":20480}}]\n'
)
HEALTH = (
    '[{"endpoint":"http://127.0.0.1:23790","health":true,"took":"4.824136ms"},'
    '{"endpoint":"http://127.0.0.1:1","health":false,"took":"2.000702955s","error":"context deadline exceeded"}]\n'
)
WARNING = (
    '{"level":"warn","ts":"2026-11-23T04:53:25.650149Z","logger":"client","caller":"v3/retry_interceptor.go:63",'
    '"msg":"retrying of unary invoker failed","attempt":0}\n'
)
LAB = build.inventory()
PERMISSIONS = etcdctl.ask_permissions(LAB, "dh")
HASHES = '[{"Endpoint":"http://127.0.0.1:23790","HashKV":{' + HEADER + ',"hash":4140272142,"compact_revision":-1}}]\n'
COUNT = (
    "{" + HEADER + ',"kvs":[{"key":"L21haW4vY29uZmlnL3Byb3BzLzE=","create_revision":2,"mod_revision":2,'
    '"version":1}],"more":true,"count":3}\n'
)
USER = "User: dh\n"
ROLE = '{%s,"perm":[{"permType":2,"key":"L21haW4=","range_end":"L21haW8="},{"key":"L3NpbmdsZQ=="}]}\n' % HEADER  # noqa: UP031
ROLE_ALL = '{%s,"perm":[{"permType":2,"key":"AA==","range_end":"AA=="}]}\n' % HEADER  # noqa: UP031
NOTHING = "{" + HEADER + "}\n"
METRICS = (
    "# HELP etcd_server_has_leader Whether or not a leader exists. 1 is existence, 0 is not.\n"
    "# TYPE etcd_server_has_leader gauge\netcd_server_has_leader {}\n"
)
VERSION = "etcd Version: 3.4.23\nGit SHA: Not provided (use ./build instead of go build)\nGo Version: go1.19.8\n"
USAGE_34 = 'NAME:\n\tsnapshot restore - Restores an etcd member snapshot\n\nOPTIONS:\n      --data-dir=""\t\tPath\n'
USAGE_35 = "Flags:\n      --bump-revision uint   How much to increase the latest revision after restore\n"


def _json(of: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    """Of the shapes that etcd prints, with anything in them."""
    keys = st.sampled_from(
        ["Endpoint", "Status", "HashKV", "header", "hash", "endpoint", "health", "perm", "key", "count"]
    )
    return st.lists(of) | st.dictionaries(keys, of)


class TestStatus:
    def test_one_entry_for_each_endpoint_that_answered(self) -> None:
        (status,) = etcdctl.parse_status(STATUS_34)
        assert (status.endpoint, status.cluster_id, status.leader, status.revision, status.version) == (
            "http://127.0.0.1:23790",
            10144879847569953045,
            12428976124636271536,
            5,
            "3.4.23",
        )

    def test_without_a_leader_there_is_none_and_the_error_says_so(self) -> None:
        (status,) = etcdctl.parse_status(STATUS_35_LEADERLESS)
        assert (status.leader, status.errors) == (0, ("etcdserver: no leader",))

    def test_nobody_answered(self) -> None:
        assert etcdctl.parse_status("[]\n") == []

    @pytest.mark.parametrize("text", ["", "Error: context deadline exceeded\n", "[{\n"])
    def test_what_is_no_json_is_quoted_in_the_error(self, text: str) -> None:
        with pytest.raises(EtcdError, match="endpoint status gave no JSON"):
            etcdctl.parse_status(text)

    def test_words_before_the_json_are_passed_over(self) -> None:
        assert len(etcdctl.parse_status("Deprecated: Use `etcdutl`.\n\n" + STATUS_34)) == 1

    def test_a_warning_that_is_json_itself_is_passed_over(self) -> None:
        assert len(etcdctl.parse_status(WARNING + STATUS_34)) == 1


class TestOtherAnswers:
    def test_health_gives_each_endpoints_error(self) -> None:
        assert etcdctl.parse_health(HEALTH) == {
            "http://127.0.0.1:23790": None,
            "http://127.0.0.1:1": "context deadline exceeded",
        }

    def test_a_hash_comes_with_where_it_is_compacted(self) -> None:
        assert understood(etcdctl.ask_fingerprints(LAB, "e", 5), HASHES) == {"http://127.0.0.1:23790": (4140272142, -1)}

    @pytest.mark.parametrize(("text", "count"), [(COUNT, 3), (NOTHING, 0)])
    def test_all_matching_keys_are_counted_although_one_is_given(self, text: str, count: int) -> None:
        assert etcdctl.parse_count(text) == count

    @pytest.mark.parametrize(("digit", "leader"), [("1", True), ("0", False)])
    def test_metrics_tell_whether_there_is_a_leader(self, digit: str, leader: bool) -> None:
        assert understood(etcd.ask_leader("etcd-1", build.config()), METRICS.format(digit)) is leader

    @pytest.mark.parametrize("text", ["", "curl: (7) Failed to connect", "# TYPE etcd_server_has_leader gauge"])
    def test_no_answer_is_not_the_same_as_no_leader(self, text: str) -> None:
        assert understood(etcd.ask_leader("etcd-1", build.config()), text) is None
        assert understood(etcd.ask_leader("etcd-1", build.config()), METRICS.format(1), code=28) is None

    def test_the_status_of_a_snapshot(self) -> None:
        text = '{"hash":2634397866,"revision":5,"totalKey":15,"totalSize":24576}\n'
        assert etcdctl.parse_snapshot_status(text) == (5, 15)


READ = deephaven.etcdctl(LAB, "get", "/requorum", why="a read")


@pytest.mark.parametrize(
    ("code", "stderr", "outcome"),
    [
        (0, "", "let in"),
        (1, "Error: etcdserver: permission denied", "denied"),
        (1, "Error: etcdserver: authentication failed, invalid user ID or password", "refused"),
        (1, "Error: etcdserver: authentication is not enabled", "off"),
        (0, '{"level":"warn","error":"desc = etcdserver: authentication is not enabled"}', "off"),
        (1, "Error: auth: authentication failed, password was given for no password user", "passwordless"),
        (1, "Error: context deadline exceeded", "failed"),
        (1, "rpc error: code = PermissionDenied desc = etcdserver: permission denied", "denied"),
        (1, "cat: /etc/sysconfig/deephaven/etcd/client/config/password: Permission denied", "failed"),
        (1, "Error: open /etc/sysconfig/deephaven/etcd/client/config/cacert: permission denied", "failed"),
        (126, "timeout: failed to run command '/x/etcdctl.sh': Permission denied", "failed"),
        *((code, "Error: etcdserver: permission denied", "failed") for code in (124, 126, 127)),
    ],
)
def test_how_a_login_went(code: int, stderr: str, outcome: str) -> None:
    login = understood(etcdctl.ask_login(READ), "", code=code, stderr=stderr)
    assert login.outcome == outcome
    assert login.words.endswith(stderr or "(it printed nothing)")


def test_no_answer_is_told_in_the_words_of_the_tool() -> None:
    with pytest.raises(EtcdError) as refused:
        understood(etcdctl.ask_count(LAB, "/main"), "", code=1, stderr="Error: context deadline exceeded\n")
    assert (refused.value.where, refused.value.what) == ("infra-1", "Error: context deadline exceeded")


@pytest.mark.parametrize("name", ["--user=eve", "a\n/x/config/user:b", "", "-", "\x1b[2J"])
def test_a_user_that_is_an_option_goes_no_further(name: str) -> None:
    said = f"/x/config/user:{name}\n/x/my role/user:eve\n/x/root/user:root\n"
    told = understood(deephaven.ask_users("infra-1", "/x", ["config", "root", "other"]), said)
    assert told["root"] == "root" and set(told) == {"config", "root", "other"}
    for role in ("config", "other"):
        refused = told[role]
        assert isinstance(refused, Refusal) and str(refused).startswith(f"infra-1: its user of {role}")


@pytest.mark.parametrize(
    "question",
    [
        etcdctl.ask_health(LAB, "x"),
        etcdctl.ask_status(LAB),
        etcdctl.ask_member(LAB, "x"),
        etcdctl.ask_hash(LAB, "x", 5),
        etcdctl.ask_fingerprints(LAB, "e", 5),
        etcdctl.ask_count(LAB, "/main"),
        etcdctl.ask_names(LAB, "user"),
        PERMISSIONS,
        etcdctl.ask_login(READ),
        deephaven.ask_users("infra-1", "/x", ["config"]),
    ],
    ids=lambda question: question.commands[0].why,
)
@given(text=st.text(max_size=2000) | st.recursive(st.none() | st.text(), _json).map(json.dumps))
@settings(max_examples=50)
def test_whatever_etcdctl_prints_is_a_value_or_a_refusal_that_names_its_host(
    question: Question[object], text: str
) -> None:
    with refused_by("infra-1"):
        understood(question, text)


class TestPermissions:
    def test_a_prefix_and_a_single_key(self) -> None:
        told = understood(PERMISSIONS, WARNING + USER + ROLE)
        assert told == [Permission(b"/main", b"/maio"), Permission(b"/single", b"")]

    @pytest.mark.parametrize("roles", ["", NOTHING, ROLE, "\n" + ROLE + "\n" + NOTHING])
    def test_a_key_that_is_not_covered_is_found(self, roles: str) -> None:
        assert etcdctl.key_outside(understood(PERMISSIONS, USER + roles)) == "/requorum/outside"

    def test_everything_leaves_nothing_outside_whichever_role_says_so(self) -> None:
        for roles in (ROLE_ALL, f"\n{ROLE}\n{ROLE_ALL}\n{NOTHING}"):
            assert etcdctl.key_outside(understood(PERMISSIONS, USER + roles)) is None

    @pytest.mark.parametrize("text", ["", ROLE, "User: other\n" + ROLE, USER + ROLE + "{cut off", USER + "{cut off"])
    def test_what_is_not_all_of_a_users_roles_tells_nothing(self, text: str) -> None:
        with pytest.raises(EtcdError):
            understood(PERMISSIONS, text)

    def test_a_role_that_could_not_be_asked_for_is_not_left_out(self) -> None:
        with pytest.raises(EtcdError):
            understood(PERMISSIONS, USER + ROLE, code=1, stderr="Error: etcdserver: role name not found\n")

    def test_where_all_paths_are_covered_another_kind_of_key_is_tried(self) -> None:
        assert etcdctl.key_outside([Permission(b"/", b"0")]) == "requorum-outside"

    def test_the_end_of_a_range_is_outside(self) -> None:
        assert etcdctl.key_outside([Permission(b"/", b"/requorum/outside")]) == "/requorum/outside"


class TestTools:
    def test_what_can_bump_is_asked_of_the_tool_not_guessed(self) -> None:
        assert understood(etcd.ask_tools("etcd-1"), VERSION, "/usr/bin/etcdctl\n", USAGE_34) == etcd.Tools(
            "3.4.23", "/usr/bin/etcdctl", bumps=False
        )
        assert understood(etcd.ask_tools("etcd-1"), VERSION, "/usr/bin/etcdutl\n", USAGE_35).bumps

    def test_a_host_without_etcd_is_named(self) -> None:
        with pytest.raises(EtcdError, match="etcd-2: has no etcd in its PATH"):
            understood(etcd.ask_tools("etcd-2"), "", "/usr/bin/etcdctl", USAGE_35)

    def test_a_host_that_is_too_slow_to_answer_is_not_one_without_etcd(self) -> None:
        with pytest.raises(EtcdError, match="etcd-2: cannot be asked for the version of etcd: it did not end"):
            understood(etcd.ask_tools("etcd-2"), "", "/usr/bin/etcdctl", USAGE_35, code=124)

    def test_a_host_without_client_tools_is_named(self) -> None:
        with pytest.raises(EtcdError, match="etcd-2: has neither etcdutl nor etcdctl"):
            understood(etcd.ask_tools("etcd-2"), VERSION, "\n", USAGE_35)

    def test_what_is_proven_is_what_root_finds(self, tmp_path: Path) -> None:
        for place, name in (("local", "etcdutl"), ("bin", "etcdctl")):
            (tmp_path / place).mkdir()
            (tmp_path / place / name).write_text("#!/bin/sh\n")
            (tmp_path / place / name).chmod(0o755)
        _, where, _ = etcd.ask_tools("etcd-2", f"{tmp_path}/bin").commands
        environment = {"PATH": f"{tmp_path}/local:/usr/bin:/bin"}
        found = subprocess.run(where.argv, env=environment, capture_output=True, text=True, check=True).stdout
        assert found == f"{tmp_path}/bin/etcdctl\n"

    def test_where_root_finds_none_secure_path_is_named(self) -> None:
        with pytest.raises(EtcdError, match=r"nor etcdctl where root looks .*secure_path is /usr/bin:/bin"):
            understood(etcd.ask_tools("etcd-2", "/usr/bin:/bin"), VERSION, "\n", "")


class TestConfigurations:
    TEXT = """
name: etcd-1
data-dir: /var/lib/etcd/dh/lab
initial-cluster-token: lab
initial-cluster: etcd-1=https://10.0.0.11:2380
initial-advertise-peer-urls: https://10.0.0.11:2380
advertise-client-urls: https://10.0.0.11:2379,https://127.0.0.1:2379
election-timeout: 2500
client-transport-security: {cert-file: /c/server.crt, key-file: /c/server.key}
peer-transport-security: {cert-file: /c/peer.crt, key-file: /c/peer.key, trusted-ca-file: /c/ca.crt}
"""

    def test_what_the_runbook_needs_is_read(self) -> None:
        config = etcd.parse_config(self.TEXT, "etcd-1")
        assert (config.token, config.peer_url, config.client_urls[0], config.election_seconds) == (
            "lab",
            "https://10.0.0.11:2380",
            "https://10.0.0.11:2379",
            2.5,
        )

    def test_both_keys_must_be_readable_and_both_certificates_have_a_ca(self) -> None:
        config = etcd.parse_config(self.TEXT, "etcd-1")
        assert set(config.keys) == {"/c/server.key", "/c/peer.key"}
        assert {certificate.ca for certificate in config.certificates} == {"/c/ca.crt"}

    def test_health_is_asked_where_metrics_are_served(self) -> None:
        assert etcd.parse_config(self.TEXT, "x").health_url == "https://10.0.0.11:2379"
        metrics = self.TEXT + "listen-metrics-urls: http://127.0.0.1:2381\n"
        assert etcd.parse_config(metrics, "x").health_url == "http://127.0.0.1:2381"

    def test_a_certificate_is_shown_only_where_one_is_demanded(self) -> None:
        demanding = self.TEXT.replace("server.key}", "server.key, client-cert-auth: true}")
        without, shown = (etcd.ask_leader("h", etcd.parse_config(text, "x")) for text in (self.TEXT, demanding))
        assert "--cert" not in without.commands[0].argv
        assert "/c/server.crt" in shown.commands[0].argv

    @pytest.mark.parametrize(
        ("text", "says"),
        [("a: [", "is not YAML"), ("words", "holds no etcd configuration"), ("name: x", "lacks data-dir")],
    )
    def test_what_is_none_is_named(self, text: str, says: str) -> None:
        with pytest.raises(EtcdError, match=f"etcd-1:/etc/x: {says}"):
            etcd.parse_config(text, "etcd-1:/etc/x")

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("name", "../../etc"),  # H1: it wrote as root on the gathering host, and removed another directory
            ("name", "a b"),
            ("name", '"a\\nlisten-client-urls: http://0.0.0.0:2379"'),
            ("data-dir", "/var/lib/../../etc"),
            ("data-dir", "relative"),
            ("data-dir", "/"),
            ("data-dir", "/a b"),
            ("wal-dir", "$(x)"),
            ("initial-cluster", "etcd-1=https://10.0.0.11:2380,../x=https://10.0.0.12:2380"),
            ("initial-cluster", '"etcd-1=https://10.0.0.11:2380\\nforce-new-cluster: true"'),
            ("initial-advertise-peer-urls", "file:///etc/passwd"),
            ("advertise-client-urls", "https://10.0.0.11:2379/#"),
            ("listen-metrics-urls", "-o/etc/passwd"),
            ("election-timeout", ".inf"),  # the runbook would wait for three of them
            ("election-timeout", "-1"),
            ("election-timeout", "9" * 400),
            ("client-transport-security", "{cert-file: /c/../x, key-file: /c/k}"),
            ("peer-transport-security", "[]x"),
        ],
    )
    def test_a_word_that_leads_elsewhere_is_never_part_of_a_configuration(self, key: str, value: str) -> None:
        kept = [line for line in self.TEXT.splitlines() if not line.startswith(f"{key}:")]
        found = understood(etcd.ask_config("etcd-1", "/x"), "\n".join([*kept, f"{key}: {value}"]))
        assert isinstance(found, EtcdError)
        assert str(found).startswith("etcd-1:/x: ")

    def test_a_token_of_any_spelling_refuses_nothing(self) -> None:
        odd = self.TEXT.replace("token: lab", 'token: "lab of old\\n\\e"')
        assert etcd.parse_config(odd, "x").token == "lab of old\n\x1b"

    @pytest.mark.parametrize("path", ["lab.etcd", "./lab", "../lab"])
    def test_a_relative_path_is_named_as_one(self, path: str) -> None:
        """No file is to be restored for it: it is whole, and etcd takes it."""
        with pytest.raises(etcd.UnusableError, match="is relative, and only the working directory of its unit says"):
            etcd.parse_config(self.TEXT.replace("/var/lib/etcd/dh/lab", path), "x")

    def test_it_is_read_as_etcd_reads_it_with_tabs_a_byte_order_mark_or_the_ends_of_other_lines(self) -> None:
        plain = etcd.parse_config(self.TEXT, "x")
        for odd in (
            self.TEXT.replace(": ", ":\t"),
            self.TEXT.replace("\n", "\t \n"),
            self.TEXT.replace("\n", "\t# a word\n"),
            f"\ufeff{self.TEXT}",
            self.TEXT.replace("\n", "\r\n"),
        ):
            assert etcd.parse_config(odd, "x") == plain
        with pytest.raises(EtcdError, match="is not YAML"):
            etcd.parse_config(self.TEXT.replace("\n", "\n\t"), "x")

    def test_a_data_directory_has_one_spelling(self) -> None:
        for spelled in ("dh/lab//", "dh/./lab", "/dh//lab/", "dh/.//lab", "dh/lab/."):
            assert etcd.parse_config(self.TEXT.replace("dh/lab", spelled), "x").data_dir == "/var/lib/etcd/dh/lab"

    @pytest.mark.parametrize(
        "text",
        ["a: &a [x]\nb: [*a, *a]", "a: " + "[" * 20_000, "#" * etcd.MOST_BYTES, f"a: {'9' * 5000}"],
        ids=["aliases", "nesting", "size", "digits"],
    )
    def test_a_bomb_is_no_configuration(self, text: str) -> None:
        assert isinstance(understood(etcd.ask_config("etcd-1", "/x"), f"{self.TEXT}{text}"), EtcdError)

    def test_where_there_is_no_file_there_is_none_and_what_cannot_be_read_is_why(self) -> None:
        question = etcd.ask_config("etcd-1", "/x")
        assert understood(question, "", code=1, stderr="cat: /x: No such file or directory") is None
        found = understood(question, "", code=1, stderr="cat: /x: Input/output error")
        assert isinstance(found, EtcdError) and "Input/output error" in str(found)

    @pytest.mark.parametrize("code", [124, 137, 126, 127])
    def test_a_file_of_which_nobody_told_in_time_is_not_one_that_is_not_there(self, code: int) -> None:
        for said in ("", "cat: /x: No such file or directory"):
            found = understood(etcd.ask_config("etcd-1", "/x"), "", code=code, stderr=said)
            assert isinstance(found, EtcdError) and "cannot be read" in str(found)

    @given(st.text(max_size=2000) | st.text(max_size=200).map(lambda text: f"{TestConfigurations.TEXT}\n{text}"))
    def test_whatever_a_host_says_is_a_value_or_a_refusal_that_names_it(self, text: str) -> None:
        config = build.config()
        understood(etcd.ask_config("etcd-1", "/x"), text)
        understood(etcd.ask_leader("etcd-1", config), text)
        understood(etcd.ask_authentication("etcd-1", config), text)
        with build.refused_by("etcd-1"):
            understood(etcd.ask_tools("etcd-1"), VERSION, text, text)
        with build.refused_by("etcd-1"):
            understood(etcd.ask_tools("etcd-1"), text, "/usr/bin/etcdutl", text)


@pytest.mark.parametrize("url", ["https://10.0.0.11:2379", "https://[fd00::1]:2379", "http://etcd-1.lab:2380"])
def test_an_address_is_written_as_it_was_read(url: str) -> None:
    assert etcd.address(url).url == url


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("https://10.0.0.11:2380", ("https", "10.0.0.11", 2380)),
        ("https://[fd00::1]:2379", ("https", "fd00::1", 2379)),
        ("http://etcd-1.example", ("http", "etcd-1.example", None)),
        ("", ("", "", None)),
        *(
            (odd, ("", "", None))
            for odd in ("https://u@10.0.0.11:2380", "https://[::x]:1", "http://a:0", "http://a:65536/")
        ),
    ],
)
def test_a_url_leads_to_one_address(url: str, wanted: tuple[str, str, int | None]) -> None:
    assert etcd.address(url) == wanted


# -- what a unit says by flags and environment ---------------------------------------------------------------------

SAID = {
    "name": "etcd-1",
    "data-dir": "/data",
    "initial-cluster-token": "lab",
    "initial-cluster": "etcd-1=https://10.0.0.11:2380",
    "initial-advertise-peer-urls": "https://10.0.0.11:2380",
    "advertise-client-urls": "https://10.0.0.11:2379",
    "cert-file": "/c/server.crt",
    "key-file": "/c/server.key",
    "peer-cert-file": "/c/peer.crt",
    "peer-key-file": "/c/peer.key",
    "peer-trusted-ca-file": "/c/ca.crt",
}


def told(said: Mapping[str, str], *words: str, files: Mapping[str, str] | None = None, directory: str = "") -> Any:
    environment = tuple(f"ETCD_{name.upper().replace('-', '_')}={value}" for name, value in said.items())
    start = ExecStart(("/usr/bin/etcd", *words), environment, (), "etcd", directory, 0)
    return etcd.told("dh-etcd.service", start, files or {})


def test_flags_and_environment_are_a_configuration_where_they_say_all_of_it() -> None:
    by_environment = told(SAID)
    assert by_environment == told({}, *(f"--{name}={value}" for name, value in SAID.items()))
    by_file = etcd.parse_config(
        """
name: etcd-1
data-dir: /data
initial-cluster-token: lab
initial-cluster: etcd-1=https://10.0.0.11:2380
initial-advertise-peer-urls: https://10.0.0.11:2380
advertise-client-urls: https://10.0.0.11:2379
client-transport-security: {cert-file: /c/server.crt, key-file: /c/server.key}
peer-transport-security: {cert-file: /c/peer.crt, key-file: /c/peer.key, trusted-ca-file: /c/ca.crt}
""",
        "x",
    )
    assert replace(by_environment, settings=()) == replace(by_file, settings=()), (
        "as written they are spelled otherwise"
    )


def test_a_flag_wins_over_a_file_of_the_environment_and_that_over_the_unit() -> None:
    assert told(SAID, files={"ETCD_DATA_DIR": "/file"}).data_dir == "/file"
    assert told(SAID, "--data-dir", "/flag", files={"ETCD_DATA_DIR": "/file"}).data_dir == "/flag"
    assert told(SAID, "$OPTS", files={"OPTS": "--wal-dir /fast"}).wal_dir == "/fast"


def test_beside_a_configuration_file_they_say_nothing() -> None:
    assert told(SAID, "--config-file=/x") is None
    assert told({**SAID, "config-file": "/x"}) is None
    assert told(SAID, files={"ETCD_CONFIG_FILE": "/x"}) is None


def test_without_a_data_directory_etcd_takes_one_of_its_name_where_it_is_started() -> None:
    said = {name: value for name, value in SAID.items() if name != "data-dir"}
    assert told(said).data_dir == "/etcd-1.etcd"
    assert told(said, directory="-/srv").data_dir == "/srv/etcd-1.etcd"
    assert told({**said, "data-dir": "d", "wal-dir": "w"}, directory="/srv").wal_dir == "/srv/w"
    assert told(said, directory="~") is None


@pytest.mark.parametrize("lacking", sorted(SAID.keys() - {"data-dir", "peer-trusted-ca-file"}))
def test_where_they_do_not_say_all_of_it_what_they_lack_is_said(lacking: str) -> None:
    found = told({name: value for name, value in SAID.items() if name != lacking})
    assert found == (
        "dh-etcd.service starts etcd without a configuration file, and what it says by flags and environment "
        f"lacks {lacking}"
    )


@pytest.mark.parametrize("path", ["/var/lib/%N", "/$DIR", "/${DIR}/x", "/"])
def test_a_place_that_is_not_spelled_out_is_no_place(path: str) -> None:
    assert "without a configuration file" in told({**SAID, "data-dir": path})
