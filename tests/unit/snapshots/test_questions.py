"""Whatever bytes a host says of its disk, its question gives a value: one broken host stops no other."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from requorum.command import Result
from requorum.hosts.question import Question
from requorum.snapshots import disks, emptiness, layout
from requorum.snapshots.emptiness import Place
from tests.unit import build

DATA = "/var/lib/etcd/dh/old"
MEMBER = build.inventory().members[0]
NEVER_REFUSE = [  # one broken host must not stop the others
    disks.ask_disk(MEMBER, build.config(), True),
    disks.ask_earlier("etcd-1", "/etc/etcd/dh/latest/config.yaml", "lab"),
    disks.ask_log("etcd-1", DATA),
    emptiness.ask_place(Place("etcd-1", build.ABSENT, None), build.inventory().etcd, "/aside"),
    emptiness.ask_stray("etcd-1", DATA),
    emptiness.ask_way("etcd-1", DATA),
    layout.ask_layout("etcd-1", DATA),
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
    "9" * 5000,
    "1.2.3",
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
