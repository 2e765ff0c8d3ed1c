"""Checks of the vendor's files: the members' configuration, keys and data, the clients' passwords, the certificates."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from requorum.cluster import deephaven
from requorum.command import Result, look
from requorum.diagnosis.check.check import Check, Questions, Ruling, Seen, ruled
from requorum.diagnosis.check.members import old
from requorum.hosts import certificates
from requorum.hosts.question import OWNER, Question, checked, in_time, parts
from requorum.refusal import Refusal
from requorum.run.terms import Terms

# A certificate that ends sooner is renewed before a change, not in the night after it.
CERTIFICATE_DAYS = 30
SHOWN = re.compile(r"/[ -~]*")  # a path that is told and goes nowhere
_ROW = re.compile(rf"([0-7]+) ({OWNER.pattern}) (/.*)")
_STRANGER = re.compile(rf"({OWNER.pattern}) (/.*)")


# -- on the members ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Owned:
    """A file and whose it is: `owner` user:group, `mode` None where it was not asked."""

    path: str
    owner: str
    mode: int | None = None


def ask_server_files(seen: Seen, host: str) -> Questions:
    """Whether the etcd account can read its configuration and keys, who else can, and what data is not its own."""
    config, settings = seen.configs.get(host), seen.terms.inventory.etcd
    if config is None:
        return {}
    asked = (*(() if host in seen.without_file else (settings.config,)), *config.keys) or (config.data_dir,)
    readable = ("test", *" -a ".join(f"-r {path}" for path in asked).split(" "))
    show = ("find", "-L", *asked, "-printf", r"%m %u:%g %p\n")
    foreign = ("-ignore_readdir_race", "!", "-user", settings.user, "-printf", r"%u:%g %p\n")
    return {
        "readable": Question(
            look(host, "runuser", "-u", settings.user, "--", *readable, why="etcd can read its files"),
            lambda answer: in_time(answer).code == 0,
        ),
        "files": Question(look(host, *show, why="who reads the keys"), lambda answer: _read_files(answer, asked)),
        "foreign": Question(look(host, "find", config.data_dir, *foreign, why="whose the data is"), _read_foreign),
    }


def _read_files(answer: Result, asked: Iterable[str]) -> list[Owned]:
    host, rows = (
        answer.command.host,
        [parts(answer.command.host, "owner", row, _ROW) for row in answer.stdout.splitlines()],
    )
    found = [Owned(path, who, int(mode, 8)) for mode, who, path in rows]
    for file in found:
        if file.path not in asked:
            raise Refusal(
                host,
                f"tells of {file.path[:200]!r}, which was not asked",
                "look at that machine first: its find tells what it was not asked",
            )
    return found


def _read_foreign(answer: Result) -> tuple[Owned | None, int] | str:
    """The first file of somebody else's, and how many there are; why nothing can be told of the data."""
    if answer.code:
        return f"no data: {answer.words}"
    rows = answer.stdout.splitlines()
    if not rows:
        return None, 0
    host = answer.command.host
    who, path = parts(host, "owner", rows[0], _STRANGER)
    return Owned(checked(host, "file", path, SHOWN), who), len(rows)


def judge_server_files(seen: Seen, host: str) -> Ruling:
    settings, config = seen.terms.inventory.etcd, seen.configs.get(host)
    if config is None:
        return ruled([seen.broken_configs.get(host, f"no {settings.config}")], "")
    values, user = seen.values("server files", host), settings.user
    problems = []
    if not values["readable"]:
        closed = [file for file in values["files"] if user not in file.owner.split(":")]
        problems = [f"{f.path} belongs to {f.owner}, mode {f.mode:o}: {user} cannot read it" for f in closed]
        problems = problems or [f"{user} cannot read {settings.config} or a key that it names"]
    problems += [f"everybody can read {f.path}" for f in values["files"] if f.path in config.keys and f.mode & 0o007]
    if isinstance(values["foreign"], str):
        problems.append(values["foreign"])
    elif (stranger := values["foreign"][0]) is not None:
        count = values["foreign"][1]
        more = f", and {count - 1} more" if count > 1 else ""
        problems.append(f"{stranger.path} belongs to {stranger.owner}, not to {user}{more}")
    return ruled(problems, f"{len(config.keys)} keys, for {user} alone; configured for {config.token}")


# -- on the Deephaven hosts --------------------------------------------------------------------------------------


def ask_client_files(seen: Seen, host: str) -> Questions:
    client = seen.terms.inventory.deephaven.client_config
    return {
        "owners": deephaven.ask_owners(host, client),
        "endpoints": deephaven.ask_endpoints(host, client),
        "passwords": deephaven.ask_passwords(host, client),
    }


