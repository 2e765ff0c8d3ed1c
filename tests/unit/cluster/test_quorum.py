"""Is quorum lost? The decision as a table over what five kinds of faults leave behind, and as properties."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import permutations
from types import SimpleNamespace
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from requorum.cluster import quorum
from requorum.cluster.etcd import EtcdError, MemberConfig
from requorum.cluster.quorum import Installed, Kind, MemberFacts, Running, State, Verdict, decide
from requorum.command import Command, Result
from requorum.diagnosis import examination
from requorum.diagnosis.sheet import EtcdSheet
from requorum.hosts import system
from requorum.hosts.system import Reach
from requorum.hosts.systemd import Unit
from requorum.inventory import Member
from requorum.run import facts
from requorum.run.run import Run
from tests.unit import build

UP, MUTE, DOWN, DEAD, AWAY, DARK = (
    State.HEALTHY,
    State.LEADERLESS,
    State.STARTABLE,
    State.LOST,
    State.GONE,
    State.UNKNOWN,
)


def sheet(number: int, state: State) -> MemberFacts:
    """A fact sheet that is in `state`."""
    member = Member(name=f"etcd-{number}", host=f"etcd-{number}", ip=f"10.0.0.{10 + number}")
    plain = MemberFacts(member, unit=build.STOPPED, config=build.config(number), has_data=True, addresses=(member.ip,))
    return {
        State.HEALTHY: replace(plain, unit=build.RUNNING, has_leader=True),
        State.LEADERLESS: replace(plain, unit=build.RUNNING, has_leader=False),
        State.STARTABLE: plain,
        State.LOST: replace(plain, has_data=False),
        State.GONE: MemberFacts(member, gone=True),
        State.UNKNOWN: MemberFacts(member, reached=False),
    }[state]


def verdict(*states: State) -> Verdict:
    return decide([sheet(number, state) for number, state in enumerate(states, start=1)])


class TestTheStateOfAMember:
    plain = sheet(1, DOWN)

    @pytest.mark.parametrize("state", State)
    def test_each_state_can_be_told_from_its_facts(self, state: State) -> None:
        assert sheet(1, state).state is state

    def test_its_sheet_is_made_of_what_its_host_says(self) -> None:
        member, config = self.plain.member, self.plain.config
        installed = Installed(build.STOPPED, config, (member.ip,))
        assert quorum.sheet(member, installed, Running(0)) == self.plain
        assert quorum.sheet(member, installed).state is DEAD, "no database"
        assert [quorum.sheet(member, "it is silent", gone=gone).state for gone in (True, False)] == [AWAY, DARK]
        unread = quorum.sheet(member, replace(installed, config=EtcdError("etcd-1:/x", "is not YAML", "restore it")))
        assert "of its data nothing is known: etcd-1:/x is not YAML" in str(unread)

    def test_who_looked_longer_knows_better_and_of_the_others_stands_what_was_seen(self) -> None:
        sheets = quorum.with_leaders([sheet(1, MUTE), sheet(2, MUTE)], {"etcd-2": True})
        assert [one.state for one in sheets] == [MUTE, UP]

    def test_wiped_data_cannot_come_back(self) -> None:
        assert replace(self.plain, has_data=False).state is DEAD

    def test_a_machine_with_another_address_cannot_come_back_as_it_was(self) -> None:
        assert replace(self.plain, addresses=("10.0.9.9",)).state is DEAD

    def test_an_address_that_only_begins_alike_is_not_in_place(self) -> None:
        assert replace(self.plain, addresses=("10.0.0.111", "110.0.0.11")).state is DEAD

    def test_a_member_without_a_unit_cannot_be_started(self) -> None:
        assert replace(self.plain, unit=build.ABSENT).state is DEAD

    def test_a_masked_unit_can_be_unmasked_and_started(self) -> None:
        assert replace(self.plain, unit=replace(build.STOPPED, load="masked")).state is DOWN

    def test_a_member_without_configuration_cannot_be_started(self) -> None:
        assert replace(self.plain, config=None).state is DEAD

    def test_a_process_that_sees_a_leader_is_healthy_whatever_its_address(self) -> None:
        assert replace(self.plain, addresses=(), has_leader=True).state is UP

    def test_a_process_without_a_leader_under_a_lost_address_cannot_come_back(self) -> None:
        assert replace(sheet(1, MUTE), addresses=()).state is DEAD

    @pytest.mark.parametrize("active", ["active", "activating", "deactivating", "reloading"])
    def test_a_unit_that_runs_and_does_not_answer_is_unknown(self, active: str) -> None:
        assert replace(self.plain, unit=Unit("loaded", active, "start", "enabled", "x")).state is DARK

    @pytest.mark.parametrize("has_data", [True, False])
    @pytest.mark.parametrize("addresses", [(), ("10.0.0.11",)])
    def test_nothing_else_makes_it_known(self, has_data: bool, addresses: tuple[str, ...]) -> None:
        facts = replace(self.plain, unit=build.RUNNING, has_data=has_data, addresses=addresses)
        assert facts.state is DARK

    def test_a_unit_that_runs_without_its_configuration_cannot_be_asked(self) -> None:
        assert replace(self.plain, unit=build.RUNNING, config=None).state is DARK

    @pytest.mark.parametrize(("has_data", "state"), [(True, DOWN), (False, DEAD)])
    def test_a_unit_that_dies_again_and_again_is_down(self, has_data: bool, state: State) -> None:
        looping = Unit("loaded", "activating", "auto-restart", "enabled", "x")
        assert replace(self.plain, unit=looping, has_data=has_data).state is state

    def test_what_does_not_answer_is_named_with_its_unit(self) -> None:
        said = str(replace(self.plain, unit=build.RUNNING))
        assert "loaded, active (running), enabled" in said and "/metrics gives no answer" in said

    def test_the_operators_word_outweighs_what_the_machine_says(self) -> None:
        assert replace(sheet(1, UP), gone=True).state is AWAY

    def test_nothing_is_believed_of_a_host_that_did_not_answer(self) -> None:
        assert replace(sheet(1, UP), reached=False).state is DARK

    def test_what_the_operator_reads_names_the_reasons(self) -> None:
        facts = replace(self.plain, has_data=False, addresses=(), cut_off_from=("etcd-2",))
        assert str(facts) == (
            "down, and cannot come back as it was; unit loaded, inactive (dead), enabled; no data; "
            "10.0.0.11 is not an address of this host any more; cannot reach etcd-2"
        )


@pytest.mark.parametrize(
    ("fault", "states", "kind"),
    [
        ("nothing", (UP, UP, UP), Kind.INTACT),
        ("one killed", (UP, UP, DOWN), Kind.INTACT),
        ("one dark", (UP, UP, DARK), Kind.INTACT),
        ("one wiped", (UP, UP, DEAD), Kind.INTACT),
        ("two killed", (MUTE, DOWN, DOWN), Kind.RESTARTABLE),
        ("all stopped", (DOWN, DOWN, DOWN), Kind.RESTARTABLE),
        ("one wiped, two stopped", (DEAD, DOWN, DOWN), Kind.RESTARTABLE),
        ("two wiped", (MUTE, DEAD, DEAD), Kind.LOST),
        ("two wiped, the third stopped", (DOWN, DEAD, DEAD), Kind.LOST),
        ("all wiped", (DEAD, DEAD, DEAD), Kind.LOST),
        ("partition: each alone", (MUTE, MUTE, MUTE), Kind.LOST),
        ("partition: one cut off", (UP, UP, MUTE), Kind.INTACT),
        ("readdress of two", (MUTE, DEAD, DEAD), Kind.LOST),
        ("two gone", (MUTE, AWAY, AWAY), Kind.LOST),
        ("one gone", (UP, UP, AWAY), Kind.INTACT),
        ("one gone, one stopped", (MUTE, DOWN, AWAY), Kind.RESTARTABLE),
        ("two dark", (MUTE, DARK, DARK), Kind.UNKNOWN),
        ("two dark, one wiped", (DEAD, DARK, DARK), Kind.UNKNOWN),
        ("all dark", (DARK, DARK, DARK), Kind.UNKNOWN),
        ("one sees a leader, one dark, one wiped", (UP, DARK, DEAD), Kind.INTACT),
        ("one sees a leader, two wiped", (UP, DEAD, DEAD), Kind.INTACT),
        ("one sees a leader, two gone", (UP, AWAY, AWAY), Kind.INTACT),
        ("one sees a leader, two do not", (UP, MUTE, MUTE), Kind.INTACT),
        ("one sees a leader, two stopped", (UP, DOWN, DOWN), Kind.INTACT),
        ("one dark, two wiped", (DARK, DEAD, DEAD), Kind.LOST),
        ("the only one up", (UP,), Kind.INTACT),
        ("the only one stopped", (DOWN,), Kind.RESTARTABLE),
        ("the only one wiped", (DEAD,), Kind.LOST),
        ("the only one dark", (DARK,), Kind.UNKNOWN),
        ("five: three wiped", (MUTE, MUTE, DEAD, DEAD, DEAD), Kind.LOST),
        ("five: two wiped", (UP, UP, UP, DEAD, DEAD), Kind.INTACT),
        ("five: two wiped, one stopped", (MUTE, MUTE, DOWN, DEAD, DEAD), Kind.RESTARTABLE),
        ("five: three dark", (MUTE, MUTE, DARK, DARK, DARK), Kind.UNKNOWN),
        ("five: two dark, two gone", (MUTE, DARK, DARK, AWAY, AWAY), Kind.LOST),
    ],
)
def test_each_fault_gets_its_verdict(fault: str, states: tuple[State, ...], kind: Kind) -> None:
    assert verdict(*states).kind is kind


@pytest.mark.parametrize("states", [(MUTE, DEAD), (MUTE, MUTE, DEAD, DEAD)])
def test_half_of_an_even_old_cluster_is_enough_to_lose_quorum(states: tuple[State, ...]) -> None:
    assert verdict(*states).kind is Kind.LOST


def test_only_the_members_that_can_be_started_are_named() -> None:
    assert verdict(MUTE, DOWN, DEAD).start == ("etcd-2",)


@pytest.mark.parametrize(
    ("states", "down"),
    [
        ((MUTE, DEAD, DEAD), True),
        ((DARK, AWAY, DOWN), True),
        ((DOWN, DOWN, DOWN), True),
        ((UP, DEAD, DEAD), False),
        ((UP, AWAY, AWAY), False),
        ((MUTE, MUTE, DEAD), False),
        ((MUTE, DARK, DEAD), False),
        ((UP, UP, UP), False),
    ],
)
def test_watching_longer_is_needless_only_if_nobody_claims_a_leader(states: tuple[State, ...], down: bool) -> None:
    sheets = [sheet(number, state) for number, state in enumerate(states, start=1)]
    assert quorum.majority_is_down(sheets) is down


class TestRefusal:
    def text(self, found: Verdict, rebuild: bool = False) -> str | None:
        refusal = quorum.refusal(found, rebuild, build.UNIT)
        return None if refusal is None else str(refusal)

    def test_a_lost_quorum_lets_the_runbook_go_on(self) -> None:
        assert self.text(verdict(MUTE, DEAD, DEAD)) is None

    def test_an_intact_quorum_is_refused_and_says_what_to_add(self) -> None:
        text = self.text(verdict(UP, UP, DOWN))
        assert text and "quorum is intact" in text and "docs/night.md#moving-a-healthy-cluster" in text
        assert "--rebuild" not in text, "nobody is invited to rebuild what works"

    def test_a_restart_is_named_host_by_host(self) -> None:
        text = self.text(verdict(MUTE, DOWN, DOWN))
        assert text and f"On etcd-2, etcd-3: systemctl start --no-block {build.UNIT}" in text

    @pytest.mark.parametrize("states", [(UP, UP, UP), (DOWN, DOWN, DOWN)])
    def test_rebuild_overrides_both(self, states: tuple[State, ...]) -> None:
        assert self.text(verdict(*states), rebuild=True) is None

    @pytest.mark.parametrize("rebuild", [False, True])
    @pytest.mark.parametrize("stopping", [False, True])
    @pytest.mark.parametrize("states", [(UP, AWAY, AWAY), (UP, DEAD, DEAD), (UP, MUTE, MUTE), (UP, UP, DEAD, DEAD)])
    def test_a_leader_that_too_few_see_is_a_contradiction_that_nothing_overrides(
        self, states: tuple[State, ...], stopping: bool, rebuild: bool
    ) -> None:
        refusal = quorum.refusal(verdict(*states), rebuild, build.UNIT, stopping)
        assert refusal is not None
        assert "etcd-1" in str(refusal) and "sees a leader" in str(refusal) and "old_members" in str(refusal)

    @pytest.mark.parametrize("states", [(UP, UP, AWAY), (UP, UP, DARK), (UP, UP, UP, DEAD, DEAD)])
    def test_a_leader_that_a_majority_sees_is_no_contradiction(self, states: tuple[State, ...]) -> None:
        assert self.text(verdict(*states), rebuild=True) is None

    def test_rebuild_does_not_override_the_unknown(self) -> None:
        text = self.text(verdict(DARK, DARK, DEAD), rebuild=True)
        assert text and "unknown is not lost" in text and "--gone=HOST" in text

    def test_a_run_that_stopped_members_itself_is_not_told_to_start_them(self) -> None:
        assert quorum.refusal(verdict(DOWN, DOWN, DOWN), False, build.UNIT, stopping=True) is None

    @pytest.mark.parametrize("states", [(UP, UP, DOWN), (DARK, DARK, DOWN)])
    def test_having_stopped_members_excuses_nothing_else(self, states: tuple[State, ...]) -> None:
        assert quorum.refusal(verdict(*states), False, build.UNIT, stopping=True) is not None

    def test_every_host_is_named_with_what_was_found_on_it(self) -> None:
        text = self.text(verdict(UP, UP, DARK))
        assert text and all(f"etcd-{n}: found " in text for n in (1, 2, 3))


sheets = st.sampled_from([1, 3, 5]).flatmap(
    lambda size: st.tuples(
        *(
            st.builds(
                MemberFacts,
                member=st.just(sheet(number, DOWN).member),
                gone=st.booleans(),
                reached=st.booleans(),
                unit=st.sampled_from([None, build.STOPPED, build.RUNNING, build.ABSENT]),
                config=st.sampled_from([None, build.config(number)]),
                has_data=st.booleans(),
                addresses=st.sampled_from([(), (f"10.0.0.{10 + number}",)]),
                has_leader=st.sampled_from([None, True, False]),
            )
            for number in range(1, size + 1)
        )
    )
)


class TestWhateverTheFacts:
    @given(sheets)
    def test_a_possible_healthy_majority_is_never_called_lost(self, facts: tuple[MemberFacts, ...]) -> None:
        maybe = sum(f.state in (UP, DARK) for f in facts)
        if maybe > len(facts) // 2:
            assert decide(facts).kind in (Kind.INTACT, Kind.UNKNOWN)

    @given(sheets)
    def test_one_member_that_sees_a_leader_is_enough(self, facts: tuple[MemberFacts, ...]) -> None:
        assert (decide(facts).kind is Kind.INTACT) == any(f.state is UP for f in facts)

    @given(sheets, st.booleans(), st.booleans())
    def test_nothing_goes_on_while_a_minority_sees_a_leader(
        self, facts: tuple[MemberFacts, ...], rebuild: bool, stopping: bool
    ) -> None:
        if 0 < sum(f.state is UP for f in facts) <= len(facts) // 2:
            assert quorum.refusal(decide(facts), rebuild, build.UNIT, stopping) is not None

    @given(sheets)
    def test_what_ends_the_watch_early_can_only_be_lost_or_restartable(self, facts: tuple[MemberFacts, ...]) -> None:
        if quorum.majority_is_down(facts):
            assert decide(facts).kind in (Kind.LOST, Kind.RESTARTABLE)

    @given(sheets)
    def test_lost_needs_a_majority_that_is_positively_down_or_leaderless(self, facts: tuple[MemberFacts, ...]) -> None:
        if decide(facts).kind is Kind.LOST:
            assert sum(f.state in (MUTE, DOWN, DEAD, AWAY) for f in facts) > len(facts) // 2

    @given(sheets)
    def test_a_restart_that_is_named_would_really_bring_a_majority(self, facts: tuple[MemberFacts, ...]) -> None:
        found = decide(facts)
        if found.kind is Kind.RESTARTABLE:
            alive = sum(f.state in (UP, MUTE) for f in facts)
            assert found.start and alive + len(found.start) > len(facts) // 2

    @given(sheets)
    def test_without_rebuild_only_lost_goes_on(self, facts: tuple[MemberFacts, ...]) -> None:
        found = decide(facts)
        assert (quorum.refusal(found, False, build.UNIT) is None) == (found.kind is Kind.LOST)

    @given(sheets)
    def test_the_order_of_members_does_not_matter(self, facts: tuple[MemberFacts, ...]) -> None:
        assert decide(facts).kind is decide(facts[::-1]).kind


REFUSED = "bash: connect: Connection refused"


class TestMembersThatAreCutOff:
    """A filter that rejects looks like a closed port; the peer's own host knows whether it is one."""

    @pytest.mark.parametrize("listens", [True, False])
    @pytest.mark.parametrize(("reach", "cut"), [("connected", False), ("silent", True)])
    def test_what_is_no_refusal_means_the_same_whatever_the_peer_does(
        self, reach: Reach, cut: bool, listens: bool
    ) -> None:
        assert quorum.is_cut_off(reach, listens) is cut

    @pytest.mark.parametrize("listens", [True, False])
    def test_a_refusal_is_a_filters_where_the_peer_listens(self, listens: bool) -> None:
        assert quorum.is_cut_off("refused", listens) is listens

    @pytest.mark.parametrize(
        ("config", "has_leader", "open_there"),
        [
            (build.config(1), False, True),
            (build.config(1), True, True),
            (build.config(1), None, False),
            (build.config(2), False, False),
            (build.config(1, peer_url="https://10.0.0.11:12380"), False, False),
            (build.config(1, peer_url=""), False, False),
            (None, False, False),
        ],
        ids=["leaderless", "led", "down", "on its old address", "on another port", "told nowhere", "unconfigured"],
    )
    def test_only_an_etcd_that_answers_proves_its_own_port_open(
        self, config: MemberConfig | None, has_leader: bool | None, open_there: bool
    ) -> None:
        assert quorum.listens(config, has_leader, "10.0.0.11", 2380) is open_there

    @pytest.mark.parametrize("up", [True, False])
    def test_members_behind_a_filter_that_rejects_cannot_reach_each_other(self, up: bool) -> None:
        inventory = build.inventory()

        def ask(commands: Sequence[Command]) -> list[Result]:
            return [answer(command) for command in commands]

        def answer(command: Command) -> Result:
            number, line = int(command.host[-1]), " ".join(command.argv)
            if "/dev/tcp" in line:
                return Result(command, 1, "", REFUSED, 0.0)
            if command.argv[0] == "cat":
                text = f"name: e\ndata-dir: /d\ninitial-cluster-token: t\ninitial-cluster: e=https://10.0.0.1{number}:2380\n"
                text += f"initial-advertise-peer-urls: https://10.0.0.1{number}:2380\n"
                return Result(command, 0, text, "", 0.0)
            return Result(command, 0 if up else 7, "etcd_server_has_leader 0\n" if up else "", "", 0.0)

        run = cast(Run, SimpleNamespace(inventory=inventory, terms=build.terms(of=inventory), look=ask))
        run.ask = partial(Run.ask, run)  # type: ignore[method-assign]
        everyone = {"etcd-1": ("etcd-2", "etcd-3"), "etcd-2": ("etcd-1", "etcd-3"), "etcd-3": ("etcd-1", "etcd-2")}
        assert facts.cut_off_new_members(run) == (everyone if up else {})

        found = {
            m.host: EtcdSheet(build.RUNNING, build.config(n), addresses=(m.ip,), has_leader=False if up else None)
            for n, m in enumerate(inventory.members, start=1)
        }
        reach = {}
        for here, there in permutations(inventory.members, 2):
            question = system.ask_reach(here.host, there.ip, 2380)
            reach[here.host, there.ip] = question.understand([answer(command) for command in question.commands])
        assert examination._cut_off(inventory.members, found, reach, 2380) == (everyone if up else {})
