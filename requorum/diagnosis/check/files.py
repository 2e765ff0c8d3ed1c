"""Checks of the vendor's files: the members' configuration, keys and data, the clients' passwords, the certificates."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from requorum.cluster import deephaven
from requorum.command import Command, look
from requorum.diagnosis.check.check import Check, Ruling, Seen, ruled
from requorum.diagnosis.check.members import old
from requorum.run.terms import Terms

# A certificate that ends sooner is renewed before a change, not in the night after it.
CERTIFICATE_DAYS = 30


# -- on the members ----------------------------------------------------------------------------------------------


def ask_server_files(seen: Seen, host: str) -> list[Command]:
    """Whether the etcd account can read its configuration and keys, who else can, and whose the data is."""
    config, settings = seen.configs.get(host), seen.terms.inventory.etcd
    if config is None:
        return []
    readable = ["test", "-r", settings.config]
    for key in config.keys:
        readable += ["-a", "-r", key]
    return [
        look(host, "runuser", "-u", settings.user, "--", *readable, why="etcd can read its files"),
        look(host, "find", "-L", settings.config, *config.keys, "-printf", r"%m %u:%g %p\n", why="who reads the keys"),
        look(
            host,
            "find",
            config.data_dir,
            "-ignore_readdir_race",
            "!",
            "-user",
            settings.user,
            "-printf",
            r"%u:%g %p\n",
            why="whose the data is",
        ),
    ]


def judge_server_files(seen: Seen, host: str) -> Ruling:
    settings, config = seen.terms.inventory.etcd, seen.configs.get(host)
    if config is None:
        return ruled([seen.broken_configs.get(host, f"no {settings.config}")], "")
    readable, files, foreign = seen.answers_of("server files", host)
    rows = [row.split(" ", 2) for row in files.stdout.splitlines()]
    problems = [
        f"{path} belongs to {who}, mode {mode}: {settings.user} cannot read it"
        for mode, who, path in rows
        if readable.code and settings.user not in who.split(":")
    ]
    if readable.code and not problems:
        problems.append(f"{settings.user} cannot read {settings.config} or a key that it names")
    problems += [f"everybody can read {path}" for mode, _, path in rows if path in config.keys and int(mode, 8) & 0o007]
    strangers = foreign.stdout.splitlines()
    if foreign.code:
        problems.append(f"no data: {foreign.words}")
    if strangers:
        who, path = strangers[0].split(" ", 1)
        more = f", and {len(strangers) - 1} more" if len(strangers) > 1 else ""
        problems.append(f"{path} belongs to {who}, not to {settings.user}{more}")
    return ruled(problems, f"{len(config.keys)} keys, for {settings.user} alone; data of token {config.token}")


# -- on the Deephaven hosts --------------------------------------------------------------------------------------


def ask_client_files(seen: Seen, host: str) -> list[Command]:
    client = seen.terms.inventory.deephaven.client_config
    return [
        deephaven.ask_owners(host, client),
        deephaven.ask_endpoints(host, client),
        deephaven.ask_passwords(host, client),
    ]


def judge_client_files(seen: Seen, host: str) -> Ruling:
    """Every role's password for its owner alone and the same on all hosts; the endpoints are the members."""
    owners, endpoints, _ = seen.answers_of("client files", host)
    roles = deephaven.parse_owners(owners.stdout)
    admin = seen.terms.inventory.deephaven.admin_user
    problems = [] if roles else [f"no role's password in {seen.terms.inventory.deephaven.client_config}"]
    for role, (owner, mode) in sorted(roles.items()):
        if owner.split(":")[0] not in (admin, "root"):
            problems.append(f"{role}/password belongs to {owner}, not to {admin}")
        if mode & 0o077:
            problems.append(f"{role}/password has mode {mode:o}")
    ips, listed = tuple(member.ip for member in seen.terms.old_members), deephaven.parse_endpoints(endpoints.stdout)
    for role in sorted(roles):
        wrong = deephaven.wrong_endpoints(listed.get(role, ""), ips)
        problems += [f"{role}/endpoints {wrong}"] if wrong else []
    problems += [text for text in deephaven.disagreements(_passwords(seen)) if host in re.split(r"[ /]", text)]
    return ruled(problems, f"{', '.join(sorted(roles))}: for their owner alone, of {len(ips)} members")


