"""Acting on hosts, on this very machine by the `local` backend and without root."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from requorum.command import Collect, Collected, Command, Copy, Result, look
from requorum.evidence.journal import Journal
from requorum.hosts.fleet import Fleet, FleetError, Machine, Unreachable, raise_all
from requorum.hosts.question import Question
from requorum.hosts.stream import StreamError, fan_out
from tests.unit import build

HOSTS = ("etcd-1", "etcd-2", "etcd-3")


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    inventory = build.inventory(transport={"backend": "local"})
    with Fleet(inventory, Journal(tmp_path / "evidence")) as fleet:
        yield fleet


def command(host: str, line: str, stdin: bytes | None = None, accept: tuple[int, ...] | None = (0,)) -> Command:
    return Command(host, ("sh", "-c", line), "test", root=False, stdin=stdin, accept=accept, deadline=60)


def test_a_lane_that_fails_stops_no_other_and_is_what_failed(fleet: Fleet, tmp_path: Path) -> None:
    ill = [replace(command("etcd-1", line), lane="a") for line in ("exit 3", f"touch {tmp_path}/behind")]
    well = [command("etcd-1", f"sleep 0.2; echo {n} >>{tmp_path}/well") for n in range(2)]
    results, failed = fleet.severally([*ill, *well])
    assert (tmp_path / "well").read_text() == "0\n1\n" and not (tmp_path / "behind").exists()
    assert "etcd-1" in failed and sorted(result.code for result in results) == [0, 0, 3]
    with pytest.raises(FleetError):
        fleet.run([*ill, *well])


def test_each_hosts_commands_run_in_their_order(fleet: Fleet, tmp_path: Path) -> None:
    plan = [command(host, f"echo {n} >> {tmp_path}/{host}") for n in range(3) for host in HOSTS]
    fleet.run(plan)
    assert [(tmp_path / host).read_text() for host in HOSTS] == ["0\n1\n2\n"] * 3


def test_hosts_are_worked_on_at_the_same_time(fleet: Fleet) -> None:
    started = time.monotonic()
    fleet.run([command(host, "sleep 0.5") for host in HOSTS])
    assert time.monotonic() - started < 1.4


def test_what_a_command_says_comes_back_with_it(fleet: Fleet) -> None:
    (result,) = fleet.run([command("etcd-1", "cat; echo warn >&2; exit 7", stdin=b"hunter2", accept=None)])
    assert (result.code, result.stdout, result.stderr) == (7, "hunter2", "warn\n")


def test_what_takes_input_goes_with_what_follows_it_in_one_trip(
    fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trips: list[str] = []
    popen = subprocess.Popen

    def counted(argv: tuple[str, ...], **more: Any) -> subprocess.Popen[bytes]:
        trips.append(argv[-1])
        return popen(argv, **more)

    monkeypatch.setattr(subprocess, "Popen", counted)
    mark = tmp_path / "mark"
    plan = [command("etcd-1", f"cat >{mark}.part", b"hunter2"), command("etcd-1", f"mv {mark}.part {mark}")]
    plan += [command("etcd-1", f"cat {mark} -", b" twice"), command("etcd-2", "true")]
    results = fleet.run(plan)
    assert [result.stdout for result in results if result.command.host == "etcd-1"] == ["", "", "hunter2 twice"]
    assert len(trips) == 2 and not any("hunter2" in trip for trip in trips)


ODD = b"tar\0\xff\xfe\x80 hunter2\r\n\n"  # as an archive is: no text


def feeding(tmp_path: Path, host: str = "etcd-2", line: str = "") -> Command:
    (tmp_path / "packed").write_bytes(ODD)
    return replace(command(host, line or f"cat {tmp_path}/packed"), changes=False, secret=True)


def test_what_another_host_prints_is_fed_byte_for_byte_and_kept_nowhere(fleet: Fleet, tmp_path: Path) -> None:
    for host in ("etcd-1", "etcd-2"):  # the same host may be who prints it
        boot = replace(command(host, f"cat >{tmp_path}/got; echo done"), fed=feeding(tmp_path))
        said = fleet.run([command(host, "true"), boot, command(host, "true")])
        assert [result.stdout for result in said] == ["", "done\n", ""] and said[1].command is boot
        assert (tmp_path / "got").read_bytes() == ODD
    records = (tmp_path / "evidence" / "journal.jsonl").read_text()
    assert "hunter2" not in records and records.count(f"cat {tmp_path}/packed") == 2


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("cat packed; echo 'tar: no such file' >&2; exit 2", "exit code 2 .*it said: tar: no such file"),
        ("cat packed; exit 1", "exit code 1 "),
        ("head -c 2000000 /dev/zero", "answers without an end"),
        ("cat packed; kill -9 $PPID", "did not end|exit code"),
    ],
)
def test_where_that_fails_nothing_is_started_and_no_word_of_it_is_told(
    fleet: Fleet, tmp_path: Path, line: str, said: str
) -> None:
    boot = replace(command("etcd-1", f"touch {tmp_path}/started"), fed=feeding(tmp_path, line=f"cd {tmp_path}; {line}"))
    with pytest.raises(FleetError) as error:
        fleet.run([boot])
    assert error.value.where == "etcd-2" and re.search(said, str(error.value), re.S), str(error.value)
    assert not (tmp_path / "started").exists()
    assert "hunter2" not in str(error.value) + error.value.said
    assert "hunter2" not in (tmp_path / "evidence" / "journal.jsonl").read_text()


def test_input_that_is_too_long_for_a_script_goes_by_itself(fleet: Fleet) -> None:
    (*_, last) = fleet.run([command("etcd-1", "true"), command("etcd-1", "wc -c", b"x" * 200_000)])
    assert last.stdout == "200000\n"


def test_the_questions_of_a_fact_go_in_one_trip_and_all_are_answered(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    trips: list[int] = []
    one_trip = fleet._one_trip

    def counted(machine: Machine, group: list[Command]) -> list[Result]:
        trips.append(len(group))
        return one_trip(machine, group)

    monkeypatch.setattr(fleet, "_one_trip", counted)
    ask = fleet.machines["etcd-1"].ask
    codes = [look("etcd-1", "sh", "-c", f"exit {n}", why="", root=False) for n in range(4)]
    assert ask(Question(tuple(codes), lambda *answers: [answer.code for answer in answers])) == [0, 1, 2, 3]
    assert trips == [4]
    strict = tuple(replace(command, accept=(0,)) for command in codes)
    assert ask(Question(strict, lambda *answers: [answer.code for answer in answers])) == [0, 1, 2, 3]


def test_after_a_failure_the_same_host_does_nothing_more(fleet: Fleet, tmp_path: Path) -> None:
    with pytest.raises(FleetError):
        fleet.run([command("etcd-1", "exit 1"), command("etcd-1", f"touch {tmp_path}/after")])
    assert not (tmp_path / "after").exists()


def test_after_a_failure_the_other_hosts_end_what_they_were_at(fleet: Fleet, tmp_path: Path) -> None:
    with pytest.raises(FleetError):
        fleet.run([command("etcd-1", "exit 1"), command("etcd-2", f"sleep 0.2; touch {tmp_path}/done")])
    assert (tmp_path / "done").exists()


@pytest.mark.parametrize(
    ("why", "late", "unknown"),
    [
        ("exit code 255: Connection reset", False, True),
        ("did not end within 7200 s", True, True),
        ("stood still for 60 s", True, True),
        ("exit code 1: no such file", False, False),
    ],
)
def test_a_copy_that_was_cut_off_says_nothing_about_the_file(
    tmp_path: Path, why: str, late: bool, unknown: bool
) -> None:
    with Fleet(build.inventory(), Journal(tmp_path / "evidence")) as fleet:
        broken = fleet._broken("etcd-1", "copy", StreamError("source", why, late))
    assert isinstance(broken, Unreachable) == unknown


@pytest.mark.parametrize("altered", [False, True])
@pytest.mark.parametrize("name", ["password", "logins.tar", "query.tgz"])
def test_of_a_copied_password_neither_digest_nor_length_is_kept(
    fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, altered: bool
) -> None:
    tools = {"sudo": 'shift; exec "$@"', "openssl": "echo 0" if altered else 'exec /usr/bin/openssl "$@"'}
    for tool, script in tools.items():
        (tmp_path / tool).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / tool).chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    shown: list[int] = []
    monkeypatch.setattr(fleet.watch, "copied", shown.append)
    (tmp_path / name).write_text("hunter2" * 3)
    copy = Copy(f"{tmp_path}/{name}", (("etcd-2", f"{tmp_path}/copy"),), "a login", "etcd-1")
    with pytest.raises(FleetError) if altered else nullcontext():
        fleet.run([copy])
    kept = fleet.journal.path.read_text()
    assert f"{tmp_path}/{name}" in kept and (tmp_path / "copy").exists() is not altered
    told = hashlib.sha256(b"hunter2" * 3).hexdigest() in kept
    assert (told, '"bytes": 21' in kept, bool(shown)) == ((True,) * 3 if name == "query.tgz" else (False,) * 3)


@pytest.mark.parametrize("altered", [False, True])
@pytest.mark.parametrize("others", [(), ("etcd-1", "etcd-3")])
def test_what_lies_on_a_host_gets_to_its_place_there_without_leaving_it_and_is_proven(
    fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, others: tuple[str, ...], altered: bool
) -> None:
    tools = {
        "sudo": 'shift; exec "$@"',
        "systemd-run": 'while [ "${1#-}" != "$1" ]; do shift; done; exec "$@"',
        "dd": f'case $1 in {"if=*" if altered else "-"}) echo altered >"${{2#of=}}";; *) exec /usr/bin/dd "$@";; esac',
    }
    for tool, script in tools.items():
        (tmp_path / tool).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / tool).chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr("requorum.hosts.fleet.fan_out", fan_out if others else None)
    made = tmp_path / "salvage.snap"
    made.write_text("data")
    targets = tuple((host, f"{tmp_path}/{host}/snapshot.db") for host in ("etcd-2", *others))
    copy = Copy(str(made), targets, "the snapshot", "etcd-2", hashlib.sha256(b"data").hexdigest())
    with pytest.raises(FleetError, match=r"etcd-2: the copy of .* arrived altered") if altered else nullcontext():
        (tmp_path / "etcd-2").mkdir()
        fleet.run([copy])
    assert made.read_text() == "data", "it keeps its name: it may be the only one of its kind"
    assert [Path(path).exists() and Path(path).read_text() for _, path in targets] == [
        "data" if not altered else False for _ in targets
    ]


@pytest.mark.parametrize("altered", [False, True])
def test_in_its_own_directory_it_gets_another_name_and_is_proven(
    fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, altered: bool
) -> None:
    tools = {"sudo": 'shift; exec "$@"', "openssl": "echo 0" if altered else 'exec /usr/bin/openssl "$@"'}
    for tool, script in tools.items():
        (tmp_path / tool).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / tool).chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    made, named = tmp_path / "salvage.snap", tmp_path / "snapshot.db"
    made.write_text("data")
    Path(f"{named}.part").hardlink_to(made)  # of a run that was cut: what it is a name of stays as it is
    copy = Copy(str(made), (("etcd-2", str(named)),), "x", "etcd-2", hashlib.sha256(b"data").hexdigest())
    with pytest.raises(FleetError, match="arrived altered") if altered else nullcontext():
        fleet.run([copy])
    assert made.read_text() == "data" and named.exists() is not altered
    assert altered or named.samefile(made)


def test_two_failures_of_one_host_name_it_once_and_keep_both_remedies() -> None:
    """Of two lanes that fail at once."""
    one, other = FleetError("etcd-1", "disk full", "make room"), FleetError("etcd-1", "no sudo", "give it")
    with pytest.raises(FleetError) as error:
        raise_all([one, other])
    assert error.value.where == "etcd-1" and error.value.what == "etcd-1: disk full; etcd-1: no sudo"
    assert error.value.remedy == "etcd-1: make room; etcd-1: give it"


def test_where_one_host_was_cut_off_all_is_unknown_whatever_failed_elsewhere() -> None:
    with pytest.raises(Unreachable, match="etcd-1: disk full; etcd-2: did not answer"):
        raise_all([FleetError("etcd-1", "disk full", "mend it"), Unreachable("etcd-2", "did not answer", "look")])


def test_every_host_that_failed_is_named_with_its_words(fleet: Fleet) -> None:
    with pytest.raises(FleetError) as error:
        fleet.run([command("etcd-1", "echo disk full >&2; exit 1"), command("etcd-3", "exit 4")])
    text = str(error.value)
    assert text.startswith("etcd-1, etcd-3: ") and "disk full" in text and "exit code 4" in text


def test_a_sudo_that_asks_for_a_password_is_told_in_words(fleet: Fleet) -> None:
    asks = Command("etcd-1", ("true",), "x", deadline=60)
    fake = fleet.machines["etcd-1"]
    prefix = ("sh", "-c", "echo 'sudo: a password is required' >&2; exit 1")
    fleet.machines["etcd-1"] = Machine("etcd-1", prefix, fake.see, fake.lock, fake.look)
    with pytest.raises(FleetError, match="etcd-1: sudo asks for a password\n    → give this login NOPASSWD") as error:
        fleet.run([asks])
    assert "where sudo asks an ssh agent" in error.value.remedy


def test_a_command_past_its_deadline_is_ended_on_the_host(fleet: Fleet) -> None:
    late = Command("etcd-1", ("sleep", "30"), "wait", root=False, deadline=1)
    with pytest.raises(FleetError, match="wait: did not end within 1 s"):
        fleet.run([late])


def test_everything_that_ran_is_in_the_journal(fleet: Fleet) -> None:
    fleet.run([command(host, "true") for host in HOSTS])
    records = [json.loads(line) for line in fleet.journal.path.read_text().splitlines()]
    assert sorted(record["host"] for record in records) == list(HOSTS)


def test_what_one_host_raises_stands_beside_what_the_others_gave(fleet: Fleet) -> None:
    def work(machine: Machine) -> str:
        if machine.name == "etcd-2":
            raise FleetError("etcd-2", "no", "mend it")
        return machine.name

    outcomes = fleet.each(HOSTS, work)
    assert (outcomes["etcd-1"], outcomes["etcd-3"]) == ("etcd-1", "etcd-3")
    assert isinstance(outcomes["etcd-2"], FleetError)


def test_what_fails_on_one_host_stops_nothing_on_the_others(fleet: Fleet, tmp_path: Path) -> None:
    made = {host: tmp_path / host for host in HOSTS}
    plan = [command("etcd-1", "echo no room >&2; exit 2")]
    plan += [command(host, f"touch {made[host]}") for host in HOSTS]
    _, failed = fleet.severally(plan)
    assert list(failed) == ["etcd-1"] and "no room" in failed["etcd-1"].what
    assert [host for host in HOSTS if made[host].exists()] == [host for host in HOSTS if host != "etcd-1"]


def test_gathering_hides_no_answer_behind_another_hosts_failure(fleet: Fleet) -> None:
    codes = {"etcd-1": 0, "etcd-2": 3, "etcd-3": 0}
    found = fleet.gather([command(host, f"exit {code}") for host, code in codes.items()])
    assert {host: [r.code for r in rs] for host, rs in found.items() if isinstance(rs, list)} == {
        host: [code] for host, code in codes.items()
    }


def test_after_an_interruption_nothing_more_is_started(fleet: Fleet, tmp_path: Path) -> None:
    fleet.interrupt()
    with pytest.raises(FleetError, match="the run was interrupted"):
        fleet.run([command("etcd-1", f"touch {tmp_path}/started")])
    assert not (tmp_path / "started").exists()


class TestCollecting:
    def one(self, fleet: Fleet, script: str, target: Path, most: int = 10**6) -> Collected:
        found = fleet.collect([Collect(command("etcd-1", script, accept=None), str(target), most)])["etcd-1"]
        assert isinstance(found, list)
        return found[0]

    def test_what_a_command_prints_becomes_a_file_for_its_owner_only(self, fleet: Fleet, tmp_path: Path) -> None:
        found = self.one(fleet, "echo out; echo err >&2; exit 3", tmp_path / "host" / "file.txt")
        path = tmp_path / "host" / "file.txt"
        assert sorted(path.read_text().split()) == ["err", "out"]
        assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
        assert (found.bytes, found.cut, found.code) == (8, False, 3)

    def test_no_secret_reaches_the_file_or_the_journal(self, fleet: Fleet, tmp_path: Path) -> None:
        key = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEE\n-----END EC PRIVATE KEY-----"
        (tmp_path / "said").write_text(f'password=hunter2 \n"token":"tok.1"\nx {key}\nlast password: hunter2\n')
        self.one(fleet, f"cat {tmp_path}/said; exit 1", tmp_path / "file.txt")
        for text in ((tmp_path / "file.txt").read_text(), fleet.journal.path.read_text()):
            assert not any(secret in text for secret in ("hunter2", "tok.1", "MHcCAQEE"))
        assert "last password: •••" in (tmp_path / "file.txt").read_text()

    def test_more_than_the_limit_is_cut_said_and_not_waited_for(self, fleet: Fleet, tmp_path: Path) -> None:
        found = self.one(fleet, "while :; do echo 0123456789; done", tmp_path / "file.txt", most=5000)
        assert found.cut and found.code == 0
        assert 5000 <= found.bytes < 5200
        assert "more than 5,000 bytes: the rest was left out" in (tmp_path / "file.txt").read_text()

    def test_a_host_that_is_silent_does_not_keep_the_others_from_it(self, fleet: Fleet, tmp_path: Path) -> None:
        items = [Collect(command(host, "echo x"), str(tmp_path / host), 100) for host in HOSTS]
        there = fleet.machines["etcd-2"]
        fleet.machines["etcd-2"] = Machine("etcd-2", ("/nowhere",), there.see, there.lock, there.look)
        found = fleet.collect(items)
        assert isinstance(found["etcd-2"], Exception)
        assert (tmp_path / "etcd-3").read_text() == "x\n"


SITE = """
Host *
  ForwardAgent yes
  ForwardX11 yes
  Tunnel yes
  LocalForward 5000 localhost:5000
  RemoteForward 5001 localhost:5001
  PermitLocalCommand yes
  LocalCommand touch /tmp/it-ran
  RemoteCommand tmux attach
  RequestTTY force
  Port 2222
