"""The systemd service and timer as they are shipped, run for real on a machine of the lab."""

from __future__ import annotations

from pathlib import Path

from compose import faults, poll, provision
from compose.nodes import Node
from requorum.inventory import load
from requorum.troubleshoot import sudoers
from tests.lab import operator, procedures
from tests.lab.rehearsal import Rehearsal

BACKUPS = "/var/lib/requorum-backup/snapshots"
# The shipped timer, fired now instead of tonight.
NOW = "[Timer]\nOnCalendar=\nOnActiveSec=1s\nRandomizedDelaySec=0\nAccuracySec=100ms\n"


def test_the_timer_runs_the_service_and_a_failed_backup_is_a_failed_unit(rehearsal: Rehearsal, tmp_path: Path) -> None:
    node = rehearsal.nodes.query[0]
    provision.give_limited_access(
        rehearsal.nodes, sudoers.file(load(rehearsal.inventory()), "limited", purpose="backup")
    )
    operator.install(node, rehearsal.nodes, tmp_path, BACKUPS)
    for suffix in ("service", "timer"):
        node.run(["install", "-m", "644", f"{operator.HOME}/deploy/requorum-backup.{suffix}", "/etc/systemd/system/"])
    verified = node.run(["systemd-analyze", "verify", "/etc/systemd/system/requorum-backup.timer"], check=False)
    assert (verified.rc, verified.stderr) == (0, "")
    node.run(["mkdir", "-p", "/etc/systemd/system/requorum-backup.timer.d"])
    node.put("/etc/systemd/system/requorum-backup.timer.d/now.conf", NOW.encode(), 0o644)
    node.run(["systemctl", "daemon-reload"])
    node.run(["systemctl", "start", "requorum-backup.timer"])
    poll.until(lambda: _snapshots(node), seconds=60, what="the timer makes a backup", why_not=lambda: _said(node))
    poll.until(lambda: _state(node) == "inactive", seconds=60, what="the service ends", why_not=lambda: _said(node))
    assert "Result=success" in node.run(["systemctl", "show", "requorum-backup.service"]).stdout
    assert "Backed up: " in _said(node)
    listing = node.run(["stat", "-c", "%U %a %n", BACKUPS, *_snapshots(node)]).stdout.splitlines()
    assert [line.rsplit(" ", 1)[0] for line in listing] == ["requorum 700", "requorum 600"]
    assert procedures.left_on_hosts(rehearsal.nodes) == {}

    rehearsal.lose("stop", ("etcd-1", "etcd-2"))
    started = node.run(["systemctl", "start", "requorum-backup.service"], check=False, timeout=120)
    assert started.rc != 0
    assert _state(node) == "failed"
    assert "if quorum is lost, run the recovery" in _said(node)
    assert len(_snapshots(node)) == 1
    faults.by_name("stop").heal(rehearsal.nodes, rehearsal.nodes.members[:2])
    faults.await_quorum(rehearsal.nodes)
    provision.give_limited_access(rehearsal.nodes, sudoers.file(load(rehearsal.inventory()), "limited"))


def _snapshots(node: Node) -> list[str]:
    return node.run(["find", BACKUPS, "-name", "*.snap"], check=False).stdout.split()


def _state(node: Node) -> str:
    return node.run(["systemctl", "is-active", "requorum-backup.service"], check=False).stdout.strip()


def _said(node: Node) -> str:
    return node.run(["journalctl", "--no-pager", "-o", "cat", "-u", "requorum-backup.service"]).stdout
