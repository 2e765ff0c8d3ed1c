"""Data without authentication: what was is what must be, and it is said before anything is committed."""

from __future__ import annotations

import pytest

from compose.nodes import Nodes
from tests.lab.rehearsal import Rehearsal
from tests.lab.writers import leftovers

pytestmark = pytest.mark.matrix
ETCDCTL = "/usr/illumon/latest/bin/etcdctl.sh"


def turn_authentication(nodes: Nodes, word: str) -> None:
    nodes.configuration_server.run([ETCDCTL, "auth", word])


def test_a_cluster_without_authentication_is_recovered_without_it(rehearsal: Rehearsal) -> None:
    turn_authentication(rehearsal.nodes, "disable")
    rehearsal.lose("wipe")
    run = rehearsal.run(rehearsal.inventory())
    assert run.recovered, run.output
    assert run.summary["snapshot"]["source"] == "salvage"
    assert "authentication is off in this data" in run.output
    assert leftovers(rehearsal.nodes) == []
    turn_authentication(rehearsal.nodes, "enable")  # the lab's own eyes log in
    rehearsal.assert_recovered(run)
