"""Booting copies of etcd data on one host where nobody can see them: the plan, and how its answers are read.

One transient systemd unit a boot, in a network namespace of its own (`PrivateNetwork`): stopping the unit ends every
process and the namespace with it, and the unit ends by itself before the command that waits for it does. What runs in
it is `sandbox.sh`.
`salvage` boots survivors' copies, `trial` boots restored data. Pure functions only: they return `Command`s or parse.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from requorum.cluster import etcdctl
from requorum.cluster.archive import JUDGE
from requorum.cluster.etcd import Address, address, is_url
from requorum.cluster.lineage import member_id
from requorum.command import Command, Result, look, transient
from requorum.deadlines import LONG, by_bytes, rung, wait
from requorum.hosts.question import PATH, Question, checked, plain
from requorum.inventory import Inventory
from requorum.refusal import Refusal

PROGRAM = Path(__file__).with_name("sandbox.sh")
ON_HOSTS = "isolation.sh"  # its name there: sudoers files out there allow it by this name
SECRETS = "/tmp/requorum-secrets"  # of the unit too, and of its root: never on a disk, and gone with the unit
ROOM = "/tmp/requorum"  # where the unit, and only the unit, sees `room/`: its /tmp is its own
BOOT_SECONDS = 300  # beside what the data takes, which is read and written
# Of the unit, whatever it boots; of systemd 239: an unknown one ends the unit. Copies need no farewell: a leader would
# wait 7 s for another to take over.
ALONE = (
    "PrivateNetwork=yes",
    "PrivateTmp=yes",
    f"TemporaryFileSystem={SECRETS}:mode=0700,size=16m",
    "KillSignal=SIGKILL",
    "ProtectSystem=strict",
)
FAREWELL = 30  # seconds between the unit's own end and that of the command that waits for it
FIRST_PORT = 20001  # where we are root at the first member, on loopback; nothing else is in the namespace
FIRST_PLAIN_PORT = 30001  # where it takes passwords
# What no copy and no tool beside it needs: people's own, keys and passwords of the machine.
NOT_NEEDED = ("/root", "/home", "/run/user", "/etc/ssh", "/etc/shadow", "/etc/gshadow", "/etc/sudoers.d")
WAL_BYTES = 2 * 64 * 1024 * 1024  # etcd lays out two segments of write-ahead log before it holds any data
LACKS = (
    "no space left on device",
    "cannot allocate memory",
    "too many open files",
    "disk quota exceeded",
    "permission denied",
    "read-only file system",
    "input/output error",
)
ALARMS = {0: "NONE", 1: "NOSPACE", 2: "CORRUPT"}  # etcd's own numbers and names
NO_REASON = "no reason in its log"  # as the program says it
OVER = (0, 10)  # the program's own exit codes
NO_QUOTA = -1  # a copy must not refuse what its own log holds
NEVER = 1 << 40  # entries of a log


class IsolationError(Refusal):
    """The isolated boot printed what is not an answer."""


@dataclass(frozen=True)
class Boot:
    """One etcd of an isolated boot. `number`: its directory's name in the room, since no host's word becomes a path;
    `address` is the IP that its peer URL stands for; `stand_in`: starts empty, after the others, or `ahead` of them
    where it does not join an existing cluster; `votes`: it does so alone, since it holds nothing of what the cluster
    was restored from; `force`: --force-new-cluster. `initial_cluster` as etcd spells it: NAME=URL,…"""

    number: int
    name: str
    peer_url: str
    address: str
    initial_cluster: str
    token: str
    existing: bool = False
    stand_in: bool = False
    force: bool = False
    votes: bool = False

    @property
    def host_name(self) -> str:
        return address(self.peer_url).host

    @property
    def ahead(self) -> bool:
        return self.stand_in and not self.existing

    @property
    def alone(self) -> bool:
        """The only member of its cluster: nobody's silence can cost it the leadership."""
        return "," not in self.initial_cluster

    @property
    def turn(self) -> str:
        if self.ahead:
            return "votes" if self.votes else "ahead"
        return "later" if self.stand_in else "first"

    @property
    def ids(self) -> tuple[int, ...]:
        """Of all members, as this one computes them where it begins the cluster."""
        urls = (member.split("=", 1)[-1] for member in self.initial_cluster.split(","))
        return tuple(member_id([url], self.token) for url in urls)

    def config(self, port: int) -> str:
        """Its config.yaml: nothing secret. At `port` clients are root by the certificate of this boot; at the plain one
        etcd ignores certificates, and only passwords tell who they are."""
        plain = f"http://127.0.0.1:{port - FIRST_PORT + FIRST_PLAIN_PORT}"
        scheme, _, peer_port = address(self.peer_url)
        lines: dict[str, object] = {
            "name": self.name,
            "data-dir": f"{ROOM}/{self.number}",
            "listen-client-urls": f"https://127.0.0.1:{port},{plain}",
            "advertise-client-urls": plain,
            "enable-grpc-gateway": False,  # it would dial in with the server's certificate, which is not root's
            "listen-peer-urls": Address(scheme, self.address, peer_port or 2380).url,
            "initial-advertise-peer-urls": self.peer_url,
            "initial-cluster": self.initial_cluster,
            "initial-cluster-token": self.token,
            "initial-cluster-state": "existing" if self.existing else "new",
            "quota-backend-bytes": NO_QUOTA,
            "heartbeat-interval": 10 if self.alone else 50,
            "election-timeout": 100 if self.alone else 500,  # loopback alone lies between them, or nobody is there
            "unsafe-no-fsync": True,  # a copy is thrown away; versions that do not know it ignore it
        }
        if self.force:
            lines["force-new-cluster"] = True
        if self.votes:
            lines["snapshot-count"] = NEVER  # as a leader it could send a copy its own data, which is another's
        lines["client-transport-security"] = _security("root.crt")
        if scheme == "https":
            lines["peer-transport-security"] = _security("peer.crt")
        return yaml.safe_dump(lines, sort_keys=False, allow_unicode=True, width=1 << 20)


