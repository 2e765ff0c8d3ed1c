"""Proofs about machines: reachable, equipped, roomy (Step 0); quiet (Step 1)."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType

from requorum.cluster import deephaven, etcdctl, others, settings
from requorum.cluster.etcd import MemberConfig, Tools
from requorum.cluster.others import Running
from requorum.cluster.quorum import Kind, Verdict
from requorum.command import Result
from requorum.hosts import clock, probe, system, systemd
from requorum.hosts.clock import Reading
from requorum.hosts.fleet import FleetError, Machine, Unreachable
from requorum.hosts.packed import ENC
from requorum.hosts.probe import Probed
from requorum.hosts.question import Question, both, every
from requorum.hosts.system import Free
from requorum.inventory import Etcd
from requorum.recovery import equipment, labels, probes, room
from requorum.recovery.plan import is_new
from requorum.refusal import Refusal, remedy
from requorum.run import bulk, facts, likeness
from requorum.run.marker import Phase
from requorum.run.run import Run
from requorum.snapshots.snapshot import Source

# How long nobody may be connected before a healthy cluster is saved, in seconds.
QUIET_SECONDS = 3
# By how much the configuration server's clock may be ahead: etcd is waited for longer than that in Step 4.
CLOCK_SECONDS = 30


def every_host_answers(run: Run) -> None:
    """Reached, and root without a password. An `Unreachable` names the host and --gone. What each is like is kept."""
    found: dict[str, Probed] = {}
    become = run.inventory.transport.as_root

    def ask(machine: Machine) -> str | None:
        found[machine.name] = probed = machine.ask(probe.ask_host(machine.name, become))
        return probed.sudo.hinders or None

    run.prove(
        run.terms.everyone,
        f"takes commands as root without asking for a password ({shlex.join(become)})",
        ask,
        "give the login NOPASSWD for the runbook's commands, also where its sudo asks an ssh agent (none is forwarded "
        "to a host), and neither requiretty nor a text of sudo's PAM (docs/preparing.md#sudo)",
    )
    run.terms = replace(run.terms, labels=frozenset(h for h, probed in found.items() if _sets_labels(run, h, probed)))
    likeness.keep(run, {host: found[host] for host in run.terms.everyone if host in found})


def _sets_labels(run: Run, host: str, probed: Probed) -> bool:
    """Where sudo lacks the lines for labels a rollback goes without, as ever; Step 0 asks for the lines."""
    labelled = replace(run.terms, labels=frozenset((host,)))
    (set_anew,) = labels.anew(labelled, host, run.inventory.deephaven.client_config)
    return probed.labels and probed.sudo.allows(set_anew.stretched(run.options.timeout_scale))


def every_host_is_equipped(run: Run, paths: Mapping[str, str]) -> None:
    """What root finds by sudo, and units of systemd's on new members, where copies are started unseen; each vendor's
    command where it will run, openssl and curl, the etcd account. All asked together. `paths`: root's, by host."""
    found: dict[str, _Equipped] = {}

    def ask(machine: Machine) -> str | None:
        found[machine.name] = one = machine.ask(_ask_equipment(run, machine.name, paths[machine.name]))
        return one.unfound

    run.prove(
        run.terms.everyone,
        "root finds the tools that the runbook runs as root (sudo's secure_path)",
        ask,
        "install them, or add their directory to secure_path in sudoers there (docs/preparing.md#sudo)",
    )
    run.settle(
        "has the vendor's commands and accounts that the runbook needs here",
        {host: one.missing for host, one in found.items()},
        "install Deephaven's tools there, or correct deephaven.commands in the inventory",
    )


@dataclass(frozen=True)
class _Equipped:
    """What is lacking, in words: `unfound` by root or by a unit, `missing` of all else; None where nothing is."""

    unfound: str | None
    missing: str | None


def _ask_equipment(run: Run, host: str, path: str) -> Question[_Equipped]:
    """`path`: root's."""
    mine = equipment.needed(run.terms)[host]
    places = [("", mine.tools), (path, (*equipment.AS_ROOT, *mine.tools))]
    places += [(equipment.UNIT_PATH, equipment.IN_UNIT)] if host in run.terms.member_hosts else []
    programs = both(system.ask_unfound(host, *places), system.ask_absent(host, mine.programs))
    asked = both(programs, every([system.ask_uid(host, account) for account in mine.accounts]))

    def read(*answers: Result) -> _Equipped:
        ((tools, as_root, *in_unit), files), uids = asked.understand(answers)
        nobody = [f"the account {name}" for name, uid in zip(mine.accounts, uids, strict=True) if uid is None]
        missing = [*files, *tools, *nobody]
        unfound = equipment.unfound(path, as_root, [tool for tools in in_unit for tool in tools])
        return _Equipped("; ".join(unfound) or None, f"missing: {', '.join(missing)}" if missing else None)

    return Question(asked.commands, read)


