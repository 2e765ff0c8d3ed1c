"""What is done on the host: in one directory, with limits, and nothing that would end a recovery's commands."""

from __future__ import annotations

from requorum.command import BESIDE, LIMITS, SLICE, Action, Command, Copy
from requorum.run.aftermath import is_own
from requorum.snapshots.snapshot import Source
from requorum.troubleshoot import sudoers
from requorum.verify import live, plan
from tests.unit import build

TERMS = build.terms(of=build.inventory(verify={"rate": 7}))
PLACE = f"/var/lib/requorum/lab/verify-{build.RUN}"
SOURCE = Source("file", None, "/backups/a.snap", "ab" * 32, 20_000_000, "2026-11-27T02:30:00Z", 120)


def everything(host: str = "infra-1") -> list[Action]:
    return [
        *plan.clear(TERMS, host),
        *plan.bring(TERMS, host, SOURCE),
        *plan.restore(TERMS, host, build.BUMPING, 0),
        *plan.boot(TERMS, host, 120, SOURCE.bytes, ("query", "root")),
        *plan.restore(TERMS, host, build.BUMPING, 1000),
        *plan.tidy(TERMS, host),
    ]


def commands(actions: list[Action]) -> list[Command]:
    found = [c for action in actions if isinstance(action, Command) for c in (action, action.fed) if c]
    for copy in (action for action in actions if isinstance(action, Copy)):
        reads = copy.reads()
        found += [*copy.opens(), *([reads] if reads else []), *copy.writes(), *copy.checks(), *copy.names()]
    return found


def test_its_own_login_needs_no_more_than_its_own_list() -> None:
    needs = sudoers.needed(TERMS.inventory, purpose="verify")
    asked = [*live.ask(TERMS.inventory).commands, *plan.ask_left(TERMS, "infra-1").commands]
    for host in ("infra-1", "query-1"):
        for command in [*commands(everything(host)), *asked]:
            line = sudoers.as_root(command.line())
            assert line is None or any(need.covers(line) for need in needs), line
            stop = sudoers.as_root(Command(host, command.stop, "stop").line()) if command.stop else None
            assert stop is None or any(need.covers(stop) for need in needs), stop


def test_a_recovery_does_not_stop_for_want_of_the_proofs_lines() -> None:
    own = [need for need in sudoers.needed(TERMS.inventory) if "verify-" in need.arguments]
    assert len(own) > 6 and all(need.aside for need in own)


def test_all_that_may_take_long_has_limits_and_ends_without_ending_anything_else() -> None:
    found = [line for line in build.lines(everything()) if "systemd-run" in line]
    assert len(found) >= 6
    for line in found:
        assert f"--slice={BESIDE} " in line and f"--slice={SLICE} " not in line
        assert all(f"--property={limit} " in line for limit in LIMITS)
    stops = {command.stop for command in commands(everything()) if command.stop}
    assert stops == {("systemctl", "stop", BESIDE), ("systemctl", "stop", f"requorum-verify-{build.RUN}.service")}
    assert not [line for line in build.lines(everything()) if line.endswith(f"systemctl stop {SLICE}")]
    assert BESIDE.startswith(f"{SLICE.removesuffix('.slice')}-"), "below that slice: a recovery ends it with the rest"


def test_whatever_is_written_lies_in_one_directory_of_this_run() -> None:
    for host in ("infra-1", "query-1"):
        for action in everything(host):
            line = action.line() if isinstance(action, Command) else action.shown()
            if isinstance(action, Command) and action.changes and "systemctl stop" not in line:
                assert PLACE in line or "-name 'verify-*'" in line or "rmdir" in line, line
            if isinstance(action, Copy):
                assert all(path.startswith(PLACE) for _, path in action.targets)


def test_it_is_restored_as_one_member_under_a_token_of_its_own() -> None:
    plain, bumped = (" ".join(build.lines(plan.restore(TERMS, "infra-1", build.BUMPING, bump))) for bump in (0, 1000))
    for line in (plain, bumped):
        assert f"--initial-cluster=verify=http://127.0.0.1:2380 --initial-cluster-token=verify-{build.RUN}" in line
    assert "--bump-revision" not in plain and "--mark-compacted" not in plain
    assert "--bump-revision=1000 --mark-compacted" in bumped
    assert PLACE in plain and "--skip-hash-check" not in plain


def test_the_upload_is_held_to_the_inventorys_rate_and_proven_where_it_arrives() -> None:
    (copy,) = [action for action in everything("query-1") if isinstance(action, Copy)]
    assert copy.rate == 7_000_000 and copy.sha256 == SOURCE.sha256 and copy.source_host is None


def test_the_boot_is_fed_the_configuration_servers_own_logins_and_no_password_is_packed_on_a_disk() -> None:
    (boot,) = [action for action in everything("query-1") if isinstance(action, Command) and action.fed]
    assert boot.host == "query-1" and boot.fed and boot.fed.host == "infra-1"
    assert "--directory=/etc/sysconfig/deephaven/etcd/client" in boot.fed.argv and "--file=-" in boot.fed.argv
    assert boot.fed.argv[-2:] == ("./root/user", "./root/password") and boot.fed.secret and not boot.fed.changes
    written = [command for command in commands(everything("query-1")) if command.changes]
    assert not [c for c in written if "password" in c.shown() or "logins" in c.shown()]


def test_it_changes_nothing_of_the_cluster() -> None:
    assert [action.shown() for action in everything("query-1") if not is_own(action)] == []
