"""By which cipher a host's data goes: of those that the site allows, one that processors have instructions for.

Up to OpenSSH 9 the first choice has none, and 1 GB takes half as long again as by AES-GCM.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

from requorum.inventory import Inventory

QUICK = frozenset({"aes128-gcm@openssh.com", "aes256-gcm@openssh.com"})
_FLAGS = Path("/proc/cpuinfo")


def quicker(inventory: Inventory, host: str, prefix: Sequence[str], seconds: float) -> tuple[str, ...]:
    """`prefix`, the words of an `ssh` to `host`, with its own ciphers, as `ssh -G` tells them, in another order. As it
    is where no data goes, where this machine would gain nothing, and where ssh does not tell within `seconds`."""
    program, *words = prefix
    if host not in {m.host for m in (*inventory.members, *inventory.old_members)} or not _has_instructions():
        return tuple(prefix)
    try:
        told = subprocess.run(
            (program, "-G", *words), stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return tuple(prefix)
    found = re.search(r"^ciphers (\S+)$", told.stdout.decode(errors="replace"), re.MULTILINE)
    allowed = found[1].split(",") if found else []
    ordered = sorted(allowed, key=lambda cipher: cipher not in QUICK)
    return tuple(prefix) if ordered == allowed else (program, "-o", f"Ciphers={','.join(ordered)}", *words)


def _has_instructions() -> bool:
    try:
        return bool(re.search(r"^(flags|Features)\s*:.*\baes\b", _FLAGS.read_text(encoding="utf-8"), re.MULTILINE))
    except OSError:
        return False
