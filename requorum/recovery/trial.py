"""The trial: the chosen snapshot, restored and booted before anything is committed. Planners and parsers only.

One member proves the data: restored with the bump of Step 4 as a cluster of its own, it is booted in `sandbox` on one
host. etcd's hash covers keys alone, so Step 5 must find the same in the real cluster. `trials` carries this out.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace

from pydantic import TypeAdapter

from requorum.cluster import etcd, etcdctl, sandbox
from requorum.cluster.authentication import NO_PASSWORD, Authentication
from requorum.cluster.etcd import MemberConfig, Tools
from requorum.cluster.logins import packed
from requorum.cluster.sandbox import WAL_BYTES, Answers, Boot
from requorum.command import LOGINS, Command, Result, act, look
from requorum.hosts import kept
from requorum.hosts.fleet import Machine
from requorum.hosts.kept import File
from requorum.hosts.question import Question, complete, every
from requorum.run import bulk
from requorum.run.marker import Phase
from requorum.run.run import Run
from requorum.run.terms import Terms
from requorum.snapshots import beginning
from requorum.snapshots.beginning import Beginning, Proven

KIND = bulk.TRIAL
NUMBER = 1  # of the one member: its name in the room
PEER_URL = "https://127.0.0.1:2380"  # nobody else's, in a namespace of its own


@dataclass(frozen=True)
class Trial:
    """What the trial found: `hash` of the data at `revision` (the bumped one where the tool bumps), `counts`
    of keys by prefix ("" is all), users and roles by name, and the SHA-256 of the snapshot that was tried. `problem`:
    why it is not good and the rest is empty; "" if it is good. `alarms` that lie in the data, by etcd's names.
    `authentication` as it is in the data: as it was is how it must be. `restored`: by which etcd, and with which bump,
    since another one gives another revision and hash; "" in a note of an earlier version. `outside`: user → a key that
    is closed to it, None where none that was tried is; of those alone who were asked about. `leased`: how many keys
    have a lease; None where that was not told."""

    snapshot: str
    revision: int
    hash: int
    counts: dict[str, int]
    users: tuple[str, ...]
    roles: tuple[str, ...]
    problem: str = ""
    alarms: tuple[str, ...] = ()
    authentication: Authentication = field(default_factory=Authentication)
    restored: str = ""
    outside: dict[str, str | None] = field(default_factory=dict)
    leased: int | None = None

    @property
    def unleased(self) -> int | None:
        """How many keys have no lease."""
        return None if self.leased is None else self.counts[""] - self.leased


@dataclass
class Asked:
    """What Step 5 was told before it compares the cluster with the trial. What was true at a revision stays so, however
    much is written after it; each is taken for the first look alone, so that what does not hold is asked again."""

    hashes: dict[int, dict[str, tuple[int, int]]] = field(default_factory=dict)  # revision → `ask_fingerprints`
    counts: dict[tuple[str, int], int] = field(default_factory=dict)  # (prefix, revision) → keys
    began: Beginning | None = None  # what the run's own notes say, which only the run writes


def scratch(terms: Terms) -> str:
    return terms.place(KIND)


def bytes_needed(snapshot: int) -> int:
    """Room for one restored member."""
    return snapshot + WAL_BYTES


def clear(terms: Terms, hosts: Sequence[str]) -> list[Command]:
    return [command for host in hosts for command in bulk.clear(terms, host, KIND)]


def tidy(terms: Terms, host: str, answer: Result) -> list[Command]:
    """After a boot that gave this `answer`: its unit is over where the program came to its own end."""
    return [bulk.remove(terms, host, KIND)] if answer.code in sandbox.OVER else clear(terms, [host])


def forget(terms: Terms, hosts: Sequence[str]) -> list[Command]:
    """What a trial that was cut off left on these hosts goes; of one that an earlier version held, every role's old
    login too. And so do copies that a salvage that was cut off left, which no later one clears where none is held."""
    server, why = terms.configuration_server, "remove packed logins that a trial left"
    left = [act(server, "rm", "-f", terms.place(LOGINS), why=why)] if server in hosts else []
    members = [host for host in terms.member_hosts if host in hosts]
    return [*bulk.forget(terms, hosts), *clear(terms, members), *left]


def alone(terms: Terms, config: MemberConfig) -> MemberConfig:
    """The member as a cluster of its own, which waits for nobody and is nobody's: own token, own peer URL."""
    return replace(
        config,
        data_dir=f"{scratch(terms)}/room/{NUMBER}",
        peer_url=PEER_URL,
        initial_cluster=f"{config.name}={PEER_URL}",
        token=f"{config.token}-trial",
    )


