"""Whether anybody but the run itself wrote into the cluster that it made: observed, whatever the run's mark says."""

from __future__ import annotations

from requorum.cluster.etcd import EtcdError
from requorum.recovery import probes
from requorum.recovery.trial import Trial
from requorum.run.marker import Phase
from requorum.run.run import Run
from requorum.run.terms import Terms
from requorum.snapshots import beginning, movement
from requorum.snapshots.beginning import Beginning, Proven
from requorum.snapshots.movement import Keys


def since(run: Run, terms: Terms, began: Beginning, now: Keys) -> str | None:
    """What the running cluster, which holds `now`, shows to be somebody else's; None where there is none.

    What cannot be compared any more counts as written, unless the run has noted how far it was its own: then nothing
    newer is there, and no key without a lease is missing.
    """
    own = probes.written(terms).encode()
    if began.proven is not None:
        found = movement.written(began.proven.reached, now, own)
        lacking = began.proven.unleased - movement.unleased(now, own)
        if found or lacking <= 0:
            return found
        return f"{lacking:,} keys without a lease were deleted after revision {began.proven.reached:,}"
    try:
        (before,) = run.ask({"before": movement.ask_keys(run.inventory, began.revision)}).values()
    except EtcdError as error:
        return f"what it began with cannot be asked any more: {error.what}"
    return movement.changed(began.revision, before, now, own)


def note_what_is_proven(run: Run, trial: Trial | None, compacted: int | None) -> None:
    """In Step 5, once its proofs of the data have held: a run that is carried on may not be able to hold them again.

    `compacted`: up to which revision, when they held; None where that is not known, or they were not held now.
    """
    terms = run.terms
    if trial is None or run.mark.phase >= Phase.POWERING_ON:
        return
    if not run.acts:
        run.do([beginning.note(terms, None)])
        return
    (began,) = run.ask({"began": beginning.ask(terms)}).values()
    if began is None or (compacted is None and began.proven is None):
        return
    (now,) = run.ask({"now": movement.ask_keys(run.inventory)}).values()
    wrote = since(run, terms, began, now)
    if wrote:
        run.note(f"not noted: {wrote}")
        return
    at = began.proven.compacted if began.proven else compacted
    assert at is not None
    left = movement.unleased(now, probes.written(terms).encode())
    run.do([beginning.note(terms, Proven(trial.snapshot, trial.revision, trial.hash, at, now.revision, left))])
