"""What the probe at the start of a procedure found its hosts to be like: kept for what follows, and odd ones named."""

from __future__ import annotations

from collections.abc import Mapping

from requorum.hosts.probe import Probed
from requorum.run.run import Run


def keep(run: Run, found: Mapping[str, Probed]) -> None:
    """Of the hosts that were asked: their sudo's own time goes on top of each deadline, what is odd is a note."""
    run.probed |= found
    odd: dict[str, list[str]] = {}
    for host, probed in found.items():
        login = run.fleet.logins.get(host)
        run.fleet.patience[host] = probed.sudo.seconds
        for what in filter(None, (str(login or ""), *probed.oddities())):
            odd.setdefault(what, []).append(host)
    for what, hosts in odd.items():
        run.note(f"{', '.join(hosts)}: {what}")