def prepare(terms: Terms, host: str, apart: bool = False, again: bool = False) -> list[Command]:
    """A room for the member on one host. `apart`: it lies beside the data; `again`: an earlier try may have left some
    of it."""
    return [*(clear(terms, [host]) if again else ()), *bulk.make(terms, host, KIND, apart, bulk.ROOM)]


def restore(terms: Terms, host: str, tools: Tools, config: MemberConfig) -> list[Command]:
    """As Step 4 will do it but for whose data it becomes. Nobody takes a half one for the data: a try that was cut
    begins anew."""
    one, bump = alone(terms, config), terms.inventory.etcd.revision_bump
    return [etcd.restore_into(host, tools, one, one.data_dir, terms.snapshot_path, bump, terms.skips_hash)]


def how(terms: Terms, tools: Tools) -> str:
    """All that makes the restored data another beside the snapshot's bytes: the version that restores, and its bump."""
    return " ".join((tools.version, *etcd.bump_words(tools, terms.inventory.etcd.revision_bump)))


def logins(terms: Terms, roles: Sequence[str]) -> Command | None:
    """What prints all roles' old logins, of their backup; None where no role has one."""
    return packed(terms.configuration_server, terms.client_backup, roles, "every role's old login") if roles else None


def boot(terms: Terms, config: MemberConfig) -> Boot:
    """The member that was restored."""
    one = alone(terms, config)
    return Boot(NUMBER, one.name, PEER_URL, etcd.address(PEER_URL).host, one.initial_cluster, one.token)


def said(terms: Terms, results: Sequence[Result]) -> Result | None:
    """Of what a plan gave, the word of its boot; None where it did not come to that."""
    stop = sandbox.stop(KIND, terms.mark.run)
    return next((result for result in results if result.command.stop == stop), None)


def prefixes(terms: Terms) -> tuple[str, ...]:
    """What is counted: all keys, and the prefixes that the inventory expects something of."""
    return ("", *terms.inventory.expect.prefixes)


def problem(answers: Answers) -> str | None:
    """Why the trial is not good; None if it is. A refused password is named first: it is what people can mend."""
    refused = [f"{role}: {why}" for role, why in answers.logins.items() if why and NO_PASSWORD not in why]
    if refused:
        return f"an old password does not log in: {'; '.join(refused)}"
    if answers.failed:
        return answers.failed
    if answers.authentication and not answers.wrong:
        return "no wrong password was tried"
    if let_in := [user for user, why in answers.wrong.items() if not why]:
        return f"a wrong password lets in: {', '.join(let_in)}"
    others = [user for user, why in answers.wrong.items() if NO_PASSWORD not in why]
    if answers.authentication and not answers.logins and others:
        return f"no role's old password is in the backup, and in this data these have one: {', '.join(others)}"
    if "CORRUPT" in answers.alarms:
        return "the alarm CORRUPT lies in this data: members held different data, and nobody knows whose it is"
    if len(answers.hashes) != 1:
        return f"its one member gave {len(answers.hashes)} hashes of its data at revision {answers.revision:,}"
    return None


def result(snapshot: str, wanted: Sequence[str], answers: Answers, how: str = "") -> Trial:
    """What the trial found."""
    wrong = problem(answers)
    if wrong is not None:
        return Trial(snapshot, 0, 0, {}, (), (), wrong)
    ((digest, _),) = answers.hashes.values()
    return Trial(
        snapshot,
        answers.revision,
        digest,
        dict(zip(wanted, answers.counts, strict=True)),
        answers.users,
        answers.roles,
        alarms=answers.alarms,
        authentication=Authentication(
            answers.authentication, tuple(sorted(user for user, why in answers.wrong.items() if NO_PASSWORD in why))
        ),
        restored=how,
        outside=answers.outside,
        leased=answers.leased,
    )


def note(terms: Terms, host: str, trial: Trial) -> Command:
    """Kept on a host, so that a run which is carried on need not hold it again."""
    file = File(terms.place("trial.json"), json.dumps(asdict(trial)) + "\n")
    return kept.write(host, file, "note what the trial found")


_NOTE = TypeAdapter(Trial)


