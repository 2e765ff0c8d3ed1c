"""Settings that stay: which they are, how they get into what was generated, and what a quota is too small for."""

from __future__ import annotations

import pytest
import yaml

from requorum.cluster import settings
from requorum.cluster.etcd import EtcdError, MemberConfig, parse_config
from tests.unit import build

GIB = 1 << 30
QUOTA = settings.QUOTA
TEXT = """# made by the generator
name: etcd-1
data-dir: /var/lib/etcd/dh/new
initial-cluster-token: new
initial-cluster: etcd-1=https://10.0.0.11:2380
snapshot-count: 10000
peer-transport-security:
  client-cert-auth: true
"""


def old(**values: str) -> dict[str, MemberConfig]:
    """host → a configuration with these settings; a name's `_` is a `-`."""
    said = tuple((name.replace("_", "-"), value) for name, value in values.items())
    return {"etcd-1": build.config(1, settings=said)}


def test_a_configuration_tells_its_plain_values_as_yaml_spells_them() -> None:
    told = dict(parse_config(TEXT + "quota-backend-bytes: 8589934592\npre-vote: true\n", "x").settings)
    assert (told[QUOTA], told["pre-vote"], told["snapshot-count"]) == ("8589934592", "true", "10000")
    assert "peer-transport-security" not in told


class TestKept:
    def test_nothing_unless_the_inventory_names_it(self) -> None:
        assert settings.kept((), old(quota_backend_bytes="8589934592")) == {}

    def test_the_old_value_and_one_that_is_named_before_it(self) -> None:
        told = old(quota_backend_bytes="8589934592", snapshot_count="5")
        assert settings.kept((QUOTA, "snapshot-count=7"), told) == {QUOTA: "8589934592", "snapshot-count": "7"}

    def test_what_no_member_tells_is_left_to_the_generator(self) -> None:
        assert settings.kept((QUOTA,), old()) == {}

    def test_members_that_differ_are_a_question(self) -> None:
        told = {**old(quota_backend_bytes="1"), "etcd-2": build.config(2, settings=((QUOTA, "2"),))}
        with pytest.raises(EtcdError, match="etcd-1, etcd-2: differ in quota-backend-bytes: 1, 2") as error:
            settings.kept((QUOTA,), told)
        assert "quota-backend-bytes=VALUE" in error.value.remedy

    def test_one_without_it_does_not_differ(self) -> None:
        told = {**old(quota_backend_bytes="1"), "etcd-2": build.config(2)}
        assert settings.kept((QUOTA,), told) == {QUOTA: "1"}

    @pytest.mark.parametrize("value", ["1\nname: x", "a b", "x: y", "{a: b}", "# x", "[1]", "'1'", "", "-x"])
    def test_a_hosts_word_that_is_more_than_a_value_is_refused(self, value: str) -> None:
        with pytest.raises(EtcdError, match="cannot be carried"):
            settings.kept((QUOTA,), old(quota_backend_bytes=value))


class TestWithSettings:
    def test_its_line_is_replaced_and_all_others_stay(self) -> None:
        new = settings.with_settings(TEXT, {"snapshot-count": "5000", QUOTA: "8589934592"})
        assert new == TEXT.replace("snapshot-count: 10000\n", "") + f"snapshot-count: 5000\n{QUOTA}: 8589934592\n"
        assert settings.with_settings(new, {QUOTA: "8589934592"}) == new, "a second time changes nothing"

    @pytest.mark.parametrize("text", ["{name: etcd-1, snapshot-count: 1}", "name: etcd-1\n'snapshot-count': 1\n"])
    def test_what_is_written_otherwise_is_right_too(self, text: str) -> None:
        new = yaml.safe_load(settings.with_settings(text, {"snapshot-count": "5"}))
        assert new == {"name": "etcd-1", "snapshot-count": 5}


class TestQuota:
    @pytest.mark.parametrize(
        ("said", "size", "wrong"),
        [
            ((), 2 * GIB - 1, False),
            ((), 2 * GIB, True),
            (((QUOTA, "0"),), 2 * GIB, True),
            (((QUOTA, str(8 * GIB)),), 3 * GIB, False),
            (((QUOTA, str(8 * GIB)),), 9 * GIB, True),
            (((QUOTA, "8.589934592e+09"),), 3 * GIB, False),
            (((QUOTA, "-1"),), 99 * GIB, False),
            (((QUOTA, "much"),), 3 * GIB, True),
        ],
    )
    def test_data_that_is_not_smaller_would_take_no_write(
        self, said: tuple[tuple[str, str], ...], size: int, wrong: bool
    ) -> None:
        assert (settings.too_small(said, size) is not None) is wrong

    @pytest.mark.parametrize("said", ["inf", "-inf", "nan", ".inf", "1e999", "9" * 5000, "two"])
    def test_a_hosts_quota_that_is_no_number_is_etcds_own(self, said: str) -> None:
        assert settings.quota([("quota-backend-bytes", said)]) == settings.DEFAULT_QUOTA

    def test_a_drill_of_large_data_has_none(self) -> None:
        assert settings.for_copies(GIB) == {}
        assert settings.too_small(settings.for_copies(3 * GIB).items(), 3 * GIB) is None
