"""What a booted backup proves, proof by proof; pure functions over what the boots said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from requorum.cluster.authentication import NO_PASSWORD
from requorum.cluster.sandbox import Answers
from requorum.inventory import Expect
from requorum.snapshots.manifest import Manifest

BOOTS, DATA, LOGIN, WRONG, ASKED = "boots", "data", "logins", "wrong password", "authentication"
KEYS, ALARMS, LEASES, AS_RECOVERED, AGE = "keys", "alarms", "leases", "boots as recovered", "age"
AHEAD = 1.0  # hours that two clocks may differ


@dataclass(frozen=True)
class Proof:
    """`held` None: it could not be given, which is no pass."""

    proof: str
    expected: str
    found: str
    held: bool | None

    def fields(self) -> dict[str, object]:
        return asdict(self)


def of_boot(
    answers: Answers, note: Manifest, version: str, roles: Sequence[str], prefixes: Sequence[str], expect: Expect
) -> list[Proof]:
    """Of the backup as it is. `version`: of the etcd that booted it; `roles`: those whose passwords were brought."""
    boots = "one member under a token of its own starts, unseen, and answers"
    if answers.failed:
        refused = [_logins(answers, roles)] if answers.logins else []  # what people can mend is named beside it
        return [Proof(BOOTS, boots, answers.failed, False), *refused]
    return [
        Proof(BOOTS, boots, f"revision {answers.revision:,}", answers.revision == note.revision),
        _data(answers, note, version),
        _asked(answers, note),
        _logins(answers, roles),
        _wrong(answers),
        _keys(dict(zip(prefixes, answers.counts, strict=True)), expect),
        Proof(ALARMS, "not CORRUPT", ", ".join(answers.alarms) or "none", "CORRUPT" not in answers.alarms),
        Proof(LEASES, "counted", "not told" if answers.leases is None else f"{answers.leases:,}", True),
    ]


def _data(answers: Answers, note: Manifest, version: str) -> Proof:
    """The hash means the same only at the same revision, compacted up to the same one, by the same etcd."""
    then, ((digest, compacted),) = note.fingerprint, set(answers.hashes.values()) or {(0, 0)}
    if then is None:
        return Proof(DATA, "the hash in the manifest", "could not be compared: the manifest has none", None)
    expected = f"hash {then.hash} at revision {then.revision:,}, as the manifest says"
    why = ""
    if then.etcd != version:
        why = f"etcd {version} booted it, and {then.etcd} made that hash"
    elif then.revision != answers.revision:
        why = f"that is of revision {then.revision:,}"
    elif then.compacted != compacted:
        why = f"compacted up to {compacted:,}, and up to {then.compacted:,} when that hash was made"
    found = f"could not be compared: {why}" if why else f"hash {digest}"
    return Proof(DATA, expected, found, None if why else digest == then.hash)


def _asked(answers: Answers, note: Manifest) -> Proof:
    found = "on" if answers.authentication else "off"
    expected = {True: "on", False: "off", None: "not told"}[note.authentication]
    held = note.authentication is None or note.authentication == answers.authentication
    who = f"{found}; users {', '.join(answers.users) or 'none'}; roles {', '.join(answers.roles) or 'none'}"
    return Proof(ASKED, f"{expected}, as the manifest says", who, held)


def who_can(answers: Answers) -> tuple[tuple[str, ...], dict[str, str]]:
    """The roles that are let in, and role → why it is not."""
    can = tuple(role for role, why in answers.logins.items() if not why)
    return can, {role: why for role, why in answers.logins.items() if why}


def _logins(answers: Answers, roles: Sequence[str]) -> Proof:
    expected = f"every role logs in with its password of now: {', '.join(roles) or 'none is configured'}"
    can, cannot = who_can(answers)
    if not answers.authentication:
        return Proof(LOGIN, expected, "authentication is off in this data", True)
    refused = [f"{role}: {why}" for role, why in cannot.items() if NO_PASSWORD not in why]
    untried = [role for role in roles if role not in answers.logins]
    refused += [f"{role}: not tried, it has no user" for role in untried]
    if not roles or not answers.logins:
        return Proof(LOGIN, expected, "no role's password is on the configuration server", False)
    return Proof(LOGIN, expected, "; ".join(refused) or f"let in: {', '.join(can)}", not refused)


def _wrong(answers: Answers) -> Proof:
    expected = "a wrong password is refused"
    if not answers.authentication:
        return Proof(WRONG, expected, "authentication is off in this data", True)
    let_in = [user for user, why in answers.wrong.items() if not why]
    if not answers.wrong:
        return Proof(WRONG, expected, "none was tried", False)
    found = f"let in: {', '.join(let_in)}" if let_in else f"refused, of {', '.join(answers.wrong)}"
    return Proof(WRONG, expected, found, not let_in)


def _keys(counts: Mapping[str, int], expect: Expect) -> Proof:
    wanted = [f"{expect.min_keys:,} or more in all"]
    wanted += [
        f"{span.min:,} to {'any number' if span.max is None else f'{span.max:,}'} under {prefix}"
        for prefix, span in expect.prefixes.items()
    ]
    found = ", ".join(f"{count:,} {f'under {prefix}' if prefix else 'in all'}" for prefix, count in counts.items())
    held = counts.get("", 0) >= expect.min_keys and all(
        span.min <= counts.get(prefix, 0) and (span.max is None or counts.get(prefix, 0) <= span.max)
        for prefix, span in expect.prefixes.items()
    )
    return Proof(KEYS, ", ".join(wanted), found, held)


def of_recovery(answers: Answers, revision: int) -> Proof:
    """Of the same backup as a recovery restores it: `revision` with its bump."""
    expected = f"restored with the recovery's own flags it starts, at revision {revision:,}"
    if answers.failed:
        return Proof(AS_RECOVERED, expected, answers.failed, False)
    return Proof(AS_RECOVERED, expected, f"revision {answers.revision:,}", answers.revision == revision)


def of_age(hours: float, most: float) -> Proof:
    """One of a time to come is never too old, and for as long nobody would hear that there are no newer ones."""
    expected = f"{most:g} h old at most (snapshot.max_age_hours)"
    if hours < -AHEAD:
        return Proof(AGE, expected, f"it says that it was made {-hours:.1f} h from now: a clock is wrong", False)
    return Proof(AGE, expected, f"{hours:.1f} h old", hours <= most)


def alone(where: Mapping[str, Sequence[str]]) -> str:
    """Who could not log in any more if one machine were lost. `where`: role → the hosts that have its password."""
    if not where:
        return "no password was found on any machine"
    everywhere = {host for hosts in where.values() for host in hosts}
    if len(everywhere) == 1:
        return f"if {everywhere.pop()} burns, nobody can log in"
    single: dict[str, list[str]] = {}
    for role, hosts in where.items():
        if len(hosts) == 1:
            single.setdefault(hosts[0], []).append(role)
    told = [f"if {host} burns, nobody can log in as {', '.join(sorted(roles))}" for host, roles in single.items()]
    return "; ".join(told) or "every role's password is on two machines or more"


def why(proofs: Sequence[Proof], failed: str) -> str:
    """In a sentence, why it counts as recoverable or does not. `failed`: what the first stage that failed said."""
    broken = [f"{proof.proof}: {proof.found} (expected: {proof.expected})" for proof in proofs if proof.held is False]
    if broken:
        return "; ".join(broken)
    if failed:
        return " ".join(failed.split())
    lacking = [f"{proof.proof} {proof.found}" for proof in proofs if proof.held is None]
    return "every proof holds" + (f", but {'; '.join(lacking)}" if lacking else "")
