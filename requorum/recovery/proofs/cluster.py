"""Proofs about the new cluster: restored (Step 4), whole, consistent and guarded (Step 5).

etcd is asked through the vendor's etcdctl on the configuration server, as Deephaven asks it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from requorum.cluster import deephaven, etcd, etcdctl, settings
from requorum.cluster.authentication import Authentication
from requorum.cluster.etcd import Address, MemberConfig, address
from requorum.cluster.etcdctl import Login, Status
from requorum.command import Command, Result, look
from requorum.hosts import system, systemd
from requorum.hosts.fleet import Machine
from requorum.hosts.question import Question, both, complete, every, or_refusal
from requorum.recovery import probes
from requorum.recovery.probes import Reached
from requorum.recovery.progress import Progress
from requorum.refusal import Disproved, Refusal, remedy
from requorum.run import facts
from requorum.run.marker import Phase
from requorum.run.run import Run
from requorum.run.terms import Terms
from requorum.snapshots import movement, processes
from requorum.snapshots.snapshot import Source


def no_data_is_in_the_way(run: Run, source: Source) -> dict[str, MemberConfig]:
    """A data directory of the new token may only be one that this run restored, from this very snapshot. Returns every
    new member's configuration, by which that was proven."""
    configs = facts.configs(run, run.terms.member_hosts)
    started = run.mark.phase >= Phase.STARTED

    def probe(machine: Machine) -> str | None:
        config = configs[machine.name]
        if config is None:
            return f"no {run.inventory.etcd.config}"
        files = system.ask_files(machine.name, f"{config.data_dir}/member")
        there, restored = machine.ask(both(files, _ask_restored(run.terms, machine.name)))
        if not there and started:
            return "nothing, although this run had restored and started it: its peers may hold newer writes"
        if not there:
            return None
        if restored == source.sha256:
            return None
        return f"{config.data_dir} is there, and not from this snapshot"

    run.prove(
        run.terms.member_hosts,
        "the data that this run restored" if started else "no data of the new token is in the way",
        probe,
        "if a retry was interrupted, run that again: pytest runbook/retry --hosts=NAME. Else find out who removed it, "
        "then give this run up (docs/night.md#giving-a-run-up): what is lost now is a new incident"
        if started
        else "it bears this run's name, so a try of this run left it; this sets it aside in order, and restores again: "
        f"pytest runbook/retry --hosts={run.options.hosts}",
    )
    return {host: config for host, config in configs.items() if config is not None}


def _ask_restored(terms: Terms, host: str) -> Question[str]:
    """SHA-256 of the snapshot that this run restored there; "" where it restored none."""
    command = look(host, "cat", terms.place("restored"), why="what was restored")
    return Question(command, lambda answer: complete(answer).stdout.strip())


def _ask_foreign(host: str, directory: str, account: str) -> Question[str | None]:
    """What is wrong with the first file that is not of the account, or that others may enter; None where none is."""
    theirs = ("(", "!", "-user", account, "-o", "-perm", "/007", "!", "-path", f"{directory}/member/*", ")")

    def read(answer: Result) -> str | None:
        if answer.hindered:
            return f"{directory} cannot be looked through: {answer.words}"
        first = next(iter(complete(answer).stdout.split()), None)
        return first and f"{first} is not {account}'s alone"

    return Question(look(host, "find", directory, *theirs, why="whose files these are"), read)


def data_is_restored(run: Run) -> None:
    settings = run.inventory.etcd
    configs = facts.configs(run, run.terms.member_hosts)

    def probe(machine: Machine) -> str | None:
        config = configs[machine.name]
        directory = config.data_dir if config else settings.data_root
        database = f"{directory}/member/snap/db"
        foreign = _ask_foreign(machine.name, directory, settings.user)
        there, wrong = machine.ask(both(system.ask_files(machine.name, database), foreign))
        return wrong if there else f"no {database}"

    run.prove(
        run.terms.member_hosts,
        f"the restored data is whole and belongs to {settings.user} alone",
        probe,
        "run again: an unfinished restore is done again",
    )


