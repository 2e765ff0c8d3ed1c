"""Whatever bytes a host says of its disk, its question gives a value: one broken host stops no other."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from requorum.cluster.lineage import Lineage
from requorum.command import Result
from requorum.hosts.question import Question
from requorum.refusal import Refusal
from requorum.snapshots import backup, disks, emptiness, layout, loss, on_host, survivors
from requorum.snapshots.emptiness import Place
from tests.unit import build

DATA = "/var/lib/etcd/dh/old"
MEMBER = build.inventory().members[0]
DISK = disks.Disk(MEMBER, build.config(), Lineage("old"), installed=True)
NEVER_REFUSE = [  # one broken host must not stop the others
    disks.ask_disk(MEMBER, build.config(), True),
    disks.ask_earlier("etcd-1", "/etc/etcd/dh/latest/config.yaml", "lab"),
    emptiness.ask_place(Place("etcd-1", build.ABSENT, None), build.inventory().etcd),
    emptiness.ask_stray("etcd-1", DATA),
    emptiness.ask_way("etcd-1", DATA),
    layout.ask_data("etcd-1", build.config(wal_dir="/srv/wal")),
    layout.ask_layout("etcd-1", DATA),
    layout.ask_log("etcd-1", build.config()),
    on_host.ask_status("etcd-1", "/x.snap"),
    survivors.ask_survivor(1, DISK, build.terms()),
]
MAY_REFUSE = [  # of one host that the run cannot do without
    backup.ask_healthiest(build.inventory()),
    backup.ask_left(build.terms()),
    loss.ask_loss(build.terms()),
    on_host.ask_source(on_host.Origin("file", None, 0, "now"), "infra-1", "/x.snap", vendor=("etcdctl",)),
]
# Words that these readers look for, so that the bytes get past their first lines.
PIECES = [
    "db ",
    ".wal ",
    "1.0",
    " 1",
    "\n",
    "\0",
    "= /",
    "d 0 0 700 1 ",
    DATA,
    "/.",
    "\x1b[2J",
    f"db 1.0 {'9' * 5000}\n",
    "db 1.2.3 1\n",
    '{"revision": 9, "totalKey": 7}\n',
    '{"certain": "',
    '[{"Endpoint": 1, "Status": {"header": {}}}]\n',
    "[1]\n",
    '"',
]
BYTES = st.lists(st.sampled_from(PIECES) | st.text(max_size=20), max_size=30).map("".join)


def answers(question: Question[Any]) -> st.SearchStrategy[list[Result]]:
    said = [
        st.builds(Result, st.just(command), st.sampled_from([0, 1, 2, 124]), BYTES, BYTES, st.just(0.0))
        for command in question.commands
    ]
    return st.tuples(*said).map(list)


@pytest.mark.parametrize("question", NEVER_REFUSE, ids=lambda question: question.commands[0].why)
@settings(max_examples=50)
@given(st.data())
def test_any_bytes_give_a_value_since_one_broken_host_stops_no_other(question: Question[Any], data: Any) -> None:
    question.understand(data.draw(answers(question)))


@pytest.mark.parametrize("question", MAY_REFUSE, ids=lambda question: question.commands[0].why)
@settings(max_examples=50)
@given(st.data())
def test_any_bytes_of_the_configuration_server_give_a_value_or_a_refusal_that_names_it(
    question: Question[Any], data: Any
) -> None:
    said = data.draw(answers(question))
    where = question.host
    try:
        question.understand(said)
    except Refusal as refused:
        where = refused.where
    assert where in (question.host, "etcd"), "the cluster, where its members say what is wrong"