"""
WISHES = ("forwardagent no", "forwardx11 no", "tunnel false", "clearallforwardings yes", "permitlocalcommand no")
NEVER = ("localforward", "remoteforward", "remotecommand", "requesttty force")


def test_a_host_gets_no_way_back_to_this_machine_whatever_the_sites_ssh_config_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my config").write_text(SITE)
    # It prints what would hold, behind the mark as a host does.
    marked = "for last; do :; done; printf '%s\\n' \"$last\" | sed -n 's/.*; echo \\([0-9a-f]*\\);.*/\\1/p'"
    (tmp_path / "ssh").write_text(f'#!/bin/sh\n{marked}\nexec {shutil.which("ssh")} -G "$@"\n')
    (tmp_path / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    wanted = {"backend": "ssh", "ssh_config": str(tmp_path / "my config"), "user": "ops"}
    with Fleet(build.inventory(transport=wanted), Journal(tmp_path / "evidence")) as fleet:
        machine = fleet.machines["etcd-1"]
        ours, testinfras = fleet.run([command("etcd-1", "true")])[0].stdout, machine.see.run("true").stdout
    assert ours == testinfras
    for wish in (*WISHES, "port 2222", "user ops", "batchmode yes", "controlmaster auto", "hostname etcd-1.invalid"):
        assert wish in ours.splitlines()
    assert not [line for line in ours.splitlines() if line.startswith(NEVER)]
