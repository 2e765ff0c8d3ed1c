"""The nightly proof against a real cluster: what `proof.json` says is held against what is so, and nothing stays."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from compose import cluster, poll, provision
from compose.nodes import Node, Nodes
from compose.state import REPOSITORY
from requorum.inventory import load
from requorum.snapshots import manifest, proven
from requorum.troubleshoot import sudoers
from tests.lab import listing, operator, procedures
from tests.lab.rehearsal import Rehearsal, Run
from tests.lab.test_backup import back_up, into
from tests.lab.test_service import BACKUPS, NOW

CLIENT = "/etc/sysconfig/deephaven/etcd/client"
PROGRAM = "/usr/libexec/requorum/verify-lab"
ETCDCTL = "/usr/illumon/latest/bin/etcdctl.sh"


def verify(rehearsal: Rehearsal, directory: Path, **of: str) -> tuple[Run, dict[str, Any]]:
    """One night's proof, and its `proof.json`."""

    def change(content: dict[str, Any]) -> None:
        into(directory)(content)
        content["verify"] = of

    inventory = rehearsal.inventory(change)
    process, evidence = procedures.start(rehearsal.scratch, "verify", f"--hosts={inventory}")
    run = procedures.finish(process, evidence)
    found = list(evidence.glob("*/*/proof.json"))
    return run, json.loads(found[0].read_text()) if found else {}


def hand_over(rehearsal: Rehearsal, directory: Path, **of: str) -> str:
    """What `./setup hosts` says, with an inventory as `verify` has it."""

    def change(content: dict[str, Any]) -> None:
        into(directory)(content)
        content["verify"] = of

    words = ["./setup", "hosts", str(rehearsal.inventory(change))]
    return subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout


@contextmanager
def little_memory(node: Node) -> Iterator[None]:
    """The machine says that it has no more than that free."""
    said = "echo 'MemAvailable: 300000 kB' >/root/meminfo && mount --bind /root/meminfo /proc/meminfo"
    node.run(["sh", "-c", said])
    try:
        yield
    finally:
        node.run(["umount", "/proc/meminfo"])


def left(nodes: Nodes) -> dict[str, str]:
    """host → what a proof has left there: files, units, an etcd of its own."""
    script = (
        "find /var/lib/requorum /tmp /run/systemd/transient -name '*verify-*' 2>/dev/null; "
        "systemctl list-units --all --plain --no-legend 'requorum-verify-*' | cut -d ' ' -f 1"
    )
    found = {node.name: node.run(["sh", "-c", script], check=False).stdout.strip() for node in nodes.all}
    return {name: text for name, text in found.items() if text}


def running(nodes: Nodes) -> dict[str, str]:
    """Since when etcd runs, and what monit says of Deephaven: the same after as before, if nobody touched it."""
    script = (
        "systemctl show -p MainPID -p NRestarts -p ActiveEnterTimestampMonotonic dh-etcd.service; "
        "/usr/illumon/latest/bin/dh_monit summary 2>/dev/null | grep -v uptime"
    )
    return {node.name: node.run(["sh", "-c", script], check=False).stdout for node in nodes.all}


def written(changed: list[str]) -> list[str]:
    """What is left of changes without the syslog's lines, a running etcd's own files, and the slice of all runs."""
    own = ("requorum[", "/var/lib/etcd/", "unit requorum.slice")
    return [line for line in changed if not any(word in line for word in own)]


def revision(server: Node) -> int:
    rows = json.loads(etcdctl(server, "endpoint", "status", "--cluster", "-w", "json"))
    return max(int(row["Status"]["header"]["revision"]) for row in rows)


def leader(nodes: Nodes) -> str:
    rows = json.loads(etcdctl(nodes.configuration_server, "endpoint", "status", "--cluster", "-w", "json"))
    (at,) = [row["Endpoint"] for row in rows if row["Status"]["header"]["member_id"] == row["Status"]["leader"]]
    return next(node.name for node in nodes.members if f"//{node.ip}:" in at)


