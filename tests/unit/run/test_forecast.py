"""What hosts will answer once a plan was run: by what its commands do to files and units, and never by a guess."""

from __future__ import annotations

from dataclasses import replace

import pytest

from requorum.cluster import archive, deephaven, etcd, etcdctl, sandbox
from requorum.command import SUM, Command, Copy, Result, act, look
from requorum.hosts import system, systemd
from requorum.run import lock
from requorum.run.forecast import NUMBER, REVISION, Forecast, Unforeseen, shown
from tests.unit import build
from tests.unit.build import CLIENT, UNIT

HOST = "infra-1"


@pytest.fixture
def forecast() -> Forecast:
    return Forecast(build.inventory())


def plan(forecast: Forecast, *commands: Command | Copy) -> None:
    for command in commands:
        forecast.note(command)


def told(forecast: Forecast, question: Command, code: int = 0, text: str = "") -> Result:
    """The answer; `text` is what the host itself would say now."""
    answer = forecast.foresee(question)
    if isinstance(answer, Result):
        return answer
    return answer[1](Result(answer[0], code, text, "", 0.0))


def asked(forecast: Forecast, question: Command) -> tuple[str, ...] | None:
    """What the host itself is asked instead; None if nothing."""
    answer = forecast.foresee(question)
    return None if isinstance(answer, Result) else answer[0].argv


def digest(path: str) -> Command:
    return look(HOST, "sh", "-c", SUM, path, why="digest")


def there(*paths: str) -> Command:
    return system.ask_files(HOST, *paths).commands[0]


def exist(forecast: Forecast, *paths: str, text: str = "") -> tuple[str, ...]:
    return build.understood(system.ask_files(HOST, *paths), told(forecast, there(*paths), text=text).stdout)


def test_what_no_command_touches_is_asked_of_the_host(forecast: Forecast) -> None:
    plan(forecast, act(HOST, "rm", "-rf", "/a", why=""))
    question = digest("/ab")
    assert forecast.foresee(question) == (question, forecast.foresee(question)[1])  # type: ignore[index]
    assert asked(forecast, look("etcd-1", "sha256sum", "/a", why="")) == ("sha256sum", "/a"), "another host's /a"


def test_a_path_that_holds_a_placeholder_exists_only_once_it_is_made(forecast: Forecast) -> None:
    assert told(forecast, digest("/base/‹run›/x")).code == 1
    plan(forecast, Command(HOST, ("dd", "of=/base/‹run›/x"), "", stdin=b"said"))
    assert told(forecast, digest("/base/‹run›/x")).stdout == "‹SHA-256-of-x›  /base/‹run›/x\n"
    assert told(forecast, look(HOST, "cat", "/base/‹run›/x", why="")).stdout == "said"


def test_a_removed_directory_holds_nothing_and_a_moved_one_what_it_held(forecast: Forecast) -> None:
    plan(forecast, Command(HOST, ("dd", "of=/new/f"), "", stdin=b"1"), act(HOST, "mv", "-T", "/new", "/final", why=""))
    assert told(forecast, look(HOST, "cat", "/final/f", why="")).stdout == "1"
    assert told(forecast, digest("/new/f")).code == 1
    plan(forecast, act(HOST, "rm", "-rf", "/final", why=""), act(HOST, "install", "-d", "/final", why=""))
    assert exist(forecast, "/final", "/final/f") == ("/final",)


def test_data_that_was_set_aside_is_not_on_the_disk_any_more(forecast: Forecast) -> None:
    plan(forecast, act(HOST, "mv", "-T", "/data/token", "/aside", why=""))
    below = look(HOST, "find", "/data/token/snap/db", "/data/token/wal", "-type", "f", why="")
    assert (told(forecast, below).code, told(forecast, below).stdout) == (1, "")


def test_a_copy_is_asked_for_at_what_it_is_a_copy_of(forecast: Forecast) -> None:
    plan(forecast, deephaven.back_up_client(HOST, CLIENT, "/b/client.before"))
    (question,) = deephaven.ask_passwords(HOST, "/b/client.before").commands
    assert asked(forecast, question) == deephaven.ask_passwords(HOST, CLIENT).commands[0].argv
    answer = told(forecast, question, text=f"d1  {CLIENT}/root/password\n")
    assert answer.stdout == "d1  /b/client.before/root/password\n" and answer.command == question


