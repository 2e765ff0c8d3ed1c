"""The password that sudo asks of a login: typed once, given by standard input in a pipe of its own, kept nowhere.

`sudo -S -v` reads it, beside the command: a command whose sudo asks for none (NOPASSWD, or told a moment ago) finds its
standard input as it was. What sudo then remembers is for the shell of this one trip, its parent, alone. Measured in
tests/lab/test_become.py.
"""

from __future__ import annotations

import contextlib
import os
import resource
import shlex
import subprocess
import termios
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from requorum.command import UNLOCK, Command, Copy, Fetch
from requorum.evidence.redaction import shown
from requorum.hosts import session
from requorum.hosts.failure import FleetError
from requorum.refusal import Refusal
from requorum.transport import Transport

A = TypeVar("A", Command, Copy, Fetch, Command | Copy | Fetch)

ALIKE = frozenset({"sudo", "dzdo"})  # what takes one by `-S -v`
_ASKED = "requorum-was-asked"  # the prompt: standard error tells by it whether sudo asked at all
NOT_TAKEN = "sudo: the password was not taken"
_LONGEST = 512


def program_of(become: tuple[str, ...]) -> str:
    return become[0].rsplit("/", 1)[-1]


def prelude(become: tuple[str, ...], several: bool) -> str:
    """What a host's sh runs first: it reads the password, and gives it before each line that is called through
    `UNLOCK`. `several`: lines of one trip; none is tried where it is not taken, so that it is tried but once."""
    ask = f"printf '%s\\n' \"$rqp\" | {shlex.quote(become[0])} -S -p '' -v >/dev/null 2>&1"
    wrong = f"echo {shlex.quote(NOT_TAKEN)} >&2"
    first = f"{ask} || {{ {wrong}; exit 1; }}; " if several else ""
    # What a login's environment may say to a shell: a variable of that name, and SHELLOPTS with xtrace or allexport.
    read = "set +ax; unset rqp; IFS= read -r rqp || exit 1"
    return f'{read}; {UNLOCK}() {{ {ask} || {{ {wrong}; return 1; }}; "$@"; return $?; }}; {first}'


class Password:
    """Shown by nothing and pickled by nothing. One host proves it; where one does not take it, none is tried after."""

    __slots__ = ("_barred", "_lock", "_proven", "_text", "_wrong")

    def __init__(self, text: str) -> None:
        data = text.encode()
        if not data or len(data) > _LONGEST or any(byte in data for byte in b"\n\r\0"):
            raise Refusal("--ask-become-pass", "nothing was typed that could be a password", "type it, or leave it out")
        _without_cores()
        self._text = data
        self._lock = threading.Lock()
        self._proven = False
        self._wrong: Refusal | None = None
        self._barred: dict[str, Refusal] = {}

    def __repr__(self) -> str:
        return "Password(•••)"

    def __reduce__(self) -> str:
        raise TypeError("a password is not pickled")

    def give(self, process: subprocess.Popen[bytes], more: bool) -> None:
        """As the first line of a process' standard input, which is closed then unless there is `more`."""
        assert process.stdin
        with contextlib.suppress(BrokenPipeError):  # who has ended says why by itself
            os.write(process.stdin.fileno(), self._text + b"\n")
        if not more:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
            process.stdin = None

    def is_barred(self, host: str) -> Refusal | None:
        """What is known of it: wrong on the host that proved it, or on this one."""
        return self._wrong or self._barred.get(host)

    def refuse_if_barred(self, host: str) -> None:
        """Raises that."""
        if why := self.is_barred(host):
            raise why

    def bar(self, host: str, said: str) -> None:
        """Never again on a host that did not take it."""
        if NOT_TAKEN in said:
            self._barred[host] = refused(host, "sudo does not take the password that was typed")

    def prove(self, host: str, ask: Callable[[], tuple[int, str]]) -> None:
        """Before anything else is done as root: on one host, while all others wait. `ask` gives exit code and words of
        `proof`. A host whose sudo asks for none proves nothing, and one that does not answer neither."""
        with self._lock:
            self.refuse_if_barred(host)
            if self._proven:
                return
            code, said = ask()
            if code == 0:
                self._proven = _ASKED in said
            elif _ASKED in said:
                self._wrong = refused(host, f"sudo does not take the password: {_words(said)}")
                raise self._wrong
            else:
                self._barred[host] = refused(host, f"sudo asks for no password, and refuses: {_words(said)}")
                raise self._barred[host]