def every_member_sees_a_leader(run: Run) -> None:
    """Each member's own word, within health_seconds; then its unit is ready too."""
    configs, unit = facts.configs(run, run.terms.member_hosts), run.inventory.etcd.unit
    ended: set[str] = set()

    def probe(machine: Machine) -> str | None:
        config = configs[machine.name]
        assert config is not None
        leader = machine.ask(etcd.ask_leader(machine.name, config))
        if leader:
            return None
        state = machine.ask(systemd.ask_unit(machine.name, unit))
        (ended.discard if state.running and state.sub != "auto-restart" else ended.add)(machine.name)
        return f"{'no leader' if leader is False else 'no answer'}; unit {state}"

    told = remedy("see what etcd says there, then run again", systemd.journal(unit))
    try:
        run.prove(run.terms.member_hosts, "the member sees a leader", probe, told, within=run.health_seconds)
    except Disproved as error:
        error.hosts = tuple(sorted(ended & set(error.findings)))  # the others may only wait for these
        raise


# -- Step 5 ------------------------------------------------------------------------------------------------------


_FULL = re.compile(r"\bNOSPACE\b|database space exceeded")
RAISE_THE_QUOTA = (
    f"do not turn Deephaven on. Raise the quota in the inventory: etcd.keep_settings: [{settings.QUOTA}=8589934592], "
    "or higher where it was that; give this run up, since a run that is carried on keeps the old quota: "
    "pytest runbook/rollback --hosts=NAME; then begin anew: pytest runbook --hosts=NAME"
)


def _on_configuration_server(
    run: Run, claim: str, probe: Callable[[Machine], str | None], remedy: str, within: float = 0
) -> None:
    try:
        run.prove((run.terms.configuration_server,), claim, probe, remedy, within)
    except Disproved as error:
        early = run.mark.phase < Phase.POWERING_ON and remedy != LIVING
        if early and any(_FULL.search(found) for found in error.findings.values()):
            error = Disproved(claim, error.findings, RAISE_THE_QUOTA)
            error.anew = False
        error.asked = True
        raise error from None


def _endpoints(run: Run, new_configs: Mapping[str, MemberConfig]) -> str:
    port = run.inventory.etcd.client_port
    scheme = next((address(config.client_urls[0]).scheme for config in new_configs.values()), "https")
    return ",".join(Address(scheme, ip, port).url for ip in run.terms.new_ips)


def every_member_is_healthy(
    run: Run, new_configs: Mapping[str, MemberConfig], progress: Progress | None = None
) -> None:
    """The guide's health check, as an authenticated user, member by member. With `progress` their status is asked
    beside it, which the next stage looks at first."""

    def probe(machine: Machine) -> str | None:
        asked = etcdctl.ask_health(run.inventory, _endpoints(run, new_configs))
        try:
            if progress is None:
                health = machine.ask(asked)
            else:
                beside = replace(both(asked, or_refusal(etcdctl.ask_status(run.inventory))), at_once=True)
                health, status = machine.ask(beside)
                progress.beside = [] if isinstance(status, Refusal) else status
        except etcd.EtcdError as error:
            return error.what
        sick = [f"{endpoint}: {error}" for endpoint, error in health.items() if error]
        if len(health) != len(run.terms.new_ips):
            sick.append(f"{len(health)} members answered")
        return "; ".join(sick) or None

    _on_configuration_server(
        run,
        f"all {len(run.terms.new_ips)} members are healthy for an authenticated user",
        probe,
        f"read the journal of {run.inventory.etcd.unit} on the member that is not",
        within=run.health_seconds,
    )


LIVING = "what people finished is not whole: look at it with pytest runbook/troubleshoot/diagnose --hosts=NAME"


