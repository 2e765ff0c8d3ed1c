"""The operator's words for losses."""

from __future__ import annotations

import shlex

import pytest

from requorum.refusal import Refusal
from requorum.run.accepted import Accepted, option, parse

HOSTS = ("etcd-1", "etcd-2")


def test_words_are_taken_one_by_one() -> None:
    accepted = parse("without:etcd-2, backup,without:etcd-1,history,mark:20261126t175028z-0a1b2c,backup", HOSTS)
    assert accepted.hosts("without") == ("etcd-2", "etcd-1")
    assert accepted.hosts("nothing") == ()
    assert accepted.has("backup") and accepted.has("history")
    assert len(accepted.words) == 5
    assert parse(option(*accepted.words).removeprefix("--accept="), HOSTS) == accepted
    assert parse(None, HOSTS) == parse("", HOSTS) == Accepted()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("etcd-1", "--accept=etcd-1: is no word that can be accepted"),
        ("all", "is no word"),
        ("backup:etcd-1", "is no word"),
        ("without", "names no old member"),
        ("without:etcd-9", r"names no old member that is there\n    → one of without:etcd-1, without:etcd-2"),
        ("backup,forced:infra-1", "--accept=forced:infra-1: names no old member"),
        ("mark:", "is no word"),
        ("on-disk:etcd-1,on-disk:etcd-2", "names 2 hosts"),
    ],
)
def test_a_word_that_there_is_not_is_refused(text: str, says: str) -> None:
    with pytest.raises(Refusal, match=says):
        parse(text, HOSTS)


def test_a_machine_that_is_gone_can_only_be_given_up() -> None:
    assert parse("without:etcd-3", HOSTS, ("etcd-3",)).hosts("without") == ("etcd-3",)
    with pytest.raises(Refusal, match="names no old member that is there"):
        parse("forced:etcd-3", HOSTS, ("etcd-3",))


def test_what_is_offered_for_pasting_is_one_word_of_a_shell() -> None:
    assert option("nothing:etcd-1", "backup") == "--accept=nothing:etcd-1,backup"
    assert shlex.split(option("mark:x; reboot $(id)")) == ["--accept=mark:x; reboot $(id)"]
