"""etcd's debug logging, on and off: the line edit of `config.yaml` and the commands around it.

The edit touches one line and keeps comments and order: off undoes on to the byte. The original is kept on the host,
and a note there says that a restart is due, so that an interrupted switch is mended by the same command.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from requorum import yaml_text
from requorum.cluster.etcd import EtcdError
from requorum.cluster.quorum import MemberFacts
from requorum.command import MOST_OF_A_LIST, SUM, Command, Result, act, look
from requorum.hosts import system, systemd
from requorum.hosts.fleet import Machine
from requorum.hosts.question import PATH, Question, checked, complete, plain
from requorum.run import facts, marker
from requorum.run.run import Run
from requorum.troubleshoot import restarts

KEY_SINCE = (3, 5)  # from here on `log-level: debug`, before `debug: true` (the guide)
_OURS = "# requorum debug_logging"
_WAS = "# requorum was: "
_LINE = re.compile(rf"^(log-level: debug|debug: true) {_OURS}\r?$")


@dataclass(frozen=True)
class Setting:
    """What turns debug logging on: a key of `config.yaml`, its value as written and as YAML reads it."""

    key: str
    written: str
    value: object

    @property
    def line(self) -> str:
        return f"{self.key}: {self.written} {_OURS}"


def setting(version: str) -> Setting:
    """By etcd's version, such as "3.5.16"."""
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    return Setting("log-level", "debug", "debug") if numbers >= KEY_SINCE else Setting("debug", "true", True)


# -- the edit ----------------------------------------------------------------------------------------------------


def switched_on(text: str, wanted: Setting, where: str) -> str:
    """`text` with debug logging on; itself where it is on already. Raises `EtcdError` naming `where` when it is no
    mapping that can be edited by one line."""
    before = _mapping(text, where)
    if before.get(wanted.key) == wanted.value:
        return text
    lines = _lines(text)
    newline = "\r\n" if "\r\n" in text else "\n"
    key = re.compile(rf"""^["']?{re.escape(wanted.key)}["']?[ \t]*:""")
    place = next((number for number, line in enumerate(lines) if key.match(line)), None)
    if place is not None:
        lines[place] = f"{wanted.line}{newline}{_WAS}{lines[place]}"
    elif text.endswith("\n"):
        lines.append(f"{wanted.line}{newline}")
    else:
        lines.append(f"{newline}{wanted.line}")
    edited = "".join(lines)
    try:
        as_wanted = yaml_text.load(edited) == {**before, wanted.key: wanted.value} and switched_off(edited) == text
    except yaml_text.YAMLError:
        as_wanted = False
    if not as_wanted:
        raise EtcdError(where, f"cannot get {wanted.key}: {wanted.written} by one line", "edit it by hand")
    return edited


def switched_off(text: str) -> str:
    """What `switched_on` was given; a text that it did not make is left as it is."""
    if not is_on(text):
        return text
    kept: list[str] = []
    for line in _lines(text):
        if not _LINE.match(line.rstrip("\n")):
            kept.append(line.removeprefix(_WAS))
        elif not line.endswith("\n"):  # the last line, which got its newline before it
            joined = "".join(kept)
            cut = 2 if "\r\n" in joined[:-2] and joined.endswith("\r\n") else 1
            return joined[:-cut]
    return "".join(kept)


def is_on(text: str) -> bool:
    """Whether the line is there that `switched_on` wrote."""
    return any(_LINE.match(line.rstrip("\n")) for line in _lines(text))


def _lines(text: str) -> list[str]:
    """With their ends; only a newline ends one, whatever else Unicode calls a line break."""
    return re.findall(r"[^\n]*\n|[^\n]+", text)


def _mapping(text: str, where: str) -> dict[str, object]:
    try:
        data = yaml_text.load(text)
    except yaml_text.YAMLError as error:
        raise EtcdError(where, f"is not YAML: {' '.join(str(error).split())}", "restore it") from None
    if not isinstance(data, dict):
        raise EtcdError(where, "holds no etcd configuration", "restore it")
    return data


# -- on the host -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Config:
    """A member's configuration as it lies there. `path` with links resolved, `content` to the byte, `kept` the SHA-256
    of the original that is kept ("" for none), `due`: a restart is due since the content was changed."""

    host: str
    path: str
    content: bytes
    kept: str
    due: bool
    version: str

    @property
    def where(self) -> str:
        return f"{self.host}:{self.path}"

    @property
    def text(self) -> str:
        """Raises `EtcdError` where it is not UTF-8, as YAML has to be."""
        try:
            return self.content.decode()
        except UnicodeDecodeError:
            raise EtcdError(self.where, "is not UTF-8", "restore it") from None


