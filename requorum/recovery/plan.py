"""The plan of every When: pure functions from terms and facts to what is to be run, in order.

An empty plan means that the facts show it done: that is how an interrupted run is carried on. Nothing here touches a
host, so what `--plan` prints, what unit tests compare and what `fleet` runs is one and the same list.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from requorum.cluster import archive, deephaven, etcd
from requorum.cluster.archive import Entry
from requorum.cluster.etcd import MemberConfig, Tools
from requorum.cluster.quorum import Kind, State, Verdict
from requorum.cluster.settings import with_settings
from requorum.command import LOGINS, Action, Command, Copy, act, act_long
from requorum.hosts.systemd import Unit
from requorum.recovery import ahead, labels
from requorum.recovery.ahead import Ahead
from requorum.run.marker import Phase
from requorum.run.terms import Terms
from requorum.snapshots import on_host
from requorum.snapshots.snapshot import Source

# -- Step 0 and the handover's save ------------------------------------------------------------------------------


def save_from_survivors(terms: Terms, verdict: Verdict | None, closed: frozenset[str] = frozenset()) -> list[Command]:
    """Tries a save from each member that is up without quorum, unless `closed` says that nobody can log in there."""
    if verdict is None or verdict.kind is Kind.INTACT:
        return []
    return [
        on_host.save(terms, facts.config.client_urls[0], terms.place(f"live-{facts.member.name}.snap"), patience=2)
        for facts in verdict.members
        if facts.state in (State.LEADERLESS, State.HEALTHY) and facts.config and facts.member.host not in closed
    ]


def copy_snapshot(terms: Terms, source: Source, present: Mapping[str, str]) -> list[Action]:
    """Streams the snapshot to every new member that does not hold it yet. `present`: host → SHA-256."""
    lacking = [host for host in terms.member_hosts if present.get(host) != source.sha256]
    targets = tuple(
        (host, terms.snapshot_path) for host in lacking if (host, terms.snapshot_path) != (source.host, source.path)
    )
    if not targets:
        return []
    why = "the snapshot to every new member"
    most = source.bytes if source.packed else 0
    return [
        Copy(source.path, targets, why, source.host, source.sha256, bytes=source.bytes, most=most, packed=source.packed)
    ]


# -- Step 1 ------------------------------------------------------------------------------------------------------


def turn_deephaven_off(terms: Terms) -> list[Command]:
    """On every Deephaven host, unless the run is past the point of no return: then it is being turned on."""
    if terms.mark.phase >= Phase.POWERING_ON:
        return []
    return [deephaven.monit(terms.inventory, host, up=False) for host in terms.deephaven_hosts]


def stop_etcd(
    terms: Terms,
    units: Mapping[str, Unit],
    files: Mapping[str, tuple[str, ...]],
    configs: Mapping[str, MemberConfig | None],
) -> list[Command]:
    """Stops and sets aside the old unit everywhere; a unit of this run's own new cluster is left alone."""
    return [
        command
        for host in terms.etcd_hosts
        if not is_new(terms, configs[host])
        for command in etcd.stop_and_set_aside(host, terms.inventory.etcd.unit, units[host], files[host], terms.aside)
    ]


def is_new(terms: Terms, config: MemberConfig | None) -> bool:
    """Whether a host's installed configuration is the one that this run brought."""
    return config is not None and config.token == terms.mark.token


# -- Step 2 ------------------------------------------------------------------------------------------------------


def back_up_passwords(
    terms: Terms, existing: Mapping[str, tuple[str, ...]], earlier: Mapping[str, str]
) -> list[Command]:
    """Once for each host and incident; where the backup exists nothing is done.

    `existing`: host → which of both are there; `earlier`: host → the backup of an earlier run of this incident.
    """
    client = terms.inventory.deephaven.client_config
    return [
        deephaven.back_up_client(host, earlier.get(host, client), terms.client_backup)
        for host in terms.deephaven_hosts
        if client in existing[host] and terms.client_backup not in existing[host]
    ]


GENERATOR = "generator"  # the vendor's generator has its /tmp there


def generate(terms: Terms, existing: Sequence[str]) -> list[Command]:
    """Runs the vendor's generator unless both its archives are in staging already."""
    staged = (terms.place("server.generated.tgz"), terms.place("query.generated.tgz"))
    finished = {terms.place("server.tgz"), terms.place("query.tgz")}
    if set(staged) <= set(existing) or finished <= set(existing):
        return []
    kept = f"{terms.aside}/{terms.inventory.deephaven.server_archive.strip('/').replace('/', '_')}"
    has_old = terms.inventory.deephaven.server_archive in existing and kept not in existing
    place = act(terms.configuration_server, "mkdir", "-p", terms.aside, why="where old things are kept")
    return [
        place,
        *deephaven.generate(
            terms.inventory, terms.mark.token, staged, kept if has_old else None, terms.place(GENERATOR)
        ),
    ]


