"""What a fleet tells of its work while it is at it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


class Watch:
    """Shows nothing: a run without a terminal."""

    def begin(self, text: str) -> None:
        """A stage has begun."""

    def on(self, hosts: Iterable[str]) -> None:
        """It is at work on these hosts."""

    def waiting(self, hosts: Sequence[str], out_of: int) -> None:
        """These hosts, of so many that were asked together, have not answered yet."""

    def copying(self, what: str, size: int | None) -> None:
        """A copy has begun; `size` in bytes where it is known."""

    def copied(self, size: int) -> None:
        """So many bytes of it have gone."""

    def end(self) -> None:
        """The stage is over, or the terminal is needed for a question."""
