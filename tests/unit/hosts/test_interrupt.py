"""What Ctrl-C does to what is running: stopped by its own way where it has one, let go where it has none."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from compose import poll
from requorum.command import STOP, Command, Result, act, act_long
from requorum.hosts import batch, interrupt
from requorum.hosts.interrupt import Process


def here(command: Command) -> subprocess.Popen[bytes]:
    """Instead of on a host, and without root."""
    return subprocess.Popen(command.argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)


def started(line: str) -> subprocess.Popen[str]:
    return subprocess.Popen(["sh", "-c", line], text=True, start_new_session=True)


@pytest.fixture
def works(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], Command]]:
    """What runs until its `stop` has come, and cannot be ended otherwise but by force."""
    end = tmp_path / "stopped"
    process = started(f"trap '' TERM; until [ -e {end} ]; do sleep 0.05; done; echo > {tmp_path}/told")
    yield process, Command("etcd-1", ("work",), "work", stop=("touch", str(end)))
    process.kill()
    process.wait()


def test_what_has_a_way_to_be_stopped_is_stopped_by_it(
    works: tuple[subprocess.Popen[str], Command], tmp_path: Path
) -> None:
    process, command = works
    told: list[Result] = []
    interrupt.end([((command,), process)], list, here, told.append)
    assert process.wait(timeout=5) == 0
    assert (tmp_path / "told").exists(), "it ended by its stop, not by force"
    assert [r.command.argv for r in told] == [command.stop]


def test_a_command_that_was_not_there_yet_to_be_stopped_is_stopped_again(tmp_path: Path) -> None:
    """The first stop finds nothing: it takes away the file that the second one needs to work."""
    tries = tmp_path / "tries"
    process = started(f'until [ "$(wc -l < {tries} 2>/dev/null || echo 0)" -ge 2 ]; do sleep 0.05; done')
    command = Command("etcd-1", ("work",), "work", stop=("sh", "-c", f"echo >> {tries}"))
    interrupt.end([((command,), process)], list, here, lambda result: None)
    assert process.wait(timeout=5) == 0


def test_all_hosts_are_stopped_at_the_same_time(tmp_path: Path) -> None:
    """Each stop waits for the other one's, so that one after the other would not end."""
    running: list[tuple[tuple[Command, ...], Process]] = []
    for name, other in (("a", "b"), ("b", "a")):
        ready, theirs = tmp_path / name, tmp_path / other
        stop = f"touch {ready}; until [ -e {theirs} ]; do sleep 0.05; done; touch {ready}.end"
        process = started(f"until [ -e {tmp_path}/{name}.end ]; do sleep 0.05; done")
        running.append(((Command(name, ("work",), "work", stop=("sh", "-c", stop)),), process))
    told: list[Result] = []
    interrupt.end(running, list, here, told.append)
    assert [process.wait(timeout=5) for _, process in running] == [0, 0]
    assert {r.code for r in told} == {0}


def test_what_has_none_is_left_to_itself() -> None:
    process = started("sleep 1000")
    told: list[Result] = []
    interrupt.end([((act("etcd-1", "sleep", "1000", why="waiting"),), process)], list, here, told.append)
    assert process.wait(timeout=5) != 0
    assert told == []


def test_a_stop_that_never_answers_does_not_keep_the_operator(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(interrupt, "PATIENCE", 0.5)
    process = started("sleep 1000")
    command = Command("etcd-1", ("work",), "work", stop=("sleep", "1000"))
    interrupt.end([((command,), process)], list, here, lambda result: None)
    poll.until(lambda: process.poll() is not None, seconds=5, what="it is let go")


def test_stoppable_commands_share_a_trip_where_their_stop_ends_the_batch() -> None:
    long = act_long("etcd-1", "tar", "-x", why="unpack")
    assert long.stop == STOP
    assert [len(group) for group in batch.batches([act("etcd-1", "true", why="first"), long, long])] == [3]
    careless = act_long("etcd-1", "save", why="save", accept=None)
    assert [len(group) for group in batch.batches([long, careless, long])] == [1, 1, 1], "what follows would be begun"


def test_nothing_of_a_batch_is_begun_after_its_stop(tmp_path: Path) -> None:
    mark = "0123456789abcdef"
    pid, after = tmp_path / "pid", tmp_path / "after"
    commands = [
        Command("etcd-1", ("sh", "-c", f"echo $$ > {pid}; exec sleep 1000"), "long", root=False),
        Command("etcd-1", ("touch", str(after)), "after", root=False),
    ]
    process = subprocess.Popen(["sh", "-c", batch.script(commands, mark)], stdout=subprocess.PIPE, text=True)
    poll.until(lambda: pid.exists() and pid.read_text().strip(), seconds=5, what="it runs")
    subprocess.run(["kill", pid.read_text().strip()], check=True)
    process.communicate(timeout=5)
    assert not after.exists()
