"""How things stand when a run has ended: asked once, for so long, and what was not answered is not known."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import yaml

from requorum.command import Command, Result
from requorum.hosts.fleet import Fleet, Unreachable
from requorum.run import state
from requorum.run.marker import Phase
from requorum.run.state import Deephaven, Member, Seen
from tests.unit import build

CONFIG = yaml.safe_dump(
    {
        "name": "etcd-1",
        "initial-cluster-token": build.TOKEN,
        "data-dir": f"/var/lib/etcd/dh/{build.TOKEN}",
        "initial-advertise-peer-urls": "https://10.0.0.11:2380",
        "advertise-client-urls": "https://10.0.0.11:2379",
        "initial-cluster": "etcd-1=https://10.0.0.11:2380",
    }
)
UNIT = "LoadState=loaded\nActiveState={0}\nSubState=running\nUnitFileState=enabled\nFragmentPath=\nInvocationID=\n"
LISTED = "12 4 -rw------- 1 etcd etcd 8192 Nov 27 09:00 /var/lib/etcd/dh/{0}/member/snap/db\n"


class Hosts:
    """A fleet whose hosts answer by the first word of a command; one that is silent, one that never comes back."""

    scale = 1.0
    glance = Fleet.glance

    def __init__(
        self,
        silent: str = "",
        slow: str = "",
        active: str = "active",
        systemd: int = 0,
        aside: str = "",
        **says: tuple[str, str],
    ) -> None:
        """`says`: of a command's first word, what it prints and how it complains."""
        self.says, self.aside = says, aside
        self.silent, self.slow, self.active, self.systemd = silent, slow, active, systemd
        self.asked: list[str] = []
        self.interrupted = False

    def interrupt(self) -> None:
        self.interrupted = True

    def gather(self, commands: Sequence[Command]) -> dict[str, list[Result] | Exception]:
        host = commands[0].host if commands else ""
        self.asked.append(host)
        if host == self.slow:
            time.sleep(3)
        if host == self.silent:
            return {host: Unreachable(host, "did not answer: No route to host", "look")}
        return {host: [self._answer(command) for command in commands]} if commands else {}

    def _answer(self, command: Command) -> Result:
        said = {
            "systemctl": UNIT.format(self.active) if self.systemd == 0 else "",
            "find": LISTED.format("old") + LISTED.format(build.TOKEN),
            "curl": "etcd_server_has_leader 1\n",
            "cat": CONFIG if command.argv[-1].endswith(".yaml") else "",
            "ps": "   1     0     0 root     init\n" if "-eo" in command.argv else "",
            "sh": "",
            "ls": f"{command.argv[-1]}\n" if command.host == self.aside else "",
        }
        if command.argv[0] in self.says:
            return Result(command, 1, *self.says[command.argv[0]], 0.0)
        text = said.get(command.argv[0], "Process 'iris'   not monitored\n")
        return Result(command, self.systemd if command.argv[0] == "systemctl" else 0, text, "", 0.0)


def seen(hosts: Hosts, silent: tuple[str, ...] = (), seconds: float = 2) -> Seen:
    fleet: Any = hosts
    return state.seen(fleet, build.terms(Phase.STARTED), silent, seconds)


def test_each_host_says_what_runs_on_it_and_which_data_it_holds() -> None:
    found = seen(Hosts())
    assert found.deephaven == dict.fromkeys(("infra-1", "query-1"), Deephaven(0, 0, 1, ()))
    assert found.etcd == dict.fromkeys(
        ("etcd-1", "etcd-2", "etcd-3"), Member(True, True, build.TOKEN, tuple(sorted((build.TOKEN, "old"))))
    )


def test_a_stopped_member_is_not_asked_for_its_leader() -> None:
    found = seen(Hosts(active="inactive")).etcd["etcd-1"]
    assert isinstance(found, Member) and (found.runs, found.leads) == (False, None)


def test_a_host_that_does_not_answer_is_not_known_and_the_others_are() -> None:
    found = seen(Hosts(silent="etcd-2"))
    assert found.etcd["etcd-2"] == "did not answer: No route to host"
    assert isinstance(found.etcd["etcd-1"], Member)


def test_a_host_that_was_silent_in_the_run_is_not_waited_for_again() -> None:
    hosts = Hosts()
    assert seen(hosts, silent=("query-1",)).deephaven["query-1"] == "did not answer"
    assert "query-1" not in hosts.asked


def test_a_host_that_is_late_is_not_known_and_is_let_go() -> None:
    hosts, started = Hosts(slow="etcd-3"), time.monotonic()
    found = seen(hosts, seconds=0.3)
    assert found.etcd["etcd-3"] == "did not answer in time" and hosts.interrupted
    assert time.monotonic() - started < 2.5
    assert isinstance(found.etcd["etcd-1"], Member)


def test_a_systemd_that_does_not_tell_makes_no_member_stopped() -> None:
    assert seen(Hosts(systemd=1)).etcd["etcd-1"] == "its systemd does not tell"


def test_the_summary_has_it_by_host() -> None:
    fields = seen(Hosts(silent="etcd-2")).fields()
    assert fields["deephaven"] == {host: {"up": 0, "on": 0, "of": 1, "running": ()} for host in ("infra-1", "query-1")}
    assert fields["etcd"]["etcd-2"] == "did not answer: No route to host"  # type: ignore[index]


def test_a_process_of_deephavens_accounts_that_monit_does_not_know_is_seen() -> None:
    found = seen(Hosts(ps=("4711     1  1001 irisadmin java\n", ""))).deephaven["query-1"]
    assert isinstance(found, Deephaven) and not found.off
    assert found.running == ("java (process 4711 of irisadmin)",)


def test_a_host_whose_tools_do_not_tell_what_runs_is_not_called_off() -> None:
    for hosts in (Hosts(ps=("", "sudo: a password is required")), Hosts(sh=("", "ss: not found"))):
        assert seen(hosts).deephaven["query-1"] == Deephaven(0, 0, 1)


def test_a_disk_that_does_not_list_its_data_is_not_called_empty() -> None:
    for words, data in (
        ("find: '/var/lib/etcd/dh': Input/output error", None),
        ("find: No such file or directory", ()),
    ):
        found = seen(Hosts(find=("", words))).etcd["etcd-1"]
        assert isinstance(found, Member) and found.data == data


def test_an_old_unit_that_the_run_set_aside_is_seen_once_it_began_to() -> None:
    found = seen(Hosts(aside="etcd-2"))
    assert [host for host, one in found.etcd.items() if isinstance(one, Member) and one.aside] == ["etcd-2"]
    assert found.fields()["etcd"]["etcd-2"]["aside"] is True  # type: ignore[index]
    fleet: Any = Hosts(aside="etcd-2")
    before = state.seen(fleet, build.terms(Phase.OPEN), (), 2)
    assert not any(isinstance(one, Member) and one.aside for one in before.etcd.values())
