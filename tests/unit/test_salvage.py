"""The plan of a salvage, as data: who boots, under which name, in which order, and what is said to be lost."""

from __future__ import annotations

from dataclasses import replace

import pytest
import yaml

from requorum import choice, isolation, salvage
from requorum.command import Command, Copy
from requorum.etcd import MemberConfig
from requorum.inventory import Inventory, Member
from requorum.marker import Marker, Phase
from requorum.salvage import Salvaged, SalvageError, Survivor
from requorum.snapshot import Source
from requorum.terms import Terms
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


def initial_cluster(members: int) -> str:
    return ",".join(f"etcd-{n}=https://{ip(n)}:2380" for n in range(1, members + 1))


def survivor(number: int, members: int = 3, token: str = "lost", size: int = GIB, free: int = 100 * GIB) -> Survivor:
    name = f"etcd-{number}"
    url = f"https://{ip(number)}:2380"
    config = MemberConfig(name, token, DATA, url, (), initial_cluster(members), None, None, None, False, 1.0)
    return Survivor(Member(name=name, host=name, ip=ip(number)), config, size, free)


def booted(numbers: list[int], members: int) -> list[tuple[str, bool]]:
    known = salvage.membership(initial_cluster(members))
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
    known = salvage.membership(initial_cluster(5))
    (boot,) = salvage.boots([survivor(1, 5)], known, inventory(5).old_members, force=True)
    assert boot.force
    assert "force-new-cluster: true" in boot.config(20001)


def test_a_copy_keeps_its_peer_url_and_clients_reach_it_on_loopback_alone() -> None:
    known = salvage.membership(initial_cluster(3))
    copy, stand_in = salvage.boots([survivor(2)], known, inventory(3).old_members)
    config = yaml.safe_load(copy.config(20001))
    assert config["initial-advertise-peer-urls"] == config["listen-peer-urls"] == "https://10.0.0.12:2380"
    assert config["listen-client-urls"] == "http://127.0.0.1:20001"
    assert config["data-dir"] == "/tmp/requorum/etcd-2"
    assert config["peer-transport-security"]["client-cert-auth"] is True
    assert yaml.safe_load(stand_in.config(20002))["initial-cluster-state"] == "existing"
    assert stand_in.initial_cluster == initial_cluster(3)


def test_peer_urls_with_names_listen_on_the_inventorys_address() -> None:
    known = {"etcd-1": "https://etcd-1.example:2380", "etcd-2": "https://etcd-2.example:2380"}
    one = survivor(1)
    one = replace(one, config=replace(one.config, peer_url=known["etcd-1"]))
    boots = salvage.boots([one], known, inventory(3).old_members)
    assert yaml.safe_load(boots[0].config(1))["listen-peer-urls"] == "https://10.0.0.11:2380"
    hosts = next(c for c in isolation.boot("h", "salvage", "r", "/s", "etcd", boots) if "of=/s/hosts" in c.argv)
    assert hosts.stdin == b"127.0.0.1 localhost\n10.0.0.11 etcd-1.example\n10.0.0.12 etcd-2.example\n"


def test_a_member_without_any_known_address_is_an_error() -> None:
    with pytest.raises(SalvageError, match="list it in old_members"):
        salvage.boots([survivor(1)], {"etcd-1": "https://a:1", "stranger": "https://b:1"}, inventory(3).old_members)


def test_the_data_is_right_where_it_knows_other_members_than_the_configuration() -> None:
    configured = {"etcd-1": "https://a:1", "etcd-2": "https://b:1"}
    assert salvage.told((), configured) == configured
    assert salvage.told((("", "https://b:1"), ("etcd-1", "https://a:1")), configured) == configured
    moved = (("etcd-1", "https://a:1"), ("", "https://b:1"), ("", "https://c:1"))
    assert salvage.told(moved, configured) == {
        "etcd-1": "https://a:1", "etcd-2": "https://b:1", "member-3": "https://c:1",
    }  # fmt: skip


def test_only_the_lost_clusters_lineage_is_started() -> None:
    kept, others = salvage.lineage([survivor(1), survivor(2, token="earlier"), survivor(3)])
    assert [s.name for s in kept] == ["etcd-1", "etcd-3"]
    assert others == "etcd-2 is of earlier"
    with pytest.raises(SalvageError, match="different clusters"):
        salvage.lineage([survivor(1), survivor(2, token="earlier")])


def test_the_copies_are_gathered_where_most_room_is() -> None:
    roomy = survivor(3, free=200 * GIB)
    assert salvage.gathering_host([survivor(1), roomy], 3) is roomy


