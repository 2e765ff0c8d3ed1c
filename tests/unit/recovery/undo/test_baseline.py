"""What a host was before a run: its listing read, kept and compared."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from requorum.hosts import kept, system
from requorum.hosts.question import Question
from requorum.hosts.system import Entry, RecordError
from requorum.recovery.undo import baseline
from requorum.recovery.undo.baseline import Record
from tests.unit import build
from tests.unit.build import CLIENT, LONG, PLACE, SCOPE, UNIT, lines, refused_by, understood

DIRECTORY = Entry("/etc/etcd/dh", "d", "755", "root:root")
LATEST = Entry("/etc/etcd/dh/latest", "l", "", "root:root", "old")
OLD = Entry("/etc/etcd/dh/old", "d", "750", "root:etcd")
CONFIG = Entry("/etc/etcd/dh/old/config.yaml", "f", "640", "root:etcd", "", "ab" * 32)
UNIT_FILE = Entry(f"/usr/lib/systemd/system/{UNIT}", "f", "644", "root:root", "", "cd" * 32)
DATA = (
    Entry("/var/lib/etcd/dh", "d", "700", "etcd:etcd"),
    Entry("/var/lib/etcd/dh/old", "d", "700", "etcd:etcd"),
)
HOST = (DIRECTORY, LATEST, OLD, CONFIG, UNIT_FILE, *DATA)

LISTING, RECORD = baseline.ask_listing("etcd-1", build.terms()), baseline.ask_record("etcd-1", build.terms())
SUPERVISED, LEFT = baseline.ask_supervised("infra-1", build.inventory()), baseline.ask_left_running("etcd-1")


def changed(entry: Entry, **fields: str) -> Entry:
    return Entry(**{**entry.__dict__, **fields})


class TestWhichPlaces:
    def test_they_are_the_same_on_every_host(self) -> None:
        assert baseline.roots(build.terms()) == (
            "/etc/etcd/dh",
            CLIENT,
            build.ARCHIVE,
            f"/tmp/{build.TOKEN}",
            f"/etc/systemd/system/{UNIT}",
            f"/usr/lib/systemd/system/{UNIT}",
            f"/lib/systemd/system/{UNIT}",
        )

    @pytest.mark.parametrize(
        ("config", "data", "listed"),
        [
            ("/etc/etcd/config.yaml", "/var/lib/etcd/dh", "/etc/etcd"),
            ("/srv/etcd/latest/config.yaml", "/srv/etcd/data", "/srv/etcd/latest"),
            ("/srv/etcd/latest/config.yaml", "/srv/etcd", "/srv/etcd/latest"),
            ("/srv/etcd/latest/config.yaml", "/var/lib/etcd", "/srv/etcd"),
            ("/srv/etcd/config.yaml", "/srv/etcd/data", "/srv/etcd/config.yaml"),
            ("/etc/systemd/latest/config.yaml", "/var/lib/etcd", "/etc/systemd/latest"),
            ("/etc/config.yaml", "/var/lib/etcd", "/etc/config.yaml"),
            ("/opt/etcd.yaml", "/var/lib/etcd", "/opt/etcd.yaml"),
            ("/etc/sysconfig/config.yaml", "/var/lib/etcd", "/etc/sysconfig/config.yaml"),
            ("/etcd/config.yaml", "/var/lib/etcd", "/etcd/config.yaml"),
        ],
    )
    def test_a_directory_of_the_system_or_one_with_data_is_never_owned(
        self, config: str, data: str, listed: str
    ) -> None:
        terms = build.terms(of=build.inventory(etcd={"config": config, "data_root": data}))
        assert baseline.roots(terms)[0] == listed

    def test_an_archive_right_below_tmp_is_listed_alone(self) -> None:
        deephaven = {"configuration_server": "infra-1", "hosts": ["infra-1"], "client_archive": "/tmp/dh_query.tgz"}
        of = build.inventory()
        vendor = of.deephaven.model_copy(update={"client_archive": deephaven["client_archive"]})
        assert "/tmp/dh_query.tgz" in baseline.roots(build.terms(of=of.model_copy(update={"deephaven": vendor})))


class TestTheListing:
    def listed(self, root: Path, *places: Path) -> tuple[Entry, ...]:
        """The host's own script, run here on directories of this test."""
        question = system.ask_listing("etcd-1", str(root / "data"), UNIT, [*map(str, places)])
        done = subprocess.run(question.commands[0].argv, capture_output=True, check=True)
        return understood(question, done.stdout.decode())

    def test_names_modes_owners_links_and_contents_are_told_apart(self, tmp_path: Path) -> None:
        place = tmp_path / "dh"
        place.mkdir(mode=0o755)
        (place / "a file\nof two lines").write_text("x")
        (place / "a file\nof two lines").chmod(0o640)
        (place / "latest").symlink_to("nowhere at all")
        directory, odd, link = self.listed(tmp_path, place)
        assert (directory.kind, directory.mode, directory.sha256) == ("d", "755", "")
        assert odd.path.endswith("/a file\nof two lines")
        assert (odd.kind, odd.mode) == ("f", "640")
        assert odd.sha256 == "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"
        assert (link.kind, link.mode, link.target) == ("l", "", "nowhere at all")

    def test_data_is_listed_by_name_and_never_understood(self, tmp_path: Path) -> None:
        (tmp_path / "data/token/member").mkdir(parents=True)
        (tmp_path / "data/token/db").write_text("x")
        found = self.listed(tmp_path)
        assert [entry.path.removeprefix(str(tmp_path)) for entry in found] == ["/data", "/data/token"]

    def test_a_place_with_two_names_is_listed_once(self, tmp_path: Path) -> None:
        (tmp_path / "usr/lib").mkdir(parents=True)
        (tmp_path / "usr/lib/unit").write_text("x")
        (tmp_path / "lib").symlink_to("usr/lib")
        (found,) = self.listed(tmp_path, tmp_path / "usr/lib/unit", tmp_path / "lib/unit")
        assert found.path == str(tmp_path / "usr/lib/unit")

    def test_what_is_not_there_is_no_error(self, tmp_path: Path) -> None:
        assert self.listed(tmp_path, tmp_path / "nothing") == ()

    def test_a_place_that_cannot_be_read_is_one(self, tmp_path: Path) -> None:
        """Half a listing would make a rollback take what it does not see for missing."""
        (tmp_path / "bin").mkdir()
        (tmp_path / "bin/sha256sum").write_text("#!/bin/sh\nexit 1\n")
        (tmp_path / "bin/sha256sum").chmod(0o755)
        (tmp_path / "file").write_text("x")
        argv = [*LISTING.commands[0].argv[:3], "/nothing", UNIT, str(tmp_path / "file")]
        path = f"{tmp_path}/bin:{os.environ['PATH']}"
        assert subprocess.run(argv, env={"PATH": path}, capture_output=True, check=False).returncode != 0

    def test_its_output_is_in_no_message_and_no_record(self) -> None:
        """It holds SHA-256s of passwords."""
        for command in (*LISTING.commands, *RECORD.commands):
            assert command.secret and not command.changes

    def test_an_answer_that_is_no_listing_is_refused(self) -> None:
        with pytest.raises(RecordError, match="etcd-1: has a line"):
            understood(LISTING, "sudo: a password is required\0")

    def test_one_of_other_places_is_refused_too(self) -> None:
        assert [entry.path for entry in understood(LISTING, "d 755 root:root\0/etc/etcd/dh\0\0")] == ["/etc/etcd/dh"]
        with pytest.raises(RecordError, match="etcd-1: lists '/etc/passwd'"):
            understood(LISTING, "f 644 root:root\0/etc/passwd\0\0")


