"""The drawing of a run: a row for each host, a bar for each command where it ran and as long as it took.

Pure geometry, in units of the drawing (`WIDTH` wide); the template turns it into SVG. Narrow bars are widened to
`THINNEST` so that a command of a millisecond is still seen.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

WIDTH = 1160.0
GUTTER = 104.0  # host names stand left of it
RIGHT = 14.0
TOP = 66.0
ROW = 34.0
THINNEST = 1.6
_NICE = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 86400)
_PLACE = re.compile(r"(?:^copy |to |, )([^\s:,]+):/")


@dataclass(frozen=True)
class Bar:
    """`kind` is look, act, copy or fail. `y` and `height` within the drawing."""

    x: float
    y: float
    width: float
    height: float
    kind: str
    words: str


@dataclass(frozen=True)
class Dot:
    x: float
    y: float
    holds: bool
    words: str


@dataclass(frozen=True)
class Row:
    host: str
    y: float
    bars: tuple[Bar, ...]
    dots: tuple[Dot, ...]


@dataclass(frozen=True)
class Band:
    """A step's stretch of time. `label` is shortened to what fits, and empty where nothing does."""

    x: float
    width: float
    label: str
    words: str


@dataclass(frozen=True)
class Tick:
    x: float
    label: str


@dataclass(frozen=True)
class Drawing:
    width: float
    height: float
    left: float
    right: float
    rows: tuple[Row, ...]
    bands: tuple[Band, ...]
    stages: tuple[Bar, ...]
    ticks: tuple[Tick, ...]
    began: str
    ended: str


@dataclass(frozen=True)
class Stretch:
    """A step or stage: from and to in seconds after the start; `kind` as of a `Bar`."""

    start: float
    end: float
    short: str
    words: str
    kind: str = ""


def instant(text: object) -> datetime | None:
    """A record's time; None when it has none that can be read."""
    try:
        found = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


MOST_SECONDS = 1e8  # three years: more is no time that a stage took


def lasted(value: object) -> float:
    """Seconds of a record; 0 for what is none."""
    return float(value) if type(value) in (int, float) and 0 <= value <= MOST_SECONDS else 0.0  # type: ignore[operator, arg-type]


def hosts_of(record: dict[str, Any]) -> list[str]:
    """The hosts of a command or of a copy; the operator's machine is none."""
    if record.get("kind") == "copy":
        return list(dict.fromkeys(_PLACE.findall(str(record.get("action", "")))))
    return [str(record["host"])] if record.get("host") else []


def _natural(name: str) -> list[tuple[int, str]]:
    """etcd-2 before etcd-10."""
    parts = re.split(r"([0-9]+)", name)  # and numbers that are no longer than any host's
    return [(int(part), "") if n % 2 and len(part) < 20 else (-1, part) for n, part in enumerate(parts)]


def _kind(record: dict[str, Any]) -> str:
    if "said" in record:
        return "fail"
    if record["kind"] == "copy":
        return "copy"
    return "act" if record.get("changes") else "look"


def draw(
    records: Sequence[dict[str, Any]], steps: Iterable[Stretch], stages: Iterable[Stretch], seconds: float
) -> Drawing:
    """`seconds` is the length of the run; every time is counted from the first record."""
    start = next((time for record in records if (time := instant(record.get("time")))), datetime.now(UTC))
    seconds = max(seconds, 0.001)
    scale = (WIDTH - GUTTER - RIGHT) / seconds

    def at(moment: float) -> float:
        return round(GUTTER + min(max(moment, 0.0), seconds) * scale, 2)

    def since(record: dict[str, Any]) -> float:
        time = instant(record.get("time"))
        return (time - start).total_seconds() if time else 0.0

    bars: dict[str, list[Bar]] = {}
    dots: dict[str, list[Dot]] = {}
    work = [record for record in records if record.get("kind") in ("command", "copy")]
    proofs = [record for record in records if record.get("kind") == "assertion" and record.get("host")]
    names = {host for record in work for host in hosts_of(record)} | {str(record["host"]) for record in proofs}
    places = {host: TOP + ROW * number for number, host in enumerate(sorted(names, key=_natural))}
    for record in work:
        end, took, kind = since(record), lasted(record.get("seconds")), _kind(record)
        height = 9.0 if kind == "look" else 16.0
        words = f"+{max(end - took, 0):.2f} s, {took:.3f} s: {record.get('why', '')}"
        for host in hosts_of(record):
            x = at(end - took)
            width = max(at(end) - x, THINNEST)
            bars.setdefault(host, []).append(
                Bar(x, round(places[host] + 12 - height / 2, 2), round(width, 2), height, kind, words)
            )
    for record in proofs:
        host, holds = str(record["host"]), bool(record.get("holds"))
        words = f"{'proven' if holds else 'disproved'}: {record.get('expected', '')}"
        dots.setdefault(host, []).append(Dot(at(since(record)), places[host] + 26, holds, words))
    return Drawing(
        width=WIDTH,
        height=TOP + ROW * len(places) + 30,
        left=GUTTER,
        right=WIDTH - RIGHT,
        rows=tuple(Row(h, y, tuple(bars.get(h, ())), tuple(dots.get(h, ()))) for h, y in places.items()),
        bands=tuple(_band(s, at) for s in steps),
        stages=tuple(_stage(s, at) for s in stages),
        ticks=tuple(Tick(at(moment), label) for moment, label in _ticks(seconds)),
        began=start.strftime("%H:%M:%S"),
        ended=(max((t for r in records if (t := instant(r.get("time")))), default=start)).strftime("%H:%M:%S"),
    )


def _band(step: Stretch, at: Callable[[float], float]) -> Band:
    x, width = at(step.start), at(step.end) - at(step.start)
    room = int((width - 8) / 7)  # characters of the label's size
    label = step.words if len(step.words) <= room else step.short if len(step.short) <= room else ""
    return Band(x, round(width, 2), label, step.words)


def _stage(stage: Stretch, at: Callable[[float], float]) -> Bar:
    width = max(at(stage.end) - at(stage.start) - 0.6, THINNEST)
    return Bar(at(stage.start), 40, round(width, 2), 8, stage.kind, stage.words)


def _ticks(seconds: float) -> list[tuple[float, str]]:
    """At most a dozen, at round moments."""
    apart = next((step for step in _NICE if seconds / step <= 12), _NICE[-1])
    moments = [number * apart for number in range(int(seconds / apart) + 1)]
    return [(moment, clock(moment)) for moment in moments]


def clock(seconds: float) -> str:
    """0.5 s, 12 s, 3 min, 3 min 05 s, 1 h 02 min."""
    if seconds < 60:
        return f"{seconds:g} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min" + (f" {rest:02} s" if rest else "")
    return f"{minutes // 60} h {minutes % 60:02} min"