def certificates_will_be_valid(run: Run) -> None:
    """They are made by the configuration server's clock: a host that is far behind it would refuse them for so long."""
    server = run.terms.configuration_server
    unasked = [host for host in run.terms.everyone if host not in run.probed]
    told = {host: run.probed[host].clock for host in run.terms.everyone if host in run.probed}
    told |= run.ask({host: clock.ask_clock(host) for host in unasked})
    readings = {host: reading for host, reading in told.items() if isinstance(reading, Reading)}
    late = clock.behind(readings, server, CLOCK_SECONDS) if server in readings else {}
    run.settle(
        f"has a clock that is not more than {CLOCK_SECONDS} s behind {server}'s, where the certificates are made",
        {host: f"at least {late[host]:g} s behind" if host in late else None for host in told},
        "set both clocks right (chronyc makestep), then run again: the new certificates would not be valid there yet",
    )


def new_members_have_one_etcd(run: Run, tools: Mapping[str, Tools]) -> None:
    """One version on all new members: another would restore with other flags, or refuse to join."""
    several = len({(t.version, t.bumps) for t in tools.values()}) > 1
    run.settle(
        "the same etcd as every other new member",
        {host: f"etcd {t.version}" if several else None for host, t in tools.items()},
        "install one and the same etcd on all new members",
    )


def new_members_are_no_cluster_already(run: Run, verdict: Verdict) -> None:
    """Where the new members are other ones, they may have been rebuilt already, and the inventory forgot to say so."""
    old, new = run.inventory.old_members, run.inventory.members
    if verdict.kind is Kind.INTACT or old == new or not facts.has_quorum(run, new):
        return
    raise Refusal(
        "the new members",
        "are a cluster that has quorum already: nothing is to be rebuilt",
        "remove old_members from the inventory and --gone from the command: this is the cluster that lives",
    )


def no_old_member_leads_again(run: Run) -> None:
    """A run that is carried on decides about quorum no more; somebody may have brought the old cluster back by hand."""
    alive = facts.old_members_that_lead(run)
    run.settle(
        "the old cluster is still off",
        dict.fromkeys(alive, "it sees a leader again, with the old configuration"),
        "go back in order: pytest runbook/rollback --hosts=NAME",
    )


def new_members_reach_each_other(run: Run, verdict: Verdict | None) -> None:
    """`verdict`: for which old members were asked the same, None where nobody was."""
    found = facts.cut_off_new_members(run, verdict)
    run.settle(
        "reaches every other new member's address",
        {host: f"no way to {', '.join(found[host])}" if host in found else None for host in run.terms.member_hosts},
        "mend the network between the members first (routes, firewalls): a cut-off etcd comes back by itself within a "
        "minute, and a new cluster could not form either",
    )


def there_is_room(
    run: Run,
    size: int,
    copies: Mapping[str, int] = MappingProxyType({}),
    lying: Mapping[str, Collection[str]] = MappingProxyType({}),
) -> None:
    """Each file system holds the most that the run puts there at any time. `size`: the snapshot's, in bytes; `copies`:
    host → bytes of an old member's data, where disks are salvaged; `lying`: host → what it put down already."""
    if "free_disk_ratio" in run.inventory.limits.model_fields_set:
        run.note(room.NO_RATIO)
    # Of a run that is carried on, its own scratch of before goes before anything is put down again.
    asked = partial(bulk.ask_rooms, terms=run.terms, cleared=run.carrying_on)
    hosts = dict.fromkeys((*run.terms.member_hosts, *copies))
    rooms = run.ask({host: asked(host) for host in hosts})
    members = len(run.terms.old_members)
    copies = room.copied(copies, members, rooms)
    gathers = room.gathering(copies, members, rooms)

    def probe(machine: Machine) -> str | None:
        told = room.places(run.terms, machine.name, rooms[machine.name])
        if why := next((found for found in told.values() if isinstance(found, str)), None):
            return why
        found = {place: free for place, free in told.items() if isinstance(free, Free)}
        for one in found.values():
            mount = machine.see.mount_point(one.mount)
            if mount.exists and "ro" in mount.options:
                return f"{one.mount} is mounted read-only"
        turns = room.turns(run.terms, machine.name, size, copies, gathers, lying.get(machine.name, ()))
        return room.lacking(turns, found, spares=not run.carrying_on)

    run.prove(
        hosts,
        "each file system has the room that this run needs",
        probe,
        "make room there; the copy of one survivor's disk is not needed where you give that up: --accept=without:HOST",
    )


