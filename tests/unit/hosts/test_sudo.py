"""sudo's own words: what it gives root, how it refuses, how long it takes."""

from __future__ import annotations

import pytest

from requorum.command import MOST, Result
from requorum.hosts import sudo
from requorum.hosts.sudo import Sudo
from requorum.refusal import Refusal
from requorum.troubleshoot import sudoers
from tests.unit import build

LISTING = (
    "Matching Defaults entries for ops on h:\n    env_reset, {}\n\nUser ops may run the following commands on h:\n"
)


def asked(
    defaults: str = "",
    code: int = 0,
    out: str = "",
    err: str = "",
    seconds: float = 0.0,
    entries: str = "(root) NOPASSWD: ALL",
) -> Sudo:
    """What is understood of a host whose sudo has these defaults, and answers `true` so."""
    listed, taken = sudo.ask_sudo("h").commands
    text = LISTING.format(defaults) + f"    {entries}\n"
    return sudo.ask_sudo("h").understand([Result(listed, 0, text, "", 9.0), Result(taken, code, out, err, seconds)])


def test_a_sudo_as_most_are_has_nothing_odd() -> None:
    found = asked("secure_path=/sbin\\:/bin")
    assert (found.hinders, found.oddities(), found.path) == ("", [], "/sbin:/bin")


@pytest.mark.parametrize(
    ("defaults", "umask"),
    [("umask=0077", "0077"), ("umask=022, umask=0027", "0027"), ("umask_override", ""), ("!umask", ""), ("", "")],
)
def test_the_umask_that_sudo_sets_is_told_with_what_it_means(defaults: str, umask: str) -> None:
    found = asked(defaults)
    assert found.umask == umask
    assert [
        f"the umask {umask}: what the vendor's commands write may be root's alone" in odd for odd in found.oddities()
    ] == ([True] if umask else [])


def test_a_umask_that_is_none_is_refused() -> None:
    with pytest.raises(Refusal, match="h: its umask of sudo's is"):
        asked("umask=$(reboot)")


def test_a_slow_sudo_is_named_and_a_quick_one_is_not() -> None:
    assert asked(seconds=sudo.SLOW_SECONDS - 0.1).oddities() == []
    (slow,) = asked(seconds=7.25).oddities()
    assert slow.startswith("sudo takes 7.2 s to answer") and "directory service or name server" in slow


@pytest.mark.parametrize(
    ("said", "hinders"),
    [
        ({"code": 1, "err": "sudo: a password is required"}, "sudo refused: sudo: a password is required"),
        (
            {"code": 1, "err": "sudo: sorry, you must have a tty to run sudo"},
            "sudo refused: sudo: sorry, you must have a tty to run sudo",
        ),
        (
            {"out": "Authorized\x1b[2J use only\n"},
            "sudo prints 'Authorized?[2J use only' before every answer, so that none can be read",
        ),
        ({"err": "We trust you have received the usual lecture\n"}, ""),
    ],
)
def test_what_hinders_every_command_of_root_is_named(said: dict[str, object], hinders: str) -> None:
    assert asked(**said).hinders == hinders  # type: ignore[arg-type]


@pytest.mark.parametrize("entries", ["(ALL) ALL", "(ALL : ALL) ALL"])
def test_a_login_that_is_asked_for_no_password_anyway_needs_no_nopasswd(entries: str) -> None:
    """As root, one under `!authenticate` and one of an exempt group."""
    found = asked(entries=entries)
    assert found.grants is not None and sudo.allowed(found.grants, "-k 5 60 tar -c")
    refused = asked(entries=entries, code=1, err="sudo: a password is required")
    assert refused.grants is not None and not sudo.allowed(refused.grants, "-k 5 60 tar -c")


def test_a_password_that_only_some_commands_ask_for_is_still_missed() -> None:
    found = asked(entries="(root) ALL\n    (root) NOPASSWD: /usr/bin/timeout * true")
    assert found.grants is not None
    assert sudo.allowed(found.grants, "-k 5 20 true") and not sudo.allowed(found.grants, "-k 5 60 tar -c")


def test_a_command_that_the_list_does_not_have_is_not_allowed_because_another_was_taken() -> None:
    found = asked(entries="(root) /usr/bin/timeout * true")
    assert found.grants is not None and not sudo.allowed(found.grants, "-k 5 60 tar -c")


HEAVY = (
    "^(a+)+$",
    "^(a|a)*$",
    "^(.*a){20}$",
    "^(-k 5 60 )*(.*)*(.*)*(.*)*x$",
    "*a" * 4000,
    "?" * 8000,
    "[a-z]*" * 2000,
)


@pytest.mark.parametrize("entry", HEAVY)
def test_a_host_s_own_patterns_hold_no_machine_and_what_is_not_read_allows_nothing(entry: str) -> None:
    """As many as an answer holds, against every command of the runbook, stretched ones too: as `--check` does it."""
    line = f"    (root) NOPASSWD: /usr/bin/timeout {entry}\n"
    many = (line * (MOST // len(line)))[: MOST - 1000]
    found = asked(entries=many.lstrip())
    if found.grants is None:
        assert found.why == "it lists more entries than are read"
        return
    assert len(found.grants) <= sudo.MOST_GRANTS
    assert len(sudoers.missing(build.inventory(), found.grants, 2.0)) == len(sudoers.needed(build.inventory(), 2.0))
    assert sum(not grant.unread and (grant.arguments or "").startswith("^") for grant in found.grants) <= 16


def test_what_is_not_read_is_said_and_a_denial_that_is_not_read_denies() -> None:
    found = asked(entries="(root) NOPASSWD: ALL\n    (root) NOPASSWD: !/usr/bin/timeout ^(?=x).*$")
    assert found.grants is not None and not sudo.allowed(found.grants, "-k 5 60 true")
    (odd,) = found.oddities()
    said = "sudo's entry '/usr/bin/timeout ^(?=x).*$' is not read here: what it alone allows counts as not allowed"
    assert odd == said
    assert asked(entries="(root) NOPASSWD: /usr/bin/timeout ^-k 5 (60|900|7200) .*$").oddities() == []


def test_an_endless_row_of_tags_is_read_in_one_go() -> None:
    found = asked(entries="(root) " + "A:" * 400_000 + "NOPASSWD: /usr/bin/timeout *")
    assert found.grants is not None and sudo.allowed(found.grants, "-k 5 60 true")
