"""What the proofs ask of files and of etcd: no answer is no proof."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from requorum.cluster import etcdctl
from requorum.hosts.question import Question
from requorum.recovery import probes
from requorum.recovery.proofs import cluster, configuration
from tests.unit import build
from tests.unit.build import refused_by, understood

FOREIGN = cluster._ask_foreign("etcd-1", "/data/new", "etcd")
KEYS = configuration._ask_open_keys("etcd-1", ("/etc/etcd/peer.key",))
SNAPSHOT = etcdctl.ask_snapshot("etcd-1", "etcdutl", "/x.snap", "why")
WRITTEN = probes.ask_written(build.terms(), "https://10.0.0.11:2379")


@pytest.mark.parametrize(
    ("question", "text", "code", "found"),
    [
        (FOREIGN, "", 0, None),
        (FOREIGN, "/data/new/member/x\n/data/new/y\n", 0, "/data/new/member/x is not etcd's alone"),
        (FOREIGN, "", 1, None),  # a running etcd takes files away meanwhile
        (FOREIGN, "", 124, "/data/new cannot be looked through: it did not end within 60 s"),
        (KEYS, "", 0, None),
        (KEYS, "/etc/etcd/peer.key\n", 0, "everybody can read /etc/etcd/peer.key"),
        (KEYS, "", 1, "the keys cannot be looked at: (it printed nothing)"),
        (SNAPSHOT, '{"hash":1,"revision":5,"totalKey":15}', 0, (5, 15)),
        (SNAPSHOT, "snapshot file integrity check failed", 1, "unreadable: snapshot file integrity check failed"),
        (SNAPSHOT, "{}", 0, "unreadable: says no revision: '{}'"),
        (WRITTEN, "a\nb\n", 0, ["a", "b"]),
        (WRITTEN, "", 1, "(it printed nothing)"),
    ],
)
def test_what_was_found(question: Question[Any], text: str, code: int, found: object) -> None:
    assert understood(question, text, code=code) == found


@pytest.mark.parametrize("question", [FOREIGN, KEYS, SNAPSHOT, WRITTEN], ids=lambda question: question.commands[0].why)
@given(text=st.text(max_size=2000), code=st.sampled_from([0, 1, 124]))
@settings(max_examples=50)
def test_whatever_a_host_says_is_a_value_or_a_refusal_that_names_it(
    question: Question[Any], text: str, code: int
) -> None:
    with refused_by(question.host):
        understood(question, text, code=code)
