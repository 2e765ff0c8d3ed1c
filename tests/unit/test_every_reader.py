"""Whatever bytes a host says, and however many: each question's reader gives a value, or a refusal that names it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from requorum.command import Result
from requorum.hosts.question import Question
from requorum.refusal import Refusal
from tests.unit import build, readers

QUESTIONS = readers.questions()
# Words that readers look for, so that the bytes get past their first lines.
PIECES = [
    *("../../etc", "$(touch x)", "\n", "\0", "\x1b[2J", "\u202e", "\ud800", "\r\n"),
    *(":", "=", " ", "/", "-", ", ", "0", "1", "9" * 30, "9" * 5000, "inf", "nan"),
    *('"', "{", "}", "[", "]", "[]", "{}", "null", "[1]", '{"a": ', "name: ", "- ", "!!python/object:os.system"),
    "&a *a",
    *("f 644 root:root", "/etc/etcd/dh/latest/config.yaml", build.CLIENT, "10.0.0.11:2379 ", "db 1.0 1\n"),
    "ActiveState=active\n",
    "notAfter=Nov 20 07:40:04 2036 GMT\n",
    "etcd Version: 3.5.1\n",
    "(root) NOPASSWD: ",
    "-rw-r--r-- 0/0 1 2026-01-01 00:00 ./x\n",
    '{"header": {"revision": 7}',
    '"kvs":[',
    '[{"Endpoint": "x", "Status": {"header": {"revision": 1}}}]',
]
CODES, ERRORS = (0, 0, 0, 1, 124, 127), ("", "cat: x: No such file or directory", "sudo: a password is required")
said = st.one_of(
    st.binary(max_size=80).map(lambda data: data.decode(errors="replace")),
    st.lists(st.sampled_from(PIECES), max_size=12).map("".join),
)
answers = st.tuples(said, st.sampled_from(CODES), st.sampled_from(ERRORS))


def refused(question: Question[Any], told: list[tuple[str, int, str]]) -> Refusal | None:
    """None where it gave a value."""
    results = [
        Result(command, code, text, stderr, 0.0)
        for command, (text, code, stderr) in zip(question.commands, told, strict=True)
    ]
    try:
        question.understand(results)
    except Refusal as refusal:
        return refusal
    return None


@settings(max_examples=40, deadline=None, derandomize=True, database=None)
@given(told=st.lists(answers, min_size=9, max_size=9))
def test_any_bytes_give_a_value_or_a_refusal_that_names_the_host(told: list[tuple[str, int, str]]) -> None:
    for name, question in QUESTIONS.items():
        turned = (told * (1 + len(question.commands) // len(told)))[: len(question.commands)]
        try:
            refusal = refused(question, turned)
            assert refusal is None or question.host in refusal.where
        except BaseException as error:
            error.add_note(f"asked by {name}")
            raise


def test_every_reader_is_among_them() -> None:
    assert len(QUESTIONS) > 120


def test_as_much_as_a_host_may_say_is_read_within_256_MiB_and_5_seconds() -> None:  # noqa: N802
    ended = subprocess.run(
        (sys.executable, "-m", "tests.unit.readers"), cwd=Path(__file__).parents[2], capture_output=True, text=True
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