def put_old_passwords(
    terms: Terms,
    roles: Sequence[str],
    server: list[Entry],
    query: list[Entry],
    existing: Sequence[str],
    uninstalled: bool = False,
) -> list[Command]:
    """Makes `server.tgz` and `query.tgz` with the old passwords from what was generated; unpacks both for reading.

    `roles` are those with a password in the backup. `uninstalled`: nothing of it is installed yet, so that a password
    may have been corrected in the backup, and finished archives are made again from what was generated.
    """
    host = terms.configuration_server
    plan: list[Command] = []
    for name, entries in (("server", server), ("query", query)):
        final, work = terms.place(f"{name}.tgz"), terms.place(f"patch/{name}")
        generated = terms.place(f"{name}.generated.tgz")
        made: list[Command] = []
        if final not in existing or (uninstalled and generated in existing):
            made += archive.unpack(host, generated, work)
            made += _put_passwords(terms, roles, work)
            made += archive.repack(host, work, archive.top_level(entries), final)
        made += archive.unpack(host, final, terms.place(f"read/{name}"))
        plan += [replace(command, lane=name) for command in made]  # neither archive waits for the other
    return [*plan, replace(_at_the_vendors_place(terms), lane="server")]


def keep_settings(
    terms: Terms, texts: Mapping[str, str], values: Mapping[str, str], entries: list[Entry]
) -> list[Command]:
    """Puts settings of the old configuration into the finished server archive. `texts`: path below `read/server` →
    configuration; where all of them have the settings nothing is done."""
    host, work, final = terms.configuration_server, terms.place("patch/server"), terms.place("server.tgz")
    read = terms.place("read/server")
    new = {path: with_settings(text, values) for path, text in texts.items()}
    if new == texts:
        return []
    writes = [
        Command(
            host,
            ("dd", f"of={work}{path.removeprefix(read)}", "status=none"),
            f"with {', '.join(values)} as before",
            stdin=text.encode(),
        )
        for path, text in new.items()
    ]
    return [
        *archive.unpack(host, final, work),
        *writes,
        *archive.repack(host, work, archive.top_level(entries), final),
        *archive.unpack(host, final, read),
        _at_the_vendors_place(terms),
    ]


def _at_the_vendors_place(terms: Terms) -> Command:
    target = terms.inventory.deephaven.server_archive
    why = "the archive at the vendor's own place too"
    return act(terms.configuration_server, "install", "-m", "600", terms.place("server.tgz"), target, why=why)


def put_live_passwords(terms: Terms, roles: Sequence[str]) -> list[Command]:
    """A generator may write into the configuration server's own client configuration: its old passwords go back.

    Whether it did or not, so that what is run does not hang on what a generator does.
    """
    return _put_passwords(terms, roles, terms.inventory.deephaven.client_config)


def _put_passwords(terms: Terms, roles: Sequence[str], directory: str) -> list[Command]:
    host, old = terms.configuration_server, terms.client_backup
    return [deephaven.put_passwords(host, old, directory, roles)] if roles else []


# -- Step 3 ------------------------------------------------------------------------------------------------------


def distribute(terms: Terms, sums: Mapping[str, str], present: Mapping[str, Mapping[str, str]]) -> list[Action]:
    """Both archives to all who need them. `sums`: archive → SHA-256; `present`: archive → host → SHA-256."""
    needs = {"server.tgz": terms.member_hosts, "query.tgz": terms.deephaven_hosts}
    plan: list[Action] = []
    for name, hosts in needs.items():
        targets = tuple(
            (host, terms.place(name))
            for host in hosts
            if present[name].get(host) != sums[name] and host != terms.configuration_server
        )
        if targets:
            plan.append(
                Copy(
                    terms.place(name),
                    targets,
                    f"{name} to every machine that needs it",
                    terms.configuration_server,
                    sums[name],
                )
            )
    return plan


def install_servers(
    terms: Terms,
    units: Mapping[str, Unit],
    configs: Mapping[str, MemberConfig | None],
    files: Mapping[str, tuple[str, ...]],
) -> list[Command]:
    """The vendor's unpack on each new member whose etcd does not run yet; the old link is kept aside first.

    Unpacked again after an interruption, since half of an archive can look like a whole one.
    """
    plan: list[Command] = []
    for host in terms.member_hosts:
        if is_new(terms, configs[host]) and units[host].active == "active":
            continue
        number = terms.inventory.number(terms.member_on(host))
        latest, kept = latest_link(terms)
        if latest in files[host] and kept not in files[host]:
            plan += [
                act(host, "mkdir", "-p", terms.aside, why="where old things are kept"),
                act(host, "cp", "-aP", latest, kept, why="keep what was the latest configuration"),
            ]
        plan.append(deephaven.unpack_server(terms.inventory, host, terms.place("server.tgz"), number))
        plan += labels.of_configuration(terms, host)
    return plan


def latest_link(terms: Terms) -> tuple[str, str]:
    """The directory that the member's configuration is read from, and where its old self is kept."""
    latest = terms.inventory.etcd.config.rsplit("/", 1)[0]
    return latest, f"{terms.aside}/{latest.strip('/').replace('/', '_')}"


