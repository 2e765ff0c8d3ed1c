"""The whole runbook planned on hosts that only answer questions: every stage can be planned, nothing acts."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import json
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from requorum import procedures
from requorum.cluster.quorum import Kind
from requorum.command import Action, Command, Copy, Result, look
from requorum.evidence.journal import Journal
from requorum.hosts.fleet import Fleet, Machine
from requorum.inventory import Inventory
from requorum.recovery.progress import Progress
from requorum.refusal import Disproved, Refusal
from requorum.run import dryrun, history, marker
from requorum.run import run as locking
from requorum.run.dryrun import Planning
from requorum.run.history import Birth
from requorum.run.marker import Phase
from requorum.run.terms import Options
from requorum.snapshots import layout
from requorum.troubleshoot import sudoers
from tests.unit import build
from tests.unit.build import CLIENT, UNIT

ROOT = Path(__file__).parents[3]
DATA = "/var/lib/etcd/dh/old"
FRAGMENT = f"/etc/systemd/system/{UNIT}"
SHOW = f"LoadState=loaded\nActiveState=active\nSubState=running\nUnitFileState=enabled\nFragmentPath={FRAGMENT}\n"
ROLES = ("config", "query", "root")
RUNS = (
    'a(sasbttttuii) 1 "/usr/bin/etcd" 3 "/usr/bin/etcd" "--config-file" "/etc/etcd/dh/latest/config.yaml" false 0 0\n'
    'as 0\na(sb) 0\ns "etcd"\ns ""\nt 1024\n'
)


def config(number: int) -> str:
    initial = ",".join(f"etcd-{n}=https://10.0.0.{10 + n}:2380" for n in (1, 2, 3))
    return (
        f"name: etcd-{number}\ndata-dir: {DATA}\ninitial-cluster-token: old\ninitial-cluster: {initial}\n"
        f"initial-advertise-peer-urls: https://10.0.0.{10 + number}:2380\n"
        f"advertise-client-urls: https://10.0.0.{10 + number}:2379\n"
    )


def listing(directory: str, *entries: str) -> str:
    """What `find` prints of a directory; an entry is a letter and a path below it, "f member/snap/db"."""
    found = [(kind, name) for kind, _, name in (entry.partition(" ") for entry in entries)]
    links = tuple(f"{name}/" for kind, name in found if kind == "l")
    below = [(kind, f"/./{name}") for kind, name in found if not name.startswith(("/", *links))]
    return "".join(f"{kind} 0 0 700 1 {directory}{name}\0" for kind, name in [("d", "/."), *below, ("d", "")])


def parts(directory: str, *entries: str) -> str:
    """What `find` prints of its parts behind links; "d member/snap/." where a link leads to an empty directory, and
    whole paths of a log that is kept apart."""
    rows = set()
    for kind, _, name in (entry.partition(" ") for entry in entries):
        path = name if name.startswith("/") else f"{directory}/{name}"
        place, _, leaf = path.rpartition("/")
        rows |= {("d", f"{place}/."), (kind, path if leaf == "." else f"{place}/./{leaf}")}
        rows |= {("d", f"{path}/.")} if kind == "d" and leaf != "." else set()
        rows |= {(kind, path)} if name.startswith("/") else set()
    return "".join(f"{kind} 0 0 700 1 {path}\0" for kind, path in sorted(rows))


WHOLE = ("d member", "d member/snap", "f member/snap/db", "d member/wal", "f member/wal/0.wal")


class Hosts:
    """Stands in for the fleet: answers what three members, a configuration server and a query host would answer.

    A command that changes something fails the test.
    """

    data: tuple[str, ...] = WHOLE  # what lies in DATA

    def __init__(self, leader: int = 0) -> None:
        self.leader = leader
        self.asked: list[Command] = []

    def each(self, hosts: Sequence[str], work: Callable[[Machine], Any]) -> dict[str, None]:
        return dict.fromkeys(hosts)  # whatever is proven holds

    def run(self, actions: Sequence[Action]) -> list[Result]:
        results = []
        for action in actions:
            assert isinstance(action, Command) and not action.changes, action
            self.asked.append(action)
            code, text = self.answer(action)
            results.append(Result(action, code, text, "", 0.0))
        return results

    def answer(self, command: Command) -> tuple[int, str]:
        argv, line = command.argv, " ".join(command.argv)
        number = int(command.host[-1]) if command.host.startswith("etcd") else 0
        answers = {
            "etcd --version": "etcd Version: 3.5.16\n",
            "command -v etcdutl || command -v etcdctl": "/usr/bin/etcdutl\n",
            "snapshot restore --help": "--bump-revision\n",
            "systemctl show": SHOW,
            "ip -o addr": f"2: eth0 inet 10.0.0.{10 + number}/24\n",
            "/metrics": f"etcd_server_has_leader {self.leader}\n",
            "/v3/kv/range": '{"error": "etcdserver: user name is empty"}',
            "%f %T@ %s": "db 1700000000.0 16801792\n0.wal 1700000000.0 67108864\n",
            "stat -c %u %a %F": "0 755 directory\n" * len(argv[3:]),
            "stat -c %s": "16801792\n",
            "stat -c %Y": f"1700000000 16801792 {DATA}/member/snap/db\n",
            "du -sB1": f"150000000 {DATA}\n",
            "df -P": build.df(command, "/dev/sda 1 1 900000000000 1% /"),
            "/dev/tcp/": "",
            "findmnt": "/\n",
            "base64 -w 0": "",
            "busctl": RUNS,
            "systemd/system.control": "",  # no drop-ins
        }
        if argv[0] == "cat" and argv[1].endswith("config.yaml"):
            return 0, config(number)
        if argv[:2] == ("readlink", "-m"):
            return 0, "".join(f"{path}\n" for path in argv[3:])
        if argv[0] == "find" and argv[-1] == layout.ENTRY:
            if argv[1] == f"{DATA}/member/.":
                return 0, parts(DATA, *self.data)
            return 0, listing(argv[2], *(self.data if argv[2] == DATA else ("d old",)))
        if argv[0] == "find" and "-maxdepth" in argv and argv[argv.index("-maxdepth") + 1] == "0":
            there = (FRAGMENT, CLIENT, f"{DATA}/member/wal", f"{DATA}/member/snap/db")
            found = [word for word in argv if word in there]
            return 0, "".join(f"1:{n} {p}\n" if "-printf" in argv else f"{p}\n" for n, p in enumerate(found))
        if argv[0] == "find" and "sha256sum" in argv:
            return 0, "".join(f"{role}-digest  {argv[1]}/{role}/password\n" for role in ROLES)
        return next(((0, text) for part, text in answers.items() if part in line), (1, ""))


def planning(directory: Path, hosts: Hosts, inventory: Inventory | None = None, **options: Any) -> Planning:
    journal = Journal(directory / "evidence")
    fleet = SimpleNamespace(each=hosts.each, run=hosts.run, journal=journal, logins={}, patience={})
    return Planning(inventory or build.inventory(), Options(**options), journal, cast("Fleet", fleet))


def through(run: Planning, progress: Progress | None = None) -> Planning:
    """Every stage in its order, as pytest would call it."""
    for nodeid, call in stages(run, progress or Progress.begin(run)):
        run.begin(nodeid)
        try:
            call()
        except Refusal as error:
            if not run.pardons(error):
                raise
        run.end(nodeid, "passed", 0.0, "")
        run.describe("Step.", "What.")
    run.anchor()
    return run


def stages(run: Planning, progress: Progress, directory: str = "runbook") -> Iterator[tuple[str, Callable[[], None]]]:
    """Each with the fixtures that it names."""
    fixtures = {"run": run, "progress": progress}
    for nodeid in procedures.expected(ROOT / directory, ROOT):
        path, step, stage = nodeid.split("::")
        module = importlib.import_module(path.removesuffix(".py").replace("/", "."))
        call = getattr(getattr(module, step)(), stage)
        yield nodeid, partial(call, **{name: fixtures[name] for name in inspect.signature(call).parameters})


def actions(run: Planning, stage: str) -> list[Action]:
    return next(s.actions for s in run.stages if s.nodeid.endswith(f"::test_{stage}"))


def lines(run: Planning, stage: str) -> str:
    return "\n".join(build.lines(actions(run, stage)))


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Planning:
    return through(planning(tmp_path_factory.mktemp("lost"), Hosts()))


def test_every_when_of_a_recovery_has_its_commands(planned: Planning) -> None:
    idle = [s.text for s in planned.stages if s.word == "When" and not s.actions]
    assert set(idle) <= {
        "a newer backup is brought from off site",
        "survivors are saved where login works",
        "a healthy cluster is saved",
        "a database without a hash is copied",
        "a space alarm in the data is disarmed",
    }


def test_what_every_proof_does_on_hosts_is_planned_too(planned: Planning) -> None:
    assert lines(planned, "then_a_write_through_each_member_is_read_from_all").count(" put ") == 3
    assert "cp -a" in lines(planned, "then_a_wrong_password_does_not")


def test_every_proof_that_is_not_followed_to_its_end_only_looks(planned: Planning) -> None:
    """What it would do after the question that nobody can answer yet would be missing from the plan."""
    assert {s.text for s in planned.stages if s.unforeseen} <= {
        "the certificates chain and name the addresses",
        "every client points to the new members",
    }


def test_the_run_and_its_token_are_placeholders_everywhere(planned: Planning) -> None:
    text = "\n".join(line for stage in planned.stages for line in build.lines(stage.actions))
    assert "/var/lib/requorum/lab/‹run›/snapshot.db" in text
    assert "--cluster-id '‹token›'" in text
    assert str(9_100_000_000_000_000_000) not in text


def test_step_0_asks_sudo_for_all_that_a_recovery_asks_and_does(tmp_path: Path) -> None:
    """What only other procedures need is left out there; the lab holds the journals of real ones against it."""
    hosts = Hosts()
    run = through(planning(tmp_path, hosts))
    lines = [command.line() for stage in run.stages for command in stage.commands()]
    lines += [command.line() for command in hosts.asked]
    needed, listed = (sudoers.unlisted(run.inventory, lines, of_recovery=only) for only in (True, False))
    assert len(lines) > 400 and needed == listed


def test_survivors_are_gathered_together_and_what_they_give_goes_to_every_member(planned: Planning) -> None:
    (copy,) = [a for a in actions(planned, "when_the_best_data_is_chosen_and_copied") if isinstance(a, Copy)]
    assert copy.source_host == "etcd-1" and copy.source.endswith("/salvage.snap")
    assert [host for host, _ in copy.targets] == ["etcd-1", "etcd-2", "etcd-3"]
    assert "boot etcd-1, etcd-2, etcd-3 in isolation" in [
        a.why for a in actions(planned, "when_survivors_are_salvaged") if isinstance(a, Command)
    ]


BESIDE = "/var/lib/etcd/requorum-‹run›"


class Placed(Hosts):
    """`data_root` and the directory above it are on one file system."""

    def answer(self, command: Command) -> tuple[int, str]:
        code, said = super().answer(command)
        above = ("/var/lib/etcd/dh/.", "/var/lib/etcd/.")
        if command.argv[0] == "find" and command.argv[1] == above[0]:
            said += "".join(f"1:9{n} {path}\n" for n, path in enumerate(above) if path in command.argv)
        return code, said


def test_where_no_place_beside_the_data_is_ready_step_4_restores(planned: Planning) -> None:
    tried = lines(planned, "when_the_snapshot_is_tried")
    assert tried.count("snapshot restore") == 1 and f"{BESIDE}/" not in tried
    assert lines(planned, "when_the_snapshot_is_restored_on_every_member").count("snapshot restore") == 3


def test_every_member_restores_before_the_commit_and_step_4_moves_it(tmp_path: Path) -> None:
    run = through(planning(tmp_path, Placed()))
    tried = lines(run, "when_the_snapshot_is_tried")
    assert tried.count("snapshot restore") == 1 + 3 and tried.count(f"--data-dir={BESIDE}/data.restoring") == 3
    assert "isolation.sh" in tried
    moved = lines(run, "when_the_snapshot_is_restored_on_every_member")
    assert moved.count(f"mv -T '{BESIDE}/leaving' '‹data-directory-of-etcd-") == 3 and "snapshot restore" not in moved
    assert "beside" not in "".join(s.refusal + s.unforeseen for s in run.stages)


class Apart(Placed):
    """The data is on a file system of its own, with what lies beside `data_root`."""

    def answer(self, command: Command) -> tuple[int, str]:
        if command.argv[0] == "df":
            rows = (
                "/dev/sdb 1 1 99999999999 1% /var/lib/etcd"
                if path.startswith("/var/lib/etcd")
                else "/dev/sda 1 1 99999999999 1% /"
                for path in command.argv[3:]
            )
            return 0, "\n".join(("Filesystem", *rows, ""))
        return super().answer(command)


def test_scratch_beside_the_data_is_planned_by_the_paths_that_it_has_anywhere(tmp_path: Path) -> None:
    run, as_ever = through(planning(tmp_path, Apart())), through(planning(tmp_path / "2", Placed()))
    for stage in ("when_survivors_are_salvaged", "when_the_snapshot_is_tried"):
        more = set(lines(run, stage).splitlines()) - set(lines(as_ever, stage).splitlines())
        assert more and all(" install -d " in line or " ln -sfT " in line for line in more), more
    assert [s.unforeseen for s in run.stages] == [s.unforeseen for s in as_ever.stages]


def test_the_syslog_is_told_after_each_step_by_a_line_of_its_own(planned: Planning) -> None:
    told = [a.argv[-1] for s in planned.stages for a in s.actions if isinstance(a, Command) and a.argv[0] == "logger"]
    assert len(set(told)) == 6 and len(told) == 6 * 5


def test_the_commit_prompt_and_the_point_of_no_return_are_where_the_design_has_them(planned: Planning) -> None:
    commit, no_return = [stage for stage in planned.stages if stage.line]
    assert commit.line == dryrun.COMMIT
    assert commit is next(s for s in planned.stages if "TestStep3" in s.nodeid)
    assert (no_return.line, no_return.text) == (dryrun.NO_RETURN, "deephaven is turned on at the configuration server")


def test_no_secret_is_in_the_plan(planned: Planning) -> None:
    rows = planned.rows()
    assert rows and "not-the-password" not in json.dumps(rows)
    assert any(str(row["line"]).endswith("/wrong/password' status=none < •••") for row in rows)


def test_a_healthy_cluster_is_planned_as_if_it_were_lost_and_the_refusal_is_said(tmp_path: Path) -> None:
    run = planning(tmp_path, Hosts(leader=1))
    progress = Progress.begin(run)
    through(run, progress)
    (refused,) = [s for s in run.stages if s.refusal]
    assert "quorum is intact" in refused.refusal and refused.text == "quorum is lost"
    assert progress.verdict is not None and progress.verdict.kind is Kind.LOST
    assert any("would stop at “Given quorum is lost”" in line for line in run.closing("planned"))
    assert actions(run, "when_survivors_are_salvaged")


class Elsewhere(Hosts):
    """Scratch lies behind a link, below what a boot hides."""

    def answer(self, command: Command) -> tuple[int, str]:
        code, text = super().answer(command)
        return code, text.replace("/var/lib/requorum", "/home/big") if command.argv[0] == "readlink" else text


def test_no_boot_hides_what_its_scratch_lies_in(planned: Planning, tmp_path: Path) -> None:
    for run, hidden in ((planned, True), (through(planning(tmp_path, Elsewhere())), False)):
        boots = [
            c for stage in run.stages for c in stage.commands() if c.argv[0] == "systemd-run" and "--pipe" in c.argv
        ]
        assert len(boots) == 2, "of the salvage and of the trial"
        assert all(("--property=InaccessiblePaths=-/home" in boot.argv) is hidden for boot in boots)


def test_a_handover_saves_and_looks_at_the_stopped_members(tmp_path: Path) -> None:
    run = through(planning(tmp_path, Hosts(leader=1), rebuild=True))
    assert not [s for s in run.stages if s.refusal]
    assert "snapshot save" in lines(run, "when_a_healthy_cluster_is_saved")
    assert lines(run, "then_every_stopped_member_tells_its_revision").count(f"cp {DATA}/member/snap/db") == 3
    assert not actions(run, "when_survivors_are_salvaged")


def test_a_new_member_on_a_spare_and_machines_that_are_gone_are_planned(tmp_path: Path) -> None:
    run = through(planning(tmp_path, Hosts(), build.replaced(), gone=("etcd-3",)))
    hosts = {command.host for stage in run.stages for command in stage.commands()}
    assert "etcd-4" in hosts and "etcd-3" not in hosts


def test_a_stage_that_cannot_be_foreseen_ends_the_plan_instead_of_guessing(tmp_path: Path) -> None:
    run = planning(tmp_path, Hosts())
    run.begin("m.py::TestX::test_when_x")
    run.do([Command("etcd-1", ("tool", "/made"), "make it")])
    with pytest.raises(Refusal, match="nobody can tell yet") as caught:
        run.look([Command("etcd-1", ("tool", "--read", "/made"), "read it", changes=False)])
    assert not run.pardons(caught.value)


def test_whatever_reaches_past_the_verbs_is_planned_as_well(tmp_path: Path) -> None:
    run = planning(tmp_path, Hosts())
    run.begin("m.py::TestX::test_when_x")
    change = Command("etcd-1", ("rm", "-f", "/a"), "past the verbs")
    assert [result.command for result in run.fleet.run([change])] == [change]
    assert run.stages[-1].actions == [change]


def test_a_given_is_proven_on_the_hosts_until_more_than_our_own_is_planned(tmp_path: Path) -> None:
    run = planning(tmp_path, Hosts())
    found = {"etcd-1": "it does not hold"}
    run.begin("m.py::TestX::test_when_a_lock_is_taken")
    run.do([Command("etcd-1", ("ln", "-sT", "me", "/var/lib/requorum/lab/lock"), "a lock")])
    assert run.do([look("etcd-1", "readlink", "/var/lib/requorum/lab/lock", why="")])[0].stdout == "me"
    run.begin("m.py::TestX::test_given_it_holds")
    with pytest.raises(Refusal):
        run.settle("it holds", found, "mend it")
    run.begin("m.py::TestX::test_when_it_is_done")
    run.do([Command("etcd-1", ("vendor", "--stop"), "stop it")])
    run.begin("m.py::TestX::test_given_it_still_holds")
    run.settle("it holds", found, "mend it")


def test_what_does_not_hold_today_is_supposed_mended_but_what_is_not_known_ends_the_plan(tmp_path: Path) -> None:
    run = planning(tmp_path, Hosts())
    run.begin("m.py::TestX::test_given_every_host_answers")
    assert not run.pardons(Disproved("takes commands as root", {"etcd-1": "sudo refused"}, "let it"))
    run.begin("m.py::TestX::test_given_there_is_room")
    assert run.pardons(Disproved("there is room", {"etcd-1": "none"}, "make room"))
    assert not run.pardons(Refusal("the hosts", "carry marks of several runs", "decide"))
    assert not run.pardons(KeyError("nobody foresaw this"))


def test_the_lock_is_taken_and_let_go_in_a_plan_without_a_name_for_its_holder(tmp_path: Path) -> None:
    run = planning(tmp_path, Hosts())
    run.begin("m.py::TestX::test_when_the_cluster_is_locked")
    locking.take_lock(run)
    locking.release_lock(run)
    changing = [command.argv for command in run.stages[-1].commands() if command.changes]
    assert ("ln", "-sT", "‹holder›", "/var/lib/requorum/lab/lock") in changing
    assert changing[-1][0] == "flock" and changing[-1][-1] == "‹holder›"


class Returned(Hosts):
    """A later run, which ended in Step 0, has overwritten every mark but that of a machine that was gone."""

    def __init__(self, over: bool) -> None:
        super().__init__()
        self.over = over

    def answer(self, command: Command) -> tuple[int, str]:
        members = "etcd-1=etcd-1/10.0.0.11 etcd-2=etcd-2/10.0.0.12 etcd-3=etcd-3/10.0.0.13"
        if command.argv[0] == "cat" and command.argv[1].endswith("/run.json"):
            stale = build.mark(Phase.STOPPING, members=members)
            mark = stale if command.host == "query-1" else build.mark(run="20260202t000000z-012345")
            return 0, build.stdins([marker.write(command.host, "lab", mark)])[0].decode()
        if self.over and command.host == "infra-1" and "birth.json" in command.line():
            birth = Birth(build.TOKEN, build.RUN, Phase.DONE, "ab", None, 0)
            return 0, "=\n" + build.stdins([history.write_birth(command.host, "lab", birth)])[0].decode()
        return super().answer(command)


@pytest.mark.parametrize("over", [True, False])
@pytest.mark.parametrize("directory", ["runbook", "runbook/retry"])
def test_a_machine_that_comes_back_does_not_revive_a_run_that_is_over(
    tmp_path: Path, directory: str, over: bool
) -> None:
    run = planning(tmp_path, Returned(over))
    with pytest.raises(Refusal, match="query-1: the mark of a run there") if not over else contextlib.suppress(Refusal):
        for nodeid, call in stages(run, Progress.begin(run), directory):
            run.begin(nodeid)
            call()
            if "under_way" in nodeid or "got_to" in nodeid:
                break
    assert not run.carrying_on


def test_planning_and_acting_have_the_same_verbs() -> None:
    """A verb that only `Run` has would act while a plan is made."""
    acting = {name for name, _ in inspect.getmembers(Planning.__base__, inspect.isfunction)}
    assert {"_carry_out", "severally", "look", "prove", "settle", "anchor", "advance"} <= acting & set(vars(Planning))
