"""systemd's word on a unit: its state, and what it runs as systemd itself understood it, from its bus."""

from __future__ import annotations

import itertools
import posixpath
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from requorum.command import Result, look
from requorum.hosts.question import NAME, PATH, Question, checked, or_refusal
from requorum.refusal import Refusal

PROPERTIES = ("ExecStart", "Environment", "EnvironmentFiles", "User", "WorkingDirectory", "LimitNOFILE")


class UnitError(Refusal):
    """The unit cannot be run as it is installed."""


@dataclass(frozen=True)
class ExecStart:
    """`words` with `$NAME` not yet filled in, which systemd does when it runs it; `environment` as NAME=VALUE;
    `environment_files` with `-` before one that may be missing; `user` "" is root; `files` the limit of open ones."""

    words: tuple[str, ...]
    environment: tuple[str, ...]
    environment_files: tuple[str, ...]
    user: str
    directory: str
    files: int


def ask_exec(host: str, unit: str) -> Question[ExecStart]:
    """Not from the unit's text: quoting, drop-ins, specifiers and resets are systemd's to read.

    One line for each property, typed: `a(sasbttttuii) 1 "/usr/bin/etcd" 3 "/usr/bin/etcd" …`. Raises `UnitError` where
    the unit has no ExecStart, or several.
    """
    escaped = "".join(c if c.isalnum() else f"_{ord(c):02x}" for c in unit)
    command = look(
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
    return Question(command, lambda result: _read_exec(host, unit, result))


# A program may go by another name (ExecStart=@…); files of an environment may be a pattern.
_PROGRAM = re.compile(f"{PATH.pattern}|{NAME.pattern}")
_FILES = re.compile(r"/[^\x00-\x1f\x7f]*")
_DIRECTORY = re.compile(rf"(-?({_FILES.pattern}|~))?")
_ACCOUNT = re.compile(r"[A-Za-z0-9_.$-]*")


def _read_exec(host: str, unit: str, result: Result) -> ExecStart:
    lines = [_words(line) for line in result.stdout.splitlines() if line.strip()]
    if result.code or len(lines) != len(PROPERTIES) or any(len(words) < 2 for words in lines):
        said = (result.stdout + result.stderr).strip()[-200:]
        raise UnitError(host, f"systemd does not tell what {unit} runs: {said!r}", "look at it by hand")
    command, environment, files, user, directory, limit = lines
    if command[1] != "1":
        found = "no ExecStart" if command[1] == "0" else f"{command[1]} ExecStart lines"
        raise UnitError(host, f"{unit} has {found}", f"install it again, or look: systemctl cat {unit}")
    program, *words = command[4 : 4 + int(command[3])]
    pairs = zip(files[2::2], files[3::2], strict=True)
    return ExecStart(
        words=(checked(host, f"program of {unit}", program, _PROGRAM), *words),
        environment=tuple(environment[2:]),
        environment_files=tuple(
            ("-" if optional == "true" else "") + checked(host, f"environment file of {unit}", path, _FILES)
            for path, optional in pairs
        ),
        user=checked(host, f"account of {unit}", user[1], _ACCOUNT),
        directory=checked(host, f"directory of {unit}", re.sub("^!", "-", directory[1]), _DIRECTORY),  # two spellings
        files=int(limit[1]),
    )


def journal(unit: str) -> tuple[str, ...]:
    """What shows a unit's last words, as sudo allows it."""
    return ("journalctl", "--no-pager", "-q", "-o", "cat", "-n", "80", "-u", unit)


def kept(aside: str, unit: str) -> list[str]:
    """Where a unit's file is that a run has set aside."""
    return [f"{aside}/{place}_systemd_system_{unit}" for place in ("etc", "usr_lib", "lib")]


# Drop-ins stay where they are when a unit's file is set aside, and systemd tells only of those of a unit that has one.
# In systemd's own order: by their names, and of one name only the first directory's.
_PLACES = (
    *(f"/{at}" for at in ("etc/systemd/system.control", "run/systemd/system.control", "run/systemd/transient")),
    *(f"/{at}" for at in ("run/systemd/generator.early", "etc/systemd/system", "etc/systemd/system.attached")),
    *(f"/{at}" for at in ("run/systemd/system", "run/systemd/system.attached", "run/systemd/generator")),
    *(f"/{at}" for at in ("usr/local/lib/systemd/system", "usr/lib/systemd/system", "lib/systemd/system")),
    "/run/systemd/generator.late",
)
_DROP_INS = f"""
found() {{
    for place in {" ".join(_PLACES)}; do
        for name; do
            [ -d "$place/$name.d" ] || continue
            [ -r "$place/$name.d" ] && [ -x "$place/$name.d" ] || return 1
            for file in "$place/$name.d"/*.conf; do
                [ ! -e "$file" ] && [ ! -L "$file" ] || printf '%s\\n' "${{file##*/}}$file"
            done
        done
    done
}}
files=$(found "$@" && found "$0") || exit 1
[ "$files" ] || exit 0
files=$(printf '%s\\n' "$files" | LC_ALL=C sort -t / -k 1,1 -s -u) || exit 1
printf '%s\\n' "$files" | while IFS= read -r file; do cat "/${{file#*/}}" && echo || exit 1; done
"""


def drop_ins(unit: str) -> tuple[str, ...]:
    """Whose drop-ins are a unit's too, by systemd: its type's, which come last, its own, its template's, and those of
    what its name begins with, `a-b-.service` and `a-.service` of `a-b-c.service`."""
    stem, _, kind = unit.rpartition(".")
    names = [unit, *([f"{stem.partition('@')[0]}@.{kind}"] if "@" in stem else [])]
    stem = stem.partition("@")[0]
    while "-" in (shorter := stem.rstrip("-")).lstrip("-"):
        stem = f"{shorter.rpartition('-')[0]}-"
        names.append(f"{stem}.{kind}")
    return (kind, *dict.fromkeys(names))


def ask_drop_ins(host: str, unit: str) -> Question[str | None]:
    """What they say, later ones last, as root, since one may be for root's eyes only; None where one cannot be read."""
    command = look(host, "sh", "-c", _DROP_INS, *drop_ins(unit), why=f"drop-ins of {unit}")
    return Question(command, lambda answer: None if answer.code else answer.stdout)


_OWN_START = "of-the-unit"
_LAUNCHERS = ("chrt", "env", "ionice", "nice", "numactl", "taskset")  # they start what behind them is said, as it is
# Their own words: options, but not that by which env splits a text, settings, numbers. Any other is what they start.
_OF_LAUNCHERS = re.compile(r"(?!-\w*S|--s)-.*|[A-Za-z_]\w*=.*|0x[0-9a-f]+|\d[\da-f,:-]*")
_COMMENT = re.compile(r"^[ \t]*[#;].*\n?", re.MULTILINE)


def started_otherwise(said: str | None, config: str) -> str:
    """Why a unit that is to start etcd with this configuration may not, by what its drop-ins say; "" where they leave
    that to the unit, or say the same."""
    if said is None:
        return "cannot be read"
    text = f"ExecStart={_OWN_START}\n{said}"
    starts = _said(text)["ExecStart"]
    is_plain = starts == _said(_COMMENT.sub("", text))["ExecStart"]  # a comment may go on: versions differ
    if is_plain and starts == [_OWN_START]:
        return ""
    found = _kept(text)
    if found is None or not is_plain:
        return f"say what is started in a way that systemd refuses, or that is not understood: {starts}"[:300]
    own = (posixpath.basename(word) in _LAUNCHERS or _OF_LAUNCHERS.fullmatch(word) for word in found.words[1:])
    by = posixpath.basename(found.words[0]) in _LAUNCHERS
    launched = found.words[1 + len(list(itertools.takewhile(bool, own))) if by else 0 :]
    line = shlex.join(found.words)[:300]
    if not launched or posixpath.basename(launched[0]) != "etcd":
        return f"have it started by {found.words[0]}, and nobody tells what that starts: {line}"
    if unknown := [word for word in launched if word[:1] == "$"]:
        return f"have it started with what {unknown[0]} says too, which may be another configuration: {line}"
    if flags(launched).get("config-file") != config:
        return f"have it started in another way than with --config-file={config}: {line}"
    return ""


OTHERWISE = (
    "write that ExecStart into the unit's own file there, which a run sets aside and gives back, and take it out of "
    "the drop-in"
)


def ask_known(host: str, unit: str) -> Question[ExecStart | None]:
    """The same; None where systemd does not tell: it knows no such unit any more, or one that starts several things."""
    asked = or_refusal(ask_exec(host, unit))

    def read(answer: Result) -> ExecStart | None:
        found = asked.understand([answer])
        return None if isinstance(found, Refusal) else found

    return Question(asked.commands, read)


def ask_kept(host: str, unit: str, kept: Sequence[str]) -> Question[ExecStart | None]:
    """The same of a unit that systemd does not know any more: what its file says among those `kept`, and its drop-ins.
    None where nobody tells."""
    beside = ask_drop_ins(host, unit)

    def read(text: Result, more: Result) -> ExecStart | None:
        said = beside.understand([more])
        return None if said is None else _kept(f"{text.stdout}\n{said}")

    return Question((look(host, "cat", *kept, why=f"what {unit} started"), *beside.commands), read)


def started(found: ExecStart | None) -> tuple[str, ...] | None:
    """The words that a unit starts, with the values that it gives them itself."""
    if found is None:
        return None
    words, values = filled(found, {})
    settings = ((n[5:].lower().replace("_", "-"), value) for n, value in values.items() if n[:5] == "ETCD_")
    return (*words[:1], *(f"--{name}={value}" for name, value in settings), *words[1:])


# Of an environment's files only what etcd or the command line takes; the rest may be secret.
_OWN = """
for file; do
    path=${file#-}
    if [ "$path" != "$file" ] && [ ! -e "$path" ] && [ -x "$(dirname "$path")" ]; then continue; fi
    grep -hE "^[[:space:]]*($0)=" "$path" || [ $? -eq 1 ] || exit 2
done
"""


def ask_environment(host: str, found: ExecStart) -> Question[dict[str, str] | None]:
    """What the environment's files say; None where one cannot be read or understood."""
    used = (word.strip("${}") for word in found.words if word[:1] == "$")
    names = "|".join(["ETCD_[A-Z0-9_]+", *(name for name in used if NAME.fullmatch(name))])
    files = found.environment_files
    script = look(host, "sh", "-c", _OWN, names, *files, why="what the environment's files say", root=False)

    def read(answer: Result) -> dict[str, str] | None:
        if answer.code or any(character in path for path in files for character in "*?["):
            return None
        values = {}
        for line in answer.stdout.splitlines():
            name, _, value = (part.strip() for part in line.partition("="))
            if "\\" in value:
                return None
            if "'" in value or '"' in value:
                if value[0] != value[-1] or len(value) < 2 or value[0] not in "'\"" or value[0] in value[1:-1]:
                    return None
                value = value[1:-1]
            values[name] = value
        return values

    return Question(script, read)


def filled(found: ExecStart, files: Mapping[str, str]) -> tuple[tuple[str, ...], dict[str, str]]:
    """The words with their values in them, and the environment; what its `files` say wins."""
    values = {**dict(one.split("=", 1) for one in found.environment if "=" in one), **files}
    return tuple(part for word in found.words for part in _filled(word, values)), values


def _filled(word: str, values: Mapping[str, str]) -> list[str]:
    """`$NAME` becomes several words, as systemd has it; a name without a value stays as it is."""
    value = values.get(word.strip("${}"))
    return [word] if word[:1] != "$" or value is None else [value] if word[:2] == "${" else value.split()


def flags(words: Sequence[str]) -> dict[str, str]:
    """Flag → value, however it is spelled: -flag value, --flag value, --flag=value."""
    found = {}
    for word, after in itertools.pairwise([*words, ""]):
        if word.startswith("-"):
            name, _, value = word.lstrip("-").partition("=")
            found[name] = value or after
    return found


def _said(text: str) -> dict[str, list[str]]:
    """Each setting of a unit's files and all its values; an empty one takes back what was said before."""
    said: dict[str, list[str]] = {}
    for line in text.replace("\\\n", " ").splitlines():
        name, _, value = line.partition("=")
        said[name.strip()] = [*said.get(name.strip(), []), value.strip()] if value.strip() else []
    return said


def _kept(text: str) -> ExecStart | None:
    """What a unit's files say by themselves."""
    said = _said(text)
    starts, files = said.get("ExecStart", []), tuple(said.get("EnvironmentFile", []))
    try:
        environment = tuple(one for value in said.get("Environment", []) for one in shlex.split(value))
        words = tuple(shlex.split(starts[0].lstrip("-@:+!"))) if len(starts) == 1 else ()
    except ValueError:
        return None
    return ExecStart(words, environment, files, "", (said.get("WorkingDirectory") or [""])[-1], 0) if words else None


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
    """systemd's word on a unit. `fragment` is the unit file, "" where there is none; `invocation` another one each time
    it is started."""

    load: str
    active: str
    sub: str
    enabled: str
    fragment: str
    invocation: str = field(default="", compare=False)

    @property
    def running(self) -> bool:
        return self.active in ("active", "activating", "reloading", "deactivating")

    @property
    def installed(self) -> bool:
        return self.load in ("loaded", "masked")

    def __str__(self) -> str:
        return f"{self.load}, {self.active} ({self.sub}), {self.enabled or 'not installed'}"


_WORD = re.compile(r"[a-z0-9-]*")


def ask_unit(host: str, unit: str) -> Question[Unit]:
    def read(result: Result) -> Unit:
        values = dict(line.split("=", 1) for line in result.stdout.splitlines() if "=" in line)
        words = {
            "LoadState": "",
            "ActiveState": "inactive",
            "SubState": "dead",
            "UnitFileState": "",
            "InvocationID": "",
        }
        load, active, sub, enabled, invocation = (
            checked(host, f"{name} of {unit}", values.get(name, other), _WORD) for name, other in words.items()
        )
        fragment = values.get("FragmentPath", "")
        fragment = fragment and checked(host, f"FragmentPath of {unit}", fragment, PATH)
        return Unit(load, active, sub, enabled, fragment, invocation)

    properties = ("LoadState", "ActiveState", "SubState", "UnitFileState", "FragmentPath", "InvocationID")
    words = ("systemctl", "show", unit, *(f"--property={name}" for name in properties))
    return Question(look(host, *words, why=f"state of {unit}", root=False), read)


def mount_point(unit: str) -> str:
    """Where a mount unit mounts, by its name, as systemd escapes it: `var-lib-my\\x2ddata.mount`."""
    words = [
        re.sub(r"\\x([0-9a-f]{2})", lambda m: chr(int(m[1], 16)), w) for w in unit.removesuffix(".mount").split("-")
    ]
    return "/" + "/".join(word for word in words if word)
