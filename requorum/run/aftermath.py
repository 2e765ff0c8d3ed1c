"""What hosts will hold once a plan was run: their files and units, as far as its commands touch them. Pure.

Commands are known by their names: what they make, move, copy and remove, which units they stop and start. One of an
unknown kind is taken to change whatever path it names, and says in `Command.makes` what its argv does not. `forecast`
answers questions from this.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from requorum.cluster import sandbox
from requorum.command import Action, Command, Copy
from requorum.hosts import kept
from requorum.run.marker import BASE, PROGRAMS, RUN


@dataclass(frozen=True)
class Thing:
    """What will lie at a path. `kind`: "real", what lies at `source` on the host now; "archive", what is `inside` the
    real archive `source`; "made", nobody knows its content; "bytes", `content`; "dir", new and empty; "absent", taken
    away; "new", not there before this run, which alone will know its name."""

    kind: str
    source: str = ""
    inside: str = ""
    content: bytes = b""
    digest: str = ""

    @property
    def lacking(self) -> bool:
        return self.kind in ("absent", "new")

    def below(self, rest: str) -> Thing:
        if not rest or self.kind == "made":
            return self
        if self.kind == "real":
            return Thing("real", self.source + rest)
        return replace(self, inside=self.inside + rest) if self.kind == "archive" else ABSENT


ABSENT, EMPTY, MADE = Thing("absent"), Thing("dir"), Thing("made")


class Aftermath:
    """`note` what is planned, then ask what will lie `at` a path, or what will be changed of a unit."""

    def __init__(self) -> None:
        self._things: dict[tuple[str, str], Thing] = {}
        self._units: dict[tuple[str, str], dict[str, str]] = {}

    def note(self, action: Action) -> None:
        if isinstance(action, Copy):
            source = self.at(action.source_host, action.source) if action.source_host else MADE
            known = action.sha256 or digest(source, action.source)
            for host, path in action.targets:
                self._put(host, path, replace(MADE, digest=known))
        elif isinstance(action, Command) and action.changes:
            self._run(action)
            for path in action.makes:
                self._put(action.host, path, MADE)
                self._unit(action.host, path, LoadState="loaded", FragmentPath=path)

    # -- what will be there ----------------------------------------------------------------------------------

    def at(self, host: str, path: str) -> Thing:
        """What will lie at a path. One with a placeholder in it is not there before it is made."""
        path = path.rstrip("/")
        place = path
        while place:
            thing = self._things.get((host, place))
            if thing is not None:
                return thing.below(path[len(place) :])
            place = place.rpartition("/")[0]
        return Thing("new" if "‹" in path else "real", path)

    def disturbed(self, host: str, path: str) -> bool:
        """Whether something below a directory will be another. What is ours is not counted: nobody asks for all of it
        but to find what earlier runs have left."""
        below = (p for h, p in self._things if h == host and p.startswith(f"{path.rstrip('/')}/"))
        return not all(map(_is_ours, below))

    def unit(self, host: str, unit: str) -> dict[str, str]:
        """The properties that a plan changes, by systemd's names."""
        return self._units.get((host, unit), {})

    # -- what commands do ------------------------------------------------------------------------------------

    def _run(self, command: Command) -> None:
        """The effect of one command, by its name. One of an unknown kind is taken to change what it names."""
        name, *words = program(command.argv)
        host, paths = command.host, [word for word in words if is_path(word)]
        if self._keep(command, [name, *words]):
            return
        options = dict(word.split("=", 1) for word in words if word.startswith("-") and "=" in word)
        pair = len(paths) == 2
        if name == "mv" and pair:
            self._copy(host, *paths)
            self._remove(host, paths[0])
            self._unit(host, paths[0], LoadState="not-found", UnitFileState="", FragmentPath="")
            self._unit(host, paths[1], LoadState="loaded", FragmentPath=paths[1])
        elif name == "cp" and "-t" in words:  # into a directory, nobody knows with which content
            for path in paths[1:]:
                self._put(host, f"{paths[0]}/{posixpath.basename(path)}", MADE)
        elif name in ("cp", "install") and pair and "-d" not in words:
            self._copy(host, *paths)
        elif name == "mkdir" or (name == "install" and "-d" in words):
            self._make(host, paths)
        elif name == "flock":  # of the directory: one in it goes
            self._remove(host, paths[-1])
        elif name == "rm":
            for path in paths:
                self._remove(host, path)
        elif name == "ln" and "-sT" in words:
            self._put(host, words[-1], Thing("bytes", content=words[-2].encode()))
        elif name == "dd":
            path = next(word.removeprefix("of=") for word in words if word.startswith("of="))
            self._put(host, path, Thing("bytes", content=command.stdin or b""))
        elif name == "tar" and ("-C" in words or "--extract" in words) and not words[0].startswith("-c"):
            archive, directory = (options["--file"], options["--directory"]) if "--extract" in words else paths
            packed = self.at(host, archive)
            self._put(host, directory, replace(packed, kind="archive") if packed.kind == "real" else MADE)
        elif name == "tar":
            self._put(host, options.get("--file") or paths[0], MADE)
        elif name == "systemctl":
            self._systemctl(host, words)
        elif "--data-dir" in options:
            self._put(host, options["--data-dir"], MADE)
        elif name == "sh" and posixpath.basename(words[0]) == sandbox.ON_HOSTS:
            self._put(host, f"{posixpath.dirname(words[0])}/salvage.snap", MADE)
        elif name == "find" and "cp" in words and self.at(host, paths[0]).kind != "real":
            self._put(host, paths[0], MADE)
        elif name not in ("chown", "chmod", "chcon", "restorecon", "find", "rmdir") and not command.makes:
            for path in paths:
                self._put(host, path, MADE)

    def _keep(self, command: Command, argv: Sequence[str]) -> bool:
        """The effect of one of `kept`'s; whether it is one."""
        host, place, content = command.host, kept.place_of(argv), command.stdin
        written = kept.targets(argv)
        if written:
            self._make(host, kept.places(argv))
            for path, line in zip(written, (content or b"").splitlines(keepends=True), strict=True):
                self._put(host, path, Thing("bytes", content=line))
        if place:
            self._make(host, [place])
            for path, copy in kept.copied(argv).items():
                self._copy(host, path, copy)
            if content is not None:
                self._put(host, f"{place}/{kept.RECORD}", Thing("bytes", content=content))
        return bool(written or place)

    def _systemctl(self, host: str, words: Sequence[str]) -> None:
        verb, unit = words[0], words[-1]
        if verb == "stop":
            self._unit(host, unit, ActiveState="inactive", SubState="dead")
        if verb == "disable":
            self._unit(host, unit, UnitFileState="disabled")
        if verb == "enable":
            self._unit(host, unit, UnitFileState="enabled")
        if verb == "start" or "--now" in words:
            self._unit(host, unit, ActiveState="active", SubState="running")

    def _unit(self, host: str, path: str, **properties: str) -> None:
        if path.endswith((".service", ".timer", ".socket")):
            self._units.setdefault((host, posixpath.basename(path)), {}).update(properties)

    def _make(self, host: str, directories: Sequence[str]) -> None:
        for path in directories:
            if self.at(host, path).lacking:
                self._put(host, path, EMPTY)

    def _put(self, host: str, path: str, thing: Thing) -> None:
        path = path.rstrip("/")
        for place in [p for p in self._things if p[0] == host and p[1].startswith(f"{path}/")]:
            del self._things[place]
        self._things[host, path] = thing

    def _remove(self, host: str, path: str) -> None:
        self._put(host, path, ABSENT)

    def _copy(self, host: str, source: str, target: str) -> None:
        """With all that is known to lie below. What nobody knows to be there is somebody else's making."""
        thing = self.at(host, source)
        below = {p[len(source) :]: t for (h, p), t in self._things.items() if h == host and p.startswith(f"{source}/")}
        self._put(host, target, MADE if thing.lacking else thing)
        for rest, one in below.items():
            self._put(host, target + rest, one)


