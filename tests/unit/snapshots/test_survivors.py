"""The plan of a salvage, as data: who boots, under which name, in which order, and what a boot says."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from requorum.cluster import lineage, sandbox
from requorum.cluster.etcd import MemberConfig
from requorum.cluster.sandbox import Boot
from requorum.command import Action, Command, Copy, Result
from requorum.inventory import Inventory, Member
from requorum.refusal import Refusal
from requorum.run.marker import Marker, Phase
from requorum.run.terms import Terms
from requorum.snapshots import disks, layout
from requorum.snapshots import survivors as salvage
from requorum.snapshots.layout import Data
from requorum.snapshots.survivors import SalvageError, Survivor
from requorum.troubleshoot import sudoers
from tests.unit import build

GIB = 1 << 30
DATA = "/var/lib/etcd/dh/lost"


def ip(number: int) -> str:
    return f"10.0.0.{10 + number}"


def inventory(members: int) -> Inventory:
    listed = [{"name": f"etcd-{n}", "host": f"etcd-{n}", "ip": ip(n)} for n in range(1, members + 1)]
    return Inventory.model_validate(
        {
            "cluster": "prod",
            "hosts": {name: {} for name in (*(m["name"] for m in listed), "infra-1")},
            "members": listed,
            "deephaven": {"configuration_server": "infra-1", "hosts": ["infra-1"]},
        }
    )


def terms(members: int = 3) -> Terms:
    return Terms(inventory(members), Marker("r1", "prod-r1", Phase.STOPPING, "ops"))


BOOTS = [Boot(1, "etcd-1", "https://10.0.0.11:2380", "10.0.0.11", "", "lost")]


def initial_cluster(members: int) -> str:
    return ",".join(f"etcd-{n}=https://{ip(n)}:2380" for n in range(1, members + 1))


def known_members(members: int) -> dict[str, str]:
    return dict(survivor(1, members).config.peers)


def survivor(number: int, members: int = 3, token: str = "lost", size: int = GIB, free: int = 100 * GIB) -> Survivor:
    name = f"etcd-{number}"
    url = f"https://{ip(number)}:2380"
    config = MemberConfig(name, token, DATA, url, (), initial_cluster(members), None, None, None, False, 1.0)
    data = Data(f"{DATA}/member/snap", f"{DATA}/member/wal", ("db", "1.snap"), ("0.wal", "1.wal"))
    return Survivor(number, Member(name=name, host=name, ip=ip(number)), config, size, free, data)


def booted(numbers: list[int], members: int) -> list[tuple[str, bool]]:
    known = known_members(members)
    boots = salvage.boots([survivor(n, members) for n in numbers], known, inventory(members).old_members)
    return [(b.name, b.stand_in) for b in boots]


@pytest.mark.parametrize(
    ("survivors", "members", "stand_ins"),
    [
        ([1], 1, []),
        ([1], 3, ["etcd-2"]),
        ([2], 3, ["etcd-1"]),
        ([1, 3], 3, []),
        ([1, 2, 3], 3, []),
        ([3], 5, ["etcd-1", "etcd-2"]),
        ([1, 4], 5, ["etcd-2"]),
        ([1, 2, 5], 5, []),
    ],
)
def test_just_the_stand_ins_that_quorum_lacks_are_booted_under_dead_names(
    survivors: list[int], members: int, stand_ins: list[str]
) -> None:
    found = booted(survivors, members)
    assert [name for name, stand_in in found if not stand_in] == [f"etcd-{n}" for n in survivors]
    assert [name for name, stand_in in found if stand_in] == stand_ins


def test_a_forced_copy_is_alone() -> None:
    known = known_members(5)
    (boot,) = salvage.boots([survivor(1, 5)], known, inventory(5).old_members, force=True)
    assert boot.force
    assert "force-new-cluster: true" in boot.config(20001)


def test_a_copy_keeps_its_peer_url_and_clients_reach_it_on_loopback_alone() -> None:
    known = known_members(3)
    copy, stand_in = salvage.boots([survivor(2)], known, inventory(3).old_members)
    config = yaml.safe_load(copy.config(20001))
    assert config["initial-advertise-peer-urls"] == config["listen-peer-urls"] == "https://10.0.0.12:2380"
    assert config["listen-client-urls"] == "https://127.0.0.1:20001,http://127.0.0.1:30001"
    assert config["client-transport-security"]["client-cert-auth"] is True
    assert config["client-transport-security"]["trusted-ca-file"] == "/tmp/requorum/tls/root.crt"
    assert config["data-dir"] == "/tmp/requorum/2"
    assert config["peer-transport-security"]["client-cert-auth"] is True
    assert yaml.safe_load(stand_in.config(20002))["initial-cluster-state"] == "existing"
    assert stand_in.initial_cluster == initial_cluster(3)


FORMED = lineage.cluster_id(lineage.member_id([url], "lost") for url in known_members(5).values())


def put_down(plan: Sequence[Action]) -> dict[str, str]:
    """What a boot's own program puts down, by name."""
    written = next(c for c in plan if isinstance(c, Command) and f"of=/s/{sandbox.ON_HOSTS}" in c.argv)
    return sandbox.files_of((written.stdin or b"").decode())