def _passwords(seen: Seen) -> dict[str, dict[str, str]]:
    """host → role → SHA-256, never shown."""
    answers = {host: seen.answers_of("client files", host) for host in seen.terms.deephaven_hosts}
    return {host: deephaven.parse_passwords(found[2].stdout) for host, found in answers.items() if found}


# -- certificates ------------------------------------------------------------------------------------------------


def has_certificates(terms: Terms) -> list[str]:
    return list(dict.fromkeys([*old(terms), *terms.deephaven_hosts]))


def ask_certificates(seen: Seen, host: str) -> list[Command]:
    """Each certificate's path, and its end on the line below; openssl's own complaint where it has none."""
    show = ("-printf", r"%p\n", "-exec", "openssl", "x509", "-noout", "-enddate", "-in", "{}", ";")
    questions = []
    if host in seen.configs:
        paths = [path for c in seen.configs[host].certificates for path in (c.cert, c.ca) if path]
        if paths:
            unique = dict.fromkeys(paths)
            questions.append(look(host, "find", *unique, "-maxdepth", "0", *show, why="when the certificates end"))
    if host in seen.terms.deephaven_hosts:
        client = seen.terms.inventory.deephaven.client_config
        named = ("(", "-name", "*.crt", "-o", "-name", "*.pem", ")")
        find = ("find", client, "-mindepth", "2", "-maxdepth", "2", *named, *show)
        questions.append(look(host, *find, why="when the clients' certificates end"))
    return questions


def parse_ends(text: str) -> dict[str, datetime | None]:
    """path → when it ends; None where openssl could not tell."""
    found: dict[str, datetime | None] = {}
    for line in text.splitlines():
        if line.startswith("/"):
            found[line] = None
        elif line.startswith("notAfter=") and found:
            found[list(found)[-1]] = datetime.strptime(f"{line[9:].strip()[:-3].strip()} +0000", "%b %d %H:%M:%S %Y %z")
    return found


def judge_certificates(seen: Seen, host: str) -> Ruling:
    ends: dict[str, datetime | None] = {}
    problems = []
    for answer in seen.answers_of("certificates", host):
        ends |= parse_ends(answer.stdout)
        problems += [line.split("find: ")[-1] for line in answer.stderr.splitlines() if line.startswith("find: ")]
    for path, end in ends.items():
        if end is None:
            problems.append(f"{path} is no certificate that openssl can read")
        elif end <= seen.now:
            problems.append(f"{path} ended on {end:%Y-%m-%d}")
        elif end <= seen.now + timedelta(days=CERTIFICATE_DAYS):
            problems.append(f"{path} ends on {end:%Y-%m-%d}, in {(end - seen.now).days} days")
    known = [end for end in ends.values() if end is not None]
    if not known and not problems:
        return ruled([], "no certificate is named there")
    return ruled(problems, f"{len(known)}, the first ends on {min(known):%Y-%m-%d}" if known else "")


CHECKS = (
    Check(
        "server files",
        "etcd's configuration, keys and data are there, etcd's own, and the keys nobody else's",
        "give them back to {i.etcd.user}, or run the vendor's unpack command for this server again",
        old,
        judge_server_files,
        ask_server_files,
    ),
    Check(
        "client files",
        "every role's endpoints are the members', its password is one everywhere, for its owner alone",
        "correct the files there, or run the vendor's unpack command for clients again",
        lambda terms: terms.deephaven_hosts,
        judge_client_files,
        ask_client_files,
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
