"""What members say of their data on the peer port."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from requorum.cluster import etcd
from requorum.cluster.etcd import MemberConfig
from requorum.command import Result, look
from requorum.deadlines import wait
from requorum.hosts.question import Question


@dataclass(frozen=True)
class DataHash:
    """hashkv as a member gives it to its peers; only equal `revision` and `compacted` may be compared."""

    revision: int
    compacted: int
    hash: int


def parse_hash(text: str, revision: int) -> DataHash | None:
    """`/members/hashkv` with its headers; None for anything but a hash, as where that revision was compacted."""
    try:
        body = json.loads(text[text.index("\n{") :])
        return DataHash(revision, int(body["compact_revision"]), int(body["hash"]))
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None


@dataclass(frozen=True)
class PeerHash:
    """A member's word to its peers. `cluster` as etcd prints it."""

    cluster: str
    revision: int
    hash: int

    def __str__(self) -> str:
        return f"hash {self.hash} at revision {self.revision:,}, cluster {self.cluster}"


def ask_serves(host: str, config: MemberConfig) -> Question[bool]:
    """Whether a member answers its peers. It does as soon as its data is loaded; clients, `/metrics` on their port
    among them, have no answer before it has once had a quorum."""
    own = next(iter(config.certificates), None)
    login = ("--cert", own.cert, "--key", own.key) if own else ()
    argv = ("curl", "-sSik", "--http1.1", "--max-time", wait(30), *login, f"{config.peer_url}/members", *etcd.NO_PROXY)
    return Question(look(host, *argv, why="whether it answers its peers"), lambda said: " 200 " in said.stdout[:40])


def ask_peer_hash(host: str, config: MemberConfig) -> Question[PeerHash | str | None]:
    """A member's hash and cluster ID without a login, or what it says instead; None from a version without that page.

    By HTTP/1.1: over 2, curl gets no whole answer from this page (etcd 3.5.16).
    """
    peer = config.certificates[0]
    argv = ("curl", "-sSi", "--http1.1", "--max-time", wait(30), "--cacert", peer.ca)
    login = ("--cert", peer.cert, "--key", peer.key)
    body = ("-X", "GET", "-H", "Content-Type: application/json", "-d", '{"revision":0}')
    url = f"{config.peer_url}/members/hashkv"
    why = "hash as the member gives it to its peers"
    return Question(look(host, *argv, *login, *body, url, *etcd.NO_PROXY, why=why), _read_peer_hash)


def _read_peer_hash(answer: Result) -> PeerHash | str | None:
    text = answer.stdout
    if " 404 " in text.split("\n", 1)[0]:
        return None
    cluster = re.search(r"(?im)^x-etcd-cluster-id: *([0-9a-f]{1,16})\s*$", text)
    try:
        body = json.loads(text[text.index("{") :])
        return PeerHash(cluster[1] if cluster else "?", int(body["header"]["revision"]), int(body["hash"]))
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return answer.words or "no hash"
