"""Evidence as it happens: one JSON record a line, flushed to the disk before the next thing is done.

Each record carries the SHA-256 of the line before it (`previous`) and of itself (`seal`, over all that stands before
it in the line), so that a changed line shows. `chain` reads that back: `python -m requorum.journal verify FILE`;
`anchor` writes the head to the hosts' syslogs, so that a file rewritten as a whole shows too; `report` makes a page of
it. `summary` is what a machine reads afterwards. Secrets never get here: commands are recorded by `Command.shown()`,
and every text goes through `redact`.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import threading
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from requorum.command import REDACTED, Action, Result

# What a tool may print of a secret even where it should not. Each pattern stands behind plain words, in lower case, of
# which a text must have one: most lines of a log have none, and looking for words is a hundred times faster.
_VALUE = r"""(?:"(?:[^"\\]|\\.)*"|'[^']*'|\S+)"""
_SECRETS = (
    (("://",), re.compile(r"(\w+://[^\s/:@]+:)\S+@"), rf"\1{REDACTED}@"),
    # Not behind a slash: a file called password is named in many a path. Nor sudo's NOPASSWD: a command follows it.
    (
        ("pass", "secret"),
        re.compile(rf"(?i)(?<!/)(?<!no)((?:password|passwd|passphrase|secret)s?[\"']?\s*(?:=>|[=:])\s*){_VALUE}"),
        rf"\1{REDACTED}",
    ),
    (("password",), re.compile(rf"(?i)(--password\s+){_VALUE}"), rf"\1{REDACTED}"),
    (("password",), re.compile(r"(?i)(?<!/)(\bpassword\s+)(?=\S*\d)\S+"), rf"\1{REDACTED}"),
    # etcd logs its simple tokens; `initial-cluster-token` is none, it names a cluster.
    (
        ("token",),
        re.compile(rf"(?i)((?<![-\w])(?:simple-|auth-|access_)?token[\"']?\s*[=:]\s*)(?!simple\b|jwt\b){_VALUE}"),
        rf"\1{REDACTED}",
    ),
    (
        ("authorization", "bearer"),
        re.compile(r"(?i)((?:authorization[\"']?\s*[=:]\s*[\"']?|\bbearer\s+)(?:(?:bearer|basic)\s+)?)[^\s\"']{4,}"),
        rf"\1{REDACTED}",
    ),
    (("eyj",), re.compile(r"\beyJ[\w-]{8,}(?:\.[\w-]*){1,2}"), REDACTED),  # a JSON web token
    (("$2",), re.compile(r"\$2[abxy]?\$\d\d\$[./A-Za-z0-9]{53}"), REDACTED),  # bcrypt: what etcd keeps of a password
    (("-u", "_user"), re.compile(r"(?i)((?:--user|_USER|\s-u)[=\s]+[^\s:]+:)\S+"), rf"\1{REDACTED}"),
    (
        # A key that was cut off is one too: what follows its beginning goes.
        ("private key",),
        re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.S),
        REDACTED,
    ),
)
_KEY_BEGINS = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----")
_KEY_ENDS = re.compile(r"-----END [A-Z ]*PRIVATE KEY-----")
_KEY_LINES = 200  # a key that has no end is no longer than that


def redact(text: str) -> str:
    """`text` without anything that looks like a password, a token or a private key. The one redactor of the tree."""
    low = text.lower()
    for words, pattern, replacement in _SECRETS:
        if any(word in low for word in words):
            text = pattern.sub(replacement, text)
    return text


def redacted_lines(lines: Iterable[str]) -> Iterator[str]:
    """`redact` line by line, for what is too long to be held: a private key over several lines goes as a whole."""
    inside = 0
    for line in lines:
        if inside:
            inside = 0 if _KEY_ENDS.search(line) else inside - 1
            continue
        yield redact(line) + ("\n" if line.endswith("\n") and _KEY_BEGINS.search(line) else "")
        if _KEY_BEGINS.search(line) and not _KEY_ENDS.search(line):
            inside = _KEY_LINES


def redacted(value: object) -> object:
    """`redact` for every text in a record, before it is encoded: afterwards a quote could be taken for a secret's."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {key: redacted(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [redacted(item) for item in value]
    return value


def now() -> str:
    """The time as RFC 3339 in UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def line_of(entry: dict[str, object], previous: str) -> bytes:
    """One record as its line, with its end of line: `previous` and the seal of all that stands before it come last."""
    text = json.dumps(redacted({**entry, "previous": previous}), ensure_ascii=False)
    body = text[:-1].encode(errors="backslashreplace")
    return b'%s, "seal": "%s"}\n' % (body, hashlib.sha256(body).hexdigest().encode())


class Journal:
    """`journal.jsonl` in `directory`; safe to use from many threads."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.directory = directory
        self.path = directory / "journal.jsonl"
        self._lock = threading.Lock()
        self._head = "0" * 64
        self.name = ""  # the first 16 digits of the first line's SHA-256: what the hosts' syslogs know it by
        self.records = 0
        self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        self.commands = 0
        self.assertions = 0
        self.action_seconds = 0.0

    @classmethod
    def create(cls, parent: Path, name: str) -> Journal:
        """A journal in a directory of its own below `parent`; a second run in the same second gets another name."""
        for attempt in range(1000):
            parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            directory = parent / (f"{name}-{attempt}" if attempt else name)
            try:
                return cls(directory)
            except FileExistsError:
                continue
        raise FileExistsError(str(parent / name))

    @property
    def head(self) -> str:
        """SHA-256 of the newest line."""
        return self._head

    def record(self, kind: str, **fields: object) -> None:
        """Appends one record and waits until the disk has it."""
        with self._lock:
            line = line_of({"time": now(), "kind": kind, **fields}, self._head)
            os.write(self._file, line)
            os.fdatasync(self._file)
            self._head = hashlib.sha256(line).hexdigest()
            self.name = self.name or self._head[:16]
            self.records += 1

    def anchor(self) -> tuple[str, int, str]:
        """This journal's name, how many records it holds, and the newest one's SHA-256: three that belong together."""
        with self._lock:
            return self.name, self.records, self._head

    def _count(self, commands: int = 0, assertions: int = 0) -> None:
        with self._lock:
            self.commands += commands
            self.assertions += assertions

    def command(self, result: Result) -> None:
        self._count(commands=1)
        self.record(
            "command",
            host=result.command.host,
            argv=result.command.shown(),
            why=result.command.why,
            changes=result.command.changes,
            exit_code=result.code,
            seconds=round(result.seconds, 3),
            **({} if result.ok else {"said": result.words}),
        )

    def planned(self, plan: Sequence[Action]) -> None:
        """The whole plan before its first command: what was meant, should the run end in the middle of it."""
        if plan:
            self.record("planned", actions=[{"action": action.shown(), "why": action.why} for action in plan])

    def assertion(self, host: str, expected: str, found: str | None) -> None:
        """`found` None: as expected."""
        self._count(assertions=1)
        self.record("assertion", host=host, expected=expected, holds=found is None, found=found or "as expected")

    def summary(self, content: dict[str, object]) -> Path:
        """Writes `summary.json` in one step, so that a reader never sees half of it."""
        path = self.directory / "summary.json"
        part = path.with_suffix(".part")
        part.touch(mode=0o600)
        part.write_text(json.dumps(redacted(content), indent=2, ensure_ascii=False) + "\n")
        part.replace(path)
        return path

    def close(self) -> None:
        os.close(self._file)
