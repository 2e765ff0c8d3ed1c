"""The first word with a host over ssh: it opens the shared connection, and tells what the login's shell is like."""

from __future__ import annotations

import re
import subprocess
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from requorum.command import MOST
from requorum.hosts import bounded, shell
from requorum.hosts.shell import Login

# A host gets neither this machine's agent nor a way back to it, whatever the site's ssh_config says. OpenSSH 7.6 knows
# all of them.
SSH = (
    "BatchMode=yes",
    "ConnectTimeout={10}",
    "ServerAliveInterval={5}",
    "ServerAliveCountMax=3",
    "ControlMaster=auto",
    "ControlPersist=120s",
    "ForwardAgent=no",
    "ForwardX11=no",
    "Tunnel=no",
    "ClearAllForwardings=yes",
    "PermitLocalCommand=no",
    "RemoteCommand=none",
    "RequestTTY=no",
)
# Seconds that a connection surely outlives its last use: ControlPersist, less a moment.
PERSIST = 100
# sshd turns connections away at random from the tenth that has not logged in (MaxStartups 10:30:100), and a bastion
# counts those to all hosts behind it. So few are opened at once, and one at a time where some were turned away.
AT_ONCE = 8
PAUSES = (1.0, 2.0, 4.0)
TURNED_AWAY = "turned the connection away"
_TURNS_AWAY = re.compile(
    r"(kex|ssh)_exchange_identification|Connection closed by|Connection reset by|Exceeded MaxStartups|"
    r"Not allowed at this time"
)
# A ProxyCommand that ended without a word: nobody was reached, whose sshd could have turned anything away.
_NOBODY = re.compile(r"Connection (?:closed|reset) by UNKNOWN port")
_SOMEBODY = re.compile(r"Connection (?:closed|reset) by (?!UNKNOWN )\S+ port")
# A bastion's word for a host behind it that it cannot reach; ssh's own last line is as above.
_BEYOND = re.compile(r"channel \d+: open failed: .*")


@dataclass(frozen=True)
class NoLogin:
    """Why there is none, and what it is: nobody answered, somebody did and took no connection, or no shell runs."""

    why: str
    kind: Literal["silent", "turned away", "no shell"]


class Doorkeeper:
    """Opens connections, few at once. `wait` sleeps so many seconds and says whether all is to end."""

    def __init__(self, mark: str, seconds: float, wait: Callable[[float], bool]) -> None:
        self._mark, self._seconds, self._wait = mark, seconds, wait
        self._first, self._again = threading.Semaphore(AT_ONCE), threading.Semaphore(1)
        self._given_up: set[tuple[str, ...]] = set()  # who turned all tries away: waited for once, not at each question

    def greet(self, prefix: Sequence[str]) -> Login | NoLogin:
        with self._first:
            met, tries = _greet(prefix, self._mark, self._seconds), 1
        for pause in () if tuple(prefix) in self._given_up else PAUSES:
            if not isinstance(met, NoLogin) or met.kind != "turned away" or self._wait(pause):
                break
            with self._again:
                met, tries = _greet(prefix, self._mark, self._seconds), tries + 1
        if not isinstance(met, NoLogin) or met.kind != "turned away":
            self._given_up.discard(tuple(prefix))
            return met
        self._given_up.add(tuple(prefix))
        often = f", {tries} times in {sum(PAUSES[: tries - 1]):g} s" if tries > 1 else ""
        return NoLogin(f"{TURNED_AWAY}{often}: {met.why}", met.kind)


def _greet(prefix: Sequence[str], mark: str, seconds: float) -> Login | NoLogin:
    process = subprocess.Popen(
        (*prefix, shell.carried(shell.WHICH, mark)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    heard = bounded.hear(process, None, MOST, seconds)
    if heard.ended == "late":
        return NoLogin(f"did not answer within {seconds:g} s", "silent")
    if heard.ended:
        return NoLogin(f"its login prints without an end, more than {MOST:,} bytes", "no shell")
    out, err = heard.out.decode(errors="replace"), heard.err.decode(errors="replace")
    words = last_line(f"{out}\n{err}")
    if process.returncode != 255:
        return shell.login(out, mark) or NoLogin(f"its login's shell runs no command: {words[:200]!r}", "no shell")
    if beyond := _BEYOND.search(err):
        return NoLogin(f"did not answer: {beyond[0]}", "silent")
    nobody = _NOBODY.search(err) and not _SOMEBODY.search(err)
    if _TURNS_AWAY.search(err) and not nobody:
        return NoLogin(words, "turned away")
    return NoLogin(f"did not answer: {last_line(err)}", "silent")


def last_line(text: str) -> str:
    lines = [line.strip() for line in text.replace("\\n", "\n").splitlines() if line.strip()]
    return lines[-1] if lines else "no reason was given"
