"""Sessions over a shared ssh connection: to whoever starts one it is as the `ssh` in whose place it is."""

from __future__ import annotations

import errno
import os
import socket
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from requorum.hosts import bounded, session
from requorum.hosts.bounded import Heard

HELLO = struct.pack(">3I", 8, session.HELLO, session.VERSION)


def message(kind: int, *numbers: int, words: bytes = b"") -> bytes:
    body = struct.pack(f">{1 + len(numbers)}I", kind, *numbers) + words
    return struct.pack(">I", len(body)) + body


def take(there: socket.socket) -> bytes:
    (length,) = struct.unpack(">I", there.recv(4, socket.MSG_WAITALL))
    return there.recv(length, socket.MSG_WAITALL)


class Master:
    """Stands for the `ssh` that holds the connection: runs what it is asked for here, as the host would."""

    def __init__(self, place: Path) -> None:
        self.path, self.asked = str(place / "s"), list[bytes]()
        self.behaves: Callable[[socket.socket, str, list[int]], None] = self.runs
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(self.path)
        self._server.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def end(self) -> None:
        with suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                there, _ = self._server.accept()
                threading.Thread(target=self._one, args=(there,), daemon=True).start()

    def _one(self, there: socket.socket) -> None:
        with there, suppress(OSError, struct.error):
            if self.behaves == self.is_none:
                return
            there.sendall(HELLO)
            assert take(there) == HELLO[4:]
            self.asked.append(take(there))
            pipes = [fd for _ in range(3) for fd in socket.recv_fds(there, 1, 1)[1]]
            length = struct.unpack(">I", self.asked[-1][36:40])[0]
            try:
                self.behaves(there, self.asked[-1][40 : 40 + length].decode(), pipes)
            finally:
                for pipe in pipes:
                    os.close(pipe)

    def runs(self, there: socket.socket, line: str, pipes: list[int]) -> None:
        there.sendall(message(session.OPENED, 1, 5))
        process = subprocess.Popen(["sh", "-c", line], stdin=pipes[0], stdout=pipes[1], stderr=pipes[2])
        while pipes:
            os.close(pipes.pop())
        code = process.wait()
        if code >= 0:
            there.sendall(message(session.EXIT, 5, code))

    def hangs(self, there: socket.socket, line: str, pipes: list[int]) -> None:
        there.sendall(message(session.OPENED, 1, 5))
        there.recv(1)  # until it is let go

    def refuses(self, there: socket.socket, line: str, pipes: list[int]) -> None:
        there.sendall(message(session.FAILURE, 1, words=b"\0\0\0\7refused"))

    def opens_and_refuses(self, there: socket.socket, line: str, pipes: list[int]) -> None:
        there.sendall(message(session.OPENED, 1, 5))
        self.refuses(there, line, pipes)

    def dies(self, there: socket.socket, line: str, pipes: list[int]) -> None:
        pass

    def says_anything(self, there: socket.socket, line: str, pipes: list[int]) -> None:
        there.sendall(b"\xff" * 64)

    def is_none(self, there: socket.socket, line: str, pipes: list[int]) -> None:
        raise AssertionError


@pytest.fixture
def master(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Master]:
    ssh = tmp_path / "ssh"
    ssh.write_text('#!/bin/sh\nfor line; do :; done\necho "by ssh"\nexec sh -c "$line"\n')
    ssh.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    master = Master(tmp_path)
    yield master
    master.end()


def heard(
    master: Master, line: str, fed: bytes | None = None, seconds: float = 20, path: str = ""
) -> tuple[Heard, int]:
    argv = ("ssh", "-o", f"ControlPath={path or master.path}", "host", line)
    process = session.start(argv, subprocess.DEVNULL if fed is None else subprocess.PIPE)
    return bounded.hear(process, fed, 1 << 22, seconds), process.returncode


def test_output_errors_and_exit_code_are_the_commands_own(master: Master) -> None:
    assert heard(master, "echo out; echo err >&2; exit 3") == (Heard(b"out\n", b"err\n"), 3)


