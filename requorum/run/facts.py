"""Facts from the hosts, gathered in parallel: what is asked and how the answers become fact sheets.

Nothing here decides and nothing changes a host. Questions and parsers are `etcd`'s, `quorum`'s and `marker`'s.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from types import MappingProxyType

from requorum.cluster import archive, deephaven, etcd, peers, quorum
from requorum.cluster.etcd import EtcdError, MemberConfig, Tools
from requorum.cluster.quorum import Installed, Kind, MemberFacts, State, Verdict
from requorum.command import SUM, Command, Result, look
from requorum.deadlines import HUGE
from requorum.hosts import system, systemd
from requorum.hosts.question import PATH, Question, both, checked, complete, every
from requorum.hosts.systemd import ExecStart, Unit
from requorum.inventory import Member
from requorum.run import held, history, marker
from requorum.run.held import Held
from requorum.run.history import Told
from requorum.run.marker import SHA256, Marker, Phase
from requorum.run.run import Run

NOTHING: Mapping[str, Installed] = MappingProxyType({})  # is known
ELECTION_TIMEOUTS = 3  # a member without a leader for so long is leaderless, not electing


def runs(run: Run) -> dict[str, Told]:
    """What every host says of runs."""
    return run.ask({host: history.ask_runs(host, run.inventory.cluster) for host in run.terms.everyone})


def marks(run: Run) -> Held:
    """Every host's mark, and what its runs' own directories know besides, held against the configuration server's.

    Raises `MarkerError` for one that nobody may follow unasked."""
    told, accepted = runs(run), run.options.accepted
    if unread := held.unread(told, run.inventory, accepted):
        raise unread
    found = held.hold(told, run.terms.configuration_server, accepted)
    if refusal := held.refusal(found, run.inventory, accepted):
        raise refusal
    for note in found.notes():
        run.note(note)
    return found


def root_paths(run: Run, hosts: Iterable[str]) -> dict[str, str]:
    """Where root finds its tools."""
    known = {host: run.probed[host].sudo.path for host in hosts if host in run.probed}
    become = run.inventory.transport.as_root
    return known | run.ask({host: system.ask_root_path(host, become) for host in hosts if host not in known})


def tools(run: Run, paths: Mapping[str, str]) -> dict[str, Tools]:
    """Of every new member, as root finds them by these `paths`."""
    return run.ask({host: etcd.ask_tools(host, paths[host]) for host in run.terms.member_hosts})


def installed(
    run: Run, hosts: Iterable[str], *paths: str
) -> tuple[dict[str, Unit], dict[str, MemberConfig | EtcdError | None], dict[str, tuple[str, ...]]]:
    """Each host's unit, its configuration or why it cannot be read, and which of these paths exist, asked together."""
    own = run.inventory.etcd
    found = run.ask(
        {
            host: both(
                both(systemd.ask_unit(host, own.unit), etcd.ask_config(host, own.config)),
                every([system.ask_files(host, *paths)] if paths else []),
            )
            for host in hosts
        }
    )
    units = {host: unit for host, ((unit, _), _) in found.items()}
    configs = {host: config for host, ((_, config), _) in found.items()}
    return units, configs, {host: files[0] for host, (_, files) in found.items() if files}


def units(run: Run, hosts: Iterable[str]) -> dict[str, Unit]:
    return run.ask({host: systemd.ask_unit(host, run.inventory.etcd.unit) for host in hosts})


def _configs(run: Run, hosts: Iterable[str]) -> dict[str, MemberConfig | EtcdError | None]:
    return run.ask({host: etcd.ask_config(host, run.inventory.etcd.config) for host in hosts})


def configs(run: Run, hosts: Iterable[str]) -> dict[str, MemberConfig | None]:
    """Each host's installed etcd configuration; None where there is none. Raises `EtcdError` for one that is broken."""
    return whole(_configs(run, hosts))