def it_is_one_cluster(run: Run, progress: Progress, living: bool = False) -> None:
    """One cluster ID, one leader, one version, no alarm, and exactly the inventory's members; at the revision that the
    snapshot gives, leases that ran out since aside, unless it is `living`: people finished it and it took writes.

    What was found last stays in `progress`, also where it is wrong.
    """

    def probe(machine: Machine) -> str | None:
        try:
            found = progress.beside or machine.ask(etcdctl.ask_status(run.inventory))
        except etcd.EtcdError as error:
            return error.what
        progress.status, progress.beside = found, []  # asked again where it does not hold
        wrong = not_one_cluster(found, run.terms.new_ips)
        return wrong if wrong or living else _not_of_this_snapshot(run, progress, machine)

    _on_configuration_server(
        run,
        f"{len(run.terms.new_ips)} members form one cluster with one leader and no alarm"
        + ("" if living else ", of the snapshot's revision"),
        probe,
        LIVING if living else "do not turn Deephaven on; run again, and if it stays so, restore the same data anew",
        within=run.health_seconds,
    )


def not_one_cluster(found: list[Status], ips: tuple[str, ...]) -> str | None:
    """Pure: what is wrong with these members, None if nothing."""
    wrong = []
    addresses = {address(s.endpoint).host for s in found}
    if addresses != set(ips):
        wrong.append(f"the members are {', '.join(sorted(addresses))}")
    if len({s.cluster_id for s in found}) != 1:
        wrong.append("several cluster IDs")
    leaders = {s.leader for s in found}
    if len(leaders) != 1 or not leaders <= {s.member_id for s in found}:
        wrong.append(f"leaders: {', '.join(f'{leader:x}' for leader in sorted(leaders))}")
    wrong += [f"{s.endpoint}: {error}" for s in found for error in s.errors]
    return "; ".join(wrong) or None


def _not_of_this_snapshot(run: Run, progress: Progress, machine: Machine) -> str | None:
    """The revision ties the running cluster to the snapshot that was chosen: exactly, but for leases that ran out; at
    least, once Deephaven may write."""
    restored, found = progress.sources.chosen.revision, [status.revision for status in progress.status]
    if restored is None:
        return None
    expected = restored + progress.bump(run)
    if min(found) < expected:
        return f"revision {min(found):,}, but the snapshot restored gives {expected:,}"
    if max(found) == expected or run.carrying_on:
        return None
    try:
        wrote, words = movement.moved_by(machine, run.inventory, expected)
    except movement.UNTOLD as error:
        return error.what
    if wrote is None:
        run.note(words)
    return wrote


def hashes_are_equal(run: Run, progress: Progress, living: bool = False) -> None:
    """At the lowest revision that the members had: Deephaven may be writing already when a run is carried on."""
    revision = min((status.revision for status in progress.status), default=0)

    def probe(machine: Machine) -> str | None:
        try:
            found = machine.ask(etcdctl.ask_fingerprints(run.inventory, progress.endpoint, revision))
        except etcd.EtcdError as error:
            return error.what
        progress.hashes = {endpoint: (revision, digest) for endpoint, (digest, _) in found.items()}
        progress.asked.hashes[revision] = found
        if len(found) == len(run.terms.new_ips) and len(set(found.values())) == 1:
            return None
        if len({compacted for _, compacted in found.values()}) > 1:  # one is a moment ahead; nothing can be compared
            return f"members are compacted differently: {found}"
        return _odd({endpoint: digest for endpoint, (digest, _) in sorted(found.items())})

    _on_configuration_server(
        run,
        f"hashkv is equal on all members at revision {revision:,}",
        probe,
        LIVING if living else "do not turn Deephaven on: the members hold different data. Restore the same data anew",
        within=15,
    )


def _odd(hashes: Mapping[str, int]) -> str:
    """The hash of each member, or of those alone that differ from most."""
    most, count = Counter(hashes.values()).most_common(1)[0]
    if 2 * count <= len(hashes):
        return "; ".join(f"{endpoint}: hash {digest}" for endpoint, digest in hashes.items())
    odd = [f"{endpoint}: hash {digest}" for endpoint, digest in hashes.items() if digest != most]
    return f"{'; '.join(odd)}; all others: {most}"


