"""What an isolated boot says comes in at a door of its own: typed values, or a refusal that names its host."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from requorum.cluster import sandbox
from requorum.cluster.sandbox import Answers, Boot, IsolationError

BOOTS = [Boot(1, "etcd-1", "https://a:1", "10.0.0.1", "etcd-1=https://a:1", "t")]
GOOD: list[dict[str, Any]] = [
    {"event": "members", "answer": [{"name": "etcd-1", "peerURLs": ["https://a:1"]}]},
    {"event": "leader"},
    {"event": "authentication", "answer": True},
    {"event": "login", "role": "root", "why": ""},
    {"event": "wrong", "user": "root", "why": "refused"},
    {"event": "opens", "user": "dh", "answer": [{"perm": [{"key": "L21haW4=", "range_end": "L21haW8="}]}, {}]},
    {"event": "alarms", "answer": {"alarms": [{"alarm": 1}]}},
    {"event": "pinned", "answer": 7},
    {"event": "hashes", "answer": [{"Endpoint": "x", "HashKV": {"hash": 1, "compact_revision": -1}}]},
    {"event": "users", "answer": {"users": ["root"]}},
    {"event": "roles", "answer": {"roles": ["root"]}},
    {"event": "count", "answer": {"count": 3}},
    {"event": "leases", "answer": {"leases": [{"ID": 1}]}},
    {"event": "leased", "answer": 2},
    {"event": "died", "member": "1", "when": "first", "why": "panic"},
    {"event": "failed", "why": "x", "hindered": True},
    {"event": "saved"},
    {"event": "done"},
]
ODD = [
    *("Infinity", "-Infinity", "NaN", "1e999", "-1", "1.5", "true", "null", '""', '"\\u0663"', "9" * 5000, "9" * 19),
    *('{"a": 1}', "[1]", "[[]]", '"x"', "[" * 50_000, '"\\u001b[2J"', '"\\ud800"'),
]
WELL = {name: TypeAdapter(kind) for name, kind in get_type_hints(Answers).items()}


def read(*lines: str) -> Answers | IsolationError:
    try:
        return sandbox.parse("".join(f"{line}\n" for line in lines), "it ended", BOOTS, "etcd-2")
    except IsolationError as error:
        return error


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every value in it, by the way there."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at, *(place for key, one in inside for place in places(one, (*at, key)))]


def but(value: Any, at: tuple[Any, ...]) -> Any:
    if not at:
        return "@"
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[at[0]] = but(value[at[0]], at[1:])
    return copy


def assert_sound(found: Answers | IsolationError) -> None:
    if isinstance(found, IsolationError):
        assert found.where == "etcd-2"
    else:
        for name, value in asdict(found).items():
            WELL[name].validate_python(value, strict=True)


@pytest.mark.parametrize("event", GOOD, ids=[event["event"] for event in GOOD])
def test_any_value_in_any_place_is_a_value_of_its_kind_or_is_refused(event: dict[str, Any]) -> None:
    assert isinstance(read(json.dumps(event)), Answers)
    for at in places(event):
        for odd in ODD:
            assert_sound(read(json.dumps(but(event, at)).replace('"@"', odd), '{"event": "done"}'))


def test_what_would_be_a_number_of_another_kind_is_none() -> None:
    for odd in ("true", "-1", '"7"', "7.0", "1e3", "9" * 20, "Infinity"):
        assert isinstance(read(f'{{"event": "pinned", "answer": {odd}}}'), IsolationError), odd
    assert isinstance(read('{"event": "failed", "why": 5}'), IsolationError)
    assert isinstance(read('{"event": "users", "answer": {"users": [1]}}'), IsolationError)


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(st.lists(st.one_of(st.text(max_size=60), st.sampled_from([json.dumps(event) for event in GOOD])), max_size=5))
def test_any_text_is_answers_or_is_refused(lines: list[str]) -> None:
    assert_sound(read(*lines))