def place(cluster: str) -> str:
    return f"{marker.directory(cluster)}/debug_logging"


def kept_at(cluster: str, path: str) -> str:
    """Where the original of a configuration is kept on its host."""
    return f"{place(cluster)}/{path.strip('/').replace('/', '_')}"


def ask_content(host: str, path: str) -> Question[bytes]:
    """A file to the byte. Raises `EtcdError` for one that cannot be read."""

    def read(result: Result) -> bytes:
        if result.code:
            raise EtcdError(f"{host}:{path}", f"cannot be read: {result.words}", "restore it")
        return base64.b64decode(result.stdout, validate=True)

    return Question(look(host, "base64", "-w0", path, why="the configuration, to the byte"), read)


def ask_real(host: str, path: str) -> Question[str]:
    command = look(host, "readlink", "-f", path, why="where the configuration lies", root=True)
    return Question(command, lambda result: checked(host, "configuration's path", result.stdout.rstrip("\n"), PATH))


_VERSION = re.compile(r"[0-9]{1,3}(\.[0-9]{1,5}){1,2}[0-9A-Za-z.+~-]{0,40}")


def ask_version(host: str, program: str) -> Question[str]:
    """Of etcd. Raises `EtcdError` where the program says none."""

    def read(result: Result) -> str:
        found = re.search(r"etcd Version: (\S+)", result.stdout)
        if not found:
            raise EtcdError(host, f"{program} says no version of etcd", "look: systemctl cat the unit")
        return checked(host, "version of etcd", found[1], _VERSION)

    return Question(look(host, program, "--version", why="version of etcd", root=False), read)


def ask_kept(host: str, kept: str) -> Question[str]:
    """The SHA-256 of the original that is kept; "" for none."""

    def read(result: Result) -> str:
        said = complete(result)
        return "" if said.code else checked(host, "SHA-256", facts.digest(said.stdout), _SHA256)

    return Question(look(host, "sh", "-c", SUM, kept, why="the original that is kept"), read)


_SHA256 = re.compile(r"[0-9a-f]{64}")


def wanted_text(config: Config, off: bool) -> str:
    """The text that the configuration must get. Raises `EtcdError` where that cannot be."""
    if not off:
        return switched_on(config.text, setting(config.version), config.where)
    text = switched_off(config.text)
    if is_on(config.text) and config.kept != digest(text.encode()):
        raise EtcdError(
            config.where,
            "was changed by somebody else while debug logging was on",
            "take the lines with the word requorum out of it by hand, then restart etcd there; the original is kept "
            "below debug_logging in the cluster's directory in /var/lib/requorum",
        )
    return text


def switch(cluster: str, unit: str, config: Config, off: bool, running: bool) -> list[Command]:
    """Keeps the original, notes that a restart is due, edits by one rename, restarts. Nothing where that is done."""
    text, host, path = wanted_text(config, off), config.host, config.path
    changes = text.encode() != config.content
    if not changes and not config.due:
        return []
    kept, part = kept_at(cluster, path), f"{path}.requorum"
    plan = [
        act(
            host,
            "install",
            "-d",
            "-m",
            "700",
            marker.BASE,
            marker.directory(cluster),
            place(cluster),
            why="where originals are kept",
        )
    ]
    if changes and not off and config.kept != digest(config.content):
        plan += [
            act(host, "cp", "-a", path, f"{kept}.part", why="keep the original"),
            act(host, "mv", "--backup=numbered", "-T", f"{kept}.part", kept, why="it gets its name when it is whole"),
        ]
    if changes:
        plan += [
            act(host, "install", "-m", "600", "/dev/null", f"{kept}.due", why="note that a restart is due"),
            act(host, "cp", "-a", path, part, why="a copy to edit, with owner and mode"),
            Command(
                host,
                ("dd", f"of={part}", "conv=fsync", "status=none"),
                f"debug logging {'off' if off else 'on'} in the copy",
                stdin=text.encode(),
            ),
            act(host, "mv", "-fT", part, path, why="the edited configuration takes effect with the next start"),
        ]
    if running:
        plan.append(act(host, "systemctl", "restart", "--no-block", unit, why=f"restart {unit}"))
    return plan


