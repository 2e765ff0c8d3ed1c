"""The isolated boot's program: who it is when it asks, and what it says of those who are let in."""

from __future__ import annotations

import io
import json
import os
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from requorum.cluster import archive, logins, sandbox
from requorum.cluster.sandbox import Boot
from tests.unit import build

# An etcd at its plain port, as far as names and passwords go. Whoever comes with two proofs of who he is is a mistake.
ETCDCTL = r"""#!/bin/sh
[ -z "${ETCDCTL_USER:-}" ] || [ -z "${ETCDCTL_CERT:-}" ] || { echo "Error: two proofs at once" >&2; exit 1; }
[ -n "${ETCDCTL_USER:-}" ] || echo "${ETCDCTL_CERT##*/} $*" >>"$0.asked"
case "$*" in
    *--endpoints=https:*) [ "${ETCDCTL_CERT##*/} ${ETCDCTL_KEY##*/}" = "root.crt root.key" ] ||
        { echo "Error: tls: certificate required" >&2; exit 1; } ;;
    *) [ -z "${ETCDCTL_CERT:-}" ] || { echo "Error: a certificate at the plain port" >&2; exit 1; } ;;
esac
case "$*" in *'user list') printf 'root\nconfig\nviewer\nwith space\n'; exit ;; esac
case "$*" in
    *'user get config --detail'*) printf 'User: config\n\n{"perm": [{"key": "L21haW4="}]}\n\n{"perm": null}\n'; exit ;;
    *'user get config -w json'*) printf '{"header": {}, "roles": ["root-ro", "none"]}\n'; exit ;;
    *'user get deputy --detail'*) printf 'User: deputy\n\n{"header":{"revision":1}}\n'; exit ;;
    *'user get deputy -w json'*) printf '{"header":{"revision":1},"roles":["root"]}\n'; exit ;;
    *'user get other --detail'*) printf 'User: config\n\n{}\n'; exit ;;
    *'user get viewer --detail'*) echo "Error: user name not found" >&2; exit 1 ;;
esac
case "$*" in *--endpoints=https:*) exit ;; esac
[ ! -e "$0.off" ] || exit 0
case "${ETCDCTL_USER:-}:${ETCDCTL_PASSWORD:-}" in
    :) echo "Error: etcdserver: user name is empty" >&2 ;;
    root:right) exit 0 ;;
    config:right) echo "Error: etcdserver: permission denied" >&2 ;;
    viewer:*) echo "Error: auth: authentication failed, password was given for no password user" >&2 ;;
    lax:*) exit 0 ;;
    *) echo "Error: etcdserver: authentication failed, invalid user ID or password" >&2 ;;
esac
exit 1
"""


def asked(
    place: Path, play: str, logins: dict[str, str], off: bool = False, fed: bytes = b""
) -> list[dict[str, object]]:
    """What the program's own functions say, against that etcd. `logins`: role, which is its user too → password; `fed`
    is its standard input."""
    place.mkdir(exist_ok=True)
    tool = place / "etcdctl"
    tool.write_text(ETCDCTL)
    tool.chmod(0o755)
    if off:
        (place / "etcdctl.off").touch()
    (place / "members").write_text("1 10.0.0.11 20001 30001 first\n")
    for role, password in logins.items():
        (place / "logins" / role).mkdir(parents=True)
        (place / "logins" / role / "user").write_text(role)
        (place / "logins" / role / "password").write_text(password)
    (place / "logins").mkdir(exist_ok=True)
    program = sandbox.PROGRAM.read_text().split("\nmake_network\n")[0].replace("await 30 ", "")
    set_up = f"\nsecrets={place}; echo $$ >{place}/1.pid; first=https://x:20001 plain_first=http://x:30001; as_root\n"
    ended = subprocess.run(
        ["sh", "-c", f"{program}\n{set_up}\n{play}", "isolation.sh", "trial", str(place), "nobody", "5"],
        capture_output=True,
        input=fed,
        timeout=30,
        check=False,
        env={**os.environ, "PATH": f"{place}:{os.environ['PATH']}"},
    )
    return [json.loads(line) for line in ended.stdout.splitlines()]