def whole(found: Mapping[str, MemberConfig | EtcdError | None]) -> dict[str, MemberConfig | None]:
    """Raises the `EtcdError` of a configuration that is broken."""
    read: dict[str, MemberConfig | None] = {}
    for host, config in found.items():
        if isinstance(config, EtcdError):
            raise config
        read[host] = config
    return read


def readable(found: Mapping[str, MemberConfig | EtcdError | None]) -> dict[str, MemberConfig | None]:
    """None also where it cannot be read, since one bad file must not stop what it is not needed for."""
    return {host: config if isinstance(config, MemberConfig) else None for host, config in found.items()}


def installed_configs(run: Run, hosts: Iterable[str]) -> dict[str, MemberConfig]:
    """The same, where there must be one on every host."""
    found, path = configs(run, hosts), run.inventory.etcd.config
    for host, config in found.items():
        if config is None:
            raise EtcdError(f"{host}:{path}", "cannot be read: there is no such file", "restore it")
    return {host: config for host, config in found.items() if config is not None}


def or_why(found: Mapping[str, MemberConfig | EtcdError | None]) -> dict[str, MemberConfig | str | None]:
    """Why it cannot be read in the place of a configuration that is broken."""
    return {host: f"{got.where} {got.what}" if isinstance(got, EtcdError) else got for host, got in found.items()}


def old_configs(
    run: Run, hosts: Iterable[str], known: Mapping[str, Installed] = NOTHING
) -> dict[str, MemberConfig | None]:
    """The same as far as it can be read; `known`: what was read already, and is not asked again."""
    hosts = tuple(hosts)
    found = _configs(run, [host for host in hosts if host not in known])
    return readable({host: known[host].config if host in known else found[host] for host in hosts})


def stand(run: Run, hosts: Iterable[str], known: Mapping[str, Installed] = NOTHING) -> dict[str, Installed]:
    """What stands on each host, whether etcd runs there or not; of one that is `known` nothing is asked."""
    hosts = tuple(hosts)
    asked = {host: quorum.ask_installed(host, run.inventory.etcd) for host in hosts if host not in known}
    found = {**known, **run.ask(asked)}
    return {host: found[host] for host in hosts}


def starts(run: Run, hosts: Iterable[str]) -> dict[str, ExecStart | None]:
    """What each host's unit starts, or started before it was set aside; None where nobody tells."""
    unit, aside = run.inventory.etcd.unit, run.terms.aside
    found = run.ask({host: systemd.ask_known(host, unit) for host in hosts})
    unknown = [host for host, start in found.items() if start is None]
    return found | run.ask({host: systemd.ask_kept(host, unit, systemd.kept(aside, unit)) for host in unknown})


def told(run: Run, found: Mapping[str, ExecStart | None]) -> dict[str, MemberConfig | str | None]:
    """What units say by flags and environment where they start etcd without a configuration file, or why that is not
    all of it; a host is left out where nobody tells. `found`: as `starts` gives it."""
    unit = run.inventory.etcd.unit
    starts = {host: start for host, start in found.items() if start is not None}
    asked = {host: systemd.ask_environment(host, start) for host, start in starts.items() if start.environment_files}
    files = run.ask(asked)
    known = {host: files.get(host, {}) for host in starts}
    return {host: etcd.told(unit, starts[host], said) for host, said in known.items() if said is not None}


def is_still_under_way(run: Run, mark: Marker) -> bool:
    """Past the point of no return a run is carried on only while its cluster is healthy: a new loss is a new run."""
    if mark.phase < Phase.POWERING_ON:
        return True
    still = has_quorum(run, run.inventory.members)
    if not still:
        run.note(f"run {mark.run} had turned Deephaven on; what is lost now is a new incident, and a new run begins")
    return still


