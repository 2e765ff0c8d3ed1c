"""Data without authentication: what was is what must be, and it is said before anything is committed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from compose.nodes import Nodes
from tests.lab import procedures
from tests.lab.rehearsal import Own, Rehearsal
from tests.lab.test_backup import back_up, into
from tests.lab.writers import leftovers

pytestmark = pytest.mark.matrix
CLIENT = "/etc/sysconfig/deephaven/etcd/client"
ETCDCTL = "/usr/illumon/latest/bin/etcdctl.sh"


def turn_authentication(nodes: Nodes, word: str) -> None:
    nodes.configuration_server.run([ETCDCTL, "auth", word])


def test_data_whose_backup_had_it_on_is_recovered_only_by_the_operators_word(
    rehearsal: Rehearsal, tmp_path: Path
) -> None:
    directory = tmp_path / "nightly"
    assert back_up(rehearsal, directory).code == 0
    (note,) = (json.loads(path.read_text()) for path in directory.glob("*.snap.json"))
    assert note["authentication"] is True
    turn_authentication(rehearsal.nodes, "disable")
    checked = procedures.run(rehearsal.scratch, "", f"--hosts={rehearsal.inventory(into(directory))}", "--check")
    assert "logins" in {f["check"] for f in checked.summary["findings"] if f["verdict"] == "fails"}, checked.output
    rehearsal.lose("wipe")
    inventory = rehearsal.inventory(into(directory))
    stopped = rehearsal.run(inventory)
    assert stopped.code == 1, stopped.output
    assert "had it on: it is another history" in stopped.output
    assert "--accept=history" in stopped.output and leftovers(rehearsal.nodes) == []
    run = rehearsal.run(inventory, "--accept=history")
    assert run.recovered and run.summary["run"] == stopped.summary["run"], run.output
    turn_authentication(rehearsal.nodes, "enable")
    rehearsal.assert_recovered(run)


def test_a_wrong_password_of_root_keeps_no_salvage_from_its_data_and_is_named_before_and_in_the_trial(
    rehearsal: Rehearsal,
) -> None:
    server = rehearsal.nodes.configuration_server  # no other host has root's
    right = server.get(f"{CLIENT}/root/password")
    server.run(["sh", "-c", 'echo another-password > "$0"', f"{CLIENT}/root/password"])
    checked = procedures.run(rehearsal.scratch, "", f"--hosts={rehearsal.inventory()}", "--check")
    found = {f["check"]: f for f in checked.summary["findings"] if f["verdict"] == "fails"}
    assert set(found) - {"backup"} == {"logins"}, checked.output
    assert found["logins"]["found"].startswith("root: Error: etcdserver: authentication failed")
    rehearsal.lose("wipe")
    stopped = rehearsal.run(rehearsal.inventory())
    assert stopped.code == 1, stopped.output
    assert "an old password does not log in: root:" in stopped.output
    assert "test_then_every_old_password_logs_in_to_the_trial" in stopped.summary["stopped_at"]
    backup = f"/var/lib/requorum/lab/{stopped.summary['run']}/client.before/root/password"
    server.run(["sh", "-c", 'cat > "$0"', backup], stdin=right)
    run = rehearsal.run(rehearsal.inventory())
    rehearsal.assert_recovered(run)
    assert run.summary["run"] == stopped.summary["run"] and run.summary["snapshot"]["source"] == "salvage"


def test_users_without_passwords_are_recovered_by_their_certificates(own: Own) -> None:
    lab = own(certificates=True)
    lab.lose("wipe")
    run = lab.run(lab.inventory())
    lab.assert_recovered(run)
    assert run.summary["snapshot"]["source"] == "salvage"
    assert "by client certificates alone: acl-ro" in run.output