def _without_cores() -> None:
    """Of this process and of all that it starts. What a core is piped to need not heed the limit (apport does not): so
    there is nothing of the memory in it either."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError):
        Path("/proc/self/coredump_filter").write_text("0", encoding="ascii")


def _words(said: str) -> str:
    lines = [line.replace(_ASKED, "").strip() for line in said.splitlines()]
    return next((line for line in reversed(lines) if line), "it gives no reason")[:200]


def refused(host: str, what: str) -> FleetError:
    return FleetError(
        host,
        f"{what}; it was tried once, and nowhere else",
        "look there whether the account is locked (faillock, pam_tally2: sudo asks again, so that one try counts two), "
        "then run again and type it anew",
    )


class Root:
    """How a fleet's commands become root's. `password` None: by a rule that asks for none."""

    def __init__(self, become: tuple[str, ...], password: Password | None) -> None:
        self._become, self._password = become, password
        # The line that proves the password: what sudo remembers does not count, and nothing is run.
        self.proof = f"{shlex.quote(become[0])} -k -S -p {_ASKED} -v"

    def fit(self, actions: Iterable[A]) -> list[A]:
        """As this site's login becomes root."""
        return [action.for_root(self._become, self._password is not None) for action in actions]

    def fit_untried(self, actions: Iterable[Command]) -> list[Command]:
        """The same without those for hosts that do not take the password: what is asked again and again for a while
        would lock the account there."""
        return self.fit(each for each in actions if not (self._password and self._password.is_barred(each.host)))

    def before(self, *commands: Command) -> str:
        """What reads the password, where one of these wants it."""
        return prelude(self._become, len(commands) > 1) if any(command.unlocks for command in commands) else ""

    def start(
        self, argv: Sequence[str], commands: Sequence[Command], fed: bool, stderr: int = subprocess.PIPE
    ) -> subprocess.Popen[bytes]:
        """What runs here for commands of one host. The password is the first line of its input where one wants it;
        `fed`: more comes after that."""
        secret = self._password if any(command.unlocks for command in commands) else None
        stdin = subprocess.PIPE if fed or secret else subprocess.DEVNULL
        process = session.start(argv, stdin, stderr)
        if secret:
            secret.give(process, more=fed)
        return process

    @property
    def first(self) -> Callable[[subprocess.Popen[bytes], bool], None] | None:
        """Gives a process of a copy what it reads before all else."""
        return self._password.give if self._password else None

    def trying(self, argv: Sequence[str]) -> subprocess.Popen[bytes]:
        """The one try of the password."""
        assert self._password is not None
        process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
        )
        self._password.give(process, more=False)
        return process

    def unlock(self, host: str, ask: Callable[[], tuple[int, str]]) -> None:
        if self._password is not None:
            self._password.prove(host, ask)

    def refuse_if_barred(self, host: str) -> None:
        if self._password is not None:
            self._password.refuse_if_barred(host)

    def bar(self, host: str, said: str) -> None:
        if self._password is not None:
            self._password.bar(host, said)


def asked_for(transport: Transport) -> Password:
    """Typed now, once. Raises `Refusal` where nobody can, or nothing takes one."""
    program = program_of(transport.as_root)
    if program not in ALIKE:
        why = f"{program} reads no password from standard input as sudo -S does"
        raise Refusal("--ask-become-pass", why, "give the login rights without a password, and leave it out")
    word = _asked_unseen(f"\nThe password that {program} asks of {transport.user or 'the login'} on every host: ")
    if word is None:
        raise Refusal("--ask-become-pass", "nobody is there to type it", "run it on a terminal, or use NOPASSWD")
    return Password(word)


def _asked_unseen(question: str) -> str | None:
    """What was typed on the terminal, which nobody sees; None where there is none."""
    try:
        with Path("/dev/tty").open("r+b", buffering=0) as tty:
            before = termios.tcgetattr(tty)
            unseen = [*before[:3], before[3] & ~termios.ECHO, *before[4:]]
            try:
                termios.tcsetattr(tty, termios.TCSAFLUSH, unseen)
                tty.write(shown(question).encode())
                return tty.readline().decode(errors="replace").rstrip("\r\n")
            finally:
                termios.tcsetattr(tty, termios.TCSAFLUSH, before)
                tty.write(b"\n")
    except (OSError, termios.error):
        return None
