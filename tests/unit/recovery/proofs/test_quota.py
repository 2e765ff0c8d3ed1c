"""Settings that stay are proven before anything is off, before the commit prompt, and where they are installed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest

from requorum.recovery.progress import Progress
from requorum.recovery.proofs import configuration, machines
from requorum.run import facts
from requorum.run.run import Run
from requorum.snapshots.sources import Sources
from tests.unit import build

GIB = 1 << 30
EIGHT = (("quota-backend-bytes", str(8 * GIB)),)


class Settled:
    """A run that only takes down what was proven."""

    def __init__(self, **etcd: object) -> None:
        self.inventory = build.inventory(etcd=etcd)
        self.terms = build.terms(of=self.inventory)
        self.found: dict[str, dict[str, str | None]] = {}

    def settle(self, claim: str, outcomes: dict[str, str | None], remedy: str) -> None:
        self.found[claim] = outcomes
        self.remedy = remedy


def test_data_over_the_quota_stops_in_step_0_with_the_remedy() -> None:
    run = Settled()
    machines.data_fits_its_quota(cast(Run, run), 3 * GIB, {})
    (outcomes,) = run.found.values()
    assert all("2,147,483,648 bytes for 3,221,225,472" in (found or "") for found in outcomes.values())
    assert "etcd.keep_settings: [quota-backend-bytes]" in run.remedy
    machines.data_fits_its_quota(cast(Run, run), 3 * GIB, dict(EIGHT))
    assert set(next(iter(run.found.values())).values()) == {None}


@pytest.mark.parametrize(
    ("settings", "kept", "wrong"),
    [
        (EIGHT, dict(EIGHT), [None, None]),
        ((), dict(EIGHT), ["quota-backend-bytes: not there", "a quota of 2,147,483,648 bytes"]),
        ((), {}, ["a quota of 2,147,483,648 bytes"]),
        (EIGHT, {}, [None]),
    ],
)
def test_what_was_generated_is_held_against_what_is_kept_and_against_the_data(
    settings: tuple[tuple[str, str], ...], kept: dict[str, str], wrong: list[str | None]
) -> None:
    run = Settled()
    configuration.settings_are_kept(cast(Run, run), {"etcd-1": build.config(1, settings=settings)}, kept, 3 * GIB)
    found = [outcomes["etcd-1"] for outcomes in run.found.values()]
    assert [one and one[:30] for one in found] == [one and one[:30] for one in wrong]


def test_what_is_kept_is_read_from_files_and_from_what_units_say(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Settled(keep_settings=["quota-backend-bytes"])
    by_flags = SimpleNamespace(host="etcd-2", installed=True, config=build.config(2, settings=EIGHT))
    earlier = SimpleNamespace(host="etcd-3", installed=False, config=build.config(3, settings=((*EIGHT[0][:1], "1"),)))
    monkeypatch.setattr(facts, "old_configs", lambda run, hosts: {"etcd-1": build.config(1), "etcd-2": None})
    progress = Progress(cast(Sources, SimpleNamespace(disks=(by_flags, earlier))))
    progress.keep_settings(cast(Run, run))
    assert progress.settings == dict(EIGHT)
