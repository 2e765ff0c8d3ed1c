"""What a Given of Step 0 asked is not asked again by the next: nothing has acted by then. Once something acts it is."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest

from requorum.recovery import approval
from requorum.recovery.progress import Progress
from requorum.refusal import Disproved
from tests.unit import build
from tests.unit.run.test_dryrun import Hosts, planning, stages

# Watched for three election timeouts; and whether a unit runs, where the database that it has open is looked at.
ANEW = {"whether the member has a leader", f"state of {build.UNIT}"}


def asked_until(
    last: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Counter[tuple[str, str, tuple[str, ...]]]:
    """How often which host was asked what and why, before this stage; what a plan rests on is left out."""
    hosts = Hosts()
    monkeypatch.setattr(approval, "at_the_lock", lambda run: None)
    run = planning(tmp_path, hosts)
    for nodeid, call in stages(run, Progress.begin(run)):
        if nodeid.endswith(last):
            break
        run.begin(nodeid)
        with suppress(Disproved):
            call()
    return Counter((command.host, command.why, command.argv) for command in hosts.asked)


def test_no_host_is_asked_the_same_twice_before_anything_acts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = asked_until("copied_to_every_new_member", tmp_path, monkeypatch)
    assert {why for (_, why, _), times in asked.items() if times > 1} == ANEW
    whys = Counter((host, why) for host, why, _ in asked)
    assert whys["query-1", "mark of a run"] == 1 == whys["etcd-1", f"what {build.UNIT} runs"]
    assert not whys["etcd-1", f"what {build.UNIT} started"], "systemd has told of it"


def test_what_is_stopped_and_set_aside_is_looked_at_again_right_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = asked_until("::test_then_no_etcd_runs_and_its_ports_are_closed", tmp_path, monkeypatch)
    again = {(host, why) for (host, why, _), times in asked.items() if times > 1}
    config = build.inventory().etcd.config
    for host in ("etcd-1", "etcd-2", "etcd-3"):
        assert {(host, f"read {config}"), (host, f"state of {build.UNIT}")} <= again
