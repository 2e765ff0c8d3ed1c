"""Where a run's cluster began is read from the run's own notes, and from nothing that is about other data."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from requorum.recovery import trial
from requorum.recovery.trial import Trial
from requorum.run.marker import Phase
from requorum.run.terms import Terms
from requorum.snapshots import beginning
from requorum.snapshots.beginning import Beginning, Proven
from requorum.troubleshoot import sudoers
from tests.unit import build

SNAPSHOT = "cd" * 32
PROVEN = Proven(SNAPSHOT, 100, 7, 90, 104, 2)
TRIAL = build.stdins([trial.note(build.terms(), "infra-1", Trial(SNAPSHOT, 100, 7, {"": 2}, (), ()))])[0].decode()
NOTED = build.stdins([beginning.note(build.terms(), PROVEN)])[0].decode()


def terms(phase: Phase = Phase.STARTED, snapshot: str = SNAPSHOT) -> Terms:
    return replace(build.terms(), mark=build.mark(phase, snapshot=snapshot))


@pytest.mark.parametrize(
    ("of", "tried", "noted", "found"),
    [
        (terms(), TRIAL, NOTED, Beginning(100, PROVEN)),
        (terms(), TRIAL, "", Beginning(100)),
        (terms(), TRIAL, "[]", Beginning(100)),
        (terms(), "", NOTED, Beginning(100, PROVEN)),
        (terms(), "", "", None),
        (terms(Phase.STOPPING), TRIAL, NOTED, Beginning(100)),  # a retry has set that data aside
        (terms(snapshot="ef" * 32), TRIAL, NOTED, None),
        (terms(), TRIAL.replace("100", "true"), "", None),
        (terms(), json.dumps({"snapshot": SNAPSHOT, "revision": 0}), "", None),  # a trial that was not good
    ],
)
def test_a_beginning_is_read_where_a_note_of_this_data_is(
    of: Terms, tried: str, noted: str, found: Beginning | None
) -> None:
    assert build.understood(beginning.ask(of), tried, noted) == found


def test_what_is_nobody_elses_ends_where_the_note_says() -> None:
    assert Beginning(100).own == 100
    assert Beginning(100, PROVEN).own == 104


def test_what_is_run_for_it_is_among_what_sudo_allows() -> None:
    written = [beginning.note(terms(), PROVEN), *beginning.forget(terms(), there=True)]
    asked = beginning.ask(terms()).commands
    assert sudoers.unlisted(build.inventory(), [command.line() for command in (*written, *asked)]) == []
    assert beginning.forget(terms(), there=False) == []
