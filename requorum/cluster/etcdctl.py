"""What etcdctl and etcdutl print, read: etcd's own JSON; revisions are the store's, IDs unsigned integers."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, NoReturn, TypeVar

from requorum.cluster import deephaven
from requorum.cluster.authentication import NO_PASSWORD
from requorum.cluster.etcd import EtcdError
from requorum.command import Command, Result, look
from requorum.deadlines import HUGE, LONG, SHORT, wait
from requorum.hosts.question import Question, in_time
from requorum.inventory import Inventory

T = TypeVar("T")


def _ask(inventory: Inventory, read: Callable[[str], T], *words: str, why: str, deadline: int = SHORT) -> Question[T]:
    """By the vendor's etcdctl as Deephaven's root. Raises `EtcdError` with its last words where it gives no answer."""

    def understand(answer: Result) -> T:
        try:
            return read(answer.stdout)
        except (EtcdError, AttributeError, KeyError, TypeError, ValueError, OverflowError):
            return _none(answer)

    return Question(deephaven.etcdctl(inventory, *words, "-w", "json", why=why, deadline=deadline), understand)


def ask_health(inventory: Inventory, endpoints: str, *options: str) -> Question[dict[str, str | None]]:
    """Endpoint → None when healthy for an authenticated user, else its error."""
    words = (f"--endpoints={endpoints}", "endpoint", "health", *options)
    return _ask(inventory, parse_health, *words, why="health of every member")


def ask_status(inventory: Inventory) -> Question[list[Status]]:
    """Of every member that the cluster has and that answers."""
    return _ask(inventory, parse_status, "endpoint", "status", "--cluster", why="status of every member")


def ask_member(inventory: Inventory, endpoint: str, *options: str) -> Question[Status]:
    """The status of one member."""
    words = (f"--endpoints={endpoint}", "endpoint", "status", *options)
    return _ask(inventory, lambda text: _only(parse_status(text)), *words, why=f"status of {endpoint}")


def ask_hash(inventory: Inventory, endpoint: str, revision: int, *options: str) -> Question[int]:
    """The hash of one member's data at a revision: it reads all of it."""
    words = (f"--endpoints={endpoint}", "endpoint", "hashkv", f"--rev={revision}", *options)

    def read(text: str) -> int:
        return _only(list(parse_fingerprints(text).values()))[0]

    return _ask(inventory, read, *words, why=f"hashkv of {endpoint}", deadline=LONG)


