"""Which advisories concern which version: by the first good release of its own series."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from requorum.diagnosis.check import advisories
from requorum.diagnosis.check.advisories import ADVISORIES, Release


@pytest.mark.parametrize(
    ("version", "names"),
    [
        ("3.5.33", []),
        ("3.7.1", []),
        ("3.8.0", []),
        ("3.7.0", ["CVE-2026-73499"]),
        ("3.5.30", ["CVE-2026-73499"]),
        ("3.5.28", ["CVE-2026-44283", "CVE-2026-73499"]),
        ("3.5.27", ["CVE-2026-33413", "CVE-2026-33343", "CVE-2026-44283", "CVE-2026-73499"]),
        ("3.6.0-rc.1", ["CVE-2026-33413", "CVE-2026-33343", "CVE-2026-44283", "CVE-2026-73499"]),
        ("3.4.44", ["CVE-2026-73499"]),
        ("no version", []),
    ],
)
def test_a_version_has_what_was_not_mended_in_its_series(version: str, names: list[str]) -> None:
    assert [a.name for a in advisories.of(version)] == names


@pytest.mark.parametrize(
    ("version", "grave"),
    [("3.4.19", 0), ("3.4.20", 1), ("3.4.22", 0), ("3.5.0", 2), ("3.5.3", 1), ("3.5.5", 2), ("3.5.6", 0), ("3.6.0", 0)],
)
def test_versions_whose_members_may_differ_are_known(version: str, grave: int) -> None:
    assert sum(a.data for a in advisories.of(version)) == grave


@given(st.sampled_from(ADVISORIES), st.tuples(st.just(3), st.integers(3, 8), st.integers(0, 40)))
def test_what_is_mended_stays_mended_in_its_series(advisory: advisories.Advisory, version: Release) -> None:
    later = (*version[:2], version[2] + 1)
    begins = later in advisory.since
    assert advisory.concerns(version) or begins or not advisory.concerns(later)


def test_every_row_names_its_source() -> None:
    assert all("/" in advisory.source and advisory.fixed for advisory in ADVISORIES)
    assert len({advisory.name for advisory in ADVISORIES}) == len(ADVISORIES)


def test_each_row_says_when_it_was_looked_up_and_an_old_table_is_said() -> None:
    last = max(advisory.seen for advisory in ADVISORIES)
    assert all(str(advisory.seen) in advisories.told(advisory) for advisory in ADVISORIES)
    assert advisories.old(last + timedelta(days=180)) == ""
    assert "181 days ago" in advisories.old(last + timedelta(days=181))