_NAMED = re.compile("^(of|--file|--directory)=")  # of dd and tar


def is_own(action: Action) -> bool:
    """Whether it changes nothing but what is ours: files below our own directories, units of our own name."""
    if isinstance(action, Copy):
        return all(_is_ours(path) for _, path in action.targets)
    if not isinstance(action, Command) or not action.changes:
        return True
    name, *words = program(action.argv)
    paths = [path for word in words if is_path(path := _NAMED.sub("", word))]
    copies = name == "cp" or (name == "install" and "-d" not in words)
    if copies:  # what is copied stays as it is
        paths = paths[:1] if "-t" in words else paths[-1:]
    if name == "systemctl":
        return words[-1].startswith("requorum")
    if kept.place_of([name, *words]):
        paths = paths[:2]
    if name.startswith(f"{PROGRAMS}/"):
        return True
    return bool(paths) and all(map(_is_ours, paths))


_BESIDE_THE_DATA = re.compile(rf"/requorum-({RUN.pattern}|‹run›)([.]scratch)?/")


def _is_ours(path: str) -> bool:
    return f"{path}/".startswith(f"{BASE}/") or bool(_BESIDE_THE_DATA.search(f"{path}/"))


def digest(thing: Thing, path: str) -> str:
    """Its SHA-256, or the placeholder of one that nobody knows yet."""
    return thing.digest or f"‹SHA-256-of-{posixpath.basename(path).removesuffix('.part')}›"


def program(argv: Sequence[str]) -> list[str]:
    """What is run in the end, without what it is wrapped into: a transient unit, an environment."""
    words = list(argv)
    while words[0] in ("systemd-run", "env"):
        wrapper = words.pop(0)
        while words[0].startswith("--") if wrapper == "systemd-run" else "=" in words[0]:
            words.pop(0)
    return words


def is_path(word: str) -> bool:
    return word.startswith("/") or bool(re.match(r"‹data-directory[^›]*›", word))