def install_clients(
    terms: Terms, packed: Mapping[str, str], live: Mapping[str, Mapping[str, str]] | None
) -> list[Command]:
    """The vendor's unpack on each Deephaven host that lacks a file of the archive. Shape: `role/file` → SHA-256.

    Endpoints alone do not tell: where the addresses stay, the CA is still another one. `live`: None in a run of a new
    name, whose certificates nobody has yet.
    """
    client = terms.inventory.deephaven.client_config
    return [
        command
        for host in terms.deephaven_hosts
        if live is None or not packed.items() <= live[host].items()
        for command in (
            deephaven.unpack_client(terms.inventory, host, terms.place("query.tgz")),
            *labels.anew(terms, host, client),
        )
    ]


# -- Step 4 ------------------------------------------------------------------------------------------------------


def restore_looks_at(terms: Terms, configs: Mapping[str, MemberConfig]) -> dict[str, tuple[str, ...]]:
    """Host → its data's `member` directory, what a restore that was cut left of it, and `data_root`."""
    return {h: (f"{c.data_dir}/member", etcd.half(c), data_root(terms)) for h, c in configs.items()}


def restore(
    terms: Terms,
    tools: Mapping[str, Tools],
    configs: Mapping[str, MemberConfig],
    existing: Mapping[str, tuple[str, ...]],
    sha256: str,
    restored: Mapping[str, Ahead] = MappingProxyType({}),
) -> list[Command]:
    """On every new member without its restored data. `existing`: host → which of the paths that `restore_looks_at` are
    there; on a machine that never was a member etcd must be able to reach what lies below the root, so it owns it.
    `restored`: host → what was restored before the commit, which is moved where it is what would be restored now.

    Never once the new etcd was started: its other members may hold newer writes then.
    """
    if terms.mark.phase >= Phase.STARTED:
        return []
    settings = terms.inventory.etcd
    waits = ahead.is_there(terms, tools, configs, restored, sha256)
    plan: list[Command] = []
    for host in terms.member_hosts:
        relabel = labels.anew(terms, host, configs[host].data_dir)
        left = ahead.forget(terms, [host]) if restored.get(host, ahead.NOTHING).left else []
        if f"{configs[host].data_dir}/member" in existing[host]:
            plan += [*left, *relabel]  # a run may have been cut right before it
            continue
        half = etcd.half(configs[host])
        why = "clear what an interrupted restore left unfinished"
        cut = [act_long(host, "rm", "-rf", half, why=why)] if half in existing[host] else []
        if host in waits:
            plan += [*ahead.put_in_place(terms, host, configs[host], sha256, cut), *relabel]
            continue
        plan += [*left, *cut]
        if data_root(terms) not in existing[host]:
            owner = ("-o", settings.user, "-g", settings.user)
            plan.append(
                act(host, "install", "-d", "-m", "700", *owner, settings.data_root, why="where etcd keeps data")
            )
        plan += etcd.restore(
            host,
            tools[host],
            configs[host],
            terms.snapshot_path,
            settings.user,
            settings.revision_bump,
            (terms.place("restored"), sha256),
            terms.skips_hash,
        )
        plan += relabel
    return plan


def data_root(terms: Terms) -> str:
    """As it is asked for: spelled so, the sudo rule for what lies in it covers it too."""
    return f"{terms.inventory.etcd.data_root}/."


def start_etcd(terms: Terms, units: Mapping[str, Unit]) -> list[Command]:
    return [
        command
        for host in terms.member_hosts
        if units[host].active != "active" or units[host].enabled != "enabled"
        for command in etcd.start(host, terms.inventory.etcd.unit)
    ]


# -- Step 5 ------------------------------------------------------------------------------------------------------


def turn_deephaven_on(terms: Terms, hosts: Sequence[str]) -> list[Command]:
    """A command that waits ends badly for one process that stays off: the proofs tell what is up, by name."""
    return [replace(deephaven.monit(terms.inventory, host, up=True), accept=None) for host in hosts]


def tidy(terms: Terms) -> list[Command]:
    """Removes scratch that holds secrets and is needed for nothing any more; what was set aside stays."""
    parent = terms.inventory.deephaven.client_archive.format(cluster_id=terms.mark.token).rsplit("/", 1)[0]
    scratch = ("patch", "read", "wrong", GENERATOR, "query.generated.tgz", "server.generated.tgz", LOGINS)
    plan = [
        act(
            terms.configuration_server,
            "rm",
            "-rf",
            *(terms.place(name) for name in scratch),
            why="remove scratch with copies of passwords and keys",
        )
    ]
    if terms.mark.token in parent:  # the generator's own directory, empty now; never somebody else's
        why = "remove the generator's empty directory"
        plan.append(act(terms.configuration_server, "rmdir", parent, why=why, accept=(0, 1)))
    return [*plan, *ahead.forget(terms, terms.member_hosts)]


def disarm(terms: Terms, alarms: Sequence[str]) -> list[Command]:
    """Takes away what an alarm in the restored data would refuse: with NOSPACE every write, whatever the quota is."""
    if "NOSPACE" not in alarms:
        return []
    why = "take the data's space alarm away"
    return [act(terms.configuration_server, *on_host.etcdctl(terms), "alarm", "disarm", why=why)]