class TestTheRecord:
    def test_all_but_data_is_copied_with_the_record_and_gets_its_name_last(self) -> None:
        plan = baseline.record(build.terms(), {"etcd-1": Record(HOST, "enabled", True, None)})
        part, copied = f"{PLACE}/before.part", ("/etc/etcd/dh", f"/usr/lib/systemd/system/{UNIT}")
        assert lines(plan) == [
            f"etcd-1: {LONG} {SCOPE} sh -c '{kept.TREE}' {part} {PLACE}/before {' '.join(copied)}",
        ]

    def test_a_host_with_nothing_of_it_is_recorded_too(self) -> None:
        plan = baseline.record(build.terms(), {"query-1": Record((), "", False, True)})
        assert plan[0].argv[-2:] == (f"{PLACE}/before.part", f"{PLACE}/before")
        assert len(build.stdins(plan)) == 1

    @pytest.mark.parametrize("deephaven", [True, False, None])
    def test_what_was_written_is_read_back(self, deephaven: bool | None) -> None:
        record = Record(HOST, "masked", False, deephaven)
        (text,) = build.stdins(baseline.record(build.terms(), {"etcd-1": record}))
        assert understood(RECORD, text.decode()) == record

    def test_no_record_is_none(self) -> None:
        assert understood(RECORD, "") is None

    @pytest.mark.parametrize("text", ["{", "[]", '{"entries": []}', '{"entries": [{"x": 1}]}'])
    def test_half_a_record_is_refused(self, text: str) -> None:
        with pytest.raises(RecordError, match="etcd-1: the record"):
            understood(RECORD, text)

    @pytest.mark.parametrize(
        "fields",
        [
            {"path": "/etc/passwd"},
            {"path": "/etc/etcd/dh/../../shadow"},
            {"path": "etc/etcd/dh"},
            {"path": "/"},
            {"path": "/etc/etcd/dh2"},
            {"path": f"/root/{UNIT}/x"},
            {"owner": "--reference=/x"},
            {"mode": "u+s"},
        ],
    )
    def test_one_that_would_lead_a_rollback_elsewhere_is_refused(self, fields: dict[str, str]) -> None:
        """A host's own word becomes an argument of `mv`, `cp`, `chown` and `chmod` as root."""
        record = Record((*HOST, changed(CONFIG, **fields)), "enabled", True, None)
        (text,) = build.stdins(baseline.record(build.terms(), {"etcd-1": record}))
        with pytest.raises(RecordError, match="etcd-1: lists"):
            understood(RECORD, text.decode())

    def test_what_really_lies_behind_a_link_is_no_other_place(self) -> None:
        """The listing names places by where they are: /etc/sysconfig may be a link."""
        entries = (Entry("/srv/conf/client", "d", "755", "root:root"), Entry("/srv/conf/client/x", "f", "600", "a:b"))
        unit = Entry(f"/etc/systemd/system/multi-user.target.wants/{UNIT}", "l", "", "root:root", "/x")
        units = (changed(UNIT_FILE, path=f"{place}/systemd/system/{UNIT}") for place in ("/etc", "/lib"))
        record = Record((*HOST, *entries, unit, *units), "enabled", True, None)
        (text,) = build.stdins(baseline.record(build.terms(), {"etcd-1": record}))
        assert understood(RECORD, text.decode()) == record

    def test_whether_deephaven_is_on_is_monits_word_and_not_understood_is_unknown(self) -> None:
        assert understood(SUPERVISED, "config_server OK Process\n") is True
        assert understood(SUPERVISED, "config_server Not monitored Process\n") is False
        assert understood(SUPERVISED, "what?", code=1) is None