@pytest.mark.parametrize("off", [True, False])
def test_whether_authentication_is_on_is_asked_by_nobody_at_the_plain_port(tmp_path: Path, off: bool) -> None:
    assert asked(tmp_path, "tell_authentication", {}, off) == [{"event": "authentication", "answer": not off}]
    assert (tmp_path / "etcdctl.asked").read_text().startswith(" --endpoints=http://x:30001")


def test_every_old_password_is_tried_and_a_wrong_one_of_root_and_of_all_who_were_not_let_in(tmp_path: Path) -> None:
    said = asked(tmp_path, "try_passwords", {"root": "right", "config": "right", "viewer": "any", "other": "no"})
    logins = {event["role"]: event["why"] for event in said if event["event"] == "login"}
    wrong = {event["user"]: event["why"] for event in said if event["event"] == "wrong"}
    refused = "Error: etcdserver: authentication failed, invalid user ID or password"
    none = "Error: auth: authentication failed, password was given for no password user"
    assert logins == {"root": "", "config": "", "viewer": none, "other": refused}
    assert wrong == {"root": refused, "viewer": none, "with space": refused}


def test_what_a_user_may_read_is_told_of_a_trial_by_root_and_of_nobody_whose_answer_is_another_ones(
    tmp_path: Path,
) -> None:
    roles = {"root": "right", "config": "right", "viewer": "any", "other": "no"}
    said = asked(tmp_path / "trial", "try_passwords", roles)
    (opens,) = [event for event in said if event["event"] == "opens"]
    assert opens == {"event": "opens", "user": "config", "answer": [{"perm": [{"key": "L21haW4="}]}, {"perm": None}]}
    assert {"root", "with space", "viewer"} <= {event["user"] for event in said if event["event"] == "wrong"}
    text = "".join(f"{json.dumps(event)}\n" for event in (*said, {"event": "done"}))
    assert sandbox.parse(text, "", []).outside == {"config": "/requorum/outside"}
    nightly = asked(tmp_path / "verify", "kind=verify; try_passwords", roles)
    assert [event for event in nightly if event["event"] == "opens"] == [], "no proof of the night needs it"


def test_whoever_has_the_role_root_may_read_everything_though_etcd_shows_no_permission_of_it(tmp_path: Path) -> None:
    """Seen with etcd 3.5.16."""
    said = asked(tmp_path, "try_login deputy", {"deputy": "right"})
    text = "".join(f"{json.dumps(event)}\n" for event in (*said, {"event": "done"}))
    assert sandbox.parse(text, "", []).outside == {"deputy": None}


# Every login waits until all of them have begun.
MEETING = r"""#!/bin/sh
[ -n "${ETCDCTL_USER:-}" ] && [ "$ETCDCTL_PASSWORD" = right ] || exec "$0.alone" "$@"
touch "$0.$ETCDCTL_USER"
for _ in $(seq 100); do
    [ -e "$0.root" ] && [ -e "$0.a" ] && [ -e "$0.b" ] && exit 0
    sleep 0.05
done
echo "Error: the others did not come" >&2
exit 1
"""


def test_all_roles_log_in_at_once_and_none_takes_another_ones_words(tmp_path: Path) -> None:
    moves = 'mv "$scratch/etcdctl" "$scratch/etcdctl.alone"; mv "$scratch/new" "$scratch/etcdctl"'
    play = f'cat >"$scratch/new" <<\'END\'\n{MEETING}END\n{moves}; chmod 755 "$scratch/etcdctl"; try_passwords'
    said = asked(tmp_path, play, {"root": "right", "a": "right", "b": "right", "c": "wrong"})
    logins = {str(event["role"]): str(event["why"]) for event in said if event["event"] == "login"}
    assert [logins[role] for role in ("root", "a", "b")] == ["", "", ""]
    assert logins["c"].startswith("Error: etcdserver: authentication failed")
    assert list(logins) == ["root", "a", "b", "c"]


def test_a_login_that_ends_the_boot_ends_it_with_its_own_word(tmp_path: Path) -> None:
    play = """let_in() { [ "$ETCDCTL_USER" != config ] || hindered "it hangs"; why=''; }; try_passwords"""
    said = asked(tmp_path, play, {"root": "right", "config": "right"})
    assert said[-1] == {"event": "failed", "hindered": True, "why": "it hangs"}
    assert [event["event"] for event in said] == ["login", "failed"], "and nothing is asked after it"