def settle(cluster: str, config: Config) -> list[Command]:
    """The restart is not due any more."""
    return [act(config.host, "rm", "-f", f"{kept_at(cluster, config.path)}.due", why="the restart is done")]


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


# -- what the journal says ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Said:
    """What a unit said since its start: how many lines, and etcd's debug messages among them."""

    lines: int
    debug: tuple[str, ...]


LINES = 2000  # that are asked for, and read


def ask_journal(host: str, invocation: str) -> Question[Said]:
    """The unit's lines of one start, newest last; root may read them all."""
    words = ("journalctl", "--no-pager", "-o", "json", "--output-fields=MESSAGE,PRIORITY", "-n", f"{LINES}")
    since = f"_SYSTEMD_INVOCATION_ID={invocation}"
    return Question(
        look(host, *words, since, why="what etcd logs since it was started", most=MOST_OF_A_LIST), _read_journal
    )


def _read_journal(result: Result) -> Said:
    """Debug messages are told by their own JSON from 3.5, by priority or letter before."""
    lines, found = result.stdout.splitlines()[-LINES:], []
    for line in lines:
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if not isinstance(entry, dict):
            continue
        message = str(entry.get("MESSAGE", ""))
        spoken = re.match(r"\S+ \S+ D \| |.*\"level\":\s*\"debug\"", message)
        if spoken or entry.get("PRIORITY") == "7":
            found.append(plain(message))
    return Said(len(lines), tuple(found))


LINES_SECONDS = 20  # a member that has just started says something at once, a lonely one with its next election


def configurations(run: Run, hosts: Sequence[str]) -> dict[str, Config]:
    """Each host's configuration to the byte. Raises `EtcdError` for one that cannot be read or has no version."""
    settings = run.inventory.etcd
    starts = run.ask({host: systemd.ask_exec(host, settings.unit) for host in hosts})
    paths = run.ask({host: ask_real(host, settings.config) for host in hosts})
    contents = run.ask({host: ask_content(host, settings.config) for host in hosts})
    versions = run.ask({host: ask_version(host, starts[host].words[0]) for host in hosts})
    places = {host: kept_at(run.inventory.cluster, path) for host, path in paths.items()}
    kept = run.ask({host: ask_kept(host, place) for host, place in places.items()})
    due = run.ask({host: system.ask_files(host, f"{place}.due") for host, place in places.items()})
    return {h: Config(h, paths[h], contents[h], kept[h], bool(due[h]), versions[h]) for h in hosts}


def the_journal_shows_it(run: Run, sheets: Sequence[MemberFacts], off: bool) -> None:
    """Debug lines since the member's start, or none; a member that is left stopped has nothing to say."""

    unit = run.inventory.etcd.unit

    def probe(machine: Machine) -> str | None:
        start = machine.ask(restarts.ask_invocation(machine.name, unit))
        said = machine.ask(ask_journal(machine.name, start.invocation))
        if off:
            return f"{len(said.debug)} debug lines, the last: {said.debug[-1][:120]}" if said.debug else None
        return None if said.debug else f"none in {said.lines} lines; log-outputs may lead elsewhere"

    run.prove(
        [sheet.member.host for sheet in sheets if sheet.unit and sheet.unit.running],
        "no debug line of etcd in the journal since its start" if off else "debug lines of etcd are in the journal",
        probe,
        "look at the member's journal and its configuration",
        within=0 if off else LINES_SECONDS,
    )


def the_configuration_is_right(run: Run, hosts: Sequence[str], off: bool) -> None:
    """On: one line away from the original that is kept. Off: byte for byte the original, where one is kept."""
    findings: dict[str, str | Exception | None] = {}
    for host, config in configurations(run, hosts).items():
        as_it_was = switched_off(config.text).encode()
        switched = is_on(config.text)
        if wanted_text(config, off) != config.text:
            findings[host] = f"debug logging is {'on' if switched else 'off'} in {config.path}"
        elif switched and config.kept != digest(as_it_was):
            findings[host] = f"{config.path} without its debug line is not the original that is kept"
        else:
            findings[host] = None
            run.note(f"{host}: {config.path}, SHA-256 {digest(config.content)}")
    run.settle(
        "the configuration is as it was, to the byte" if off else "one line of the configuration differs from before",
        findings,
        f"the original is kept in {place(run.inventory.cluster)} on the member",
    )
