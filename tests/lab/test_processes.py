"""Deephaven's processes that are off when the night begins: on purpose, or because monit gave up on them."""

from __future__ import annotations

from typing import Any

import pytest

from compose import cluster, processes
from tests.lab.rehearsal import Own

pytestmark = pytest.mark.matrix


def test_those_that_monit_gave_up_on_are_up_in_the_end(own: Own) -> None:
    other = own()
    other.lose("wipe")
    assert processes.give_up(other.nodes), "half of them"
    assert not all(process.said for process in cluster.state(other.nodes).processes)
    other.assert_recovered(other.run(other.inventory()))


def off_on_purpose(content: dict[str, Any]) -> None:
    content["expect"]["off"] = [processes.SPARE]


def test_one_that_is_unmonitored_on_purpose_stays_off_and_hinders_nothing(own: Own) -> None:
    other = own()
    node = other.nodes.configuration_server
    processes.keep_off(node)
    other.lose("wipe")
    other.assert_recovered(other.run(other.inventory(off_on_purpose)))
    assert node.run(["test", "-e", f"/run/deephaven/{processes.SPARE}.pid"], check=False).rc != 0
