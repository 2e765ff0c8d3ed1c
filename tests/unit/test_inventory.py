"""Every refusal of an inventory, each with file, field, value and remedy in one message."""

from __future__ import annotations

import posixpath
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from requorum import inventory
from requorum.inventory import InventoryError
from tests.unit import build
from tests.unit.build import member

Change = Callable[[dict[str, Any]], object]


SHARED = "shared with others: name one of etcd's own"


def refused(path: Path, text: str) -> str:
    path.write_text(text)
    with pytest.raises(InventoryError) as error:
        inventory.load(path)
    return str(error.value)


def set_in(*way: str | int, to: object) -> Change:
    def change(data: Any) -> None:
        for key in way[:-1]:
            data = data.setdefault(key, {}) if isinstance(data, dict) else data[key]
        data[way[-1]] = to

    return change


def command(field: str, line: str) -> Change:
    return set_in("deephaven", "commands", field, to=line)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty"),
        ("# nothing but a comment\n", "is empty"),
        ("- etcd-1\n", "holds a list, not named fields"),
        ("just words\n", "holds a str, not named fields"),
        ("members: [\n", "is not valid YAML"),
        ("cluster: lab\n\tmembers: 3\n", "line 2"),
        ("cluster: lab\ncluster: prod\n", "the name cluster is given twice"),
        ("hosts:\n  etcd-1: {}\n  etcd-1: {}\n", "the name etcd-1 is given twice"),
    ],
)
def test_a_file_that_is_no_inventory_is_named(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "bad.yaml"
    message = refused(path, text)
    assert message.startswith(f"{path}: ") and says in message and "→" in message


def test_a_missing_inventory_says_where_it_was_looked_for(tmp_path: Path) -> None:
    says = r"--hosts=prod: .*inventory/prod\.yaml\n    → make one: python -m requorum inventory new"
    with pytest.raises(InventoryError, match=says):
        inventory.find("prod", tmp_path)


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InventoryError, match="cannot be read as text"):
        inventory.load(path)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (set_in("cluster", to="my cluster"), "cluster must be a plain name"),
        (set_in("expect", "off", to="cs"), "expect.off must be a list of process names as monit spells them, not 'cs'"),
        (set_in("expect", "off", to=["cs", 7]), "expect.off must be a list of process names"),
        (set_in("expect", "off", to=None), "expect.off must be a list of process names"),
        (set_in("expect", "off", to=[""]), "expect.off must be a list of process names"),
        (set_in("cluster", to="../x"), "(found '../x')"),
        (lambda d: d.pop("cluster"), "cluster is missing"),
        (lambda d: d.pop("members"), "members is missing"),
        (lambda d: d.pop("deephaven"), "deephaven is missing"),
        (set_in("members", to=[]), "members"),
        (set_in("hosts", to={}), "hosts"),
        (set_in("membres", to=[]), "membres is not a known field"),
        (set_in("etcd", "unti", to="x"), "etcd.unti is not a known field"),
        (set_in("members", to=[member(1), member(2)]), "members: 2 members; an even number"),
        (set_in("members", 1, to=member(2, ip="10.0.0.11")), "members: the address 10.0.0.11 stands there 2 times"),
        (set_in("members", 1, to=member(1, "etcd-2", "10.0.0.12")), "members: the name etcd-1 stands there 2 times"),
        (set_in("members", 1, to=member(2, "etcd-1")), "members: the host etcd-1 stands there 2 times"),
        (set_in("members", to=[member(2), member(1), member(3)]), "etcd-2 stands at place 1"),
        (set_in("members", 1, to=member(4, "etcd-2")), "etcd-4 stands at place 2"),
        (set_in("members", 2, to=member(3, "etcd-9")), "members: host etcd-9 is not among hosts; add it"),
        (set_in("members", 0, "ip", to="10.0.0.256"), "members.0.ip must be an IP address"),
        (set_in("members", 0, "ip", to="etcd-1.prod"), "(found 'etcd-1.prod')"),
        (set_in("members", 0, "ip", to="10.0.0.11/24"), "(found '10.0.0.11/24')"),
        (set_in("old_members", to=[member(1), member(1)]), "old_members: the name etcd-1 stands there 2 times"),
        (set_in("old_members", to=[member(1, "etcd-9")]), "old_members: host etcd-9 is not among hosts"),
        (set_in("hosts", "etcd-2", "address", to="etcd-1.invalid"), "hosts.address: the address etcd-1.invalid"),
        (set_in("deephaven", "hosts", to=["infra-1", "quarry-1"]), "deephaven.hosts: quarry-1 is not among hosts"),
        (set_in("deephaven", "hosts", to=["infra-1", "infra-1"]), "the host infra-1 stands there 2 times"),
        (set_in("deephaven", "hosts", to=["query-1"]), "lacks the configuration server infra-1"),
        (set_in("deephaven", "client_config", to="etc/x"), "must be an absolute path"),
        (set_in("deephaven", "client_config", to="/etc/../x"), "(found '/etc/../x')"),
        (set_in("etcd", "unit", to="dh-etcd"), "etcd.unit"),
        (set_in("etcd", "client_port", to=70000), "etcd.client_port"),
        (set_in("etcd", "client_port", to=2380), "client_port and peer_port are both 2380"),
        (set_in("etcd", "keep_settings", to="quota-backend-bytes"), "must be a list of etcd's settings"),
        (set_in("etcd", "keep_settings", to=["quota-backend-bytes: 1"]), "is no setting of etcd"),
        (set_in("etcd", "keep_settings", to=["snapshot-count=1\nname: x"]), "is no setting of etcd"),
        (set_in("etcd", "keep_settings", to=["initial-cluster-token"]), "comes from the generator alone"),
        (set_in("etcd", "keep_settings", to=["data-dir=x"]), "comes from the generator alone"),
        *(
            (
                set_in("etcd", "data_root", to=path),
                f"etcd.data_root is a directory of the system, {SHARED} (found '{path}')",
            )
            for path in (
                "/",
                "//",
                "/.",
                "/var/lib",
                "//var//lib/",
                "/var/lib/requorum/lab",
                "/proc/1",
                "/etc/sysconfig/",
            )
        ),
        (
            set_in("deephaven", "client_config", to="/"),
            f"deephaven.client_config is a directory of the system, {SHARED} (found '/')",
        ),
        (set_in("deephaven", "client_config", to="/etc/./sysconfig"), "(found '/etc/./sysconfig')"),
        (
            set_in("deephaven", "client_config", to="/var/lib/etcd/"),
            "client_config /var/lib/etcd and etcd.data_root /var/lib/etcd/dh: one lies in",
        ),
        (set_in("deephaven", "client_config", to="/etc/a\nb"), "must be a path of letters, digits"),
        (set_in("deephaven", "client_config", to="/etc/$(reboot)"), "must be a path of letters, digits"),
        (set_in("deephaven", "client_config", to="/etc/{cluster_id}"), "must be a path of letters, digits"),
        (
            set_in("deephaven", "server_archive", to="/etc/passwd"),
            "server_archive must be a file of etcd's own that ends in .tgz",
        ),
        (
            set_in("deephaven", "client_archive", to="/{cluster_id}/../etc/x.tgz"),
            "client_archive must be an absolute path without '..'",
        ),
        (set_in("deephaven", "client_archive", to="/tmp/{cluster}/x.tgz"), "unknown placeholder {cluster}"),
        (set_in("deephaven", "client_archive", to="/etc/shadow"), "(found '/etc/shadow')"),
        (set_in("etcd", "config", to="/etc/passwd"), "etcd.config must be a file of etcd's own that ends in .yaml"),
        (set_in("etcd", "config", to="/proc/self/x.yaml"), "(found '/proc/self/x.yaml')"),
        (set_in("etcd", "unit", to="-H.service"), "etcd.unit"),
        (set_in("etcd", "user", to="etcd\n"), "etcd.user must be a plain name"),
        (set_in("transport", "user", to="ops -oProxyCommand=x"), "transport.user must be a plain name"),
        *(
            (set_in("hosts", "etcd-2", "address", to=odd), "hosts.etcd-2.address")
            for odd in ("a;b", "-x", "a b", "a\x1b[2J", "ops@a", "a/b")
        ),
        (set_in("members", 0, "ip", to="fe80::1%$(reboot)"), "members.0.ip must be the address of one machine"),
        (set_in("members", 0, "ip", to="0.0.0.0"), "members.0.ip must be the address of one machine"),
        (set_in("transport", "backend", to="paramiko"), "transport.backend"),
        (set_in("limits", "concurrency", to=0), "limits.concurrency"),
        (set_in("snapshot", "max_age_hours", to=-1), "snapshot.max_age_hours"),
        (command("etcdctl", "dhctl {token}"), "etcdctl has the unknown placeholder {token}; known: admin_user"),
        (command("unpack_server", "x {archive}"), "unpack_server lacks the placeholder {number}"),
        (command("unpack_client", "x"), "unpack_client lacks the placeholder {archive}"),
        (command("generate", "x {cluster_id}"), "generate lacks the placeholder {ips} or {ips_comma}"),
        (command("generate", "x {ips}"), "generate lacks the placeholder {cluster_id}"),
        (command("etcdctl_as", "x"), "etcdctl_as lacks the placeholder {client}"),
        (command("etcdctll", "x"), "etcdctll is not a known field"),
    ],
)
def test_each_mistake_is_named_with_its_field_value_and_remedy(tmp_path: Path, change: Change, says: str) -> None:
    data = build.document()
    change(data)
    message = refused(tmp_path / "bad.yaml", yaml.safe_dump(data))
    assert message.startswith(f"{tmp_path}/bad.yaml: ")
    assert says in message
    assert message.endswith("→ correct it; inventory/example.yaml explains every field")