def taken(
    place: Path, fed: bytes, roles: str = "root\nconfig\n", then: str = "try_passwords"
) -> list[dict[str, object]]:
    """What a boot says that gets this by its standard input."""
    scratch, secrets = place / "scratch", place / "secrets"
    for directory in (scratch, secrets):
        directory.mkdir(parents=True)
    (scratch / "roles").write_text(roles)
    (scratch / "judge.sh").write_text(archive.JUDGE)
    said = asked(scratch, f"rmdir {scratch}/logins; secrets={secrets}; take_logins; {then}", {}, fed=fed)
    assert not (secrets / "packed").exists() or said[-1]["event"] == "failed"
    holding = [p for p in scratch.rglob("*") if p.is_file() and p.name != "etcdctl" and b"right" in p.read_bytes()]
    assert holding == [], "a password lies in the scratch"
    return said


def kept(place: Path, logins: dict[str, str]) -> Path:
    """A client configuration."""
    for role, password in logins.items():
        (place / role).mkdir(parents=True)
        (place / role / "user").write_text(role)
        (place / role / "password").write_text(password)
    return place


def packed(directory: Path, *roles: str) -> bytes:
    """As the configuration server packs it."""
    argv = logins.packed("infra-1", str(directory), roles, "every login").argv
    return subprocess.run(argv, capture_output=True, check=True).stdout


def test_logins_come_by_standard_input_and_are_in_the_units_own_memory_alone(tmp_path: Path) -> None:
    said = taken(tmp_path, packed(kept(tmp_path / "client", {"root": "right", "config": "right"}), "root", "config"))
    assert [(event["role"], event["why"]) for event in said if event["event"] == "login"] == [
        ("root", ""),
        ("config", ""),
    ]


def test_a_boot_without_logins_waits_for_none(tmp_path: Path) -> None:
    (tmp_path / "roles").touch()
    assert asked(tmp_path, "rmdir $secrets/logins; take_logins; say '{}'", {}, fed=b"of no use") == [{}]


def test_logins_that_were_cut_off_on_their_way_end_the_boot_and_say_nothing_of_the_data(tmp_path: Path) -> None:
    """Anywhere: in a file, between two, before the end of the archive, and before its first byte."""
    whole = packed(kept(tmp_path / "client", {"root": "right", "config": "right"}), "root", "config")
    for size in (0, 1, 512, 600, 1024, 1536, 2000):
        said = taken(tmp_path / str(size), whole[:size])
        assert [event["event"] for event in said] == ["failed"] and said[0]["hindered"] is True, (size, said)


def test_more_than_all_logins_can_be_is_not_unpacked(tmp_path: Path) -> None:
    (said,) = taken(tmp_path, bytes((1 << 20) + 1))
    assert said == {"event": "failed", "hindered": True, "why": "the logins are more than 1048576 bytes"}
    assert f"most={logins.MOST}\n" in sandbox.PROGRAM.read_text()


def tar(*members: tuple[str, bytes, str]) -> bytes:
    """An archive with these (name, kind, link)."""
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w") as made:
        for name, kind, link in members:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, link
            made.addfile(info)
    return held.getvalue()


@pytest.mark.parametrize(
    "odd",
    [
        ("./root", tarfile.SYMTYPE, "/etc"),
        ("./root/user", tarfile.LNKTYPE, "/etc/shadow"),
        ("./root/user", tarfile.CHRTYPE, ""),
        ("./root/user", tarfile.FIFOTYPE, ""),
        ("../out", tarfile.REGTYPE, ""),
        ("/etc/out", tarfile.REGTYPE, ""),
        ("./root/a b", tarfile.REGTYPE, ""),
    ],
)
def test_what_comes_in_place_of_logins_is_judged_as_every_archive_is(
    tmp_path: Path, odd: tuple[str, bytes, str]
) -> None:
    (said,) = taken(tmp_path, tar(("./config/user", tarfile.REGTYPE, ""), odd))
    assert str(said["why"]).startswith("the logins must be files and directories alone: "), said
    assert not list((tmp_path / "secrets" / "logins").iterdir()), "and nothing of it is unpacked"


