"""What is read of an Ansible inventory: hosts by group, with children, ranges and variables."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from requorum import ansible
from requorum.refusal import Refusal

INI = """
# a site
bastion ansible_host=192.0.2.1

[etcd]
etcd-[1:3] ansible_user=ops   ; three
[infra]
infra-1 ansible_host="192.0.2.21"
[query]
query-[01:02]:2222
[deephaven:children]
infra
query
[etcd:vars]
ansible_port=22
"""
YAML = """
all:
  children:
    etcd:
      hosts:
        etcd-[1:3]: {ansible_user: ops}
    deephaven:
      children:
        infra: {hosts: {infra-1: {ansible_host: 192.0.2.21}}}
        query: {hosts: {query-01: , query-02: }}
"""


@pytest.mark.parametrize(("name", "text"), [("hosts", INI), ("hosts.yml", YAML)])
def test_groups_have_their_hosts_in_their_order(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    groups = ansible.read(tmp_path / name)
    assert list(groups["etcd"]) == ["etcd-1", "etcd-2", "etcd-3"]
    assert groups["etcd"]["etcd-2"] == {"ansible_user": "ops"}
    assert list(groups["deephaven"]) == ["infra-1", "query-01", "query-02"]
    assert groups["deephaven"]["infra-1"] == {"ansible_host": "192.0.2.21"}


def test_a_group_that_is_not_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    (tmp_path / "hosts").write_text(INI)
    with pytest.raises(Refusal, match=r"has no hosts in a group etcds\n.*deephaven, etcd, infra, query"):
        ansible.hosts(tmp_path / "hosts", ansible.read(tmp_path / "hosts"), "etcds")


def test_a_line_that_is_no_host_is_named(tmp_path: Path) -> None:
    (tmp_path / "hosts").write_text("[etcd]\netcd-1 ansible_host\n")
    with pytest.raises(Refusal, match=r"hosts:2: is no host with variables"):
        ansible.read(tmp_path / "hosts")


def test_groups_that_are_in_each_other_end(tmp_path: Path) -> None:
    (tmp_path / "hosts").write_text("[a:children]\nb\n[b:children]\na\n[b]\nx\n")
    assert list(ansible.read(tmp_path / "hosts")["a"]) == ["x"]


@given(text=st.text(alphabet="ab[]:=\"' \n#;1-{}", max_size=80), ending=st.sampled_from(["", ".yml"]))
def test_any_text_gives_groups_or_a_refusal(tmp_path_factory: pytest.TempPathFactory, text: str, ending: str) -> None:
    path = tmp_path_factory.mktemp("any") / f"hosts{ending}"
    path.write_text(text)
    try:
        groups = ansible.read(path)
    except Refusal:
        return
    assert all(isinstance(host, str) for there in groups.values() for host in there)
