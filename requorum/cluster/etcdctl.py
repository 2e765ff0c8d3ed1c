"""What etcdctl and etcdutl print, read: etcd's own JSON; revisions are the store's, IDs unsigned integers."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass

from requorum.cluster.etcd import EtcdError


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


def parse_status(text: str) -> list[Status]:
    """`endpoint status -w json`: one entry for every endpoint that answered."""
    found = []
    for item in _json(text, "endpoint status"):
        status = item["Status"]
        header = status["header"]
        found.append(
            Status(
                endpoint=item["Endpoint"],
                cluster_id=header["cluster_id"],
                member_id=header["member_id"],
                leader=status.get("leader", 0),
                revision=header.get("revision", 0),
                version=status["version"],
                errors=tuple(status.get("errors") or ()),
            )
        )
    return found


def parse_health(text: str) -> dict[str, str | None]:
    """`endpoint health -w json`: endpoint → None when healthy, else its error."""
    return {
        item["endpoint"]: None if item["health"] else item.get("error", "unhealthy")
        for item in _json(text, "endpoint health")
    }


def parse_hashes(text: str) -> dict[str, tuple[int, int]]:
    """`endpoint hashkv -w json`: endpoint → (revision, hash)."""
    return {
        item["Endpoint"]: (item["HashKV"]["header"].get("revision", 0), item["HashKV"]["hash"])
        for item in _json(text, "endpoint hashkv")
    }


def parse_fingerprints(text: str) -> dict[str, tuple[int, int]]:
    """`endpoint hashkv --rev=N -w json`: endpoint → (hash, up to which revision the data is compacted)."""
    return {
        item["Endpoint"]: (item["HashKV"]["hash"], item["HashKV"].get("compact_revision", 0))
        for item in _json(text, "endpoint hashkv")
    }


def parse_count(text: str) -> int:
    """`get … --keys-only --limit=1 -w json`: how many keys match, limit or not. 3.4's etcdctl has no --count-only."""
    data = _json(text, "get")
    return int(data.get("count", 0))


@dataclass(frozen=True)
class Permission:
    """A range of keys [key, end) that a role may read; end b"" is the one key, b"\\0" everything from key on."""

    key: bytes
    end: bytes


def parse_permissions(text: str) -> list[Permission]:
    """`role get -w json`."""
    return [
        Permission(base64.b64decode(p.get("key", "")), base64.b64decode(p.get("range_end", "")))
        for p in _json(text, "role get").get("perm") or ()
    ]


def parse_roles(text: str) -> list[str]:
    """`user get -w json`: the roles of a user."""
    return [str(role) for role in _json(text, "user get").get("roles") or ()]


def parse_names(text: str, key: str) -> tuple[str, ...]:
    """`user list -w json` or `role list -w json`: the names under "users" or "roles", sorted."""
    return tuple(sorted(str(name) for name in _json(text, f"{key} list").get(key) or ()))


def key_outside(permissions: list[Permission]) -> str | None:
    """A key that none of these permissions covers; None when they cover everything tried."""
    for candidate in ("/requorum/outside", "requorum-outside", "~requorum", "!requorum"):
        key = candidate.encode()
        if not any(_covers(permission, key) for permission in permissions):
            return candidate
    return None


def _covers(permission: Permission, key: bytes) -> bool:
    if permission.end == b"":
        return key == permission.key
    return key >= permission.key and (permission.end == b"\0" or key < permission.end)


def parse_snapshot_status(text: str) -> tuple[int, int]:
    """`snapshot status -w json` → (revision, total keys as that version counts them)."""
    data = _json(text, "snapshot status")
    try:
        return int(data["revision"]), int(data["totalKey"])
    except (KeyError, TypeError, ValueError):
        raise EtcdError("snapshot status", f"says no revision: {text.strip()[:200]!r}", "run again") from None


def _json(text: str, what: str):  # type: ignore[no-untyped-def]
    """The JSON document in a tool's output. Warnings may stand before it, and those are JSON too."""
    for line in text.splitlines():
        if line.startswith(("{", "[")):
            try:
                found = json.loads(line)
            except ValueError:
                continue
            if not (isinstance(found, dict) and {"level", "msg"} <= found.keys()):
                return found
    raise EtcdError("etcdctl", f"{what} gave no JSON: {text.strip()[-200:]!r}", "run it by hand and look")