def etcdctl(node: Node, *words: str) -> str:
    return node.run([ETCDCTL, *words]).stdout


def test_a_good_backup_is_proven_on_the_configuration_server_and_nothing_stays(
    rehearsal: Rehearsal, tmp_path: Path
) -> None:
    directory = tmp_path / "nightly"
    assert back_up(rehearsal, directory).code == 0
    (path,) = directory.glob("*.snap")
    note = manifest.read(path)
    assert note is not None
    run, told = verify(rehearsal, directory)
    assert run.code == 0, run.output
    assert run.summary["outcome"] == "verified" and run.summary["snapshot"]["sha256"] == note.sha256

    assert told["recoverable"] is True and told["why"] == "every proof holds"
    assert {one["held"] for one in told["proofs"]} == {True}
    data = next(one for one in told["proofs"] if one["proof"] == "data")
    assert note.fingerprint is not None and data["found"] == f"hash {note.fingerprint.hash}"
    assert told["snapshot"]["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (told["snapshot"]["revision"], told["snapshot"]["bytes"]) == (note.revision, path.stat().st_size)
    age = (datetime.now(UTC) - datetime.fromisoformat(note.taken)).total_seconds() / 3600
    assert abs(age - told["behind"]["hours"]) < 0.1
    assert told["scratch"]["memory"] is True and told["scratch"]["io_weight"] is None
    assert left(rehearsal.nodes) == {}
    rehearsal.spoilt = False


@pytest.mark.matrix
def test_what_a_proof_tells_of_the_world_is_so_and_nothing_of_the_world_is_another(
    rehearsal: Rehearsal, tmp_path: Path
) -> None:
    nodes, directory = rehearsal.nodes, tmp_path / "nightly"
    server = nodes.configuration_server
    assert back_up(rehearsal, directory).code == 0
    (path,) = directory.glob("*.snap")
    note = manifest.read(path)
    assert note is not None
    for number in range(5):
        etcdctl(server, "put", f"/main/after-{number}", "x")
    before, processes, asked = listing.taken(nodes), running(nodes), revision(server)

    run, told = verify(rehearsal, directory)
    assert run.code == 0, run.output
    assert 5 <= asked - note.revision <= told["behind"]["revisions"] <= revision(server) - note.revision
    roles = server.run(["sh", "-c", f"cd {CLIENT} && ls */password | cut -d / -f 1"]).stdout.split()
    assert sorted(told["logins"]["can"]) == sorted(roles) and told["logins"]["cannot"] == {}
    has = {node.name: node.run(["sh", "-c", f"ls {CLIENT}"], check=False).stdout.split() for node in nodes.deephaven}
    assert told["passwords"]["where"] == {role: sorted(name for name in has if role in has[name]) for role in roles}
    assert told["host"] == server.name and told["versions"]["host"] == note.etcd
    took = told["recovery"]
    assert took["restore_seconds"] > 0 and took["boot_seconds"] > 0
    assert took["seconds"] is None and took["measured"] == "never measured"
    again = proven.read(path, note.sha256)
    assert again is not None and again.run == run.summary["run"]
    for node in nodes.deephaven:
        passwords = node.run(["sh", "-c", f"cat {CLIENT}/*/password"]).stdout.split()
        assert not [word for word in passwords if word in run.output or word in json.dumps(told)]

    assert left(nodes) == {}
    assert written(listing.changes(before, listing.taken(nodes))) == []
    assert running(nodes) == processes
    assert all(member.healthy for member in cluster.state(nodes).members)
    etcdctl(server, "del", "/main/after-", "--prefix")
    rehearsal.spoilt = False


@pytest.mark.matrix
def test_a_prefix_comes_out_as_it_was_and_what_became_of_each_key_is_told(rehearsal: Rehearsal, tmp_path: Path) -> None:
    server, directory = rehearsal.nodes.configuration_server, tmp_path / "nightly"
    for name in ("gone", "new value", "kept", "twice"):
        etcdctl(server, "put", f"/main/extract/{name}", f"first of {name}")
    etcdctl(server, "put", "/main/extract/twice", "second")
    etcdctl(server, "put", "/main/extract/before", "x")
    etcdctl(server, "del", "/main/extract/before")
    assert back_up(rehearsal, directory).code == 0
    etcdctl(server, "del", "/main/extract/gone")
    etcdctl(server, "put", "/main/extract/new value", "changed")
    etcdctl(server, "put", "/main/extract/later", "x")
    inventory = rehearsal.inventory(into(directory))
    run = procedures.run(rehearsal.scratch, "verify", f"--hosts={inventory}", "--extract=/main/extract/")
    etcdctl(server, "del", "/main/extract/", "--prefix")
    assert run.code == 0 and "1 were deleted since, 1 were changed, 2 are the same; 1 more" in " ".join(
        run.output.split()
    ), run.output
    (path,) = (directory / "extracted").iterdir()
    assert path.stat().st_mode & 0o777 == 0o600 and "first of" not in run.output
    rows = {row["key"]: row for row in map(json.loads, path.read_text().splitlines())}
    assert {key.rsplit("/", 1)[1]: (row["value"], row["now"]) for key, row in rows.items()} == {
        "gone": ("first of gone", "deleted"),
        "new value": ("first of new value", "changed"),
        "kept": ("first of kept", "same"),
        "twice": ("second", "same"),
    }
    assert rows["/main/extract/twice"]["version"] == 2
    rehearsal.spoilt = False


@contextmanager
def another_password(server: Node, role: str) -> Iterator[None]:
    """In etcd and in the client configuration, as an administrator changes it."""
    path = f"{CLIENT}/{role}/password"
    user, right = (server.get(f"{CLIENT}/{role}/{name}") for name in ("user", "password"))

    def set_to(password: bytes) -> None:
        words = [ETCDCTL, "user", "passwd", user.decode().strip(), "--interactive=false"]
        server.run(words, stdin=password.strip() + b"\n")
        server.run(["sh", "-c", 'cat > "$0"', path], stdin=password)

    set_to(b"changed-after-the-backup\n")
    try:
        yield
    finally:
        set_to(right)


def test_a_bad_backup_and_a_password_that_was_changed_are_no_proof_and_say_what_is(
    rehearsal: Rehearsal, tmp_path: Path
) -> None:
    nodes, directory = rehearsal.nodes, tmp_path / "nightly"
    assert back_up(rehearsal, directory).code == 0
    (good,) = directory.glob("*.snap")
    with another_password(nodes.configuration_server, "props-rw"):
        run, told = verify(rehearsal, directory)
    assert run.code == 1 and run.summary["outcome"] == "not-proven", run.output
    assert told["recoverable"] is False and "props-rw" in told["why"] and "changed-after" not in run.output
    assert list(told["logins"]["cannot"]) == ["props-rw"] and "root" in told["logins"]["can"]
    assert "where the password was changed after the backup, make another one" in run.output
    assert proven.read(good) is None
    assert left(nodes) == {}

    assert back_up(rehearsal, directory).code == 0
    (newer,) = set(directory.glob("*.snap")) - {good}
    with newer.open("r+b") as file:
        file.seek(newer.stat().st_size // 2)
        file.write(bytes(byte ^ 0xFF for byte in file.read(1)) * 64)
    run, told = verify(rehearsal, directory)
    assert run.code == 1 and run.summary["outcome"] == "not-proven", run.output
    assert f"the newest good one is {good}" in run.output and "revisions would be lost" in run.output
    assert told["recoverable"] is False and told["newest_good"]["file"] == str(good)
    assert told["snapshot"]["file"] == str(newer) and "SHA-256" in told["snapshot"]["problem"]
    assert left(nodes) == {}
    rehearsal.spoilt = False


@pytest.mark.matrix
def test_where_there_is_no_etcd_the_machines_that_could_are_named_and_a_member_only_does_it_when_named(
    rehearsal: Rehearsal, tmp_path: Path
) -> None:
    nodes, directory = rehearsal.nodes, tmp_path / "nightly"
    assert back_up(rehearsal, directory).code == 0
    server = nodes.configuration_server
    server.run(["mv", "/usr/bin/etcd", "/usr/bin/etcd.away"])
    try:
        run, _ = verify(rehearsal, directory)
    finally:
        server.run(["mv", "/usr/bin/etcd.away", "/usr/bin/etcd"])
    assert run.code == 1 and "root finds no etcd there" in run.output
    assert "verify.host in the inventory could name" in run.output and "etcd-1 (a member:" in run.output

    leads = leader(nodes)
    run, _ = verify(rehearsal, directory, host=leads)
    assert run.code == 1 and "its member is the leader now" in run.output
    follower = next(node.name for node in nodes.members if node.name != leads)
    run, _ = verify(rehearsal, directory, host=follower)
    assert run.code == 1 and "is not there" in run.output and "./setup hosts" in run.output
    assert (
        hand_over(rehearsal, directory, host=follower)
        == f"{follower}: {PROGRAM} is there now\ninfra-1: {PROGRAM} was there already\n"
    )
    run, told = verify(rehearsal, directory, host=follower)
    assert run.code == 0 and told["host"] == follower and told["scratch"]["memory"] is True, run.output
    nodes.by_name(follower).run(["sh", "-c", f"echo '#' >>{PROGRAM}"])
    run, _ = verify(rehearsal, directory, host=follower)
    assert run.code == 1 and "is another version's, or another inventory's" in run.output
    assert "is there now" in hand_over(rehearsal, directory, host=follower)
    with little_memory(nodes.by_name(follower)):
        run, _ = verify(rehearsal, directory, host=follower)
        assert run.code == 1 and "lies on another file system than etcd's own log" in run.output
        run, told = verify(rehearsal, directory, host=follower, disk="shared")
    assert run.code == 0 and told["scratch"]["memory"] is False and told["scratch"]["io_weight"], run.output
    assert left(nodes) == {}
    rehearsal.spoilt = False


@pytest.mark.matrix
def test_beside_a_recovery_it_is_skipped_and_what_a_killed_one_left_goes_with_the_next(
    rehearsal: Rehearsal, tmp_path: Path
) -> None:
    nodes, directory = rehearsal.nodes, tmp_path / "nightly"
    server = nodes.configuration_server
    assert back_up(rehearsal, directory).code == 0
    server.run(["install", "-d", "-m", "700", "/var/lib/requorum/lab/verify-20260101t000000z-abcdef/logins"])
    assert verify(rehearsal, directory)[0].code == 0
    assert left(nodes) == {}

    holder = {"user": "ops", "host": "desk", "pid": 1, "since": "2026-01-01T00:00:00Z"}
    server.run(["install", "-d", "-m", "700", "/var/lib/requorum/lab"])
    server.run(["ln", "-sT", json.dumps(holder), "/var/lib/requorum/lab/lock"])
    try:
        run, told = verify(rehearsal, directory)
    finally:
        server.run(["rm", "/var/lib/requorum/lab/lock"])
    assert run.code == 0 and run.summary["outcome"] == "skipped" and told == {}, run.output
    assert "the cluster is locked by ops on desk" in run.output and "the last proof is 0." in run.output
    rehearsal.spoilt = False


NIGHTLY = "requorum-verify@prod.service"
UNITS = ("backup", "verify", "check")
METRICS = "/var/lib/prometheus/node-exporter"


def _with_credentials_and_metrics(node: Node) -> None:
    """ssh's key comes by the drop-in alone. systemd mounts credentials in a namespace of its own, with which a
    machine's /run is shared, and a container's is not."""
    home = operator.HOME
    node.run(["mount", "--make-shared", "/run"])
    node.run(["install", "-D", "-m", "600", f"{home}/.ssh/key", "/etc/requorum/prod.key"])
    node.run(["rm", f"{home}/.ssh/key"])
    node.run(["sed", "-i", "s#IdentityFile .*#IdentityFile ${CREDENTIALS_DIRECTORY}/ssh-key#", f"{home}/.ssh/config"])
    for unit in UNITS:
        at = f"/etc/systemd/system/requorum-{unit}@.service.d/credentials.conf"
        node.run(["install", "-D", "-m", "644", f"{home}/deploy/credentials.conf", at])
    node.run(["install", "-d", "-o", operator.ACCOUNT, METRICS])
    node.run(["sh", "-c", f"echo 'metrics: {METRICS}/requorum-prod.prom' >>{home}/inventory/prod.yaml"])


def fired(node: Node, name: str, number: str) -> str:
    """The shipped timer, fired now: what the metrics say once its service has ended and written this number."""
    timer, service = f"requorum-{name}@prod.timer", f"requorum-{name}@prod.service"
    node.run(["install", "-d", f"/etc/systemd/system/{timer}.d"])
    node.put(f"/etc/systemd/system/{timer}.d/now.conf", NOW.encode(), 0o644)
    node.run(["systemctl", "daemon-reload"])
    node.run(["systemctl", "start", timer])

    def text() -> str:
        return node.run(["cat", f"{METRICS}/requorum-prod.prom"]).stdout

    def over() -> bool:
        return (
            number in text()
            and node.run(["systemctl", "is-active", service], check=False).stdout.strip() != "activating"
        )

    poll.until(over, seconds=300, what=f"{timer} fires, and {service} ends and writes its numbers")
    node.run(["systemctl", "stop", timer])
    return text()


@pytest.mark.matrix
def test_the_shipped_unit_proves_it_with_a_login_of_its_own_list_and_cries_when_it_fails(
    rehearsal: Rehearsal, tmp_path: Path
) -> None:
    nodes, node = rehearsal.nodes, rehearsal.nodes.query[0]
    inventory = load(rehearsal.inventory())
    lists = [sudoers.file(inventory, "limited", purpose=purpose) for purpose in ("backup", "verify")]
    provision.give_limited_access(nodes, "".join(lists))
    operator.install(node, nodes, tmp_path, BACKUPS)
    node.run(["sh", "-c", f"install -m 644 {operator.HOME}/deploy/requorum-*@.* /etc/systemd/system/"])
    _with_credentials_and_metrics(node)
    node.run(["systemctl", "daemon-reload"])
    checked = node.run(["systemd-analyze", "verify", *(f"requorum-{unit}@prod.timer" for unit in UNITS)], check=False)
    assert (checked.rc, checked.stderr) == (0, "")
    ended = node.run(["systemctl", "start", "requorum-backup@prod.service"], check=False, timeout=300)
    said = node.run(["journalctl", "--no-pager", "-o", "cat", "-u", "requorum-backup@prod.service"]).stdout
    assert ended.rc == 0, said

    ended = node.run(["systemctl", "start", NIGHTLY], check=False, timeout=300)
    said = node.run(["journalctl", "--no-pager", "-o", "cat", "-u", NIGHTLY]).stdout
    assert ended.rc == 0 and "Verified: " in said, said
    assert left(nodes) == {}
    found = fired(node, "check", 'procedure="check"')
    assert 'requorum_run_success{cluster="lab",procedure="verify"} 1' in found, found
    assert 'requorum_check_findings{cluster="lab",verdict="holds"}' in found
    result = node.run(["systemctl", "show", "-P", "Result", "requorum-check@prod.service"]).stdout.strip()
    assert f'requorum_run_success{{cluster="lab",procedure="check"}} {int(result == "success")}' in found
    assert "requorum_backup_last_proven_timestamp_seconds" in found

    node.run(["sh", "-c", f"truncate -s -1 {BACKUPS}/*.snap"])
    assert node.run(["systemctl", "start", NIGHTLY], check=False, timeout=300).rc != 0
    poll.until(
        lambda: "requorum-verify@prod.service failed" in node.run(["journalctl", "-t", "requorum-notify"]).stdout,
        seconds=30,
        what="somebody is told",
    )
    provision.give_limited_access(nodes, sudoers.file(inventory, "limited"))