def keys_are_there(run: Run, progress: Progress) -> None:
    """Counts in all and by prefix, as the inventory expects."""
    expect = run.inventory.expect
    wanted: dict[str, tuple[int, int | None]] = {"": (expect.min_keys, None)}
    wanted |= {prefix: (span.min, span.max) for prefix, span in expect.prefixes.items()}

    def probe(machine: Machine) -> str | None:
        wrong = []
        counts = [or_refusal(etcdctl.ask_counted(run.inventory, prefix)) for prefix in wanted]
        told = machine.ask(every(counts, at_once=True))
        for (prefix, (least, most)), counted in zip(wanted.items(), told, strict=True):
            if isinstance(counted, Refusal):
                wrong.append(f"{prefix or 'all keys'}: {counted.what}")
                continue
            count, revision = counted
            progress.asked.counts[prefix, revision] = count
            if prefix == "":
                progress.keys = count
            run.note(f"{count:,} keys{f' under {prefix}' if prefix else ' in all'}")
            if count < least or (most is not None and count > most):
                wrong.append(f"{count} keys under {prefix or 'everything'}")
        return "; ".join(wrong) or None

    spans = "; ".join(
        f"{prefix or 'in all'} {least} to {most}" if most else f"{prefix or 'in all'} at least {least}"
        for prefix, (least, most) in wanted.items()
    )
    _on_configuration_server(
        run,
        f"as many keys as the inventory expects: {spans}",
        probe,
        "is this the right snapshot? Correct expect in the inventory, or give this run up "
        "(docs/night.md#giving-a-run-up) and name another",
    )


def old_passwords_log_in(
    run: Run, roles: Sequence[str], was: Authentication, closed: Mapping[str, str | None] = MappingProxyType({})
) -> None:
    """Every role, with its own client configuration; a key outside its permissions stays closed to it. `roles` have a
    password; where etcd knows users without one, others have a certificate. Where authentication `was` off, every role
    is let in as before, and no key is closed. `closed`: user → such a key, of those who need not be asked about."""
    client = run.inventory.deephaven.client_config

    def probe(machine: Machine) -> str | None:
        bare = bool(was.without_password) or not (was.on or roles)
        others = machine.ask(deephaven.ask_endpoints(machine.name, client)) if bare else ()
        users = _users(machine, client, sorted({*roles, *others}), roles)
        # One that has no password here, and no way in without one, had none before either.
        tried = {r: u for r, u in users.items() if r in roles or not was.on or not u or u in was.without_password}
        outside = _keys_outside(run, machine, tried.values(), closed) if was.on else {}
        reads = [_reads(run, f"{client}/{role}", role, outside.get(user)) for role, user in tried.items()]
        logins = machine.ask(every([etcdctl.ask_login(read) for read in reads], at_once=True)) if reads else []
        wrong = [
            not_as_it_was(was, role, user, outside.get(user), login)
            for (role, user), login in zip(tried.items(), logins, strict=True)
        ]
        return "; ".join(filter(None, wrong)) or None

    if not was.on:
        _on_configuration_server(
            run,
            f"every role is let in without authentication, as before: {', '.join(roles)}",
            probe,
            "authentication is on in the new cluster, and was off in the data that was tried: do not turn Deephaven "
            "on; retry the restore",
            within=5,
        )
        return

    _on_configuration_server(
        run,
        f"every role's old password logs in, and opens no more than it may: {', '.join(roles) or 'by certificates'}",
        probe,
        "a password that is refused does not belong to this snapshot: compare the backup with the vendor's vault. "
        "A role that may read too much was granted too much",
        within=5,
    )


