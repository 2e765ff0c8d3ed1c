"""Evidence as it happens: one JSON record a line, flushed to the disk before the next thing is done.

Each record carries the SHA-256 of the line before it, so that a changed line shows. `summary` is what a
machine reads afterwards. Secrets never get here: commands are recorded by `Command.shown()`, and every text
goes through `redact`.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from requorum.command import REDACTED, Action, Result

# What a tool may print of a secret even where it should not: URLs with a login, password=…, private keys.
_SECRETS = (
    (re.compile(r"(\w+://[^\s/:@]+:)[^\s/@]+@"), rf"\1{REDACTED}@"),
    (re.compile(r"(?i)\b(password|passwd|secret)(\s*[=:]\s*)\S+"), rf"\1\2{REDACTED}"),
    (
        re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----", re.S),
        REDACTED,
    ),
)


def redact(text: str) -> str:
    """`text` without anything that looks like a password or a private key. The one redactor of the tree."""
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return text


def _redacted(value: object) -> object:
    """`redact` for every text in a record, before it is encoded: afterwards a quote could be taken for a secret's."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {key: _redacted(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_redacted(item) for item in value]
    return value


def now() -> str:
    """The time as RFC 3339 in UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Journal:
    """`journal.jsonl` in `directory`; safe to use from many threads."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.directory = directory
        self.path = directory / "journal.jsonl"
        self._lock = threading.Lock()
        self._head = "0" * 64
        self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        self.commands = 0
        self.assertions = 0
        self.action_seconds = 0.0

    @classmethod
    def create(cls, parent: Path, name: str) -> Journal:
        """A journal in a directory of its own below `parent`; a second run in the same second gets another name."""
        for attempt in range(1000):
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
            entry = {"time": now(), "kind": kind, **fields, "previous": self._head}
            line = json.dumps(_redacted(entry), ensure_ascii=False) + "\n"
            data = line.encode()
            os.write(self._file, data)
            os.fdatasync(self._file)
            self._head = hashlib.sha256(data).hexdigest()

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
        part.write_text(json.dumps(_redacted(content), indent=2, ensure_ascii=False) + "\n")
        part.replace(path)
        return path

    def close(self) -> None:
        os.close(self._file)
