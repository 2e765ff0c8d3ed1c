"""Another etcd on the host: left alone only where it is surely another cluster's."""

from __future__ import annotations

import pytest

from requorum.cluster import others
from requorum.inventory import Etcd
from tests.unit.build import understood

ARGS = "--data-dir=/srv/foo --listen-client-urls=http://127.0.0.1:12379 --listen-peer-urls http://127.0.0.1:12380"
FOREIGN = "0::/system.slice/foo-etcd.service"
OURS = "4:memory:/system.slice/dh-etcd.service,0::/system.slice/dh-etcd.service/init.scope"


def running(args: str = ARGS, group: str = FOREIGN) -> others.Running:
    question = others.ask_running("etcd-1", "dh-etcd.service")
    (found,) = understood(question, f"   4711 {group}      /usr/bin/etcd {args}\n")
    return found


def test_one_of_another_unit_with_other_data_and_ports_is_not_this_clusters() -> None:
    found = running()
    assert found.doubt(Etcd(), "") == ""
    assert str(found) == "process 4711 (foo-etcd.service, data /srv/foo, ports 12379, 12380)"


@pytest.mark.parametrize(
    ("args", "group", "moved"),
    [
        (ARGS, OURS, ""),
        (ARGS, "0::/requorum.slice/requorum-x.service", ""),
        (ARGS, "0::/user.slice/session-3.scope", ""),
        (ARGS, "-", None),
        (ARGS, FOREIGN, None),
        (ARGS, FOREIGN, "EnvironmentFiles of its unit may say otherwise"),
        (ARGS.replace("/srv/foo", "/var/lib/etcd/dh/old"), FOREIGN, ""),
        (ARGS.replace("/srv/foo", "/srv/../var/lib/etcd/dh"), FOREIGN, ""),
        (ARGS.replace("/srv/foo", "/var/lib/etcd"), FOREIGN, ""),
        (ARGS.replace("/srv/foo", "default.etcd"), FOREIGN, ""),
        (f"{ARGS} --data-dir=/var/lib/etcd/dh/old", FOREIGN, ""),
        (f"{ARGS} --wal-dir /var/lib/etcd/dh/wal", FOREIGN, ""),
        (ARGS.replace("12379", "2379"), FOREIGN, ""),
        (ARGS.replace("12380", "2380"), FOREIGN, ""),
        ("--data-dir=/srv/foo", FOREIGN, ""),
        (ARGS.replace("--data-dir=/srv/foo", ""), FOREIGN, ""),
        (f"{ARGS} --config-file=/srv/foo.yaml", FOREIGN, ""),
        (f"{ARGS} --config-file /etc/etcd/dh/latest/config.yaml", FOREIGN, ""),
    ],
)
def test_what_leaves_anything_open_may_be_this_clusters(args: str, group: str, moved: str | None) -> None:
    assert running(args, group).doubt(Etcd(), moved)


@pytest.mark.parametrize(
    ("said", "moved"),
    [
        ("Environment=\nEnvironmentFiles=\nBindPaths=\n", ""),
        ("Environment=ETCD_CONFIG_FILE=/x\n", "Environment of its unit may say otherwise"),
        ("Environment=\nBindPaths=/var/lib/etcd/dh:/srv/foo:rbind\n", "BindPaths of its unit may say otherwise"),
        ("", None),
    ],
)
def test_a_unit_that_sets_more_than_the_command_line_says_is_no_proof(said: str, moved: str | None) -> None:
    assert understood(others.ask_moved("etcd-1", "foo-etcd.service"), said) == moved