def data_fits_its_quota(run: Run, size: int, kept: Mapping[str, str], old: Mapping[str, MemberConfig]) -> None:
    """As far as it is known before anything is generated; Step 2 proves it of what was. `old`: by host."""
    wrong = settings.known_too_small(kept, old, size)
    claim = "the data is smaller than the quota that the new cluster will have, as far as that is known"
    run.settle(claim, dict.fromkeys(run.terms.member_hosts, wrong), settings.REMEDY)
    if left := settings.dropped(kept, old):
        run.note(
            f"{', '.join(left)}: the old quota is above etcd's own and not kept: the new one is what the generator "
            f"writes, held against the data in Step 2; to {settings.REMEDY}"
        )


def every_copy_is_readable(run: Run, tools: Mapping[str, Tools], source: Source | None = None) -> int:
    """`snapshot status` of the staged copy, by each of the new members' tools; returns its revision.

    All copies have one SHA-256, each proven before it got its name: what one host's tool reads of them every other
    host's like it would. Each member's own restore reads its own copy again, and `restored_alike` what came of it.
    Of an encrypted `source` nobody has looked inside so far: it was chosen by what its manifest says."""
    path = run.terms.snapshot_path
    by_tool = {tools[host]: host for host in reversed(run.terms.member_hosts)}
    hosts, why = sorted(by_tool.values(), key=run.terms.member_hosts.index), "etcd can read the snapshot"
    found = run.ask({host: etcdctl.ask_snapshot(host, tools[host].restorer, path, why) for host in hosts})
    revisions = {value[0] for value in found.values() if isinstance(value, tuple)}
    claim = "etcd reads the snapshot, at one revision by the tools of all members"
    run.settle(
        claim,
        {
            host: value if isinstance(value, str) else (None if len(revisions) == 1 else f"revision {value[0]}")
            for host, value in found.items()
        },
        "use another snapshot: --snapshot=FILE",
    )
    first = next(iter(found.values()))
    assert isinstance(first, tuple)
    if source and source.packed == ENC and source.revision is not None:
        wrong = None if first[0] == source.revision else f"it is at revision {first[0]}, not {source.revision}"
        what = (
            "that manifest is not its own, and its place among the others is not known: name one with --snapshot=FILE"
        )
        run.settle(
            "the encrypted snapshot is at the revision that its manifest says", dict.fromkeys(hosts, wrong), what
        )
    return first[0]


# -- Step 1 ------------------------------------------------------------------------------------------------------


Supervised = Mapping[str, Mapping[str, str]]  # host → process → its status, by monit's word


def deephaven_is_off(run: Run) -> Supervised:
    """Unless the run is past the point of no return: then it is being turned on. Returns what monit says now."""
    return no_deephaven_process_runs(run) if run.mark.phase < Phase.POWERING_ON else {}


def no_deephaven_process_runs(run: Run, hosts: Sequence[str] | None = None) -> Supervised:
    """monit supervises no running process, and Deephaven's accounts run none. `hosts`: all of Deephaven's if not said.

    What an administrator started below a login counts only where it is connected to etcd.
    """
    dh, port = run.inventory.deephaven, run.inventory.etcd.client_port
    told: dict[str, Mapping[str, str]] = {}

    def probe(machine: Machine) -> str | None:
        accounts = system.ask_processes(machine.name, dh.admin_user, dh.accounts)
        found, running = machine.ask(both(deephaven.ask_processes(run.inventory, machine.name), accounts))
        if isinstance(found, str):
            return found
        told[machine.name] = found
        left = deephaven.not_off(found)
        connections = machine.ask(system.ask_connections(machine.name, port)) if running else ()
        left += [str(process) for process in deephaven.still_running(running, connections)]
        return f"still there: {', '.join(left)}" if left else None

    run.prove(
        run.terms.deephaven_hosts if hosts is None else hosts,
        f"no Deephaven process is supervised or runs as {', '.join((dh.admin_user, *dh.accounts))}",
        probe,
        "stop it there by the vendor's means, then run again",
        within=30,
    )
    return told


