"""The page of a night's proof: yes or no, why, each proof, and who cannot log in."""

from __future__ import annotations

from typing import Any

from tests.unit.evidence.test_report import page
from tests.unit.recorded import RECORDS, SUMMARY

TOLD: dict[str, Any] = {
    "recoverable": False,
    "why": "logins: query: authentication failed",
    "host": "infra-1",
    "snapshot": {"file": "/b/lab.snap", "revision": 120, "bytes": 1000, "taken": "2026-01-31T02:30:00Z"},
    "newest_good": None,
    "behind": {"hours": 2.0, "revisions": None, "why": "no member answers"},
    "recovery": {
        "seconds": None,
        "copy_seconds": None,
        "restore_seconds": 1.5,
        "boot_seconds": 2.5,
        "measured": "never measured",
    },
    "versions": {"host": "3.5.16"},
    "logins": {"can": ["root"], "cannot": {"query": "authentication <failed>"}},
    "passwords": {"why": "if infra-1 burns, nobody can log in"},
    "proofs": [
        {"proof": "boots", "expected": "it starts", "found": "revision 120", "held": True},
        {"proof": "logins", "expected": "every role", "found": "query: refused", "held": False},
        {"proof": "data", "expected": "the hash", "found": "could not be compared: another etcd", "held": None},
    ],
}


def test_a_nights_proof_is_on_its_page_with_each_proof_and_what_it_came_to() -> None:
    summary = {**SUMMARY, "outcome": "not-proven"}
    text = page(summary, [*RECORDS[:-1], {"kind": "proof", "proof": TOLD}, RECORDS[-1]]).text
    for words in (
        "Not proven",
        "Could last night's backup be recovered from? No",
        "query cannot: authentication <failed>",
        "if infra-1 burns, nobody can log in",
        "never measured",
        "could not be compared: another etcd",
        "no member answers",
    ):
        assert words in text, words
    assert "Could last night" not in page().text
