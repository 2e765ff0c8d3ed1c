"""What each choice of a stop costs: revisions where they compare, hours where times are known."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from requorum.refusal import Refusal
from requorum.run.marker import Phase
from requorum.snapshots import anew, choice, price
from requorum.snapshots.anew import Anew
from requorum.snapshots.emptiness import UNNAMED
from requorum.snapshots.survivors import UNCOPIED
from tests.unit.plugin.ending.ended import did, ended, pasted
from tests.unit.snapshots.test_choice import LOST, OTHER, backup, disk, found, salvaged, torn

AT = datetime(2026, 1, 1, 3, 30, tzinfo=UTC)
SHOWN = (("etcd-1", 140), ("etcd-2", 128))


def test_a_backup_costs_what_a_disk_shows_beyond_it_and_the_hours_since() -> None:
    said = price.of_snapshot(backup(100), replace(torn(), databases=SHOWN), (), AT)
    assert said == (
        "(price: at least 40 revisions, as the database of etcd-1 shows, and all writes of the 3.5 h before this run)"
    )


def test_our_own_bumps_do_not_count() -> None:
    disks = replace(torn(), databases=(("etcd-1", 1_000_140),), bumps=1_000_000)
    assert "at least 40 revisions" in price.of_snapshot(backup(100), disks, (), None)


def test_where_nothing_can_be_read_or_compared_nobody_can_tell() -> None:
    unknown = "(price: nobody can tell how many revisions)"
    assert price.of_snapshot(backup(100), torn(), (), None) == unknown
    assert price.of_snapshot(backup(100, OTHER), replace(torn(), databases=SHOWN), (), None) == unknown


def test_a_newer_backup_that_cannot_be_restored_is_part_of_the_price() -> None:
    said = price.of_snapshot(backup(100), replace(torn(), databases=SHOWN), (backup(200),), None)
    assert said == "(price: at least 100 revisions, as the backup of 2026-01-01T00:00:00Z shows)"


def test_a_disk_that_is_given_up_costs_what_its_database_shows_beyond_the_others() -> None:
    both = replace(salvaged(120), databases=SHOWN)
    more = price.of_disks(["etcd-1"], ["etcd-2"], both)
    assert more == "(price: at least 12 revisions, as the database of etcd-1 shows)"
    assert price.of_disks(["etcd-2"], ["etcd-1"], both) == "(price: nothing that any database or backup shows)"
    unread = "(price: nobody can tell how many revisions only etcd-3 may hold)"
    assert price.of_disks(["etcd-3"], ["etcd-1"], both) == unread


def test_less_than_an_hour_is_said_in_minutes() -> None:
    late = AT.replace(hour=0, minute=12)
    assert "all writes of the 12 min before this run" in price.of_snapshot(backup(1), torn(5), (), late)


@pytest.mark.parametrize("taken", ["", "now", "2026-01-01T00:00:00", "2026-01-02T00:00:00Z"])
def test_a_time_that_is_none_or_lies_ahead_is_no_price(taken: str) -> None:
    assert " h before" not in price.of_snapshot(replace(backup(1), taken=taken), torn(5), (), AT)


def test_every_choice_of_a_stop_says_its_price_and_is_still_a_whole_command() -> None:
    outcome = replace(torn(140), could_be_forced="etcd-1", mend="make room there")
    stop = choice.refusal(found((backup(100),), outcome, at=AT, back="pytest runbook/rollback --hosts=lab"))
    assert isinstance(stop, Refusal)
    choices = [way for way in stop.remedy.split("; or ") if "--accept=" in way]
    assert len(choices) == 3 and all("(price: " in way for way in choices), choices
    lines = pasted(ended(stop, 1, did=did(Phase.STOPPING)))
    assert [line.rpartition("--accept=")[2] for line in lines[:3]] == ["forced:etcd-1", "backup", "on-disk:etcd-1"]


def test_a_cluster_that_began_anew_is_handed_over_or_kept_at_a_price() -> None:
    began = Anew(12, replace(backup(367), taken="2026-01-01T02:30:00Z"))
    said = anew.ways("lab", began)
    assert "(price: all that was written since it began anew, up to revision 12, and Deephaven is off" in said
    assert "(price: all that the backup of 2026-01-01T02:30:00Z has and it has not, at least 355 revisions)" in said
    lines = pasted(ended(Refusal("lab", "quorum is intact", said), 0, did=did(Phase.OPEN)))
    assert lines[0].endswith("runbook --hosts=lab --confirm=lab --rebuild")
    assert lines[1].endswith("runbook/backup --hosts=lab --accept=history")
    grown = anew.ways("lab", Anew(400, backup(367), backup(390)))
    assert "revisions)" not in grown, "past the last backup no number shows it any more"
    assert "price" in anew.ways("NAME")


def test_a_disk_that_cannot_be_copied_is_no_last_resort_and_of_several_the_furthest_is_offered() -> None:
    there = (disk(1, LOST), disk(2, LOST), disk(3, LOST))
    unread = replace(salvaged(9), could_not=(("etcd-3", f"{UNCOPIED}: exit code 2"),), databases=SHOWN)
    stop = choice.refusal(found((), unread, there))
    assert stop is not None and stop.remedy.count("--accept=on-disk:") == 1
    assert "--accept=on-disk:etcd-1" in stop.remedy
    blind = choice.refusal(found((), replace(unread, databases=()), there))
    assert blind is not None and blind.remedy.count("--accept=on-disk:") == 2, "nobody knows which shows most"


def test_data_that_somebody_set_aside_is_asked_for_before_anything_else() -> None:
    """As `mv data data.away` leaves it: nobody can read what no configuration leads to."""
    why = f"data lies in /var/lib/etcd/dh/lost.away, {UNNAMED}"
    stop = choice.refusal(found((backup(5),), replace(salvaged(9), could_not=(("etcd-2", why),))))
    assert stop is not None and stop.remedy.startswith("ask who set that directory aside on etcd-2, and why")
    mixed = replace(salvaged(9), could_not=(("etcd-2", why), ("etcd-3", "a link")))
    stop = choice.refusal(found((backup(5),), mixed))
    assert stop is not None and stop.remedy.startswith("make it readable there")


def test_a_link_that_leads_nowhere_is_mounted_and_not_made_readable() -> None:
    why = "/var/lib/etcd/dh/lost/member/wal is a link that leads to no directory"
    stop = choice.refusal(found((backup(5),), replace(salvaged(9), could_not=(("etcd-2", why),))))
    assert stop is not None and stop.remedy.startswith("mount, or put back, what that link leads to")
