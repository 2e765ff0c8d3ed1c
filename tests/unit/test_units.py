"""The units as they are shipped: one of each for an inventory, each cries, and none may more than it needs."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

DEPLOY = Path(__file__).parents[2] / "deploy"
UNITS = ("backup", "verify", "check")
analyze = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze on this machine")


@pytest.mark.parametrize("unit", UNITS)
def test_one_of_each_for_an_inventory_cries_when_it_fails(unit: str) -> None:
    text = (DEPLOY / f"requorum-{unit}@.service").read_text()
    assert "OnFailure=requorum-notify@%n.service\n" in text
    assert re.search(rf"^ExecStart=\S+ -m pytest runbook/{unit} --hosts=%i ", text, re.MULTILINE)
    timer = (DEPLOY / f"requorum-{unit}@.timer").read_text()
    assert "RandomizedDelaySec=" in timer and "Persistent=true\n" in timer


@analyze
@pytest.mark.parametrize("unit", UNITS)
def test_it_may_no_more_than_it_needs(unit: str) -> None:
    argv = ["systemd-analyze", "security", "--no-pager", "--offline=true", "--threshold=30"]
    found = subprocess.run([*argv, DEPLOY / f"requorum-{unit}@.service"], capture_output=True, text=True, check=False)
    if "unrecognized option" in found.stderr:
        pytest.skip("this systemd cannot judge a file")
    assert found.returncode == 0, found.stdout.splitlines()[-1:]


@analyze
@pytest.mark.parametrize("unit", UNITS)
def test_its_schedule_is_one(unit: str) -> None:
    (when,) = re.findall(r"^OnCalendar=(.*)$", (DEPLOY / f"requorum-{unit}@.timer").read_text(), re.MULTILINE)
    subprocess.run(["systemd-analyze", "calendar", when], check=True, capture_output=True)


def test_the_units_of_before_are_still_there() -> None:
    assert (DEPLOY / "requorum-backup.service").is_file() and (DEPLOY / "requorum-backup.timer").is_file()