def begun(number: int, *snapshots: str, formed: int | None = FORMED, token: str = "lost") -> Survivor:
    """One of five members, whose log begins with these snapshots."""
    one = survivor(number, 5, token)
    return replace(one, cluster_id=formed, data=replace(one.data, snaps=("db", *snapshots)))


BEYOND, RESTORED = "0000000000000002-0000000000000006.snap", "0000000000000001-0000000000000005.snap"


@pytest.mark.parametrize(
    "found",
    [
        pytest.param([begun(1)], id="all that ever was is in its log"),
        pytest.param([begun(1, BEYOND)], id="a leader can only send what it has now"),
        pytest.param([begun(1), begun(4, BEYOND)], id="two of five"),
    ],
)
def test_stand_ins_of_a_cluster_that_is_as_it_began_wait_for_nobody(found: list[Survivor]) -> None:
    assert salvage.may_begin_ahead(found, known_members(5))
    boots = salvage.boots(found, known_members(5), inventory(5).old_members, ahead=True)
    states = {b.name: yaml.safe_load(b.config(1))["initial-cluster-state"] for b in boots if b.stand_in}
    assert set(states.values()) == {"new"}
    assert [b.turn for b in boots] == ["first"] * len(found) + ["ahead"] * len(states)
    files = put_down(sandbox.boot("h", "salvage", "r", "/s", build.inventory(), boots))
    ids = [lineage.member_id([url], "lost") for url in known_members(5).values()]
    assert files["ids"] == "".join(f"{number}\n" for number in ids)


@pytest.mark.parametrize(
    "found",
    [
        pytest.param([begun(1, RESTORED)], id="a restored one: its keys are in no log"),
        pytest.param([begun(1), begun(4, RESTORED)], id="one of two was restored"),
        pytest.param([begun(1, BEYOND, RESTORED)], id="long after a restore"),
    ],
)
def test_stand_ins_of_a_cluster_that_was_restored_only_vote_and_never_send_what_they_hold(
    found: list[Survivor],
) -> None:
    """They are not sent what was restored."""
    assert salvage.may_begin_ahead(found, known_members(5))
    boots = salvage.boots(found, known_members(5), inventory(5).old_members, ahead=True)
    lacking = 3 - len(found)
    assert [b.turn for b in boots] == ["first"] * len(found) + ["votes"] * lacking
    configs = [yaml.safe_load(b.config(1)) for b in boots]
    assert [c.get("snapshot-count") for c in configs] == [None] * len(found) + [sandbox.NEVER] * lacking
    assert {c["initial-cluster-state"] for c in configs[len(found) :]} == {"new"}
    joining = salvage.boots(found, known_members(5), inventory(5).old_members)
    assert {b.turn for b in joining if b.stand_in} == {"later"}


