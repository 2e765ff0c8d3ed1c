"""Installed certificates: is one valid now, does it chain to its CA, name its address and fit its key, until when?

Asked on the host that has the files, by its own openssl; nothing private leaves it. Archived ones, not yet installed,
are `archive`'s. Pure functions: they return `Command`s or read answers.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from datetime import UTC, datetime

from requorum.command import Command, look

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


def ask(host: str, certificate: Certificate, address: str) -> Command:
    """`address` is the IP address or the name that the certificate must have; "" where there is none to check."""
    kind = "" if not address else "-verify_ip" if _is_ip(address) else "-verify_hostname"
    paths = (certificate.cert, certificate.ca, address, certificate.key, kind)
    return look(host, "sh", "-c", _SCRIPT, "sh", *paths, why=f"certificate {certificate.cert}")


def _is_ip(address: str) -> bool:
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return False
    return True


def parse(path: str, text: str, stderr: str = "") -> Checked:
    dates = dict(re.findall(r"^(notBefore|notAfter)=(.+)$", text, re.M))
    if len(dates) < 2:
        said = [line for line in stderr.splitlines() if line.strip()]
        return Checked(path, (f"cannot be read: {said[0].strip() if said else 'openssl said nothing'}",))
    words = dict.fromkeys(re.findall(r"^error \d+(?: at \d+ depth lookup)?: ?(.+)$", text, re.M))
    return Checked(path, tuple(words), _date(dates["notBefore"]), _date(dates["notAfter"]))


def _date(text: str) -> datetime | None:
    """openssl's `Jan  1 00:00:00 2026 GMT`."""
    try:
        return datetime.strptime(" ".join(text.split()), "%b %d %H:%M:%S %Y %Z").replace(tzinfo=UTC)
    except ValueError:
        return None


@dataclass(frozen=True)
class Certificate:
    """A certificate that a configuration names, with its key and the CA that peers check it against."""

    cert: str
    key: str
    ca: str