@pytest.mark.parametrize("short", [[survivor(1, free=4 * GIB)], [survivor(1), survivor(2, free=GIB // 2)]])
def test_too_little_room_is_said_before_anything_is_copied(short: list[Survivor]) -> None:
    with pytest.raises(SalvageError, match="no room for copies"):
        salvage.gathering_host(short, 3)


def test_the_originals_are_only_read() -> None:
    plan = salvage.gather(terms(), [survivor(1), survivor(3)], "etcd-1", "/client")
    scratch = "/var/lib/requorum/prod/r1/salvage"
    touching = [a.argv for a in plan if isinstance(a, Command) and any(DATA in word for word in a.argv)]
    assert touching == [
        (
            *build.SCOPE.split(),
            "tar",
            "--create",
            "--sparse",
            f"--file={scratch}/etcd-{n}.tar",
            f"--directory={DATA}",
            ".",
        )
        for n in (1, 3)
    ]
    copies = [(a.source_host, a.source, a.targets) for a in plan if isinstance(a, Copy)]
    assert copies == [
        ("etcd-3", f"{scratch}/etcd-3.tar", (("etcd-1", f"{scratch}/etcd-3.tar"),)),
        ("infra-1", "/client/root/user", (("etcd-1", f"{scratch}/logins/root/user"),)),
        ("infra-1", "/client/root/password", (("etcd-1", f"{scratch}/logins/root/password"),)),
    ]


def test_a_boot_can_be_stopped_ends_by_itself_and_sees_no_network() -> None:
    boots = salvage.boots([survivor(1)], salvage.membership(initial_cluster(3)), inventory(3).old_members)
    command = isolation.boot("etcd-1", "salvage", "r1", "/s", "etcd", boots)[-1]
    assert command.stop == ("systemctl", "stop", "requorum-salvage-r1.service")
    for wanted in ("PrivateNetwork=yes", "PrivateTmp=yes", "RuntimeMaxSec=870", "BindPaths=/s/room:/tmp/requorum"):
        assert f"--property={wanted}" in command.argv


def source(kind: str, revision: int | None) -> Source:
    return Source(kind, "etcd-1", "/x", "0", 1, "2026-01-01T00:00:00Z", revision, 1)


@pytest.mark.parametrize(
    ("chosen", "salvaged", "certain", "possible", "why"),
    [
        (source("salvage", 9), Salvaged(source("salvage", 9), "together", ("a", "b"), 3), 0, 0, "nothing is missing"),
        (source("salvage", 9), Salvaged(source("salvage", 9), "together", ("a",), 3), None, None, "1 of 3 members (a)"),
        (source("salvage", 9), Salvaged(source("salvage", 9), "together", ("a", "b"), 5), None, None, "2 of 5"),
        (source("salvage", 9), Salvaged(source("salvage", 9), "alone", ("a",), 3), None, None, "commit index"),
        (source("file", 5), Salvaged(None, members=3, on_disk=9, failed="torn"), 4, None, "salvage failed: torn"),
        (source("file", 5), Salvaged(None, members=3, failed="torn"), None, None, "2026-01-01"),
        (source("file", 5), Salvaged(source("salvage", 9), "together", ("a",), 3), 4, None, "was named"),
    ],
)
def test_the_loss_is_a_number_where_one_is_known(
    chosen: Source, salvaged: Salvaged, certain: int | None, possible: int | None, why: str
) -> None:
    found = salvage.loss(chosen, salvaged)
    assert (found.certain, found.possible) == (certain, possible)
    assert why in found.why


def test_a_salvage_that_ends_before_the_backup_counts_as_failed() -> None:
    made = Salvaged(source("salvage", 5), "together", ("a",), 3)
    assert choice.older_than(source("file", 5), made).source is made.source
    assert choice.older_than(None, made).source is made.source
    stale = choice.older_than(source("file", 6), made)
    assert stale.source is None
    assert "ends at revision 5, before the backup at 6" in stale.failed


def test_the_boots_words_are_read() -> None:
    said = (
        '{"event": "members", "answer": [{"id":1,"peerURLs":["https://a:1"],"name":"etcd-1"}]}\n'
        '{"event": "leader"}\n{"event": "saved"}\n'
        '{"event": "hashes", "answer": [{"Endpoint":"e","HashKV":{"header":{"revision":7},"hash":3}}]}\n'
        '{"event": "done"}\n'
    )
    answers = isolation.parse(said, "")
    assert answers.failed == ""
    assert answers.saved
    assert answers.members == (("etcd-1", "https://a:1"),)
    assert answers.hashes == {"e": (7, 3)}


@pytest.mark.parametrize(
    ("said", "failed"),
    [
        ("", "it ended early: killed"),
        ('{"event": "failed", "why": "no leader within 60 s"}', "no leader within 60 s"),
        ('{"event": "died", "member": "etcd-1", "why": "crc"}', "the copy of etcd-1 ended: crc"),
        ('{"event": "login", "role": "root", "why": "wrong"}', "root does not log in: wrong"),
    ],
)
def test_a_boot_that_came_to_no_good_end_says_why(said: str, failed: str) -> None:
    assert isolation.parse(said, "killed").failed == failed


def test_words_that_are_no_answer_are_an_error() -> None:
    with pytest.raises(isolation.IsolationError, match="no answer"):
        isolation.parse("what", "")
