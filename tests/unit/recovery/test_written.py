"""What Step 5 has proven is noted, and stands for what can not be compared any more; a writer is noted by nobody."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from requorum.command import Command, Result
from requorum.hosts.fleet import Machine
from requorum.hosts.question import Question
from requorum.recovery import trial, written
from requorum.recovery.progress import Progress
from requorum.recovery.trial import Trial
from requorum.refusal import Disproved
from requorum.run.dryrun import Planning
from requorum.run.marker import Phase
from requorum.snapshots import beginning
from requorum.snapshots.beginning import Beginning, Proven
from requorum.snapshots.movement import Keys
from runbook import test_step_4_restore as step_4
from tests.unit import build
from tests.unit.recovery.undo.test_discard import BEGAN, LEASE_RAN_OUT, MARK, PROBE, RESTORED, WRITTEN, Rows, Running
from tests.unit.run.test_dryrun import Hosts, planning

PROVEN = Proven(MARK.snapshot, 100, 7, 90, 104, 1)
COMPACTED = "etcdserver: mvcc: required revision has been compacted"


def as_bytes(rows: Rows) -> Keys:
    return Keys(120, {key.encode(): at for key, at in rows.items()})


def carried_on(tmp_path: Path, hosts: Hosts, phase: Phase = Phase.STARTED) -> Planning:
    run = planning(tmp_path, hosts)
    run.terms = replace(run.terms, mark=replace(MARK, phase=phase))
    return run


# -- what the running cluster shows ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "wrote"),
    [
        (RESTORED, None),
        (LEASE_RAN_OUT, None),
        ({**RESTORED, PROBE: (119, 0)}, None),
        ({**RESTORED, "/main/b": (104, 0)}, None),
        ({**RESTORED, "/main/b": (105, 0)}, "'/main/b' was written after revision 104"),
        ({"/presence/b": (50, 9)}, "1 keys without a lease were deleted after revision 104"),
    ],
)
def test_with_the_note_nothing_older_needs_to_be_compared(tmp_path: Path, rows: Rows, wrote: str | None) -> None:
    hosts = Running(rows, kept=False)
    run = carried_on(tmp_path, hosts)
    assert written.since(run, run.terms, Beginning(100, PROVEN), as_bytes(rows)) == wrote
    assert hosts.asked == []


def test_without_it_what_was_compacted_counts_as_written(tmp_path: Path) -> None:
    run = carried_on(tmp_path, Running(RESTORED, kept=False))
    said = written.since(run, run.terms, Beginning(100), as_bytes(RESTORED))
    assert said is not None and "cannot be asked any more" in said


# -- the note ----------------------------------------------------------------------------------------------------


class Acting(Running):
    """A run that acts: what it writes is kept."""

    def __init__(self, now: Rows, noted: Proven | None = None, kept: bool = True) -> None:
        super().__init__(now, kept)
        self.proven, self.wrote = noted, list[Proven]()

    def answer(self, command: Command) -> tuple[int, str]:
        if command.argv[:1] == ("cat",) and command.argv[1].endswith("/proven.json") and self.proven:
            return 0, build.stdins([beginning.note(build.terms(), self.proven)])[0].decode()
        return super().answer(command)

    def run(self, actions: Any) -> list[Result]:
        for action in [a for a in actions if a.changes]:
            assert action.host == "infra-1" and f"of={build.PLACE}/proven.json" in action.argv
            self.wrote.append(Proven(**json.loads(action.stdin)))
        return super().run([a for a in actions if not a.changes])


def noted(tmp_path: Path, hosts: Acting, compacted: int | None = 90, phase: Phase = Phase.STARTED) -> list[Proven]:
    run = carried_on(tmp_path, hosts, phase)
    run.acts = True
    run.stage = "runbook/test_step_5_power_on.py::TestStep5PowerOn::test_when_what_was_proven_is_noted"
    run.do = hosts.run  # type: ignore[method-assign,assignment]
    written.note_what_is_proven(run, BEGAN, compacted)
    return hosts.wrote


@pytest.mark.parametrize("rows", [RESTORED, {**RESTORED, PROBE: (103, 0)}])
def test_where_nobody_else_wrote_the_note_reaches_to_now(tmp_path: Path, rows: Rows) -> None:
    assert noted(tmp_path, Acting(rows)) == [Proven(MARK.snapshot, 100, 7, 90, 120, 1)]


def test_it_reaches_further_when_it_is_made_again_and_keeps_what_it_was_compared_at(tmp_path: Path) -> None:
    again = Acting(RESTORED, PROVEN, kept=False)
    assert noted(tmp_path, again, compacted=118) == [replace(PROVEN, reached=120)]
    assert noted(tmp_path / "unknown", Acting(RESTORED, PROVEN), compacted=None) == [replace(PROVEN, reached=120)]


@pytest.mark.parametrize(
    "hosts", [Acting(WRITTEN), Acting(WRITTEN, PROVEN), Acting(RESTORED, kept=False)], ids=["new", "again", "unknown"]
)
def test_where_somebody_wrote_or_nobody_can_tell_nothing_is_noted(tmp_path: Path, hosts: Acting) -> None:
    assert noted(tmp_path, hosts) == []


def test_what_did_not_hold_now_is_not_noted_and_nothing_is_once_deephaven_was_on(tmp_path: Path) -> None:
    assert noted(tmp_path, Acting(RESTORED), compacted=None) == []
    assert noted(tmp_path / "late", Acting(RESTORED), phase=Phase.POWERING_ON) == []


def test_a_note_of_an_earlier_try_is_gone_before_its_data_is_started_anew(tmp_path: Path) -> None:
    class Noted(Running):
        def answer(self, command: Command) -> tuple[int, str]:
            path = f"{build.PLACE}/proven.json"
            return (0, f"1:1 {path}\n") if command.argv[:2] == ("find", path) else super().answer(command)

    for phase, gone in ((Phase.STOPPING, 1), (Phase.STARTED, 0)):
        run = carried_on(tmp_path / phase.name, Noted(RESTORED), phase)
        run.begin("runbook/test_step_4_restore.py::TestStep4Restore::test_when_all_members_are_started")
        step_4.TestStep4Restore().test_when_all_members_are_started(run, Progress())
        planned = [c.argv for stage in run.stages for c in stage.commands()]
        assert planned.count(("rm", "-f", f"{build.PLACE}/proven.json")) == gone
        if gone:
            marked = next(n for n, argv in enumerate(planned) if argv[0] == "mv" and argv[-1].endswith("run.json"))
            assert planned.index(("rm", "-f", f"{build.PLACE}/proven.json")) < marked


# -- it stands for the comparison with the trial -----------------------------------------------------------------


class Asked(Hosts):
    """A running cluster, asked for hashes, counts and names as of the trial's revision."""

    def __init__(self, proven: Proven | None, compacted: int | None, digest: int, users: tuple[str, ...]) -> None:
        super().__init__()
        self.proven, self.compacted, self.digest, self.users = proven, compacted, digest, users

    def each(self, hosts: Iterable[str], work: Any) -> dict[str, Any]:
        return {host: work(cast(Machine, SimpleNamespace(name=host, ask=self.tell))) for host in hosts}

    def tell(self, question: Question[Any]) -> Any:
        (command,) = question.commands
        argv = command.argv
        if "hashkv" in argv and self.compacted is None:
            return question.understand([Result(command, 1, "", COMPACTED, 0.0)])
        told: Any = {"count": 2}
        if "hashkv" in argv:
            one = {"hash": self.digest, "compact_revision": self.compacted}
            told = [{"Endpoint": f"https://10.0.0.1{n}:2379", "HashKV": one} for n in (1, 2, 3)]
        elif "list" in argv:
            told = {"users": list(self.users), "roles": ["root"]}
        return question.understand([build.answered(command, json.dumps(told))])

    def answer(self, command: Command) -> tuple[int, str]:
        if command.argv[0] == "cat" and command.argv[1].endswith("/trial.json"):
            return 0, build.stdins([trial.note(build.terms(), "infra-1", BEGAN)])[0].decode()
        if command.argv[0] == "cat" and command.argv[1].endswith("/proven.json"):
            return (
                (0, build.stdins([beginning.note(build.terms(), self.proven)])[0].decode()) if self.proven else (1, "")
            )
        return super().answer(command)


