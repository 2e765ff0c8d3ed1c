"""Who moved a restored cluster's revision: leases that ran out, or a writer."""

from __future__ import annotations

import base64
import json

import pytest

from requorum.cluster.etcd import EtcdError
from requorum.command import Result
from requorum.snapshots.movement import Keys, ask_keys, writer
from tests.unit import build

BEFORE = Keys(100, {b"/a": (7, 0), b"/b": (8, 0), b"/s1": (9, 41), b"/s2": (10, 41), b"/t": (11, 42)})


def now(revision: int, *gone: bytes, **written: int) -> Keys:
    held = {key: value for key, value in BEFORE.held.items() if key not in gone}
    return Keys(revision, held | {f"/{name}".encode(): (at, 0) for name, at in written.items()})


@pytest.mark.parametrize(
    ("after", "who"),
    [
        (now(100), None),
        (now(101, b"/t"), None),
        (now(101, b"/s1", b"/s2"), None),  # two keys of one lease go in one revision
        (now(102, b"/s1", b"/s2", b"/t"), None),
        (now(101, a=101), "'/a' was written after revision 100"),
        (now(102, b"/t", x=102), "'/x' was written after revision 100"),
        (now(101, b"/a"), "'/a' had no lease, and was deleted after revision 100"),
        (now(102, b"/a", b"/b"), "'/a' (and 1 more) had no lease, and was deleted after revision 100"),
        (now(103, b"/t"), "3 revisions after 100, of which 1 are leases that ran out"),  # written and deleted again
        (now(102), "2 revisions after 100, of which 0 are leases that ran out"),
    ],
)
def test_only_leases_that_ran_out_are_no_writer(after: Keys, who: str | None) -> None:
    assert writer(100, BEFORE, after) == who


def test_etcds_answer_is_read_and_one_that_is_none_is_refused() -> None:
    row = {"key": base64.b64encode(b"/s").decode(), "mod_revision": 9, "lease": 7587870123}
    text = json.dumps({"header": {"revision": 12}, "kvs": [row, {**row, "key": "L2E=", "lease": 0}], "count": 2})
    question = ask_keys(build.inventory(), 9)
    (command,) = question.commands
    assert "--rev=9" in command.argv and "--keys-only" in command.argv
    read = question.understand([Result(command, 0, text, "", 0.0)])
    assert read == Keys(12, {b"/s": (9, 7587870123), b"/a": (9, 0)})
    assert read == question.understand([Result(command, 0, text.replace(" ", ""), "", 0.0)])
    assert question.understand([Result(command, 0, '{"header":{"revision":12}}', "", 0.0)]) == Keys(12, {})
    for broken in ("", "{}", text[:-2], text.replace("], ", "]"), f"{text} x", text.replace("}, {", "}, 7, {")):
        with pytest.raises(EtcdError, match="its list of keys is none"):
            question.understand([Result(command, 0, broken, "", 0.0)])
    with pytest.raises(EtcdError, match="keys could not be listed: etcdserver: too busy"):
        question.understand([Result(command, 1, "", "etcdserver: too busy", 0.0)])
