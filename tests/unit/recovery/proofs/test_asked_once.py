"""What one stage of Step 5 was told serves the next one too, and is asked again where it does not hold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from requorum.cluster import etcdctl
from requorum.recovery import trial
from requorum.refusal import Disproved
from tests.unit import build
from tests.unit.recovery.test_written import PROVEN, Asked, as_tried
from tests.unit.recovery.undo.test_discard import BEGAN

SAME = {f"https://10.0.0.1{n}:2379": (BEGAN.hash, 90) for n in (1, 2, 3)}
OTHER = {**SAME, "https://10.0.0.12:2379": (8, 90)}


def told(revision: int, hashes: dict[str, tuple[int, int]] = SAME, count: int = 2) -> trial.Asked:
    return trial.Asked({revision: hashes}, {("", revision): count})


def test_what_was_asked_at_the_trials_revision_is_not_asked_twice(tmp_path: Path) -> None:
    hosts = Asked(None, 95, BEGAN.hash, BEGAN.users)
    assert as_tried(tmp_path, hosts, BEGAN, told(BEGAN.revision)) == 90, "up to where it was compacted when it was told"
    assert hosts.verbs == ["list", "list"]


def test_what_was_asked_at_another_revision_says_nothing_of_the_trials(tmp_path: Path) -> None:
    hosts = Asked(None, 95, BEGAN.hash, BEGAN.users)
    assert as_tried(tmp_path, hosts, BEGAN, told(BEGAN.revision + 1)) == 95
    assert hosts.verbs == ["hashkv", "get", "list", "list"]


@pytest.mark.parametrize("wrong", [told(BEGAN.revision, OTHER), told(BEGAN.revision, count=3)], ids=["hash", "keys"])
def test_what_was_asked_is_compared_as_what_is_asked_here(tmp_path: Path, wrong: trial.Asked) -> None:
    hosts = Asked(None, 90, 8, BEGAN.users)
    with pytest.raises(Disproved, match=r"hash 8|3 keys under everything"):
        as_tried(tmp_path, hosts, BEGAN, wrong)
    assert (wrong.hashes, wrong.counts) == ({}, {}), "a second look asks"


def test_a_note_stands_only_for_what_is_compacted_since_also_where_it_was_asked_before(tmp_path: Path) -> None:
    hosts = Asked(PROVEN, None, 8, BEGAN.users)
    at = dict.fromkeys(SAME, (8, 118))
    assert as_tried(tmp_path / "since", hosts, BEGAN, told(BEGAN.revision, at)) == 118
    with pytest.raises(Disproved, match="hash 8"):
        as_tried(tmp_path / "not", Asked(PROVEN, 90, 8, BEGAN.users), BEGAN, told(BEGAN.revision, OTHER))


@pytest.mark.parametrize(("header", "revision"), [({"revision": 7}, 7), ({}, 0)])
def test_a_count_says_of_which_revision_it_is(header: dict[str, Any], revision: int) -> None:
    text = json.dumps({"header": header, "kvs": [{"key": "L2E="}], "count": 20})
    assert build.understood(etcdctl.ask_counted(build.inventory(), "/main"), text) == (20, revision)
