"""The last lines where Step 0 asks whether quorum is lost, for each answer."""

from __future__ import annotations

from dataclasses import replace

import pytest

from requorum.cluster import quorum
from requorum.cluster.quorum import MemberFacts
from requorum.hosts.systemd import Unit
from requorum.run.marker import Phase
from tests.unit import build
from tests.unit.cluster.test_quorum import DARK, DEAD, DOWN, MUTE, UP, sheet
from tests.unit.plugin.ending.ended import block, did, ended, pasted

LOOPING = Unit("loaded", "activating", "auto-restart", "enabled", "x")


def quorum_screen(*members: MemberFacts) -> tuple[dict[str, str], list[str]]:
    """The last lines where Step 0 asks whether quorum is lost, and what is pasted by hand."""
    refused = quorum.refusal(quorum.decide(members), False, build.UNIT, taking_part=("etcd-1", "etcd-2"))
    of = ended(refused, 0, "test_given_quorum_is_lost", did=did(Phase.OPEN))
    return block(of), [line for line in pasted(of) if line.startswith("ssh ")]


def by_ssh(host: str, line: str) -> str:
    return f"ssh {host}.invalid sudo -n timeout -k 5 60 {line}"


JOURNAL = f"journalctl --no-pager -q -o cat -n 80 -u {build.UNIT}"


def test_etcd_that_ends_whenever_it_starts_is_no_good_news_and_nobody_starts_it_once_more() -> None:
    loops = [replace(sheet(number, DOWN), unit=LOOPING) for number in (1, 2)]
    found, lines = quorum_screen(*loops, sheet(3, DOWN))
    assert "Good news" not in found and found["Asked"] == "Is quorum lost? That is not known."
    assert found["Found"].startswith("etcd-1, etcd-2: its etcd starts and ends again and again; down, with its data")
    assert found["Do first"].startswith("read why etcd ends on etcd-1, etcd-2, as its journal says, and mend that")
    assert found["Go on"].endswith("looks again, and says the same until something has changed")
    assert lines == [by_ssh(host, JOURNAL) for host in ("etcd-1", "etcd-2")]


def test_one_that_ends_whenever_it_starts_does_not_spoil_the_good_news_of_a_majority() -> None:
    found, lines = quorum_screen(replace(sheet(1, DOWN), restarts=True), sheet(2, DOWN), sheet(3, DOWN))
    assert found["Good news"].startswith("nothing needs to be rebuilt: etcd-2, etcd-3 have their data")
    assert lines == [by_ssh(host, f"systemctl start --no-block {build.UNIT}") for host in ("etcd-2", "etcd-3")]


def test_one_member_whose_start_is_enough_is_named_as_one() -> None:
    found, _ = quorum_screen(sheet(1, MUTE), sheet(2, DEAD), sheet(3, DOWN))
    assert found["Good news"].endswith("etcd-3 has its data and address in place, and only needs starting")
    assert "all of them" not in found["Do first"]


def test_nothing_that_unmasks_is_pasted_and_first_somebody_is_asked_why() -> None:
    masked = replace(sheet(3, DOWN), unit=Unit("masked", "inactive", "dead", "masked", "x"))
    for members in ((sheet(1, MUTE), sheet(2, DOWN), masked), (sheet(1, UP), sheet(2, UP), masked)):
        found, lines = quorum_screen(*members)
        assert found["Do first"].startswith(f"{build.UNIT} is masked on etcd-3: ask who masked it there, and why")
        assert not any("unmask" in line for line in lines)


def test_a_machine_that_answers_is_never_gone_and_its_journal_is_a_line() -> None:
    found, lines = quorum_screen(*(replace(sheet(number, UP), has_leader=None) for number in (1, 2)), sheet(3, DEAD))
    assert found["Found"].startswith("etcd-1, etcd-2: the machine answers, its etcd does not; unit loaded, active")
    assert lines == [by_ssh(host, JOURNAL) for host in ("etcd-1", "etcd-2")]
    assert "--gone" not in "".join(found.values()).replace("--gone=etcd", "")


@pytest.mark.parametrize(("number", "may_be_gone"), [(1, False), (3, True)])
def test_only_a_silent_machine_that_the_new_cluster_does_not_need_may_be_gone(number: int, may_be_gone: bool) -> None:
    states = {**dict.fromkeys((1, 2, 3), DEAD), number: DARK, 2: DARK}
    found, lines = quorum_screen(*(sheet(n, state) for n, state in states.items()))
    assert ("--gone=HOST" in found["Do first"]) is may_be_gone and not lines


def test_members_that_contradict_each_other_are_said_to() -> None:
    found, _ = quorum_screen(sheet(1, UP), sheet(2, DEAD), sheet(3, DEAD))
    assert found["Asked"] == "Is quorum lost? The members contradict each other."
    assert found["Do first"].startswith("on etcd-1, see of how many members its cluster is: it sees a leader")


def test_a_cluster_that_has_no_spare_left_says_so() -> None:
    found, _ = quorum_screen(sheet(1, UP), sheet(2, UP), sheet(3, DEAD))
    assert found["Do first"] == (
        "leave the others as they are: with one more that fails it stops. Mend or replace etcd-3 by day"
    )


def test_where_all_members_are_up_nobody_says_that_etcd_works_and_what_is_wrong_is_looked_for() -> None:
    """A quota that is used up, or a password that nobody knows, is no lost quorum, and no health either."""
    found, lines = quorum_screen(sheet(1, UP), sheet(2, UP), sheet(3, UP))
    assert "works" not in found["Good news"] and "it is something else" in found["Good news"]
    assert found["Do first"].startswith("find out what is wrong, by the line below")
    assert "runbook/troubleshoot/diagnose" in found["Look"] and not lines