def not_as_it_was(was: Authentication, role: str, user: str, outside: str | None, login: Login) -> str | None:
    """Pure: how a role's login differs from what the old data lets it do. `outside`: the key that was read, where it is
    one that is closed to that user; None for any other."""
    if not was.on:
        return None if login.outcome in ("off", "let in") else f"{role} ({user}): {login.words}"
    if login.outcome == "passwordless" and user in was.without_password:
        return None  # a password lies there for a user who has none in etcd: it was refused before too
    if login.outcome not in ("let in", "denied"):
        return f"{role} ({user}): {login.words}"
    if outside and login.outcome != "denied":
        return f"{role} ({user}) may read {outside}, outside its permissions"
    return None


def _reads(run: Run, client: str, role: str, outside: str | None) -> Command:
    """A role's login, by a read of the key that is closed to it, where there is one."""
    arguments = ("get", outside) if outside else ("get", "", "--prefix", "--limit=1", "--keys-only")
    return deephaven.etcdctl_as(run.inventory, client, *arguments, why=f"{role} logs in")


def _users(machine: Machine, client: str, roles: Sequence[str], needed: Sequence[str]) -> dict[str, str]:
    """Role → as whom it logs in; "" where only its certificate says so, unless it is `needed`, for its password."""
    told = machine.ask(deephaven.ask_users(machine.name, client, roles)) if roles else {}
    users: dict[str, str] = {}
    for role, user in told.items():
        if isinstance(user, Refusal) and role in needed:
            raise user
        users[role] = "" if isinstance(user, Refusal) else user
    return users


def _keys_outside(
    run: Run, machine: Machine, users: Iterable[str], closed: Mapping[str, str | None]
) -> dict[str, str | None]:
    """User → a key that it may not read; None for one that may read everything, as whoever has the role root does.
    Root itself is left out."""
    names = [user for user in dict.fromkeys(users) if user and user != "root"]
    known = {user: closed[user] for user in names if user in closed and closed[user] in (None, *etcdctl.OUTSIDE)}
    left = [user for user in names if user not in known]
    if not left:
        return known
    asked = [both(etcdctl.ask_permissions(run.inventory, u), etcdctl.ask_roles(run.inventory, u)) for u in left]
    told = machine.ask(every(asked, at_once=True))
    found = zip(left, told, strict=True)
    return known | {u: None if "root" in roles else etcdctl.key_outside(opens) for u, (opens, roles) in found}


def wrong_password_is_refused(run: Run, roles: Sequence[str], was: Authentication) -> None:
    """With a copy of a role's client configuration that holds a wrong password; where authentication `was` off, nobody
    asks for one, as before."""
    if not roles:
        run.note("no role has a password, so there is no wrong one to try; the trial tried one for every user")
        return
    role = next((r for r in roles if r != "root"), "root")
    scratch = probes.spoiled_login(run.terms)
    run.probe(probes.spoil_login(run.terms, role))

    def probe(machine: Machine) -> str | None:
        read = deephaven.etcdctl_as(run.inventory, scratch, "get", "/requorum", why="a wrong password is tried")
        login = machine.ask(etcdctl.ask_login(read))
        if login.outcome in (("refused", "passwordless") if was.on else ("off", "let in")):
            return None
        return "it was let in" if login.outcome in ("off", "let in", "denied") else login.words

    try:
        _on_configuration_server(
            run,
            f"a wrong password of {role} is refused" if was.on else "nobody is asked for a password, as before",
            probe,
            "authentication is not as it was in the data that was tried: do not turn Deephaven on; retry the restore",
        )
    finally:
        run.probe(probes.remove_spoiled_login(run.terms))


def writes_reach_everyone(run: Run, new_configs: Mapping[str, MemberConfig]) -> Reached | None:
    """One key written through each member, all read from each; then removed. Returns how far that brought the store;
    None where its answer does not say, or these were not the keys that went."""
    endpoints = _endpoints(run, new_configs).split(",")
    run.probe(probes.write_through(run.terms, endpoints))

    def probe(machine: Machine) -> str | None:
        told = machine.ask(every([probes.ask_written(run.terms, endpoint) for endpoint in endpoints], at_once=True))
        missing = [f"{e} gave {found}" for e, found in zip(endpoints, told, strict=True) if found != endpoints]
        return "; ".join(missing) or None

    try:
        _on_configuration_server(
            run,
            "what was written through each member is read from every other",
            probe,
            "do not turn Deephaven on; read the members' journals",
            within=5,
        )
    finally:
        removed = run.probe(probes.remove_written(run.terms))
    return probes.reached(run.terms, len(endpoints), removed)


