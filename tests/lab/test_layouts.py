"""However etcd lies on its machines, the lab forms a healthy cluster so and loads it; and the runbook recovers it."""

from __future__ import annotations

import pytest

from compose import cluster, etcd_client, layouts
from tests.lab import procedures
from tests.lab.rehearsal import Own
from tests.lab.writers import data_dir

pytestmark = pytest.mark.matrix
OTHERS = layouts.LAYOUTS[1:]
LATE = "/status/late"


@pytest.mark.parametrize("layout", OTHERS)
def test_a_cluster_lies_as_it_was_asked_for_and_is_healthy(own: Own, layout: str) -> None:
    other = own(layout=layout)
    assert all(member.healthy for member in cluster.state(other.nodes).members)
    other.assert_data_is_back()
    for number, node in enumerate(other.nodes.members):
        data = data_dir(node)
        look = f"""
            readlink {data} {data}/member/snap {data}/member/wal | sort
            [ -e {layouts.CONFIG} ] || echo 'no configuration'
            findmnt -n -o TARGET {layouts.DATA_ROOT}
            find {layouts.ELSEWHERE} -name '*.wal' -printf '%h\\n' 2>/dev/null | sort -u
        """
        found = node.run(["sh", "-c", look], check=False).stdout.split("\n")[:-1]
        assert (
            found
            == {
                "wal-dir": ["/srv/etcd/wal"],
                "links": ["/srv/etcd/data", "/srv/etcd/data/member/wal"]
                if number % 2
                else ["/srv/etcd/snap", "/srv/etcd/wal", "/srv/etcd/wal"],
                "volume": [layouts.DATA_ROOT, f"{layouts.ELSEWHERE}/{data.rsplit('/', 1)[1]}/member/wal"],
                "flags": ["no configuration"],
                "environment": ["no configuration"],
            }[layout]
        )
    inventory = other.inventory()
    checked = procedures.run(other.scratch, "", f"--hosts={inventory}", "--check")
    findings = {(f["host"], f["check"]): f["found"] for f in checked.summary["findings"]}
    assert findings["the cluster", "quorum"].startswith("quorum is intact"), checked.output
    assert [key for key in findings if key[1] == "server files" and "no /etc" in findings[key]] == []
    refused = other.run(inventory)
    assert refused.code == 1 and "nothing to rebuild: quorum is intact" in refused.output


@pytest.mark.parametrize("layout", OTHERS)
def test_a_survivor_of_it_is_salvaged_without_a_question(own: Own, layout: str) -> None:
    other = own(layout=layout)
    etcd_client.put(other.nodes, LATE, "written after the backup")
    other.lose("wipe")
    run = other.run(other.inventory())
    assert run.recovered and run.summary["snapshot"]["source"] == "salvage", run.output
    assert etcd_client.read_all(other.nodes, LATE) != {}
    other.assert_recovered(run)