@pytest.mark.parametrize("question", [LISTING, RECORD, SUPERVISED, LEFT], ids=lambda q: q.commands[0].why)
@given(text=st.text(max_size=2000) | st.recursive(st.none() | st.text(), st.lists).map(json.dumps))
@settings(max_examples=50, deadline=None)
def test_whatever_a_host_says_is_a_value_or_a_refusal_that_names_it(question: Question[object], text: str) -> None:
    with refused_by(question.host):
        understood(question, text)


class TestTheDifference:
    def test_a_host_that_is_as_it_was_has_none(self) -> None:
        assert not baseline.difference(HOST, HOST[::-1])

    def test_what_is_new_is_told_by_its_topmost_path(self) -> None:
        new = (
            Entry("/etc/etcd/dh/new", "d", "750", "root:etcd"),
            Entry("/etc/etcd/dh/new/key", "f", "640", "root:etcd"),
        )
        found = baseline.difference(HOST, (*HOST, *new, Entry("/var/lib/etcd/dh/new", "d", "700", "etcd:etcd")))
        assert found.brought == ("/etc/etcd/dh/new", "/var/lib/etcd/dh/new")
        assert not found.lacking and not found.retouched

    def test_what_is_missing_is_told_by_its_topmost_path(self) -> None:
        found = baseline.difference(HOST, (DIRECTORY, LATEST, *DATA))
        assert found.lacking == ("/etc/etcd/dh/old", UNIT_FILE.path)
        assert not found.brought

    @pytest.mark.parametrize("field", [{"mode": "666"}, {"owner": "eve:eve"}, {"sha256": "ef" * 32}, {"kind": "l"}])
    def test_a_file_that_is_another_is_both(self, field: dict[str, str]) -> None:
        found = baseline.difference(HOST, tuple(changed(e, **field) if e is CONFIG else e for e in HOST))
        assert found.brought == found.lacking == (CONFIG.path,)

    def test_a_link_that_points_elsewhere_is_both(self) -> None:
        found = baseline.difference(HOST, tuple(changed(e, target="new") if e is LATEST else e for e in HOST))
        assert found.brought == found.lacking == (LATEST.path,)

    def test_a_directory_is_never_moved_for_its_mode(self) -> None:
        found = baseline.difference(HOST, tuple(changed(e, mode="777") if e is OLD else e for e in HOST))
        assert found.retouched == (OLD,)
        assert not found.brought and not found.lacking

    def test_a_directory_that_became_something_else_is_both_as_a_whole(self) -> None:
        now = tuple(changed(e, kind="l", target="elsewhere") if e is OLD else e for e in HOST if e is not CONFIG)
        found = baseline.difference(HOST, now)
        assert found.brought == found.lacking == (OLD.path,)

    def test_a_link_that_became_a_directory_is_moved_with_all_that_is_in_it(self) -> None:
        now = tuple(changed(e, kind="d", target="") if e is LATEST else e for e in HOST)
        found = baseline.difference(HOST, (*now, changed(CONFIG, path=f"{LATEST.path}/config.yaml")))
        assert found.brought == found.lacking == (LATEST.path,)

    def test_a_name_that_only_begins_like_another_is_not_below_it(self) -> None:
        assert system.topmost(["/a/new-2", "/a/new", "/a/new/x", "/a/new.y"]) == ["/a/new", "/a/new-2", "/a/new.y"]

    @given(st.sets(st.sampled_from(HOST)), st.sets(st.sampled_from(HOST)))
    def test_there_is_one_exactly_when_the_listings_differ(self, was: set[Entry], now: set[Entry]) -> None:
        assert bool(baseline.difference(tuple(was), tuple(now))) == (was != now)


class TestCommandsThatAreLeft:
    def test_a_killed_runbooks_commands_are_told_by_their_deadline(self) -> None:
        text = "  7 sudo -n timeout -k 5 900 /usr/illumon/latest/bin/dh_monit down --block\n  8 sleep 900\n"
        assert understood(LEFT, text) == ("7 sudo -n timeout -k 5 900 /usr/illumon/latest/bin/dh_monit down --block",)

    def test_a_script_of_several_is_seen_between_two_of_its_commands(self) -> None:
        script = "{ e=$(sudo -n timeout -k 5 60 true 2>&1 >&3 3>&- </dev/null); r=$?; } 3>&1"
        assert understood(LEFT, f"9 sh -c {script}\n") == (f"9 sh -c {script}",)

    def test_the_question_itself_is_none(self) -> None:
        line = LEFT.commands[0].line()
        assert shlex.split(line)[:3] == ["sudo", "-n", "timeout"]
        assert understood(LEFT, f"1 {line}\n2 bash -c {line}\n3 {line.removeprefix('sudo -n ')}\n") == ()