@pytest.mark.parametrize(
    "found",
    [
        pytest.param([begun(1, "0000000000000001-0000000000000004.snap")], id="restored with fewer members"),
        pytest.param([begun(1, "5.snap")], id="a name that nobody knows"),
        pytest.param([begun(1, "0000000000000006.snap.db")], id="a database that a leader was sending"),
        pytest.param([begun(1, formed=FORMED + 1)], id="it began with other members"),
        pytest.param([begun(1, formed=None)], id="its log does not tell"),
        pytest.param([begun(1), begun(4, formed=None)], id="one of two logs does not tell"),
        pytest.param([begun(1, token="other")], id="its configuration has another token"),
        pytest.param([begun(1), begun(4, token="other")], id="two tokens"),
        pytest.param([begun(1), begun(2), begun(3)], id="a majority needs no stand-in"),
    ],
)
def test_where_it_is_not_proven_to_be_as_it_began_stand_ins_join(found: list[Survivor]) -> None:
    assert not salvage.may_begin_ahead(found, known_members(5))


def test_where_the_configuration_names_other_members_stand_ins_join() -> None:
    assert not salvage.may_begin_ahead([begun(1)], known_members(3))


def test_peer_urls_with_names_listen_on_the_inventorys_address() -> None:
    known = {"etcd-1": "https://etcd-1.example:2380", "etcd-2": "https://etcd-2.example:2380"}
    one = survivor(1)
    one = replace(one, config=replace(one.config, peer_url=known["etcd-1"]))
    boots = salvage.boots([one], known, inventory(3).old_members)
    assert yaml.safe_load(boots[0].config(1))["listen-peer-urls"] == "https://10.0.0.11:2380"
    hosts = next(
        c for c in sandbox.boot("h", "salvage", "r", "/s", build.inventory(), boots) if "of=/s/hosts" in c.argv
    )
    assert hosts.stdin == b"127.0.0.1 localhost\n10.0.0.11 etcd-1.example\n10.0.0.12 etcd-2.example\n"


def test_a_member_without_any_known_address_is_an_error() -> None:
    with pytest.raises(SalvageError, match="list it in old_members"):
        salvage.boots([survivor(1)], {"etcd-1": "https://a:1", "stranger": "https://b:1"}, inventory(3).old_members)


def hostile(number: int, **words: str) -> Survivor:
    one = survivor(number)
    return replace(one, config=replace(one.config, **words))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("key", "word"),
    [
        ("name", "../../etc/cron.d/x"),
        ("name", '"a\\ndata-dir: /etc"'),
        ("initial-cluster", "../x=https://10.0.0.12:2380"),
    ],
)
def test_a_configuration_with_such_a_name_is_no_survivors_and_its_disk_is_in_doubt(key: str, word: str) -> None:
    plain = {"name": "e", "data-dir": DATA, "initial-cluster-token": "t", "initial-cluster": "e=https://10.0.0.11:2380"}
    text = "".join(f"{name}: {value}\n" for name, value in {**plain, key: word}.items())
    line = f"{base64.b64encode(text.encode()).decode()} /etc/etcd/dh/t/config.yaml\n"
    question = disks.ask_earlier("etcd-1", "/etc/etcd/dh/latest/config.yaml", "lab")
    found = question.understand([Result(question.commands[0], 0, line, "", 0.0)])
    assert (found.configs, "earlier configurations cannot be read" in found.unread) == ((), True)


def test_no_name_of_a_survivor_or_of_a_member_becomes_a_path() -> None:
    two = (hostile(2, name="../../x"), survivor(3))
    known = {"../../x": "https://10.0.0.12:2380", "etcd-3": "https://10.0.0.13:2380", "../y": "https://10.0.0.11:2380"}
    boots = salvage.boots(two[:1], known, inventory(3).old_members)
    plan = [
        *salvage.gather(terms(), two, "etcd-3"),
        *salvage.unpack(terms(), "etcd-3", two),
        *sandbox.boot("etcd-3", "salvage", "r1", "/s", build.inventory(), boots),
    ]
    assert [(boot.number, boot.stand_in) for boot in boots] == [(2, False), (3, True)]
    paths = [word for a in plan if isinstance(a, Command) for word in a.argv]
    paths += [path for a in plan if isinstance(a, Copy) for path in (a.source, *(at for _, at in a.targets))]
    assert not [word for word in paths if ".." in word]
    members = put_down(plan)["members"]
    copied = next(action for action in plan if isinstance(action, Copy))
    assert copied.most == 2 * two[0].size + (64 << 20), "no more than it was said to have, on another host's disk"
    assert members == "2 10.0.0.12 20001 30001 first\n3 10.0.0.11 20002 30002 later\n"


