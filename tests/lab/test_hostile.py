"""A machine of the inventory that lies costs the run at most: it stops and names it, and no other host is touched."""

from __future__ import annotations

import pytest

from compose.nodes import Node
from tests.lab.rehearsal import Rehearsal

pytestmark = pytest.mark.matrix

# Of what it packs for the trial, a hostile member makes an archive with a link to another host's /etc in it.
LYING_TAR = """#!/bin/sh
/usr/bin/tar.real "$@" || exit
for word; do case $word in --file=*) file=${word#--file=} ;; esac; last=$word; done
case "$* " in
*--create*/trial/*.tar*)
    mkdir -p "/tmp/lie/$last"
    ln -sfn /etc "/tmp/lie/$last/out"
    exec /usr/bin/tar.real --append --file="$file" --directory=/tmp/lie "$last/out"
    ;;
esac
"""


def test_a_new_member_that_packs_a_link_into_its_trial_data_stops_the_run(rehearsal: Rehearsal) -> None:
    rehearsal.lose("wipe")
    liar, first = (rehearsal.nodes.by_name(name) for name in ("etcd-2", "etcd-1"))
    inventory, before = rehearsal.inventory(), owner(first)
    liar.run(["mv", "/usr/bin/tar", "/usr/bin/tar.real"])
    try:
        liar.put("/usr/bin/tar", LYING_TAR.encode(), 0o755)
        run = rehearsal.run(inventory)
    finally:
        liar.run(["mv", "-f", "/usr/bin/tar.real", "/usr/bin/tar"])
    assert run.code == 1 and "etcd-2's trial data holds files and directories alone" in " ".join(run.output.split())
    assert "2/out -> /etc" in run.output
    assert owner(first) == before == "root root"
    rehearsal.assert_recovered(rehearsal.run(inventory))


def owner(node: Node) -> str:
    return node.run(["stat", "-c", "%U %G", "/etc"]).stdout.strip()
