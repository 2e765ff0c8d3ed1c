"""A password that sudo wants: given beside every command of root's and never to one, and tried on one host alone."""

from __future__ import annotations

import os
import pickle
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from requorum.command import Collect, Command, Copy, Fetch, act, look
from requorum.evidence.journal import Journal
from requorum.hosts import thin
from requorum.hosts.fleet import Fleet, FleetError
from requorum.hosts.password import Password, prelude
from requorum.hosts.question import Question, every
from requorum.hosts.sudo import ask_sudo
from requorum.refusal import Refusal
from tests.unit import build

SECRET = "hunter2 \\'\"$x %s"

# As sudo is: it asks at `-v`, remembers for its parent alone, asks again after a wrong answer, and runs a command only
# if it remembers or the command needs none. `asks`: one byte a try. `free`: NOPASSWD.
SUDO = r"""#!/bin/bash
here=$(dirname "$0"); v= k= p=
while :; do
    case $1 in -n | -S) ;; -v) v=1 ;; -k) k=1 ;; -l) echo listed; exit 0 ;; -p) p=$2; shift ;; *) break ;; esac
    shift
done
known=$here/known-$PPID
if [ -n "$v" ]; then
    [ ! -e "$here/free" ] || exit 0
    [ -n "$k" ] || [ ! -e "$known" ] || exit 0
    for try in 1 2 3; do
        printf %s "$p" >&2
        IFS= read -r word || { echo "sudo: no password was provided" >&2; exit 1; }
        printf x >>"$here/asks"
        if [ "$word" = "$(cat "$here/right")" ]; then [ -n "$k" ] || touch "$known"; exit 0; fi
        echo "Sorry, try again." >&2
    done
    exit 1
fi
if [ -e "$here/free" ] || { [ -e "$known" ] && [ ! -e "$here/forgets" ]; }; then exec "$@"; fi
echo "sudo: a password is required" >&2
exit 1
"""


@pytest.fixture
def sudo(tmp_path: Path) -> Path:
    (tmp_path / "sudo").write_text(SUDO)
    (tmp_path / "sudo").chmod(0o755)
    (tmp_path / "right").write_text(SECRET)
    (tmp_path / "asks").touch()
    return tmp_path / "sudo"


@pytest.fixture
def fleet(sudo: Path, tmp_path: Path) -> Iterator[Fleet]:
    inventory = build.inventory(transport={"backend": "local", "become": f"{sudo} -n"})
    with Fleet(inventory, Journal(tmp_path / "evidence"), password=Password(SECRET)) as fleet:
        yield fleet


def asks(sudo: Path) -> int:
    return (sudo.parent / "asks").stat().st_size


@pytest.mark.parametrize("free", [False, True])
def test_a_commands_input_is_its_own_whether_sudo_asks_or_not(fleet: Fleet, tmp_path: Path, free: bool) -> None:
    """Broken once: `sudo -S COMMAND` with both in one stream, where the command got the password."""
    if free:
        (tmp_path / "free").touch()
    data = bytes(range(256)) * 3 + b"\n\nend"
    alone, one, two = (tmp_path / name for name in ("alone", "one", "two"))

    def writes(path: Path) -> Command:
        return Command("etcd-1", ("dd", f"of={path}", "status=none"), "test", stdin=data)

    fleet.run([writes(alone)])
    results = fleet.run([writes(one), act("etcd-1", "cat", why="nothing to read"), writes(two)])
    assert [path.read_bytes() for path in (alone, one, two)] == [data] * 3
    assert results[1].stdout == ""


