"""The one command line for what needs no pytest: what it believes of a host's syslog."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from requorum import __main__ as program
from requorum.command import Result
from requorum.evidence.syslog import Anchor
from requorum.refusal import Refusal
from tests.unit import build

ASKED = program._ask_syslog("etcd-1")


def said(code: int, stdout: str, stderr: str = "") -> list[Anchor]:
    return ASKED.understand([Result(command, code, stdout, stderr, 0.1) for command in ASKED.commands])


def test_a_syslog_that_cannot_be_asked_is_no_empty_one() -> None:
    line = f"journal {'a' * 16} of prod: 7 records, {'b' * 64}"
    assert said(0, f"other\n{line}\n") == [Anchor("a" * 16, 7, "b" * 64)]
    with pytest.raises(Refusal, match="etcd-1: sudo: a password is required"):
        said(1, "", "sudo: a password is required")


@given(st.integers(0, 255), st.text(max_size=2000), st.text(max_size=200))
@settings(max_examples=50)
def test_any_answer_gives_anchors_or_a_refusal_that_names_the_host(code: int, stdout: str, stderr: str) -> None:
    with build.refused_by("etcd-1"):
        assert all(anchor.records > 0 for anchor in said(code, stdout, stderr))


def test_every_program_is_explained_and_help_is_no_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert program.ABOUT.keys() == program.PROGRAMS.keys()
    for words, code in ((["--help"], 0), ([], 4), (["nothing"], 4)):
        monkeypatch.setattr("sys.argv", ["requorum", *words])
        assert program.main() == code
        said = capsys.readouterr()
        assert all(about in (said.err if code else said.out) for about in program.ABOUT.values())
