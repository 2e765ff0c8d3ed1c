"""One survivor of two has a bad disk: nothing is restored unasked that lacks what the other one holds."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from compose import disks, etcd_client
from compose.nodes import Node
from tests.lab.rehearsal import Rehearsal
from tests.lab.test_salvage import ALL

LATE = "/status/late"


@pytest.mark.matrix
@pytest.mark.parametrize("fault", disks.FAULTS)
def test_no_write_is_lost_unasked(rehearsal: Rehearsal, fault: Callable[[Node], AbstractContextManager[None]]) -> None:
    etcd_client.put(rehearsal.nodes, LATE, "written after the backup")
    rehearsal.lose("stop", ALL)
    rehearsal.lose("wipe", ("etcd-3",))
    with fault(rehearsal.nodes.by_name("etcd-2")):
        run = rehearsal.run(rehearsal.inventory(), "--rebuild")
    assert "Traceback" not in run.output, run.output
    if run.recovered:
        rehearsal.assert_recovered(run)
        assert etcd_client.read_all(rehearsal.nodes, LATE) != {}
    else:
        assert (run.code, run.summary["outcome"]) in {(1, "stopped"), (1, "refused")}, run.output
        assert "→" in run.output, run.output
