"""A second operator, Ctrl-C in the middle of a restore, second thoughts at the commit prompt, locks of the dead."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from dataclasses import replace
from pathlib import Path

from compose import poll
from compose.nodes import Node
from requorum.run import lock
from requorum.run.lock import Holder
from tests.lab.rehearsal import Rehearsal
from tests.terminal import Terminal

LOCK = "/var/lib/requorum/lab/lock"
RESTORER = "/usr/bin/etcdutl"
SLOW = f"""#!/bin/sh
case "$*" in *"snapshot restore"*--data-dir=*) sleep 1000 ;; esac
exec {RESTORER}.real "$@"
"""
SUDOERS = "/etc/sudoers.d/ops"
RESTRICTED = "ops ALL=(root) NOPASSWD: /usr/bin/timeout\n"
# All that could be at work for the runbook on a host.
AT_WORK = """
systemctl list-units --all --no-legend 'requorum-trial*' 'requorum-salvage*' 'run-*.scope'
pgrep -af 'snapshot restore .*--data-dir|isolation.sh'
"""
# What may take long and yet has no way to be stopped: it only waits for monit or systemd, or only reads.
WAITING = re.compile(r"dh_monit|systemctl stop dh-etcd.service|dd of=|-tvf ")


def test_one_operator_at_a_time_and_each_may_stop_at_any_time(rehearsal: Rehearsal, tmp_path: Path) -> None:
    infra, member = rehearsal.nodes.by_name("infra-1"), rehearsal.nodes.by_name("etcd-2")
    rehearsal.lose("wipe", ("etcd-1", "etcd-2", "etcd-3"))
    inventory = rehearsal.inventory()

    slow_down(member)
    first, evidence = rehearsal.start(inventory)
    try:
        poll.until(
            lambda: "--data-dir" in at_work(member),
            seconds=120,
            what="a restore is under way",
            why_not=lambda: f"the run has ended: {first.poll()}",
        )
        second = rehearsal.run(inventory)
        assert first.poll() is None, "the second operator did not disturb the first"
        os.killpg(first.pid, signal.SIGINT)
        poll.until(lambda: first.poll() is not None, seconds=30, what="Ctrl-C ends the run")
    finally:
        first.kill()
        mend(member)
    assert second.code == 1, second.output
    assert f"lab is locked by {lock.myself().user} on {lock.myself().host} (process {first.pid})" in second.output
    assert second.summary["stopped_at"].endswith("test_when_the_cluster_is_locked")
    interrupted = rehearsal.finish(first, evidence)
    assert (interrupted.code, interrupted.summary["outcome"]) == (2, "interrupted"), interrupted.output
    assert "Go on      cd " in interrupted.output
    assert {n.name: at_work(n) for n in rehearsal.nodes.all if at_work(n)} == {}
    assert locked_by(infra) == ""
    assert unstoppable(evidence) == []

    thoughtful = Terminal(f"--hosts={inventory}", f"--evidence={tmp_path}/evidence")
    thoughtful.answer("Type the cluster's name to go on (lab): ", "lab")
    thoughtful.answer("Type lab to go on: ", "no")
    assert thoughtful.end() == 1, thoughtful.seen
    for word in ("to be built", "proven", "snapshot", "lost", "no return"):
        assert re.search(rf"^ +{word}  ", thoughtful.seen, re.M), thoughtful.seen
    assert "'no' was typed, not lab" in thoughtful.seen
    assert "pytest runbook/rollback" in thoughtful.seen
    token = f"lab-{interrupted.summary['run']}"
    assert [n.name for n in rehearsal.nodes.members if installed(n, token)] == [], "nothing was committed"
    assert locked_by(infra) == ""

    put_lock(infra, Holder("mallory", "elsewhere", 4711, "2026-01-01T00:00:00.000Z", "a", "b", "c", "d"))
    refused = rehearsal.run(inventory)
    assert refused.code == 1
    assert "lab is locked by mallory on elsewhere (process 4711), since 2026-01-01" in refused.output
    (clear,) = re.findall(r"clear its lock: (ssh .*)", refused.output)
    assert locked_by(infra), "it is the operator's to clear"
    subprocess.run(clear, shell=True, check=True, timeout=60)
    assert locked_by(infra) == ""

    put_lock(infra, replace(lock.myself(), pid=os.getpid(), born="1", key="of a run that was killed"))
    again = rehearsal.run(inventory)
    assert "is taken over: that process has ended" in again.output
    assert again.summary["run"] == interrupted.summary["run"]
    rehearsal.assert_recovered(again)
    assert re.search(r"^ +lost +writes: ", again.output, re.M), "--confirm still shows what is committed"
    assert "\x1b" not in again.output
    assert locked_by(infra) == ""


def slow_down(node: Node) -> None:
    """Restores of this host take so long that they must be stopped, by a login with `timeout` alone."""
    node.run(["mv", SUDOERS, "/root/sudoers.ops"])
    node.put(SUDOERS, RESTRICTED.encode(), 0o440)
    node.run(["mv", RESTORER, f"{RESTORER}.real"])
    node.put(RESTORER, SLOW.encode(), 0o755)


def mend(node: Node) -> None:
    node.run(["mv", "-f", f"{RESTORER}.real", RESTORER])
    node.run(["mv", "-f", "/root/sudoers.ops", SUDOERS])


def at_work(node: Node) -> str:
    found = node.run(["sh", "-c", AT_WORK], check=False).stdout
    return "\n".join(line for line in found.splitlines() if "pgrep" not in line)


def locked_by(node: Node) -> str:
    return node.run(["readlink", LOCK], check=False).stdout.strip()


def put_lock(node: Node, holder: Holder) -> None:
    assert lock.path("lab") == LOCK
    node.run(["ln", "-sT", holder.words(), LOCK])


def installed(node: Node, token: str) -> bool:
    return node.run(["grep", "-rqs", token, "/etc/etcd/dh"], check=False).rc == 0


def unstoppable(evidence: Path) -> list[str]:
    """Commands of a run that change something, may take long, and were not started where a stop would find them."""
    records = [json.loads(line) for path in evidence.glob("2*/journal.jsonl") for line in path.read_text().splitlines()]
    actions = [action["action"] for record in records for action in record.get("actions", ())]
    actions += [record["argv"] for record in records if record["kind"] == "command" and record["changes"]]
    long = [line for line in actions if re.match(r"sudo -n timeout -k 5 (900|7200) ", line)]
    assert long
    acts = [line for line in long if " snapshot status " not in line]  # which only reads
    return [line for line in acts if "--slice=requorum.slice" not in line and not WAITING.search(line)]