def no_old_member_answers(run: Run) -> None:
    """From every Deephaven host, no old address that is not a new one accepts clients."""
    stale = [m.ip for m in run.inventory.old_members if m.ip not in run.terms.new_ips]
    port = run.inventory.etcd.client_port

    def probe(machine: Machine) -> str | None:
        told = machine.ask(every([system.ask_open(machine.name, ip, port) for ip in stale])) if stale else []
        answering = [ip for ip, answers in zip(stale, told, strict=True) if answers]
        return f"{', '.join(answering)} still accept clients" if answering else None

    for host in run.terms.gone:
        run.warn(
            f"{host} is gone by your word: if it is ever started again, first run there "
            f"`systemctl mask --now {run.inventory.etcd.unit}`"
        )
    run.prove(
        run.terms.deephaven_hosts,
        f"no old member answers: {', '.join(stale) or 'all old addresses are new members'}",
        probe,
        f"stop {run.inventory.etcd.unit} on that machine and retire it: it serves old configuration",
    )


def _not_up(run: Run, machine: Machine, enough: bool = False) -> str | None:
    """What is expected and not up; with `enough` only where that is all of it."""
    found = machine.ask(deephaven.ask_processes(run.inventory, machine.name))
    if isinstance(found, str):
        return found
    last_up = processes.last_up(run.inventory).get(machine.name)
    wanted = deephaven.expected(found, last_up, run.inventory.expect.off)
    down = deephaven.not_up(wanted) if found else ["monit names no process"]
    return f"not up: {', '.join(down)}" if down and not (enough and len(down) < len(wanted)) else None


def _look_at_monit(run: Run) -> str:
    return f"look at `{run.inventory.deephaven.commands.monit_status}` and the process's log there"


def deephaven_has_begun(run: Run, host: str) -> None:
    """Every process has its time to come up. Then one that is up and talks to etcd is enough: another that stays off
    must not keep all other hosts off, and `deephaven_is_up` fails for it once they are on."""
    late: list[str] = []

    def probe(machine: Machine) -> str | None:
        found = run.wait(lambda: _not_up(run, machine), run.health_seconds)
        late.extend([found] if found else [])
        return _not_up(run, machine, enough=True) if found else None

    run.prove((host,), "Deephaven's processes come up", probe, _look_at_monit(run))
    for found in late:
        run.warn(f"{host}: {found}; the other hosts are turned on all the same")
    deephaven_talks_to_etcd(run, (host,))


def deephaven_is_up(run: Run) -> None:
    run.prove(
        run.terms.deephaven_hosts,
        "every Deephaven process that is expected up is up",
        lambda machine: _not_up(run, machine),
        f"{_look_at_monit(run)}; one that is off on purpose is named in expect.off of the inventory, then run again",
        within=run.health_seconds,
    )


def deephaven_talks_to_etcd(run: Run, hosts: tuple[str, ...]) -> None:
    """Each host holds, or makes again and again, a connection to a new member."""
    port = run.inventory.etcd.client_port

    def probe(machine: Machine) -> str | None:
        account, connections = system.ask_uid(machine.name, run.inventory.etcd.user), system.ask_connections
        etcd_account, seen = machine.ask(both(account, connections(machine.name, port)))
        peers = {c.peer for c in seen if c.outgoing and c.uid != etcd_account}
        if peers & set(run.terms.new_ips):
            return None
        return f"connected to {', '.join(sorted(peers)) or 'no member'}"

    run.prove(
        hosts,
        "Deephaven is connected to a new member",
        probe,
        "look at the log of the Deephaven processes there: they do not reach etcd",
        within=run.health_seconds,
    )
