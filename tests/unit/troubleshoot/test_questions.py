"""What a member says to a procedure is a value, or a refusal that names it; nothing else goes further."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from requorum.hosts.question import Question
from requorum.refusal import Refusal
from requorum.troubleshoot import debug_logging, permissions, restarts, sudoers
from requorum.troubleshoot.restarts import Start
from tests.unit import build
from tests.unit.build import refused_by, understood

HOST, CONFIG = "etcd-1", "/etc/etcd/dh/latest/config.yaml"
START = restarts.ask_invocation(HOST, build.UNIT)
QUESTIONS: list[Question[Any]] = [
    START,
    restarts.ask_age(HOST, "77"),
    debug_logging.ask_content(HOST, CONFIG),
    debug_logging.ask_real(HOST, CONFIG),
    debug_logging.ask_version(HOST, "/usr/bin/etcd"),
    debug_logging.ask_kept(HOST, "/kept"),
    debug_logging.ask_journal(HOST, "ab" * 16),
    permissions.ask_data(HOST, "/data"),
    permissions.ask_paths(HOST, [CONFIG]),
    permissions.ask_groups(HOST, "etcd"),
    permissions.ask_processes(HOST),
    sudoers.ask_lacking(HOST, build.inventory()),
]
LIKELY = (
    "InvocationID=x\n",
    "MainPID=\n",
    "YQ==",
    "/etc/../x\n",
    "etcd Version: a;b\n",
    '{"MESSAGE": 1}\n',
    "[]\n",
    "0 ",
)


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.commands[0].why)
@settings(max_examples=50, deadline=None)
@given(
    text=st.text(max_size=2000) | st.lists(st.sampled_from(LIKELY) | st.text(max_size=20)).map("".join),
    code=st.sampled_from([0, 1]),
)
def test_whatever_a_host_says_is_a_value_or_a_refusal_that_names_it(
    question: Question[Any], text: str, code: int
) -> None:
    with refused_by(HOST, f"{HOST}:{CONFIG}"):
        understood(question, text, code=code, stderr=text)


def test_a_start_is_told_by_systemds_own_id() -> None:
    assert understood(START, f"MainPID=77\nInvocationID={'ab' * 16}\n") == Start("ab" * 16, "77")
    assert understood(START, "MainPID=0\nInvocationID=\n") == understood(START, "") == Start("", "0")


@pytest.mark.parametrize(
    ("question", "said", "what"),
    [
        (START, "InvocationID=ab _UID=0\n", "InvocationID of dh-etcd.service"),
        (START, "MainPID=1 -e\n", "MainPID of dh-etcd.service"),
        (debug_logging.ask_real(HOST, CONFIG), "/etc/../root/x\n", "configuration's path"),
        (debug_logging.ask_real(HOST, CONFIG), "/a\n/b\n", "configuration's path"),
        (debug_logging.ask_version(HOST, "/usr/bin/etcd"), "etcd Version: 3.5;x\n", "version of etcd"),
        (debug_logging.ask_kept(HOST, "/kept"), "beef  /kept\n", "SHA-256"),
    ],
)
def test_a_word_that_would_lead_elsewhere_is_refused(question: Question[Any], said: str, what: str) -> None:
    with pytest.raises(Refusal, match=f"etcd-1: its {what} is"):
        understood(question, said)


def test_a_sudo_that_tells_nothing_is_not_one_that_allows_nothing() -> None:
    question = sudoers.ask_lacking(HOST, build.inventory())
    assert understood(question, "", code=1, stderr="sudo: a password is required") == "sudo: a password is required"
    everywhere = tuple(need for need in sudoers.needed(build.inventory()) if not need.labels)
    assert understood(question, "") == everywhere
