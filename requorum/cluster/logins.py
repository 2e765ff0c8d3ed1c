"""Roles' logins on their way into an isolated boot: an archive that is in memory and in its standard input alone."""

from __future__ import annotations

from collections.abc import Sequence

from requorum.command import Command

MOST = 1 << 20  # bytes of all logins; as the boot's own program says


def packed(host: str, directory: str, roles: Sequence[str], whose: str) -> Command:
    """Prints the archive of what lies in `directory`; files alone: roles may share a login by a link, and the boot
    takes no link."""
    files = [f"./{role}/{name}" for role in roles for name in ("user", "password")]
    argv = ("tar", "--create", "--file=-", "--dereference", "--hard-dereference", f"--directory={directory}", *files)
    return Command(host, argv, f"{whose}, for its standard input", changes=False, secret=True, most=MOST)
