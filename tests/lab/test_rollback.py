"""What a run did is undone whole, from wherever it was cut, and a failed restore is tried again; etcd is real.

What the hosts are is told by this module's own listing, taken through the lab's back door: it knows nothing of the
runbook's record.
"""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest

from compose.nodes import Node, on_each
from compose.state import REPOSITORY
from requorum import procedures as stages
from requorum.snapshots import bolt
from tests.lab import launch, plans, procedures
from tests.lab.rehearsal import Rehearsal, Run
from tests.lab.test_interruption import await_stage
from tests.lab.test_salvage import set_up_anew

# Every name, mode, owner, link and content that a cluster's configuration has; data by name and inode, since a member
# that runs writes into it; units by state; what Deephaven supervises; what lies in /tmp.
LISTING = r"""
find /etc/etcd /etc/sysconfig/deephaven /etc/systemd/system /usr/lib/systemd/system -printf '%p %y %m %u:%g %l\n'
find /etc/etcd /etc/sysconfig/deephaven /etc/systemd/system /usr/lib/systemd/system -type f -exec sha256sum {} +
find /var/lib/etcd -maxdepth 3 -printf '%p %y %m %u:%g %i\n'
find /tmp -mindepth 1 -maxdepth 2 ! -path '/tmp/systemd-private-*' -printf '%p %y %m %u:%g\n'
echo "enabled: $(systemctl is-enabled dh-etcd.service 2>&1)"
case $(systemctl is-active dh-etcd.service) in inactive|failed) echo rests ;; *) echo runs ;; esac
systemctl list-units --all --plain --no-legend 'requorum-*'
monit -c /etc/monit/monitrc summary -B 2>&1 | awk '$NF == "Process" { print $1, ($2 == "Not" ? "off" : "on") }'
"""


def listing(rehearsal: Rehearsal) -> dict[str, list[str]]:
    """host → all there is on it that a run may change."""

    def lines(node: Node) -> list[str]:
        return sorted(node.run(["sh", "-c", LISTING]).stdout.splitlines())

    nodes = rehearsal.nodes.all
    return dict(zip((node.name for node in nodes), on_each(nodes, lines), strict=True))


def assert_equal(before: dict[str, list[str]], after: dict[str, list[str]]) -> None:
    for host, lines in before.items():
        gone, new = sorted(set(lines) - set(after[host])), sorted(set(after[host]) - set(lines))
        assert not gone and not new, f"{host}:\n  gone: {gone}\n  new: {new}"


def cut(rehearsal: Rehearsal, inventory: Path, stage: str, *arguments: str) -> None:
    """Kills the runbook at the beginning of a stage, as a crash does: nobody tells the hosts."""
    process, evidence = rehearsal.start(inventory, *arguments)
    kill_at(process, evidence, stage)


def kill_at(process: launch.Process, evidence: Path, stage: str) -> None:
    try:
        await_stage(process, evidence, stage)
    except BaseException:
        process.kill()
        process.wait()
        print(launch.so_far(evidence.parent))
        raise
    process.kill()
    process.wait()


def roll_back(rehearsal: Rehearsal, inventory: Path, *arguments: str) -> Run:
    return procedures.run(rehearsal.scratch, "rollback", f"--hosts={inventory}", "--confirm=lab", *arguments)


def as_planned(rehearsal: Rehearsal, inventory: Path, procedure: str) -> Run:
    """The procedure's plan changes nothing, and the procedure then does what was planned."""
    before = listing(rehearsal)
    plan = plans.made(rehearsal, inventory, of=procedure)
    assert_equal(before, listing(rehearsal))
    process, evidence = procedures.start(rehearsal.scratch, procedure, f"--hosts={inventory}", "--confirm=lab")
    run = procedures.finish(process, evidence)
    plans.assert_it_was_run(plan, evidence / "lab")
    return run


def assert_rolled_back(run: Run) -> None:
    assert run.code == 0, run.output
    assert run.summary["outcome"] == "rolled-back"
    assert "every host is as it was before" in run.output


