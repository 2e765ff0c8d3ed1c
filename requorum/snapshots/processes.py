"""Which of Deephaven's processes were up when the cluster was last healthy, host by host: a file beside the backups."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from requorum.inventory import Inventory

SCHEMA = 1


def path_of(inventory: Inventory) -> Path | None:
    """None where the inventory has no directory for backups."""
    directory = inventory.snapshot.directory
    return Path(directory, f"{inventory.cluster}-processes.json") if directory else None


def last_up(inventory: Inventory) -> dict[str, tuple[str, ...]]:
    """Host → names. A host that is not in it, or a file that cannot be read, tells nothing: then all must be up."""
    path = path_of(inventory)
    try:
        data = json.loads(path.read_text(encoding="utf-8")) if path else {}
        if not data or data["schema"] != SCHEMA:
            return {}
        return {host: tuple(map(str, names)) for host, names in data["up"].items() if names}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def text(up: Mapping[str, tuple[str, ...]]) -> str:
    return json.dumps({"schema": SCHEMA, "up": up}, indent=2, sort_keys=True) + "\n"