def compared(
    tmp_path: Path,
    proven: Proven | None,
    compacted: int | None,
    digest: int = BEGAN.hash,
    users: tuple[str, ...] = BEGAN.users,
    tried: Trial = BEGAN,
) -> int | None:
    run = carried_on(tmp_path, Asked(proven, compacted, digest, users))
    run.begin("m.py::TestX::test_then_it_is_what_the_trial_found")
    run.stages[-1].looked = True
    run.options = replace(run.options, timeout_scale=0.0)
    return trial.it_is_what_the_trial_found(run, tried)


def test_as_the_trial_found_it(tmp_path: Path) -> None:
    assert compared(tmp_path, None, 90) == 90


@pytest.mark.parametrize("compacted", [None, 100, 118])
def test_what_was_compacted_since_is_stood_for_by_the_note(tmp_path: Path, compacted: int | None) -> None:
    """A compaction up to the very revision leaves another hash of it, and no error."""
    assert compared(tmp_path, PROVEN, compacted, digest=8) == compacted


@pytest.mark.parametrize(
    ("proven", "compacted", "wrong"),
    [
        (None, None, "compacted"),
        (None, 100, "hash 8"),
        (PROVEN, 90, "hash 8"),  # it can still be compared
        (replace(PROVEN, hash=6), 118, "hash 8"),  # a note of another trial
        (replace(PROVEN, revision=99), None, "compacted"),
    ],
)
def test_without_such_a_note_it_stays_refused(
    tmp_path: Path, proven: Proven | None, compacted: int | None, wrong: str
) -> None:
    with pytest.raises(Disproved, match=wrong):
        compared(tmp_path, proven, compacted, digest=8)


def test_users_are_compared_all_the_same(tmp_path: Path) -> None:
    with pytest.raises(Disproved, match="users guest, root"):
        compared(tmp_path, PROVEN, None, users=("root", "guest"))