@pytest.mark.parametrize("link", [Path.symlink_to, Path.hardlink_to], ids=["symlink", "hard link"])
def test_roles_that_share_a_login_by_a_link_are_packed_as_files_of_their_own(
    tmp_path: Path, link: Callable[[Path, Path], None]
) -> None:
    client = kept(tmp_path / "client", {"root": "right"})
    (client / "config").mkdir()
    for name in ("user", "password"):
        link(client / "config" / name, Path("../root") / name if link is Path.symlink_to else client / "root" / name)
    said = taken(tmp_path, packed(client, "root", "config"))
    assert [event["role"] for event in said if event["event"] == "login"] == ["root", "config"]


def test_a_refused_root_does_not_hide_who_else_is_refused(tmp_path: Path) -> None:
    said = asked(tmp_path, "try_passwords", {"root": "no", "config": "no"})
    assert [event["role"] for event in said if event["event"] == "login" and event["why"]] == ["root", "config"]


@pytest.mark.parametrize(
    ("has", "known"),
    [([7, 10], True), ([10, 7], True), ([7, 11], False), ([7], False), ([7, 10, 12], False), ([], False)],
)
def test_the_data_knows_the_members_that_stand_ins_began_with_or_it_does_not_count(
    tmp_path: Path, has: list[int], known: bool
) -> None:
    members = [{"id": number, "peerURLs": ["https://a:1"], "name": '"id":9'} for number in has]
    (tmp_path / "curl").write_text(f"#!/bin/sh\ncat <<'END'\n{json.dumps(members, separators=(',', ':'))}\nEND\n")
    (tmp_path / "curl").chmod(0o755)
    (tmp_path / "ids").write_text("10\n7\n")
    said = asked(tmp_path, "known_ids && say '{}'", {})
    assert said == [{"event": "members", "answer": members}, *([{}] if known else [])]


STEPS = ("make_network", "check_tools", "take_logins", "make_certificates", "ask_salvage")
STARTS = ("start_all", "stood_ahead", "told_members", "led", "known_ids")


def started(place: Path, ids: str, known: bool = True) -> tuple[list[str], list[dict[str, object]]]:
    """In which order it starts etcds and looks at them, and what it says."""
    (place / "members").write_text("1 10.0.0.11 20001 30001 first\n2 10.0.0.12 20002 30002 ahead\n")
    (place / "ids").write_text(ids)
    functions, main = sandbox.PROGRAM.read_text().split("\nmake_network\n")
    stubs = [f"{name}() {{ :; }}" for name in (*STEPS, "check_alive")]
    stubs += [f'{name}() {{ echo "{name} $*" >>"$scratch/order"; }}' for name in STARTS[:4]]
    stubs += [f'known_ids() {{ echo "known_ids" >>"$scratch/order"; {"true" if known else "false"}; }}']
    stubs += ["sleep() { :; }", "long() { echo 0; }"]
    script = "\n".join([functions, *stubs, "make_network", main])
    argv = ["sh", "-c", script, "isolation.sh", "salvage", str(place), "nobody", "60"]
    ended = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
    order = (place / "order").read_text().splitlines()
    return [line.strip() for line in order], [json.loads(line) for line in ended.stdout.splitlines()]


def test_stand_ins_that_begin_the_cluster_are_up_before_any_copy_and_the_data_is_asked_whom_it_knows(
    tmp_path: Path,
) -> None:
    order, said = started(tmp_path, "7\n10\n")
    copies = ["start_all first", "told_members", "start_all later", "led"]
    assert order == ["start_all ahead votes", "stood_ahead", *copies, "known_ids"]
    assert [event["event"] for event in said] == ["leader", "done"]


def test_where_the_data_knows_others_nothing_is_asked_of_it(tmp_path: Path) -> None:
    _, said = started(tmp_path, "7\n10\n", known=False)
    assert said == [{"event": "failed", "why": "the data knows other members than it began with"}]


def test_stand_ins_that_only_vote_are_started_as_those_and_asked_for_no_data(tmp_path: Path) -> None:
    """Neither for a hash, nor whether they follow."""
    play = """
        printf '1 a 20001 30001 first\\n2 b 20002 30002 votes\\n3 c 20003 30003 ahead\\n' >"$scratch/members"
        await() { say "{\\"asked\\": \\"$3\\"}"; }
        start() { say "{\\"up\\": $1}"; }
        follow 9
        start_all ahead votes
    """
    said = [{"asked": f"https://127.0.0.1:2000{number}"} for number in (1, 3)]
    assert asked(tmp_path, play, {}) == [*said, {"up": 2}, {"up": 3}]