@pytest.mark.parametrize(
    "change",
    [
        set_in("cluster", to=2024),
        set_in("hosts", 7, to={}),
        set_in("members", 0, "name", to=1),
        set_in("deephaven", "client_config", to=5),
        set_in("etcd", "user", to=["etcd"]),
    ],
    ids=["cluster", "hosts", "name", "path", "user"],
)
def test_a_number_where_a_name_belongs_is_refused_in_words(tmp_path: Path, change: Change) -> None:
    data = build.document()
    change(data)
    refused(tmp_path / "bad.yaml", yaml.safe_dump(data))


@pytest.mark.parametrize(
    "change",
    [
        command("etcdctl", "dhctl 'unclosed"),
        command("etcdctl", ""),
        command("monit_down", "x {"),
        command("etcdctl", "x {cluster_id}"),
        set_in("deephaven", "client_archive", to="/tmp/{cluster}/dh_query.tgz"),
    ],
    ids=["open quote", "empty", "open brace", "a placeholder of another command", "archive's placeholder"],
)
def test_a_line_that_could_never_run_is_refused_before_any_host(tmp_path: Path, change: Change) -> None:
    data = build.document()
    change(data)
    refused(tmp_path / "bad.yaml", yaml.safe_dump(data))


def test_all_mistakes_are_named_at_once(tmp_path: Path) -> None:
    data = build.document(cluster="my cluster", nonsense=1)
    message = refused(tmp_path / "bad.yaml", yaml.safe_dump(data))
    assert "cluster must" in message and "nonsense is not a known field" in message


