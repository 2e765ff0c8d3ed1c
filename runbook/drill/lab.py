"""The drill's way to the lab: the one place below `runbook/` that knows `compose`.

A lab that is up is used as it is and stays up, with the drilled data in it; else one is made and taken down again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

try:
    from compose import image, lab, state
    from compose.errors import LabError, StateError
    from compose.state import LabState, Role
except ModuleNotFoundError as missing:
    pytest.exit(f"a drill needs the lab, and that needs {missing.name}: ./setup python3 lab", returncode=4)

from requorum import inventory as inventories
from requorum.inventory import Inventory
from requorum.refusal import Refusal

OWN_BACKUPS = state.BACKUPS


class DrillError(Refusal):
    """The drill cannot be held."""


@dataclass(frozen=True)
class Ground:
    """The lab's machines, and whether this drill made them."""

    inventory: Inventory
    made: bool


@contextmanager
def there(members: int, etcd_version: str | None, snapshot: Path) -> Iterator[Ground]:
    """A lab that is up. `members` and the version (of production's etcd, as "3.5.16") count only where one is made.

    Raises `DrillError` where no lab can be had, or where taking it down would remove the `snapshot` itself.
    """
    try:
        try:
            found = LabState.read()
            made = False
            counts = {role: len(found.of(role)) for role in (Role.MEMBER, Role.SPARE, Role.QUERY)}
            lab.up(members=counts[Role.MEMBER], spares=counts[Role.SPARE], hosts=counts[Role.QUERY], etcd=found.etcd)
        except StateError:
            made = True
            if OWN_BACKUPS in snapshot.resolve().parents:
                raise DrillError(
                    str(snapshot),
                    "lies among the lab's own backups, which are removed with the lab that this drill would make",
                    "copy it, and its .json, to another directory first; or run `python -m compose.lab up` before",
                ) from None
            lab.up(members=members, etcd=suite(etcd_version))
        ground = Ground(inventories.load(state.INVENTORY), made)
    except LabError as error:
        raise DrillError("the lab", str(error), "mend that, or run `python -m compose.lab down` first") from None
    try:
        yield ground
    finally:
        if ground.made:
            lab.down()


def suite(version: str | None) -> str:
    """The lab's etcd that is nearest to production's: the same minor version, else the newest there is."""
    minor = ".".join((version or "3.5").split(".")[:2])
    return minor if minor in image.SUITES else "testing"
