"""What a host is like is asked once, in one trip, and used: nothing of its login's environment reaches root."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from requorum.command import Result, act, look
from requorum.evidence.journal import Journal
from requorum.hosts import probe, shell
from requorum.hosts.clock import Reading
from requorum.hosts.fleet import Fleet
from requorum.hosts.probe import Probed
from requorum.recovery.proofs import machines
from requorum.refusal import Disproved, Refusal
from requorum.run.run import Run
from requorum.run.terms import Options
from tests.unit import build

NOW = "1795744800.5\n"
ODD = {"LC_ALL": "de_DE.UTF-8", "LANGUAGE": "de", "https_proxy": "http://127.0.0.1:9", "HTTP_PROXY": "http://u:p@x"}


def read(said: str) -> Probed:
    own, *sudo = probe.ask_host("h").commands
    answers = [Result(own, 0, said, "", 0.5), *(Result(command, 0, "", "", 0.0) for command in sudo)]
    return probe.ask_host("h").understand(answers)


def test_a_host_as_most_are_has_nothing_odd() -> None:
    found = read(NOW)
    assert isinstance(found.clock, Reading) and not found.oddities()


def test_a_proxy_and_labels_are_told_with_what_they_mean() -> None:
    proxy, labels = read(f"{NOW}proxy\nlabels\n").oddities()
    assert "/etc/environment has a proxy and no no_proxy" in proxy and "restorecon" in labels


def test_what_was_not_asked_is_refused_by_name() -> None:
    with pytest.raises(Refusal, match="h: tells 'reboot' of itself"):
        read(f"{NOW}proxy\nreboot\n")


def test_the_script_is_understood_where_it_runs() -> None:
    (own, *_) = probe.ask_host("h").commands
    said = subprocess.run(own.argv, capture_output=True, text=True, check=True).stdout
    assert isinstance(read(said).clock, Reading)


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("umask", "0022"),
        ('echo "${https_proxy-none} ${HTTP_PROXY-none}"', "none none"),
        ('echo "${LC_ALL-none} ${LANGUAGE-none} $LC_MESSAGES $LC_CTYPE"', "none none C de_DE.UTF-8"),
    ],
)
@pytest.mark.parametrize("kind", ["bash", "tcsh"])
def test_neither_a_logins_umask_nor_its_proxy_nor_its_language_reaches_root(script: str, says: str, kind: str) -> None:
    line = shell.carried(script, shell=kind)
    environment = {**os.environ, **ODD}
    said = subprocess.run(
        ["bash", "-c", f"umask 077; {line}"], env=environment, capture_output=True, text=True, check=True
    )
    assert said.stdout.strip() == says


class One(Fleet):
    """Every host is asked here; trips are counted."""

    trips = 0

    def _brought(self, host: str, line: str, mark: str = "") -> tuple[str, ...]:
        self.trips += 1
        return super()._brought(host, line, mark)


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> One:
    (tmp_path / "sudo").write_text('#!/bin/sh\nshift; [ "$1" != -l ] || exit 1; sleep 1; exec "$@"\n')
    (tmp_path / "sudo").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    return One(build.inventory(transport={"backend": "local"}), Journal(tmp_path / "evidence"))


def test_all_of_a_host_is_asked_in_one_trip_and_sudos_own_time_is_no_part_of_the_way(fleet: One) -> None:
    with fleet:
        found = fleet.machines["etcd-1"].ask(probe.ask_host("etcd-1"))
    assert fleet.trips == 1
    assert 0.3 < found.sudo.seconds < 5


def test_step_0_asks_each_host_once_and_gives_a_slow_sudo_more_time(
    fleet: One, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("requorum.hosts.sudo.SLOW_SECONDS", 0.1)
    with fleet:
        run = Run(fleet.inventory, Options(), fleet.journal, fleet)
        machines.every_host_answers(run)
        everyone = run.terms.everyone
        assert fleet.trips == len(everyone)
        assert all(fleet.patience[host] > 0.3 for host in everyone)
        assert fleet._late(fleet.machines["etcd-1"], 60, 60) > 120 + fleet._grace + 0.6
        machines.certificates_will_be_valid(run)
        assert fleet.trips == len(everyone), "the clock was told"
        assert set(run.probed) == set(everyone)
    assert any(": sudo takes " in note for note in run.notes)


@pytest.mark.parametrize(
    ("script", "found"),
    [
        ("echo 'sudo: a password is required' >&2; exit 1", "sudo refused: sudo: a password is required"),
        ("echo 'sudo: sorry, you must have a tty to run sudo' >&2; exit 1", "you must have a tty"),
        ('echo Welcome; shift; exec "$@"', "sudo prints 'Welcome' before every answer"),
    ],
)
def test_step_0_names_what_keeps_root_away_and_that_no_agent_is_forwarded(
    fleet: One, tmp_path: Path, script: str, found: str
) -> None:
    (tmp_path / "sudo").write_text(f"#!/bin/sh\n{script}\n")
    with fleet, pytest.raises(Disproved) as error:
        machines.every_host_answers(Run(fleet.inventory, Options(), fleet.journal, fleet))
    assert "etcd-1: found sudo" in str(error.value) and found in str(error.value)
    assert "asks an ssh agent (none is forwarded" in error.value.remedy and "requiretty" in error.value.remedy


def test_a_change_keeps_its_own_line(fleet: One) -> None:
    sent = {c.sent() for c in (act("h", "true", why=""), look("h", "true", why=""))}
    assert sent == {"sudo -n timeout -k 5 60 true", "env LC_ALL=C sudo -n timeout -k 5 60 true"}