def monit_supervises_no_etcd(run: Run, told: Supervised = MappingProxyType({})) -> None:
    """`told`: what was asked already; where that does not hold, it is asked again."""

    def probe(machine: Machine) -> str | None:
        if machine.name in told and not deephaven.supervised_etcd(told[machine.name]):
            return None
        found = machine.ask(deephaven.ask_processes(run.inventory, machine.name))
        if isinstance(found, str):
            return found
        left = deephaven.supervised_etcd(found)
        return f"monit watches {', '.join(left)}" if left else None

    run.prove(
        run.terms.everyone,
        "monit supervises no etcd, which it would bring back",
        probe,
        "have monit there leave alone what is named above (monit unmonitor), or take its file out of monit's files",
    )


def only_known_machines_are_connected(run: Run, handover: bool) -> None:
    """Established connections to the client port. In a handover, none but the member's own."""
    addresses = run.ask({host: system.ask_addresses(host) for host in run.terms.everyone})
    own = {host: set(found) for host, found in addresses.items()}
    everyone = {address for found in own.values() for address in found}
    everyone |= {m.ip for m in (*run.inventory.members, *run.inventory.old_members)}  # moved away, known
    port = run.inventory.etcd.client_port

    def probe(machine: Machine) -> str | None:
        connections = system.ask_connections(machine.name, port, seconds=QUIET_SECONDS if handover else 0)
        seen, etcd_account = machine.ask(both(connections, system.ask_uid(machine.name, run.inventory.etcd.user)))
        peers = {c.peer for c in seen if not c.outgoing} - own[machine.name]
        local = {f"{machine.name} itself (account {c.uid})" for c in seen if c.outgoing and c.uid != etcd_account}
        strangers = peers | local if handover else peers - everyone
        return f"connected from {', '.join(sorted(strangers))}" if strangers else None

    run.prove(
        tuple(member.host for member in run.terms.old_members),
        "nobody but the member itself is connected to etcd"
        if handover
        else "every client connected to etcd is a machine of the inventory",
        probe,
        "find out what runs there and stop it: it would go on writing, or reading old configuration",
        within=10,
    )


def _judged(machine: Machine, etcd: Etcd, config: MemberConfig | None) -> dict[int, tuple[str, str]]:
    """By process: what it is, and why it may be this cluster's, "" where it is surely another's."""
    found: dict[int, tuple[str, str]] = {}
    for one in machine.ask(others.ask_running(machine.name, etcd.unit)):
        asked = not one.ours and one.unit
        moved = machine.ask(others.ask_moved(machine.name, one.unit)) if asked else None
        where = others.ask_where(machine.name, str(one.pid), one.directories, _places(etcd, config))
        found[one.pid] = str(one), one.doubt(etcd, moved) or machine.ask(where)
    return found


def _places(etcd: Etcd, config: MemberConfig | None) -> list[str]:
    """Wherever this cluster's data may be on a host."""
    configured = (config.data_dir, config.wal_dir) if config else ()
    return [path for path in (etcd.data_root, *configured) if path.startswith("/")]


def no_other_etcd_is_this_clusters(run: Run) -> None:
    """Where it can be seen: what would be found behind the power-off is found before it. Another cluster's stays."""
    etcd = run.inventory.etcd
    seen = run.ask({host: others.ask_running(host, etcd.unit) for host in run.terms.etcd_hosts})
    beside = {(host, one): one.unit for host, of in seen.items() for one in of if not one.ours and one.unit}
    moved = run.ask({key: others.ask_moved(key[0], unit) for key, unit in beside.items()})
    doubts = {(host, one): one.doubt(etcd, moved[host, one]) for host, one in beside}
    apart = [key for key, doubt in doubts.items() if not doubt]
    configs = facts.old_configs(run, dict.fromkeys(host for host, _ in apart))
    places = {host: _places(etcd, config) for host, config in configs.items()}
    doubts |= run.ask({(h, one): others.ask_where(h, str(one.pid), one.directories, places[h]) for h, one in apart})
    for (host, one), doubt in doubts.items():
        if not doubt:
            run.note(f"{host}: {one} is not this cluster's: left alone")
    found = {key: doubt for key, doubt in doubts.items() if doubt}
    if found:
        raise _in_the_way(found)


def no_drop_in_starts_another(run: Run) -> None:
    """Drop-ins stay when the old unit is set aside: one that says what is started says it of the new unit too."""
    settings = run.inventory.etcd
    said = run.ask({host: systemd.ask_drop_ins(host, settings.unit) for host in run.terms.member_hosts})
    found = {host: why for host, text in said.items() if (why := systemd.started_otherwise(text, settings.config))}
    if found:
        told = "; ".join(f"on {host} they {why}" for host, why in found.items())
        raise Refusal(
            ", ".join(found),
            f"the drop-ins of {settings.unit} would hold for the new unit too, and {told}",
            remedy(f"{systemd.OTHERWISE}, and run again", ("systemctl", "--no-pager", "cat", settings.unit)),
        )


