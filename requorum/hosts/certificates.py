"""Certificates where they lie, by that host's own openssl: until when, by which CA, for which address and key?"""

from __future__ import annotations

import ipaddress
import posixpath
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from requorum.command import Result, look
from requorum.hosts.question import Question
from requorum.refusal import Refusal


@dataclass(frozen=True)
class Certificate:
    """A certificate that a configuration names, with its key and the CA that peers check it against."""

    cert: str
    key: str
    ca: str


# Dates, then what `openssl verify` finds, then whether key and certificate have one public key.
_SCRIPT = (
    'openssl x509 -in "$1" -noout -startdate -enddate || exit 0; '
    'openssl x509 -in "$1" -noout -checkend 0 >/dev/null || echo "error 10: certificate has expired"; '
    'openssl verify -CAfile "$2" ${5:+"$5" "$3"} "$1" 2>&1 | sed -n "s/^.*\\(error [0-9].*\\)/\\1/p"; '
    '[ "$(openssl x509 -in "$1" -noout -pubkey)" = "$(openssl pkey -in "$4" -pubout)" ] || '
    'echo "error 0: not of this key"'
)


@dataclass(frozen=True)
class Checked:
    """What a host's openssl says of a certificate. `problems` is empty where all is well; dates None if unreadable."""

    path: str
    problems: tuple[str, ...]
    begins: datetime | None = None
    ends: datetime | None = None

    @property
    def out_of_date(self) -> bool:
        return any("expired" in problem or "not yet valid" in problem for problem in self.problems)


def ask_certificate(host: str, certificate: Certificate, address: str) -> Question[Checked]:
    """`address` is the IP address or the name that the certificate must have; "" where there is none to check."""
    kind = "" if not address else "-verify_ip" if _is_ip(address) else "-verify_hostname"
    paths = (certificate.cert, certificate.ca, address, certificate.key, kind)
    command = look(host, "sh", "-c", _SCRIPT, "sh", *paths, why=f"certificate {certificate.cert}")
    return Question(command, lambda result: _read_certificate(certificate.cert, result))


def ask_archived(host: str, directory: str, certificate: Certificate, ip: str) -> Question[Checked]:
    """The same of one that is not installed yet: it and its CA lie in `directory`, its key is not looked at."""
    ca, cert = (f"{directory}/{posixpath.basename(path)}" for path in (certificate.ca, certificate.cert))
    words = ("openssl", "verify", "-CAfile", ca, "-verify_ip", ip, cert)
    command = look(host, *words, why=f"certificate {posixpath.basename(cert)} for {ip}")
    return Question(command, lambda result: Checked(cert, (result.words,) if result.code else ()))


_ENDS = ("-printf", r"%p\n", "-exec", "openssl", "x509", "-noout", "-enddate", "-in", "{}", ";")


def ask_ends(host: str, places: Sequence[str], *chosen: str) -> Question[tuple[Checked, ...]]:
    """When the certificates end that `find` finds in these places; its own complaints without a path."""

    def read(result: Result) -> tuple[Checked, ...]:
        found: dict[str, Checked] = {}
        path = ""
        for line in result.stdout.splitlines():
            if line.startswith("/"):
                path = line
                if not any(f"{path}/".startswith(f"{place}/") for place in places) or ".." in path.split("/"):
                    raise Refusal(
                        host,
                        f"tells of {path[:200]!r}, which was not asked",
                        "look at that machine first: its find tells what it was not asked",
                    )
                found[path] = Checked(path, ("no certificate that openssl can read",))
            elif line.startswith("notAfter=") and path and (ends := _date(line.removeprefix("notAfter="))):
                found[path] = Checked(path, (), ends=ends)
        complaints = [line.split("find: ")[-1] for line in result.stderr.splitlines() if line.startswith("find: ")]
        return (*found.values(), *(Checked("", (complaint,)) for complaint in complaints))

    return Question(look(host, "find", *places, *chosen, *_ENDS, why="when the certificates end"), read)


def _is_ip(address: str) -> bool:
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return False
    return True


def _read_certificate(path: str, result: Result) -> Checked:
    dates = dict(re.findall(r"^(notBefore|notAfter)=(.+)$", result.stdout, re.M))
    if len(dates) < 2:
        said = [line for line in result.stderr.splitlines() if line.strip()]
        return Checked(path, (f"cannot be read: {said[0].strip() if said else 'openssl said nothing'}",))
    words = dict.fromkeys(re.findall(r"^error \d+(?: at \d+ depth lookup)?: ?(.+)$", result.stdout, re.M))
    return Checked(path, tuple(words), _date(dates["notBefore"]), _date(dates["notAfter"]))


def _date(text: str) -> datetime | None:
    """openssl's `Jan  1 00:00:00 2026 GMT`."""
    try:
        return datetime.strptime(" ".join(text.split()), "%b %d %H:%M:%S %Y %Z").replace(tzinfo=UTC)
    except ValueError:
        return None
