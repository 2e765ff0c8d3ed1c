"""Each command that a stop prints and no other test pastes, run as it is printed: it ends recovered or rolled back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from compose import etcd_client
from requorum.run import marker
from tests.lab import procedures
from tests.lab.rehearsal import Rehearsal
from tests.lab.stops import paste, stops
from tests.lab.test_close import turn_deephaven_on
from tests.lab.test_rollback import ETCDCTL, assert_equal, assert_rolled_back, cut, listing
from tests.lab.test_salvage import ALL
from tests.lab.test_sources import assert_recovered_with, back_up, into, late, of_another_cluster
from tests.lab.writers import data_dir

pytestmark = pytest.mark.matrix
CHOICE, PROMPT = "test_when_the_best_data_is_chosen_and_copied", "test_given_you_confirm_what_was_proven"


def old_in(directory: Path) -> Callable[[dict[str, Any]], None]:
    """An inventory by which any backup there is too old."""

    def change(content: dict[str, Any]) -> None:
        into(directory)(content)
        content["snapshot"]["max_age_hours"] = 0.0001

    return change


def test_behind_a_manifest_the_way_back_and_the_way_on_both_work_as_printed(
    rehearsal: Rehearsal, tmp_path: Path
) -> None:
    """The survivor was down when the last backup was made, and that file was cut off since."""
    back_up(rehearsal, tmp_path)
    before = set(tmp_path.glob("*.snap"))
    rehearsal.lose("stop", ("etcd-1",))
    late(rehearsal, 0)
    procedures.run(rehearsal.scratch, "backup", f"--hosts={rehearsal.inventory(into(tmp_path))}")
    (newest,) = set(tmp_path.glob("*.snap")) - before
    with newest.open("r+b") as file:
        file.truncate(newest.stat().st_size - 1000)
    rehearsal.lose("wipe")

    stopped = rehearsal.run(rehearsal.inventory(into(tmp_path)))
    stops(stopped, CHOICE)
    assert f"by its manifest the backup {newest} was at revision" in " ".join(stopped.output.split())
    back = paste(rehearsal, stopped, "runbook/rollback")
    assert back.code == 0 and back.summary["outcome"] == "rolled-back", back.output

    again = rehearsal.run(rehearsal.inventory(into(tmp_path)))
    stops(again, CHOICE)
    run = paste(rehearsal, again, "--accept=history")
    assert run.summary["snapshot"]["source"] == "salvage", run.output
    assert run.summary["data_loss"]["certain"] >= 1, "what the manifest knows of is said as lost"
    assert_recovered_with(rehearsal, run, set())


def test_an_old_backup_and_one_of_another_cluster_are_named_as_printed(rehearsal: Rehearsal, tmp_path: Path) -> None:
    nightly, only = tmp_path / "nightly", tmp_path / "only"
    late(rehearsal, 0)
    backup = back_up(rehearsal, nightly)
    rehearsal.lose("wipe", ALL)

    stopped = rehearsal.run(rehearsal.inventory(old_in(nightly)))
    stops(stopped, "test_given_a_snapshot_is_whole")
    assert "h old, more than snapshot.max_age_hours" in stopped.output
    run = paste(rehearsal, stopped, f"--snapshot={backup}")
    assert_recovered_with(rehearsal, run, {0})

    late(rehearsal, 1)
    foreign = of_another_cluster(back_up(rehearsal, only))
    for path in only.iterdir():
        if not path.name.startswith(foreign.stem):
            path.unlink()
    rehearsal.lose("wipe", ALL)
    stopped = rehearsal.run(rehearsal.inventory(into(only)))
    stops(stopped, "test_given_a_snapshot_is_whole")
    assert "no data" in stopped.output
    run = paste(rehearsal, stopped, f"--snapshot={foreign}")
    assert_recovered_with(rehearsal, run, {1})


DROP_IN = "/etc/systemd/system/dh-etcd.service.d/own.conf"
STARTS = b"[Service]\nExecStart=\nExecStart=/usr/bin/etcd --name=etcd-1 --data-dir=/var/lib/etcd/dh/old\n"


def test_a_drop_in_and_a_copied_disk_stop_before_anything_is_touched_and_end_as_printed(rehearsal: Rehearsal) -> None:
    """etcd-2 has a copy of what etcd-1 holds: two votes of one member elect nobody, and count once."""
    one, two = rehearsal.nodes.members[:2]
    late(rehearsal, 0)
    rehearsal.lose("stop", ALL)
    rehearsal.lose("wipe", ALL[2:])
    inventory = rehearsal.inventory()

    one.run(["mkdir", "-p", DROP_IN.rpartition("/")[0]])
    one.put(DROP_IN, STARTS, 0o644)
    stopped = rehearsal.run(inventory, "--rebuild")
    one.run(["rm", "-r", DROP_IN.rpartition("/")[0]])
    stops(stopped, "test_given_quorum_is_lost")
    assert "they have it started in another way" in " ".join(stopped.output.split()), stopped.output

    directory = data_dir(one)
    one.run(["tar", "-C", directory, "-cf", "/tmp/copied.tar", "member"])
    two.put("/tmp/copied.tar", one.get("/tmp/copied.tar"))
    two.run(["sh", "-ec", 'rm -rf "$0/member"; tar -C "$0" -xpf /tmp/copied.tar', directory])
    stopped = rehearsal.run(inventory, "--rebuild")
    stops(stopped, "test_given_a_snapshot_is_whole")
    assert "one of them is a copy of the other" in stopped.output, stopped.output
    run = paste(rehearsal, stopped, "--accept=without:etcd-2")
    assert run.summary["snapshot"]["source"] == "salvage", run.output
    assert_recovered_with(rehearsal, run, {0})


STARTED = "test_then_it_is_one_cluster_with_one_leader"  # the new etcd runs, and nothing of it is proven
CLIENT = "/etc/sysconfig/deephaven/etcd/client/props-ro"


def test_the_ways_back_and_anew_and_the_first_backup_end_as_printed(rehearsal: Rehearsal) -> None:
    inventory, server = rehearsal.inventory(), rehearsal.nodes.configuration_server
    intact = rehearsal.run(inventory)
    looked = paste(rehearsal, intact, "runbook/troubleshoot/diagnose")
    assert (looked.code, looked.summary["outcome"]) == (0, "diagnosed"), looked.output

    rehearsal.lose("wipe")
    before = listing(rehearsal)
    cut(rehearsal, inventory, STARTED)
    etcd_client.put(rehearsal.nodes, "/main/by/hand", "before anything was proven")
    stopped = rehearsal.run(inventory)
    stops(stopped, "test_given_no_other_run_is_under_way")
    assert "was written to, and that its data is what was tried was never proven" in stopped.output, stopped.output
    back = paste(rehearsal, stopped, "runbook/rollback", "--discard-new-writes")
    assert_rolled_back(back)
    assert_equal(before, listing(rehearsal))

    cut(rehearsal, inventory, STARTED)
    user = server.get(f"{CLIENT}/user").decode().strip()
    server.run([*ETCDCTL, "user", "passwd", user, "--interactive=false"], stdin=b"of-somebody-else\n")
    stopped = rehearsal.run(inventory)
    stops(stopped, "test_then_every_old_password_logs_in")
    anew = paste(rehearsal, stopped, "runbook/retry")
    backed_up = paste(rehearsal, anew, "runbook/backup")
    assert (backed_up.code, backed_up.summary["outcome"]) == (0, "backed-up"), backed_up.output
    rehearsal.assert_recovered(anew)


def test_a_mark_that_the_configuration_server_lost_and_a_run_that_people_finished_end_as_printed(
    rehearsal: Rehearsal,
) -> None:
    inventory, server = rehearsal.inventory(), rehearsal.nodes.configuration_server
    rehearsal.lose("wipe")
    cut(rehearsal, inventory, "test_when_the_old_passwords_are_backed_up")
    server.run(["mv", f"{marker.directory('lab')}/run.json", "/root/lost.json"])
    stopped = rehearsal.run(inventory)
    stops(stopped, "test_given_no_other_run_is_under_way")
    followed = paste(rehearsal, stopped, "--accept=mark:")
    rehearsal.assert_recovered(followed)

    rehearsal.lose("wipe")
    cut(rehearsal, inventory, "test_then_no_old_member_serves_clients")
    turn_deephaven_on(rehearsal, inventory)
    rehearsal.assert_deephaven_works()
    refused = procedures.run(rehearsal.scratch, "rollback", f"--hosts={inventory}", "--confirm=lab")
    assert refused.code == 1 and "its cluster runs and was written to" in refused.output, refused.output
    closed = paste(rehearsal, refused, "runbook/close")
    assert (closed.code, closed.summary["outcome"]) == (0, "closed"), closed.output
    rehearsal.assert_data_is_back()
    rehearsal.assert_deephaven_works()
    rehearsal.spoilt = False