def ask_note(terms: Terms, snapshot: str, wanted: Sequence[str], how: str = "") -> Question[Trial | None]:
    """The noted trial; None where there is none to be read, or it was of another snapshot or for other prefixes, or
    restored otherwise than `how`, "" for any; not once the new etcd was started, since nothing is restored any more."""
    started = terms.mark.phase >= Phase.STARTED

    def read(result: Result) -> Trial | None:
        try:
            trial = _NOTE.validate_json(complete(result).stdout, strict=True)
        except ValueError:
            return None
        alike = not how or started or trial.restored == how
        return trial if alike and trial.snapshot == snapshot and set(trial.counts) == set(wanted) else None

    return Question(
        look(terms.configuration_server, "cat", terms.place("trial.json"), why="what the trial found"), read
    )


def it_is_what_the_trial_found(run: Run, trial: Trial | None, endpoint: str, asked: Asked) -> int | None:
    """All as of the trial's revision, so that later writes do not count; where that is compacted since, this run's own
    note of the same proof stands for it. Nothing is asked once Deephaven may write: it may have changed users. What the
    stages before `asked` at this very revision is not asked twice.

    Returns up to which revision the members are compacted; None where that is not known.
    """
    if trial is None or run.mark.phase >= Phase.POWERING_ON:
        run.note("proven before Deephaven was turned on, by the run that is carried on")
        return None
    (began,) = run.ask({"began": beginning.ask(run.terms)}).values()
    asked.began = began
    proven = began.proven if began else None
    if proven and (proven.revision, proven.hash) != (trial.revision, trial.hash):
        proven = None
    seen: set[int] = set()

    def probe(machine: Machine) -> str | None:
        seen.clear()
        try:
            wrong = _other_data(run, machine, trial, endpoint, proven, seen, asked)
            lists = [etcdctl.ask_names(run.inventory, what) for what in ("user", "role")]
            there = machine.ask(every(lists, at_once=True))
            names = zip(("users", "roles"), (trial.users, trial.roles), there, strict=True)
            wrong += [f"{what} {', '.join(found)}" for what, expected, found in names if found != expected]
        except etcd.EtcdError as error:
            return error.what
        return "; ".join(wrong) or None

    counts = ", ".join(f"{count:,} under {prefix or 'everything'}" for prefix, count in trial.counts.items())
    run.prove(
        (run.terms.configuration_server,),
        f"as the trial: hash {trial.hash} at revision {trial.revision:,}, keys {counts}, "
        f"users {', '.join(trial.users)}, roles {', '.join(trial.roles)}",
        probe,
        "do not turn Deephaven on: this is not the data that was tried; retry the restore",
        within=5,
    )
    return seen.pop() if len(seen) == 1 else None


def _other_data(
    run: Run, machine: Machine, trial: Trial, endpoint: str, proven: Proven | None, seen: set[int], asked: Asked
) -> list[str]:
    """How the data at the trial's revision differs; nothing where it cannot be compared any more, and was as the trial
    when this run noted it. `seen` takes up to which revisions the members are compacted. Raises `EtcdError`."""
    hashes = asked.hashes.pop(trial.revision, {})
    try:
        hashes = hashes or machine.ask(etcdctl.ask_fingerprints(run.inventory, endpoint, trial.revision))
    except etcd.EtcdError as error:
        if proven is None or "compacted" not in error.what:
            raise
        hashes = {}
    seen.update(compacted for _, compacted in hashes.values())
    if proven is not None and seen != {proven.compacted}:
        run.note(f"compacted since; at revision {trial.revision:,} it was as the trial, as this run had noted")
        return []
    wrong = [f"{e}: hash {h}" for e, (h, _) in sorted(hashes.items()) if h != trial.hash]
    if len(hashes) != len(run.terms.new_ips):
        wrong.append(f"{len(hashes)} members told the hash of their data")
    known = {prefix: asked.counts.pop((prefix, trial.revision), None) for prefix in trial.counts}
    left = [prefix for prefix, count in known.items() if count is None]
    counts = [etcdctl.ask_count(run.inventory, prefix, f"--rev={trial.revision}") for prefix in left]
    there = {**known, **dict(zip(left, machine.ask(every(counts, at_once=True)) if left else (), strict=True))}
    return wrong + [f"{there[p]} keys under {p or 'everything'}" for p, n in trial.counts.items() if there[p] != n]
