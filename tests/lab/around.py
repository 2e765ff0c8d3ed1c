"""A plugin for a run: what each Given and each Then leaves changed on any host of the lab, a line each in a file."""

from __future__ import annotations

import json
import os
from collections.abc import Generator
from pathlib import Path

import pytest

from compose.nodes import Nodes
from tests.lab import listing

FILE = "REQUORUM_LAB_CHANGES"  # the environment's word for where it is written


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    if item.name.startswith("test_when_"):
        return (yield)
    nodes = Nodes.read()
    before = listing.taken(nodes)
    try:
        return (yield)
    finally:
        changed = listing.changes(before, listing.taken(nodes))
        with Path(os.environ[FILE]).open("a", encoding="utf-8") as file:
            file.write(json.dumps({"stage": item.name, "changed": changed}) + "\n")