def test_this_machine_alone_cannot_be_several_hosts(tmp_path: Path) -> None:
    text = yaml.safe_dump(build.document(transport={"backend": "local"}))
    assert "transport.backend local is this machine alone (found 5 hosts)" in refused(tmp_path / "bad.yaml", text)


class TestWhatIsAccepted:
    @pytest.mark.parametrize("path", ["//srv//etcd/./dh/", "/srv/etcd/dh"])
    def test_a_path_has_one_spelling(self, path: str) -> None:
        of = build.inventory(etcd={"data_root": path, "config": f"{path}/latest//config.yaml"})
        assert (of.etcd.data_root, of.etcd.config) == ("/srv/etcd/dh", "/srv/etcd/dh/latest/config.yaml")

    @given(st.lists(st.sampled_from([*"/.", "..", "etc", "var", "lib", "sysconfig", "usr", "local", "a", "proc"])))
    def test_no_directory_is_the_systems_or_goes_up(self, parts: list[str]) -> None:
        try:
            found = build.inventory(etcd={"data_root": "/" + "/".join(parts)}).etcd.data_root
        except ValueError:
            return
        assert found == posixpath.normpath(found) and ".." not in found and found.lstrip("/") and found[1] != "/"
        assert found not in (
            "/",
            "/etc",
            "/var",
            "/var/lib",
            "/etc/sysconfig",
            "/usr",
            "/usr/lib",
            "/usr/local",
            "/proc",
        )
        assert not found.startswith("/proc/")

    def test_the_old_members_default_to_the_members(self) -> None:
        found = build.inventory()
        assert found.old_members == found.members

    @pytest.mark.parametrize("count", [1, 3, 5])
    def test_one_three_and_five_members_are_clusters(self, count: int) -> None:
        hosts = {f"etcd-{n}": None for n in range(1, count + 1)} | {"infra-1": None, "query-1": None}
        members = [member(n) for n in range(1, count + 1)]
        assert len(build.inventory(hosts=hosts, members=members).members) == count

    def test_server_numbers_are_places_in_the_list(self) -> None:
        found = build.replaced()
        assert [found.number(m) for m in found.members] == [1, 2, 3]

    def test_a_host_without_an_address_is_reached_by_its_name(self) -> None:
        assert build.replaced().address("etcd-4") == "etcd-4"

    def test_a_name_in_the_inventory_folder_is_found(self, tmp_path: Path) -> None:
        (tmp_path / "inventory").mkdir()
        path = tmp_path / "inventory" / "prod.yaml"
        path.write_text("x")
        assert inventory.find("prod", tmp_path) == path

    def test_paths_on_this_machine_are_relative_to_the_file(self, tmp_path: Path) -> None:
        path = tmp_path / "a.yaml"
        data = build.document(snapshot={"directory": "../b"}, transport={"ssh_config": "~/x"})
        path.write_text(yaml.safe_dump(data))
        found = inventory.load(path)
        assert (found.snapshot.directory, found.transport.ssh_config) == (
            str(tmp_path.parent / "b"),
            str(Path("~/x").expanduser()),
        )

    def test_it_cannot_be_changed_afterwards(self) -> None:
        with pytest.raises(ValueError, match="frozen"):
            build.inventory().cluster = "other"  # type: ignore[misc]

    def test_processes_that_are_off_on_purpose_are_named_as_the_operator_writes_it(self, tmp_path: Path) -> None:
        path = tmp_path / "a.yaml"
        path.write_text(yaml.safe_dump(build.document()) + "expect:\n  off: [cs, never_heard_of]\n")
        assert inventory.load(path).expect.off == ("cs", "never_heard_of")

    def test_the_example_is_valid(self) -> None:
        root = Path(__file__).parents[2]
        assert inventory.load(inventory.find("example", root)).cluster


