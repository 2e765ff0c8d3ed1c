"""Evidence as it happens: one JSON record a line, flushed to the disk before the next trip or other thing is begun.

Each record carries the SHA-256 of the line before it (`previous`) and of itself (`seal`, over all that stands before
it in the line), so that a changed line shows. `audit` reads that back: `python -m requorum.journal verify FILE`;
`syslog` writes the head to the hosts' syslogs, so that a file rewritten as a whole shows too; `report` makes a page of
it. `summary` is what a machine reads afterwards. Secrets never get here: commands are recorded by `Command.shown()`,
and every text goes through `redact`.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from requorum.command import Action, Result
from requorum.evidence.redaction import redacted
from requorum.refusal import Refusal


def now() -> str:
    """The time as RFC 3339 in UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def line_of(entry: dict[str, object], previous: str) -> bytes:
    """One record as its line, with its end of line: `previous` and the seal of all that stands before it come last."""
    text = json.dumps(redacted({**entry, "previous": previous}), ensure_ascii=False)
    body = text[:-1].encode(errors="backslashreplace")
    return b'%s, "seal": "%s"}\n' % (body, hashlib.sha256(body).hexdigest().encode())


class EvidenceError(Refusal):
    """This machine cannot keep evidence: a run does nothing more than end."""


class Journal:
    """`journal.jsonl` in `directory`; safe to use from many threads."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.directory = directory
        self.path = directory / "journal.jsonl"
        self._lock = threading.Lock()
        self._flushing = threading.Lock()
        self._head = "0" * 64
        self._flushed = (0, self._head)  # so many records are on the disk, and the newest one's SHA-256
        self._lacking = ""  # why a record could not be written: none is after it, so that no gap is hidden
        self.ending = False  # what a run does at its end, it does without evidence too
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
        """Appends one record and waits until the disk has it. Raises `EvidenceError` where it does not get there."""
        self._write(kind, fields)
        self.prove_kept()

    def _write(self, kind: str, fields: dict[str, object]) -> None:
        """Appends one record, unless one before it is lacking."""
        with self._lock:
            if not self._lacking:
                line = line_of({"time": now(), "kind": kind, **fields}, self._head)
                self._lacking = self._append(line)
            if not self._lacking:
                self._head = hashlib.sha256(line).hexdigest()
                self.name = self.name or self._head[:16]
                self.records += 1

    def _append(self, line: bytes) -> str:
        """The whole line or nothing of it. What went wrong."""
        before = os.fstat(self._file)
        if not before.st_nlink:
            return "somebody removed it"
        try:
            left = line
            while left:
                left = left[os.write(self._file, left) :]
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, before.st_size)
            return os.strerror(error.errno or errno.EIO)
        return ""

    def prove_kept(self) -> None:
        """Waits until the disk has every record. Raises `EvidenceError` when one is lacking, until the run ends."""
        self._flush(self.records)
        if self._lacking and not self.ending:
            raise self._refused(self._lacking)

    def _flush(self, wanted: int) -> None:
        """One flush for all who wait: what others appended meanwhile is on the disk with it."""
        with self._flushing:
            if self._flushed[0] >= wanted or self._lacking:
                return
            with self._lock:
                reached = self.records, self._head
            try:
                os.fdatasync(self._file)
                self._flushed = reached
            except OSError as error:
                with self._lock:
                    self._lacking = os.strerror(error.errno or errno.EIO)

    def _refused(self, why: str) -> EvidenceError:
        return EvidenceError(
            "this machine",
            f"evidence cannot be written to {self.directory.absolute()}: {why}",
            "make room there, or add --evidence=DIR, a directory on another disk",
        )

    def anchor(self) -> tuple[str, int, str]:
        """This journal's name, how many of its records the disk has, and the newest one's SHA-256: three that belong
        together, whatever other threads append meanwhile."""
        self._flush(self.records)
        return self.name, *self._flushed

    def _count(self, commands: int = 0, assertions: int = 0) -> None:
        with self._lock:
            self.commands += commands
            self.assertions += assertions

    def command(self, result: Result) -> None:
        """Neither raises nor waits, so that what runs on a host is waited for: whoever starts anything, and whoever has
        ended a trip, asks `prove_kept`."""
        self._count(commands=1)
        fields: dict[str, object] = {
            "host": result.command.host,
            "argv": result.command.shown(),
            "why": result.command.why,
            "changes": result.command.changes,
            "exit_code": result.code,
            "seconds": round(result.seconds, 3),
        }
        fields |= {"lane": result.command.lane} if result.command.lane else {}
        self._write("command", fields if result.ok else {**fields, "said": result.words})

    def planned(self, plan: Sequence[Action]) -> None:
        """The whole plan before its first command: what was meant, should the run end in the middle of it."""
        if plan:
            self.record("planned", actions=[{"action": action.shown(), "why": action.why} for action in plan])

    def assertion(self, host: str, expected: str, found: str | None) -> None:
        """`found` None: as expected."""
        self._count(assertions=1)
        self.record("assertion", host=host, expected=expected, holds=found is None, found=found or "as expected")

    def summary(self, content: dict[str, object]) -> Path:
        """Writes `summary.json`; a reader never sees half of it."""
        return self.keep("summary.json", json.dumps(redacted(content), indent=2, ensure_ascii=False))

    def keep(self, name: str, text: str) -> Path:
        """Writes a file beside the journal, with an end of line, in one step."""
        path = self.directory / name
        part = path.with_suffix(".part")
        try:
            part.touch(mode=0o600)
            part.write_text(f"{text}\n", encoding="utf-8")
            part.replace(path)
        except OSError as error:
            raise self._refused(os.strerror(error.errno or errno.EIO)) from None
        return path

    def close(self) -> None:
        self._flush(self.records)
        os.close(self._file)
