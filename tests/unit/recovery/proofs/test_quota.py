"""Settings that stay are proven before anything is off, before the commit prompt, and where they are installed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest

from requorum.cluster import quorum
from requorum.cluster.etcd import MemberConfig
from requorum.recovery import trials
from requorum.recovery.progress import Progress
from requorum.recovery.proofs import configuration, machines
from requorum.run import estimate, facts
from requorum.run.run import Run
from requorum.snapshots.sources import Sources
from runbook import test_step_0_snapshot, test_step_2_generate
from tests.unit import build

GIB = 1 << 30
EIGHT = (("quota-backend-bytes", str(8 * GIB)),)


class Settled:
    """A run that only takes down what was proven."""

    def __init__(self, **etcd: object) -> None:
        self.inventory = build.inventory(etcd=etcd)
        self.terms = build.terms(of=self.inventory)
        self.found: dict[str, dict[str, str | None]] = {}
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)

    def settle(self, claim: str, outcomes: dict[str, str | None], remedy: str) -> None:
        self.found[claim] = outcomes
        self.remedy = remedy


RAISED = {"etcd-1": build.config(1), "etcd-2": build.config(2, settings=EIGHT)}
ENDLESS = {"etcd-2": build.config(2, settings=(("quota-backend-bytes", "-1"),))}
OVER = "a quota of 2,147,483,648 bytes for 3,221,225,472"


@pytest.mark.parametrize(
    ("size", "kept", "old", "wrong"),
    [
        (3 * GIB, {}, RAISED, f"{OVER} bytes of data: etcd would take no write; the raised one of etcd-2 is not kept"),
        (3 * GIB, {}, ENDLESS, OVER),
        (GIB, {}, RAISED, None),
        (3 * GIB, dict(EIGHT), RAISED, None),
        (3 * GIB, {"quota-backend-bytes": str(2 * GIB)}, {}, OVER),
        (3 * GIB, {}, {"etcd-1": build.config(1)}, None),  # the generator may write one
        (3 * GIB, {}, {}, None),  # all machines were installed anew
    ],
)
def test_a_quota_that_is_known_to_be_too_small_stops_in_step_0_with_the_remedy(
    size: int, kept: dict[str, str], old: dict[str, MemberConfig], wrong: str | None
) -> None:
    run = Settled()
    machines.data_fits_its_quota(cast(Run, run), size, kept, old)
    (outcomes,) = run.found.values()
    assert len(outcomes) == 3 and "etcd.keep_settings: [quota-backend-bytes]" in run.remedy
    assert all((found or "").startswith(wrong or "") and bool(found) == bool(wrong) for found in outcomes.values())


@pytest.mark.parametrize(
    ("kept", "old", "said"),
    [({}, RAISED, ["etcd-2"]), ({}, ENDLESS, ["etcd-2"]), (dict(EIGHT), RAISED, []), ({}, {}, [])],
    ids=["raised", "endless", "kept", "etcd's own"],
)
def test_a_raised_quota_that_is_not_kept_is_said_before_anything_is_off_also_where_the_data_fits(
    kept: dict[str, str], old: dict[str, MemberConfig], said: list[str]
) -> None:
    run = Settled()
    machines.data_fits_its_quota(cast(Run, run), GIB, kept, old)
    assert [note.partition(":")[0] for note in run.notes] == said
    assert all("in Step 2" in note and "[quota-backend-bytes]" in note for note in run.notes)


def test_a_run_whose_configuration_is_installed_is_not_stopped_for_its_quota(monkeypatch: pytest.MonkeyPatch) -> None:
    run, progress = Settled(), Progress()
    monkeypatch.setattr(machines, "there_is_room", lambda *_: None)
    monkeypatch.setattr(trials, "put_down", lambda *_: {})
    monkeypatch.setattr(facts, "old_configs", lambda *_: RAISED)
    monkeypatch.setattr(Progress, "bytes", 3 * GIB)
    monkeypatch.setattr(Progress, "copies", lambda *_: {})
    monkeypatch.setattr(Progress, "foresee", lambda *_: estimate.Estimate(None, None, "unknown"))
    new = {"etcd-1": build.config(1)}
    monkeypatch.setattr(configuration, "every_server_number_is_present", lambda run: new)
    for verdict, stops in ((None, False), (quorum.Verdict(quorum.Kind.LOST, ()), True)):
        run.found.clear()
        progress.verdict = verdict
        test_step_0_snapshot.TestStep0Snapshot().test_given_there_is_room(cast(Run, run), progress)
        test_step_2_generate.TestStep2Generate().test_then_every_server_number_is_present(cast(Run, run), progress)
        assert [any(outcomes.values()) for outcomes in run.found.values()] == [True, True] * stops


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
    monkeypatch.setattr(facts, "old_configs", lambda *_: {"etcd-1": build.config(1), "etcd-2": None})
    progress = Progress(cast(Sources, SimpleNamespace(disks=(by_flags, earlier))))
    assert set(progress.keep_settings(cast(Run, run))) == {"etcd-1", "etcd-2"}
    assert progress.settings == dict(EIGHT)
