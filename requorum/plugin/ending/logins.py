"""A password that the trial refuses, in the last lines: whose it is and where it lies, not where it was tried."""

from __future__ import annotations

import re

from requorum.inventory import Inventory
from requorum.refusal import Disproved, Refusal

_REFUSED = re.compile(r"an old password does not log in: (.+)", re.S)
_ROLE = re.compile(r"(?:^|; )([\w.-]+): ")


def placed(one: Refusal, inventory: Inventory | None) -> Refusal:
    """The same about the machines that hold these passwords; any other error as it is."""
    if not isinstance(one, Disproved) or inventory is None:
        return one
    said = next((found[1] for words in one.findings.values() if (found := _REFUSED.fullmatch(words))), "")
    if not (roles := list(dict.fromkeys(_ROLE.findall(said)))):
        return one
    several = len(roles) > 1
    words = (
        f"the old password{'s' * several} of {', '.join(roles)} {'do' if several else 'does'} not log in to the data "
        f"that is to be restored ({'each lies' if several else 'it lies'} on those of these hosts that have the role)"
    )
    remedy = one.remedy if several else one.remedy.replace("/ROLE/", f"/{roles[0]}/").replace("that role", "it")
    told = Disproved(one.claim, dict.fromkeys(inventory.deephaven.hosts, words), remedy)
    told.said, told.anew = _ROLE.sub(r"\n\1: ", said).strip(), one.anew
    return told