def _security(trusted: str) -> dict[str, object]:
    files = {"cert-file": "peer.crt", "key-file": "peer.key", "trusted-ca-file": trusted}
    return {"client-cert-auth": True, **{key: f"{ROOM}/tls/{name}" for key, name in files.items()}}


def unit(kind: str, run: str) -> str:
    """The unit's name. `kind`: "salvage" or "trial"."""
    return f"requorum-{kind}-{run}.service"


def stop(kind: str, run: str) -> tuple[str, ...]:
    """Ends the boot on its host: every process, and the namespace with them."""
    return ("systemctl", "stop", unit(kind, run))


def unseen(inventory: Inventory) -> tuple[str, ...]:
    """What nobody can read in an isolated boot: the live passwords, keys and data too, of which it has copies."""
    config = PurePosixPath(inventory.etcd.config).parent.parent
    keys = [str(config)] if len(config.parts) > len(("/", "etc", "etcd")) else []  # else it is everybody's directory
    return (*NOT_NEEDED, inventory.deephaven.client_config, inventory.etcd.data_root, *keys)


# Where systemd's units look for what a boot runs.
TOOLS = tuple(f"/usr/{place}bin/{tool}" for place in ("", "local/") for tool in ("etcd", "etcdctl", "etcdutl"))


def ask_unseen(host: str, inventory: Inventory, *places: str) -> Question[tuple[str, ...]]:
    """The same as far as it can be hidden on this host: what these `places`, where scratch is, or a tool lies in,
    behind whatever links, stays in sight, else the boot would not find them."""
    hidden = unseen(inventory)
    asked = (*places, *TOOLS, *hidden)
    command = look(host, "readlink", "-m", "--", *asked, why="where links lead to what a boot needs", root=False)

    def read(answer: Result) -> tuple[str, ...]:
        lines = answer.stdout.splitlines()
        if answer.code or len(lines) != len(asked):
            raise Refusal(host, f"does not tell where links lead ({plain(answer.words)[:200]})", "look at that host")
        real = [f"{checked(host, 'path', line, PATH)}/" for line in lines]
        needed, at = real[: -len(hidden)], real[-len(hidden) :]
        found = zip(hidden, at, strict=True)
        return tuple(path for path, place in found if not any(need.startswith(place) for need in needed))

    return Question(command, read)


def boot(
    host: str,
    kind: str,
    run: str,
    scratch: str,
    inventory: Inventory,
    boots: Sequence[Boot],
    prefixes: Sequence[str] = (),
    revision: int | None = None,
    size: int = 0,
    hidden: Sequence[str] = (),
    roles: Sequence[str] = (),
    logins: Command | None = None,
) -> list[Command]:
    """Writes the program, with all that it puts down itself, into `scratch` and runs the unit. The last command's
    output is for `parse`; its exit code is not a failure here, since a copy that does not start is an answer. `size`:
    of one member's data.
    `hidden`: as `ask_unseen` found it, `unseen` where nobody asked. `roles` that log in, and what prints `logins`."""
    members = [
        f"{b.number} {b.address} {FIRST_PORT + number} {FIRST_PLAIN_PORT + number} {b.turn}"
        for number, b in enumerate(boots)
    ]
    names = [f"{b.address} {b.host_name}" for b in boots if b.host_name and b.host_name != b.address]
    files = {
        "members": _lines(members),
        "prefixes": _lines(prefixes),
        "roles": _lines(roles),
        "judge.sh": JUDGE,
        "revision": str(revision or ""),
        "ids": _lines([str(number) for number in next((b.ids for b in boots if b.ahead), ())]),
        "hosts": _lines(["127.0.0.1 localhost", *names]),
        **{f"{ROOM}/{b.number}.yaml": b.config(FIRST_PORT + number) for number, b in enumerate(boots)},
    }
    before = {"hosts": files.pop("hosts")} if names else {}  # what the unit itself is made with must be there
    plan = [
        Command(host, ("dd", f"of={scratch}/{name}", "status=none"), f"write the {kind}'s {name}", stdin=text.encode())
        for name, text in {**before, ON_HOSTS: _with_files(files)}.items()
    ]
    hidden = hidden or unseen(inventory)
    unit = _run(host, kind, run, scratch, inventory.etcd.user, boots, size * len(boots), hidden, bool(names))
    return [*plan, replace(unit, fed=logins)]


