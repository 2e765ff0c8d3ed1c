"""A command over a shared ssh connection, without a process of its own here: OpenSSH's PROTOCOL.mux, version 4.

An `ssh` that only asks the shared connection for a session costs some 7 ms of a processor: a question to 53 hosts 370.
Where there is no such connection, or it refuses, `ssh` itself is started, which makes one or says why.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence

VERSION = 4
HELLO, NEW_SESSION = 0x1, 0x10000002
DENIED, FAILURE, EXIT, OPENED = 0x80000002, 0x80000003, 0x80000004, 0x80000006
NO_ESCAPE = 0xFFFFFFFF
MOST = 1 << 16  # bytes of one message
SECONDS = 10  # until the other process on this machine takes the request; nothing of the network
LOST = 255  # as ssh ends where the connection does
ENDED = b"the shared connection ended\n"


def start(argv: Sequence[str], stdin: int, stderr: int = subprocess.PIPE) -> subprocess.Popen[bytes]:
    """Starts `argv`, whose output is piped: as a session where it is an `ssh` with a shared connection. `stdin`:
    `PIPE` or `DEVNULL`, `stderr`: `PIPE` or `STDOUT`, as `Popen` has them."""
    path = next((word.partition("=")[2] for word in argv if word.startswith("ControlPath=")), "")
    if path and argv[0] == "ssh":
        with contextlib.suppress(OSError):
            return Session(path, argv, stdin, stderr)
    return _process(argv, stdin, subprocess.PIPE, stderr)


def _process(argv: Sequence[str], stdin: int, stdout: int, stderr: int) -> subprocess.Popen[bytes]:
    # A Ctrl-C is ours to handle, not ssh's.
    return subprocess.Popen(argv, stdin=stdin, stdout=stdout, stderr=stderr, start_new_session=True)


class Session(subprocess.Popen[bytes]):
    """To all who use it a process: pipes, exit code, and an end that can be hastened. The last of `argv` is what runs.

    Raises `OSError` where there is no such connection: nothing was started then.
    """

    def __init__(self, path: str, argv: Sequence[str], stdin: int, stderr: int) -> None:
        self.args, self.returncode = argv, None
        self.stdin = self.stdout = self.stderr = None
        self._killed, self._over, self._changing = 0, threading.Event(), threading.Lock()
        self._instead: subprocess.Popen[bytes] | None = None
        self._theirs: list[int] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.settimeout(SECONDS)
            self._socket.connect(path)
            self._pipe(stdin, stderr)
            self._socket.sendall(_message(HELLO, VERSION) + _request(argv[-1]))
            for end in self._theirs:
                socket.send_fds(self._socket, [b"\0"], [end])
            self._socket.settimeout(None)
        except OSError:
            for pipe in (self._socket, self.stdin, self.stdout, self.stderr):
                if pipe:
                    pipe.close()
            self._close_theirs()
            raise
        threading.Thread(target=self._attend, daemon=True, name="session").start()

    def _pipe(self, stdin: int, stderr: int) -> None:
        """Standard input, output and error; `_theirs` are the other ends."""
        if stdin == subprocess.PIPE:
            reads, writes = os.pipe()
            self._theirs.append(reads)
            self.stdin = os.fdopen(writes, "wb")
        else:
            self._theirs.append(os.open(os.devnull, os.O_RDWR))
        reads, writes = os.pipe()
        self._theirs.append(writes)
        self.stdout = os.fdopen(reads, "rb")
        if stderr == subprocess.PIPE:
            reads, writes = os.pipe()
            self._theirs.append(writes)
            self.stderr = os.fdopen(reads, "rb")
        else:
            self._theirs.append(os.dup(self._theirs[1]))

    def _close_theirs(self, kept: int = 0) -> None:
        while len(self._theirs) > kept:
            os.close(self._theirs.pop(0))

    def _attend(self) -> None:
        """Whatever comes of it, nobody waits for it longer."""
        code = None
        try:
            code = self._heard()
        finally:
            with self._changing:
                self._socket.close()
                self._close_theirs()
                self.returncode = -self._killed if self._killed else LOST if code is None else code
            self._over.set()

    def _heard(self) -> int | None:
        """Hears the connection to the end of the session. Its exit code, None where it was lost."""
        code, heard = None, set[int]()
        with contextlib.suppress(OSError, struct.error), self._socket.makefile("rb") as said:
            for kind, body in _messages(said.read):
                heard.add(kind)
                if kind == OPENED:
                    self._close_theirs(kept=1)  # standard error's, for a word of ours
                elif kind == EXIT:
                    code = struct.unpack(">4xI", body)[0]
                elif kind in (DENIED, FAILURE):
                    break
        if not heard & {OPENED, EXIT} and (not heard or heard & {DENIED, FAILURE}):
            return self._by_ssh()
        if code is None and not self._killed:
            with contextlib.suppress(OSError):
                os.write(self._theirs[-1], ENDED)
        return code

    def _by_ssh(self) -> int | None:
        """The same by a process of its own: nothing was started yet. Where none can be, it is a lost connection."""
        with self._changing:
            try:
                if not self._killed:
                    self._instead = _process(self.args, *self._theirs)  # type: ignore[arg-type]
            except OSError as error:
                with contextlib.suppress(OSError):
                    os.write(self._theirs[-1], f"ssh cannot be started: {error.strerror}\n".encode())
            self._close_theirs()
        return self._instead.wait() if self._instead else None

    # -- as of a process -----------------------------------------------------------------------------------------

    def poll(self) -> int | None:
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if not self._over.wait(timeout):
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return self.returncode

    def send_signal(self, sig: int) -> None:
        """Ends the session, whatever the signal: as where its `ssh` is ended, nothing on the host is told."""
        with self._changing:
            if self.returncode is not None:
                return
            self._killed = sig
            if self._instead:
                self._instead.send_signal(sig)
            else:
                with contextlib.suppress(OSError):
                    self._socket.shutdown(socket.SHUT_RDWR)


def _message(*numbers: int, words: bytes = b"") -> bytes:
    body = struct.pack(f">{len(numbers)}I", *numbers) + words
    return struct.pack(">I", len(body)) + body


def _request(line: str) -> bytes:
    """A session without a terminal, X11, an agent or a subsystem; nothing of the environment goes along."""
    text = line.encode(errors="surrogateescape")
    flags = struct.pack(">5I", 0, 0, 0, 0, NO_ESCAPE)
    words = struct.pack(">I", 0) + flags + struct.pack(">I", 0) + struct.pack(">I", len(text)) + text
    return _message(NEW_SESSION, 1, words=words)


def _messages(read: Callable[[int], bytes]) -> Iterator[tuple[int, bytes]]:
    """Kind and body of each, until the other side closes. Raises `struct.error` for what is none."""
    while head := read(4):
        (length,) = struct.unpack(">I", head)
        body = read(length) if 4 <= length <= MOST else b""
        if len(body) != length:
            raise struct.error("cut off")
        yield struct.unpack(">I", body[:4])[0], body[4:]
