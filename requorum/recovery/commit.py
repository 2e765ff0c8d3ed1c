"""Asking the operator: the cluster's name before anything is reached, and once more at the commit prompt.

`summary` is pure. Questions go to /dev/tty, since pytest holds standard input and output.
"""

from __future__ import annotations

import os
import textwrap
from collections.abc import Mapping
from pathlib import Path

from requorum.evidence.redaction import shown
from requorum.recovery import ahead
from requorum.recovery.progress import Progress
from requorum.recovery.proofs import configuration
from requorum.refusal import Refusal
from requorum.run import facts
from requorum.run.run import Run
from requorum.snapshots import loss


class NotConfirmed(Refusal):
    """The operator did not confirm. `words`: of `--accept`, that would have answered."""

    words: tuple[str, ...] = ()


def asked(question: str) -> str | None:
    """What was typed on the terminal; None where there is none."""
    try:
        with Path("/dev/tty").open("r+b", buffering=0) as tty:
            tty.write(shown(question).encode())
            return tty.readline().decode(errors="replace").strip()
    except OSError:
        return None


def commit(run: Run, progress: Progress) -> None:
    """The commit prompt. Raises `NotConfirmed`.

    `--confirm` answers it where a run may go on by itself; a loss that `asks` the operator accepts by its word, given
    before or now, or by typing the name below it. A file that was named is a choice of data, not of its loss.
    A run that is carried on with its configuration installed somewhere was confirmed then.
    """
    if not run.acts:
        return
    if facts.new_configuration_is_installed(run):
        run.note("confirmed before: the new configuration is installed already")
        return
    name, lines, words = run.inventory.cluster, summary(run, progress), unanswered(run, progress)
    word = None if words else run.options.confirm
    if word is None:
        run.watch.end()
        text = "\n".join(part for line in lines for part in _wrapped(line))
        why = f"\n  {_WHY}, {run.options.accepted.option(*words)} does." if words and run.options.confirm else ""
        word = asked(f"\n  Before anything is committed:\n{text}{why}\n  Type {name} to go on: ")
        for line in lines:
            run.note(line) if word is None else run.journal.record("note", text=line)
        lines = [f"confirmed on the terminal by typing {name}"]
    if word != name:
        raise _not_confirmed(run, progress, word, words)
    run.prove_lock()  # people think long; somebody may have cleared it and gone back meanwhile
    lost = progress.sources.lost
    for line in lines:
        (run.warn if lost.asks or lost.certain else run.note)(line)


FEW = 3  # roles that are named

_WHY = "What is lost is not answered for by --confirm"


def unanswered(run: Run, progress: Progress) -> tuple[str, ...]:
    """The words that the loss asks for; () where it asks for none, or the operator has said them.

    A run that is carried on comes here only before its configuration is installed: its loss was weighed anew.
    """
    sources, options = progress.sources, run.options
    if not sources.lost.asks:
        return ()
    members = [member.host for member in run.inventory.old_members]
    words = loss.words(sources.lost, sources.chosen, sources.salvaged, members, options)
    given = {*options.accepted.words, f"on-disk:{options.skip_hash}"}
    return () if given.issuperset(words) else words


def _not_confirmed(run: Run, progress: Progress, typed: str | None, words: tuple[str, ...]) -> NotConfirmed:
    name, again = run.inventory.cluster, "the same command carries on from here"
    if typed is not None:
        what = f"{typed!r} was typed, not {name}"
    elif words:
        lost, accept = progress.sources.lost, run.options.accepted.option(*words)
        what = f"{_WHY}: {lost.why}"
        again = (
            "decide whether newer data lies anywhere, in another backup or on a disk; else accept the loss "
            f"(price in writes: {_counted(lost.fields())}): {accept}"
        )
    else:
        what = "nobody is there to confirm"
    refusal = NotConfirmed(
        "the commit prompt",
        f"{what}. Nothing is committed: no machine has the new configuration. Deephaven and the old etcd are off"
        + (f"; {', '.join(progress.ahead)} hold restored data in {ahead.place(run.terms)}" if progress.ahead else ""),
        f"{again}; or, to put the old state back, pytest runbook/rollback"
        + (", and removes what was restored" if progress.ahead else ""),
    )
    refusal.words = words if typed is None else ()
    return refusal


def summary(run: Run, progress: Progress) -> list[str]:
    """What was proven, from which snapshot, what will be lost, where there is no way back."""
    source, trial, missing = progress.sources.chosen, progress.trial, progress.sources.lost.fields()
    members = ", ".join(f"{member.name} at {member.ip}" for member in run.inventory.members)
    taken = f"{source.kind}, taken {source.taken}, revision {_number(source.revision)}, {source.bytes:,} bytes"
    proven = f"{run.journal.assertions} assertions hold"
    if trial is not None and not trial.problem:
        proven += f"; restored for trial, {trial.counts.get('', 0):,} keys are there at revision {trial.revision:,}"
        if trial.authentication.on and progress.roles:
            proven += f", and {_passwords(progress)}"
    unusual = progress.authentication.words
    return [
        f"to be built  {run.inventory.cluster}: {members}",
        f"proven       {proven}",
        f"snapshot     {taken}, SHA-256 {source.sha256[:12]}…",
        *_restores(run, progress),
        *([f"logins       {unusual}, and it will be so again"] if unusual else []),
        *([f"kept         {configuration.shown(kept)}"] if (kept := progress.settings) else []),
        f"time         {progress.rest(run).told}",
        f"lost         writes: {_counted(missing)}; {missing['why']}",
        (
            f"no return    in Step 5, when Deephaven is turned on at {run.terms.configuration_server}; until then "
            "rollback loses nothing"
        ),
    ]


def _restores(run: Run, progress: Progress) -> list[str]:
    """Which members hold their data already, which restore it after this, and what no trial of one member proves."""
    now = progress.ahead
    later = [host for host in run.terms.member_hosts if host not in now]
    held = f"on {', '.join(now)}, alike by each one's own etcd; moved in place in Step 4" if now else ""
    first = f"only in Step 4 on {', '.join(later)}, where no place beside the data is ready" if later else ""
    return [
        f"restored     {'; '.join(filter(None, (held, first)))}",
        "not proven   that the members find each other: Step 5 proves it before Deephaven is on",
    ]


def _passwords(progress: Progress) -> str:
    """How many roles' old passwords log in, and which where they are few; who has none stands in a line of its own."""
    count, several = len(progress.roles), len(progress.roles) > 1
    named = f" ({', '.join(progress.roles)})" if count <= FEW else ""
    return f"the old password{'s' * several} of {count} role{'s' * several}{named} log{'s' * (not several)} in"


def _counted(missing: Mapping[str, object]) -> str:
    """What is lost, in one word where it is the same."""
    certain, possible = missing["certain"], missing["possible"]
    if certain is None and possible is None:
        return "unknown"
    if certain == possible:
        return f"{_number(certain)}" if certain else "none"
    return f"certain {_number(certain)}, possible {_number(possible)}"


def _columns() -> int:
    """Of the terminal that is asked on; 80 where it does not say."""
    try:
        with Path("/dev/tty").open("rb", buffering=0) as tty:
            return os.get_terminal_size(tty.fileno()).columns or 80
    except OSError:
        return 80


def _wrapped(line: str) -> list[str]:
    """For the terminal that is asked on, below its label; what has no blank in it stays whole."""
    return textwrap.wrap(
        line,
        max(_columns(), 60),
        initial_indent="    ",
        subsequent_indent=" " * 17,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _number(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else "unknown"
