"""Which member a backup is saved from."""

from __future__ import annotations

import pytest

from requorum.cluster.etcdctl import Status
from requorum.command import Result
from requorum.snapshots.backup import ask_healthiest, healthiest
from requorum.snapshots.vault import BackupError
from tests.unit import build


def status(number: int, revision: int = 9, errors: tuple[str, ...] = ()) -> Status:
    return Status(f"https://10.0.0.1{number}:2379", 1, number, 1, revision, "3.5.16", errors)


ALARM = "Active Alarm(s): NOSPACE "


def test_an_alarm_does_not_keep_a_backup_from_reading() -> None:
    full = [status(number, errors=("space exceeded",)) for number in (1, 2)]
    assert healthiest(full, {one.endpoint: ALARM for one in full}).errors == ("space exceeded",)


def test_a_member_without_an_alarm_is_read_before_one_with_it() -> None:
    full, well = status(1, 99, ("space exceeded",)), status(2)
    assert healthiest([full, well], {full.endpoint: ALARM, well.endpoint: None}) is well


@pytest.mark.parametrize("error", ["context deadline exceeded", "unhealthy", ""])
def test_a_member_that_is_not_healthy_is_not_read(error: str) -> None:
    with pytest.raises(BackupError, match="no member is healthy"):
        healthiest([status(1)], {status(1).endpoint: error})


@pytest.mark.parametrize(
    ("health", "status", "found"),
    [
        (
            "Error: unhealthy cluster",
            "Error: etcdserver: authentication failed, invalid user ID or password",
            "refuses",
        ),
        ("Error: etcdserver: authentication failed, invalid user ID or password", "Error: x", "refuses"),
        ("Error: unhealthy cluster", "Error: context deadline exceeded", "no member answers an authenticated user"),
    ],
)
def test_a_password_of_root_that_is_refused_is_no_lost_quorum(health: str, status: str, found: str) -> None:
    question = ask_healthiest(build.inventory())
    said = [Result(c, 1, "", text, 0.0) for c, text in zip(question.commands, (health, status), strict=True)]
    with pytest.raises(BackupError, match=found) as error:
        question.understand(said)
    assert ("run the recovery" in error.value.remedy) == (found != "refuses")