def test_no_word_of_the_data_adds_a_line_to_a_configuration_or_a_hosts_file() -> None:
    odd = Boot(1, "x\nforce-new-cluster: true", "https://10.0.0.11:2380", "10.0.0.11", "a=b\nc: d", "t: u")
    config = yaml.safe_load(odd.config(1))
    assert (config["name"], config["initial-cluster-token"]) == ("x\nforce-new-cluster: true", "t: u")
    assert "force-new-cluster" not in config and "c" not in config
    line = '{"event": "members", "answer": [{"peerURLs": ["https://a\\n1.2.3.4 b:1"], "name": "x"}]}'
    with pytest.raises(sandbox.IsolationError):
        sandbox.parse(line, "", BOOTS)
    assert salvage.told((("../x", "https://c:1"),), {}) == {"member-1": "https://c:1"}


def test_two_survivors_that_claim_one_name_are_told_apart_by_nobody() -> None:
    with pytest.raises(SalvageError, match="etcd-1: etcd-1, etcd-2: etcd-1"):
        salvage.boots([survivor(1), hostile(2, name="etcd-1")], {}, inventory(3).old_members)


def test_the_data_is_right_where_it_knows_other_members_than_the_configuration() -> None:
    configured = {"etcd-1": "https://a:1", "etcd-2": "https://b:1"}
    assert salvage.told((), configured) == configured
    assert salvage.told((("", "https://b:1"), ("etcd-1", "https://a:1")), configured) == configured
    moved = (("etcd-1", "https://a:1"), ("", "https://b:1"), ("", "https://c:1"))
    assert salvage.told(moved, configured) == {
        "etcd-1": "https://a:1",
        "etcd-2": "https://b:1",
        "member-3": "https://c:1",
    }


def test_the_copies_are_gathered_on_the_first_that_has_room_for_all() -> None:
    """Not where most room is: that changes from one moment to the next, and a plan names the host beforehand."""
    roomy = survivor(3, free=200 * GIB)
    assert salvage.gathering_host([survivor(1, free=4 * GIB), roomy], 3) is roomy
    first = survivor(1, free=100 * GIB)
    assert salvage.gathering_host([first, roomy], 3) is first


