"""Checks of what runs that are over left on the members' disks: copies of data that nobody needs any more."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from requorum.diagnosis.check.check import CLUSTER, Check, Questions, Ruling, Seen, Verdict, ruled, told
from requorum.run import bulk, marker
from requorum.run.bulk import Left
from requorum.run.marker import Marker
from requorum.run.terms import Terms


def ask_left(seen: Seen, host: str) -> Questions:
    return {"left": bulk.ask_left(host, seen.terms.inventory)}


def judge_left(seen: Seen, host: str) -> Ruling:
    """Nothing of a run that may still be carried on, or that is at work now, is named for removal."""
    found: list[Left] = seen.values("leftovers", host)["left"]
    marks = {at: one.mark for at, one in seen.known("unfinished run", CLUSTER).items()}
    going_on = {mark.run for mark in marks.values() if isinstance(mark, Marker) and not mark.closed}
    over = [one for one in found if one.run not in going_on]
    if not over:
        kept = [f"{_words(one, seen)}: of a run that is not over" for one in found]
        return told("; ".join(kept)) if kept else ruled([], "none")
    words = "; ".join(_words(one, seen) for one in over)
    server = seen.terms.configuration_server
    if not isinstance(marks.get(server), Marker | None) or server not in marks:
        return told(f"{words}; {server} does not say whether its run is over")
    paths = " ".join(one.path for one in over)
    return Ruling(
        Verdict.FAILS, words, f"nobody needs it any more, and it holds all keys; there: `sudo rm -rf {paths}`"
    )


def _words(left: Left, seen: Seen) -> str:
    return f"{left.path}: {left.bytes:,} bytes, {_age(seen.now, marker.began(left.run))} old"


def _age(now: datetime, began: datetime) -> str:
    since = max(now.astimezone(UTC) - began, timedelta())
    return f"{since.days} days" if since.days > 1 else f"{since.total_seconds() / 3600:.0f} h"


def members(terms: Terms) -> tuple[str, ...]:
    return terms.etcd_hosts


CHECKS = (
    Check(
        "leftovers",
        "no run that is over has left data beside {i.etcd.data_root}, or scratch",
        "remove it there by hand",
        members,
        judge_left,
        ask_left,
    ),
)