def test_what_is_fed_arrives_whole_and_ends(master: Master) -> None:
    assert heard(master, "wc -c", b"x" * 1_000_000) == (Heard(b"1000000\n", b""), 0)
    assert heard(master, "wc -c") == (Heard(b"0\n", b""), 0)


def test_it_is_asked_for_no_terminal_no_forwarding_and_no_environment(master: Master) -> None:
    heard(master, "true")
    nothing = struct.pack(">8I", session.NEW_SESSION, 1, 0, 0, 0, 0, 0, session.NO_ESCAPE)
    assert master.asked == [nothing + struct.pack(">2I", 0, 4) + b"true"]


def test_errors_go_where_the_output_goes_if_so_wanted(master: Master) -> None:
    argv = ("ssh", "-o", f"ControlPath={master.path}", "host", "echo err >&2")
    process = session.start(argv, subprocess.DEVNULL, subprocess.STDOUT)
    assert bounded.hear(process, None, 1000, 20).out == b"err\n"


@pytest.mark.parametrize("how", ["refuses", "is_none"])
def test_where_it_was_surely_not_begun_ssh_does_it(master: Master, how: str) -> None:
    """With what it was to be fed."""
    master.behaves = getattr(master, how)
    assert heard(master, "cat; exit 4", b"fed") == (Heard(b"by ssh\nfed", b""), 4)


def test_where_there_is_no_connection_ssh_makes_one(master: Master, tmp_path: Path) -> None:
    assert heard(master, "true", path=str(tmp_path / "nowhere")) == (Heard(b"by ssh\n", b""), 0)
    master.end()
    assert heard(master, "true") == (Heard(b"by ssh\n", b""), 0)


def test_where_no_ssh_can_be_started_either_it_has_ended_and_says_why(
    master: Master, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken once: whoever waited for it did so for ever, past every deadline."""

    def none_left(*_: object) -> None:
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    master.behaves = master.refuses
    monkeypatch.setattr(session, "_process", none_left)
    said = b"ssh cannot be started: Resource temporarily unavailable\n"
    assert heard(master, "true") == (Heard(b"", said), session.LOST)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_it_ends_whatever_happens_while_it_is_attended(master: Master, monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken once: as above."""

    def unforeseen(*_: object) -> None:
        raise RuntimeError

    master.behaves = master.refuses
    monkeypatch.setattr(session, "_process", unforeseen)
    assert heard(master, "true") == (Heard(b"", b""), session.LOST)
    for thread in threading.enumerate():
        if thread.name == "session":
            thread.join(10)  # so that its last words are this test's


@pytest.mark.parametrize("how", ["dies", "says_anything", "opens_and_refuses"])
def test_what_may_have_begun_is_not_begun_again_and_counts_as_a_lost_connection(master: Master, how: str) -> None:
    master.behaves = getattr(master, how)
    assert heard(master, "echo again") == (Heard(b"", session.ENDED), session.LOST)


def test_a_command_that_a_signal_ended_is_a_lost_connection_too_as_ssh_has_it(master: Master) -> None:
    assert heard(master, "kill -9 $$") == (Heard(b"", session.ENDED), session.LOST)


def test_it_can_be_ended_from_here_however_it_hangs(master: Master) -> None:
    master.behaves = master.hangs
    found, code = heard(master, "true", seconds=0.2)
    assert (found.ended, code) == ("late", -9)


def test_nothing_stays_open(master: Master, tmp_path: Path) -> None:
    def held() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    for behaves in (master.runs, master.refuses, master.dies):
        master.behaves = behaves
        heard(master, "true")
        before = held()
        for _ in range(5):
            heard(master, "true", b"x")
        assert held() <= before + 2, "the master's own sockets may be closing still"


def test_what_is_no_ssh_or_shares_nothing_is_a_process() -> None:
    for argv in (("sh", "-c", "exit 5"), ("sh", "-c", "exit 5", "ControlPath=/x")):
        process = session.start(argv, subprocess.DEVNULL)
        assert (bounded.hear(process, None, 10, 10).out, process.returncode) == (b"", 5)
