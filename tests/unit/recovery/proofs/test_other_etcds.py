"""An etcd beside the unit: another cluster's is left alone, this cluster's is found before anything is off."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from requorum.cluster import quorum
from requorum.command import Command, Result
from requorum.hosts.question import Question
from requorum.recovery.proofs import machines
from requorum.refusal import Refusal
from requorum.run import facts
from requorum.run.marker import Marker, Phase
from requorum.run.terms import Terms
from requorum.snapshots import anew
from runbook.test_step_0_snapshot import TestStep0Snapshot as Step0
from tests.unit import build
from tests.unit.plugin.ending.ended import block, ended, pasted

URLS = "--listen-client-urls=http://127.0.0.1:12379 --listen-peer-urls=http://127.0.0.1:12380"
FOREIGN = f"4711 0::/system.slice/foo-etcd.service /usr/bin/etcd --data-dir=/srv/foo {URLS}\n"
LEFT = f"4712 0::/system.slice/foo-etcd.service /usr/bin/etcd --data-dir=/var/lib/etcd/dh/old {URLS}\n"
LINKED = f"{FOREIGN}\n"
UNIT = "12 0::/system.slice/dh-etcd.service /usr/bin/etcd --config-file=/etc/etcd/dh/latest/config.yaml\n"


MOUNTS = "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n"
LIES = f"= mounts\n{MOUNTS}= its\n{MOUNTS}= set\n= ours\n/var/lib/etcd/dh\n= theirs\n"


class Hosts:
    """They all say the same of their processes; the unit adds nothing. `lies`: where the data of another unit does."""

    def __init__(self, listed: str, lies: str = "/srv/foo") -> None:
        self.listed, self.lies = listed, lies

    def say(self, command: Command) -> Result:
        said = {"ps": self.listed, "sh": f"{LIES}{self.lies}\n", "cat": ""}
        return Result(command, 0, said.get(command.argv[0], "Environment=\nEnvironmentFiles=\n"), "", 0.0)

    def ask(self, question: Question[Any]) -> Any:
        return question.understand([self.say(command) for command in question.commands])


def made(hosts: Hosts, notes: list[str], **more: Any) -> Any:
    inventory = build.inventory()
    terms = Terms(inventory, Marker(run="", token="", phase=Phase.OPEN, by=""), ())

    def ask(questions: dict[Any, Question[Any]]) -> dict[Any, Any]:
        return {key: hosts.ask(question) for key, question in questions.items()}

    return SimpleNamespace(inventory=inventory, terms=terms, ask=ask, note=notes.append, **more)


def test_another_clusters_etcd_is_said_and_left_alone() -> None:
    notes: list[str] = []
    machines.no_other_etcd_is_this_clusters(made(Hosts(UNIT + FOREIGN), notes))
    which = "process 4711 (foo-etcd.service, data /srv/foo, ports 12379, 12380)"
    assert notes == [f"etcd-{n}: {which} is not this cluster's: left alone" for n in (1, 2, 3)]


def test_this_clusters_data_below_another_unit_stops_step_0_and_names_the_unit() -> None:
    with pytest.raises(Refusal) as refused:
        machines.no_other_etcd_is_this_clusters(made(Hosts(UNIT + LEFT), []))
    error = refused.value
    assert "etcd-2: process 4712 (foo-etcd.service, data /var/lib/etcd/dh/old" in str(error)
    assert "its data is in /var/lib/etcd/dh" in str(error)
    assert "on etcd-2: `sudo systemctl stop foo-etcd.service`" in str(error)
    stop = ended(error, step=0)
    assert "whose it is" in block(stop)["Do first"]
    assert any("etcd-2" in line and "systemctl status --no-pager foo-etcd.service" in line for line in pasted(stop))


@pytest.mark.parametrize(
    ("unit", "pasted_line"),
    [
        (r"etcd\x2done.service", r"`sudo systemctl stop 'etcd\x2done.service'`"),
        ("$(reboot).service", "`sudo systemctl stop '$(reboot).service'`"),
        ("x;reboot;.service", "`sudo systemctl stop 'x;reboot;.service'`"),
    ],
)
def test_what_is_offered_for_pasting_is_quoted(unit: str, pasted_line: str) -> None:
    with pytest.raises(Refusal) as refused:
        machines.no_other_etcd_is_this_clusters(made(Hosts(UNIT + LEFT.replace("foo-etcd.service", unit)), []))
    assert f"on etcd-2: {pasted_line}" in str(refused.value)


def test_a_link_of_another_unit_into_this_clusters_data_stops_step_0() -> None:
    with pytest.raises(Refusal, match="its data in /var/lib/etcd/dh/old lies where this cluster's does"):
        machines.no_other_etcd_is_this_clusters(made(Hosts(UNIT + FOREIGN, "/var/lib/etcd/dh/old"), []))


def test_a_host_that_shows_no_process_is_no_reason_to_refuse() -> None:
    machines.no_other_etcd_is_this_clusters(made(Hosts(""), []))
    machines.no_other_etcd_is_this_clusters(made(Hosts("4711 - /usr/bin/etcd\n"), []))


@pytest.mark.parametrize(
    ("listed", "found"),
    [
        (FOREIGN, None),
        (LINKED, "process 4711 (foo-etcd.service, data /srv/foo, ports 12379, 12380)"),
        (LEFT, "process 4712 (foo-etcd.service, data /var/lib/etcd/dh/old, ports 12379, 12380)"),
        (UNIT, "process 12 (dh-etcd.service)"),
        ("", "process 99"),
    ],
    ids=["another cluster's", "by a link ours", "this cluster's", "the unit's", "none that this login may see"],
)
def test_behind_the_power_off_every_etcd_counts_that_is_not_surely_anothers(
    monkeypatch: pytest.MonkeyPatch, listed: str, found: str | None
) -> None:
    probes: list[Callable[[Any], str | None]] = []
    hosts = Hosts(listed, "/var/lib/etcd/dh/old" if listed == LINKED else "/srv/foo")
    run = made(hosts, [], prove=lambda on, claim, probe, remedy, within: probes.append(probe))
    monkeypatch.setattr(facts, "old_configs", lambda run, on: dict.fromkeys(on))
    monkeypatch.setattr(machines, "is_new", lambda terms, config: False)
    machines.old_etcd_is_gone(run)
    pid = int(listed.split()[0]) if listed else 99
    unit = SimpleNamespace(systemd_properties={"ActiveState": "inactive", "LoadState": "not-found"})
    see = SimpleNamespace(
        process=SimpleNamespace(filter=lambda comm: [SimpleNamespace(pid=pid)]),
        service=lambda name: unit,
        socket=SimpleNamespace(get_listening_sockets=list),
    )
    assert probes[0](SimpleNamespace(name="etcd-1", see=see, ask=hosts.ask)) == found


def test_step_0_looks_for_it_before_anything_is_off(monkeypatch: pytest.MonkeyPatch) -> None:
    verdict = SimpleNamespace(found=dict, kind=SimpleNamespace(value="lost"))
    monkeypatch.setattr(facts, "new_configuration_is_installed", lambda run: False)
    monkeypatch.setattr(facts, "stand", lambda run, hosts: {})
    monkeypatch.setattr(facts, "diagnose", lambda run, known: None)
    monkeypatch.setattr(quorum, "decide", lambda facts: verdict)
    monkeypatch.setattr(quorum, "refusal", lambda *_: None)
    monkeypatch.setattr(anew, "of_the_running", lambda run, verdict: None)
    monkeypatch.setattr(machines, "new_members_are_no_cluster_already", lambda run, verdict: None)
    options = SimpleNamespace(rebuild=False)
    run = made(Hosts(UNIT + LEFT), [], options=options, mark=Marker(run="", token="", phase=Phase.OPEN, by=""))
    with pytest.raises(Refusal, match="may be this cluster's"):
        Step0().test_given_quorum_is_lost(run, SimpleNamespace())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("drop_ins", "found"),
    [
        ("", ""),
        ("[Service]\nExecStart=\nExecStart=etcd --data-dir=/var/lib/etcd/dh/old\n", "--data-dir=/var/lib/etcd/dh/old"),
        ("[Service]\nExecStart=\nExecStart=/opt/etcd-start\n", "nobody tells what that starts"),
        (None, "on etcd-1 they cannot be read"),
    ],
    ids=["none", "other flags", "a wrapper", "unreadable"],
)
def test_a_drop_in_that_would_start_old_data_below_the_new_unit_stops_step_0(drop_ins: str | None, found: str) -> None:
    hosts = Hosts("")
    code = int(drop_ins is None)
    hosts.say = lambda command: Result(command, code, drop_ins or "", "", 0.0)  # type: ignore[method-assign]
    run = made(hosts, [])
    if not found:
        machines.no_drop_in_starts_another(run)
        return
    with pytest.raises(Refusal) as refused:
        machines.no_drop_in_starts_another(run)
    assert found in str(refused.value)
    assert any("systemctl --no-pager cat dh-etcd.service" in line for line in pasted(ended(refused.value, step=0)))
