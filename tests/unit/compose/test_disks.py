"""Where a bit of a member's log is flipped."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from compose import disks
from compose.errors import FaultError

LOG = b"\x04\0\0\0\0\0\0\x84head/main/a" + b"x" * 30 + b"/main/b" + b"y\0\0\0" + bytes(64)


def test_the_middle_is_a_key_of_the_second_half_and_the_tail_the_last_byte_that_was_written() -> None:
    assert LOG[disks.middle_of(LOG) :].startswith(b"main/b")
    assert LOG[disks.tail_of(LOG) :] == b"y" + bytes(67)


@pytest.mark.parametrize("log", [b"", bytes(64), b"/main/a" + b"x" * 30])
def test_a_log_that_holds_nothing_that_was_loaded_is_named(log: bytes) -> None:
    with pytest.raises(FaultError, match="holds no"):
        disks.middle_of(log)


def test_exactly_one_byte_is_another_one(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(LOG)
    at = disks.middle_of(LOG)
    subprocess.run(["sh", "-ec", disks.FLIP, "sh", str(tmp_path / "log"), str(at), str(LOG[at] ^ 1)], check=True)
    after = (tmp_path / "log").read_bytes()
    assert [i for i in range(len(LOG)) if after[i] != LOG[i]] == [at]
    assert len(after) == len(LOG)
