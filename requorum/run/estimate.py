"""How long a recovery will take, by what was measured before; what never was is unknown. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from requorum.run.measured import Measured, Part, Past, Rate

LONG = 300  # seconds of copying from which another place to run it from is better
BESIDE = "run this from a machine beside the hosts"


@dataclass(frozen=True)
class Estimate:
    """`seconds` None: unknown. `carrying`: of them, or at least, how many go by on the line. `by`: whose evidence."""

    seconds: float | None
    carrying: float | None
    told: str
    by: str | None = None

    def fields(self) -> dict[str, object]:
        """Of `summary.json`."""
        return {"seconds": None if self.seconds is None else round(self.seconds, 1), "told": self.told, "by": self.by}


def whole(size: int, members: int, seen: Measured) -> Estimate:
    """Of a recovery that restores `size` bytes on so many members; nobody's thinking at the prompt is in it."""
    if size <= 0:
        return Estimate(None, None, "unknown: nobody knows yet how much is to be restored")
    if seen.past is None:
        return _at_least(size, members, seen)
    seconds, carrying = _grown((seen.past.before, seen.past.after), size, seen.past, seen.rate)
    told = f"about {spelled(seconds)}, by the recovery of {_of(seen.past.evidence)}{_beside(carrying)}"
    return Estimate(seconds, carrying, told, seen.past.evidence)


def rest(size: int, so_far: float, seen: Measured) -> Estimate:
    """From the commit prompt on."""
    if seen.past is None or size <= 0:
        told = f"unknown: no recovery was finished from this machine; {spelled(so_far)} so far"
        return Estimate(None, None, told)
    seconds, carrying = _grown((seen.past.after,), size, seen.past, seen.rate)
    told = f"about {spelled(seconds)} more, by the recovery of {_of(seen.past.evidence)}; {spelled(so_far)} so far"
    return Estimate(seconds, carrying, told + _beside(carrying), seen.past.evidence)


def compared(estimate: Estimate | None, took: float) -> str:
    """Estimate and reality in a sentence; "" where there was none."""
    if estimate is None or estimate.seconds is None or took <= 0:
        return ""
    return f"Estimated: {spelled(estimate.seconds)}, {estimate.seconds / took:.1f} times what it took."


def _grown(parts: tuple[Part, ...], size: int, past: Past, rate: Rate | None) -> tuple[float, float]:
    """Seconds in all, and on the line, where the data is so large and the line as fast as `rate`."""
    more = size / past.bytes
    slower = past.rate.bytes_per_second / rate.bytes_per_second if past.rate and rate else 1.0
    carrying = sum(part.carried for part in parts) * more * slower
    return sum(part.fixed + part.local * more for part in parts) + carrying, carrying


def _at_least(size: int, members: int, seen: Measured) -> Estimate:
    carrying = size * members / seen.rate.bytes_per_second if seen.rate else None
    booting = seen.booted.seconds * size / seen.booted.bytes if seen.booted else None
    known = [seconds for seconds in (carrying, booting) if seconds is not None]
    if not known:
        return Estimate(None, None, "unknown: nothing of it was measured from this machine yet")
    copying = f"copying {spelled(carrying)}" if carrying is not None else ""
    restoring = f"restore and boot {spelled(booting)}" if booting is not None else ""
    parts = ", ".join(filter(None, (copying, restoring)))
    why = "unknown: no recovery was finished from this machine"
    told = f"{why}; at least {spelled(sum(known))}: {parts}{_beside(carrying or 0)}"
    by = seen.rate.evidence if seen.rate else seen.booted.evidence if seen.booted else None
    return Estimate(None, carrying, told, by)


def _beside(carrying: float) -> str:
    return f"; {spelled(carrying)} of it over this line: {BESIDE}" if carrying > LONG else ""


def _of(evidence: str) -> str:
    """When that began, as its directory is called."""
    return evidence.rstrip("/").rsplit("/", 1)[-1]


def spelled(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