def _with_files(files: Mapping[str, str]) -> str:
    """The program, after lines by which it first puts down what it needs: as root, inside the unit."""
    paths = (name if name.startswith("/") else f"$2/{name}" for name in files)
    put = [f'printf %s {shlex.quote(text)} >"{path}"' for path, text in zip(paths, files.values(), strict=True)]
    say = json.dumps({"event": "failed", "hindered": True, "why": "what the boot needs cannot be written"})
    ends = f"{{\n    printf '%s\\n' {shlex.quote(say)}\n    exit 10\n}}"
    return "\n".join(("#!/bin/sh", "umask 077", " &&\n".join(put) + f" || {ends}", _program()))


def _program() -> str:
    return PROGRAM.read_text(encoding="utf-8")


def files_of(text: str) -> dict[str, str]:
    """Name → content of what such a program puts down."""
    words = shlex.split(text.removesuffix(_program()), comments=True)
    found = [(at.removeprefix(">").removeprefix("$2/"), words[n - 1]) for n, at in enumerate(words) if at[:1] == ">"]
    return dict(found)


def _run(
    host: str,
    kind: str,
    run: str,
    scratch: str,
    account: str,
    boots: Sequence[Boot],
    size: int,
    hidden: Sequence[str],
    named: bool,
) -> Command:
    """The unit: alone with its scratch, without a network, for as long as `size` bytes take. `named`: members are known
    by names that `hosts` in the scratch tells."""
    deadline = rung(by_bytes(2 * size, BOOT_SECONDS), LONG)
    private_network, private_tmp, *others = ALONE
    properties = (  # a path that is missing ends the unit, without the `-`
        private_network,
        private_tmp,
        f"BindPaths={scratch}/room:{ROOM}",  # in this place: sudoers files out there have it
        *others,
        *([f"BindReadOnlyPaths={scratch}/hosts:/etc/hosts"] if named else []),
        f"ReadWritePaths={scratch}",  # whatever a copy leads to, no original can be written
        *(f"InaccessiblePaths=-{path}" for path in hidden),
    )
    return Command(
        host,
        (
            *transient(unit(kind, run), properties),
            wait(deadline - FAREWELL, "--property=RuntimeMaxSec={}"),
            "sh",
            f"{scratch}/{ON_HOSTS}",
            kind,
            scratch,
            account,
            wait(by_bytes(size)),
        ),
        f"boot {', '.join(b.name for b in boots)} in isolation",
        deadline=deadline,
        stop=stop(kind, run),
        accept=None,
    )


def _lines(items: Sequence[str]) -> str:
    return "".join(f"{item}\n" for item in items)


# -- what it says ------------------------------------------------------------------------------------------------


def good_end(members: Sequence[str], prefixes: Sequence[str], revision: int, digest: int, count: int) -> str:
    """What the program prints when all goes well, for a plan: the lines of its `members` and `prefixes`."""
    hashes = [{"Endpoint": member.split()[0], "HashKV": {"hash": digest}} for member in members]
    events: list[dict[str, object]] = [{"event": "saved"}, {"event": "pinned", "answer": revision}]
    events += [{"event": "login", "role": "root", "why": ""}, {"event": "wrong", "user": "root", "why": "refused"}]
    events += [{"event": "hashes", "answer": hashes}]
    events += [{"event": "count", "answer": {"count": count}} for _ in prefixes]
    return _lines([json.dumps(event) for event in (*events, {"event": "done"})])


