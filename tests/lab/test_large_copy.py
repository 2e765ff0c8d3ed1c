"""A snapshot of 1 GiB by ssh, from this machine to hosts and from host to host, within the controller's memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab.rehearsal import Rehearsal
from tests.unit import controller
from tests.unit.controller import GIB, MEMORY_MIB

COPY = "/var/lib/large.copy"
WORK = f"""
from requorum import inventory
from requorum.command import Copy
from requorum.hosts.fleet import Fleet
from requorum.evidence.journal import Journal
from requorum.hosts import thin
size = int(sys.argv[4])
thin.choose = lambda *_: thin.GZ  # as over a thin line; a size of 0 is never measured
with Fleet(inventory.load(Path(sys.argv[1])), Journal(Path(sys.argv[2]))) as fleet:
    fleet.run([
        Copy(sys.argv[3], (("etcd-1", "{COPY}"), ("etcd-2", "{COPY}")), "to hosts", bytes=size),
        Copy("{COPY}", (("etcd-3", "{COPY}"),), "from host to host", "etcd-1", bytes=size),
    ])
answer = None
"""


@pytest.mark.matrix
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "packed"])
def test_a_gigabyte_is_copied_by_ssh_within_the_memory_and_without_being_stored(
    rehearsal: Rehearsal, tmp_path: Path, packed: bool
) -> None:
    """That each copy is whole, the copy proves by itself."""
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate(GIB)
    try:
        evidence = tmp_path / "evidence"
        known = str(GIB if packed else 0)
        _, peak = controller.run(WORK, str(rehearsal.inventory()), str(evidence), str(large), known)
        sizes = [node.run(["stat", "-c", "%s", COPY]).stdout.strip() for node in rehearsal.nodes.members]
    finally:
        for node in rehearsal.nodes.members:
            node.run(["rm", "-f", COPY, f"{COPY}.part"])
    assert sizes == [str(GIB)] * 3
    assert peak < MEMORY_MIB
    assert (evidence / "journal.jsonl").read_text(encoding="utf-8").count('"packed": "gz"') == 2 * packed
    rehearsal.spoilt = False
