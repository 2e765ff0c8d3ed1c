"""How a diagnosis reads answers: which members are in place, disks, hashes; and what it does with silence."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from requorum.cluster import etcd
from requorum.cluster.peers import DataHash
from requorum.command import Command, Result
from requorum.diagnosis import examination, questions
from requorum.diagnosis.check import survey
from requorum.diagnosis.sheet import Disk
from requorum.evidence.journal import Journal
from requorum.hosts import system, systemd
from requorum.hosts.fleet import Fleet
from requorum.hosts.question import Question
from requorum.inventory import Inventory
from requorum.run.run import Run
from requorum.run.terms import Options
from tests.unit import build
from tests.unit.snapshots.test_files import backup, note

MOVED = build.inventory(
    members=[build.member(n, ip=f"10.0.0.{110 + n}") for n in (1, 2, 3)],
    old_members=[build.member(1), build.member(2), build.member(3)],
)


def config_of(*ips: str) -> object:
    return build.config(initial_cluster=",".join(f"etcd-{n}=https://{ip}:2380" for n, ip in enumerate(ips, start=1)))


@pytest.mark.parametrize(
    ("inventory", "ips", "in_place"),
    [
        (MOVED, ("10.0.0.11", "10.0.0.12", "10.0.0.13"), "old"),
        (MOVED, ("10.0.0.111", "10.0.0.112", "10.0.0.113"), "new"),
        (MOVED, (), "new"),
        (build.replaced(), ("10.0.0.11", "10.0.0.12", "10.0.0.13"), "old"),
        (build.replaced(), ("10.0.0.11", "10.0.0.12", "10.0.0.14"), "new"),
    ],
)
def test_the_members_in_place_are_those_that_configurations_name(
    inventory: Inventory, ips: tuple[str, ...], in_place: str
) -> None:
    configs = [config_of(*ips)] if ips else []
    found = examination.installed_members(inventory, configs)  # type: ignore[arg-type]
    assert found == (inventory.old_members if in_place == "old" else inventory.members)


DF = "Filesystem 1-blocks Used Available Capacity Mounted on\n/dev/sda1 1000 900 {free} 90% /var\n"
INODES = "/dev/sda1 {all} 10 {left} 1% /var\n"


@pytest.mark.parametrize(
    ("text", "disk"),
    [
        (
            DF.format(free=100) + INODES.format(all=99, left=89) + "/dev/sda1 /var ext4 rw,relatime 0 0\n",
            Disk("/var", 100, 89),
        ),
        (
            DF.format(free=0) + INODES.format(all=0, left=0) + "/dev/sda1 /var btrfs ro,x 0 0\n",
            Disk("/var", 0, None, True),
        ),
        ("", None),
    ],
)
def test_a_disk_is_read_with_its_bytes_its_files_and_its_mount(text: str, disk: Disk | None) -> None:
    question = questions.ask_disk("etcd-1", build.config(1))
    assert question.understand([Result(command, 0, text, "", 0.1) for command in question.commands]) == disk


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (
            'HTTP/1.1 200 OK\r\nX: y\r\n\r\n{"header":{"revision":9},"hash":42,"compact_revision":-1}',
            DataHash(7, -1, 42),
        ),
        ("HTTP/1.1 400 Bad Request\r\n\r\netcdserver: mvcc: required revision has been compacted\n", None),
        ("", None),
    ],
)
def test_a_hash_is_of_the_revision_that_was_asked_for(answer: str, found: DataHash | None) -> None:
    question = questions.ask_hash("etcd-1", build.config(1), 7)
    assert question.understand([Result(command, 0, answer, "", 0.1) for command in question.commands]) == found


QUESTIONS = [
    questions.ask_last_words("etcd-1", "dh-etcd.service"),
    questions.ask_config("etcd-1", "/etc/etcd/config.yaml"),
    questions.ask_disk("etcd-1", build.config(1)),
    questions.ask_data("etcd-1", build.config(1)),
    questions.ask_unusable("etcd-1", build.inventory(), build.config(1)),
    etcd.ask_metrics("etcd-1", build.config(1)),
    questions.ask_health("etcd-1", build.config(1)),
    questions.ask_cluster_id("etcd-1", build.config(1)),
    questions.ask_hash("etcd-1", build.config(1), 7),
    questions.ask_alarms(build.inventory()),
    questions.ask_login(build.inventory(), "root"),
    system.ask_open("query-1", "10.0.0.11", 2379),
    questions.ask_down(build.inventory(), "query-1", None),
]


@given(
    question=st.sampled_from(QUESTIONS),
    code=st.integers(0, 255),
    stdout=st.text(max_size=2000),
    stderr=st.text(max_size=300),
)
def test_any_answer_gives_a_value_or_a_refusal_that_names_the_host(
    question: Question[Any], code: int, stdout: str, stderr: str
) -> None:
    with build.refused_by(question.host):
        question.understand([Result(command, code, stdout, stderr, 0.1) for command in question.commands])


def test_a_process_is_down_that_was_up_when_all_was_well_and_is_not_off_on_purpose() -> None:
    inventory = build.inventory(expect={"off": ["c"]})

    def down(last_up: tuple[str, ...] | None) -> tuple[str, ...]:
        monit = "".join(f" {name}  Not monitored  Process\n" for name in "abc")
        return build.understood(questions.ask_down(inventory, "query-1", last_up), monit)

    assert down(None) == ("a (Not monitored)", "b (Not monitored)")
    assert down(("b", "c")) == ("b (Not monitored)",)


def test_a_machine_that_is_not_understood_is_unknown_and_never_lost() -> None:
    """Its addresses are nonsense: that it lacks the member's own must not follow."""
    run = SimpleNamespace(inventory=build.inventory(), terms=build.terms(), fleet=Nonsense())
    asking = examination._Asking(cast(Run, run), {})
    first = asking.ask(
        unit={"etcd-1": systemd.ask_unit("etcd-1", "dh-etcd.service")},
        addresses={"etcd-1": system.ask_addresses("etcd-1")},
        configuration={},
        journal={},
    )
    found, _, _ = examination._second(asking, first, {}, run.inventory.members)
    assert found == {}
    assert asking.unseen[0].startswith("addresses: etcd-1 gave an answer that is not understood")


class Nonsense:
    def gather(self, commands: Sequence[Command]) -> dict[str, list[Result]]:
        return {"etcd-1": [Result(command, 0, "inet 999.1.1.1/24\n", "", 0.1) for command in commands]}


def test_hosts_that_do_not_answer_are_named_and_the_examination_goes_on(tmp_path: Path) -> None:
    """No host at all can be reached here: everything is unknown, nothing is raised."""
    (tmp_path / "ssh").write_text("Host *\n  ProxyCommand false\n")
    note(backup(tmp_path, "a.snap"))
    transport, kept = {"backend": "ssh", "ssh_config": str(tmp_path / "ssh")}, {"directory": str(tmp_path)}
    inventory = build.inventory(transport=transport, snapshot=kept)
    with Fleet(inventory, Journal(tmp_path / "run")) as fleet:
        run = Run(inventory, Options(), fleet.journal, fleet)
        silent, clocks = examination.reach(run)
        sheet = examination.sheet(run, silent, clocks)
        seen = survey.take(run, [])
    assert set(silent) == {"etcd-1", "etcd-2", "etcd-3", "infra-1", "query-1"}
    assert clocks == {} and sheet.etcd == {}
    assert sheet.verdict.kind.value == "it is unknown whether quorum is lost"
    assert sheet.unseen
    assert [row.revision for row in sheet.backups] == [10], "what its backups' manifests say is known all the same"
    assert seen.backups == sheet.backups