def test_which_files_exist_is_told_from_both(forecast: Forecast) -> None:
    plan(forecast, act(HOST, "rm", "-f", "/gone", why=""), act(HOST, "cp", "/here", "/copy", why=""))
    plan(forecast, Command(HOST, ("tool", "/made"), ""))
    paths = ("/gone", "/copy", "/made", "/other")
    assert asked(forecast, there(*paths)) == there("/here", "/other").argv
    assert set(exist(forecast, *paths, text="1:7 /here\n1:8 /other\n")) == {"/copy", "/other", "/made"}


def test_a_streamed_file_has_the_digest_that_is_known_of_it(forecast: Forecast) -> None:
    plan(forecast, Copy("/here", ((HOST, "/there"),), "", sha256="d1"))
    assert told(forecast, digest("/there")).stdout.split(" ")[0] == "d1"


def test_a_command_of_an_unknown_kind_changes_what_it_names_or_says_that_it_makes(forecast: Forecast) -> None:
    plan(forecast, Command(HOST, ("systemd-run", "--scope", "--slice=x", "vendor", "/named"), "", makes=("/made",)))
    assert asked(forecast, digest("/named")) == ("sh", "-c", SUM, "/named"), "what it makes was told"
    assert told(forecast, digest("/made")).stdout.startswith("‹SHA-256-of-made›")
    plan(forecast, Command(HOST, ("vendor", "/named"), ""))
    assert told(forecast, digest("/named")).stdout.startswith("‹SHA-256-of-named›")


def test_what_nobody_can_tell_is_an_error_that_names_the_question(forecast: Forecast) -> None:
    plan(forecast, Command(HOST, ("vendor", "/made"), ""))
    with pytest.raises(Unforeseen, match="nobody can tell yet: what is in it"):
        forecast.foresee(look(HOST, "cat", "/made", why="what is in it"))


def test_a_directory_of_which_a_part_will_be_another_cannot_be_told(forecast: Forecast) -> None:
    plan(forecast, act(HOST, "rm", "-f", "/etc/vendor/one", why=""))
    with pytest.raises(Unforeseen):
        forecast.foresee(look(HOST, "find", "/etc/vendor", "-type", "f", why="all of it"))
    assert asked(forecast, there("/etc/vendor")) is not None, "whether it is there can"


def test_a_question_about_several_paths_is_asked_where_some_are_only_new(forecast: Forecast) -> None:
    question = look(HOST, "sh", "-c", "list", "/etc/vendor", "/tmp/‹token›", why="")
    assert asked(forecast, question) == question.argv, "the host has nothing by that name either"
    plan(forecast, act(HOST, "rm", "-rf", "/etc/vendor", why=""))
    with pytest.raises(Unforeseen):
        forecast.foresee(question)


def test_what_monit_supervises_follows_what_is_turned_on_and_off(forecast: Forecast) -> None:
    inventory = build.inventory()
    question = deephaven.ask_monit(inventory, HOST)
    assert asked(forecast, question) == question.argv
    plan(forecast, deephaven.monit(inventory, HOST, up=False))
    off = told(forecast, question, text="Process 'dispatcher'  OK\n")
    assert deephaven.not_off(deephaven.parse_monit(off.stdout)) == []
    with pytest.raises(Unforeseen):
        told(forecast, question, text="monit is not running\n")
    plan(forecast, deephaven.monit(inventory, HOST, up=True))
    assert deephaven.not_up(deephaven.parse_monit(told(forecast, question, text=off.stdout).stdout)) == []


def test_a_unit_that_is_set_aside_is_not_found_and_a_started_one_runs(forecast: Forecast) -> None:
    found = build.RUNNING
    show = "LoadState=loaded\nActiveState=active\nSubState=running\nUnitFileState=enabled\n"
    plan(forecast, *etcd.stop_and_set_aside("etcd-1", UNIT, found, (found.fragment,), "/aside"))
    unit = systemd.ask_unit("etcd-1", UNIT)
    (question,) = unit.commands
    gone = build.understood(unit, told(forecast, question, text=show).stdout)
    assert (gone.load, gone.active, gone.enabled) == ("not-found", "inactive", "")
    plan(forecast, deephaven.unpack_server(build.inventory(), "etcd-1", "/s.tgz", 1), *etcd.start("etcd-1", UNIT))
    back = build.understood(unit, told(forecast, question, text=show).stdout)
    assert (back.load, back.active, back.enabled) == ("loaded", "active", "enabled")
    assert asked(forecast, systemd.ask_unit("etcd-2", UNIT).commands[0]) is not None


