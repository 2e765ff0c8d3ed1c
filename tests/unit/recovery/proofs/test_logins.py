"""Step 5's proofs of logins: who was let in by the old data is let in by the new cluster, and nobody else."""

from __future__ import annotations

import pytest

from requorum.cluster.authentication import Authentication
from requorum.cluster.etcdctl import Login
from requorum.recovery.proofs.cluster import not_as_it_was

ON, OFF, CERTIFICATES = Authentication(), Authentication(on=False), Authentication(without_password=("dh",))


@pytest.mark.parametrize(
    ("was", "outside", "outcome", "wrong"),
    [
        (ON, "/x", "denied", None),
        (ON, None, "let in", None),
        (ON, "/x", "let in", "may read /x"),
        (ON, "/x", "refused", "the tool's words"),
        (ON, "/x", "passwordless", "the tool's words"),
        (ON, None, "off", "the tool's words"),
        (ON, None, "failed", "the tool's words"),
        (CERTIFICATES, "/x", "passwordless", None),
        (CERTIFICATES, "/x", "denied", None),
        (CERTIFICATES, "/x", "refused", "the tool's words"),
        (OFF, None, "off", None),
        (OFF, None, "let in", None),
        (OFF, None, "refused", "the tool's words"),
        (OFF, None, "denied", "the tool's words"),
    ],
)
def test_a_role_gets_in_exactly_as_the_old_data_lets_it(
    was: Authentication, outside: str | None, outcome: str, wrong: str | None
) -> None:
    found = not_as_it_was(was, "config", "dh", outside, Login(outcome, "the tool's words"))  # type: ignore[arg-type]
    assert found is None if wrong is None else wrong in str(found)
