"""YAML of the operator's and of hosts': a value, or an error that the reader names its file with."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from requorum import inventory, yaml_text
from requorum.cluster import etcd
from requorum.refusal import Refusal
from requorum.troubleshoot import debug_logging

# Nine of nine of nine …: 10^9 values, were the aliases followed.
BOMB = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10))
BAD = [
    BOMB,
    "a: &a [*a]\n",
    "a: &a {x: 1}\nb: {<<: *a}\n",
    "[" * 5000,
    "a: 2001-99-99\n",
    f"a: {'9' * 5000}\n",
    "a: \x00",
]


@pytest.mark.parametrize("text", BAD, ids=["bomb", "loop", "merge", "deep", "no date", "long number", "no character"])
def test_every_reader_refuses_it_and_says_where(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.yaml").write_text(text)
    for where, read in (
        (str(tmp_path / "x.yaml"), lambda: inventory.load(tmp_path / "x.yaml")),
        ("etcd-1", lambda: etcd.parse_config(text, "etcd-1")),
        ("etcd-1", lambda: debug_logging.switched_on(text, debug_logging.setting("3.5.16"), "etcd-1")),
    ):
        with pytest.raises(Refusal, match="YAML") as error:
            read()
        assert error.value.where == where and len(str(error.value)) < 1000


def test_an_alias_is_named_with_its_line() -> None:
    with pytest.raises(yaml_text.YAMLError, match=r"the alias \*a is not followed(?s:.*)line 2"):
        yaml_text.load("a: &a 1\nb: *a\n")


def test_a_field_may_be_called_off_as_in_the_inventory() -> None:
    assert yaml_text.load("off: [a, off]\n", unique=True) == {"off": ["a", False]}
    with pytest.raises(yaml_text.YAMLError, match="the name off is given twice"):
        yaml_text.load("off: 1\n'off': 2\n", unique=True)


def test_an_anchor_alone_is_plain_yaml() -> None:
    assert yaml_text.load("a: &a 1\n") == {"a": 1}


WORDS = [
    *"a:1-[]{}&*!<>|'\"#%@, \n.=~0x_e+",
    "!!int ",
    "!!bool ",
    "!!float ",
    "!!timestamp ",
    "!!map ",
    "!!set ",
    "!!omap ",
]


@given(st.lists(st.sampled_from(WORDS)).map("".join))
def test_any_text_gives_a_value_or_the_one_error(text: str) -> None:
    with suppress(yaml_text.YAMLError):
        yaml_text.load(text, unique=True)
