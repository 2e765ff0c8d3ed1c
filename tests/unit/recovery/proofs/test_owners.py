"""Installed passwords are for their owner alone, and he is who he was."""

from __future__ import annotations

import pytest

from requorum.recovery.proofs.configuration import wrong_owners

BEFORE = {"root": ("irisadmin:domain users", 0o600)}


@pytest.mark.parametrize(
    ("owner", "mode", "says"),
    [
        ("irisadmin:domain users", 0o600, []),
        ("irisadmin:irisadmin", 0o600, []),  # the vendor's unpack names the group, or the account's was another then
        (
            "dbquery:domain users",
            0o600,
            ["root/password belongs to dbquery:domain users, before to irisadmin:domain users"],
        ),
        ("irisadmin:irisadmin", 0o640, ["root/password has mode 640"]),
    ],
)
def test_a_group_that_may_not_read_it_is_any(owner: str, mode: int, says: list[str]) -> None:
    assert wrong_owners({"root": (owner, mode)}, BEFORE) == says


def test_a_role_that_was_not_there_belongs_to_whom_the_vendor_gives_it() -> None:
    assert wrong_owners({"new": ("root:root", 0o600)}, BEFORE) == []