def judge_client_files(seen: Seen, host: str) -> Ruling:
    """Every role's password for its owner alone and the same on all hosts."""
    values = seen.values("client files", host)
    roles, listed = values["owners"], values["endpoints"]
    dh = seen.terms.inventory.deephaven
    problems = [] if roles or listed else [f"no role in {dh.client_config}"]
    for role, (owner, mode) in sorted(roles.items()):
        if owner.split(":")[0] not in (dh.admin_user, "root", *dh.accounts):
            problems.append(f"{role}/password belongs to {owner}, not to {dh.admin_user}")
        if mode & 0o077:
            problems.append(f"{role}/password has mode {mode:o}")
    known = {other: seen.known("client files", other).get("passwords") for other in seen.terms.deephaven_hosts}
    differing = deephaven.disagreements({other: found for other, found in known.items() if found is not None})
    problems += [text for text in differing if host in re.split(r"[ /]", text)]
    return ruled(problems, f"{', '.join(sorted(roles))}: for their owner alone")


def ask_names(seen: Seen, host: str) -> Questions:
    """Where the names lead that stand there instead of addresses."""
    listed = seen.known("client files", host).get("endpoints", {})
    return {name: deephaven.ask_resolved(host, name) for of in listed.values() for name in deephaven.names_in(of)}


def judge_endpoints(seen: Seen, host: str) -> Ruling:
    """They are the members."""
    known, behind = seen.known("client files", host), seen.values("endpoints", host)
    ips, roles = tuple(member.ip for member in seen.terms.old_members), {*known.get("owners", ())}
    listed = known.get("endpoints", {})
    wrong = {role: deephaven.wrong_endpoints(listed.get(role, ""), ips, behind) for role in sorted({*roles, *listed})}
    by_name = f", {', '.join(behind)} by name" if behind else ""
    return ruled((f"{role}/endpoints {why}" for role, why in wrong.items() if why), f"{len(ips)} members{by_name}")


# -- certificates ------------------------------------------------------------------------------------------------


def has_certificates(terms: Terms) -> list[str]:
    return list(dict.fromkeys([*old(terms), *terms.deephaven_hosts]))


def ask_certificates(seen: Seen, host: str) -> Questions:
    questions: dict[Any, Question[Any]] = {}
    if host in seen.configs:
        paths = dict.fromkeys(path for c in seen.configs[host].certificates for path in (c.cert, c.ca) if path)
        if paths:
            questions["member's"] = certificates.ask_ends(host, [*paths], "-maxdepth", "0")
    if host in seen.terms.deephaven_hosts:
        client = seen.terms.inventory.deephaven.client_config
        named = ("(", "-name", "*.crt", "-o", "-name", "*.pem", ")")
        questions["clients'"] = certificates.ask_ends(host, [client], "-mindepth", "2", "-maxdepth", "2", *named)
    return questions


def judge_certificates(seen: Seen, host: str) -> Ruling:
    ends: dict[str, datetime] = {}
    problems = []
    for found in (one for several in seen.values("certificates", host).values() for one in several):
        problems += [f"{found.path} is {problem}" if found.path else problem for problem in found.problems]
        ends |= {found.path: found.ends} if found.ends else {}
    for path, end in ends.items():
        if end <= seen.now:
            problems.append(f"{path} ended on {end:%Y-%m-%d}")
        elif end <= seen.now + timedelta(days=CERTIFICATE_DAYS):
            problems.append(f"{path} ends on {end:%Y-%m-%d}, in {(end - seen.now).days} days")
    if not ends and not problems:
        return ruled([], "no certificate is named there")
    return ruled(problems, f"{len(ends)}, the first ends on {min(ends.values()):%Y-%m-%d}" if ends else "")


CHECKS = (
    Check(
        "server files",
        "etcd's configuration and keys are there, with what data there is etcd's own, and the keys nobody else's",
        "give them back to {i.etcd.user}, or run the vendor's unpack command for this server again",
        old,
        judge_server_files,
        ask_server_files,
    ),
    Check(
        "client files",
        "every role's password is one everywhere, for its owner alone",
        "correct the files there, or run the vendor's unpack command for clients again",
        lambda terms: terms.deephaven_hosts,
        judge_client_files,
        ask_client_files,
    ),
    Check(
        "endpoints",
        "every role's endpoints are the members', by address or by a name that leads there",
        "correct the files there, or what that host finds behind the names, or run the vendor's unpack command again",
        lambda terms: terms.deephaven_hosts,
        judge_endpoints,
        ask_names,
        round=2,
    ),
    Check(
        "certificates",
        f"every certificate is valid for {CERTIFICATE_DAYS} days more",
        "let the vendor's generator make new ones before the change",
        has_certificates,
        judge_certificates,
        ask_certificates,
    ),
)
