"""One thing that is wrong, and what every finder of causes needs. The finders are in `roots` and `causes`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from requorum.diagnosis.sheet import EtcdSheet, Sheet


@dataclass(frozen=True)
class Cause:
    """`evidence`: host, or what else it was seen on → what was found. `next` is what to do, `command` to paste."""

    rank: int
    name: str
    what: str
    evidence: Mapping[str, str]
    next: str
    command: str = ""

    def row(self) -> dict[str, object]:
        """As `summary.json` has it."""
        return {
            "name": self.name,
            "what": self.what,
            "evidence": dict(self.evidence),
            "next": self.next,
            "command": self.command,
        }

    def lines(self, number: int) -> list[str]:
        """As the operator reads it."""
        found = [f"   {where}: {text}" for where, text in self.evidence.items()]
        return [
            f"{number}. {self.what}",
            *found,
            f"   → {self.next}",
            *([f"     {self.command}"] if self.command else []),
        ]


def pytest_line(sheet: Sheet, procedure: str = "") -> str:
    return f"pytest runbook{f'/{procedure}' if procedure else ''} --hosts={sheet.name}"


def each(sheets: Mapping[str, EtcdSheet], find: Callable[[EtcdSheet], str | None]) -> dict[str, str]:
    return {host: text for host, on in sheets.items() if (text := find(on))}


def listed(items: Iterable[str]) -> str:
    return ", ".join(items)


# -- what is there by intent, or by an unfinished one ------------------------------------------------------------


def refused(said: str) -> bool:
    """Whether etcd's words to a login are that its password is wrong."""
    return "authentication failed" in said or "invalid user ID or password" in said