def old_members_that_lead(run: Run) -> list[str]:
    """Hosts whose etcd has another configuration than this run's, and sees a leader."""
    found = old_configs(run, [member.host for member in run.terms.old_members])
    theirs = {host: config for host, config in found.items() if config and config.token != run.mark.token}
    return [host for host, leads in _leaders(run, theirs).items() if leads]


def has_quorum(run: Run, members: tuple[Member, ...]) -> bool:
    return quorum.decide(_diagnose(run, members)).kind is Kind.INTACT


def new_configuration_is_installed(run: Run) -> bool:
    """Whether the run that is carried on got so far that a member has the new configuration."""
    if not run.carrying_on:
        return False
    found = old_configs(run, run.terms.etcd_hosts)
    return any(config is not None and config.token == run.mark.token for config in found.values())


def files(run: Run, paths: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """Which of these paths exist. Shape: host → paths."""
    return run.ask({host: system.ask_files(host, *wanted) for host, wanted in paths.items()})


def digests(run: Run, paths: dict[str, str]) -> dict[str, str]:
    """host → SHA-256 of its file; "" where there is none."""
    return run.ask({host: ask_digest(host, path) for host, path in paths.items()})


def ask_digest(host: str, path: str) -> Question[str]:
    command = look(host, "sh", "-c", SUM, path, why=f"SHA-256 of {path}", deadline=HUGE)
    return Question(command, lambda answer: checked(host, "SHA-256", digest(complete(answer).stdout), SHA256))


def digest(line: str) -> str:
    """The first word of what that prints, "" of nothing."""
    return line.split(" ")[0].lstrip("\\").strip()


def diagnose(run: Run, known: Mapping[str, Installed] = NOTHING) -> list[MemberFacts]:
    """One fact sheet for each old member, watched for three election timeouts where one sees no leader. `known`: what
    `stand` told of their machines."""
    return _diagnose(run, run.inventory.old_members, known)


def _diagnose(run: Run, members: tuple[Member, ...], known: Mapping[str, Installed] = NOTHING) -> list[MemberFacts]:
    installed = stand(run, [member.host for member in members if member.host not in run.terms.gone], known)
    bare = [h for h, on in installed.items() if not isinstance(on.config, MemberConfig) and on.unit.installed]
    installed |= {host: quorum.as_told(installed[host], said) for host, said in told(run, starts(run, bare)).items()}
    configured = {h: found.config for h, found in installed.items() if isinstance(found.config, MemberConfig)}
    asked = {
        host: both(every([quorum.ask_running(host, configured[host])] if host in configured else []), reaches)
        for host, reaches in _ask_reaches(run, members).items()
    }
    found = run.ask(asked)
    running = {host: of[0] for host, (of, _) in found.items() if of}
    leaders = {host: of.has_leader for host, of in running.items()}
    cut_off = _cut_off(run, members, {host: reaches for host, (_, reaches) in found.items()}, configured, leaders)
    if any("refused" in found[host][1] for host in cut_off):
        cut_off = _still_cut_off(run, members, cut_off, configured)

    now = [
        quorum.sheet(
            m, installed.get(m.host, ""), running.get(m.host), m.host in run.terms.gone, cut_off.get(m.host, ())
        )
        for m in members
    ]
    now = _looked_at_twice(run, now)
    if quorum.majority_is_down(now):  # then it does not matter whether the others see a leader
        return now
    waiting = {
        facts.member.host for facts in now if facts.has_leader is False and leaders.get(facts.member.host) is None
    }
    watched = watch_leaders(run, configured, leaders)
    return quorum.with_leaders(now, {h: sees for h, sees in watched.items() if sees is not None or h not in waiting})


def _still_cut_off(
    run: Run,
    members: tuple[Member, ...],
    cut_off: Mapping[str, tuple[str, ...]],
    configured: Mapping[str, MemberConfig],
) -> dict[str, tuple[str, ...]]:
    """Of these those that a second look finds too: an etcd that is started again and again listens now and then, and a
    peer that asks a moment later is refused."""
    reaches = run.ask(_ask_reaches(run, members))
    again = _cut_off(run, members, reaches, configured, _leaders(run, dict(configured)))
    both_times = {host: tuple(peer for peer in of if peer in again.get(host, ())) for host, of in cut_off.items()}
    return {host: peers for host, peers in both_times.items() if peers}


LOOP_SECONDS = 20  # an etcd that ends as soon as it has started is seen in that time, by systemd's usual pauses


def _looked_at_twice(run: Run, members: list[MemberFacts]) -> list[MemberFacts]:
    """Of members that run and do not answer: whether their unit is started again and again, and so is down, or waits
    for a quorum, as etcd does after a start. Where quorum is known without them, nobody waits for that."""
    unsure = {
        f.member.host: f.unit.invocation for f in members if f.unit and f.unit.running and f.state is State.UNKNOWN
    }
    if not unsure or quorum.decide(members).kind is not Kind.UNKNOWN:
        return members
    again: set[str] = set()

    def still() -> str | None:
        again.update(h for h, unit in units(run, set(unsure) - again).items() if unit.invocation != unsure[h])
        return None if again == set(unsure) else "not started again"

    run.wait(still, LOOP_SECONDS if run.acts else 0)
    configs = {facts.member.host: facts.config for facts in members if facts.config and facts.member.host in unsure}
    leads = _leaders(run, configs)  # an answer wins: it was slow, or was started once
    waits = run.ask({h: peers.ask_serves(h, config) for h, config in configs.items() if h not in again})
    seen = {host: False if leads[host] is None and waits.get(host) else leads[host] for host in configs}
    found = [replace(facts, restarts=facts.member.host in again) for facts in members]
    return quorum.with_leaders(found, seen)


def _leaders(run: Run, configured: dict[str, MemberConfig]) -> dict[str, bool | None]:
    """Whether each member sees a leader now; None where it does not answer."""
    return run.ask({host: etcd.ask_leader(host, config) for host, config in configured.items()})


def watch_leaders(
    run: Run, configured: dict[str, MemberConfig], seen: dict[str, bool | None]
) -> dict[str, bool | None]:
    """Goes on looking for three election timeouts, unless everybody sees a leader and nobody is said to be gone."""
    longest = max((config.election_seconds for config in configured.values()), default=1.0)
    everyone_sees_one = len(seen) == len(run.inventory.old_members) and all(seen.values())
    if everyone_sees_one and not run.terms.gone:
        return seen
    samples = [seen]

    def look_on() -> str:
        samples.append(_leaders(run, configured))
        return "not over yet"

    run.wait(look_on, ELECTION_TIMEOUTS * longest, longest / 4, least=ELECTION_TIMEOUTS * longest)
    # The last quarter counts: a member that had not noticed the loss yet has by then, an election has ended.
    recent = samples[-(len(samples) // 4 or 1) :]
    return {h: None if recent[-1][h] is None else any(sample[h] for sample in recent) for h in seen}


def closed_without_quorum(run: Run, verdict: Verdict | None) -> frozenset[str]:
    """Hosts of members where nobody can log in without quorum: authentication is on, and only passwords are known."""
    if verdict is None or _has_client_key(run):
        return frozenset()
    up = {f.member.host: f.config for f in verdict.members if f.config and f.has_leader is not None}
    closed = run.ask({host: etcd.ask_authentication(host, config) for host, config in up.items()})
    return frozenset(host for host, demands_login in closed.items() if demands_login)


def _has_client_key(run: Run) -> bool:
    """Whether root's client configuration holds a private key: with one, a login needs no consensus."""
    host, client = run.terms.configuration_server, f"{run.inventory.deephaven.client_config}/root"
    find = look(host, "find", client, "-name", "*key*", why="whether root has a client key")
    return run.ask({host: Question(find, lambda answer: bool(complete(answer).stdout.strip()))})[host]


def _peers(run: Run, members: Iterable[Member]) -> dict[str, list[Member]]:
    """host → the other members."""
    there = [member for member in members if member.host not in run.terms.gone]
    return {one.host: [other for other in there if other is not one] for one in there}


def _ask_reaches(run: Run, members: Iterable[Member]) -> dict[str, Question[list[system.Reach]]]:
    """Of each host, in the order of its peers."""
    port, others = run.inventory.etcd.peer_port, _peers(run, members)
    return {host: every([system.ask_reach(host, peer.ip, port) for peer in of]) for host, of in others.items()}


def _cut_off(
    run: Run,
    members: Iterable[Member],
    reaches: Mapping[str, Sequence[system.Reach]],
    configured: Mapping[str, MemberConfig],
    leaders: Mapping[str, bool | None],
) -> dict[str, tuple[str, ...]]:
    """host → other members' hosts that it cannot reach at all. `reaches`: as `_ask_reaches` has it."""
    port = run.inventory.etcd.peer_port
    found: dict[str, tuple[str, ...]] = {}
    for host, others in _peers(run, members).items():
        for peer, reach in zip(others, reaches[host], strict=True):
            listens = quorum.listens(configured.get(peer.host), leaders.get(peer.host), peer.ip, port)
            if quorum.is_cut_off(reach, listens):
                found[host] = (*found.get(host, ()), peer.host)
    return found


def cut_off_new_members(run: Run, verdict: Verdict | None = None) -> dict[str, tuple[str, ...]]:
    """The same for the cluster to build. `verdict`: of the old members, who are asked once where they are the same."""
    if verdict and run.inventory.members == run.inventory.old_members and not run.terms.gone:
        return {facts.member.host: facts.cut_off_from for facts in verdict.members if facts.cut_off_from}
    found = {h: c for h, c in old_configs(run, run.terms.member_hosts).items() if c is not None}
    reaches = run.ask(_ask_reaches(run, run.inventory.members))
    return _cut_off(run, run.inventory.members, reaches, found, _leaders(run, found))


def earlier_backups(run: Run, told: Mapping[str, Told] | None) -> dict[str, str]:
    """host → the passwords that an earlier run of this incident backed up there. `told`: what hosts said of runs since
    this one holds the lock; None: they are asked."""
    of = runs(run) if told is None else told
    found = {}
    for host in run.terms.deephaven_hosts:
        if first := history.first_backup(run.mark.run, of[host].kept, of[host].undone, of[host].births):
            found[host] = f"{marker.directory(run.inventory.cluster, first)}/{history.BACKUP}"
    return found


def passwords(run: Run, directory: str, hosts: Iterable[str]) -> dict[str, dict[str, str]]:
    """host → role → SHA-256 of the password below `directory`; kept in memory only."""
    return run.ask({host: deephaven.ask_passwords(host, directory) for host in hosts})


def passwords_anywhere(run: Run, host: str, directory: str) -> list[tuple[str, str]]:
    """(role, SHA-256) of every password at any depth below `directory` on one host."""
    return run.ask({host: deephaven.ask_all_passwords(host, directory)})[host]


def client_files(run: Run, directory: str, hosts: Iterable[str]) -> dict[str, dict[str, str]]:
    """host → `role/file` → SHA-256 of the client configuration below `directory`; kept in memory only."""
    return run.ask({host: deephaven.ask_client_files(host, directory) for host in hosts})


def packed_client_files(run: Run) -> dict[str, str]:
    """The same of the query archive, as it was unpacked for reading."""
    (packed,) = client_files(run, run.terms.place("read/query"), [run.terms.configuration_server]).values()
    return packed


def endpoints(run: Run, hosts: Iterable[str]) -> dict[str, dict[str, str]]:
    """host → role → the endpoints it is configured with."""
    client = run.inventory.deephaven.client_config
    return run.ask({host: deephaven.ask_endpoints(host, client) for host in hosts})


def resolved(run: Run, found: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, tuple[str, ...]]]:
    """host → name in its endpoints → the addresses that it finds there. `found`: as `endpoints` gives them."""
    named = {(host, name) for host, roles in found.items() for of in roles.values() for name in deephaven.names_in(of)}
    told = run.ask({(host, name): deephaven.ask_resolved(host, name) for host, name in sorted(named)})
    return {host: {name: to for (where, name), to in told.items() if where == host} for host in found}


def archives_to_read(run: Run) -> list[str]:
    """The server and the query archive: as generated, or as finished where a run was cut after its tidying."""
    there = staging(run)
    names = [(f"{name}.generated.tgz", f"{name}.tgz") for name in ("server", "query")]
    places = [tuple(map(run.terms.place, pair)) for pair in names]
    return [made if made in there else finished for made, finished in places]


def listings(run: Run, archives: Iterable[str]) -> list[list[archive.Entry]]:
    """What each archive on the configuration server holds; refuses one that is not safe to unpack."""
    host = run.terms.configuration_server
    return list(run.ask({path: archive.ask_listing(host, path) for path in archives}).values())


def archived_configs(run: Run) -> dict[str, MemberConfig]:
    """path → configuration, for every `config.yaml` in the server archive that was unpacked for reading."""
    found = _archived(run)
    return run.ask({p: Question(c, partial(_read_archived, p)) for p, c in found.items()})


def archived_texts(run: Run) -> dict[str, str]:
    """The same as they are written."""
    return run.ask({path: Question(command, lambda answer: answer.stdout) for path, command in _archived(run).items()})


def _read_archived(path: str, answer: Result) -> MemberConfig:
    return etcd.parse_config(answer.stdout, path)


def _archived(run: Run) -> dict[str, Command]:
    host, root = run.terms.configuration_server, run.terms.place("read/server")
    find = look(host, "find", root, "-name", "config.yaml", why="what was generated")

    def paths(answer: Result) -> list[str]:
        return sorted(checked(host, "path", path, PATH) for path in complete(answer).stdout.splitlines())

    found = run.ask({root: Question(find, paths)})[root]
    return {path: look(host, "cat", path, why="read it", accept=(0,)) for path in found}


def new_configs(run: Run) -> dict[str, MemberConfig]:
    """Every new member's installed configuration; only asked once it was proven to be there."""
    found = configs(run, run.terms.member_hosts)
    return {host: config for host, config in found.items() if config is not None}


def staged(run: Run) -> dict[str, str]:
    """SHA-256 of the snapshot as each new member holds it."""
    return digests(run, dict.fromkeys(run.terms.member_hosts, run.terms.snapshot_path))


def staging(run: Run) -> tuple[str, ...]:
    """What of the generated configuration lies on the configuration server already."""
    terms, archived = run.terms, run.inventory.deephaven.server_archive
    names = ("server.generated.tgz", "query.generated.tgz", "server.tgz", "query.tgz")
    kept = f"{terms.aside}/{archived.strip('/').replace('/', '_')}"
    wanted = (*map(terms.place, names), archived, kept)
    return files(run, {terms.configuration_server: wanted})[terms.configuration_server]


def archives(run: Run, made: bool = False) -> dict[str, dict[str, str]]:
    """Both archives as every machine that needs them holds them. Shape: archive → host → SHA-256. `made`: only as the
    configuration server made them."""
    terms = run.terms
    needs = {"server.tgz": terms.member_hosts, "query.tgz": terms.deephaven_hosts}
    needs = dict.fromkeys(needs, ()) if made else needs
    asked = {
        (name, host): ask_digest(host, terms.place(name))
        for name, hosts in needs.items()
        for host in dict.fromkeys((terms.configuration_server, *hosts))
    }
    found: dict[str, dict[str, str]] = {name: {} for name in needs}
    for (name, host), digest in run.ask(asked).items():
        found[name][host] = digest
    return found
