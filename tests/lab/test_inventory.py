"""`python -m requorum inventory` against a real cluster: a first inventory from what the hosts say, and its check."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import yaml

from compose.state import REPOSITORY
from requorum import inventory as inventories
from tests.lab import listing, procedures
from tests.lab.rehearsal import Rehearsal


def inventory(*words: str) -> subprocess.CompletedProcess[str]:
    line = (sys.executable, "-m", "requorum", "inventory", *words)
    return subprocess.run(line, cwd=REPOSITORY, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)


def test_an_inventory_is_made_from_what_the_hosts_say_and_a_check_can_use_it(
    rehearsal: Rehearsal, tmp_path: Path
) -> None:
    known = inventories.load(rehearsal.inventory())
    groups = [
        "[db]",
        *(member.host for member in known.members),
        "[dh]",
        *(host for host in known.deephaven.hosts),
        "[all:vars]",
        "ansible_become=yes",
    ]
    (tmp_path / "hosts").write_text("\n".join(groups) + "\n")
    made = tmp_path / "made.yaml"
    ssh = [f"--ssh-config={known.transport.ssh_config}", *([f"--user={u}"] if (u := known.transport.user) else [])]
    ansible = (f"--from-ansible={tmp_path / 'hosts'}", "--members-group=db", "--hosts-group=dh")
    before = listing.taken(rehearsal.nodes)
    ended = inventory("new", "--cluster=lab", *ansible, *ssh, f"--output={made}")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert not listing.changes(before, listing.taken(rehearsal.nodes))
    found = inventories.load(made)
    assert found.deephaven.commands == known.deephaven.commands, "the lab's are the defaults"
    assert found.members == known.members and found.deephaven.hosts == known.deephaven.hosts
    assert found.etcd.model_copy(update={"keep_settings": known.etcd.keep_settings}) == known.etcd
    assert 0 < found.expect.min_keys < 30_000
    said = made.read_text()
    assert "# Roles with a password: " in said and "root" in said and "# Keys: " in said
    checked = inventory("check", f"--hosts={made}")
    lines = [line for line in checked.stdout.splitlines() if not line.startswith("deephaven.accounts")]
    assert lines in ([], ["file and hosts say the same"]), checked.stdout + checked.stderr
    run = procedures.run(rehearsal.scratch, "", f"--hosts={made}", "--check")
    ours = {f["check"] for f in run.summary["findings"] if f["verdict"] == "fails"}
    assert run.summary["outcome"] == "checked" and "ssh" not in ours and "etcd" not in ours, run.output


def test_what_differs_between_file_and_hosts_is_named(rehearsal: Rehearsal, tmp_path: Path) -> None:
    data = yaml.safe_load(rehearsal.inventory().read_text())
    data["etcd"] = {**data.get("etcd", {}), "user": "nobody", "unit": "quetcd.service"}
    server = data["deephaven"]["configuration_server"]
    data["deephaven"]["configuration_server"] = next(h for h in data["deephaven"]["hosts"] if h != server)
    data["old_members"] = [{**row} for row in data["members"]]
    data["old_members"][1]["ip"] = "10.99.99.99"
    (tmp_path / "wrong.yaml").write_text(yaml.safe_dump(data))
    ended = inventory("check", f"--hosts={tmp_path / 'wrong.yaml'}")
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert "etcd.user: the file says nobody, the hosts etcd" in ended.stdout
    assert "old_members on etcd-2: the file says etcd-2 10.99.99.99" in ended.stdout
    assert "etcd.unit: the file says quetcd.service, the hosts dh-etcd.service" in ended.stdout
    assert f"has no role root below {data['deephaven']['client_config']}; {server} has" in ended.stdout, ended.stdout