def test_a_copy_over_a_thin_line_reads_the_password_before_all_else(
    fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In front of the bytes, and of the word that tells how the rest of them goes."""
    monkeypatch.setattr(Fleet, "_measures", lambda *_: True)
    monkeypatch.setattr(thin, "choose", lambda *_: thin.GZ)
    source, target, brought = (tmp_path / name for name in ("source", "target", "brought"))
    source.write_bytes(os.urandom(1 << 20) * 20)
    size, digest = source.stat().st_size, sha256(source.read_bytes()).hexdigest()
    fleet.run([Copy(str(source), (("etcd-2", str(target)),), "test", "etcd-1", digest, bytes=size)])
    fleet.run([Fetch("etcd-1", str(target), str(brought), "test", digest, size)])
    assert brought.read_bytes() == source.read_bytes()
    assert fleet.journal.path.read_text().count('"packed": "gz"') == 2


def test_files_are_copied_fetched_and_collected_as_they_are(fleet: Fleet, tmp_path: Path) -> None:
    source, target, brought = (tmp_path / name for name in ("source", "target", "brought"))
    source.write_bytes(os.urandom(3_000_000))
    fleet.run([Copy(str(source), (("etcd-2", str(target)),), "test", source_host="etcd-1")])
    assert target.read_bytes() == source.read_bytes()
    digest = sha256(source.read_bytes()).hexdigest()
    fleet.run([Fetch("etcd-1", str(target), str(brought), "test", digest)])
    assert brought.read_bytes() == source.read_bytes()
    log = tmp_path / "log"
    fleet.collect([Collect(look("etcd-1", "echo", "said", why="test"), str(log), 1000)])
    assert log.read_text() == "said\n"


def test_a_wrong_password_is_tried_once_on_one_host_alone(sudo: Path, tmp_path: Path) -> None:
    """Broken once: without the lock in `prove`, each host tried it."""
    inventory = build.inventory(transport={"backend": "local", "become": f"{sudo} -n"})
    password = Password("wrong")
    with Fleet(inventory, Journal(tmp_path / "evidence"), password=password) as fleet:
        with pytest.raises(FleetError, match="sudo does not take the password") as raised:
            fleet.run([act(host, "true", why="test") for host in inventory.hosts])
        assert "one try counts two" in str(raised.value)  # measured: faillock notes the end of the input too
        outcomes = fleet.gather([act(host, "true", why="test") for host in inventory.hosts])
    assert all(isinstance(outcome, FleetError) for outcome in outcomes.values())
    with Fleet(inventory, Journal(tmp_path / "evidence2"), password=password) as another:
        assert all(isinstance(o, FleetError) for o in another.gather([act("etcd-3", "true", why="x")]).values())
    assert asks(sudo) == 1


def test_a_password_that_is_no_longer_taken_is_not_tried_again_there(fleet: Fleet, sudo: Path, tmp_path: Path) -> None:
    fleet.run([act("etcd-1", "true", why="test")])
    (tmp_path / "right").write_text("another since")
    before = asks(sudo)
    commands = [look("etcd-1", "touch", str(tmp_path / name), why="test") for name in "abc"]
    for _ in range(3):
        with pytest.raises(FleetError, match="does not take the password"):
            fleet.run(commands)
    assert asks(sudo) == before + 1
    assert not any((tmp_path / name).exists() for name in "abc")


def test_questions_that_wait_for_none_try_it_once_too(fleet: Fleet, sudo: Path, tmp_path: Path) -> None:
    """Broken once: by four trips at the same time it was tried four times, where three lock an account."""
    fleet.run([act("etcd-1", "true", why="test")])
    (tmp_path / "right").write_text("another since")
    before = asks(sudo)
    many = every([Question(look("etcd-1", "true", why="test"), lambda answer: answer.code)] * 8, at_once=True)
    outcomes = fleet.each(["etcd-1"], lambda machine: machine.ask(many))
    assert "does not take the password" in str(outcomes["etcd-1"]) and asks(sudo) == before + 1


def test_acts_of_several_lanes_try_it_once_too(fleet: Fleet, sudo: Path, tmp_path: Path) -> None:
    fleet.run([act("etcd-1", "true", why="test")])
    (tmp_path / "right").write_text("another since")
    before = asks(sudo)
    with pytest.raises(FleetError, match="does not take the password"):
        fleet.run([replace(act("etcd-1", "true", why="test"), lane=lane) for lane in "abcd"])
    assert asks(sudo) == before + 1


def test_what_is_collected_tries_it_once_too(fleet: Fleet, sudo: Path, tmp_path: Path) -> None:
    """Broken once: a try for each file, on a host that has another password than the one that proved it."""
    fleet.run([act("etcd-1", "true", why="test")])
    (tmp_path / "right").write_text("another since")
    before = asks(sudo)
    items = [Collect(look("etcd-2", "echo", name, why="test"), str(tmp_path / name), 1000) for name in "abc"]
    outcomes = fleet.collect(items)
    assert "does not take the password" in str(outcomes["etcd-2"]) and asks(sudo) == before + 1


def test_a_host_that_asks_for_none_proves_nothing(sudo: Path, tmp_path: Path) -> None:
    """Else a wrong one would be tried on all others at once."""
    (tmp_path / "free").touch()
    inventory = build.inventory(transport={"backend": "local", "become": f"{sudo} -n"})
    with Fleet(inventory, Journal(tmp_path / "evidence"), password=Password("wrong")) as fleet:
        fleet.run([act("etcd-1", "true", why="test")])
        (tmp_path / "free").unlink()
        outcomes = fleet.gather([act(host, "true", why="test") for host in ("etcd-2", "etcd-3", "infra-1")])
    assert all(isinstance(outcome, FleetError) for outcome in outcomes.values()) and asks(sudo) == 1


def test_a_sudo_that_forgets_at_once_is_named_and_no_command_is_fed_the_password(fleet: Fleet, tmp_path: Path) -> None:
    (tmp_path / "forgets").touch()
    found = fleet.machines["etcd-1"].ask(ask_sudo("etcd-1", (str(tmp_path / "sudo"), "-n")))
    assert "timestamp_timeout=0" in found.refused
    with pytest.raises(FleetError, match="does not remember"):
        fleet.run([Command("etcd-1", ("dd", f"of={tmp_path}/fed", "status=none"), "test", stdin=b"data")])
    assert not (tmp_path / "fed").exists()


def test_it_is_in_no_argument_environment_file_or_word(
    fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    popen = subprocess.Popen

    def counted(argv: Any, **more: Any) -> subprocess.Popen[bytes]:
        seen.append(repr((argv, more)))
        return popen(argv, **more)

    monkeypatch.setattr(subprocess, "Popen", counted)
    monkeypatch.setenv("rqp", "of the login's own")  # a variable that came so would go on so
    root = act("etcd-1", "sh", "-c", "cat /proc/self/environ /proc/$PPID/environ /proc/$PPID/cmdline", why="test")
    said = fleet.run([root, act("etcd-1", "sh", "-c", "set; echo >&2 warn; exit 3", why="test", accept=(3,))])
    with pytest.raises(FleetError) as raised:
        fleet.run([act("etcd-1", "false", why="test")])
    kept = "".join(path.read_text() for path in (tmp_path / "evidence").rglob("*") if path.is_file())
    words = [*seen, kept, str(raised.value), repr(fleet.password), *(r.stdout + r.stderr for r in said)]
    assert not any("hunter2" in text for text in words)
    with pytest.raises(TypeError):
        pickle.dumps(fleet.password)


def test_a_login_whose_shells_trace_and_export_all_shows_it_nowhere(sudo: Path) -> None:
    """bash as sh takes SHELLOPTS from the environment. Broken once: it stood in standard error, so in the journal."""
    script = f"{prelude((str(sudo), '-n'), several=True)} rqs env"
    told = {**os.environ, "SHELLOPTS": "allexport:xtrace"}
    done = subprocess.run(["bash", "-c", script], input=SECRET.encode() + b"\n", capture_output=True, env=told)
    assert done.returncode == 0 and asks(sudo) >= 1
    assert b"hunter2" not in done.stdout + done.stderr


def test_what_runs_is_stopped_with_it_too(fleet: Fleet, tmp_path: Path) -> None:
    """By its own stop line, which wants the password like any other."""
    stopped = tmp_path / "stopped"
    wait = f"echo >{tmp_path}/began; until [ -e {stopped} ]; do sleep 0.05; done"
    command = Command("etcd-1", ("sh", "-c", wait), "test", stop=("touch", str(stopped)))
    worker = threading.Thread(target=lambda: fleet.gather([command]))
    worker.start()
    while not (tmp_path / "began").exists():
        time.sleep(0.05)
    fleet.interrupt()
    worker.join()
    assert stopped.exists()


def test_a_stop_that_is_given_again_and_again_tries_a_password_that_is_not_taken_once(
    fleet: Fleet, sudo: Path, tmp_path: Path
) -> None:
    """Broken once: every second another try, until the account is locked."""
    wait = f"echo >{tmp_path}/began; until [ -e {tmp_path}/tried-twice ]; do sleep 0.05; done"
    command = Command("etcd-1", ("sh", "-c", wait), "test", stop=("touch", str(tmp_path / "stopped")))
    worker = threading.Thread(target=lambda: fleet.gather([command]))
    worker.start()
    while not (tmp_path / "began").exists():
        time.sleep(0.05)
    (tmp_path / "right").write_text("another since")
    before, given = asks(sudo), threading.Timer(2.5, (tmp_path / "tried-twice").touch)
    given.start()
    fleet.interrupt()
    worker.join()
    assert asks(sudo) == before + 1 and not (tmp_path / "stopped").exists()


def test_nothing_typed_is_no_password() -> None:
    for text in ("", "a\nb", "x" * 600):
        with pytest.raises(Refusal, match="--ask-become-pass"):
            Password(text)


def test_no_core_is_written_once_it_is_known() -> None:
    """Nor any memory into one that is piped to a program, which heeds no limit; of what is started neither."""
    program = (
        "import resource, subprocess; from requorum.hosts.password import Password; Password('x'); "
        "print(resource.getrlimit(4), flush=True); subprocess.run(['cat', '/proc/self/coredump_filter'])"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert re.fullmatch(r"\(0, 0\)\n0+\n", said.stdout)
