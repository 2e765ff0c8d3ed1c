"""What an operator names for one procedure: members, and the options that only some procedures take. Pure.

`conftest.py` checks with it before any host is asked; `troubleshoot` works on the members that are given here.
"""

from __future__ import annotations

from collections.abc import Mapping

from requorum.command import LONG
from requorum.inventory import Inventory
from requorum.procedures import Procedure
from requorum.refusal import Refusal
from requorum.troubleshoot.restarts import choose

SECONDS = 20  # how long etcd is run directly unless --seconds says otherwise
LONGEST = LONG - 120  # the unit's own stop and start must fit into the command's deadline too


def check(procedure: Procedure, inventory: Inventory, given: Mapping[str, object]) -> None:
    """Raises `Refusal` for an option that the procedure does not take, lacks, or cannot use. `given`: by name."""
    takes = {name.rstrip("!") for name in procedure.takes}
    for name, value in given.items():
        if value not in (None, False) and name not in takes:
            others = ", ".join(map(_spelled, sorted(takes))) or "none of its own"
            raise Refusal(_spelled(name), f"is no option of {procedure.directory}", f"leave it out; it takes {others}")
    if "members!" in procedure.takes and not given.get("members"):
        names = ", ".join(member.name for member in inventory.members)
        raise Refusal(procedure.directory, "needs --members=NAME,…", f"name some of {names}")
    if given.get("members"):
        named = choose(inventory, str(given["members"])).members
        if "seconds" in takes and len(named) != 1:
            raise Refusal("--members", f"names {len(named)} members", f"{procedure.directory} works on exactly one")
    seconds = given.get("seconds")
    if isinstance(seconds, int) and not 1 <= seconds <= LONGEST:
        raise Refusal(f"--seconds={seconds}", f"must be from 1 to {LONGEST}", f"leave it out for {SECONDS}")


def _spelled(option: str) -> str:
    return f"--{option.replace('_', '-')}"
