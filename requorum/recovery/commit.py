"""Asking the operator: the cluster's name before anything is reached, and once more at the commit prompt.

`summary` is pure. Questions go to /dev/tty, since pytest holds standard input and output.
"""

from __future__ import annotations

from pathlib import Path

from requorum.evidence.redaction import shown
from requorum.recovery.progress import Progress
from requorum.refusal import Refusal
from requorum.run import facts
from requorum.run.run import Run


class NotConfirmed(Refusal):
    """The operator did not confirm."""


def asked(question: str) -> str | None:
    """What was typed on the terminal; None where there is none."""
    try:
        with Path("/dev/tty").open("r+b", buffering=0) as tty:
            tty.write(shown(question).encode())
            return tty.readline().decode(errors="replace").strip()
    except OSError:
        return None


def commit(run: Run, progress: Progress) -> None:
    """The commit prompt. `--confirm` answers it; without it the name is typed again. Raises `NotConfirmed`.

    A run that is carried on with its configuration installed somewhere was confirmed then, and is not asked again.
    """
    if not run.acts:
        return
    if facts.new_configuration_is_installed(run):
        run.note("confirmed before: the new configuration is installed already")
        return
    name, word = run.inventory.cluster, run.options.confirm
    lines = summary(run, progress)
    if word is None:
        run.watch.end()
        text = "\n".join(f"    {line}" for line in lines)
        word = asked(f"\n  Before anything is committed:\n{text}\n  Type {name} to go on: ")
        for line in lines:
            run.journal.record("note", text=line)
        lines = [f"confirmed on the terminal by typing {name}"]
    if word != name:
        typed = "nobody is there to confirm" if word is None else f"{word!r} was typed, not {name}"
        raise NotConfirmed(
            "the commit prompt",
            f"{typed}. Nothing is committed: no machine has the new configuration. Deephaven and the old etcd are off",
            "the same command carries on from here; pytest runbook/rollback puts the old state back",
        )
    run.prove_lock()  # people think long; somebody may have cleared it and gone back meanwhile
    for line in lines:
        run.note(line)


def summary(run: Run, progress: Progress) -> list[str]:
    """What was proven, from which snapshot, what will be lost, where there is no way back."""
    source, trial, loss = progress.sources.chosen, progress.trial, progress.sources.data_loss()
    members = ", ".join(f"{member.name} at {member.ip}" for member in run.inventory.members)
    taken = f"{source.kind}, taken {source.taken}, revision {_number(source.revision)}, {source.bytes:,} bytes"
    proven = f"{run.journal.assertions} assertions hold"
    if trial is not None and not trial.problem:
        proven += (
            f"; restored for trial, {trial.counts.get('', 0):,} keys are there at revision {trial.revision:,}, and the "
            f"old passwords of {', '.join(progress.roles)} log in"
        )
    lost = [f"{word} {_number(loss[word])}" for word in ("certain", "possible")]
    return [
        f"to be built  {run.inventory.cluster}: {members}",
        f"proven       {proven}",
        f"snapshot     {taken}, SHA-256 {source.sha256[:12]}…",
        f"lost         writes: {', '.join(lost)}; {loss['why']}",
        (
            f"no return    in Step 5, when Deephaven is turned on at {run.terms.configuration_server}; until then "
            "rollback loses nothing"
        ),
    ]


def _number(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else "unknown"