def test_a_run_that_was_cut_or_has_ended_is_undone_whole_and_a_new_one_recovers(rehearsal: Rehearsal) -> None:
    rehearsal.lose("wipe")
    inventory, before = rehearsal.inventory(), listing(rehearsal)

    # Killed after Step 1: Deephaven is off, the old unit is away.
    cut(rehearsal, inventory, "test_when_the_old_passwords_are_backed_up")
    assert listing(rehearsal) != before, "the run changed nothing, so this proves nothing"
    assert_rolled_back(as_planned(rehearsal, inventory, "rollback"))
    assert_equal(before, listing(rehearsal))
    again = roll_back(rehearsal, inventory)
    assert again.code == 1 and "was rolled back already" in again.output, again.output
    assert again.summary["outcome"] == "refused"

    # Killed after Step 3, everything installed, also on a machine that was gone until the run was carried on; the
    # rollback itself is killed, then the same command ends it.
    cut(rehearsal, inventory, "test_when_the_old_passwords_are_backed_up", "--gone=query-1")
    cut(rehearsal, inventory, "test_given_no_data_is_in_the_way")
    half, evidence = procedures.start(rehearsal.scratch, "rollback", f"--hosts={inventory}", "--confirm=lab")
    kill_at(half, evidence / "lab", "test_when_what_was_there_before_is_put_back")
    refused = rehearsal.run(inventory)
    assert refused.code == 1, refused.output
    assert f"finish it first: pytest runbook/rollback --hosts={inventory}" in refused.output, refused.output
    assert_rolled_back(roll_back(rehearsal, inventory))
    assert_equal(before, listing(rehearsal))

    # Killed when the new etcd has started; tried again from its restore on, and recovered.
    cut(rehearsal, inventory, "test_then_every_member_is_healthy")
    retried = as_planned(rehearsal, inventory, "retry")
    assert retried.recovered, retried.output
    rehearsal.assert_data_is_back()
    rehearsal.assert_deephaven_works()
    tried = rehearsal.nodes.members[0].run(["sh", "-c", "ls -d /var/lib/requorum/lab/*/tried/*"]).stdout.split()
    assert len(tried) == 1, "the first try's data is kept"
    late = procedures.run(rehearsal.scratch, "retry", f"--hosts={inventory}", "--confirm=lab")
    assert late.code == 1 and "no mark of an unfinished run" in late.output, late.output

    # Deephaven was on: only with the operator's word, and what it wrote is kept.
    late = roll_back(rehearsal, inventory)
    assert late.code == 1 and "--discard-new-writes" in late.output, late.output
    rehearsal.assert_deephaven_works()
    rehearsal.nodes.configuration_server.run([*ETCDCTL, "put", "/main/written/after", "the point of no return"])
    discarded = roll_back(rehearsal, inventory, "--discard-new-writes")
    assert_rolled_back(discarded)
    assert_equal(before, listing(rehearsal))
    (kept,) = (rehearsal.scratch / "backups" / "discarded").glob("*.snap")
    assert b"the point of no return" in kept.read_bytes()
    assert bolt.read(kept).revision > 1_000_000_000
    assert str(kept) in json.dumps(discarded.summary["data_loss"])

    # What is left is the cluster that was lost, and a run of its own recovers it.
    recovered = rehearsal.run(inventory)
    rehearsal.assert_recovered(recovered)
    assert recovered.summary["run"] != retried.summary["run"]


ETCDCTL = ("env", "ETCDCTL_API=3", "/usr/illumon/latest/bin/etcdctl.sh")

STAGES = [node.split("::")[-1] for node in stages.expected(REPOSITORY / "runbook", REPOSITORY)]
AFTER = [following for stage, following in pairwise(STAGES) if stage.startswith("test_when_")]
FIRST_MARK = STAGES.index("test_when_the_snapshot_is_copied_to_every_new_member")
POINT_OF_NO_RETURN = STAGES.index("test_when_deephaven_is_turned_on_at_the_configuration_server")


@pytest.mark.matrix
@pytest.mark.parametrize("stage", AFTER)
def test_a_run_that_was_killed_right_after_any_action_is_undone_whole(rehearsal: Rehearsal, stage: str) -> None:
    rehearsal.lose("wipe")
    inventory, before = rehearsal.inventory(), listing(rehearsal)
    cut(rehearsal, inventory, stage)
    discard = ["--discard-new-writes"] if STAGES.index(stage) > POINT_OF_NO_RETURN else []
    back = roll_back(rehearsal, inventory, *discard)
    if STAGES.index(stage) > FIRST_MARK:
        assert_rolled_back(back)
    else:  # the lab's earlier run, which recovered it, may have left its mark: that one is not undone either
        assert back.code == 1, back.output
        assert "carry no mark of any run" in back.output or "--discard-new-writes" in back.output, back.output
    assert_equal(before, listing(rehearsal))
    rehearsal.assert_recovered(rehearsal.run(inventory))


@pytest.mark.matrix
def test_machines_that_were_set_up_anew_are_as_new_again(rehearsal: Rehearsal) -> None:
    rehearsal.lose("wipe")
    set_up_anew(rehearsal, ("etcd-2", "etcd-3"))
    inventory, before = rehearsal.inventory(), listing(rehearsal)
    cut(rehearsal, inventory, "test_then_every_member_is_healthy")
    assert_rolled_back(roll_back(rehearsal, inventory))
    assert_equal(before, listing(rehearsal))
    rehearsal.assert_recovered(rehearsal.run(inventory))