@dataclass(frozen=True)
class Answers:
    """What an isolated boot said. `revision`: the one that all was asked at; `hashes`: endpoint → (hash at it,
    compacted up to), `then`: the same at the revision of a backup; `alarms` that lay in the data, by etcd's names, gone
    in the copy; `authentication`: whether it is on in the data; `logins`: role → "" or why it was refused, `wrong`:
    user → the same with a wrong password; `outside`: user → a key that is closed to it, None where none that was tried
    is, of those who were asked about;
    `counts` in the order of the prefixes asked; `leased`: how many keys have a lease; `died`: (member, why) of an etcd
    that ended; `failed`: why the boot came to no good end, "" when all was asked; `hindered`: that is the host's doing,
    and says nothing of the data.
    Of a boot that restores by itself, `took`: milliseconds for the backup to arrive and to be restored, `weight`: the
    scheduler of the disk that it lies on, "" where it lies on none."""

    failed: str = ""
    hindered: bool = False
    died: tuple[str, str] | None = None
    saved: bool = False
    members: tuple[tuple[str, str], ...] = ()  # (name, peer URL) as the data has them
    alarms: tuple[str, ...] = ()
    revision: int = 0
    hashes: dict[str, tuple[int, int]] = field(default_factory=dict)
    then: dict[str, tuple[int, int]] = field(default_factory=dict)
    users: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    counts: tuple[int, ...] = ()
    leases: int | None = None
    leased: int | None = None
    authentication: bool = True
    logins: dict[str, str] = field(default_factory=dict)
    wrong: dict[str, str] = field(default_factory=dict)
    outside: dict[str, str | None] = field(default_factory=dict)
    took: tuple[int, int] = (0, 0)
    weight: str = ""


def _number(value: object, least: int = 0) -> int:
    """Of etcd's: whole, and no larger than it has. Raises `ValueError`."""
    if type(value) is not int or not least <= value < 1 << 63:
        raise ValueError(value)
    return value


def _word(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(value)
    return value


def _hash(told: Mapping[str, Any]) -> tuple[int, int]:
    """-1 where nothing was compacted yet."""
    return _number(told["hash"]), _number(told.get("compact_revision", 0), -1)


def _take(found: dict[str, Any], event: Any, boots: Sequence[Boot]) -> None:
    """Takes what one event says into `found`. Raises what anything that is none of them raises."""
    name, answer = _word(event["event"]), event.get("answer")
    if name == "members":
        found["members"] = tuple((_word(m.get("name", "")), _word(m["peerURLs"][0])) for m in answer)
        if odd := next((url for _, url in found["members"] if not is_url(url)), None):
            raise ValueError(odd)
    elif name == "alarms":
        found["alarms"] = tuple(sorted({ALARMS[a.get("alarm", 0)] for a in answer.get("alarms") or ()}))
    elif name == "pinned":
        found["revision"] = _number(answer)
    elif name == "leased":
        found[name] = _number(answer)
    elif name in ("hashes", "then"):
        found[name] = {_word(a["Endpoint"]): _hash(a["HashKV"]) for a in answer}
    elif name in ("users", "roles"):
        found[name] = tuple(sorted(map(_word, answer.get(name) or ())))
    elif name == "count":
        found["counts"] = (*found["counts"], _number(answer.get("count", 0)))
    elif name == "leases":
        found[name] = len(answer.get("leases") or ())
    elif name == "authentication":
        found[name] = {True: True, False: False}[answer]  # and nothing else
    elif name == "login":
        found["logins"][_word(event["role"])] = _word(event["why"])
    elif name == "wrong":
        found["wrong"][_word(event["user"])] = _word(event["why"])
    elif name == "opens":
        found["outside"][_word(event["user"])] = etcdctl.key_outside(etcdctl.permissions(answer))
    elif name == "died":
        member = {str(b.number): b.name for b in boots}[event["member"]]
        found["died"] = (member, _word(event["why"]))
        found["failed"] = f"the copy of {member} ended: {event['why']}"
    elif name == "failed":
        found["failed"], found["hindered"] = _word(event["why"]), event.get("hindered", False) is True
    elif name == "restored":
        found["took"] = (_number(answer[0]), _number(answer[1]))
    elif name == "weight":
        found[name] = _word(answer)
    elif name == "saved":
        found["saved"] = True
    elif name not in ("leader", "done"):
        raise ValueError(name)


def parse(stdout: str, words: str, boots: Sequence[Boot], host: str = "the isolated boot") -> Answers:
    """Reads the program's output; `words` is what is shown of a boot that ended without a word of its own.

    Raises `IsolationError` that names the host for a line that is no answer.
    """
    found: dict[str, Any] = {"hashes": {}, "logins": {}, "wrong": {}, "outside": {}, "counts": ()}
    done = False
    for line in stdout.splitlines():
        try:
            event = json.loads(line)
            _take(found, event, boots)
            done = event["event"] == "done"
        except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError):
            what = f"its isolated boot said what is no answer: {line[:200]!r}"
            raise IsolationError(host, what, "look at that host, then run again") from None
    if not done and not found.get("failed"):
        found["failed"], found["hindered"] = f"it ended early: {words}", True
    if any(lack in found.get("failed", "").lower() for lack in LACKS):
        found["hindered"] = True
    return Answers(**found)
