"""On a host with SELinux what is placed or put back has its label, and a rollback compares labels; elsewhere nothing is
asked or run for it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from requorum.command import Command
from requorum.hosts import sudo, system
from requorum.hosts.probe import Probed
from requorum.hosts.sudo import Sudo
from requorum.hosts.system import Entry
from requorum.recovery import plan
from requorum.recovery.undo import baseline, rollback
from requorum.recovery.undo.baseline import Difference, Record
from requorum.refusal import Refusal
from requorum.run.terms import Terms
from requorum.troubleshoot import sudoers
from tests.unit import build
from tests.unit.build import CLIENT, SHORT, STOPPED, TOKEN, UNIT, lines, understood

HOSTS = ("etcd-1", "etcd-2", "etcd-3")
UNITS = f"/etc/systemd/system/{UNIT} /usr/lib/systemd/system/{UNIT} /lib/systemd/system/{UNIT}"
RELABEL = f"{SHORT} restorecon -i -R /etc/etcd/dh {UNITS} {CLIENT}"
LABEL = "system_u:object_r:etc_t:s0"
LINK, DIRECTORY = "/etc/etcd/dh/latest", "/etc/etcd/dh/old"


def on(*hosts: str) -> Terms:
    return replace(build.terms(), labels=frozenset(hosts))


def entry(path: str, label: str = LABEL, **fields: Any) -> Entry:
    return replace(Entry(path, "d", "750", "root:etcd", label=label), **fields)


def installed(terms: Terms) -> list[Command]:
    nothing = dict.fromkeys(HOSTS, ())
    return plan.install_servers(terms, dict.fromkeys(HOSTS, STOPPED), dict.fromkeys(HOSTS), nothing)


def restored(terms: Terms, *there: str) -> list[Command]:
    configs = {host: build.config(n, TOKEN) for n, host in enumerate(HOSTS, start=1)}
    existing = {host: (f"{build.inventory().etcd.data_root}/.", *there) for host in HOSTS}
    return plan.restore(terms, dict.fromkeys(HOSTS, build.BUMPING), configs, existing, "5a5a")


def put_back(terms: Terms, *entries: Entry, **found: Any) -> list[Command]:
    record = Record(entries, "enabled", False, None)
    return rollback.put_back(terms, {"etcd-2": Difference(**found)}, {"etcd-2": record})


def test_where_there_are_no_labels_nothing_is_run_or_asked_for_them() -> None:
    plain, labelled = build.terms(), on("etcd-2")
    for made in (installed, restored):
        elsewhere = [command for command in made(labelled) if command.host != "etcd-2"]
        assert elsewhere == [command for command in made(plain) if command.host != "etcd-2"]
        assert not [line for line in lines(made(plain)) if "restorecon" in line]
    asked = [baseline.ask_listing(host, labelled).commands for host in ("etcd-1", "etcd-2")]
    assert [" %Z" in command.argv[2] for (command,) in asked] == [False, True]


def test_an_installed_unit_and_configuration_have_their_labels_before_systemd_looks() -> None:
    assert [line for line in lines(installed(on("etcd-2"))) if line.startswith("etcd-2")][1:] == [
        f"etcd-2: {RELABEL}",
        f"etcd-2: {SHORT} systemctl daemon-reload",
    ]


def test_installed_client_files_have_their_labels() -> None:
    made = lines(plan.install_clients(on("query-1"), {"a": "1"}, {"infra-1": {}, "query-1": {}}))
    assert made[2:] == [f"query-1: {SHORT} restorecon -i -R {CLIENT}"]


@pytest.mark.parametrize("cut", [False, True])
def test_restored_data_has_its_label_also_where_a_run_was_cut_before_it(cut: bool) -> None:
    data = f"/var/lib/etcd/dh/{TOKEN}"
    made = lines(restored(on("etcd-2"), *([f"{data}/member"] if cut else [])))
    assert [line for line in made if line.startswith("etcd-2")][-1] == f"etcd-2: {SHORT} restorecon -i -R {data}"
    assert len(made) == 1 or not cut


def test_a_copy_brings_its_own_label_back_and_a_directory_in_place_gets_it() -> None:
    made = lines(put_back(on("etcd-2"), entry(LINK), lacking=(LINK,), retouched=(entry(DIRECTORY),)))
    assert f"etcd-2: {SHORT} chcon {LABEL} {DIRECTORY}" in made
    assert not [line for line in made if "restorecon" in line]
    assert not [line for line in lines(put_back(build.terms(), retouched=(entry(DIRECTORY),))) if "chcon" in line]


def test_where_a_record_knows_no_labels_what_is_put_back_gets_the_policys() -> None:
    made = lines(put_back(on("etcd-2"), entry(LINK, label=""), lacking=(LINK,)))
    assert made[1:] == [f"etcd-2: {RELABEL}", *[f"etcd-2: {SHORT} systemctl daemon-reload"] * 2]


@pytest.mark.parametrize(
    ("was", "now", "differs"),
    [(LABEL, LABEL, False), (LABEL, "a:b:c:s0", True), ("", LABEL, False), (LABEL, "", False)],
)
def test_another_label_is_a_difference_and_one_that_was_not_asked_is_none(was: str, now: str, differs: bool) -> None:
    found = baseline.difference([entry(DIRECTORY, was)], [entry(DIRECTORY, now)])
    assert bool(found) is differs
    assert not differs or str(found) == f"another mode, owner or label: {DIRECTORY}"


def test_a_label_is_read_behind_an_owner_whose_group_has_a_space() -> None:
    question = system.ask_listing("h", "/data", UNIT, ["/a"], labels=True)
    said = f"d 750 etcd:domain users {LABEL}:c0.c1023\0/a\0\0f 640 etcd:etcd\0/a/b\0\0"
    one, other = understood(question, said)
    assert (one.owner, one.label) == ("etcd:domain users", f"{LABEL}:c0.c1023")
    assert (other.owner, other.label) == ("etcd:etcd", "")


def test_a_label_that_is_none_goes_no_further() -> None:
    with pytest.raises(Refusal, match="etcd-2: "):
        baseline._held("etcd-2", on("etcd-2"), (entry(DIRECTORY, "-R /"),))


def test_sudos_lines_for_labels_are_printed_for_all_and_missed_only_where_there_are_labels() -> None:
    inventory = build.inventory()
    needs = [need for need in sudoers.needed(inventory) if need.labels]
    assert needs and all(need.line("ops") in sudoers.file(inventory, "ops") for need in needs)
    nothing_else = tuple(sudo.parse(granted(inventory)))
    lacking = {
        labels: sudoers.lacked(inventory, Probed(Sudo(grants=nothing_else), labels=labels)) for labels in (False, True)
    }
    assert lacking == {False: (), True: tuple(needs)}


def test_every_command_for_labels_has_its_line() -> None:
    terms = on(*HOSTS, "infra-1", "query-1")
    made = [*installed(terms), *restored(terms), *put_back(terms, retouched=(entry(DIRECTORY), entry(CLIENT)))]
    made += plan.install_clients(terms, {"a": "1"}, {"infra-1": {}, "query-1": {}})
    (listing,) = baseline.ask_listing("etcd-1", terms).commands
    assert sudoers.unlisted(build.inventory(), [command.line() for command in (*made, listing)]) == []


def granted(inventory: Any) -> str:
    head = "User x may run the following commands on h:\n"
    lines = (need.line("x").removeprefix("x ALL=") for need in sudoers.needed(inventory) if not need.labels)
    return head + "".join(f"    {line}\n" for line in lines)
