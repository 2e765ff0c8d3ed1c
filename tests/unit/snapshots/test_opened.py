"""What running members had open outlasts their stop: a run that is carried on knows it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from requorum.hosts import kept
from requorum.refusal import Refusal
from requorum.snapshots import opened
from tests.unit import build

OPENED = build.terms().place("opened.json")
ELSEWHERE = {"etcd-1": ("/srv/new/member/snap/db",), "etcd-2": ("/old/member/snap/db (deleted)",)}


def test_what_was_noted_before_the_stop_is_told_after_it() -> None:
    terms = build.terms()
    (command,) = opened.note(terms, {**ELSEWHERE, "etcd-3": ()})
    assert command.host == terms.configuration_server and command.stdin is not None
    assert kept.targets(command.argv) == (OPENED,), "whole, or not there"
    assert build.understood(opened.ask(terms), command.stdin.decode()) == ELSEWHERE


def test_members_that_were_seen_to_begin_anew_are_told_after_their_stop() -> None:
    terms = build.terms()
    (command,) = opened.note(terms, {"etcd-1": ()}, ("etcd-2", "etcd-3"))
    assert command.stdin is not None and kept.targets(command.argv) == (terms.place("anew.json"),)
    told = build.understood(opened.ask(terms, opened.ANEW), command.stdin.decode())
    assert tuple(told) == ("etcd-2", "etcd-3")


def test_where_nobody_had_another_one_open_nothing_is_noted() -> None:
    assert opened.note(build.terms(), {"etcd-1": ()}) == []
    missing = build.understood(opened.ask(build.terms()), "", code=1, stderr="cat: /x: No such file or directory")
    assert missing == {}


@pytest.mark.parametrize(
    ("said", "complaint", "code"),
    [
        ("", "", 0),
        ("[]", "", 0),
        ('{"stranger": ["/a"]}', "", 0),
        ('{"etcd-1": "/a"}', "", 0),
        ('{"etcd-1": ["a"]}', "", 0),
        ('{"etcd-1": ["/a\\u001b"]}', "", 0),
        ("", "cat: /x: Input/output error", 1),
        ("", "", 124),
    ],
)
def test_a_note_that_cannot_be_read_is_no_missing_one(said: str, complaint: str, code: int) -> None:
    with pytest.raises(Refusal, match=r"opened\.json: cannot be read, and this run wrote it"):
        build.understood(opened.ask(build.terms()), said, code=code, stderr=complaint)


@given(st.text() | st.recursive(st.none() | st.text(), lambda inner: st.lists(inner)).map(json.dumps))
def test_any_answer_is_a_note_or_a_refusal(said: str) -> None:
    try:
        found = build.understood(opened.ask(build.terms()), said)
    except Refusal:
        return
    assert all(path.startswith("/") for paths in found.values() for path in paths)
