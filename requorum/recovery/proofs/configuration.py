"""Proofs about files: the generated archives (Step 2), and what was installed from them (Step 3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from requorum.cluster import archive, deephaven, settings
from requorum.cluster.etcd import MemberConfig, address
from requorum.command import Result, look
from requorum.hosts import certificates
from requorum.hosts.fleet import Machine
from requorum.hosts.question import Question, both, in_time
from requorum.recovery.plan import is_new
from requorum.run import facts
from requorum.run.run import Run


def passwords_agree(run: Run) -> tuple[str, ...]:
    """Compares the backups of all Deephaven hosts role by role; returns which roles have a password. None at all is in
    order where there are roles: whether etcd knows them without one is for the trial."""
    terms = run.terms
    found = facts.passwords(run, terms.client_backup, terms.deephaven_hosts)
    wrong = deephaven.disagreements(found)
    here = found[terms.configuration_server]
    outcome = "; ".join(wrong) if wrong else None
    if not here:
        roles = facts.endpoints(run, [terms.configuration_server])[terms.configuration_server]
        outcome = None if roles else f"no role in {run.inventory.deephaven.client_config}"
        run.note(f"no password lies here for any of {len(roles)} roles")
    run.settle(
        "every role has one password, the same on every Deephaven host",
        {terms.configuration_server: outcome},
        f"decide which one is right (the one that logs in to the old cluster), and put it into "
        f"{terms.client_backup}/ROLE/password on every host that differs",
    )
    return tuple(sorted(here))


def every_role_has_an_old_password(run: Run, roles: tuple[str, ...], entries: list[archive.Entry]) -> None:
    missing = sorted({role for role, _ in archive.role_directories(entries)} - set(roles))
    run.settle(
        "every role that was generated has an old password in the backup",
        {run.terms.configuration_server: f"none for {', '.join(missing)}" if missing else None},
        "the generator knows roles, or passwords of them, that the old cluster did not; generate with the same ones as "
        "before",
    )


def every_server_number_is_present(run: Run) -> dict[str, MemberConfig]:
    """One configuration for each new member's address, all with this run's token; returned by host."""
    terms = run.terms
    found = facts.archived_configs(run)
    new: dict[str, MemberConfig] = {}
    problems = []
    for member in run.inventory.members:
        mine = [c for c in found.values() if address(c.peer_url).host == member.ip]
        if len(mine) != 1:
            problems.append(f"{len(mine)} configurations for {member.name} at {member.ip}")
        elif mine[0].token != terms.mark.token:
            problems.append(f"{member.name} has the token {mine[0].token}, not {terms.mark.token}")
        else:
            new[member.host] = mine[0]
    if len(found) != len(run.inventory.members):
        problems.append(f"{len(found)} configurations in all")
    run.settle(
        f"the server archive holds one configuration for each of the {len(run.inventory.members)} "
        f"members, with the new token",
        {terms.configuration_server: "; ".join(problems) or None},
        "check deephaven.commands.generate in the inventory: it must pass {cluster_id} and {ips}",
    )
    return new


def settings_are_kept(run: Run, configs: Mapping[str, MemberConfig], kept: Mapping[str, str], size: int | None) -> None:
    """In what will be installed, with a quota that holds `size` bytes; None where it is installed already."""
    lacking = {host: _lacking(config, kept) for host, config in configs.items()}
    if kept:
        run.settle(f"{shown(kept)}, as kept", lacking, "run again: they are put into the archive again")
    if size is None:
        return
    quotas = {host: settings.too_small(config.settings, size) for host, config in configs.items()}
    run.settle("its quota is larger than the data", quotas, settings.REMEDY)


def _lacking(config: MemberConfig, kept: Mapping[str, str]) -> str | None:
    found = dict(config.settings)
    wrong = [f"{name}: {found.get(name, 'not there')}" for name in kept if found.get(name) != kept[name]]
    return "; ".join(wrong) or None


def shown(kept: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in kept.items())


def certificates_are_right(run: Run) -> None:
    """Each certificate that a configuration names chains to its CA, names the address, has not expired."""
    terms = run.terms
    host = terms.configuration_server
    answers = run.ask(
        {
            (path, cert): certificates.ask_archived(host, path.rsplit("/", 1)[0], cert, address(config.peer_url).host)
            for path, config in facts.archived_configs(run).items()
            for cert in config.certificates
        }
    )
    wrong = [f"{one.path.split('/read/')[-1]}: {problem}" for one in answers.values() for problem in one.problems]
    run.settle(
        "every certificate chains to its CA, names its member's address and is valid now",
        {host: "; ".join(wrong) or (None if answers else "no certificates")},
        "look at the generator's output and the machine's clock, then run again",
    )


def archives_hold_the_old_passwords(run: Run) -> None:
    """Every password in the packed archives, and in the live client configuration, equals its backup."""
    terms = run.terms
    host = terms.configuration_server
    (backup,) = facts.passwords(run, terms.client_backup, [host]).values()
    places = {
        "the query archive": terms.place("read/query"),
        "the server archive": terms.place("read/server"),
        "the live client configuration": run.inventory.deephaven.client_config,
    }
    wrong = []
    for name, directory in places.items():
        found = facts.passwords_anywhere(run, host, directory)
        wrong += [f"{role} in {name}" for role, digest in found if backup.get(role) != digest]
        if name == "the query archive" and backup and not found:
            wrong.append("no password at all in the query archive")
    run.settle(
        "every password equals its backup",
        {host: f"another password for {', '.join(wrong)}" if wrong else None},
        "run again; if it stays, compare the files below the run's read/ directory by hand",
    )


# -- Step 3 ------------------------------------------------------------------------------------------------------


def every_archive_is_the_same(run: Run) -> None:
    terms = run.terms
    for name, sums in facts.archives(run).items():
        expected = sums[terms.configuration_server]
        run.settle(
            f"{name} has SHA-256 {expected[:16]}…",
            {h: None if s == expected else f"{s[:16]}…" if s else "no file" for h, s in sums.items()},
            "run again: it is copied again",
        )


def servers_are_installed(run: Run, kept: Mapping[str, str]) -> None:
    """The configuration is the new one with the settings `kept`, the etcd account can read what it names, and nobody
    else reads its keys."""
    terms, own = run.terms, run.inventory.etcd
    configs = facts.configs(run, terms.member_hosts)

    def probe(machine: Machine) -> str | None:
        config, member = configs[machine.name], terms.member_on(machine.name)
        if config is None or not is_new(terms, config):
            return f"{own.config} is of the token {config.token if config else 'none'}"
        if address(config.peer_url).host != member.ip:
            return f"{own.config} is for {address(config.peer_url).host}, not {member.ip}"
        if lacking := _lacking(config, kept):
            return lacking
        if machine.see.service(own.unit).systemd_properties["LoadState"] != "loaded":
            return f"no {own.unit}"
        readable = ["test", "-r", own.config]
        for key in config.keys:
            readable += ["-a", "-r", key]
        asked = look(machine.name, "runuser", "-u", own.user, "--", *readable, why="etcd can read")
        can_read = Question(asked, lambda answer: in_time(answer).code == 0)
        reads, open_keys = machine.ask(both(can_read, _ask_open_keys(machine.name, config.keys)))
        return open_keys if reads else f"{own.user} cannot read {own.config} or a key that it names"

    run.prove(
        terms.member_hosts,
        "the member's new configuration and unit are installed, its keys for etcd alone",
        probe,
        "look at the vendor's unpack command in the inventory and at its output in the journal",
    )


def _ask_open_keys(host: str, keys: Sequence[str]) -> Question[str | None]:
    """What is wrong with the first key that everybody can read; None where none is."""

    def read(answer: Result) -> str | None:
        if answer.code != 0:
            return f"the keys cannot be looked at: {answer.words}"
        first = next(iter(answer.stdout.split()), None)
        return first and f"everybody can read {first}"

    return Question(look(host, "find", "-L", *keys, "-perm", "/007", why="who reads the keys"), read)


def wrong_owners(now: Mapping[str, tuple[str, int]], before: Mapping[str, tuple[str, int]]) -> list[str]:
    """Of passwords: role → owner and mode. Nobody but the owner may read them, so that the group is any."""
    found = [f"{role}/password has mode {mode:o}" for role, (_, mode) in now.items() if mode & 0o077]
    return found + [
        f"{role}/password belongs to {owner}, before to {before[role][0]}"
        for role, (owner, _) in now.items()
        if role in before and owner.partition(":")[0] != before[role][0].partition(":")[0]
    ]


def clients_are_installed(run: Run) -> None:
    """On every Deephaven host: exactly the new endpoints, the old passwords, files for their owner alone."""
    terms = run.terms
    client = run.inventory.deephaven.client_config
    endpoints = facts.endpoints(run, terms.deephaven_hosts)
    behind = facts.resolved(run, endpoints)
    old_ips = tuple(member.ip for member in terms.old_members)
    live = facts.client_files(run, client, terms.deephaven_hosts)
    packed = facts.packed_client_files(run)
    (backup,) = facts.passwords(run, terms.client_backup, [terms.configuration_server]).values()

    def probe(machine: Machine) -> str | None:
        found = live[machine.name]
        wrong = [f"{name} is not the archive's" for name, digest in packed.items() if found.get(name) != digest]
        for role, listed in endpoints[machine.name].items():
            problem = deephaven.wrong_endpoints(listed, terms.new_ips, behind[machine.name], old_ips)
            if problem:
                wrong.append(f"{role}/endpoints {problem}")
        passwords = {n.split("/")[0]: d for n, d in found.items() if n.endswith("/password")}
        wrong += [f"{role}: not the old password" for role, d in passwords.items() if backup.get(role) != d]
        now, before = machine.ask(deephaven.ask_owners_now_and_before(machine.name, client, terms.client_backup))
        return "; ".join([*wrong, *wrong_owners(now, before)]) or None

    run.prove(
        terms.deephaven_hosts,
        "every role has the new files, the new endpoints and its old password, readable by its owner alone",
        probe,
        "look at the vendor's unpack command in the inventory and at its output in the journal",
    )