def test_without_such_stand_ins_the_copies_come_first(tmp_path: Path) -> None:
    order, _ = started(tmp_path, "")
    assert order == ["start_all first", "told_members", "start_all later", "led"]


def test_a_member_alone_waits_a_tenth_of_a_second_to_lead_and_others_as_long_as_a_busy_machine_needs() -> None:
    """etcd takes an election timeout of five heartbeats or more."""
    one, many = (Boot(1, "a", "http://127.0.0.1:2380", "127.0.0.1", of, "t") for of in ("a=x", "a=x,b=y"))
    times = [[yaml.safe_load(b.config(1))[k] for k in ("heartbeat-interval", "election-timeout")] for b in (one, many)]
    assert times == [[10, 100], [50, 500]]


def put_down(place: Path, boots: list[Boot], prefixes: tuple[str, ...]) -> tuple[str, dict[str, str]]:
    """What the whole program says that is written for a boot, up to its network; and the files that it put down."""
    plan = sandbox.boot("h", "trial", "r", "/s", build.inventory(), boots, prefixes, roles=("a'b",))
    text = next(c.stdin for c in plan if f"of=/s/{sandbox.ON_HOSTS}" in c.argv and c.stdin).decode()
    whole = text.split("\nmake_network\n")[0].replace(sandbox.ROOM, str(place / "room"))
    argv = ["sh", "-c", f"{whole}\nsay '{{}}'", "isolation.sh", "trial", str(place), "nobody", "5"]
    said = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=True).stdout
    assert [json.loads(line) for line in said.splitlines()] == [{}]
    return text, {str(p.relative_to(place)): p.read_text() for p in place.rglob("*") if p.is_file()}


def test_a_boot_is_written_as_one_file_that_puts_down_the_others_whatever_they_hold(tmp_path: Path) -> None:
    """As root inside the unit: nothing is written beside the program before anything of it runs."""
    one = Boot(1, "it's $(x)\n", "https://10.0.0.1:2380", "10.0.0.1", 'a="b"', "`t`")
    (tmp_path / "room").mkdir()
    prefixes = ("", "/main/it's", '$HOME `id` \\ "x"')
    text, found = put_down(tmp_path, [one], prefixes)
    config = one.config(sandbox.FIRST_PORT)
    assert found.pop("room/1.yaml") == config.replace(sandbox.ROOM, str(tmp_path / "room"))
    members = "1 10.0.0.1 20001 30001 first\n"
    assert found == {
        "members": members,
        "prefixes": "".join(f"{prefix}\n" for prefix in prefixes),
        "roles": "a'b\n",
        "judge.sh": archive.JUDGE,
        "revision": "",
        "ids": "",
        "hosts": "127.0.0.1 localhost\n",
    }
    assert sandbox.files_of(text)["prefixes"] == found["prefixes"], "a plan reads it as the shell does"
    assert sandbox.files_of(text)[f"{sandbox.ROOM}/1.yaml"] == config


def test_a_file_that_cannot_be_put_down_ends_the_boot_and_says_nothing_of_the_data(tmp_path: Path) -> None:
    (tmp_path / "ids").mkdir()
    plan = sandbox.boot("h", "trial", "r", "/s", build.inventory(), [])
    text = next(c.stdin for c in plan if c.stdin).decode().split("\nmake_network\n")[0]
    argv = ["sh", "-c", f"{text}\nsay '{{}}'", "isolation.sh", "trial", str(tmp_path), "nobody", "5"]
    ended = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
    found = sandbox.parse(ended.stdout, "", [])
    assert (ended.returncode, found.hindered, found.failed) == (10, True, "what the boot needs cannot be written")


def test_what_is_asked_at_once_is_said_in_order_and_one_that_ends_the_boot_ends_it(tmp_path: Path) -> None:
    """As many prefixes as an inventory may have."""
    (tmp_path / "prefixes").write_text("".join(f"/{n}\n" for n in range(40)))
    (tmp_path / "revision").write_text("7")
    play = """
        for f in follow tell_authentication disarm; do eval "$f() { guarded=false; }"; done
        all=all
        asks() { answer="{\\"count\\": \\"$*\\"}"; }
        event() { case "$*" in *"$bad "*) fail "bad" ;; esac; say "{\\"event\\": \\"$1 $4\\"}"; }
    """
    said = [str(event["event"]) for event in asked(tmp_path, f"{play} bad=none; ask_trial", {})]
    assert said == ["pinned", "hashes hashkv", "users list", "roles list", *(f"count /{n}" for n in range(40))]
    said = [str(event["event"]) for event in asked(tmp_path, f"{play} bad=/20; ask_trial; say '{{}}'", {})]
    assert said[-2:] == ["count /19", "failed"], "and nothing is asked after it"