def _in_the_way(found: Mapping[tuple[str, Running], str]) -> Refusal:
    """An etcd beside the unit, by host: it would keep Step 1 from proving that none runs."""
    stops = "; ".join(f"on {host}: `sudo systemctl stop {shlex.quote(one.unit)}`" for host, one in found)
    error = Refusal(
        ", ".join(dict.fromkeys(host for host, _ in found)),
        "; ".join(f"{host}: {one} may be this cluster's: {doubt}" for (host, one), doubt in found.items()),
        remedy(
            f"find out whose it is. If it is this cluster's, stop it: {stops}. If not, have it started with --data-dir "
            f"and its listen URLs on its command line, then run again",
            *dict.fromkeys(("systemctl", "status", "--no-pager", one.unit) for _, one in found),
            first="find out whose it is. Stop it if it is this cluster's; else have it started with --data-dir and "
            "its listen URLs on its command line. This shows what it is",
        ),
    )
    error.hosts = tuple(dict.fromkeys(host for host, _ in found))
    return error


def old_etcd_is_gone(run: Run) -> None:
    """No process, no unit that runs or would start, both ports closed; this run's own new etcd is exempt."""
    settings = run.inventory.etcd
    configs = facts.old_configs(run, run.terms.etcd_hosts)
    hosts = [h for h in run.terms.etcd_hosts if not is_new(run.terms, configs[h])]

    def probe(machine: Machine) -> str | None:
        told = _judged(machine, settings, configs[machine.name])
        there = (told.get(p.pid, (f"process {p.pid}", "unknown")) for p in machine.see.process.filter(comm="etcd"))
        left = [words for words, doubt in there if doubt]
        unit = machine.see.service(settings.unit).systemd_properties
        if unit["ActiveState"] not in ("inactive", "failed"):
            left.append(f"{settings.unit} is {unit['ActiveState']}")
        if unit["LoadState"] == "loaded":
            left.append(f"{settings.unit} is still installed")
        open_ports = {s.rsplit(":", 1)[-1] for s in machine.see.socket.get_listening_sockets()}
        left += [
            f"port {port} is open" for port in (settings.client_port, settings.peer_port) if str(port) in open_ports
        ]
        return ", ".join(left) or None

    run.prove(
        hosts,
        f"no etcd runs, {settings.unit} can not start, ports {settings.client_port} and "
        f"{settings.peer_port} are closed",
        probe,
        "find out what started it there (another unit, monit, a shell) and stop it",
        within=15,
    )


def went_past_the_save(run: Run, source: Source | None, tools: Mapping[str, Tools]) -> bool:
    """After a handover: whether a stopped member holds more on disk than was saved, by a lease that ran out since, or
    by a writer; also where one with a database does not tell, or no majority does."""
    if source is None or source.kind != "handover":
        return False
    saved = source.revision or 0
    configs = facts.old_configs(run, [member.host for member in run.terms.old_members])
    old = {host: config for host, config in configs.items() if config and not is_new(run.terms, config)}
    there = facts.files(run, {host: (f"{config.data_dir}/member/snap/db",) for host, config in old.items()})
    stopped = {host: config for host, config in old.items() if there[host]}
    try:
        done = run.probe(probes.read_stopped_members(run.terms, stopped, tools))
    except Unreachable:
        raise
    except FleetError as error:
        run.note(f"{error.where}: {error.what}: what the disks hold is salvaged instead")
        return True
    answers = {result.command.host: result for result in done if not result.command.changes}
    told = {host: probes.ask_revision(run.terms, host, tools).understand([answers[host]]) for host in stopped}
    unread = "; ".join(f"{host}: {why}" for host, why in told.items() if isinstance(why, str))
    if unread:
        run.note(f"{unread}: what the disks hold is salvaged instead")
        return True
    if 2 * len(told) <= len(run.inventory.old_members):
        run.note("no majority of the disks tells how far it got: what they hold is salvaged instead")
        return True
    run.settle("its disk tells the revision that it got to", dict.fromkeys(told), "")
    furthest = max((status[0] for status in told.values() if not isinstance(status, str)), default=saved)
    if furthest > saved:
        run.note(f"members hold revision {furthest:,}, the save {saved:,}: what their disks hold is salvaged instead")
    return furthest > saved
