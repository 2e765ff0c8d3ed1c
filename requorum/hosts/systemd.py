"""What an installed unit runs, as systemd itself understood it: words, environment and account, from its bus.

Not from the unit's text: quoting, line continuation, drop-ins, specifiers and resets are systemd's to read. Asking
needs no root. Pure: a question, and a reader of its answer.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from requorum.command import Command, look
from requorum.refusal import Refusal

PROPERTIES = ("ExecStart", "Environment", "EnvironmentFiles", "User", "WorkingDirectory", "LimitNOFILE")


class UnitError(Refusal):
    """The unit cannot be run as it is installed."""


@dataclass(frozen=True)
class ExecStart:
    """`argv` with `$NAME` not yet filled in, which systemd does when it runs it; `environment` as NAME=VALUE;
    `environment_files` with `-` before one that may be missing; `user` "" is root; `files` the limit of open ones."""

    argv: tuple[str, ...]
    environment: tuple[str, ...]
    environment_files: tuple[str, ...]
    user: str
    directory: str
    files: int


def ask(host: str, unit: str) -> Command:
    """One line for each property, typed: `a(sasbttttuii) 1 "/usr/bin/etcd" 3 "/usr/bin/etcd" …`."""
    escaped = "".join(c if c.isalnum() else f"_{ord(c):02x}" for c in unit)
    return look(
        host,
        "busctl",
        "get-property",
        "org.freedesktop.systemd1",
        f"/org/freedesktop/systemd1/unit/{escaped}",
        "org.freedesktop.systemd1.Service",
        *PROPERTIES,
        why=f"what {unit} runs",
        root=False,
    )


def parse(text: str, where: str, unit: str) -> ExecStart:
    """Reads `ask`'s answer. Raises `UnitError` naming `where` when the unit has no ExecStart, or several."""
    lines = [_words(line) for line in text.splitlines() if line.strip()]
    if len(lines) != len(PROPERTIES) or any(len(words) < 2 for words in lines):
        raise UnitError(where, f"systemd does not tell what {unit} runs: {text.strip()[-200:]!r}", "look at it by hand")
    command, environment, files, user, directory, limit = lines
    if command[1] != "1":
        found = "no ExecStart" if command[1] == "0" else f"{command[1]} ExecStart lines"
        raise UnitError(where, f"{unit} has {found}", f"install it again, or look: systemctl cat {unit}")
    count = int(command[3])
    pairs = zip(files[2::2], files[3::2], strict=True)
    return ExecStart(
        argv=tuple(command[4 : 4 + count]),
        environment=tuple(environment[2:]),
        environment_files=tuple(("-" if optional == "true" else "") + path for path, optional in pairs),
        user=user[1],
        directory=re.sub("^!", "-", directory[1]),  # systemd's two spellings of "if it is there"
        files=int(limit[1]),
    )


_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v", "s": " "}


def _words(line: str) -> list[str]:
    """A line of busctl's as words; strings stand in quotes with C's escapes."""
    found = re.findall(r'"((?:[^"\\]|\\.)*)"|(\S+)', line)
    return [plain or _unescaped(quoted) for quoted, plain in found]


def _unescaped(text: str) -> str:
    """C's escapes, byte by byte: what is not ASCII comes as octal or hexadecimal bytes of UTF-8, or as it is."""

    def byte(found: re.Match[str]) -> str:
        code = found[1]
        if code[0] == "x":
            return chr(int(code[1:], 16))
        return chr(int(code, 8)) if code[0].isdigit() else _ESCAPES.get(code, code)

    raw = re.sub(r"\\(x[0-9a-fA-F]{2}|[0-7]{3}|.)", byte, text.encode().decode("latin-1"))
    return raw.encode("latin-1").decode(errors="surrogateescape")


@dataclass(frozen=True)
class Unit:
    """systemd's word on a unit. `fragment` is the unit file, "" where there is none."""

    load: str
    active: str
    sub: str
    enabled: str
    fragment: str

    @property
    def running(self) -> bool:
        return self.active in ("active", "activating", "reloading", "deactivating")

    @property
    def installed(self) -> bool:
        return self.load in ("loaded", "masked")

    def __str__(self) -> str:
        return f"{self.load}, {self.active} ({self.sub}), {self.enabled or 'not installed'}"


def ask_unit(host: str, unit: str) -> Command:
    properties = ("LoadState", "ActiveState", "SubState", "UnitFileState", "FragmentPath")
    return look(
        host,
        "systemctl",
        "show",
        unit,
        *(f"--property={name}" for name in properties),
        why=f"state of {unit}",
        root=False,
    )


def parse_unit(text: str) -> Unit:
    values = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    return Unit(
        load=values.get("LoadState", ""),
        active=values.get("ActiveState", "inactive"),
        sub=values.get("SubState", "dead"),
        enabled=values.get("UnitFileState", ""),
        fragment=values.get("FragmentPath", ""),
    )
