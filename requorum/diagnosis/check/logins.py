"""Whether every role of the client configuration is let in, as Deephaven's processes will ask to be."""

from __future__ import annotations

from requorum.cluster import deephaven, etcdctl
from requorum.cluster.etcdctl import Login
from requorum.cluster.lineage import Lineage
from requorum.command import Command
from requorum.deadlines import wait
from requorum.diagnosis.check.check import CLUSTER, Check, Questions, Ruling, Seen, ruled, unknown
from requorum.diagnosis.check.members import old, sees_leader
from requorum.run.terms import Terms
from requorum.snapshots import anew

# A login takes a bcrypt of etcd's own, which on a busy machine takes longer than etcdctl's 2 s.
PATIENT = (wait(20, "--dial-timeout={}s"), wait(20, "--command-timeout={}s"))


def ask(seen: Seen, subject: str) -> Questions:
    """Every role by its own directory on the configuration server. Without a leader etcd can let nobody in."""
    inventory = seen.terms.inventory
    if not any(sees_leader(seen, host) for host in old(seen.terms)):
        return {}
    known = seen.known("client files", inventory.deephaven.configuration_server)
    roles = sorted({*known.get("owners", ()), *known.get("endpoints", ())})
    return {role: etcdctl.ask_login(_read(seen.terms, role)) for role in roles}


def _read(terms: Terms, role: str) -> Command:
    client = f"{terms.inventory.deephaven.client_config}/{role}"
    limits = tuple(reversed(PATIENT))
    return deephaven.etcdctl_as(terms.inventory, client, *limits, "get", "/requorum", why=f"{role} logs in")


def judge(seen: Seen, subject: str) -> Ruling:
    logins: dict[str, Login] = dict(seen.known("logins", subject))
    if not logins:
        return unknown("no member sees a leader, or no role is there: nobody can be let in")
    problems = [f"{role}: {login.words}" for role, login in logins.items() if login.outcome in ("refused", "failed")]
    if any(login.outcome == "off" for login in logins.values()):
        tokens = [seen.configs[host].token for host in old(seen.terms) if host in seen.configs]
        found = anew.left_open(False, Lineage(tokens[0]) if tokens else None, seen.backups)
        return ruled([*problems, *([found] if found else [])], "authentication is off: everybody is let in")
    bare = [role for role, login in logins.items() if login.outcome == "passwordless"]
    more = f"; without a password in etcd: {', '.join(bare)}" if bare else ""
    return ruled(problems, f"let in: {', '.join(logins)}{more}")


def root_is_refused(seen: Seen) -> bool:
    """Then all that is asked as Deephaven's root fails for that, whatever etcdctl says."""
    root = seen.known("logins", CLUSTER).get("root")
    return isinstance(root, Login) and root.outcome == "refused"


CHECKS = (
    Check(
        "logins",
        "every role of the client configuration is let in",
        "put the password that belongs to etcd's data into {i.deephaven.client_config}/ROLE/password on every "
        "Deephaven host, from the vendor's vault or a backup (ls -d /var/lib/requorum/{i.cluster}/*/client.before "
        "there): a recovery would stop at its trial",
        lambda terms: (CLUSTER,),
        judge,
        ask,
        round=2,
    ),
)
