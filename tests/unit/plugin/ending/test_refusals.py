"""What every refusal of the code looks like on the screen: it says what to do, and no line is pasted in vain."""

from __future__ import annotations

import re
import shlex

import pytest

from requorum.plugin.ending.remedies import ROOT
from requorum.refusal import Refusal
from requorum.run.marker import Phase
from tests.unit import typed
from tests.unit.plugin.ending.ended import MEMBERS, block, did, ended, pasted
from tests.unit.plugin.ending.refusals import Written, written

ALL = list(written())


def shown(one: Written, phase: Phase = Phase.STARTED) -> tuple[dict[str, str], list[str]]:
    of = ended(Refusal("etcd-2", "is not as it must be", one.text), 4, did=did(phase))
    return block(of), pasted(of)


def test_the_refusals_of_the_code_are_found() -> None:
    assert len(ALL) > 150
    assert len({one.place.split(":")[0] for one in ALL}) > 50


@pytest.mark.parametrize("one", ALL, ids=lambda one: one.place)
def test_a_refusal_says_how_things_stand_what_failed_and_what_to_do(one: Written) -> None:
    found, _ = shown(one)
    assert found["State"] and found["Failed"] and found["Go on"]
    assert found["Do first"]


@pytest.mark.parametrize("one", ALL, ids=lambda one: one.place)
def test_every_command_is_complete_from_a_fresh_login_and_would_be_taken(one: Written) -> None:
    """`pasted` hands each to the front door."""
    for phase in Phase:
        for line in shown(one, phase)[1]:
            if by_hand := typed.BY_HAND.fullmatch(line):
                assert by_hand[1] in (*MEMBERS, "infra-1", "query-1")
                continue
            program, *words = shlex.split(line)[3:]
            assert program in (".venv/bin/pytest", "/opt/requorum/.venv/bin/python"), line
            assert "--hosts=lab" in words or "-m" in words, line


@pytest.mark.parametrize(
    "line",
    [
        "ssh etcd-1.invalid sudo -n timeout -k 5 60 Defaults:LOGIN timestamp_timeout=1",
        "ssh etcd-1.invalid sudo -n timeout -k 5 60 systemctl edit --full dh-etcd.service",
        "ssh etcd-1.invalid sudo -n timeout -k 5 60 sudo systemctl stop dh-etcd.service",
        "cd /opt && .venv/bin/pytest runbook/close --hosts=lab --discard-new-writes",
        "cd /opt && .venv/bin/pytest runbook --hosts=lab --discard-new-writes",
        "cd /opt && .venv/bin/pytest runbook --hosts=lab --accept=without:etcd-9",
        "cd /opt && .venv/bin/python -m requorum backups list",
    ],
)
def test_a_line_that_would_be_refused_ends_a_test(line: str) -> None:
    with pytest.raises((AssertionError, Refusal)):
        typed.can_be_pasted(line)


@pytest.mark.parametrize("one", ALL, ids=lambda one: one.place)
def test_no_command_is_left_in_a_sentence(one: Written) -> None:
    found = shown(one)[0]
    words = "\n".join(found.get(label, "") for label in ("Do first", "Or"))
    sentences = "\n".join(line for line in words.splitlines() if not line.startswith(("cd /", "ssh ")))
    assert not re.search(r"pytest runbook|python -m|--hosts=|`", sentences), sentences
    assert not re.search(r"--(accept|snapshot|salvage|skip-hash)=(?!(?:[\w-]+:)?[A-Z]{4})", sentences), sentences


@pytest.mark.parametrize("one", ALL, ids=lambda one: one.place)
def test_nobody_is_told_to_harm(one: Written) -> None:
    """Whose a thing is, and where, stands beside the word; a machine is only gone where it does not answer."""
    text = one.text
    assert not re.search(r"\b(kill|fsck|reinstall|chgrp)\b", text), text
    if "--gone=" in text:
        assert re.search(r"destroyed|took no part|is gone", text), text
    if re.search(r"\bmove\b.*\b(away|aside)\b", text):
        assert re.search(r"ssh |/var/lib|docs/|where nothing is deleted| on \S+ alone", text), text
    assert "--rebuild" not in text or re.search(r"only needs starting|Only where nothing mends it", text), text


@pytest.mark.parametrize("one", [one for one in ALL if "docs/" in one.text], ids=lambda one: one.place)
def test_a_page_is_named_by_its_whole_path(one: Written) -> None:
    block = shown(one)[0]
    found = "\n".join(block.get(label, "") for label in ("Do first", "Or"))
    assert f"{ROOT}/docs/" in found and not re.search(r"(?<![\w/.])docs/", found)


@pytest.mark.parametrize("page", sorted({p for one in ALL for p in re.findall(r"docs/([\w-]+\.md)#", one.text)}))
def test_a_page_that_is_named_is_there(page: str) -> None:
    assert (ROOT / "docs" / page).is_file()
