"""A look that hangs ends, and names the host."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import testinfra

from requorum.evidence.journal import Journal
from requorum.hosts import fleet, looks
from requorum.hosts.fleet import Fleet, Machine, Unreachable
from tests.unit import build


def test_a_look_gives_what_it_saw() -> None:
    seen = looks.bound(testinfra.get_host("local://"), 20)
    assert seen.run("echo %s; exit 3", "a b").stdout == "a b\n"
    assert seen.run("exit 3").rc == 3


def test_one_that_hangs_is_ended_and_its_host_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet, "SHORT", 0.3)
    monkeypatch.setattr(fleet, "GRACE", 0.2)
    inventory = build.inventory(transport={"backend": "local"})

    def work(machine: Machine) -> object:
        return machine.see.run("sleep 30; true")

    began = time.monotonic()
    with Fleet(inventory, Journal(tmp_path / "evidence")) as machines:
        (outcome,) = machines.each(["etcd-1"], work).values()
    assert isinstance(outcome, Unreachable) and outcome.where == "etcd-1"
    assert "a look did not end within 0.5 s: sleep 30; true" in outcome.what
    assert time.monotonic() - began < 20, "it was not waited for"