@pytest.mark.parametrize("short", [[survivor(1, free=4 * GIB)], [survivor(1), survivor(2, free=GIB // 2)]])
def test_too_little_room_is_said_before_anything_is_copied(short: list[Survivor]) -> None:
    with pytest.raises(SalvageError, match="no room for copies"):
        salvage.gathering_host(short, 3)


def test_the_originals_are_only_read() -> None:
    found = [survivor(1), survivor(3)]
    plan = [c for one in found for c in salvage.copy(terms(), one)] + salvage.gather(terms(), found, "etcd-1")
    scratch = "/var/lib/requorum/prod/r1/salvage/packed"
    touching = [a.argv for a in plan if isinstance(a, Command) and any(DATA in word for word in a.argv)]
    assert touching == [
        (
            *build.SCOPE.split(),
            "tar",
            "--create",
            "--sparse",
            f"--file={scratch}/{n}.tar",
            f"--directory={DATA}/member/snap",
            r"--transform=s,^\./\(.*\.wal\)$,./member/wal/\1,",
            r"--transform=s,^\./\(db\|.*\.snap\(\.db\)\?\)$,./member/snap/\1,",
            "--no-recursion",
            "./db",
            "./1.snap",
            f"--directory={DATA}/member/wal",
            "./0.wal",
            "./1.wal",
            ".",
        )
        for n in (1, 3)
    ]
    copies = [(a.source_host, a.source, a.targets) for a in plan if isinstance(a, Copy)]
    assert copies == [("etcd-3", f"{scratch}/3.tar", (("etcd-1", f"{scratch}/3.tar"),))], "and no password"


@pytest.mark.parametrize(("apart", "cloned"), [(False, False), (True, False), (False, True)])
def test_the_copy_is_a_plain_data_directory_however_the_original_lies(
    tmp_path: Path, apart: bool, cloned: bool
) -> None:
    """By tar and cp themselves: `member`, `snap` and a log that are links, or a log that is kept apart."""
    real, data, scratch = (tmp_path / name for name in ("disk", "data", "scratch"))
    for place, names in {"m": ("notes",), "s": ("db", "1.snap", "2.snap.db", "x.tmp"), "w": ("0.wal", "1.tmp")}.items():
        (real / place).mkdir(parents=True)
        for name in names:
            (real / place / name).write_text(name)
    (real / "d").mkdir()
    data.symlink_to(real / "d")
    (data / "member").symlink_to(real / "m")
    (data / "member/snap").symlink_to(real / "s")
    if not apart:
        (data / "member/wal").symlink_to(real / "w")
    config = build.config(1, "lost", data_dir=str(data), wal_dir=str(real / "w") if apart else "")
    question = layout.ask_data("etcd-1", config)
    done = [subprocess.run(c.argv, capture_output=True, text=True, check=False) for c in question.commands]
    answers = (Result(c, d.returncode, d.stdout, d.stderr, 0.0) for c, d in zip(question.commands, done, strict=True))
    found = replace(survivor(1), config=config, data=question.understand(list(answers)))
    assert found.odd == ""

    if cloned:
        steps = [c for c in salvage.clone(terms(), found) if c.argv[0] == "install" or "cp" in c.argv]
        assert sum("cp" in c.argv for c in steps) == 2
    else:
        (*_, copied), (made,) = salvage.copy(terms(), found), [c for c in unpacked(found) if c.argv[0] == "install"]
        steps = [copied, made, *(c for c in unpacked(found) if "--extract" in c.argv)]
    for name in ("room", "packed"):
        (scratch / name).mkdir(parents=True)
    for command in steps:
        words = command.argv[next(n for n, word in enumerate(command.argv) if word in ("tar", "install", "cp")) :]
        subprocess.run([w.replace(salvage.scratch(terms()), str(scratch)) for w in words], check=True)

    room = scratch / "room/1"
    there = {str(path.relative_to(room)): path.read_text() for path in room.rglob("*") if path.is_file()}
    snaps = {f"member/snap/{name}": name for name in ("db", "1.snap", "2.snap.db")}
    assert there == {**snaps, "member/wal/0.wal": "0.wal"}
    assert not any(path.is_symlink() for path in room.rglob("*"))
    assert sudoers.unlisted(terms().inventory, [c.line().replace(str(data), DATA) for c in steps]) == []
    below = replace(found.data, snap=f"{DATA}/member/snap", wal=f"{DATA}/member/wal")
    assert salvage.may_be_cloned(terms(), replace(found, data=below))
    for elsewhere in (
        replace(below, wal="/srv/wal"),
        replace(below, snap=f"{DATA}-x/../../../../etc".replace("dh/", "x/")),
    ):
        assert not salvage.may_be_cloned(terms(), replace(found, data=elsewhere))


def unpacked(found: Survivor) -> list[Command]:
    return salvage.unpack(terms(), "etcd-1", [found])


def test_a_boot_can_be_stopped_ends_by_itself_and_sees_no_network() -> None:
    boots = salvage.boots([survivor(1)], known_members(3), inventory(3).old_members)
    command = sandbox.boot("etcd-1", "salvage", "r1", "/s", build.inventory(), boots)[-1]
    assert command.stop == ("systemctl", "stop", "requorum-salvage-r1.service")
    for wanted in (
        "PrivateNetwork=yes",
        "PrivateTmp=yes",
        "RuntimeMaxSec=870",
        "BindPaths=/s/room:/tmp/requorum",
        "ProtectSystem=strict",
        "ReadWritePaths=/s",
        "InaccessiblePaths=-/root",
        "InaccessiblePaths=-/home",
    ):
        assert f"--property={wanted}" in command.argv


# Of systemd 239, that of RHEL 8: any other one ends the unit there.
KNOWN = {
    "TemporaryFileSystem",
    *("PrivateNetwork", "PrivateTmp", "BindPaths", "BindReadOnlyPaths", "KillSignal", "ProtectSystem"),
    *("ReadWritePaths", "InaccessiblePaths", "RuntimeMaxSec"),
}


def test_every_isolated_boot_hides_live_passwords_keys_and_data_and_asks_for_what_old_systemds_know() -> None:
    hidden = sandbox.unseen(inventory(3))
    assert {"/etc/etcd/dh", "/var/lib/etcd/dh", "/etc/sysconfig/deephaven/etcd/client", "/root"} <= set(hidden)
    flat = build.inventory(etcd={"config": "/opt/etcd/config.yaml"})
    assert not {"/", "/opt", "/etc"} & set(sandbox.unseen(flat)), "it is no directory of etcd's own"
    boots = salvage.boots([survivor(1)], known_members(3), inventory(3).old_members)
    command = sandbox.boot("etcd-1", "salvage", "r1", "/s", build.inventory(), boots)[-1]
    given = [word.removeprefix("--property=").partition("=") for word in command.argv if word.startswith("--property=")]
    assert {name for name, _, _ in given} <= KNOWN
    paths = [value for name, _, value in given if name == "InaccessiblePaths"]
    assert paths == [f"-{path}" for path in hidden], "a path that is not there would end it"


def test_the_boots_words_are_read() -> None:
    said = (
        '{"event": "members", "answer": [{"id":1,"peerURLs":["https://a:1"],"name":"etcd-1"}]}\n'
        '{"event": "leader"}\n{"event": "saved"}\n'
        '{"event": "alarms", "answer": {"header":{},"alarms":[{"memberID":1,"alarm":1},{"alarm":2}]}}\n'
        '{"event": "pinned", "answer": 7}\n'
        '{"event": "hashes", "answer": [{"Endpoint":"e","HashKV":{"header":{"revision":9},'
        '"hash":3,"compact_revision":2}}]}\n'
        '{"event": "done"}\n'
    )
    answers = sandbox.parse(said, "", BOOTS)
    assert answers.failed == ""
    assert answers.saved
    assert answers.members == (("etcd-1", "https://a:1"),)
    assert answers.alarms == ("CORRUPT", "NOSPACE")
    assert (answers.revision, answers.hashes) == (7, {"e": (3, 2)})


@pytest.mark.parametrize(
    ("said", "failed"),
    [
        ("", "it ended early: killed"),
        ('{"event": "failed", "why": "no leader within 60 s"}', "no leader within 60 s"),
        ('{"event": "died", "member": "1", "why": "crc"}', "the copy of etcd-1 ended: crc"),
        ('{"event": "login", "role": "root", "why": "wrong"}', "it ended early: killed"),
    ],
)
def test_a_boot_that_came_to_no_good_end_says_why(said: str, failed: str) -> None:
    found = sandbox.parse(said, "killed", BOOTS)
    assert found.failed == failed
    assert found.hindered == failed.startswith("it ended early"), "a unit that does not start says nothing of the data"


@pytest.mark.parametrize(
    ("said", "hindered"),
    [
        ("", True),
        ('{"event": "leader"}', True),
        ('{"event": "failed", "hindered": true, "why": "no leader within 60 s"}', True),
        ('{"event": "failed", "why": "the save failed: write /x: no space left on device"}', True),
        ('{"event": "failed", "why": "what was written is not there"}', False),
        ('{"event": "died", "member": "1", "why": "crc"}', False),
        ('{"event": "done"}', False),
    ],
)
def test_a_boot_tells_whether_the_host_or_the_data_was_in_the_way(said: str, hindered: bool) -> None:
    assert sandbox.parse(said, "sudo: a password is required", BOOTS).hindered == hindered


@pytest.mark.parametrize(("end", "hindered"), [("hindered 'no \"leader\"'", True), ("fail 'it is torn'", False)])
def test_the_boots_program_says_so_itself(tmp_path: Path, end: str, hindered: bool) -> None:
    program = sandbox.PROGRAM.read_text().split("\nmake_network\n")[0]
    ended = subprocess.run(
        ["sh", "-c", f"{program}\n{end}", "isolation.sh", "salvage", str(tmp_path), "nobody", "5"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ended.returncode == 10
    assert sandbox.parse(ended.stdout, "", BOOTS).hindered == hindered
    assert sandbox.parse(ended.stdout, "", BOOTS).failed in ("no leader", "it is torn")


@pytest.mark.parametrize("tool", ["openssl", "setpriv", "curl", "etcd", "etcdctl"])
def test_a_tool_that_is_missing_is_named_and_not_taken_for_bad_data(tmp_path: Path, tool: str) -> None:
    for name in {"openssl", "setpriv", "curl", "etcd", "etcdctl"} - {tool}:
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    for name in ("tr", "cut"):
        (tmp_path / name).symlink_to(shutil.which(name) or "")
    program = sandbox.PROGRAM.read_text().split("\nmake_network\n")[0]
    ended = subprocess.run(
        ["/bin/sh", "-c", f"{program}\ncheck_tools", "isolation.sh", "salvage", str(tmp_path), "nobody", "5"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env={"PATH": str(tmp_path)},
    )
    answers = sandbox.parse(ended.stdout, "", BOOTS)
    assert (answers.hindered, answers.failed) == (True, f"{tool} is not installed on this host")


@pytest.mark.parametrize(
    "said",
    [
        "what",
        '{"event": "", "answer": []}',
        '{"event": "hashes", "answer": null}',
        '{"event": "leader"}\n{"event": "news"}',
    ],
)
def test_words_that_are_no_answer_are_an_error(said: str) -> None:
    with pytest.raises(sandbox.IsolationError, match="no answer"):
        sandbox.parse(said, "", BOOTS)


def test_an_answer_that_came_at_the_second_try_keeps_its_name(tmp_path: Path) -> None:
    """The program's own functions, with a question that is refused once and a member that is alive."""
    program = sandbox.PROGRAM.read_text().split("\nmake_network\n")[0].replace("kind=$1 scratch=$2", "scratch=$2")
    (tmp_path / "members").write_text("1 10.0.0.11 20001 30001 first\n")
    play = """
        echo $$ >"$scratch/1.pid"
        asks() { [ -e "$scratch/asked" ] || { : >"$scratch/asked"; return 1; }; answer='[]' why=''; }
        event hashes all endpoint hashkv
    """
    command = ["sh", "-c", program + play, "isolation.sh", "salvage", str(tmp_path), "nobody", "5"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert json.loads(ended.stdout) == {"event": "hashes", "answer": []}, ended.stderr


@pytest.mark.parametrize(
    ("links", "in_sight"),
    [
        ({}, set()),
        ({"/s": "/home/big/requorum"}, {"/home"}),
        ({"/s": "/srv/people/requorum", "/home": "/srv/people"}, {"/home"}),
        ({"/s": "/srv/people/requorum", "/home": "/srv/peo"}, set()),
        ({"/usr/local/bin/etcd": "/root/etcd-3.5/etcd"}, {"/root"}),
        ({"/s": "/disk/etcd/requorum", "/var/lib/etcd/dh": "/disk/etcd"}, {"/var/lib/etcd/dh"}),
        ({"/var/lib/etcd/dh": "/home/etcd"}, set()),
    ],
)
def test_what_scratch_or_a_tool_lies_in_behind_a_link_stays_in_sight_of_a_boot(
    links: dict[str, str], in_sight: set[str]
) -> None:
    question = sandbox.ask_unseen("etcd-1", inventory(3), "/s")
    (command,) = question.commands
    asked = command.argv[command.argv.index("--") + 1 :]
    hidden = build.understood(question, "".join(f"{links.get(path, path)}\n" for path in asked))
    assert set(sandbox.unseen(inventory(3))) - set(hidden) == in_sight
    booted = sandbox.boot("etcd-1", "salvage", "r1", "/s", inventory(3), [], hidden=hidden)[-1]
    told = {word.split("=-")[1] for word in booted.argv if word.startswith("--property=InaccessiblePaths=-")}
    assert told == set(hidden)


@pytest.mark.parametrize("said", ["", "/s\n", "/../../etc\n", "$(touch x)\n", "a: b\nc: d\n", "\x1b[2J\n"])
def test_a_host_that_does_not_tell_where_links_lead_is_named(said: str) -> None:
    question = sandbox.ask_unseen("etcd-1", inventory(3), "/s")
    many = said * (len(question.commands[0].argv) - 3 if said.count("\n") == 1 and said != "/s\n" else 1)
    with pytest.raises(Refusal, match="etcd-1"):
        build.understood(question, many)
