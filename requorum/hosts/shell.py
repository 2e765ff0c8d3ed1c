"""How a line reaches a host's `sh`, whatever shell its login has, and where the answer begins, whatever that prints."""

from __future__ import annotations

import base64
import re
import shlex
from dataclasses import dataclass
from typing import IO, AnyStr

SBIN = "/usr/local/sbin:/usr/sbin:/sbin"  # not in the PATH of everybody's login
# What a login's own environment would do to what root runs: sudo adds its umask to the login's, and may keep a proxy,
# by which etcdctl asks members, and a language in which no reader knows sudo's words. The characters stay.
PLAINLY = (
    "umask 022; unset http_proxy https_proxy all_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY; "
    'export LC_CTYPE="${LC_ALL:-${LC_CTYPE:-$LANG}}" LC_MESSAGES=C; unset LC_ALL LANGUAGE'
)
WHICH = 'echo "$SHELL"'
# They read what `shlex.quote` quotes as it was. Others get nothing that tcsh or fish would take for its own.
_LIKE_SH = frozenset({"sh", "ash", "bash", "dash", "ksh", "ksh93", "mksh", "rbash", "zsh"})


@dataclass(frozen=True)
class Login:
    """`shell`: its name; `stray`: what it prints before every answer, both "" where there is none to tell of."""

    shell: str = ""
    stray: str = ""

    def __str__(self) -> str:
        """Its oddities in one sentence, "" where it has none."""
        printed = f"prints {self.stray[:80]!r} before every answer, which is cut off" if self.stray else ""
        odd = f"is {self.shell}" if self.shell and self.shell not in _LIKE_SH else ""
        words = " and ".join(word for word in (odd, printed) if word)
        return f"its login's shell {words}" if words else ""


def carried(line: str, mark: str = "", shell: str = "sh") -> str:
    """What `shell` gets so that `line` is run by `sh`, with `mark` as a line of its own before all that it prints."""
    script = f'export PATH="$PATH:{SBIN}"; {PLAINLY}; {f"echo {mark}; " if mark else ""}{line}'
    if shell in _LIKE_SH:
        return shlex.join(("sh", "-c", script))
    return f"sh -c 'eval \"$(echo {base64.b64encode(script.encode()).decode()} | base64 -d)\"'"


def answer(said: AnyStr, mark: AnyStr) -> tuple[AnyStr, AnyStr] | None:
    """What stood before `mark`, and what was answered; None where it never came so far."""
    stray, found, rest = said.partition(mark)
    return (stray, rest[1:]) if found else None


def skip(pipe: IO[AnyStr], mark: AnyStr) -> bool:
    """Reads until behind `mark`; whether it came."""
    while line := pipe.readline(1 << 16):
        if line.rstrip().endswith(mark):
            return True
    return False


def login(said: str, mark: str) -> Login | None:
    """Of the answer to `WHICH`; None where no command was run."""
    parts = answer(said, mark)
    if parts is None:
        return None
    stray, path = parts[0].strip(), parts[1].strip()
    return Login(path.rsplit("/", 1)[-1] if re.fullmatch(r"(/[A-Za-z0-9._+-]+)+", path) else "sh", stray)
