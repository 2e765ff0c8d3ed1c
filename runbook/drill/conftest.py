"""What the stages of one drill share: the lab instead of the inventory's machines, which no drill ever touches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from requorum.inventory import Inventory
from requorum.recovery import drill
from requorum.recovery.drill import Drill
from requorum.run.run import Run, Section
from runbook.drill import lab


@pytest.fixture(scope="session")
def exercise(pytestconfig: pytest.Config, named_inventory: Inventory | None) -> Drill:
    """The snapshot that is drilled, verified before a lab is made."""
    return drill.choose(pytestconfig.getoption("snapshot"), named_inventory)


@pytest.fixture(scope="session", name="_run")
def _run_fixture(
    exercise: Drill,
    named_inventory: Inventory | None,
    open_run: Callable[[Inventory, str | None], AbstractContextManager[Run]],
) -> Iterator[Run]:
    """The run on the lab's machines, with evidence under the name of the cluster whose backup it is."""
    members = len(named_inventory.members) if named_inventory else 3
    with lab.there(members, exercise.etcd, Path(exercise.source.path)) as ground:
        inventory = drill.inventory_of(ground.inventory, exercise, named_inventory)
        with open_run(inventory, exercise.cluster or "drill") as run:
            run.options = drill.options(run.options, exercise)
            exercise.made = ground.made
            run.hand_in(Section(exercise.fields))
            yield run
