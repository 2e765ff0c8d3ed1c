"""What went wrong on a host, as an error: it did not answer, or a command failed there; many of them as one."""

from __future__ import annotations

import re
from collections.abc import Sequence

from requorum.command import Command, Result
from requorum.evidence.journal import EvidenceError
from requorum.refusal import Refusal


class FleetError(Refusal):
    """A host did not answer, or a command failed on it."""


class Unreachable(FleetError):  # noqa: N818 - the operator's word for it
    """The host did not answer, so nothing is known about it. What ssh said stands behind the first colon."""

    def __init__(self, where: str, what: str, remedy: str) -> None:
        super().__init__(where, what, remedy)
        self.brief, _, self.said = what.partition(": ")


REACH = (
    "check the network, ssh and the host itself. Only if the machine is fenced or destroyed for good: a new member or "
    "the configuration server needs a replacement in the inventory, any other is named with --gone=HOST; what only its "
    "disk holds is given up with it"
)
SHELL = "give that login a shell that runs what sh runs (docs/preparing.md#the-login)"
NO_LOGIN = {
    "silent": REACH,
    "turned away": "it is there: look at its sshd, and at the bastion's where there is one (its journal, MaxStartups, "
    "PerSourcePenalties), or run with fewer hosts at the same time: --concurrency=4",
    "no shell": SHELL,
}
_NO_PASSWORD = (
    "give this login NOPASSWD for the runbook's commands, also where sudo asks an ssh agent: none is forwarded "
    "(docs/preparing.md#sudo); or have it asked of you: --ask-become-pass"
)
_REMEMBER = (
    "give this login NOPASSWD, or a line “Defaults:LOGIN timestamp_timeout=1” (docs/login.md#a-password-for-sudo)"
)
AGAIN = "run the same command again: it carries on"


class Endless(Unreachable):
    """It answered with more than was asked for."""


def endless(command: Command) -> Endless:
    """It printed more than it was asked for: nothing of that was read, so nothing is known."""
    what = f"answers without an end, more than {command.most:,} bytes, and was cut off"
    return Endless(command.host, f"{what}: {command.why}", f"look at what it prints there: {command.shown()}")


def is_failure(error: Exception) -> bool:
    return isinstance(error, FleetError) and not isinstance(error, Unreachable)


def failure(result: Result) -> FleetError:
    command = result.command
    name = command.become[0].rsplit("/", 1)[-1]
    if command.root and re.search(rf"(?:sudo|{re.escape(name)}): .*(?:password|Authorization required)", result.stderr):
        error = FleetError(
            command.host,
            f"{name} does not remember the password that it was given"
            if command.asked
            else f"{name} asks for a password",
            _REMEMBER if command.asked else _NO_PASSWORD,
        )
        error.said = result.whole
        return error
    if result.late:
        brief, what = (f"did not end within {command.deadline} s{of}" for of in ("", f": {command.shown()}"))
    else:
        brief = f"exit code {result.code}"
        what = f"{brief} from: {command.shown()}\n    it said: {result.words}"
    error = FleetError(command.host, f"{command.why}: {what}", "mend that on the host, then run again")
    error.brief, error.said = f"{command.why}: {brief}", result.whole
    return error


def raise_all(errors: Sequence[Exception]) -> None:
    """Raises what went wrong, all of it, as one error. An error that nobody foresaw is raised as it is."""
    if not errors:
        return
    unforeseen = [error for error in errors if not isinstance(error, Refusal)]
    if unforeseen:
        raise unforeseen[0]
    if len(errors) == 1:
        raise errors[0]
    foreseen = [error for error in errors if isinstance(error, Refusal)]
    for error in foreseen:
        if isinstance(error, EvidenceError):  # of this machine, so no host is at fault
            raise error
    kind = Unreachable if any(isinstance(e, Unreachable) for e in foreseen) else FleetError  # what is unknown wins
    joined = kind(
        ", ".join(dict.fromkeys(e.where for e in foreseen)),
        "; ".join(f"{e.where}: {e.what}" for e in foreseen),
        _joined([(e.where, e.remedy) for e in foreseen]),
    )
    joined.parts = tuple(foreseen)
    raise joined


def _joined(remedies: Sequence[tuple[str, str]]) -> str:
    """One remedy for all, or each with those that it is for; all that a host has, whose lanes may fail at once."""
    hosts: dict[str, dict[str, None]] = {}
    for host, remedy in remedies:
        hosts.setdefault(remedy, {})[host] = None
    return next(iter(hosts)) if len(hosts) == 1 else "; ".join(f"{', '.join(on)}: {what}" for what, on in hosts.items())
