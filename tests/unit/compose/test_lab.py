"""The lab's command line: what it refuses, without a container."""

from __future__ import annotations

import pytest

from compose import lab, layouts, provision
from compose.errors import LabError
from compose.image import EtcdChoice
from compose.state import LabState, Machine, Role

THERE = LabState("3.5", "image", "10.89.7.0/24", (Machine("etcd-1", Role.MEMBER, "10.89.7.11"),))


def test_a_lab_of_another_shape_is_named_and_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LabState, "read", lambda: THERE)
    same, choice = (1, 0, 0), EtcdChoice.parse("3.5")
    assert lab._planned(*same, choice, False, False, "vendor") is THERE
    with pytest.raises(
        LabError,
        match=r"0 spares, 0 hosts, etcd 3\.5, layout vendor, hosts like debian, no presence keys, passwords and one",
    ):
        lab._planned(*same, choice, True, False, "vendor")
    with pytest.raises(LabError, match="another shape is up"):
        lab._planned(*same, choice, False, False, "links")
    with pytest.raises(LabError, match="another shape is up"):
        lab._planned(*same, choice, False, False, "vendor", certificates=True)
    with pytest.raises(LabError, match="line any, bcrypt cost 4"):
        lab._planned(*same, choice, False, False, "vendor", thin="50mbit")
    with pytest.raises(LabError, match="another shape is up"):
        lab._planned(*same, choice, False, False, "vendor", bcrypt_cost=10)


@pytest.mark.parametrize("given", ["--line=fast", "--line=50mbit; reboot", "--hosts=51"])
def test_a_line_or_a_number_of_hosts_that_cannot_be_is_refused(given: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        lab.main(["up", given])
    assert f"argument {given.partition('=')[0]}: " in capsys.readouterr().err


@pytest.mark.parametrize(("words", "line"), [([], ""), (["--line=50mbit"], "50mbit")])
def test_who_says_nothing_of_a_line_has_a_fast_one(
    words: list[str], line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken once: a default of "" was no rate, and `up` was refused."""
    asked: dict[str, object] = {}
    monkeypatch.setattr(lab, "up", lambda **given: asked.update(given))
    assert lab.main(["up", *words]) == 0 and asked["thin"] == line


def test_addresses_of_all_machines_stay_apart_also_after_a_readdress() -> None:
    machines = provision.machines(5, provision.MAX_EACH, provision.MAX_HOSTS, "10.89.7.0/24")
    addresses = [machine.ip for machine in machines]
    assert len({*addresses, *map(provision.readdressed, addresses)}) == 2 * len(machines) == 150


def test_a_layout_that_there_is_not_is_refused_with_those_that_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        lab.main(["up", "--layout=raid"])
    said = capsys.readouterr().err
    assert all(f"'{layout}'" in said for layout in layouts.LAYOUTS), said
    with pytest.raises(LabError, match="no layout 'raid'; there are vendor, wal-dir, links"):
        lab.up(layout="raid")


def test_a_number_of_leases_that_cannot_be_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        lab.main(["load", "--leases=-1"])
    assert "argument --leases: '-1' is not one of 0 to 19" in capsys.readouterr().err
