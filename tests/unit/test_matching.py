"""The matcher that compares a plan with a run must itself be honest."""

from __future__ import annotations

import pytest

from tests.matching import differences, matches


@pytest.mark.parametrize(
    ("planned", "line"),
    [
        ("rm -rf /a", "rm -rf /a"),
        ("rm -rf '/base/‹run›/x'", "rm -rf /base/2026/x"),
        ("stop 'requorum-‹run›.service' '/‹run›'", "stop requorum-r1.service /r1"),
        ("tar -- '‹names-in-server.tgz›'", "tar -- ca servers"),
        ("logger 'of lab: ‹records› records, ‹head›'", "logger 'of lab: 12 records, 0a'"),
    ],
)
def test_a_placeholder_stands_for_one_text(planned: str, line: str) -> None:
    assert matches(planned, line, {})


@pytest.mark.parametrize(
    ("planned", "line"),
    [
        ("rm -rf /a", "rm -rf /b"),
        ("rm -rf '/base/‹run›/x'", "rm -rf /base//x"),
        ("stop 'requorum-‹run›.service' '/‹run›'", "stop requorum-r1.service /r2"),
        ("mv '‹a›' /b", "mv /x /y /b"),
        ("dd of=/a < •••", "dd of=/a"),
        ("tar -- '‹names-in-server.tgz›'", "tar --"),
    ],
    ids=["literal", "empty", "two texts for one name", "one word only", "standard input", "no word"],
)
def test_what_differs_is_no_match(planned: str, line: str) -> None:
    bound = {"‹other›": "kept"}
    assert not matches(planned, line, bound)
    assert bound == {"‹other›": "kept"}, "a line that does not match binds nothing"


def test_a_placeholder_keeps_its_text_on_every_host() -> None:
    bound: dict[str, str] = {}
    plan = {"a": ["mkdir '/‹run›'"], "b": ["mkdir '/‹run›'"]}
    assert differences(plan, {"a": ["mkdir /r1"], "b": ["mkdir /r1"]}, bound) == []
    assert bound == {"‹run›": "r1"}
    assert differences(plan, {"a": ["mkdir /r2"], "b": ["mkdir /r1"]}, bound) != []


@pytest.mark.parametrize(
    ("planned", "ran"),
    [
        ({"a": ["x", "y"]}, {"a": ["x"]}),
        ({"a": ["x"]}, {"a": ["x", "y"]}),
        ({"a": ["x", "y"]}, {"a": ["y", "x"]}),
        ({}, {"b": ["x"]}),
        ({"a": ["x"]}, {}),
    ],
    ids=["not run", "not planned", "order", "another host", "a host left out"],
)
def test_nothing_may_be_left_over(planned: dict[str, list[str]], ran: dict[str, list[str]]) -> None:
    assert len(differences(planned, ran, {})) == 1