def test_what_it_says_of_authentication_is_read() -> None:
    said = (
        '{"event": "authentication", "answer": false}\n{"event": "login", "role": "a", "why": "x"}\n'
        '{"event": "wrong", "user": "b", "why": "y"}\n{"event": "done"}\n'
    )
    answers = sandbox.parse(said, "", [])
    assert (answers.authentication, answers.logins, answers.wrong) == (False, {"a": "x"}, {"b": "y"})
    assert sandbox.parse('{"event": "done"}', "", []).authentication, "on, unless it was said to be off"


def test_a_proof_asks_what_a_trial_does_and_counts_the_leases(tmp_path: Path) -> None:
    play = """ask_trial() { say '{"event": "leader"}'; }; asks() { answer='{"leases": [{"id": 1}, {"id": 2}]}'; }"""
    said = asked(tmp_path, f"{play}; ask_verify", {})
    assert [event["event"] for event in said] == ["leader", "leases"]
    text = "".join(f"{json.dumps(event)}\n" for event in (*said, {"event": "done"}))
    assert sandbox.parse(text, "", []).leases == 2
    assert sandbox.parse('{"event": "leases", "answer": {}}\n{"event": "done"}\n', "", []).leases == 0
    assert sandbox.parse('{"event": "done"}', "", []).leases is None


# Two leases, of which one holds two keys; `at`: the revision that the store is at when the second is asked for.
LEASES = r"""asks() {
    at=7
    case "$*" in
        *'lease list'*) answer='{"cluster_id":1,"member_id":2,"revision":7,"raft_term":3,"leases":[LIST]}' ;;
        *'timetolive ff --keys'*) answer='{"revision":7,"raft_term":3,"id":255,"ttl":5,"keys":["L2E=","L2I="]}' ;;
        *'timetolive 1 --keys'*) answer='{"revision":AT,"raft_term":3,"id":1,"ttl":5,"keys":null}' ;;
        *) return 1 ;;
    esac
}
at_revision=7; tell_leased
"""


@pytest.mark.parametrize(
    ("leases", "at", "told"),
    [
        ((255, 1), 7, [{"event": "leased", "answer": 2}]),
        ((), 7, [{"event": "leased", "answer": 0}]),
        ((255, 1), 8, []),
        ((255, 2), 7, []),
        ((1,) * 17, 7, []),
        ((255, -1), 7, []),
    ],
    ids=["some", "none", "one ran out meanwhile", "no answer", "many", "of a client's own number"],
)
def test_how_many_keys_have_a_lease_is_told_by_the_leases_and_not_by_a_list_of_all_keys(
    tmp_path: Path, leases: tuple[int, ...], at: int, told: list[dict[str, object]]
) -> None:
    listed = ",".join(f'{{"id":{lease}}}' for lease in leases)
    assert asked(tmp_path, LEASES.replace("LIST", listed).replace("AT", str(at)), {}) == told


@pytest.mark.parametrize(
    "said",
    [
        '{"level":"error","msg":"failed to attach a lease","lease-id":"ff","error":"lease not found"}',
        "2026-11-28 03:10:18.422827 E | mvcc: unexpected Attach error: lease not found",
    ],
    ids=["3.5", "3.4"],
)
def test_where_a_key_names_a_lease_that_is_not_there_nobody_tells_how_many_have_one(tmp_path: Path, said: str) -> None:
    """No lease holds it, and a list of keys shows its lease: seen with etcd 3.5.16."""
    play = LEASES.replace("LIST", '{"id":255}').replace("AT", "7")
    (tmp_path / "1.log").write_text('{"level":"info","msg":"restored last compact revision"}\n')
    assert asked(tmp_path, play, {}) == [{"event": "leased", "answer": 2}]
    (tmp_path / "1.log").write_text(f"{said}\n")
    assert asked(tmp_path, play, {}) == []