# Each member reads all its data for it. Half of the command's deadline: one that hangs leaves the others time to tell.
HASHING = (wait(20, "--dial-timeout={}s"), wait(LONG // 2, "--command-timeout={}s"))


def _only(found: list[T]) -> T:
    """Of the one that was asked. Raises `ValueError` where another number answered."""
    (one,) = found
    return one


def ask_fingerprints(inventory: Inventory, endpoint: str, revision: int) -> Question[dict[str, tuple[int, int]]]:
    """Endpoint → (hash, up to which revision the data is compacted) of every member, at one revision; `endpoint` names
    one of them, which tells of the others. Raises `EtcdError` where none tells."""
    words = (f"--endpoints={endpoint}", *HASHING, "endpoint", "hashkv", "--cluster", f"--rev={revision}")
    asked = _ask(inventory, parse_fingerprints, *words, why="hash of every member's data", deadline=LONG)

    def read(answer: Result) -> dict[str, tuple[int, int]]:
        found = asked.understand([answer])
        if not found:  # it prints an empty list where no member tells, and why on the other stream
            _none(replace(answer, stdout=""))
        return found

    return Question(asked.command, read)


def ask_count(inventory: Inventory, prefix: str, *options: str) -> Question[int]:
    words = ("get", prefix, "--prefix", "--keys-only", "--limit=1", *options)
    return _ask(inventory, parse_count, *words, why=f"number of keys under {prefix or 'everything'}")


def ask_counted(inventory: Inventory, prefix: str) -> Question[tuple[int, int]]:
    """How many keys there are now, and the revision that they are of."""
    words = ("get", prefix, "--prefix", "--keys-only", "--limit=1")
    why = f"number of keys under {prefix or 'everything'}"
    return _ask(inventory, lambda text: (parse_count(text), _revision(text)), *words, why=why)


def ask_names(inventory: Inventory, what: str) -> Question[tuple[str, ...]]:
    """All names of a `what`, which is user or role."""
    return _ask(inventory, lambda text: _parse_names(text, f"{what}s"), what, "list", why=f"all {what}s")


def ask_permissions(inventory: Inventory, user: str) -> Question[list[Permission]]:
    """Of all roles of a user: etcdctl asks for them one by one, with one login."""
    words = ("user", "get", user, "--detail", "-w", "json")
    command = deephaven.etcdctl(inventory, *words, why=f"permissions of {user}")

    def read(answer: Result) -> list[Permission]:
        try:
            return _parse_detail(answer.stdout, user) if answer.code == 0 else _none(answer)
        except (EtcdError, AttributeError, KeyError, TypeError, ValueError, RecursionError):
            return _none(answer)

    return Question(command, read)


def ask_roles(inventory: Inventory, user: str) -> Question[tuple[str, ...]]:
    """The roles of a user: etcd shows the permissions of `root`, which has all, as none."""
    return _ask(inventory, lambda text: _parse_names(text, "roles"), "user", "get", user, why=f"roles of {user}")


def _none(answer: Result) -> NoReturn:
    """Raises `EtcdError` with the tool's last words."""
    raise EtcdError(answer.command.host, answer.words, "run it by hand and look") from None


@dataclass(frozen=True)
class Status:
    """One member's `endpoint status`, with its `hashkv` where that was asked."""

    endpoint: str
    cluster_id: int
    member_id: int
    leader: int
    revision: int
    version: str
    errors: tuple[str, ...]


def ask_snapshot(host: str, tool: str, path: str, why: str) -> Question[tuple[int, int] | str]:
    """Revision and number of entries of a snapshot as `tool`, etcdutl or etcdctl, reads it; why it cannot."""

    def read(answer: Result) -> tuple[int, int] | str:
        try:
            return parse_snapshot_status(answer.stdout) if in_time(answer).code == 0 else f"unreadable: {answer.words}"
        except EtcdError as error:
            return f"unreadable: {error.what}"

    words = ("env", "ETCDCTL_API=3", tool, "snapshot", "status", "-w", "json", path)
    return Question(look(host, *words, why=why, deadline=HUGE), read)


@dataclass(frozen=True)
class Database:
    """What `snapshot status` says of a database: a sum over all of it, its revision, and the entries, which it
    calls keys: in 3.4 and 3.5 all revisions of a key, and what is none."""

    hash: int
    revision: int
    entries: int

    def __str__(self) -> str:
        return f"hash {self.hash:08x}, revision {self.revision:,}, {self.entries:,} entries"


def ask_database(host: str, tool: str, account: str, path: str) -> Question[Database | str]:
    """A restored database as `tool`, etcdutl or etcdctl, reads it as `account`; why it cannot."""

    def read(answer: Result) -> Database | str:
        if in_time(answer).code != 0:
            return f"unreadable: {answer.words}"
        try:
            found = _json(answer.stdout, "snapshot status")
            return Database(int(found["hash"]), int(found["revision"]), int(found["totalKey"]))
        except EtcdError as error:
            return f"unreadable: {error.what}"
        except (KeyError, TypeError, ValueError, OverflowError):
            return f"unreadable: it says {answer.stdout.strip()[:200]!r}"

    words = ("runuser", "-u", account, "--", "env", "ETCDCTL_API=3", tool, "snapshot", "status", "-w", "json", path)
    return Question(look(host, *words, why="what was restored, as etcd's account reads it", deadline=HUGE), read)


@dataclass(frozen=True)
class Login:
    """How a login went, with the tool's last words. "denied" was let in, and this key is closed to it; "off": there is
    no authentication, whether the tool goes on without it or not; "passwordless": a password was given for a user who
    has none; "failed" is all else."""

    outcome: Literal["let in", "denied", "refused", "passwordless", "off", "failed"]
    words: str


def is_denied(answer: Result) -> bool:
    """Whether etcd let the login in and closed the key to it, in its own words: the operating system's are said of a
    file that the tool could not read."""
    own = ("etcdserver: permission denied", "code = PermissionDenied")
    return answer.code != 0 and not answer.hindered and any(words in answer.stderr for words in own)


def ask_login(command: Command) -> Question[Login]:
    """`command`: a read by the vendor's etcdctl."""

    def read(answer: Result) -> Login:
        said = answer.stderr.lower()
        if answer.hindered:
            return Login("failed", answer.words)
        if is_denied(answer):
            return Login("denied", answer.words)
        if "authentication is not enabled" in said:
            return Login("off", answer.words)
        if answer.code == 0:
            return Login("let in", answer.words)
        if NO_PASSWORD in said:
            return Login("passwordless", answer.words)
        refused = "authentication failed" in said or "invalid user id or password" in said
        return Login("refused" if refused else "failed", answer.words)

    return Question(command, read)


def parse_status(text: str) -> list[Status]:
    """`endpoint status -w json`: one entry for every endpoint that answered."""
    found = []
    for item in _json(text, "endpoint status"):
        status = item["Status"]
        header = status["header"]
        found.append(
            Status(
                endpoint=str(item["Endpoint"]),
                cluster_id=int(header["cluster_id"]),
                member_id=int(header["member_id"]),
                leader=int(status.get("leader", 0)),
                revision=int(header.get("revision", 0)),
                version=str(status["version"]),
                errors=tuple(map(str, status.get("errors") or ())),
            )
        )
    return found


def parse_health(text: str) -> dict[str, str | None]:
    """`endpoint health -w json`: endpoint → None when healthy, else its error."""
    return {
        str(item["endpoint"]): None if item["health"] else str(item.get("error", "unhealthy"))
        for item in _json(text, "endpoint health")
    }


def parse_fingerprints(text: str) -> dict[str, tuple[int, int]]:
    """`endpoint hashkv --rev=N -w json`: endpoint → (hash, up to which revision the data is compacted)."""
    return {
        str(item["Endpoint"]): (int(item["HashKV"]["hash"]), int(item["HashKV"].get("compact_revision", 0)))
        for item in _json(text, "endpoint hashkv")
    }


def parse_count(text: str) -> int:
    """`get … --keys-only --limit=1 -w json`: how many keys match, limit or not. 3.4's etcdctl has no --count-only."""
    data = _json(text, "get")
    return int(data.get("count", 0))


def _revision(text: str) -> int:
    """The store's when it answered; 0 where it does not say."""
    return int(_json(text, "etcdctl").get("header", {}).get("revision", 0))


def parse_deleted(text: str) -> tuple[int, int]:
    """`del … -w json`: how many keys went, and the revision with which they did; (0, 0) where it does not say. Raises
    what an answer that is none raises."""
    return int(_json(text, "del").get("deleted", 0)), _revision(text)


@dataclass(frozen=True)
class Permission:
    """A range of keys [key, end) that a role may read; end b"" is the one key, b"\\0" everything from key on."""

    key: bytes
    end: bytes


def _parse_detail(text: str, user: str) -> list[Permission]:
    """`user get USER --detail -w json`: a line with the user's name, and a document for each role that he has. Raises
    what an answer that is none raises."""
    lines = text.splitlines()
    if f"User: {user}" not in lines:
        raise EtcdError("user get", "does not name the user", "run it by hand and look")
    roles = [found for line in lines if line.startswith("{") and not _is_logged(found := json.loads(line))]
    return permissions(roles)


def permissions(roles: list[Any]) -> list[Permission]:
    """Of roles, each as `role get -w json` prints it. Raises what one that is none raises."""
    return [
        Permission(base64.b64decode(p.get("key", "")), base64.b64decode(p.get("range_end", "")))
        for role in roles
        for p in role.get("perm") or ()
    ]


def _parse_names(text: str, key: str) -> tuple[str, ...]:
    """`user list -w json` or `role list -w json`: the names under "users" or "roles", sorted."""
    return tuple(sorted(str(name) for name in _json(text, f"{key} list").get(key) or ()))


OUTSIDE = ("/requorum/outside", "requorum-outside", "~requorum", "!requorum")  # keys that nobody needs to read


def key_outside(opens: list[Permission]) -> str | None:
    """A key that none of these permissions covers; None when they cover everything tried."""
    for candidate in OUTSIDE:
        key = candidate.encode()
        if not any(_covers(permission, key) for permission in opens):
            return candidate
    return None


def _covers(permission: Permission, key: bytes) -> bool:
    if permission.end == b"":
        return key == permission.key
    return key >= permission.key and (permission.end == b"\0" or key < permission.end)


def parse_snapshot_status(text: str) -> tuple[int, int]:
    """`snapshot status -w json` → (revision, entries, which it calls keys: see `Database`)."""
    data = _json(text, "snapshot status")
    try:
        return int(data["revision"]), int(data["totalKey"])
    except (KeyError, TypeError, ValueError, OverflowError):
        raise EtcdError("snapshot status", f"says no revision: {text.strip()[:200]!r}", "run again") from None


def _json(text: str, what: str):  # type: ignore[no-untyped-def]
    """The JSON document in a tool's output. Warnings may stand before it, and those are JSON too."""
    for line in text.splitlines():
        if line.startswith(("{", "[")):
            try:
                found = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if not _is_logged(found):
                return found
    raise EtcdError("etcdctl", f"{what} gave no JSON: {text.strip()[-200:]!r}", "run it by hand and look")


def _is_logged(found: object) -> bool:
    """Whether it is a line of the tool's own log."""
    return isinstance(found, dict) and {"level", "msg"} <= found.keys()
