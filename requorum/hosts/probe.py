"""What a host is like, asked in one trip at the start of a procedure: by its login, of sudo, and as root."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from requorum.command import BECOME, Result, look
from requorum.hosts import clock, sudo
from requorum.hosts.clock import Reading
from requorum.hosts.question import Question
from requorum.hosts.sudo import Sudo
from requorum.refusal import Refusal

# The clock comes first. A proxy itself is not told: it may hold a password.
_SCRIPT = """
date +%s.%N
has() { grep -Eqi "^ *(export +)?$1=" /etc/environment 2>/dev/null; }
! has '(https?|all)_proxy' || has no_proxy || echo proxy
! command -v restorecon >/dev/null || ! getenforce 2>/dev/null | grep -Eqx 'Enforcing|Permissive' || echo labels
"""


@dataclass(frozen=True)
class Probed:
    """`proxy`: whether /etc/environment has one for every address. `labels`: whether files have labels of SELinux that
    can be set anew, enforced or not."""

    sudo: Sudo = field(default_factory=Sudo)
    clock: Reading | str = "was not asked"
    proxy: bool = False
    labels: bool = False

    def oddities(self) -> list[str]:
        """What is unlike most hosts, each with what it means for a run."""
        proxy = (
            "/etc/environment has a proxy and no no_proxy: where sudo gives it to root, etcdctl asks members through it"
        )
        labels = "SELinux is on: what is placed or put back gets its label by restorecon"
        return [*([proxy] if self.proxy else []), *([labels] if self.labels else []), *self.sudo.oddities()]


def ask_host(host: str, become: Sequence[str] = BECOME) -> Question[Probed]:
    """To be asked at once, since the clock is told by when."""
    began = time.time()
    own = look(host, "sh", "-c", _SCRIPT, why="clock, proxy, SELinux", root=False)
    asked = sudo.ask_sudo(host, become)

    def read(said: Result, listing: Result, answer: Result) -> Probed:
        first, _, rest = said.stdout.partition("\n")
        told = clock.read(first, said, began)
        found = rest.split()
        if strange := set(found) - {"proxy", "labels"}:
            raise Refusal(host, f"tells {min(strange)[:200]!r} of itself, which was not asked", "look at that login")
        return Probed(asked.understand([listing, answer]), told, "proxy" in found, "labels" in found)

    return Question((own, *asked.commands), read)
