"""The inventory, helped: its schema, what differs from the hosts, and a first one from what the hosts say."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import yaml

from requorum import inventory as inventory_file
from requorum.cluster import deephaven
from requorum.command import Command, Result
from requorum.diagnosis import described, inventories
from requorum.diagnosis.described import OnMember, Seen
from requorum.hosts.fleet import Fleet
from requorum.refusal import Refusal
from tests.unit import build
from tests.unit.run.test_dryrun import Hosts

LAB = build.inventory()


def member(number: int, **fields: Any) -> OnMember:
    told = build.config(number, data_dir="/var/lib/etcd/dh/old")
    told = replace(
        told, peer_url=f"https://10.0.0.{10 + number}:2380", client_urls=(f"https://10.0.0.{10 + number}:2379",)
    )
    plain = OnMember("dh-etcd.service", "etcd", LAB.etcd.config, told, f"10.0.0.{10 + number}")
    return replace(plain, **fields)


def seen(**fields: Any) -> Seen:
    members = {f"etcd-{n}": member(n) for n in (1, 2, 3)}
    plain = Seen(members, {}, ("root", "query"), ("infra-1",), ("irisadmin", "dbquery", "dbmerge"), 21640)
    return replace(plain, **fields)


def asked(*words: str) -> Any:
    return inventories._parser().parse_args(["new", *words])


OPTIONS = ("--cluster=prod", "--members=etcd-1,etcd-2,etcd-3", "--configuration-server=infra-1", "--hosts=query-1")


# -- the schema ----------------------------------------------------------------------------------------------------


def test_the_schema_has_every_field_and_no_other_is_allowed(capsys: pytest.CaptureFixture[str]) -> None:
    assert inventories.main(["schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert set(schema["properties"]) == set(inventory_file.Inventory.model_fields)
    kinds = [schema, *schema["$defs"].values()]
    assert len(kinds) >= 12 and all(kind["additionalProperties"] is False for kind in kinds)
    assert {"type": "null"} in schema["properties"]["hosts"]["additionalProperties"]["anyOf"], (
        "`query-1:` alone is a host"
    )
    assert set(schema["required"]) == {"cluster", "hosts", "members", "deephaven"}


# -- the hosts -----------------------------------------------------------------------------------------------------


class Described(Hosts):
    """Three members that run, whose unit says another account than the usual."""

    def gather(self, commands: Sequence[Command]) -> dict[str, list[Result]]:
        found: dict[str, list[Result]] = {}
        for result in self.run(commands):
            found.setdefault(result.command.host, []).append(result)
        return found

    def answer(self, command: Command) -> tuple[int, str]:
        line = " ".join(command.argv)
        if "busctl" in line and "etcd_2eservice" in line and "dh_2d" not in line:
            return 1, ""
        if command.argv[0] == "busctl":
            return 0, super().answer(command)[1].replace('"etcd"\ns ""', '"etcd-user"\ns ""')
        if "id -u" in line:
            return (0, "1001\n") if command.argv[-1] == "irisadmin" else (1, "")
        if "--keys-only" in line:
            return 0, '{"count": 21640}'
        return super().answer(command)


def test_hosts_are_only_asked_and_tell_what_an_inventory_says() -> None:
    hosts = Described()
    fleet = cast("Fleet", SimpleNamespace(gather=hosts.gather))
    found = described.look(fleet, LAB, described.UNITS)
    assert not [command for command in hosts.asked if command.changes]
    assert described.fields(found) == {
        "etcd.unit": "dh-etcd.service",
        "etcd.config": "/etc/etcd/dh/latest/config.yaml",
        "etcd.user": "etcd-user",
        "etcd.data_root": "/var/lib/etcd/dh",
        "etcd.client_port": "2379",
        "etcd.peer_port": "2380",
        **{f"old_members on etcd-{n}": f"etcd-{n} 10.0.0.{10 + n}" for n in (1, 2, 3)},
    }
    assert (found.keys, found.accounts) == (21640, ("irisadmin",))
    assert described.differences(LAB, found) == [
        "etcd.user: the file says etcd, the hosts etcd-user",
        "deephaven.accounts: dbquery is not on infra-1",
        "deephaven.accounts: dbmerge is not on infra-1",
        *(
            ["deephaven.client_config: no role has a password below /etc/sysconfig/deephaven/etcd/client"]
            * (not found.roles)
        ),
    ]


def test_file_and_hosts_that_agree_differ_in_nothing_and_each_difference_is_named() -> None:
    assert described.differences(LAB, seen()) == []
    other = {**seen().members, "etcd-2": member(2, ip="10.0.0.99", user="root")}
    found = described.differences(LAB, seen(members=other, keys=0, unread={"etcd-3": "no route"}))
    assert found == [
        "etcd.user: the file says etcd, the hosts etcd-1: etcd, etcd-2: root, etcd-3: etcd",
        "old_members on etcd-2: the file says etcd-2 10.0.0.12, the hosts etcd-2 10.0.0.99",
        "etcd-3: no route",
        "expect.min_keys: the file says 1, the cluster has 0",
    ]


def test_a_unit_that_is_not_there_is_a_difference_though_nothing_contradicts_it() -> None:
    other = LAB.model_copy(update={"etcd": LAB.etcd.model_copy(update={"unit": "etcd.service"})})
    assert described.differences(other, seen()) == [
        "etcd.unit: the file says etcd.service, the hosts dh-etcd.service",
    ]
    bare = {host: replace(on, unit="", user="") for host, on in seen().members.items()}
    assert described.differences(LAB, seen(members=bare)) == [
        (
            "etcd.unit: the file says dh-etcd.service, and no unit of that name, nor etcd.service, starts etcd on "
            "etcd-1, etcd-2, etcd-3"
        )
    ]


def test_a_check_looks_for_the_usual_units_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path, asked_for = tmp_path / "prod.yaml", list[Sequence[str]]()
    path.write_text(yaml.safe_dump({**build.document(), "etcd": {"unit": "quetcd.service"}}))

    def look(fleet: Fleet, inventory: object, units: Sequence[str]) -> Seen:
        asked_for.append(units)
        return seen()

    monkeypatch.setattr(described, "look", look)
    assert inventories.main(["check", f"--hosts={path}"]) == 1
    assert asked_for == [("quetcd.service", *described.UNITS)]


def test_a_configuration_server_without_root_is_a_difference_and_makes_no_inventory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = seen(roles=("query",), keys=None)
    line = "deephaven.configuration_server: infra-1 has no role root below /etc/sysconfig/deephaven/etcd/client; "
    assert described.differences(LAB, replace(wrong, roots=("query-1",))) == [f"{line}query-1 has"]
    assert described.differences(LAB, replace(wrong, roots=()))[0].startswith(f"{line}nor has any Deephaven host")
    monkeypatch.setattr(described, "look", lambda *_: replace(wrong, roots=("query-1",)))
    path = tmp_path / "prod.yaml"
    assert inventories.main(["new", *OPTIONS, f"--output={path}"]) == 4 and not path.exists()
    said = capsys.readouterr().err
    assert "infra-1 has no role root" in said and "--configuration-server=query-1" in said


def test_keys_that_nobody_could_count_are_not_said_to_be_the_same(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "prod.yaml"
    path.write_text(yaml.safe_dump(build.document()))
    monkeypatch.setattr(described, "look", lambda *_: seen(keys=None))
    assert inventories.main(["check", f"--hosts={path}"]) == 0
    assert "expect.min_keys: not compared" in capsys.readouterr().out


# -- a new one -----------------------------------------------------------------------------------------------------


def test_what_the_hosts_say_makes_an_inventory_that_is_valid(tmp_path: Path) -> None:
    draft = inventories.begun(asked(*OPTIONS, "--user=ops"))
    path = tmp_path / "inventory" / "prod.yaml"
    path.parent.mkdir()
    document = inventories.completed(draft, seen(), path)
    path.write_text(inventories.text(document, seen()))
    made = inventory_file.load(path)
    assert [(m.name, m.ip) for m in made.members] == [(f"etcd-{n}", f"10.0.0.{10 + n}") for n in (1, 2, 3)]
    assert (made.transport.user, made.deephaven.hosts) == ("ops", ("infra-1", "query-1"))
    assert made.expect.min_keys == 19476 and made.etcd.peer_port == 2380
    head = path.read_text().split("\ncluster:")[0]
    assert "# Token of today's cluster: old" in head and "# Roles with a password: root, query" in head
    assert made.snapshot.directory == str(tmp_path / "backups" / "prod"), "where a first backup can go at once"
    assert "# Keys: 21,640" in head and all(line.startswith("#") for line in head.splitlines())


def test_a_host_cannot_write_past_the_comment_that_names_its_token(tmp_path: Path) -> None:
    evil = replace(member(1), told=replace(member(1).told, token="x\nexpect: {min_keys: 0}\n"))
    text = inventories.text({"cluster": "prod"}, seen(members={"etcd-1": evil}))
    assert yaml.safe_load(text) == {"cluster": "prod"}


def test_a_member_whose_part_is_not_known_makes_no_inventory() -> None:
    draft = inventories.begun(asked(*OPTIONS))
    members = {h: on for h, on in seen().members.items() if h != "etcd-2"}
    with pytest.raises(Refusal, match="etcd-2: its part in the cluster is not known: no route"):
        inventories.completed(draft, seen(members=members, unread={"etcd-2": "no route"}), Path("x.yaml"))


def test_machines_come_from_an_ansible_inventory(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    path.write_text(
        "[db]\netcd-[1:3] ansible_user=ops ansible_host=h.example\n[dh]\ninfra-1\nquery-1 ansible_host=q.example\n"
    )
    words = ("--cluster=prod", f"--from-ansible={path}", "--members-group=db", "--hosts-group=dh")
    draft = inventories.begun(asked(*words))
    assert [row["host"] for row in draft["members"]] == ["etcd-1", "etcd-2", "etcd-3"]
    assert draft["deephaven"] == {"configuration_server": "infra-1", "hosts": ["infra-1", "query-1"]}
    assert draft["hosts"]["query-1"] == {"address": "q.example"} and draft["transport"]["user"] == "ops"


def test_what_is_not_given_is_named_where_nobody_can_be_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: False))
    with pytest.raises(Refusal, match=re.escape("--configuration-server: is not given")):
        inventories.begun(asked("--cluster=a", "--members=b"))


def test_an_inventory_that_is_there_is_not_written_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "prod.yaml"
    path.write_text("mine")
    assert inventories.main(["new", *OPTIONS, f"--output={path}"]) == 4
    assert path.read_text() == "mine" and "is not written over" in capsys.readouterr().err


def test_the_vendors_lines_stand_in_it_each_with_what_may_stand_in_it(tmp_path: Path) -> None:
    path = tmp_path / "prod.yaml"
    draft = inventories.begun(asked(*OPTIONS))
    path.write_text(inventories.text(inventories.completed(draft, seen(), path), seen()))
    made, lines = inventory_file.load(path), path.read_text().splitlines()
    assert made.deephaven.commands == inventory_file.VendorCommands()
    assert made.deephaven.commands.model_fields_set == set(inventory_file.VendorCommands.model_fields)
    for field, (needed, optional) in inventory_file.PLACEHOLDERS.items():
        (at,) = (n for n, line in enumerate(lines) if line.startswith(f"    {field}: "))
        assert lines[at - 1].startswith("    # m")
        assert all(f"{{{name}}}" in lines[at - 1] for name in (*needed, *optional)), lines[at - 1]
    assert "must have {cluster_id}, {ips} or {ips_comma}; may have {admin_user}" in path.read_text()


def test_a_line_may_run_as_the_admin_account_in_the_form_that_the_page_gives() -> None:
    page = (inventories.ROOT / "docs" / "inventory.md").read_text()
    (line,) = re.findall(r"monit_status: (sudo .*)", page)
    commands = inventory_file.VendorCommands(monit_status=line)
    assert deephaven.account(commands.monit_status, "irisadmin") == "irisadmin"
    assert deephaven.executable(commands.monit_status) == "/usr/illumon/latest/bin/dh_monit"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--members=a,b",), "--members: members: 2 members; an even number"),
        (("--cluster=a/b",), "--cluster: cluster "),
        (("--hosts=bad/name",), "--members, --hosts, --configuration-server: hosts"),
    ],
)
def test_what_is_wrong_is_said_of_the_option_and_never_of_a_file_that_nobody_made(
    words: tuple[str, ...], says: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert inventories.main(["new", *OPTIONS, *words, f"--output={tmp_path / 'x.yaml'}"]) == 4
    said = capsys.readouterr().err
    assert says in said and ".yaml" not in said and "line " not in said


def test_the_next_command_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(described, "look", lambda *_: seen())
    path = tmp_path / "rd.yaml"
    assert inventories.main(["new", *OPTIONS, f"--output={path}"]) == 0
    assert f"pytest runbook --hosts={path} --check" in capsys.readouterr().out
