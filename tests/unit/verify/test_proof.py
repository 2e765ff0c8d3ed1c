"""What a boot proves: each proof by itself, and that what could not be compared is no pass of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from requorum.cluster.sandbox import Answers
from requorum.inventory import Expect, Range
from requorum.snapshots.manifest import Manifest
from requorum.snapshots.snapshot import Fingerprint
from requorum.verify import proof
from requorum.verify.proof import Proof
from tests.unit.verify import nights

EXPECT = Expect(min_keys=100)


def proven(answers: Answers = nights.GOOD, note: Manifest = nights.NOTE, version: str = "3.5.16") -> dict[str, Proof]:
    return {one.proof: one for one in proof.of_boot(answers, note, version, nights.ROLES, ("",), EXPECT)}


def but(**fields: Any) -> Answers:
    return replace(nights.GOOD, **fields)


def test_a_good_boot_holds_in_all() -> None:
    assert {one.held for one in proven().values()} == {True}
    assert proof.why(list(proven().values()), "") == "every proof holds"


@pytest.mark.parametrize(
    ("broken", "answers"),
    [
        (proof.BOOTS, but(revision=119)),
        (proof.DATA, but(hashes={"e": (1, 5)})),
        (proof.ASKED, but(authentication=False)),
        (proof.LOGIN, but(logins={"root": "", "query": "authentication failed, invalid user ID or password"})),
        (proof.LOGIN, but(logins={"root": ""})),
        (proof.LOGIN, but(logins={})),
        (proof.WRONG, but(wrong={"root": ""})),
        (proof.WRONG, but(wrong={})),
        (proof.KEYS, but(counts=(99,))),
        (proof.ALARMS, but(alarms=("CORRUPT",))),
    ],
)
def test_each_can_fail(broken: str, answers: Answers) -> None:
    assert proven(answers)[broken].held is False
    assert broken in proof.why(list(proven(answers).values()), "")


@pytest.mark.parametrize(
    ("answers", "note", "version"),
    [
        (nights.GOOD, nights.NOTE, "3.5.30"),
        (but(hashes={"e": (4711, 6)}), nights.NOTE, "3.5.16"),
        (nights.GOOD, replace(nights.NOTE, fingerprint=Fingerprint(119, 5, 4711, "3.5.16")), "3.5.16"),
        (nights.GOOD, replace(nights.NOTE, fingerprint=None), "3.5.16"),
    ],
    ids=["another etcd", "compacted since", "another revision", "none noted"],
)
def test_a_hash_that_means_something_else_is_not_compared_and_is_no_pass(
    answers: Answers, note: Manifest, version: str
) -> None:
    found = proven(answers, note, version)
    assert found[proof.DATA].held is None
    assert found[proof.DATA].found.startswith("could not be compared: ")
    assert "but data could not be compared" in proof.why(list(found.values()), "")


def test_a_boot_that_failed_proves_nothing_and_names_a_refused_password_beside() -> None:
    failed = Answers(failed="the copy of verify ended: panic", logins={"query": "authentication failed", "root": ""})
    found = proven(failed)
    assert set(found) == {proof.BOOTS, proof.LOGIN} and not any(one.held for one in found.values())
    assert proof.who_can(failed) == (("root",), {"query": "authentication failed"})


def test_a_user_without_a_password_is_no_refused_one() -> None:
    told = "authentication failed, password was given for no password user"
    assert proven(but(logins={"root": "", "query": told}))[proof.LOGIN].held


def test_keys_by_prefix() -> None:
    expect = Expect(min_keys=1, prefixes={"/a": Range(min=2, max=3)})
    for count, held in ((1, False), (2, True), (3, True), (4, False)):
        answers = but(counts=(10, count))
        rows = proof.of_boot(answers, nights.NOTE, "3.5.16", nights.ROLES, ("", "/a"), expect)
        assert next(row for row in rows if row.proof == proof.KEYS).held is held


def test_as_a_recovery_restores_it_it_must_be_at_the_bumped_revision() -> None:
    assert proof.of_recovery(but(revision=1120), 1120).held
    assert proof.of_recovery(but(revision=120), 1120).held is False
    assert proof.of_recovery(Answers(failed="no leader"), 1120).held is False


def test_age() -> None:
    assert proof.of_age(25.9, 26).held and proof.of_age(26.1, 26).held is False
    assert proof.of_age(-0.5, 26).held
    ahead = proof.of_age(-8760, 26)  # broken once: it was proven every night for a year, whether there were newer ones
    assert ahead.held is False and "8760.0 h from now: a clock is wrong" in ahead.found


def test_where_the_loss_of_one_machine_locks_out_whom() -> None:
    assert proof.alone({"root": ["infra-1"], "query": ["infra-1"]}) == "if infra-1 burns, nobody can log in"
    both = {"root": ["infra-1"], "query": ["infra-1", "query-1"]}
    assert proof.alone(both) == "if infra-1 burns, nobody can log in as root"
    assert "two machines or more" in proof.alone({"root": ["a", "b"]})
    assert proof.alone({}) == "no password was found on any machine"


def test_without_any_proof_the_stage_that_failed_says_why() -> None:
    assert proof.why([], "infra-1: cannot boot\n    → install it") == "infra-1: cannot boot → install it"
