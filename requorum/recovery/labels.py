"""SELinux's labels: what is placed gets those that the host's policy has for its place. Pure.

`mv` keeps the label of where a file was made, and systemd does not find a unit with a foreign one.
"""

from __future__ import annotations

from requorum.cluster import etcd
from requorum.command import Command, act
from requorum.recovery.undo import baseline
from requorum.run.terms import Terms


def anew(terms: Terms, host: str, *places: str) -> list[Command]:
    """Nothing on a host without labels. A place that is not there is passed over."""
    if host not in terms.labels:
        return []
    return [act(host, "restorecon", "-i", "-R", *places, why="SELinux's labels are the policy's for these places")]


def of_configuration(terms: Terms, host: str) -> list[Command]:
    """Of all that is not data: configuration, unit, clients' files. systemd looks at the unit again."""
    unit = terms.inventory.etcd.unit
    units = (f"{lib}/systemd/system/{unit}" for lib in ("/etc", *etcd.LIBS))
    places = (baseline.configurations(terms.inventory), *units, terms.inventory.deephaven.client_config)
    plan = anew(terms, host, *places)
    return [*plan, act(host, "systemctl", "daemon-reload", why="systemd finds the unit")] if plan else []