def test_an_installed_configuration_has_the_new_token_and_the_members_address(forecast: Forecast) -> None:
    plan(forecast, deephaven.unpack_server(build.inventory(), "etcd-2", "/s.tgz", 2))
    question = etcd.ask_config("etcd-2", build.inventory().etcd.config)
    answer = told(forecast, question.commands[0])
    config = question.understand([replace(answer, planned=True)])
    assert isinstance(config, etcd.MemberConfig)
    assert isinstance(question.understand([answer]), etcd.EtcdError), "from a real host the placeholders are no words"
    assert (config.token, config.peer_url) == ("‹token›", "‹peer-scheme›://10.0.0.12:2380")


def test_a_real_archive_is_read_where_it_lies_instead_of_being_unpacked(forecast: Forecast) -> None:
    """A run that is carried on has its archives already: what will be unpacked from them can be told exactly."""
    plan(forecast, *archive.unpack(HOST, "/run/query.tgz", "/run/read"))
    question = deephaven.ask_client_files(HOST, "/run/read")
    argv = asked(forecast, *question.commands)
    assert argv is not None and argv[0] == "tar" and "/run/query.tgz" in argv
    answer = told(forecast, question.commands[0], text="d1  ./client/root/password\n")
    assert question.understand([answer]) == {"root/password": "d1"}
    found = told(
        forecast, look(HOST, "find", "/run/read", "-name", "config.yaml", why=""), text="./a/config.yaml\n./a/b\n"
    )
    assert found.stdout == "/run/read/a/config.yaml\n"
    assert asked(forecast, look(HOST, "cat", "/run/read/a/config.yaml", why="")) == (
        "tar",
        "-xzOf",
        "/run/query.tgz",
        "a/config.yaml",
        "./a/config.yaml",
    )


def test_a_boot_in_isolation_ends_well_with_numbers_that_are_named_when_shown(forecast: Forecast) -> None:
    boots = [sandbox.Boot(n, f"etcd-{n}", f"https://10.0.0.{n}:2380", f"10.0.0.{n}", "", "t") for n in (1, 2)]
    said = [forecast.note(c) for c in sandbox.boot(HOST, "trial", "r", "/s", build.inventory(), boots, ("", "/main"))][
        -1
    ]
    assert said is not None
    answers = sandbox.parse(said.stdout, said.words, boots)
    assert not answers.failed and answers.saved and len(set(answers.hashes.values())) == 1
    assert list(answers.hashes) == ["1", "2"] and answers.counts == (NUMBER, NUMBER)
    assert shown(f"at {REVISION:,} or {REVISION}, {NUMBER:,} keys") == "at ‹revision› or ‹revision›, ‹number› keys"


def test_etcd_reads_a_new_snapshot_at_a_revision_that_is_newer_than_all(forecast: Forecast) -> None:
    save = ("/v/etcdctl", "snapshot", "save", "/s.snap")
    plan(forecast, Command(HOST, save, ""))
    text = told(forecast, look(HOST, "/v/etcdctl", "snapshot", "status", "/s.snap", "-w", "json", why="")).stdout
    assert etcdctl.parse_snapshot_status(text) == (REVISION, NUMBER)


def test_free_disk_is_asked_of_the_deepest_directory_that_is_there_already(forecast: Forecast) -> None:
    assert asked(forecast, look(HOST, "df", "-P", "/var/lib/new", why="")) == (
        "df",
        "-P",
        "/",
        "/var",
        "/var/lib",
        "/var/lib/new",
    )


def test_a_look_changes_nothing(forecast: Forecast) -> None:
    plan(forecast, replace(act(HOST, "rm", "-rf", "/a", why=""), changes=False))
    assert asked(forecast, digest("/a")) is not None


def test_a_lock_that_is_cleared_takes_nothing_with_it(forecast: Forecast) -> None:
    plan(forecast, lock.drop("infra-1", "lab", "{}", "its holder has ended"))
    mark = look("infra-1", "cat", "/var/lib/requorum/lab/run.json", why="mark")
    assert asked(forecast, mark) == mark.argv
    assert told(forecast, lock.ask_holder("infra-1", "lab").commands[0]).code == 1