# -- where it is wrong ---------------------------------------------------------------------------------------------

TEXT = """cluster: lab
hosts:
  etcd-1: {}
  infra-1:
members:
  - name: etcd-1
    host: etcd-1
    ip: nowhere
deephaven:
  configuration_server: infra-1
  hosts: [infra-1]
"""


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("", "", "line 8: members.0.ip must be an IP address"),
        ("nowhere", "10.0.0.11\netcd:\n  user: etcd\n  client_port: x", "line 11: etcd.client_port "),
        ("nowhere", "10.0.0.11\nsurprise: 1", "line 9: surprise is not a known field"),
        ("nowhere", "10.0.0.11\nexpect:\n  prefixes:\n    /a: {min: 2, max: 1}", "line 11: expect.prefixes./a max 1"),
        ("nowhere", "10.0.0.11\n  - {name: etcd-2, host: infra-1, ip: 10.0.0.12}", "line 5: members: 2 members"),
        ("hosts: [infra-1]", "hosts: [infra-1, query-1]", "line 8: members.0.ip"),
        ("    ip: nowhere\n", "", "line 6: members.0.ip is missing"),
        ("  hosts: [infra-1]", "  hosts: [etcd-9, infra-1]\nlimits: {}\n", "line 8"),
    ],
)
def test_an_error_names_the_line(tmp_path: Path, old: str, new: str, says: str) -> None:
    assert says in refused(tmp_path / "a.yaml", TEXT.replace(old, new, 1) if old else TEXT)


def test_what_is_wrong_between_fields_names_the_line_of_the_first(tmp_path: Path) -> None:
    text = TEXT.replace("nowhere", "10.0.0.11").replace("[infra-1]", "[infra-1, query-1]")
    assert "line 11: deephaven.hosts: query-1 is not among hosts" in refused(tmp_path / "a.yaml", text)


@pytest.mark.parametrize("line", ["sudo -n", "dzdo -n", "doas -n -u root", "pbrun", "/opt/quest/bin/sudo -n -H"])
def test_how_a_login_becomes_root_is_a_line_of_plain_words(line: str) -> None:
    assert build.inventory(transport={"become": line}).transport.as_root == tuple(line.split())


@pytest.mark.parametrize(
    "line",
    [
        "",
        "sudo",
        "sudo -nS",
        "sudo -n -S",
        "sudo -n sh -c",
        "sudo -n -u ops",
        "dzdo -n -b",
        "sudo -n;reboot",
        "$(reboot)",
        "../sudo -n",
        "/opt/../bin/sudo -n",
        "-n sudo",
        "sudo -n\nreboot|",
        "pbrun `id`",
        "FOO=bar sudo -n",
    ],
)
def test_what_could_do_more_than_become_root_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match="become"):
        build.inventory(transport={"become": line})
